"""What teachers of heads and trees say about arcs, and about labels that mean arcs
(docs/math.md §4, cases 1b and 2b).

Relations are sparse: they are told of the arcs that have probability alone.
"""

from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np

from ..structures import (
    ArcLayout,
    ArcParts,
    Candidates,
    HeadSelection,
    LabelTrees,
    ListedRelations,
    RelationParts,
    SentenceError,
    SpanningTree,
    is_tree,
)
from ..structures.base import Floats1d, Floats2d, Ints1d, array_module, to_host
from ..structures.projective_tree import is_projective
from ..structures.relations import Relations
from .parts import AnyTeacher, Arcs, per_token

MAX_REST = 1e-3
LEAST = 1e-8  # probability of a label below which what it means is not taken down
UNKNOWN = ""
"""A teacher's last relation, where there is one: all those that mean nothing to the student."""
LEAST_TOLD = 0.5
"""Probability of the relations that are known at a token below which it teaches no label."""
NO_RELATIONS = (
    "The teacher knows arcs, but not their relations; labels that mean both cannot be learnt of it."
)


class TreeMarginals(HeadSelection):
    """The probabilities of arcs in a distribution over trees, with no more known of it.

    As a distribution: independent heads with these probabilities. projective: whether the trees
    were. For the other arguments see `ArcDistribution`.
    """

    def __init__(self, arcs: Any, *, projective: bool = False, **rest: Any) -> None:
        super().__init__(arcs, **rest)
        self.projective = projective

    def _options(self) -> dict[str, Any]:
        return {"projective": self.projective}


class Recast:
    """Relations of another structure at a temperature, in another order (the protocol `Relations`).

    order: (R',) the column that each column is taken from; None for the same. Relations that it
        leaves out are impossible.
    """

    def __init__(
        self, relations: Relations, order: Ints1d | None = None, temperature: float = 1.0
    ) -> None:
        self.relations = relations
        self.order = order
        self.temperature = temperature
        self.n_labels: int = relations.n_labels if order is None else len(order)

    def scores_at(self, tokens: Ints1d, heads: Ints1d) -> Floats2d:
        """Log-potentials of the relations of P arcs, (P, R); see `Relations`."""
        return _recast(self.relations.scores_at(tokens, heads), self.order, self.temperature)

    def select(self, sentences: Ints1d | Sequence[int]) -> "Recast":
        """Only the given sentences of the batch, in the given order."""
        return Recast(self.relations.select(sentences), self.order, self.temperature)


def recast(
    relations: Relations | None, order: Ints1d | None = None, temperature: float = 1.0
) -> Any:
    """Relations with their columns in another order, or their scores divided by a temperature."""
    if isinstance(relations, ListedRelations):
        scores = _recast(relations.scores, order, temperature)
        lengths = relations.layout.lengths
        return ListedRelations(relations.tokens, relations.heads, scores, lengths)
    return None if relations is None else Recast(relations, order, temperature)


def _recast(scores: Floats2d, order: Ints1d | None, temperature: float) -> Floats2d:
    if order is not None:
        scores = scores[:, array_module(scores).asarray(order)]
    return scores if temperature == 1.0 else scores / temperature


# --- onto arcs


def arcs_onto_arcs(teacher: Arcs, weights: Floats1d) -> ArcParts:
    """The probability of every arc and, of those that have any, of the relations with it that the
    student knows."""
    arcs = teacher.flat_marginals()
    weighted = arcs * per_token(weights, teacher)
    if teacher.relations is None:
        return ArcParts(weighted)
    tokens, heads = _known_arcs(teacher, arcs)
    values = array_module(arcs).exp(teacher.relation_log_probs(tokens, heads))
    values *= weighted[teacher.layout.cells(tokens, heads)][:, None]
    return ArcParts(weighted, RelationParts(tokens, heads, values[:, : n_known(teacher)]))


def n_known(teacher: AnyTeacher) -> int:
    """How many of a teacher's relations, the first ones, are not `UNKNOWN`."""
    return teacher.n_labels - (UNKNOWN in (teacher.labels or ())[-1:])


