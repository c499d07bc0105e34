"""Spans that are independent of each other, whether they overlap or not (docs/math.md §2.6)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from .base import (
    Bools2d,
    Floats1d,
    Floats2d,
    Floats3d,
    Ints1d,
    SentenceError,
    array_module,
    as_labels,
    as_lengths,
    as_scores,
    check_scores,
    row_max,
    to_host,
)
from .kbest import check_k, token_kbest
from .packing import Packing
from .span_outputs import ScoredSpans, Span, SpanArrays, SpanSet


class LocalSpans:
    """p(y) = Π softmax over (0, scores_{i,w}): every span has one of the labels, or none.

    Spans do not know of each other: an output is a set of spans (first token, last token, label
    index) that may be nested and may cross, but no two have the same tokens.

    scores: (N, W, R) log-potentials: [i, w, r] is the span of the tokens i..i+w of i's sentence
        with the label r, against none, whose score is 0; -inf forbids a label. What sticks out of
        the sentence is ignored.
    lengths: (B,) tokens of each sentence, summing to N. labels: bare names ("PER").
    packing: the layout of another structure over the same sentences, to share it.

    Results have the dtype of the scores. Raises ValueError for shapes that do not fit, and
    SentenceError for a score of NaN or +inf.
    """

    def __init__(
        self,
        scores: Floats3d,
        lengths: Ints1d | Sequence[int],
        labels: Sequence[str] | None = None,
        *,
        packing: Packing | None = None,
    ) -> None:
        self.scores = as_scores(scores, "scores", (None, None, None))
        if not self.max_width:
            raise ValueError("scores should be given for at least one width, but there is none")
        self.lengths = as_lengths(packing.lengths if packing else lengths, len(self.scores))
        self.labels = as_labels(labels, self.n_labels)
        self.packing = packing or Packing(self.lengths, array_module(self.scores))
        if self.scores.size and not float(self.scores.max()) < np.inf:
            self.scores = self._inner
            check_scores(self.scores, self.lengths, "a span score")

    @property
    def n_labels(self) -> int:
        return self.scores.shape[2]

    @property
    def max_width(self) -> int:
        """How many tokens a span has at most, W."""
        return self.scores.shape[1]

    def log_partition(self) -> Floats1d:
        """log Z of every sentence: Σ log(1 + Σ_r exp s) over its spans, (B,)."""
        return self._cast(self._log_z)

    def span_log_partition(self) -> Floats2d:
        """log(1 + Σ_r exp s) of every span, (N, W); 0 for what sticks out."""
        return self._softmax[1].copy()

    def marginals(self) -> Floats3d:
        """The probability of every span and label, (N, W, R); 0 for what sticks out."""
        return self._softmax[0].copy()

    def argmax(self) -> list[SpanSet]:
        """The spans of every sentence for which a label is better than none, on the host."""
        found = array_module(self.scores).nonzero(self._peaks > 0)
        labels = self._inner[found].argmax(axis=1) if len(found[0]) else found[0]
        tokens, widths = map(to_host, found)
        sentences = to_host(self.packing.sentences)[tokens]
        starts = tokens - self.packing.offsets[sentences]
        spans = SpanArrays(sentences, starts, starts + widths, to_host(labels))
        return spans.sets(self.packing.n_sentences)

    def topk(self, k: int) -> list[ScoredSpans]:
        """The `k` best sets of spans of every sentence with log-probabilities, best first.

        Exact; fewer where fewer sets have a probability above zero.
        """
        check_k(k)
        inside = to_host(self._inside)
        choices = np.pad(to_host(self._inner).astype(np.float64), ((0, 0), (0, 0), (1, 0)))
        best = to_host(self.packing.sum(self._peaks.sum(axis=1, dtype=np.float64)) - self._log_z)
        found = []
        bounds = self.packing.offsets.tolist()
        for start, stop, log_prob in zip(bounds, bounds[1:], best.tolist()):
            firsts, widths = np.nonzero(inside[start:stop])
            scored = token_kbest(choices[start:stop][firsts, widths], k, log_prob)
            found.append(
                [(_chosen(firsts, widths, np.asarray(path)), value) for path, value in scored]
            )
        return found

    def score(self, outputs: Sequence[Collection[Span]]) -> Floats1d:
        """The unnormalised score of one set of spans a sentence, (B,)."""
        return self._cast(self._score(outputs))

    def log_prob(self, outputs: Sequence[Collection[Span]]) -> Floats1d:
        """The log-probability of one set of spans a sentence, (B,)."""
        return self._cast(self._score(outputs) - self._log_z)

    def entropy(self) -> Floats1d:
        """The entropy of every sentence's distribution in nats, (B,)."""
        xp = array_module(self.scores)
        probabilities, log_norms = self._softmax
        scores = xp.where(probabilities > 0, self._inner, 0)
        expected = (probabilities * scores).sum(axis=2)
        per_token = (log_norms - expected).sum(axis=1, dtype=np.float64)
        return self._cast(self.packing.sum(per_token).clip(0, None))

    def parts_of(self, outputs: Sequence[Collection[Span]]) -> Floats3d:
        """One set of spans a sentence as indicators, (N, W, R)."""
        xp = array_module(self.scores)
        parts = xp.zeros(self.scores.shape, dtype=self.scores.dtype)
        parts[self._cells(outputs)] = 1
        return parts

    def select(self, sentences: Ints1d | Sequence[int]) -> LocalSpans:
        """Only the given sentences of the batch, in the given order."""
        tokens, lengths = self.packing.select(sentences)
        return LocalSpans(self.scores[tokens], lengths, self.labels)

    @cached_property
    def _inside(self) -> Bools2d:
        return array_module(self.scores).asarray(spans_inside(self.lengths, self.max_width))

    @cached_property
    def _inner(self) -> Floats3d:
        """The scores, -inf for what sticks out."""
        xp = array_module(self.scores)
        return xp.where(self._inside[:, :, None], self.scores, self.scores.dtype.type(-np.inf))

    @cached_property
    def _peaks(self) -> Floats2d:
        """The best score of every span, none's among them, (N, W)."""
        shape = self.scores.shape
        return row_max(self._inner.reshape(-1, shape[2])).reshape(shape[:2]).clip(0, None)

    @cached_property
    def _softmax(self) -> tuple[Floats3d, Floats2d]:
        """Probabilities, (N, W, R), and log(1 + Σ_r exp s) of every span, (N, W)."""
        xp = array_module(self.scores)
        peaks = self._peaks
        probabilities = self._inner - peaks[:, :, None]
        xp.exp(probabilities, out=probabilities)
        # Of exp(-peak) + Σ_r exp(s_r - peak) what is more than 1, exact even if all spans are rare.
        rest = probabilities.sum(axis=2) + xp.expm1(-peaks)
        probabilities /= 1 + rest[:, :, None]
        return probabilities, peaks + xp.log1p(rest)

    @cached_property
    def _log_z(self) -> Floats1d:
        return self.packing.sum(self._softmax[1].sum(axis=1, dtype=np.float64))

    def _score(self, outputs: Sequence[Collection[Span]]) -> Floats1d:
        tokens, widths, labels = self._cells(outputs)
        xp = array_module(self.scores)
        sums = xp.zeros(self.packing.n_sentences)
        xp.add.at(sums, self.packing.sentences[tokens], self.scores[tokens, widths, labels])
        return sums

    def _cells(self, outputs: Sequence[Collection[Span]]) -> tuple[Ints1d, Ints1d, Ints1d]:
        """Where the spans of an output are in the scores: tokens, widths and labels."""
        if len(outputs) != len(self.lengths):
            raise ValueError(f"There are {len(self.lengths)} sentences, but {len(outputs)} outputs")
        cells = [
            (offset + first, last - first, label)
            for sentence, (offset, spans) in enumerate(zip(self.packing.offsets.tolist(), outputs))
            for first, last, label in self._checked(sentence, spans)
        ]
        xp = array_module(self.scores)
        tokens, widths, labels = np.asarray(cells, dtype=np.int64).reshape(-1, 3).T
        return xp.asarray(tokens), xp.asarray(widths), xp.asarray(labels)

    def _checked(self, sentence: int, spans: Collection[Span]) -> Iterator[Span]:
        """The spans of a sentence. Raises SentenceError for one that is not possible."""
        n_tokens = int(self.lengths[sentence])
        seen: dict[tuple[int, int], Span] = {}
        for span in spans:
            first, last, label = span
            if not 0 <= first <= last < n_tokens:
                what = f"which is not within its {n_tokens} tokens"
            elif last - first >= self.max_width:
                what = (
                    f"of {last - first + 1} tokens, but there are scores only for spans of at most "
                    f"{self.max_width}"
                )
            elif not 0 <= label < self.n_labels:
                what = f"but there are only {self.n_labels} labels"
            elif (first, last) in seen:
                what = f"which has the same tokens as its span {seen[first, last]}"
            else:
                seen[first, last] = span
                yield span
                continue
            raise SentenceError(f"has the span {span}, {what}", sentence)

    def _cast(self, values: Floats1d) -> Floats1d:
        return values.astype(self.scores.dtype)


def spans_inside(lengths: Ints1d, max_width: int) -> npt.NDArray[np.bool_]:
    """Whether the tokens i..i+w of the batch are in one sentence, (N, W), on the host."""
    ends = np.repeat(np.cumsum(lengths), lengths)
    return (ends - np.arange(len(ends)))[:, None] > np.arange(max_width)


def _chosen(firsts: Ints1d, widths: Ints1d, choices: Ints1d) -> SpanSet:
    """The spans that have a label, where choice 0 is none and choice r + 1 the label r."""
    spans = np.flatnonzero(choices)
    columns = (firsts[spans], firsts[spans] + widths[spans], choices[spans] - 1)
    return frozenset(zip(*(column.tolist() for column in columns)))
