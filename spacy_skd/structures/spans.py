"""Sets of labelled spans that do not overlap, one distribution a sentence (docs/math.md §2.6)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property

import numpy as np

from .base import (
    Bools1d,
    Bools2d,
    Bools3d,
    Floats1d,
    Floats2d,
    Floats3d,
    Ints1d,
    SentenceError,
    array_module,
    as_labels,
    as_lengths,
    as_scores,
    as_weights,
    check_scores,
    to_host,
)
from .chain import ChainMarginals
from .kbest import check_k, span_kbest
from .packing import Packing
from .span_biluo import biluo_marginals
from .span_outputs import ScoredSpans, Span, SpanArrays, SpanSet, flatten_spans
from .span_passes import BestWays, Lattice, SpanPasses


class FlatSpans:
    """p(y) ∝ exp(Σ_{(i,j,r)∈y} scores[i, j-i, r] + Σ_{i in no span} outside[i]).

    An output is a set of spans (first token, last token, label index) that do not overlap; tokens
    are counted from the start of the sentence.

    scores: (N, W, R) log-potentials: [i, w, r] is the span of the tokens i..i+w of i's sentence
        with the label r, against no entity. What sticks out of the sentence is ignored.
    lengths: (B,) tokens of each sentence, summing to N. labels: bare names ("PER").
    outside: (N,) the score of a token that is in no span; by default 0.
    packing: the layout of another structure over the same sentences, to share it.
    -inf forbids: a span with its label, or that a token is in no span.

    Results have the dtype of the scores; the passes are in float64. Raises ValueError for shapes
    that do not fit, SentenceError for a score of NaN or +inf and, when asked for a result, for a
    sentence that has no output.
    """

    def __init__(
        self,
        scores: Floats3d,
        lengths: Ints1d | Sequence[int],
        labels: Sequence[str] | None = None,
        *,
        outside: Floats1d | None = None,
        packing: Packing | None = None,
    ) -> None:
        self.scores = as_scores(scores, "scores", (None, None, None))
        if not self.max_width:
            raise ValueError("scores should be given for at least one width, but there is none")
        self.lengths = as_lengths(packing.lengths if packing else lengths, len(self.scores))
        self.labels = as_labels(labels, self.n_labels)
        self.packing = packing or Packing(self.lengths, array_module(self.scores))
        if self.scores.size and not float(self.scores.max()) < np.inf:
            xp = array_module(self.scores)
            self.scores = xp.where(self._inside.T[:, :, None], self.scores, self._forbidden)
            check_scores(self.scores, self.lengths, "a span score")
        self.outside = self._as_outside(outside)

    @property
    def n_labels(self) -> int:
        return self.scores.shape[2]

    @property
    def max_width(self) -> int:
        """How many tokens a span has at most, W."""
        return self.scores.shape[1]

    def log_partition(self) -> Floats1d:
        """log Z of every sentence, (B,)."""
        return self._cast(self._log_z)

    def marginals(self) -> Floats3d:
        """The probability of every span with every label, (N, W, R); 0 for what sticks out."""
        return self._possible.probabilities.transpose(2, 0, 1).copy()

    def outside_marginals(self) -> Floats1d:
        """The probability that a token is in no span, (N,)."""
        return self._cast(self._possible.outside_probabilities)

    def biluo_marginals(self, weights: Floats1d | None = None) -> ChainMarginals:
        """The probabilities of BILUO labels and of pairs of them (docs/math.md §4).

        The columns are those of `biluo_labels(labels)`. weights: (B,) how much each sentence counts
        in the sums (`pairs`, `starts`, `ends`).
        """
        passes = self._possible
        if weights is not None:
            weights = as_weights(weights, self.scores, len(self.lengths))
        outside = self._cast(passes.outside_probabilities)
        return biluo_marginals(passes.probabilities, outside, self.packing, weights)

    def entropy(self) -> Floats1d:
        """The entropy of every sentence's distribution in nats, (B,)."""
        return self._cast(self._possible.entropy().clip(0, None))

    def argmax(self) -> list[SpanSet]:
        """The best set of spans of every sentence, exactly: frozensets on the host."""
        widths = to_host(self._best.widths)
        offsets = self.packing.offsets
        # The last token of the last span that ends at a token or before it.
        tokens = np.arange(len(widths))
        ends = np.maximum.accumulate(np.where(widths >= 0, tokens, -1))
        sentences = np.flatnonzero(self.lengths)
        at = offsets[sentences + 1] - 1
        found = []
        while len(at):
            lasts = ends[at]
            alive = lasts >= offsets[sentences]
            sentences, lasts = sentences[alive], lasts[alive]
            starts = lasts - widths[lasts]
            found.append((sentences, starts, lasts))
            inner = starts > offsets[sentences]
            sentences, at = sentences[inner], starts[inner] - 1
        return self._with_best_labels(found).sets(len(self.lengths))

    def topk(self, k: int) -> list[ScoredSpans]:
        """The `k` best sets of spans of every sentence with log-probabilities, best first.

        Exact (the best ways and sidetracks, in float64 on the host); fewer where fewer exist.
        """
        check_k(k)
        log_z = to_host(self._log_z)
        best = to_host(self._score(self.argmax())) - log_z
        regrets, bounds = self._regrets(), self.packing.offsets.tolist()
        return [
            span_kbest(regrets[low:high], self.n_labels, k, log_prob)
            for low, high, log_prob in zip(bounds, bounds[1:], best.tolist())
        ]

    def score(self, outputs: Sequence[Collection[Span]]) -> Floats1d:
        """The unnormalised score of one set of spans a sentence, (B,)."""
        return self._cast(self._score(outputs))

    def log_prob(self, outputs: Sequence[Collection[Span]]) -> Floats1d:
        """The log-probability of one set of spans a sentence, (B,); -inf if it is forbidden."""
        return self._cast(self._score(outputs) - self._log_z)

    def parts_of(self, outputs: Sequence[Collection[Span]]) -> Floats3d:
        """One set of spans a sentence as indicators, (N, W, R).

        Raises SentenceError for spans that overlap, stick out or are wider than W tokens.
        """
        xp = array_module(self.scores)
        parts = xp.zeros(self.scores.shape, dtype=self.scores.dtype)
        parts.ravel()[xp.asarray(self._cells(self._flatten(outputs)))] = 1
        return parts

    def restrict(self, allowed: Bools3d, outside_allowed: Bools1d | None = None) -> FlatSpans:
        """The same scores with only some spans possible.

        Its log Z is that of the outputs which agree with a partial annotation. allowed: (N, W, R)
        spans with their labels. outside_allowed: (N,) tokens in no span; by default all.
        """
        xp = array_module(self.scores)
        scores = xp.where(allowed, self.scores, self._forbidden)
        outside = self.outside
        if outside_allowed is not None:
            free = xp.zeros(len(self.scores), self.scores.dtype) if outside is None else outside
            outside = xp.where(outside_allowed, free, self._forbidden)
        return FlatSpans(scores, self.lengths, self.labels, outside=outside, packing=self.packing)

    def select(self, sentences: Ints1d | Sequence[int]) -> FlatSpans:
        """Only the given sentences of the batch, in the given order."""
        tokens, lengths = self.packing.select(sentences)
        outside = None if self.outside is None else self.outside[tokens]
        return FlatSpans(self.scores[tokens], lengths, self.labels, outside=outside)

    @cached_property
    def _inside(self) -> Bools2d:
        """Whether a span is within its sentence, (W, N)."""
        xp, packing = array_module(self.scores), self.packing
        ends = xp.asarray(packing.offsets[1:]).take(packing.sentences)
        room = ends - xp.arange(packing.n_tokens)
        return xp.arange(self.max_width)[:, None] < room

    @cached_property
    def _outside(self) -> Floats1d:
        """The scores of tokens that are in no span, in float64, (N,)."""
        if self.outside is None:
            return array_module(self.scores).zeros(len(self.scores))
        return self.outside.astype(np.float64)

    @cached_property
    def _lattice(self) -> Lattice:
        return Lattice(self.packing, self.max_width)

    @cached_property
    def _passes(self) -> SpanPasses:
        return SpanPasses(self.scores, self._outside, self._inside, self._lattice)

    @cached_property
    def _log_z(self) -> Floats1d:
        """log Z in float64, (B,)."""
        log_z = self._passes.log_z
        if len(log_z):
            self._check_possible(log_z)
        return log_z

    @property
    def _possible(self) -> SpanPasses:
        """The passes, once every sentence is known to have an output."""
        self._log_z  # noqa: B018
        return self._passes

    @cached_property
    def _best(self) -> BestWays:
        best = BestWays.find(self.scores, self._outside, self._inside, self._lattice)
        if self.packing.n_tokens:
            scores = array_module(self.scores).zeros(len(self.lengths))
            scores[self.packing.nonempty] = best.after[self.packing.last_tokens]
            self._check_possible(scores)
        return best

    def _with_best_labels(self, found: list[tuple[Ints1d, Ints1d, Ints1d]]) -> SpanArrays:
        """The best label for each of some spans: sentences, first and last tokens in flat order."""
        none = np.zeros(0, dtype=np.int64)
        columns = zip(*found) if found else ([none], [none], [none])
        sentences, starts, lasts = map(np.concatenate, columns)
        labels = none
        if len(starts):
            xp = array_module(self.scores)
            rows = xp.asarray(starts * self.max_width + lasts - starts)
            candidates = self.scores.reshape(-1, self.n_labels).take(rows, axis=0)
            labels = to_host(candidates.argmax(axis=1))
        shifts = self.packing.offsets[sentences]
        return SpanArrays(sentences, starts - shifts, lasts - shifts, labels)

    def _regrets(self) -> Floats2d:
        """How much worse than the best each way to the boundary after a token is: (N, 1 + W·R).

        The ways are the token outside and then, by width and label, the spans that it is last of.
        """
        best, n_tokens = self._best, len(self.scores)
        before, after, outside = map(to_host, (best.before, best.after, self._outside))
        scores, inside = to_host(self.scores), to_host(self._inside)
        ways = np.full(scores.shape, -np.inf)
        for width in range(min(self.max_width, n_tokens)):
            starts = slice(n_tokens - width)
            whole = scores[starts, width] + before[starts, None]
            ways[width:, width] = np.where(inside[width, starts, None], whole, -np.inf)
        ways = np.column_stack(
            [before + outside, ways.reshape(n_tokens, self.max_width * self.n_labels)]
        )
        with np.errstate(invalid="ignore"):
            return np.where(ways > -np.inf, after[:, None] - ways, np.inf)

    def _score(self, outputs: Sequence[Collection[Span]]) -> Floats1d:
        """The score in float64, (B,)."""
        xp, packing, spans = array_module(self.scores), self.packing, self._flatten(outputs)
        scores = xp.zeros(len(self.lengths))
        if len(spans.starts):
            values = self.scores.ravel().take(xp.asarray(self._cells(spans)))
            sentences = xp.asarray(spans.sentences)
            scores += xp.bincount(sentences, weights=values, minlength=len(self.lengths))
        if self.outside is not None:
            shifts = packing.offsets[spans.sentences]
            edges = np.zeros(packing.n_tokens + 1, dtype=np.int64)
            edges[spans.starts + shifts] += 1
            edges[spans.lasts + shifts + 1] -= 1
            covered = xp.asarray(np.cumsum(edges[:-1]) > 0)
            scores += packing.sum(xp.where(covered, 0, self._outside))
        return scores

    def _flatten(self, outputs: Sequence[Collection[Span]]) -> SpanArrays:
        return flatten_spans(outputs, self.lengths, self.max_width, self.n_labels)

    def _cells(self, spans: SpanArrays) -> Ints1d:
        """Where spans are in the flattened scores."""
        rows = (self.packing.offsets[spans.sentences] + spans.starts) * self.max_width
        return (rows + spans.lasts - spans.starts) * self.n_labels + spans.labels

    def _check_possible(self, scores: Floats1d) -> None:
        """Raise for the first sentence whose best or total score, (B,), is -inf."""
        if float(scores.min()) > -np.inf:
            return
        sentence = int((to_host(scores) == -np.inf).argmax())
        raise SentenceError(
            f"({self.lengths[sentence]} tokens) has no possible set of spans: a token that has to "
            f"be in a span is in none that has a score above -inf",
            sentence,
        )

    def _as_outside(self, outside: Floats1d | None) -> Floats1d | None:
        if outside is None:
            return None
        xp = array_module(self.scores)
        outside = xp.asarray(outside, dtype=self.scores.dtype)
        if outside.shape != (len(self.scores),):
            raise ValueError(
                f"outside should have the shape ({len(self.scores)}), one score a token, but it "
                f"has {outside.shape}"
            )
        check_scores(outside[:, None], self.lengths, "a score for no span")
        return outside

    @property
    def _forbidden(self) -> np.floating:
        return self.scores.dtype.type(-np.inf)

    def _cast(self, values: Floats1d) -> Floats1d:
        return values.astype(self.scores.dtype)
