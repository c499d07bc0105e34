"""Sets of labelled spans, one a sentence, as flat arrays and back."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import chain, pairwise
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from .base import Ints1d, SentenceError

Span: TypeAlias = tuple[int, int, int]
"""First token, last token, label index; tokens are counted from the start of the sentence."""
SpanSet: TypeAlias = frozenset[Span]
ScoredSpans: TypeAlias = list[tuple[SpanSet, float]]
"""Sets of spans of one sentence with their log-probabilities, best first."""


class SpanArrays(NamedTuple):
    """The spans of all sentences, (M,) each, on the host."""

    sentences: Ints1d
    starts: Ints1d
    lasts: Ints1d
    labels: Ints1d

    def sets(self, n_sentences: int) -> list[SpanSet]:
        """The set of spans of each sentence."""
        order = np.argsort(self.sentences, kind="stable")
        columns = (self.starts, self.lasts, self.labels)
        spans = list(zip(*(column[order].tolist() for column in columns)))
        bounds = np.searchsorted(self.sentences[order], np.arange(n_sentences + 1)).tolist()
        return [frozenset(spans[low:high]) for low, high in pairwise(bounds)]


def flatten_spans(
    outputs: Sequence[Collection[Span]], lengths: Ints1d, max_width: int, n_labels: int
) -> SpanArrays:
    """One set of spans a sentence as arrays, ordered by sentence and start.

    Raises ValueError for another number of sentences, and SentenceError for spans that are not
    three integers, that stick out of the sentence, are wider than `max_width` tokens, overlap or
    have a label that does not exist.
    """
    if len(outputs) != len(lengths):
        raise ValueError(f"There are {len(lengths)} sentences, but {len(outputs)} outputs")
    counts = np.fromiter(map(len, outputs), dtype=np.int64, count=len(outputs))
    flat = list(chain.from_iterable(outputs))
    try:
        numbers = [number for first, last, label in flat for number in (first, last, label)]
        spans = np.array(numbers, dtype=np.int64).reshape(-1, 3)
    except (TypeError, ValueError):
        raise _not_triples(outputs) from None
    sentences = np.repeat(np.arange(len(lengths)), counts)
    order = np.lexsort((spans[:, 0], sentences))
    found = SpanArrays(sentences, *spans[order].T)
    _check(found, lengths, max_width, n_labels)
    return found


def _check(spans: SpanArrays, lengths: Ints1d, max_width: int, n_labels: int) -> None:
    """Raise a SentenceError for the first span that is not possible."""
    sentences, starts, lasts, labels = spans
    n_tokens = lengths[sentences]
    outside = (starts < 0) | (lasts < starts) | (lasts >= n_tokens)
    too_wide = lasts - starts >= max_width
    unknown = (labels < 0) | (labels >= n_labels)
    overlapping = np.zeros(len(starts), dtype=bool)
    overlapping[1:] = (sentences[1:] == sentences[:-1]) & (starts[1:] <= lasts[:-1])
    wrong = outside | too_wide | unknown | overlapping
    if not wrong.any():
        return
    number = int(wrong.argmax())
    span = (int(starts[number]), int(lasts[number]), int(labels[number]))
    if outside[number]:
        what = f"which is not within its {n_tokens[number]} tokens"
    elif too_wide[number]:
        what = (
            f"of {lasts[number] - starts[number] + 1} tokens, but there are scores only for spans "
            f"of at most {max_width}"
        )
    elif unknown[number]:
        what = f"but there are only {n_labels} labels"
    else:
        other = (int(starts[number - 1]), int(lasts[number - 1]), int(labels[number - 1]))
        what = f"which overlaps with its span {other}"
    raise SentenceError(f"has the span {span}, {what}", int(sentences[number]))


def _not_triples(outputs: Sequence[Collection[Any]]) -> ValueError:
    """The error for the first span that is not three integers."""
    for sentence, output in enumerate(outputs):
        for span in output:
            try:
                wrong = np.array(span, dtype=np.int64).shape != (3,)
            except (TypeError, ValueError):
                wrong = True
            if wrong:
                return SentenceError(
                    f"has the span {span!r}, which is not (first token, last token, label index)",
                    sentence,
                )
    return ValueError("The outputs should be sets of (first token, last token, label index)")
