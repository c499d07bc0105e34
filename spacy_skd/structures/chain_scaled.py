"""Forward-backward for linear chains in scaled probability space (docs/math.md §2.2).

One matrix product and three element-wise operations a step forward, two operations a step back,
no exponential inside the loops. Where sentences leave the range of the floating-point numbers a
guard says so (`unsafe`), and `chain_log` takes over for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .base import Floats1d, Floats2d, Floats3d, Ints1d, array_module, row_max, to_host

if TYPE_CHECKING:
    from .chain import LinearChain

SUM_TOLERANCE = {"f": 1e-4, "d": 1e-9}
"""How far from 1 the marginals of a token may sum."""
LEAST_SCALE = {"f": 1e-25, "d": 1e-200}
"""The least factor by which a step may shrink the forward probabilities."""
CLEARLY_SAFE_SCALE = {"f": 1e-10, "d": 1e-100}
"""Above it the forward pass is trusted without the check of the sums, which needs both passes."""


class ScaledPasses:
    """The forward and, when first needed, the backward pass over a batch.

    With E = exp(A - max A) and X_i = exp(e_i - max e_i), in packed rows:
    alpha (N, L): forward probabilities that sum to 1; scale (N, 1): what they were divided by;
    ratio (N, L): X_i ∘ β_i / c_i, so that μ_i(y', y) = α_{i-1}(y') E[y', y] ratio_i(y).
    """

    def __init__(self, chain: LinearChain) -> None:
        xp = array_module(chain.emissions)
        self.chain = chain
        self.packing = chain.packing
        dtype = chain.emissions.dtype
        self._kind = dtype.char
        self._lowest = xp.finfo(dtype).min
        self._unsafe: Ints1d | None = None
        with np.errstate(all="ignore"):
            self._forward()

    def _forward(self) -> None:
        chain, packing = self.chain, self.packing
        xp = array_module(chain.emissions)
        ratio = chain.emissions.take(packing.rows, axis=0)
        peaks = row_max(ratio)[:, None]
        # A row that is all -inf gives a scale of 0, not a NaN.
        xp.maximum(peaks, self._lowest, out=peaks)
        ratio -= peaks
        xp.exp(ratio, out=ratio)
        moves, moves_peak = self._exp(chain.transitions)
        start, start_peak = self._exp(chain.start)
        end, end_peak = self._exp(chain.end)

        alpha = xp.empty_like(ratio)
        scale = xp.empty_like(peaks)
        n_alive = packing.n_alive
        first = xp.multiply(ratio[:n_alive], start, out=alpha[:n_alive])
        # The method `dot` has a fraction of the overhead of matmul and sum.
        ones = xp.ones((len(moves), 1), dtype=ratio.dtype)
        first /= first.dot(ones, out=scale[:n_alive])
        for before, now in packing.steps:
            current = alpha[before].dot(moves, out=alpha[now])
            current *= ratio[now]
            current /= current.dot(ones, out=scale[now])
        final = alpha[packing.last] @ end

        self.alpha, self.scale, self.ratio = alpha, scale, ratio
        self.moves, self._end, self._final = moves, end, final
        per_token = xp.log(scale[:, 0]).astype(np.float64)
        per_token += peaks[:, 0]
        log_z = packing.sum_packed(per_token)
        lengths = xp.asarray(packing.lengths)[packing.order]
        log_z[packing.order] += (
            xp.log(final.astype(np.float64)) + start_peak + end_peak + (lengths - 1) * moves_peak
        )
        self.log_z = log_z

    def _exp(self, scores: Floats1d) -> tuple[Floats1d, float]:
        """exp(scores - their maximum), and the maximum; zeros where no score is finite."""
        xp = array_module(scores)
        peak = max(float(scores.max()), float(self._lowest))
        return xp.exp(scores - scores.dtype.type(peak)), peak

    def clearly_safe(self) -> bool:
        """Whether the forward pass alone shows that no sentence left the range of the numbers."""
        if self._unsafe is not None:
            return not len(self._unsafe)
        if not self.packing.n_tokens:
            return True
        least = CLEARLY_SAFE_SCALE[self._kind]
        return float(self.scale.min()) > least and float(self._final.min()) > least

    def unsafe(self) -> Ints1d:
        """The sentences whose results cannot be trusted, on the host; their rows are set to 0."""
        if self._unsafe is None:
            with np.errstate(all="ignore"):
                self._unsafe = self._backward()
        return self._unsafe

    def _backward(self) -> Ints1d:
        packing, ratio = self.packing, self.ratio
        xp = array_module(ratio)
        ratio /= self.scale
        beta = xp.empty_like(ratio)
        beta[packing.last] = self._end / self._final[:, None]
        moves_back = self.moves.T
        for before, now in reversed(packing.steps):
            current = ratio[now]
            current *= beta[now]
            current.dot(moves_back, out=beta[before])
        beta *= self.alpha
        self.tokens = beta

        sums = beta.dot(xp.ones(beta.shape[1], dtype=beta.dtype))
        # Written so that a NaN is not safe.
        safe = abs(sums - 1) < SUM_TOLERANCE[self._kind]
        if not bool(safe.all()) and self.clearly_safe():
            safe |= self._divide_by(sums)
        safe &= self.scale[:, 0] > LEAST_SCALE[self._kind]
        safe[packing.last] &= self._final > LEAST_SCALE[self._kind]
        if bool(safe.all()):
            return np.zeros(0, dtype=np.int64)
        unsafe = np.unique(to_host(packing.packed_sentences[~safe]))
        rows = xp.isin(packing.packed_sentences, xp.asarray(unsafe))
        for array in (self.alpha, self.ratio, self.tokens):
            array[rows] = 0
        return unsafe

    def _divide_by(self, sums: Floats1d) -> Any:
        """Divide by their sums (N,) the marginals of tokens whose sum is off by rounding alone, and
        say which these are, (N,) bool.

        Rounding errors add up along a sentence, to nearly one factor for all labels of a token.
        """
        packing = self.packing
        xp = array_module(sums)
        lengths = xp.asarray(packing.lengths)[packing.packed_sentences]
        rounded = abs(sums - 1) < xp.finfo(sums.dtype).eps * lengths
        factors = xp.where(rounded, sums, sums.dtype.type(1))[:, None]
        self.tokens /= factors
        self.ratio /= factors
        return rounded

    def token_marginals(self) -> Floats2d:
        """μ_i(y), (N, L) in flat order."""
        return self.tokens.take(self.packing.back, axis=0)

    def pair_sums(self, weights: Floats1d | None) -> Floats2d:
        """Σ w μ_i(y', y) over sentences and positions, (L, L)."""
        before, now = self._pair_factors()
        if weights is not None:
            sentences = self.packing.packed_sentences[self.packing.n_alive :]
            now = now * weights[sentences][:, None]
        return self.moves * (before.T @ now)

    def pair_marginals(self) -> Floats3d:
        """μ_i(y', y), (N, L, L) in flat order; zeros at the first tokens."""
        xp = array_module(self.alpha)
        n_labels = self.alpha.shape[1]
        before, now = self._pair_factors()
        pairs = xp.zeros((self.packing.n_tokens, n_labels, n_labels), dtype=self.alpha.dtype)
        pairs[self.packing.rows[self.packing.n_alive :]] = (
            before[:, :, None] * self.moves * now[:, None, :]
        )
        return pairs

    def marginals_of_pairs(self, sources: Ints1d, targets: Ints1d) -> Floats2d:
        """μ_i(y', y) of P pairs of labels, (N, P) in flat order; zeros at the first tokens."""
        xp = array_module(self.alpha)
        sources, targets = xp.asarray(sources), xp.asarray(targets)
        before, now = self._pair_factors()
        pairs = xp.zeros((self.packing.n_tokens, len(sources)), dtype=self.alpha.dtype)
        pairs[self.packing.rows[self.packing.n_alive :]] = (
            before.take(sources, axis=1) * self.moves[sources, targets] * now.take(targets, axis=1)
        )
        return pairs

    def expected_pairs(self, table: Floats2d) -> Floats1d:
        """Σ_i Σ μ_i(y', y) table[y', y], (B,) in float64, 0·(-inf) = 0."""
        xp = array_module(table)
        before, now = self._pair_factors()
        barred = table == -np.inf
        weighted = self.moves * xp.where(barred, table.dtype.type(0), table)
        expected = self._sum_pairs(before @ weighted, now)
        reachable = self.moves * barred
        if bool(reachable.any()):
            expected[self._sum_pairs(before @ reachable, now) > 0] = -np.inf
        return expected

    def covariance(self, values: Floats2d, weights: Floats1d | None) -> tuple[Floats2d, Floats2d]:
        """Of every part and Σ_i values_i[y_i]: tokens (N, L) in flat order, pairs (L, L) Σ w."""
        dtype = self.alpha.dtype
        with np.errstate(over="ignore", invalid="ignore"):
            tokens, pairs = self._tangent(values, weights, dtype)
            if not np.isfinite(float(tokens.sum()) + float(pairs.sum())):
                # A ratio may be as large as a number can be, and its product with a value larger.
                tokens, pairs = self._tangent(values, weights, np.float64)
        tokens = tokens.take(self.packing.back, axis=0)
        return tokens.astype(dtype, copy=False), pairs.astype(dtype, copy=False)

    def _tangent(
        self, values: Floats2d, weights: Floats1d | None, dtype: Any
    ) -> tuple[Floats2d, Floats2d]:
        """What `covariance` returns, computed in `dtype` and with the tokens packed.

        v: the values less their mean at each token. F_i and G_i: what those up to i, and those from
        i on, are expected to sum to, given the label at i. The covariances are then
        μ_i ∘ (F_i + G_i - v_i) and μ_i(y', y) (F_{i-1}(y') + G_i(y)). With step_i = X_i / c_i,
            α_i ∘ F_i = α_i ∘ v_i + step_i ∘ (α_{i-1} ∘ F_{i-1}) E
            ratio_i ∘ G_i = ratio_i ∘ v_i + step_i ∘ E (ratio_{i+1} ∘ G_{i+1})
        """
        packing = self.packing
        alpha, ratio, tokens, moves = (
            array.astype(dtype, copy=False)
            for array in (self.alpha, self.ratio, self.tokens, self.moves)
        )
        ones = array_module(alpha).ones((len(moves), 1), dtype=dtype)
        previous, inner = packing.previous, slice(packing.n_alive, None)
        values = values.take(packing.rows, axis=0).astype(dtype, copy=False)
        values -= (tokens * values).dot(ones)
        values *= tokens > 0

        alpha_before = alpha.take(previous, axis=0)
        reached = alpha_before @ moves
        reached[reached == 0] = np.inf
        step = alpha.copy()
        step[inner] /= reached
        forward, backward = alpha * values, ratio * values
        back = [(now, before) for before, now in reversed(packing.steps)]
        from_before = _add_messages(forward, moves, step, packing.steps)
        from_after = _add_messages(backward, moves.T, step, back)

        own = tokens * values
        prefix, suffix = own + ratio * from_before, own + alpha * from_after
        # Both sum to 0 but for rounding errors, which add up along the sentence.
        prefix_drift, suffix_drift = prefix.dot(ones), suffix.dot(ones)
        forward -= alpha * prefix_drift
        backward -= ratio * suffix_drift
        covariance = prefix + suffix - own - tokens * (prefix_drift + suffix_drift)

        ratio, backward = ratio[inner], backward[inner]
        if weights is not None:
            row_weights = weights[packing.packed_sentences[inner]][:, None]
            ratio, backward = ratio * row_weights, backward * row_weights
        pairs = forward.take(previous, axis=0).T @ ratio + alpha_before.T @ backward
        return covariance, moves * pairs

    def _pair_factors(self) -> tuple[Floats2d, Floats2d]:
        """α_{i-1} and ratio_i of all pairs of neighbours, packed."""
        return self.alpha.take(self.packing.previous, axis=0), self.ratio[self.packing.n_alive :]

    def _sum_pairs(self, before: Floats2d, now: Floats2d) -> Floats1d:
        values = array_module(now).einsum("ij,ij->i", before, now)
        return self.packing.sum_packed(values, self.packing.n_alive)


def _add_messages(
    totals: Floats2d, moves: Floats2d, step: Floats2d, steps: list[tuple[slice, slice]]
) -> Floats2d:
    """Add to each row, times `step`, the product of the row it follows and `moves`: those, (N, L).

    steps: the rows that are followed and those that follow them, in turn.
    """
    messages = array_module(totals).zeros_like(totals)
    for source, target in steps:
        totals[target] += totals[source].dot(moves, out=messages[target]) * step[target]
    return messages
