"""Gold annotation as marginals, complete or in part (docs/math.md §2.2).

An annotation is one label index a token, −1 where nothing is known. Missing is missing: the gold
distribution of a sentence is the student's own, given what is annotated, so its loss is the
negative marginal likelihood log Z − log Z_C.

Of spans that do not overlap, it is given as BILUO labels in the order of `biluo_labels`, too. Of
spans that may, it is one number a span, (N, W): 0 for no entity, r + 1 for the label r, −1 where
nothing is known. Of heads and trees, it is a head number and the index of a relation, (N, 2), each
−1 where it is not known (`arc_annotation`).
"""

from typing import Any

import numpy as np

from ..structures import (
    ChainMarginals,
    FlatSpans,
    LinearChain,
    LocalSpans,
    SentenceError,
)
from ..structures.base import Bools2d, Bools3d, Floats3d, array_module, to_host
from .arc_annotation import MISSING, gold_arcs, known_heads
from .parts import ARCS, Distribution, Parts, add, expected_parts, inner, scores_of, spread


def annotated_sentences(annotation: np.ndarray, student: Distribution) -> np.ndarray:
    """Which sentences (B,) have at least one annotated token."""
    if isinstance(student, ARCS):
        return _count(known_heads(annotation, student), student) > 0
    known = annotation != MISSING
    return _count(known.any(axis=1) if known.ndim > 1 else known, student) > 0


def gold_parts(
    student: Distribution, annotation: np.ndarray, weights: np.ndarray
) -> tuple[Parts, float]:
    """Expected parts of the gold annotation, and its log-weight Σ_b w_b log Z_C.

    student: distributions of B sentences of N tokens.
    annotation: (N,) label indices on the host, −1 where the label is not known; of spans that may
        overlap and of arcs see above. The log-weight is that of heads, without their relations.
    weights: (B,) weight of each sentence; sentences without annotation need weight 0.

    Raises SentenceError, naming the sentence, where no possible output agrees with its annotation.
    """
    if isinstance(student, ARCS):
        return gold_arcs(student, annotation, weights)
    if isinstance(student, LocalSpans):
        return _gold_of_single_spans(student, annotation, weights)
    partial = (_count(annotation == MISSING, student) > 0) & (weights != 0)
    complete_weights = np.where(partial, 0, weights).astype(weights.dtype)
    parts = _indicators(student, annotation, complete_weights)
    log_weight = inner(parts, student)
    if not np.isfinite(log_weight):
        raise _impossible(student, annotation, complete_weights)
    if not partial.any():
        return parts, log_weight
    xp = array_module(scores_of(student))
    numbers = np.flatnonzero(partial)
    rows = np.repeat(partial, student.lengths)
    given = _restricted(student.select(numbers), annotation[rows], xp)
    given_weights = xp.asarray(weights[numbers])
    try:
        log_weight += float((given.log_partition() * given_weights).sum())
    except SentenceError as error:
        raise _impossible(
            student, annotation, np.eye(len(weights))[numbers[error.sentence]]
        ) from error
    return add(parts, spread(expected_parts(given, given_weights), student, numbers)), log_weight


def _restricted(student: Any, annotation: np.ndarray, xp: Any) -> Any:
    """The distributions given an annotation in part."""
    if isinstance(student, FlatSpans):
        allowed, outside = allowed_spans(annotation, student)
        return student.restrict(xp.asarray(allowed), xp.asarray(outside))
    known = annotation[:, None]
    allowed = (known == MISSING) | (known == np.arange(student.n_labels))
    return student.restrict(xp.asarray(allowed))


def allowed_spans(
    annotation: np.ndarray, student: FlatSpans | LocalSpans
) -> tuple[np.ndarray, np.ndarray]:
    """Which spans (N, W, R), and which tokens outside them (N,), agree with BILUO labels, −1 where
    they are not known."""
    known = annotation[:, None]
    columns = (known == MISSING) | (known == np.arange(1 + 4 * student.n_labels))
    return spans_within(columns, student.max_width), columns[:, 0]


def spans_within(allowed: Bools2d, max_width: int) -> Bools3d:
    """Which spans (N, W, R) have tokens that may all be labelled so, by BILUO columns (N, 1 + 4R).

    Those that stick out of their sentence are not told apart.
    """
    n_tokens = len(allowed)
    begins, inside, ends, units = (allowed[:, 1 + position :: 4] for position in range(4))
    not_inside = np.cumsum(~inside, axis=0)
    spans = np.zeros((n_tokens, max_width, units.shape[1]), dtype=bool)
    spans[:, 0] = units
    for width in range(1, min(max_width, n_tokens)):
        # Of the tokens between the ends, none may be known to be something else.
        fits = not_inside[width - 1 : -1] == not_inside[: n_tokens - width]
        spans[: n_tokens - width, width] = begins[:-width] & ends[width:] & fits
    return spans


def without_wide(annotation: np.ndarray, max_width: int) -> np.ndarray:
    """BILUO columns in which the tokens of wider entities count as not annotated."""
    position = np.where(annotation > 0, (annotation - 1) % 4, -1)
    firsts, lasts = np.flatnonzero(position == 0), np.flatnonzero(position == 2)
    for first, last in zip(firsts.tolist(), lasts.tolist()):
        if last - first >= max_width:
            annotation[first : last + 1] = MISSING
    return annotation


