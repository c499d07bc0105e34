"""Spans from independent scores, best first, each kept if it agrees with the better ones.

What Yu et al. (2020, arXiv 2005.07150) do. For spans that do not overlap `FlatSpans.argmax` is
exact; this is for nested spans, which it cannot represent, and to compare with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from .base import Bools1d, Floats1d, Floats3d, Ints1d, as_lengths, as_scores, to_host
from .span_passes import label_max

ScoredSpan: TypeAlias = tuple[int, int, int, float]
"""First token, last token, label index, score; tokens are counted within the sentence."""


class _Found(NamedTuple):
    """Spans by sentence, the best first, (M,) each; tokens are counted in the batch."""

    sentences: Ints1d
    starts: Ints1d
    lasts: Ints1d
    labels: Ints1d
    scores: Any

    def take(self, chosen: Any) -> _Found:
        return _Found(*(column[chosen] for column in self))

    def best_first(self) -> _Found:
        """The same by sentence and score; equal ones in the order they have."""
        return self.take(np.lexsort((-self.scores, self.sentences)))


Conflict: TypeAlias = Callable[[_Found, _Found], Bools1d]


def decode_nested(
    scores: Floats3d, lengths: Ints1d | Sequence[int], threshold: float
) -> list[list[ScoredSpan]]:
    """Spans that may contain each other, but not cross, of every sentence; the best first.

    Of the spans with a score or probability (N, W, R) above the threshold, in order of score, each
    one that crosses none before it, with its best label. What sticks out is ignored.
    """
    return _decode(scores, lengths, threshold, _crossing)


def decode_greedy(
    scores: Floats3d, lengths: Ints1d | Sequence[int], threshold: float = 0.0
) -> list[list[ScoredSpan]]:
    """Spans that do not overlap, of every sentence; the best first.

    As `decode_nested`, but each one that shares no token with any before it. The sum of their
    scores need not be the highest.
    """
    return _decode(scores, lengths, threshold, _overlapping)


def without_overlaps(sentences: Ints1d, firsts: Ints1d, lasts: Ints1d, scores: Floats1d) -> Ints1d:
    """Which of some spans, (M,), share no token with a better one that is kept: their numbers.

    sentences: those of the spans. firsts, lasts: their tokens, counted in the batch.
    """
    spans = _Found(sentences, firsts, lasts, np.arange(len(firsts)), scores)
    accepted = _accepted(spans.best_first(), _overlapping)
    return np.sort(np.concatenate([spans.labels[:0], *(found.labels for found in accepted)]))


def _overlapping(spans: _Found, others: _Found) -> Bools1d:
    return (spans.starts <= others.lasts) & (others.starts <= spans.lasts)


def _crossing(spans: _Found, others: _Found) -> Bools1d:
    # One starts within the other without being its start, and ends after it.
    return ((spans.starts < others.starts) & _ends_within(spans, others)) | (
        (others.starts < spans.starts) & _ends_within(others, spans)
    )


def _ends_within(spans: _Found, others: _Found) -> Bools1d:
    return (others.starts <= spans.lasts) & (spans.lasts < others.lasts)


def _decode(
    scores: Floats3d, lengths: Ints1d | Sequence[int], threshold: float, conflict: Conflict
) -> list[list[ScoredSpan]]:
    scores = as_scores(to_host(scores), "scores", (None, None, None))
    lengths = as_lengths(lengths, len(scores))
    return _lists(_accepted(_above(scores, lengths, threshold), conflict), lengths)


def _accepted(spans: _Found, conflict: Conflict) -> list[_Found]:
    """The spans that are in conflict with no better one that is accepted.

    spans: by sentence, the best first.
    """
    accepted = []
    # All sentences at once: their best spans are accepted, and what is in conflict with them goes.
    while len(spans.sentences):
        heads = np.flatnonzero(np.diff(spans.sentences, prepend=-1))
        accepted.append(spans.take(heads))
        counts = np.diff(heads, append=len(spans.sentences))
        gone = conflict(spans, spans.take(np.repeat(heads, counts)))
        gone[heads] = True
        spans = spans.take(~gone)
    return accepted


def _above(scores: Floats3d, lengths: Ints1d, threshold: float) -> _Found:
    """The spans above the threshold by sentence and score; of equal scores the leftmost first."""
    ends = np.cumsum(lengths)
    room = np.repeat(ends, lengths) - np.arange(len(scores))
    best = label_max(scores)
    starts, widths = np.nonzero((best > threshold) & (np.arange(best.shape[1]) < room[:, None]))
    labels = scores[starts, widths].argmax(axis=1)
    sentences = np.repeat(np.arange(len(lengths)), lengths)[starts]
    found = _Found(sentences, starts, starts + widths, labels, best[starts, widths])
    return found.best_first()


def _lists(accepted: list[_Found], lengths: Ints1d) -> list[list[ScoredSpan]]:
    if not accepted:
        return [[] for _ in lengths]
    spans = _Found(*map(np.concatenate, zip(*accepted)))
    spans = spans.take(np.argsort(spans.sentences, kind="stable"))
    shifts = (np.cumsum(lengths) - lengths)[spans.sentences]
    columns = (spans.starts - shifts, spans.lasts - shifts, spans.labels, spans.scores)
    rows = list(zip(*(column.tolist() for column in columns)))
    bounds = np.searchsorted(spans.sentences, np.arange(len(lengths) + 1)).tolist()
    return [rows[low:high] for low, high in pairwise(bounds)]
