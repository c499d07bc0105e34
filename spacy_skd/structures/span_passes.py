"""Passes over the boundaries between tokens, for flat spans (docs/math.md §2.6).

A set of spans that do not overlap is one way from the start of the sentence to its end, in steps
over a token outside or over a span. Log space and float64 throughout, which is safe for any scores
and costs little: labels are summed out first, so a boundary has only W + 1 ways to it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, reduce
from typing import Any, NamedTuple

import numpy as np

from .base import Floats1d, Floats2d, Floats3d, Ints1d, array_module
from .packing import Packing

LOWEST = np.finfo(np.float64).min


class Lattice:
    """The boundaries of all sentences, in the order in which a pass comes to them.

    First the starts of the sentences in `packing.order`, then the boundaries after each packed row.
    Ways over tokens, (W + 1, N), are the token alone, outside, and then the spans by width.
    """

    def __init__(self, packing: Packing, max_width: int) -> None:
        xp = packing.xp
        inner = packing.inner_tokens
        entries = packing.back.copy()
        entries[inner] = packing.back[inner - 1] + packing.n_alive
        back_by = xp.asarray(np.maximum(np.arange(-1, max_width), 0))[:, None]
        self.packing = packing
        self.entries = entries
        """The boundary before each token, (N,)."""
        # A way from before the sentence has a score of -inf, so it does not matter whence it comes.
        self.sources = entries.take(xp.maximum(packing.rows - back_by, 0))
        """The boundary from which each way to the boundary after a packed row comes, (W + 1, N)."""

    @cached_property
    def mirror(self) -> Ints1d:
        """The token as far from the end of its sentence as each is from the start, (N,)."""
        xp, packing = self.packing.xp, self.packing
        ends = xp.asarray(packing.offsets[:-1] + packing.offsets[1:] - 1)
        return ends.take(packing.sentences) - xp.arange(packing.n_tokens)

    def sweep(self, ways: Floats2d, combine: Callable[[Floats2d], Floats1d]) -> Floats1d:
        """What `combine` makes of all ways to each boundary, (n_alive + N,); 0 at the starts.

        ways: (W + 1, N) the scores of the ways that end with each token, in packed rows.
        """
        packing, sources = self.packing, self.sources
        n_starts = packing.n_alive
        boundaries = packing.xp.zeros(n_starts + packing.n_tokens)
        for start, n in zip(packing.starts.tolist(), packing.alive.tolist()):
            arriving = boundaries.take(sources[:, start : start + n])
            arriving += ways[:, start : start + n]
            boundaries[n_starts + start : n_starts + start + n] = combine(arriving)
        return boundaries


class SpanPasses:
    """Both passes, with the labels summed out.

    scores: (N, W, R). outside: (N,) in float64. inside: (W, N) whether a span is in its sentence.
    """

    def __init__(
        self, scores: Floats3d, outside: Floats1d, inside: Floats2d, lattice: Lattice
    ) -> None:
        xp = array_module(scores)
        self.lattice = lattice
        self.outside = outside
        # Tokens last, so that every operation runs along many numbers.
        self._relative = scores.transpose(1, 2, 0).copy()
        peaks = xp.maximum(self._relative.max(axis=1), xp.finfo(scores.dtype).min)
        self._relative -= peaks[:, None]
        self._exp = xp.exp(self._relative)
        self._sums = self._exp.sum(axis=1)
        with np.errstate(divide="ignore"):
            weights = xp.log(self._sums.astype(np.float64))
        weights += peaks
        self.weights = xp.where(inside, weights, -np.inf)
        """The logarithm of each span's weight, over all labels, (W, N)."""

    @cached_property
    def _boundaries(self) -> Floats1d:
        ways = arriving(self.weights, self.outside).take(self.lattice.packing.rows, axis=1)
        return self.lattice.sweep(ways, log_sum_exp)

    @cached_property
    def log_z(self) -> Floats1d:
        """(B,); -inf where there is no way through the sentence."""
        packing = self.lattice.packing
        log_z = packing.xp.zeros(packing.n_sentences)
        log_z[packing.order] = self._boundaries[packing.n_alive :].take(packing.last)
        return log_z

    @cached_property
    def before(self) -> Floats1d:
        """log F, the weight of what is before each token, (N,)."""
        return self._boundaries.take(self.lattice.entries)

    @cached_property
    def after(self) -> Floats1d:
        """log G, the weight of what is after each token, (N,): log F of the mirrored sentences."""
        lattice = self.lattice
        xp = lattice.packing.xp
        ways = xp.concatenate([self.outside[None], self.weights])
        ways = ways.take(lattice.mirror.take(lattice.packing.rows), axis=1)
        return lattice.sweep(ways, log_sum_exp).take(lattice.entries).take(lattice.mirror)

    @cached_property
    def span_probabilities(self) -> Floats2d:
        """The probability of each span, whatever its label, (W, N)."""
        xp = self.lattice.packing.xp
        log_probs = self.weights + (self.before - self._token_log_z)
        n_tokens = log_probs.shape[1]
        for width in range(1, min(log_probs.shape)):
            log_probs[width, : n_tokens - width] += self.after[width:]
        log_probs[0] += self.after
        return xp.exp(log_probs)

    @cached_property
    def outside_probabilities(self) -> Floats1d:
        """The probability that each token is in no span, (N,)."""
        xp = self.lattice.packing.xp
        return xp.exp(self.before + self.outside + self.after - self._token_log_z)

    @cached_property
    def probabilities(self) -> Floats3d:
        """The probability of each span with each label, (W, R, N)."""
        # A sum is 0 where all labels are forbidden, and otherwise at least 1.
        xp = self.lattice.packing.xp
        per_label = self.span_probabilities / xp.maximum(self._sums, 1)
        return self._exp * per_label.astype(self._exp.dtype)[:, None]

    def entropy(self) -> Floats1d:
        """(B,): that of the spans, and that of each one's label given that it is there."""
        xp = self.lattice.packing.xp
        sums = xp.maximum(self._sums, 1)
        label_scores = xp.where(self._exp > 0, self._relative, 0)
        label_entropies = xp.log(sums) - (self._exp * label_scores).sum(axis=1) / sums
        spans, outside = self.span_probabilities, self.outside_probabilities
        surprise = label_entropies - xp.where(spans > 0, self.weights, 0)
        per_token = (spans * surprise).sum(axis=0)
        per_token -= outside * xp.where(outside > 0, self.outside, 0)
        return self.log_z + self.lattice.packing.sum(per_token)

    @property
    def _token_log_z(self) -> Floats1d:
        return self.log_z.take(self.lattice.packing.sentences)