def mark_unknown(annotation: np.ndarray, unknown: np.ndarray) -> None:
    """Mark all spans (n, W) with a token of which nothing is known (n,) as not annotated."""
    annotation[unknown] = MISSING  # also what sticks out, so that nothing is left of a raw document
    counts = np.concatenate([[0], np.cumsum(unknown)])
    for width in range(min(annotation.shape[1], len(unknown))):
        touched = counts[width + 1 :] > counts[: len(unknown) - width]
        annotation[: len(unknown) - width, width][touched] = MISSING


def _gold_of_single_spans(
    student: LocalSpans, annotation: np.ndarray, weights: np.ndarray
) -> tuple[Parts, float]:
    """What is known of each span by itself; of an unknown one, the student's own opinion."""
    xp = array_module(student.scores)
    shares = np.repeat(weights, student.lengths)[:, None]
    gold = np.zeros(student.scores.shape, dtype=student.scores.dtype)
    tokens, widths = np.nonzero((annotation > 0) & (shares != 0))
    gold[tokens, widths, annotation[tokens, widths] - 1] = shares[tokens, 0]
    unknown = xp.asarray((annotation == MISSING) & (shares != 0))
    parts, token_weights = xp.asarray(gold), xp.asarray(shares)
    log_weight = inner(parts, student)
    if bool(unknown.any()):
        parts = parts + student.marginals() * (token_weights * unknown)[:, :, None]
        log_weight += float((student.span_log_partition() * token_weights)[unknown].sum())
    return parts, log_weight


def _indicators(student: Distribution, annotation: np.ndarray, weights: np.ndarray) -> Parts:
    """Weighted indicator parts of completely annotated sentences (weight 0 for all others)."""
    if isinstance(student, FlatSpans):
        return _span_indicators(student, annotation, weights)
    scores = scores_of(student)
    xp, n_labels = array_module(scores), student.n_labels
    token_weights = np.repeat(weights, student.lengths).astype(scores.dtype)
    rows = np.flatnonzero(token_weights)
    tokens = np.zeros(scores.shape, dtype=scores.dtype)
    tokens[rows, annotation[rows]] = token_weights[rows]
    if not isinstance(student, LinearChain):
        return xp.asarray(tokens)
    first, last, inside = _positions(student)
    after = inside[token_weights[inside] != 0]
    pairs = np.bincount(
        annotation[after - 1] * n_labels + annotation[after],
        weights=token_weights[after],
        minlength=n_labels * n_labels,
    )
    return ChainMarginals(
        tokens=xp.asarray(tokens),
        pairs=xp.asarray(pairs.reshape(n_labels, n_labels).astype(scores.dtype)),
        starts=xp.asarray(tokens[first].sum(0)),
        ends=xp.asarray(tokens[last].sum(0)),
    )


def _span_indicators(student: FlatSpans, annotation: np.ndarray, weights: np.ndarray) -> Floats3d:
    """The same of spans, from BILUO columns."""
    token_weights = np.repeat(weights, student.lengths).astype(student.scores.dtype)
    parts = np.zeros(student.scores.shape, dtype=student.scores.dtype)
    positions = (annotation - 1) % 4
    opens = (annotation > 0) & ((positions == 0) | (positions == 3)) & (token_weights != 0)
    closes = (annotation > 0) & (positions >= 2) & (token_weights != 0)
    starts, ends = np.flatnonzero(opens), np.flatnonzero(closes)
    for sentence in np.flatnonzero(weights):
        low, high = student.packing.offsets[sentence : sentence + 2]
        if not _is_flat(annotation[low:high], student.max_width):
            raise _not_possible(int(sentence))
    parts[starts, ends - starts, (annotation[starts] - 1) // 4] = token_weights[starts]
    return array_module(student.scores).asarray(parts)


def _positions(student: LinearChain) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    packing = student.packing
    return (
        to_host(packing.first_tokens),
        to_host(packing.last_tokens),
        to_host(packing.inner_tokens),
    )


def _impossible(
    student: Distribution, annotation: np.ndarray, weights: np.ndarray
) -> SentenceError:
    """Which sentence's annotation has probability zero, as an error."""
    complete = _count(annotation == MISSING, student) == 0
    sentence = int(np.flatnonzero(weights)[0])
    for number in np.flatnonzero(weights * complete):
        alone = np.where(np.arange(len(weights)) == number, weights, 0).astype(weights.dtype)
        if not np.isfinite(inner(_indicators(student, annotation, alone), student)):
            sentence = int(number)
            break
    return _not_possible(sentence)


def _not_possible(sentence: int) -> SentenceError:
    return SentenceError(
        "is annotated with a label sequence that the model cannot give: a move between labels that "
        "its scheme forbids, or a wider span than it has",
        sentence,
    )


def _is_flat(columns: np.ndarray, max_width: int) -> bool:
    """Whether BILUO columns are those of spans that are not too wide."""
    position = np.where(columns > 0, (columns - 1) % 4, 4)  # B, I, L, U; O
    label = np.where(columns > 0, (columns - 1) // 4, -1)
    # An I or L goes on with what a B or I of its label began, and only such.
    continues, continued = np.isin(position, (1, 2)), np.isin(position, (0, 1))
    if not (continues[1:] == continued[:-1]).all() or continues[:1].any() or continued[-1:].any():
        return False
    if (label[1:] != label[:-1])[continues[1:]].any():
        return False
    lasts, firsts = np.flatnonzero(position == 2), np.flatnonzero(position == 0)
    return not len(firsts) or int((lasts - firsts).max()) < max_width


def _count(mask: np.ndarray, student: Distribution) -> np.ndarray:
    """Number of True among each sentence's tokens."""
    totals = np.concatenate([[0], np.cumsum(mask)])
    offsets = student.packing.offsets
    return totals[offsets[1:]] - totals[offsets[:-1]]
