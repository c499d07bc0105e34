"""Weights of arcs for sums over trees that are products of numbers, not sums of logarithms."""

from __future__ import annotations

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
        peaks = scores[:, :, 1:].max(axis=2)
        roots = scores[:, :, 0]
        # Tokens that can have no other head: the root's arc goes there, and nowhere else.
        forced = (peaks == -np.inf) & inside
        peaks[peaks == -np.inf] = 0
        roots -= peaks
        if bool(forced.any()):
            roots[forced.any(axis=1)[:, None] & ~forced] = -np.inf
        root_peaks = roots.max(axis=1)
        root_peaks[root_peaks == -np.inf] = 0
        roots -= root_peaks[:, None]
        scores[:, :, 1:] -= peaks[:, :, None]
        self.values = xp.exp(scores, out=scores)
        self.log_scale = peaks.sum(axis=1) + root_peaks
        """What the logarithm of a tree's weight lacks, (P,)."""

    def too_small(self, log_z: Floats1d) -> Ints1d:
        """The rows of sentences for which log Z, (P,), may be wrong: on the host."""
        xp = array_module(self.values)
        heads = self.values.sum(axis=2)
        with np.errstate(divide="ignore"):
            log_heads = xp.log(xp.where(heads > 0, heads, 1)).sum(axis=1)
        log_part = log_z - self.log_scale - log_heads
        return np.flatnonzero(to_host(~((log_part > LEAST_LOG_PART) & (log_part < np.inf))))
