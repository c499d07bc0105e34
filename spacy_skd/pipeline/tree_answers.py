"""How sure a parser is: probabilities of arcs with their relations, and other trees
(docs/math.md §5)."""

from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any, TypeAlias

import numpy as np

from ..distill.annotation import MISSING
from ..distill.arcs import as_heads, as_trees, with_rest
from ..structures import (
    ArcDistribution,
    HeadSelection,
    LabelTrees,
    SpanningForest,
    SpanningTree,
)
from ..structures.base import Bools1d, Floats1d, Floats2d, Ints1d, array_module, to_host
from .parse_annotation import within_sentences
from .parse_decoding import relation_scores, sentence_starts, without_spaces
from .readings import Answers, Scored, Unit

Way: TypeAlias = tuple[float, list[Any]]
"""A log-probability, and the head numbers of each sentence."""


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
        self.bounds = list(accumulate(lengths, initial=0))

    def find_probabilities(self, structure: Any) -> Floats1d:
        return _joint(structure, self.heads, self.relations, self.labels)

    def found(self, number: int) -> dict[Unit, float]:
        own = slice(*self.bounds[number : number + 2])
        heads, relations, values, spaces = (column[own] for column in self.listed)
        units = zip(range(len(heads)), heads, relations)
        if any(spaces):
            return {unit: value for unit, value, space in zip(units, values, spaces) if not space}
        return dict(zip(units, values))

    @cached_property
    def listed(self) -> tuple[list[Any], ...]:
        """Of every token: its head in the document, its relation, their probability, and whether it
        is whitespace."""
        starts = np.repeat(self.bounds[:-1], np.diff(self.bounds))
        relations = [self.labels[relation] for relation in self.relations.tolist()]
        heads = (self.heads - starts).tolist()
        return heads, relations, self.probabilities.tolist(), self.spaces.tolist()

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

        Where sentences were looked for, trees may have any number of roots, each of which is a
        sentence.
        """
        structure = self.of_document(number)
        start, end = self.bounds[number : number + 2]
        trees = self._trees(structure, slice(start, end))
        ends = np.cumsum(trees.lengths).tolist()
        shifts = [stop - length for stop, length in zip(ends, trees.lengths.tolist())]
        words = np.flatnonzero(~self.spaces[start:end]).tolist()
        found: Scored = []
        for log_prob, sentences in self._ways(trees, slice(start, end), k):
            local = np.concatenate([np.zeros(0, dtype=np.int64), *map(np.asarray, sentences)])
            heads = local.astype(np.int64)
            relations = self._relations(structure, trees, heads).tolist()
            firsts = np.repeat(shifts, trees.lengths)
            of_document = np.where(heads == 0, np.arange(end - start), heads - 1 + firsts).tolist()
            units = tuple((word, of_document[word], self.labels[relations[word]]) for word in words)
            found.append((float(np.exp(log_prob)), units))
        return found

    def _ways(self, trees: SpanningTree | SpanningForest, own: slice, k: int) -> list[Way]:
        if not trees.layout.n_tokens:
            return [(0.0, [])]
        if isinstance(trees, SpanningTree):
            return _best_together(trees.topk(k), k)
        decoded = trees.layout.split(self._local_heads(own, trees))
        found = [_best_of_roots(trees.select([n]), heads, k) for n, heads in enumerate(decoded)]
        return _best_together(found, k)

    def _local_heads(self, own: slice, structure: Any) -> Ints1d:
        """What was decoded in a document as head numbers in its sentences, (n,)."""
        return within_sentences(self.heads[own] - own.start, to_host(structure.lengths))

    def _trees(self, structure: Any, own: slice) -> SpanningTree | SpanningForest:
        """The distribution over a document's trees; whitespace has the head that it got."""
        spaces, settled = self.spaces[own], self.attached[own]
        heads: Any = structure
        if isinstance(structure, LabelTrees):
            heads = with_rest(as_heads(structure))
            heads = without_spaces(heads, spaces) if spaces.any() else heads
        layout = heads.layout
        if spaces.any():  # where there is nothing else, it was not attached
            n_words = np.bincount(layout.sentences[~spaces], minlength=layout.n_sentences)
            settled = settled | (n_words == 0)[layout.sentences]
        if settled.any():
            allowed = np.repeat(~settled, layout.widths)
            allowed[layout.row_starts[settled] + self._local_heads(own, heads)[settled]] = True
            heads = heads.restrict(array_module(heads.scores).asarray(allowed))
        if not self.several_roots:
            return as_trees(heads) if isinstance(heads, HeadSelection) else heads
        options = {"relations": heads.relations, "labels": heads.labels, "layout": layout}
        return SpanningForest(heads.scores.astype(np.float64), **options)

    def _relations(self, structure: Any, trees: ArcDistribution, heads: Ints1d) -> Ints1d:
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
        meant = (structure.heads == local[:, None]).take(structure.codes, axis=1)
        meant &= structure.relations == relations[:, None]
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


def _best_together(of_sentences: list[Any], k: int) -> list[Way]:
    """The `k` best combinations of sentences that do not know of each other, best first."""
    best: list[Way] = [(0.0, [])]
    for outputs in of_sentences:
        ways = [
            (score + log_prob, [*before, output])
            for score, before in best
            for output, log_prob in outputs
        ]
        best = sorted(ways, key=lambda way: -way[0])[:k]
    return best


def _best_of_roots(forest: SpanningForest, decoded: Ints1d, k: int) -> list[Any]:
    """The `k` best trees in which each root is a sentence, head numbers with log-probabilities.

    forest: of one sentence of a batch. decoded: (n,) head numbers, the first of all. If the best
    tree has sentences within each other, the sentences are those that were decoded, and so they
    are at the end if too many of the `4 k` best trees have.
    """
    alike = _with_sentences_of(forest, decoded, k)
    if forest.argmax()[0].tolist() != decoded.tolist():
        return alike
    found: list[Any] = []
    for n_trees in (k, 2 * k, 4 * k):
        best = forest.topk(n_trees)[0]
        found = [tree for tree in best if sentence_starts(np.asarray(tree[0]))[1]][:k]
        if len(found) == k or len(best) < n_trees:
            return found
    known = [heads for heads, _ in found]
    return [*found, *(tree for tree in alike if tree[0] not in known)][:k]


def _with_sentences_of(forest: SpanningForest, decoded: Ints1d, k: int) -> list[Any]:
    """The `k` best trees with the sentences of the one that was decoded."""
    starts = sentence_starts(decoded)[0].tolist()
    arcs = to_host(forest.arcs[0])
    trees = SpanningTree(
        [
            arcs[start:end, [0, *range(start + 1, end + 1)]]
            for start, end in pairwise([*starts, len(decoded)])
        ]
    )
    rest = float(trees.log_partition().sum() - to_host(forest.log_partition())[0])
    return [
        (
            [head + start if head else 0 for start, heads in zip(starts, way) for head in heads],
            log_prob + rest,
        )
        for log_prob, way in _best_together(trees.topk(k), k)
    ]