def _known_arcs(teacher: Arcs, arcs: Floats1d) -> tuple[Ints1d, Ints1d]:
    """Arcs that have probability, token numbers and head numbers, in their order; of relations that
    are listed, those: of others such a teacher does not know them."""
    layout = teacher.layout
    possible = to_host(arcs) > 0
    if isinstance(teacher.relations, ListedRelations):
        listed = np.zeros(len(possible), dtype=bool)
        listed[to_host(layout.cells(teacher.relations.tokens, teacher.relations.heads))] = True
        possible &= listed
    return arcs_at(np.flatnonzero(possible), layout)


def arcs_at(cells: Ints1d, layout: ArcLayout) -> tuple[Ints1d, Ints1d]:
    """The arcs at some cells: token numbers and head numbers."""
    tokens = np.searchsorted(layout.row_starts, cells, side="right") - 1
    return tokens, cells - layout.row_starts[tokens]


def trees_onto_arcs(teacher: Candidates, weights: Floats1d) -> ArcParts:
    """How often each arc occurs in candidates that are trees, every one times its weight; float64
    on the host."""
    layout = ArcLayout(teacher.lengths)
    arcs = np.zeros(layout.n_cells)
    found: list[tuple[Ints1d, Ints1d, Floats1d]] = []
    offsets, probs = layout.token_offsets.tolist(), teacher.marginals()
    for number, (outputs, shares) in enumerate(zip(teacher.outputs, probs)):
        heads, relations = _heads_and_relations(outputs, number, int(layout.lengths[number]))
        tokens = np.broadcast_to(np.arange(offsets[number], offsets[number + 1]), heads.shape)
        cells = layout.checked_cells(tokens.ravel(), heads.ravel())
        shares = np.repeat(shares * weights[number], heads.shape[1])
        np.add.at(arcs, cells, shares)
        if relations is not None:
            known = relations.ravel() >= 0
            found.append((cells[known], relations.ravel()[known], shares[known]))
    if arcs[layout.self_cells].any():
        token = int(arcs[layout.self_cells].argmax())
        raise SentenceError(
            f"has a candidate whose token {layout.positions[token]} is its own head",
            int(layout.sentences[token]),
        )
    if not found:
        return ArcParts(arcs)
    if teacher.labels is None:
        raise ValueError("Candidates that are trees with relations need the relations' names.")
    cells, labels, shares = (np.concatenate(arrays) for arrays in zip(*found))
    return ArcParts(arcs, _counted(cells, labels, shares, layout, len(teacher.labels)))


def _counted(
    cells: Ints1d, labels: Ints1d, weights: Any, layout: ArcLayout, n_labels: int
) -> RelationParts:
    """Weighted mentions of a relation of an arc, each arc once."""
    distinct, rows = np.unique(cells, return_inverse=True)
    size = len(distinct) * n_labels
    values = np.bincount(rows * n_labels + labels, weights=weights, minlength=size)
    tokens, heads = arcs_at(distinct, layout)
    values = values.astype(weights.dtype, copy=False).reshape(len(distinct), n_labels)
    return RelationParts(tokens, heads, values)


def are_trees(teacher: Any) -> bool:
    """Whether these are candidates that are trees with relations."""
    return isinstance(teacher, Candidates) and any(
        np.ndim(outputs[0]) == 2 for outputs in teacher.outputs
    )


def _heads_and_relations(outputs: Any, sentence: int, length: int) -> tuple[Ints1d, Ints1d | None]:
    """A sentence's candidates: head numbers (k, n) and relations (k, n), −1 where not known."""
    trees = np.asarray(outputs)
    trees = trees.astype(np.int64) if not trees.size else trees
    if trees.shape[-1] != length or trees.ndim not in (2, 3) or trees.dtype.kind not in "iu":
        raise SentenceError(
            f"has candidates that are no trees of its {length} tokens: they should be head "
            "numbers, or head numbers and the indices of their relations, (2, n)",
            sentence,
        )
    return (trees, None) if trees.ndim == 2 else (trees[:, 0], trees[:, 1])


# --- onto labels that mean arcs


