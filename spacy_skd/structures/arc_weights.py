"""Weights of arcs for sums over trees that are products of numbers, not sums of logarithms."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import Floats1d, Floats3d, Ints1d, array_module, to_host
from .tree_buckets import Bucket

# If the trees have a smaller part than this of the weight of all assignments of heads, numbers that
# are too small for float64 could matter. What is lost at one place, below exp(-708), is multiplied
# in Z by at most the weight of all heads of the other tokens.
LEAST_LOG_PART = -600.0


class ArcWeights:
    """exp(scores) of a bucket's arcs, (P, n, n + 1), on a scale of its own for every token.

    At each token the best head that is a token has the weight 1, and of all roots the best one: as
    a tree has exactly one arc from the root, both are free.

    scores: (P, n, n + 1) in float64, which are used up; -inf where tokens are their own heads.
    """

    def __init__(self, scores: Floats3d, bucket: Bucket) -> None:
        xp = array_module(scores)
        inside = xp.asarray(np.arange(bucket.width) < bucket.lengths[:, None])
        rows = xp.arange(len(scores))
        peaks = scores[:, :, 1:].max(axis=2)
        roots = scores[:, :, 0].copy()
        # Tokens that can have no other head: the root's arc goes there, and nowhere else.
        forced = (peaks == -np.inf) & inside
        peaks[peaks == -np.inf] = 0
        if bool(forced.any()):
            roots[forced.any(axis=1)[:, None] & ~forced] = -np.inf

        def gains_over(best: Ints1d) -> Any:
            """How much more each token gains by the root, in place of its best other head, than one
            of them. Like with like, because of -1e30 and 2 no sum or difference knows the 2."""
            least = xp.where(roots[rows, best] > -np.inf, roots[rows, best], 0)
            return (roots - least[:, None]) - (peaks - peaks[rows, best][:, None])

        best = gains_over((roots - peaks).argmax(axis=1)).argmax(axis=1)
        scores[:, :, 0] = gains_over(best)
        scores[:, :, 1:] -= peaks[:, :, None]
        self.values = xp.exp(scores, out=scores)
        peaks[rows, best] = xp.where(roots[rows, best] > -np.inf, roots[rows, best], 0)
        self.log_scale = peaks.sum(axis=1)
        """What the logarithm of a tree's weight lacks, (P,)."""

    def too_small(self, log_weights: Floats1d) -> Ints1d:
        """The rows of sentences whose trees may weigh something else than the logarithm, (P,), that
        was found of their weights: on the host."""
        xp = array_module(self.values)
        heads = self.values.sum(axis=2)
        with np.errstate(divide="ignore"):
            log_heads = xp.log(xp.where(heads > 0, heads, 1)).sum(axis=1)
        log_part = log_weights - log_heads
        return np.flatnonzero(to_host(~((log_part > LEAST_LOG_PART) & (log_part < np.inf))))