class BestWays(NamedTuple):
    """The best way to each boundary, with the tokens in flat order.

    before, after: (N,) the scores of the best ways to the boundaries before and after each token.
    widths: (N,) the last step of the best way to the boundary after: the width of a span, counted
    from 0, or -1 for a token outside.
    """

    before: Floats1d
    after: Floats1d
    widths: Ints1d

    @classmethod
    def find(
        cls, scores: Floats3d, outside: Floats1d, inside: Floats2d, lattice: Lattice
    ) -> BestWays:
        """The arguments as in `SpanPasses`."""
        xp, packing = lattice.packing.xp, lattice.packing
        best = label_max(scores).T.astype(np.float64)
        ways = arriving(xp.where(inside, best, -np.inf), outside).take(packing.rows, axis=1)
        boundaries = lattice.sweep(ways, _max)
        ways += boundaries.take(lattice.sources)
        back = packing.back
        return cls(
            boundaries.take(lattice.entries),
            boundaries[packing.n_alive :].take(back),
            ways.argmax(axis=0).take(back) - 1,
        )


def arriving(weights: Floats2d, outside: Floats1d) -> Floats2d:
    """Ways by the token they end with, (W + 1, N), of span weights (W, N) by where they start."""
    xp = array_module(weights)
    max_width, n_tokens = weights.shape
    ways = xp.full((1 + max_width, n_tokens), -np.inf)
    ways[0] = outside
    for width in range(min(max_width, n_tokens)):
        ways[1 + width, width:] = weights[width, : n_tokens - width]
    return ways


def label_max(scores: Floats3d) -> Floats2d:
    """The best score of each span over its labels, (N, W)."""
    # Label by label: numpy reduces short rows one by one, which is several times slower.
    xp = array_module(scores)
    return reduce(xp.maximum, [scores[..., label] for label in range(scores.shape[-1])])


def log_sum_exp(ways: Floats2d) -> Floats1d:
    """log Σ exp over the first axis, in place; -inf where all are -inf."""
    xp = array_module(ways)
    peaks = xp.maximum(ways.max(axis=0), LOWEST)
    ways -= peaks
    xp.exp(ways, out=ways)
    with np.errstate(divide="ignore"):
        return xp.log(ways.sum(axis=0)) + peaks


def _max(ways: Floats2d) -> Any:
    return ways.max(axis=0)