def onto_labels(teacher: Arcs | Candidates, student: LabelTrees) -> Floats2d:
    """Cases 1b and 2b: the probability of what each label means, renormalised at each token; zeros
    where the relation is more likely one that means nothing to the student.

    teacher: heads or trees, or candidates that are trees with relations.
    """
    return _renormalised(_onto_labels(teacher, student))[0]


def dropped_mass(teacher: Arcs | Candidates, student: LabelTrees) -> Floats1d:
    """How much of what a teacher knows of each token (N,) no label of the student means.

    1 where nothing is left; such a token teaches nothing.
    """
    left = _renormalised(_onto_labels(teacher, student))[1]
    return (1 - left).clip(0, None)


def _onto_labels(teacher: Arcs | Candidates, student: LabelTrees) -> Floats2d:
    """t(i, l) = p(head(i, l) → i) p(relation(l) | head(i, l) → i), (N, L)."""
    xp, dtype = array_module(student.scores), student.scores.dtype
    weights = xp.ones(len(student.lengths), dtype=dtype)
    parts: Any
    if isinstance(teacher, Candidates):
        parts = trees_onto_arcs(teacher, to_host(weights))
    else:
        parts = arcs_onto_arcs(teacher, weights)
    found = xp.zeros(student.scores.shape, dtype=dtype)
    relations = parts.relations
    if relations is None:
        if len(found):
            raise ValueError(NO_RELATIONS)
        return found
    tokens, labels, rows = _meant_by(student, relations)
    columns = _columns(teacher, student)[student.relations[labels]]
    known = columns >= 0
    tokens, labels, rows, columns = (
        xp.asarray(numbers[known]) for numbers in (tokens, labels, rows, columns)
    )
    found[tokens, labels] = xp.asarray(relations.values, dtype=dtype)[rows, columns]
    of_tokens = to_host(relations.values.sum(axis=1))
    told = np.bincount(relations.tokens, weights=of_tokens, minlength=len(found))
    found[xp.asarray(told < LEAST_TOLD)] = 0
    return found


def _meant_by(student: LabelTrees, arcs: RelationParts) -> tuple[Ints1d, Ints1d, Ints1d]:
    """Tokens, and labels that mean one of the arcs there; which arc it is, its row."""
    layout, code_of, heads = student.layout, student.codes, student.heads
    arc_at = np.full(layout.n_cells + 1, -1, dtype=np.int32)
    arc_at[to_host(layout.cells(arcs.tokens, arcs.heads))] = np.arange(len(arcs.tokens))
    cells = np.where(heads < 0, layout.n_cells, heads + layout.row_starts[:, None])
    rows = arc_at.take(cells)
    tokens, codes = np.nonzero(rows >= 0)
    # All labels of each of these codes: labels in the order of their codes, and where each begins.
    labels, counts = (
        np.argsort(code_of, kind="stable"),
        np.bincount(code_of, minlength=heads.shape[1]),
    )
    sizes = counts[codes]
    firsts = (np.cumsum(counts) - counts)[codes] - (np.cumsum(sizes) - sizes)
    places = np.repeat(firsts, sizes) + np.arange(int(sizes.sum()))
    return np.repeat(tokens, sizes), labels[places], np.repeat(rows[tokens, codes], sizes)


def _columns(teacher: Arcs | Candidates, student: LabelTrees) -> Ints1d:
    """The teacher's column of each of the student's relations, −1 for those that it has not."""
    names = student.relation_labels
    if teacher.labels is None:
        if teacher.n_labels != len(names):
            raise ValueError(
                f"The teacher has {teacher.n_labels} relations without names, and the student "
                f"{len(names)}: give the teacher its labels."
            )
        return np.arange(len(names))
    number = {label: column for column, label in enumerate(teacher.labels)}
    return np.asarray([number.get(name, -1) for name in names])


def _renormalised(marginals: Floats2d) -> tuple[Floats2d, Floats1d]:
    """Rows that sum to 1, or are zeros as before, and what they summed to."""
    totals = marginals.sum(axis=1)
    xp = array_module(marginals)
    return marginals / xp.where(totals > 0, totals, 1)[:, None], totals


# --- one kind of structure read as another


