"""How sure a parser is: probabilities of arcs with their relations, and other trees
(docs/math.md §5)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..distill.annotation import MISSING
from ..distill.arcs import as_heads, as_trees, with_rest
from ..structures import ArcDistribution, HeadSelection, LabelTrees, SpanningTree
from ..structures.base import Bools1d, Floats1d, Floats2d, Ints1d, array_module, to_host
from .parse_annotation import within_sentences
from .parse_decoding import relation_scores, without_spaces
from .readings import Answers, Scored, Unit


class TreeAnswers(Answers):
    """What can be asked of a batch of parsed documents.

    structure: the distributions over the trees of sentences, in which whitespace is no head. heads,
    relations: (N,) what was decoded, token numbers in the batch, a root's its own, and columns of
    `labels`. spaces: (N,) which tokens are whitespace; of these nothing can be said. attached: (N,)
    which of them were given a word beside them as head. lengths: (D,) of the documents.
    several_roots: whether sentences were looked for, too.

    The probability of an arc with its relation is that of the head times that of the relation given
    the head; of a model that labels tokens, the sum over the labels that mean both.
    """

    kind = "tree"

    def __init__(
        self,
        component: str,
        structure: ArcDistribution | LabelTrees,
        source: Any,
        temperature: float,
        *,
        heads: Ints1d,
        relations: Ints1d,
        spaces: Bools1d,
        attached: Bools1d,
        lengths: Sequence[int],
        labels: Sequence[str],
        several_roots: bool,
    ) -> None:
        super().__init__(component, structure, source, temperature)
        self.heads = heads
        self.relations = relations
        self.spaces = spaces
        self.attached = attached
        self.labels = tuple(labels)
        self.several_roots = several_roots
        self.bounds = np.cumsum([0, *lengths]).tolist()

    def find_probabilities(self, structure: Any) -> Floats1d:
        return _joint(structure, self.heads, self.relations, self.labels)

    def found(self, number: int) -> dict[Unit, float]:
        start, end = self.bounds[number : number + 2]
        tokens = np.flatnonzero(~self.spaces[start:end])
        heads = (self.heads[start:end][tokens] - start).tolist()
        relations = self.relations[start:end][tokens].tolist()
        values = self.probabilities[start:end][tokens].tolist()
        return {
            (token, head, self.labels[relation]): value
            for token, head, relation, value in zip(tokens.tolist(), heads, relations, values)
        }

    def probability_of(self, number: int, unit: Unit) -> float | None:
        token, head, relation = unit
        start, end = self.bounds[number : number + 2]
        if relation not in self.labels or not 0 <= token < end - start:
            return None
        if self.spaces[start + token]:
            return None
        heads, relations = self.heads[start:end] - start, self.relations[start:end].copy()
        heads[token], relations[token] = head, self.labels.index(relation)
        return float(_joint(self.of_document(number), heads, relations, self.labels)[token])

    def alternatives(self, number: int, k: int) -> Scored:
        """The `k` best trees, each with its likeliest relations, and the probability that these are
        the heads, given that they are trees.

        Raises ValueError for a parser that looks for sentences, whose trees have several roots.
        """
        if self.several_roots:
            raise ValueError(
                f"Component '{self.component}' looks for sentences as well (sentences = \"roots\"),"
                " and cannot say which trees are the next best. Use a parser of sentences that are "
                "set before it."
            )
        structure = self.of_document(number)
        start, end = self.bounds[number : number + 2]
        trees = self._trees(structure, slice(start, end))
        ends = np.cumsum(trees.lengths).tolist()
        shifts = [stop - length for stop, length in zip(ends, trees.lengths.tolist())]
        words = np.flatnonzero(~self.spaces[start:end]).tolist()
        found: Scored = []
        for log_prob, sentences in _best_together(trees.topk(k) if end > start else [], k):
            local = np.concatenate([np.zeros(0, dtype=np.int64), *map(np.asarray, sentences)])
            heads = local.astype(np.int64)
            relations = self._relations(structure, trees, heads).tolist()
            firsts = np.repeat(shifts, trees.lengths)
            of_document = np.where(heads == 0, np.arange(end - start), heads - 1 + firsts).tolist()
            units = tuple((word, of_document[word], self.labels[relations[word]]) for word in words)
            found.append((float(np.exp(log_prob)), units))
        return found

    def _trees(self, structure: Any, own: slice) -> SpanningTree:
        """The distribution over a document's trees; whitespace has the head that it got."""
        spaces, attached = self.spaces[own], self.attached[own]
        heads: Any = structure
        if isinstance(structure, LabelTrees):
            heads = with_rest(as_heads(structure))
            heads = without_spaces(heads, spaces) if spaces.any() else heads
        if attached.any():
            local = within_sentences(self.heads[own] - own.start, to_host(heads.lengths))
            layout = heads.layout
            allowed = np.repeat(~attached, layout.widths)
            allowed[layout.row_starts[attached] + local[attached]] = True
            heads = heads.restrict(array_module(heads.scores).asarray(allowed))
        return as_trees(heads) if isinstance(heads, HeadSelection) else heads

    def _relations(self, structure: Any, trees: SpanningTree, heads: Ints1d) -> Ints1d:
        if isinstance(structure, LabelTrees):
            return structure.relations_of(heads)
        return relation_scores(trees, heads, self.labels).argmax(axis=1)

    def sentences_of(self, number: int) -> Ints1d:
        offsets = self.structure.packing.offsets
        start, end = np.searchsorted(offsets[:-1], self.bounds[number : number + 2]).tolist()
        return np.arange(start, end)

    def n_tokens(self, number: int) -> int:
        start, end = self.bounds[number : number + 2]
        return end - start


def _joint(structure: Any, heads: Ints1d, relations: Ints1d, labels: Sequence[str]) -> Floats1d:
    """The probability of each token's arc with its relation, (N,); 0 for a head in another
    sentence. heads: (N,) token numbers in the batch, a root's its own."""
    local = within_sentences(heads, to_host(structure.lengths))
    within = local != MISSING
    if isinstance(structure, LabelTrees):
        meant = (structure.heads == local[:, None]) & (structure.relations == relations[:, None])
        return np.where(meant & within[:, None], to_host(structure.marginals()), 0).sum(axis=1)
    tokens = np.arange(len(local))
    # Any arc that exists, in place of one that does not: what it gives is not used.
    local = np.where(within, local, 0)
    cells = to_host(structure.layout.cells(tokens, local))
    arcs = to_host(structure.flat_marginals())[cells]
    scores: Floats2d = relation_scores(structure, local, labels)
    scores = np.exp(scores - scores.max(axis=1, keepdims=True, initial=-np.inf))
    given_arc = scores[tokens, relations] / scores.sum(axis=1)
    return np.where(within, arcs * given_arc, 0)


def _best_together(of_sentences: list[Any], k: int) -> list[tuple[float, list[Any]]]:
    """The `k` best combinations of sentences that do not know of each other, best first."""
    best: list[tuple[float, list[Any]]] = [(0.0, [])]
    for outputs in of_sentences:
        ways = [
            (score + log_prob, [*before, output])
            for score, before in best
            for output, log_prob in outputs
        ]
        best = sorted(ways, key=lambda way: -way[0])[:k]
    return best
