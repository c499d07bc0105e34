"""Label sequences with scores for neighbours: the linear-chain CRF (docs/math.md §2.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from . import viterbi
from .base import (
    Bools2d,
    Floats1d,
    Floats2d,
    Floats3d,
    Ints1d,
    Scored,
    SentenceError,
    array_module,
    as_labels,
    as_lengths,
    as_scores,
    as_weights,
    cells_of,
    check_potentials,
    check_scores,
    expectation,
    flatten_outputs,
    row_max,
    split_outputs,
    to_host,
)
from .chain_log import LogPart, log_parts
from .chain_scaled import ScaledPasses
from .chain_spans import span_columns, span_marginals, span_pairs
from .kbest import chain_kbest, check_k
from .packing import Packing
from .token import Token


@dataclass(frozen=True, eq=False)
class ChainMarginals:
    """Probabilities of a chain's parts, or indicators of one output's: gradients of its potentials.

    tokens: (N, L) the labels of every token. pairs: (L, L), [from, to], summed over all neighbours.
    starts, ends: (L,) the labels of first and last tokens, summed over sentences.
    In the sums a sentence counts with its weight; `tokens` has no weights.
    """

    tokens: Floats2d
    pairs: Floats2d
    starts: Floats1d
    ends: Floats1d


class LinearChain:
    """p(y) ∝ exp(start[y_1] + Σ_i emissions_i[y_i] + Σ_i transitions[y_{i-1}, y_i] + end[y_n]).

    emissions: (N, L) log-potentials, the tokens of all sentences one after another.
    transitions: (L, L), [from, to]. start, end: (L,). lengths: (B,) summing to N.
    labels: label names in column order. packing: the layout of another structure over the same
    sentences, to share it. -inf anywhere forbids: its part has probability zero, exactly.

    Results have the dtype of the emissions. Raises ValueError for shapes that do not fit and for
    NaN or +inf in the scores (a SentenceError, if they are a sentence's), and SentenceError, when
    asked for a result, for a sentence that has no legal label sequence.
    """

    def __init__(
        self,
        emissions: Floats2d,
        transitions: Floats2d,
        start: Floats1d,
        end: Floats1d,
        lengths: Ints1d | Sequence[int],
        labels: Sequence[str] | None = None,
        *,
        packing: Packing | None = None,
    ) -> None:
        self.emissions = as_scores(emissions, "emissions", (None, None))
        self.lengths = as_lengths(packing.lengths if packing else lengths, len(self.emissions))
        n_labels = self.n_labels
        dtype = self.emissions.dtype
        self.transitions = self._as_table(transitions, "transitions")
        self.start = as_scores(start, "start", (n_labels,)).astype(dtype, copy=False)
        self.end = as_scores(end, "end", (n_labels,)).astype(dtype, copy=False)
        self.labels = as_labels(labels, n_labels)
        check_scores(self.emissions, self.lengths, "an emission")
        check_potentials(self.transitions, "transitions")
        check_potentials(self.start, "start")
        check_potentials(self.end, "end")
        self.packing = packing or Packing(self.lengths, array_module(self.emissions))

    @classmethod
    def from_token(
        cls,
        token: Token,
        transitions: Floats2d | None = None,
        start: Floats1d | None = None,
        end: Floats1d | None = None,
    ) -> LinearChain:
        """The chain whose emissions are the scores of independent labels.

        Potentials that are not given are zero, which leaves the distribution as it is; legal moves
        as 0 and -inf make it the one over the legal sequences.
        """
        xp = array_module(token.scores)
        zeros = xp.zeros((token.n_labels, token.n_labels), dtype=token.scores.dtype)
        return cls(
            token.scores,
            zeros if transitions is None else transitions,
            zeros[0] if start is None else start,
            zeros[0] if end is None else end,
            token.lengths,
            token.labels,
            packing=token.packing,
        )

    @property
    def n_labels(self) -> int:
        return self.emissions.shape[1]

    def log_partition(self) -> Floats1d:
        """log Z of every sentence, (B,)."""
        return self._cast(self._log_z)

    def marginals(self, weights: Floats1d | None = None) -> ChainMarginals:
        """The probabilities of the parts: the gradient of log Z.

        weights: (B,) how much each sentence counts in the sums (`pairs`, `starts`, `ends`).
        """
        weights = self._as_weights(weights)
        tokens = self.token_marginals()
        pairs = self._passes.pair_sums(weights)
        for part in self._exact:
            pairs += part.passes.pair_sums(None if weights is None else weights[part.sentences])
        return self._parts(tokens, pairs, weights)

    def token_marginals(self) -> Floats2d:
        """The probability of every label at every token, (N, L)."""
        exact = self._exact
        tokens = self._passes.token_marginals()
        for part in exact:
            tokens[part.tokens] = part.passes.token_marginals()
        return tokens

    def marginals_of_pairs(self, sources: Ints1d, targets: Ints1d) -> Floats2d:
        """The probability of P pairs of labels at every token and the one before it, (N, P).

        sources, targets: (P,) the label before and the one at the token. Zeros at first tokens.
        """
        exact = self._exact
        pairs = self._passes.marginals_of_pairs(sources, targets)
        for part in exact:
            pairs[part.tokens] = part.passes.marginals_of_pairs(sources, targets)
        return pairs

    def covariance(self, values: Floats2d, weights: Floats1d | None = None) -> ChainMarginals:
        """The covariance of every part's indicator with Σ_i values_i[y_i], over sequences y.

        That is how the marginals change when the emissions move along `values`, (N, L): the Hessian
        of log Z times this direction, by one pass each way. Form and `weights` as in `marginals`.
        Values have to be finite (ValueError); those of labels of probability zero do not matter.
        """
        xp = array_module(self.emissions)
        values = as_scores(xp.asarray(values), "values", self.emissions.shape)
        if not bool(xp.isfinite(values).all()):
            raise ValueError("values must be finite, but there is a NaN or an infinity in them")
        weights = self._as_weights(weights)
        exact = self._exact
        tokens, pairs = self._passes.covariance(values, weights)
        for part in exact:
            tokens[part.tokens], part_pairs = part.passes.covariance(
                values[part.tokens], None if weights is None else weights[part.sentences]
            )
            pairs += part_pairs
        return self._parts(tokens, pairs, weights)

    def pair_marginals(self) -> Floats3d:
        """The probability of every pair of labels at a token and the one before it, (N, L, L).

        [i, from, to] has `to` at token i; zeros at the first token of a sentence.
        """
        exact = self._exact
        pairs = self._passes.pair_marginals()
        for part in exact:
            pairs[part.tokens] = part.passes.pair_marginals()
        return pairs

    def span_marginals(self, max_width: int) -> Floats3d:
        """The probability of every entity of at most `max_width` tokens, (N, max_width, R).

        [i, w, r] is the entity of the tokens i..i+w of i's sentence with the r-th entity label.
        Raises ValueError for labels that are not `biluo_labels` of some entity labels.
        """
        columns = span_columns(self.labels, max_width)
        inner = self.marginals_of_pairs(*span_pairs(columns))
        return span_marginals(self.token_marginals(), inner, columns, max_width)

    def expected_pairs(self, table: Floats2d) -> Floats1d:
        """The expected sum of `table` (L, L), [from, to], over a sentence's neighbours, (B,).

        A pair that is impossible counts nothing even if its entry is -inf.
        """
        return self._cast(self._expected_pairs(self._as_table(table)))

    def expected_score(self, other: LinearChain) -> Floats1d:
        """⟨μ, s⟩: what `other` scores a sequence drawn from this chain on average, (B,).

        log Z of `other` minus this is the cross-entropy −Σ p log p_other. -inf where this chain
        gives probability to what the other forbids.
        """
        if other.n_labels != self.n_labels or not np.array_equal(other.lengths, self.lengths):
            raise ValueError(
                f"The chains should be over the same sentences and labels, but they have "
                f"{len(self.lengths)} and {len(other.lengths)} sentences, {len(self.emissions)} "
                f"and {len(other.emissions)} tokens, {self.n_labels} and {other.n_labels} labels"
            )
        return self._cast(self._expected_score(other, other.emissions))

    def entropy(self) -> Floats1d:
        """The entropy of every sentence's distribution in nats, (B,)."""
        # Without the emissions' maxima, which cancel, little is lost in float32.
        log_z, peaks = self._log_z, row_max(self.emissions)
        expected = self._expected_score(self, self.emissions - peaks[:, None])
        return self._cast((log_z - self.packing.sum(peaks) - expected).clip(0, None))

    def argmax(self) -> list[Ints1d]:
        """The best label sequences (Viterbi): one int64 array a sentence, on the host."""
        if not self.packing.n_tokens:
            return split_outputs(np.zeros(0, dtype=np.int64), self.packing.offsets)
        chart = viterbi.forward(
            self.emissions, self.transitions, self.start, self.end, self.packing
        )
        path, scores = viterbi.backward(chart, self.packing)
        self._check_possible(self.packing.order, scores)
        return split_outputs(to_host(path), self.packing.offsets)

    def topk(self, k: int) -> list[Scored]:
        """The `k` best label sequences of every sentence with log-probabilities, best first.

        Exact (Viterbi and sidetracks, in float64 on the host); fewer where fewer are legal.
        """
        check_k(k)
        log_z = to_host(self._log_z)  # raises for a sentence without a legal sequence
        packing = self.packing if self.packing.xp is np else Packing(self.lengths)
        emissions, transitions, start, end = (
            to_host(scores).astype(np.float64)
            for scores in (self.emissions, self.transitions, self.start, self.end)
        )
        chart = viterbi.forward(emissions, transitions, start, end, packing)
        best = split_outputs(viterbi.backward(chart, packing)[0], packing.offsets)
        log_probs = to_host(self._score(best)) - log_z
        ways = chart.best[packing.back][:, np.argsort(chart.moves.order)]
        incoming = np.concatenate([transitions.T, end[None]])
        bounds = packing.offsets.tolist()
        return [
            chain_kbest(ways[low:high], incoming, path, k, log_prob)
            for low, high, path, log_prob in zip(bounds, bounds[1:], best, log_probs.tolist())
        ]

    def score(self, outputs: Sequence[Any] | Ints1d) -> Floats1d:
        """The unnormalised score of one label sequence a sentence, (B,)."""
        return self._cast(self._score(outputs))

    def log_prob(self, outputs: Sequence[Any] | Ints1d) -> Floats1d:
        """The log-probability of one label sequence a sentence, (B,); -inf if it is not legal."""
        return self._cast(self._score(outputs) - self._log_z)

    def parts_of(
        self, outputs: Sequence[Any] | Ints1d, weights: Floats1d | None = None
    ) -> ChainMarginals:
        """One label sequence a sentence as indicators; `weights` as in `marginals`."""
        xp = array_module(self.emissions)
        flat, weights = self._flatten(outputs), self._as_weights(weights)
        tokens = xp.zeros(self.emissions.shape, dtype=self.emissions.dtype)
        tokens.ravel()[cells_of(flat, self.n_labels)] = 1
        inner = self.packing.inner_tokens
        pairs = xp.zeros(self.n_labels**2)
        if len(inner):  # cupy's bincount takes no empty array
            pairs = xp.bincount(
                self._pair_cells(flat),
                weights=None if weights is None else weights[self.packing.sentences[inner]],
                minlength=self.n_labels**2,
            )
        pairs = self._cast(pairs).reshape(self.n_labels, self.n_labels)
        return self._parts(tokens, pairs, weights)

    def restrict(self, allowed: Bools2d) -> LinearChain:
        """The same potentials with only the labels of `allowed`, (N, L), possible.

        Its log Z is that of the label sequences which agree with a partial annotation.
        """
        xp = array_module(self.emissions)
        emissions = xp.where(allowed, self.emissions, self.emissions.dtype.type(-np.inf))
        return self._with(emissions, self.lengths, self.packing)

    def select(self, sentences: Ints1d | Sequence[int]) -> LinearChain:
        """Only the given sentences of the batch, in the given order."""
        tokens, lengths = self.packing.select(sentences)
        return self._with(self.emissions[tokens], lengths, None)

    @cached_property
    def _passes(self) -> ScaledPasses:
        return ScaledPasses(self)

    @cached_property
    def _exact(self) -> list[LogPart]:
        """The sentences that leave the range of the numbers, done again in log space."""
        parts = log_parts(self, self._passes.unsafe())
        for part in parts:
            self._check_possible(part.sentences, part.passes.log_z)
        return parts

    @cached_property
    def _log_z(self) -> Floats1d:
        """log Z in float64, (B,)."""
        log_z = self._passes.log_z
        if not self._passes.clearly_safe():
            for part in self._exact:
                log_z[part.sentences] = part.passes.log_z
        return log_z

    def _expected_pairs(self, table: Floats2d) -> Floats1d:
        exact = self._exact
        expected = self._passes.expected_pairs(table)
        for part in exact:
            expected[part.sentences] = part.passes.expected_pairs(table)
        return expected

    def _expected_score(self, scores: LinearChain, emissions: Floats2d) -> Floats1d:
        """⟨μ, s⟩ in float64 with the potentials of `scores`, but other emissions."""
        packing = self.packing
        tokens = self.marginals().tokens
        per_token = expectation(tokens, emissions).astype(np.float64)
        for ends, potentials in (
            (packing.first_tokens, scores.start),
            (packing.last_tokens, scores.end),
        ):
            per_token[ends] += expectation(tokens[ends], potentials[None])
        return packing.sum(per_token) + self._expected_pairs(self._as_table(scores.transitions))

    def _score(self, outputs: Sequence[Any] | Ints1d) -> Floats1d:
        """The score in float64, (B,)."""
        packing, flat = self.packing, self._flatten(outputs)
        inner, first, last = packing.inner_tokens, packing.first_tokens, packing.last_tokens
        cells = cells_of(flat, self.n_labels)
        per_token = self.emissions.ravel().take(cells).astype(np.float64)
        per_token[inner] += self.transitions.take(self._pair_cells(flat))
        per_token[first] += self.start[flat[first]]
        per_token[last] += self.end[flat[last]]
        return packing.sum(per_token)

    def _parts(self, tokens: Floats2d, pairs: Floats2d, weights: Floats1d | None) -> ChainMarginals:
        first, last = tokens[self.packing.first_tokens], tokens[self.packing.last_tokens]
        if weights is None:
            return ChainMarginals(tokens, pairs, first.sum(axis=0), last.sum(axis=0))
        weights = weights[self.packing.nonempty]
        return ChainMarginals(tokens, pairs, weights @ first, weights @ last)

    def _check_possible(self, sentences: Ints1d, scores: Floats1d) -> None:
        """Raise for the first of the sentences whose best or total score is -inf."""
        if not len(scores) or float(scores.min()) > -np.inf:
            return
        sentence = int(to_host(sentences)[to_host(scores) == -np.inf].min())
        raise SentenceError(
            f"({self.lengths[sentence]} tokens) has no legal label sequence: every one has a "
            f"transition or a label that is forbidden (a score of -inf)",
            sentence,
        )

    def _flatten(self, outputs: Sequence[Any] | Ints1d) -> Ints1d:
        xp = array_module(self.emissions)
        return xp.asarray(flatten_outputs(outputs, self.lengths, self.n_labels))

    def _pair_cells(self, flat: Ints1d) -> Ints1d:
        """Where in the flattened transitions the neighbours of a label sequence (N,) are."""
        inner = self.packing.inner_tokens
        return flat[inner - 1] * self.n_labels + flat[inner]

    def _as_weights(self, weights: Floats1d | None) -> Floats1d | None:
        if weights is None:
            return None
        return as_weights(weights, self.emissions, len(self.lengths))

    def _as_table(self, table: Floats2d, name: str = "table") -> Floats2d:
        shape = (self.n_labels, self.n_labels)
        return as_scores(table, name, shape).astype(self.emissions.dtype, copy=False)

    def _with(self, emissions: Floats2d, lengths: Ints1d, packing: Packing | None) -> LinearChain:
        """A chain with the same potentials, but other emissions."""
        return LinearChain(
            emissions, self.transitions, self.start, self.end, lengths, self.labels, packing=packing
        )

    def _cast(self, values: Floats1d) -> Floats1d:
        return values.astype(self.emissions.dtype)
