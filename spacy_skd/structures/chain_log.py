"""Forward-backward for linear chains in log space and float64 (docs/math.md §2.2).

For the sentences that the scaled passes cannot do: slower by far, but right for any scores.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .base import Floats1d, Floats2d, Floats3d, Ints1d, array_module

if TYPE_CHECKING:
    from .chain import LinearChain

MAX_CELLS = 1 << 22
"""Numbers in the largest temporary array (32 MiB)."""


class LogPasses:
    """Both passes over a (small) batch. The methods are those of `ScaledPasses`, in float64.

    With the packed rows of the chain, logarithms throughout: alpha (N, L) forward scores with the
    emission, beta (N, L) backward scores without it.
    """

    def __init__(self, chain: LinearChain) -> None:
        xp = array_module(chain.emissions)
        self.packing = packing = chain.packing
        self.emissions = chain.emissions.take(packing.rows, axis=0).astype(np.float64)
        self.transitions = chain.transitions.astype(np.float64)
        start, end = chain.start.astype(np.float64), chain.end.astype(np.float64)
        self.alpha = self.emissions.copy()
        self.beta = xp.empty_like(self.emissions)
        self.log_z = xp.zeros(packing.n_sentences)
        self.alpha[: packing.n_alive] += start
        for before, now in packing.steps:
            self.alpha[now] += _log_sum_exp(self.alpha[before][:, :, None] + self.transitions, 1)
        self.beta[packing.last] = end
        for before, now in reversed(packing.steps):
            arriving = self.emissions[now] + self.beta[now]
            self.beta[before] = _log_sum_exp(self.transitions + arriving[:, None, :], 2)
        self.log_z[packing.order] = _log_sum_exp(self.alpha[packing.last] + end, 1)
        self._row_log_z = self.log_z[packing.packed_sentences][:, None]

    def token_marginals(self) -> Floats2d:
        """μ_i(y), (N, L) in flat order."""
        xp = array_module(self.alpha)
        return xp.exp(self.alpha + self.beta - self._row_log_z)[self.packing.back]

    def pair_sums(self, weights: Floats1d | None) -> Floats2d:
        """Σ w μ_i(y', y) over sentences and positions, (L, L)."""
        return self._sum(self._pairs(), weights)

    def pair_marginals(self) -> Floats3d:
        """μ_i(y', y), (N, L, L) in flat order; zeros at the first tokens."""
        xp = array_module(self.alpha)
        marginals = xp.zeros((len(self.alpha), *self.transitions.shape))
        for now, pairs in self._pairs():
            marginals[self.packing.rows[now]] = pairs
        return marginals

    def marginals_of_pairs(self, sources: Ints1d, targets: Ints1d) -> Floats2d:
        """μ_i(y', y) of P pairs of labels, (N, P) in flat order; zeros at the first tokens."""
        xp, packing = array_module(self.alpha), self.packing
        sources, targets = xp.asarray(sources), xp.asarray(targets)
        arriving = (self.emissions + self.beta - self._row_log_z)[packing.n_alive :]
        scores = self.alpha.take(packing.previous, axis=0).take(sources, axis=1)
        scores += self.transitions[sources, targets]
        scores += arriving.take(targets, axis=1)
        pairs = xp.zeros((packing.n_tokens, len(sources)))
        pairs[packing.rows[packing.n_alive :]] = xp.exp(scores)
        return pairs

    def expected_pairs(self, table: Floats2d) -> Floats1d:
        """Σ_i Σ μ_i(y', y) table[y', y], (B,), 0·(-inf) = 0."""
        xp = array_module(self.alpha)
        expected = xp.zeros(self.packing.n_sentences)
        for now, pairs in self._pairs():
            values = xp.where(pairs > 0, table, 0) * pairs
            expected[self.packing.packed_sentences[now]] += values.sum(axis=(1, 2))
        return expected

    def covariance(self, values: Floats2d, weights: Floats1d | None) -> tuple[Floats2d, Floats2d]:
        """Of every part and Σ_i values_i[y_i]: tokens (N, L) in flat order, pairs (L, L) Σ w.

        prefix, suffix (N, L): what the values up to a token, and those from it on, are expected to
        sum to, given its label.
        """
        xp = array_module(self.alpha)
        steps = self.packing.steps
        tokens = xp.exp(self.alpha + self.beta - self._row_log_z)
        values = values.take(self.packing.rows, axis=0).astype(np.float64)
        values -= (tokens * values).sum(axis=1, keepdims=True)
        values *= tokens > 0
        prefix, suffix = values.copy(), values.copy()
        for before, now in steps:
            came_from = _softmax(self.alpha[before][:, :, None] + self.transitions, 1)
            prefix[now] += (came_from * prefix[before][:, :, None]).sum(axis=1)
        arriving = self.emissions + self.beta
        for before, now in reversed(steps):
            goes_to = _softmax(self.transitions + arriving[now][:, None, :], 2)
            suffix[before] += (goes_to * suffix[now][:, None, :]).sum(axis=2)
        pairs = (
            (now, pairs * (prefix[before][:, :, None] + suffix[now][:, None, :]))
            for (before, _), (now, pairs) in zip(steps, self._pairs())
        )
        tokens *= prefix + suffix - values
        return tokens[self.packing.back], self._sum(pairs, weights)

    def _sum(self, pairs: Iterable[tuple[slice, Floats3d]], weights: Floats1d | None) -> Floats2d:
        """Numbers for the pairs of the rows of one step after the other, summed: (L, L)."""
        sums = array_module(self.alpha).zeros_like(self.transitions)
        for now, values in pairs:
            if weights is not None:
                values = values * weights[self.packing.packed_sentences[now]][:, None, None]
            sums += values.sum(axis=0)
        return sums

    def _pairs(self) -> Iterator[tuple[slice, Floats3d]]:
        """μ_i(y', y) of the packed rows of one step after the other."""
        xp = array_module(self.alpha)
        arriving = self.emissions + self.beta - self._row_log_z
        for before, now in self.packing.steps:
            scores = self.alpha[before][:, :, None] + self.transitions
            yield now, xp.exp(scores + arriving[now][:, None, :])


class LogPart(NamedTuple):
    """Some sentences of a batch, their tokens in flat order, and both passes over them."""

    sentences: Ints1d
    tokens: Ints1d
    passes: LogPasses


def log_parts(chain: LinearChain, sentences: Ints1d) -> list[LogPart]:
    """Passes over some sentences of a chain, as many at once as memory allows."""
    xp = array_module(chain.emissions)
    size = max(1, MAX_CELLS // chain.n_labels**2)
    groups = [sentences[low : low + size] for low in range(0, len(sentences), size)]
    return [
        LogPart(xp.asarray(group), chain.packing.select(group)[0], LogPasses(chain.select(group)))
        for group in groups
    ]


def _log_sum_exp(scores: Floats3d, axis: int) -> Floats2d:
    """log Σ exp along an axis; -inf where all are -inf."""
    xp = array_module(scores)
    peaks = xp.maximum(scores.max(axis=axis, keepdims=True), np.finfo(np.float64).min)
    with np.errstate(divide="ignore"):
        return xp.log(xp.exp(scores - peaks).sum(axis=axis)) + xp.squeeze(peaks, axis)


def _softmax(scores: Floats3d, axis: int) -> Floats3d:
    """exp along an axis, normalised; zeros where all are -inf."""
    xp = array_module(scores)
    peaks = xp.maximum(scores.max(axis=axis, keepdims=True), np.finfo(np.float64).min)
    shares = xp.exp(scores - peaks)
    total = shares.sum(axis=axis, keepdims=True)
    return shares / xp.where(total > 0, total, 1)
