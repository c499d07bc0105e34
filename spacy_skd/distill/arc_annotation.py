"""Gold trees as parts, complete or in part (docs/math.md §2.4).

An annotation is a head number in the sentence and the index of a relation, (N, 2), each −1 where it
is not known. Missing heads are missing: they are summed over. A relation without a head says
nothing.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..structures import ArcParts, RelationParts, SentenceError, SpanningTree, is_tree
from ..structures.base import Bools1d, Floats1d, Ints1d, array_module, to_host
from ..structures.projective_tree import is_projective
from .parts import Arcs, add, expected_parts, inner, spread

MISSING = -1


def known_heads(annotation: np.ndarray, student: Arcs) -> Bools1d:
    """Which tokens (N,) have an annotated head. Raises ValueError for another shape than (N, 2)."""
    if annotation.shape != (student.layout.n_tokens, 2):
        raise ValueError(
            f"The annotation of {student.layout.n_tokens} tokens with heads should be their head "
            f"numbers and relations, (N, 2), but it has the shape {annotation.shape}."
        )
    return annotation[:, 0] != MISSING


def gold_arcs(student: Arcs, annotation: np.ndarray, weights: Floats1d) -> tuple[ArcParts, float]:
    """Expected parts of the gold annotation, and the log-weight of its heads, Σ_b w_b log Z_C.

    student: distributions of B sentences of N tokens. annotation: (N, 2). weights: (B,).

    Raises SentenceError for the first sentence with a weight whose annotation no output of the
    student agrees with: a head that does not exist and, of trees, what is no part of a tree.
    """
    xp, layout = array_module(student.scores), student.layout
    known = known_heads(annotation, student) & (weights != 0)[layout.sentences]
    _check(annotation, known, student)
    incomplete = np.bincount(layout.sentences[~known], minlength=len(weights)) > 0
    partial = np.flatnonzero(incomplete & (weights != 0))
    token_weights = weights[layout.sentences]

    rows = np.flatnonzero(known & ~incomplete[layout.sentences])
    arcs = np.zeros(layout.n_cells, dtype=student.scores.dtype)
    cells = layout.row_starts + annotation[:, 0]
    arcs[cells[rows]] = token_weights[rows]
    parts = ArcParts(xp.asarray(arcs))
    log_weight = inner(parts, student)
    if not np.isfinite(log_weight):
        barred = np.isneginf(to_host(student.score(_filled(annotation, known))))
        raise _impossible(student, int(np.flatnonzero(barred & (weights != 0) & ~incomplete)[0]))
    if len(partial):
        allowed = _agreeing(cells, known, student)[to_host(layout.select(partial)[0])]
        given = student.select(partial).restrict(xp.asarray(allowed))
        given_weights = xp.asarray(weights[partial])
        try:
            log_weight += float((given.log_partition() * given_weights).sum())
        except SentenceError as error:
            raise _impossible(student, int(partial[error.sentence])) from error
        parts = add(parts, spread(expected_parts(given, given_weights), student, partial))
    return ArcParts(parts.arcs, _relations(annotation, known, token_weights, student)), log_weight


def _filled(annotation: np.ndarray, known: Bools1d) -> Ints1d:
    """Heads that exist: where they are not known, the root."""
    return np.where(known, annotation[:, 0], 0)


def _agreeing(cells: Ints1d, known: Bools1d, student: Arcs) -> Bools1d:
    """Which arcs agree with the heads that are known, (Σ n(n + 1),)."""
    allowed = ~np.repeat(known, student.layout.widths)
    allowed[cells[known]] = True
    return allowed


def _relations(
    annotation: np.ndarray, known: Bools1d, token_weights: Floats1d, student: Arcs
) -> RelationParts | None:
    """The known relations of known heads, each times its token's weight."""
    if not student.n_labels:
        return None
    tokens = np.flatnonzero(known & (annotation[:, 1] != MISSING))
    heads, columns = annotation[tokens].T
    values = np.zeros((len(tokens), student.n_labels), dtype=student.scores.dtype)
    values[np.arange(len(tokens)), columns] = token_weights[tokens]
    return RelationParts(tokens, heads, array_module(student.scores).asarray(values))


def _check(annotation: np.ndarray, known: Bools1d, student: Arcs) -> None:
    """Raise SentenceError for the first sentence whose known heads and relations are not possible.

    known: the tokens that count.
    """
    faults = [*_faults_of_tokens(annotation, known, student)]
    if isinstance(student, SpanningTree) and not faults:
        faults = [*_faults_of_trees(_filled(annotation, known), known, student)]
    if faults:
        sentence, fault = min(faults)
        raise SentenceError(f"is annotated with {fault}", sentence)


def _faults_of_tokens(
    annotation: np.ndarray, known: Bools1d, student: Arcs
) -> Iterator[tuple[int, str]]:
    layout, (heads, columns) = student.layout, annotation.T
    lengths = layout.widths - 1
    for token in np.flatnonzero(known & ((heads < 0) | (heads > lengths)))[:1].tolist():
        yield (
            int(layout.sentences[token]),
            f"the head number {heads[token]} at its token {layout.positions[token]}; it has "
            f"{lengths[token]} tokens, so head numbers are 0 to {lengths[token]}",
        )
    for token in np.flatnonzero(known & (heads == layout.positions + 1))[:1].tolist():
        yield (
            int(layout.sentences[token]),
            f"its token {layout.positions[token]} as its own head; roots have the head number 0",
        )
    n_labels = student.n_labels
    wrong = known & (columns != MISSING) & ((columns < 0) | (columns >= n_labels))
    for token in np.flatnonzero(wrong)[:1].tolist() if n_labels else ():
        yield (
            int(layout.sentences[token]),
            f"the relation {columns[token]} at its token {layout.positions[token]}, but there are "
            f"{n_labels}",
        )


def _faults_of_trees(
    heads: Ints1d, known: Bools1d, student: SpanningTree
) -> Iterator[tuple[int, str]]:
    """What is no part of a tree; heads that are not known are the root here."""
    lengths, sentences = student.lengths, student.layout.sentences
    n_known = np.bincount(sentences[known], minlength=len(lengths))
    n_roots = np.bincount(sentences[known & (heads == 0)], minlength=len(lengths))
    for sentence in np.flatnonzero(n_roots > 1)[:1].tolist():
        yield sentence, f"{n_roots[sentence]} roots, but the model's trees have one"
    for sentence in np.flatnonzero(~is_tree(heads, lengths, single_root=False))[:1].tolist():
        yield sentence, "heads that go round in a circle, which is no tree"
    if student.projective:
        crosses = (n_known == lengths) & ~is_projective(heads, student.layout)
        for sentence in np.flatnonzero(crosses)[:1].tolist():
            yield (
                sentence,
                "arcs that cross, but the model's trees are projective: leave the heads of some of "
                "them out, or set projective = false",
            )


def _impossible(student: Any, sentence: int) -> SentenceError:
    crossing = " or heads whose arcs cross" if getattr(student, "projective", False) else ""
    return SentenceError(
        f"is annotated with heads that the model cannot give: a score of -inf{crossing}", sentence
    )