def as_heads(labels: LabelTrees) -> HeadSelection:
    """Labels that mean arcs as independent heads with relations.

    What a token has at labels that mean no arc is left out, and the rest renormalised. A token that
    has all of it there is taken for a root with the relations of its labels.
    """
    layout = ArcLayout(labels.lengths)
    probs, meant = to_host(labels.marginals()), labels.heads.take(labels.codes, axis=1)
    lost = np.where(meant >= 0, probs, 0).max(axis=1, initial=0) <= LEAST
    meant = np.where(lost[:, None], 0, meant)
    tokens, columns = np.nonzero((meant >= 0) & (probs > LEAST))
    cells = layout.cells(tokens, meant[tokens, columns])
    joint = _counted(
        cells,
        labels.relations[columns],
        probs[tokens, columns],
        layout,
        len(labels.relation_labels),
    )
    xp = array_module(labels.scores)
    arcs = np.full(layout.n_cells, -np.inf, dtype=probs.dtype)
    arcs[layout.cells(joint.tokens, joint.heads)] = np.log(joint.values.sum(axis=1))
    with np.errstate(divide="ignore"):
        scores = xp.asarray(np.log(joint.values))
    relations: Any = ListedRelations(joint.tokens, joint.heads, scores, labels.lengths)
    return HeadSelection(
        xp.asarray(arcs),
        lengths=labels.lengths,
        relations=relations,
        labels=labels.relation_labels,
    )


def without_tree(structure: Any) -> Any:
    """Trees as independent heads with their scores; everything else as it is."""
    return as_independent(structure) if isinstance(structure, SpanningTree) else structure


def as_independent(structure: Arcs) -> HeadSelection:
    """Heads with the same scores of which no more is known."""
    return HeadSelection(
        structure.scores,
        relations=structure.relations,
        labels=structure.labels,
        layout=structure.layout,
    )


def with_several_roots(teacher: TreeMarginals) -> Ints1d:
    """The sentences whose trees have more than one root."""
    layout = teacher.layout
    roots = layout.packing.sum(teacher.flat_marginals()[layout.row_starts])
    return np.flatnonzero(to_host(roots) > 1.5)


def as_trees(heads: Arcs, projective: bool = False) -> SpanningTree:
    """Heads given that they are a tree with one root."""
    return SpanningTree(
        heads.scores,
        projective,
        relations=heads.relations,
        labels=heads.labels,
        layout=heads.layout,
    )


def with_rest(heads: HeadSelection, possible: Any | None = None) -> HeadSelection:
    """Normalised heads of which those without any probability share `MAX_REST` at each token, so
    that there is always a tree.

    possible: (Σ n(n + 1),) which heads may have a share; None for all.
    """
    xp, layout = array_module(heads.scores), heads.layout
    probs = heads.flat_marginals()
    missing = probs == 0 if possible is None else (probs == 0) & possible
    missing[layout.self_cells] = False
    counts = xp.maximum(layout.row_sum(missing.astype(probs.dtype)), 1)
    shares = xp.where(missing, layout.spread(MAX_REST / counts), probs)
    with np.errstate(divide="ignore"):
        return heads.with_scores(xp.log(shares))


def without_best_tree(heads: HeadSelection, projective: bool) -> Any:
    """The arcs (Σ n(n + 1),) of sentences whose best heads, one by one, are no tree."""
    layout = heads.layout
    best = layout.row_argmax(heads.scores)
    good = is_tree(best, layout.lengths)
    if projective:
        good &= is_projective(best, layout)
    return array_module(heads.scores).asarray(np.repeat(~good[layout.sentences], layout.widths))


def in_order(structure: Any, order: Ints1d, labels: Sequence[str]) -> Any:
    """The same distributions with their relations in another order, or given that they are among
    some; or candidates with theirs in another order.

    order: (R',) the column that each column is taken from. labels: their names.
    """
    if isinstance(structure, Candidates):
        number = np.append(np.argsort(order), -1)  # −1 stays what it is
        outputs = [np.asarray(trees).copy() for trees in structure.outputs]
        for trees in outputs:
            trees[:, 1] = number[trees[:, 1]]
        return structure.with_outputs(outputs, labels)
    found = copy(structure)
    found.relations, found.labels = recast(structure.relations, order), tuple(labels)
    return found
