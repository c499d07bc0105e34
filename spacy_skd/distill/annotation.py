"""Gold annotation as marginals, complete or in part (docs/math.md §2.2).

An annotation is one label index a token, −1 where nothing is known. Missing is missing: the gold
distribution of a sentence is the student's own, given what is annotated, so its loss is the
negative marginal likelihood log Z − log Z_C.
"""

from typing import Any

import numpy as np

from ..structures import ChainMarginals, LinearChain, SentenceError, Token
from ..structures.base import array_module, to_host
from .parts import LabelSequences, Parts, add, expected_parts, inner, scores_of

MISSING = -1


def annotated_sentences(annotation: np.ndarray, student: LabelSequences) -> np.ndarray:
    """Which sentences (B,) have at least one annotated token."""
    return _count(annotation != MISSING, student) > 0


def gold_parts(
    student: LabelSequences, annotation: np.ndarray, weights: np.ndarray
) -> tuple[Parts, float]:
    """Expected parts of the gold annotation, and its log-weight Σ_b w_b log Z_C.

    student: distributions of B sentences of N tokens.
    annotation: (N,) label indices on the host, −1 where the label is not known.
    weights: (B,) weight of each sentence; sentences without annotation need weight 0.

    Raises SentenceError, naming the sentence, where no possible output agrees with its annotation.
    """
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
    known = annotation[rows, None]
    allowed = (known == MISSING) | (known == np.arange(student.n_labels))
    given = student.select(numbers).restrict(xp.asarray(allowed))
    given_weights = xp.asarray(weights[numbers])
    try:
        log_weight += float((given.log_partition() * given_weights).sum())
    except SentenceError as error:
        raise _impossible(
            student, annotation, np.eye(len(weights))[numbers[error.sentence]]
        ) from error
    return add(parts, spread(expected_parts(given, given_weights), rows, xp)), log_weight


def spread(parts: Parts, rows: np.ndarray, xp: Any) -> Parts:
    """The parts of some sentences as parts of the whole batch; rows (N,) says which tokens are
    theirs."""
    if rows.all():
        return parts
    tokens = parts.tokens if isinstance(parts, ChainMarginals) else parts
    whole = xp.zeros((len(rows), tokens.shape[1]), dtype=tokens.dtype)
    whole[xp.asarray(rows)] = tokens
    if not isinstance(parts, ChainMarginals):
        return whole
    return ChainMarginals(tokens=whole, pairs=parts.pairs, starts=parts.starts, ends=parts.ends)


def _indicators(student: LabelSequences, annotation: np.ndarray, weights: np.ndarray) -> Parts:
    """Weighted indicator parts of completely annotated sentences (weight 0 for all others)."""
    scores = scores_of(student)
    xp, n_labels = array_module(scores), student.n_labels
    token_weights = np.repeat(weights, student.lengths).astype(scores.dtype)
    rows = np.flatnonzero(token_weights)
    tokens = np.zeros(scores.shape, dtype=scores.dtype)
    tokens[rows, annotation[rows]] = token_weights[rows]
    if isinstance(student, Token):
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


def _positions(student: LinearChain) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    packing = student.packing
    return (
        to_host(packing.first_tokens),
        to_host(packing.last_tokens),
        to_host(packing.inner_tokens),
    )


def _impossible(
    student: LabelSequences, annotation: np.ndarray, weights: np.ndarray
) -> SentenceError:
    """Which sentence's annotation has probability zero, as an error."""
    complete = _count(annotation == MISSING, student) == 0
    sentence = int(np.flatnonzero(weights)[0])
    for number in np.flatnonzero(weights * complete):
        alone = np.where(np.arange(len(weights)) == number, weights, 0).astype(weights.dtype)
        if not np.isfinite(inner(_indicators(student, annotation, alone), student)):
            sentence = int(number)
            break
    return SentenceError(
        "is annotated with a label sequence that the model cannot give: a move between labels that "
        "its scheme forbids",
        sentence,
    )


def _count(mask: np.ndarray, student: LabelSequences) -> np.ndarray:
    """Number of True among each sentence's tokens."""
    totals = np.concatenate([[0], np.cumsum(mask)])
    offsets = student.packing.offsets
    return totals[offsets[1:]] - totals[offsets[:-1]]
