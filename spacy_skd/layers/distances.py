"""How far a head is from its dependent, and on which side: what scores of arcs add to vectors."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ..structures import ArcLayout
from ..structures.base import Ints1d, array_module

BOUNDS = (*range(2, 9), 9, 12, 16, 24, 32, 48)
"""The distances at which another bucket begins; the first has distance 1."""
N_BUCKETS = 2 * (len(BOUNDS) + 1) + 1
"""On the right, on the left, and one of the root, the last."""
ROOT = N_BUCKETS - 1
SHORT = 256  # tokens; tables are made for as many, or for a multiple


def buckets_of_cells(layout: ArcLayout) -> Ints1d:
    """The bucket of every cell's arc, (Σ n(n + 1),); of a token and itself: any."""
    xp = layout.xp
    if layout.packing.is_alone and layout.n_tokens <= SHORT:  # which someone waits for
        n_tokens = layout.n_tokens
        return xp.asarray(_cells()[:n_tokens, : n_tokens + 1].flatten())
    offsets = xp.arange(layout.n_cells) - layout.spread(layout.self_cells)
    return _buckets(offsets, layout, xp.asarray(layout.row_starts))


def buckets_of_arcs(layout: ArcLayout, tokens: Ints1d, heads: Ints1d) -> Ints1d:
    """The bucket of each of P arcs, (P,).

    tokens: (P,) dependents, numbers in the whole batch. heads: (P,) head numbers in their
    sentences.
    """
    xp = array_module(heads)
    if layout.packing.is_alone:
        offsets = heads - 1 - tokens
    else:
        offsets = heads - 1 - xp.asarray(layout.positions)[tokens]
    return _buckets(offsets, layout, xp.flatnonzero(heads == 0))


def _buckets(offsets: Any, layout: ArcLayout, roots: Any) -> Any:
    """The buckets of heads that are so many tokens after their dependents, or that are the root."""
    longest = int(layout.lengths.max(initial=0))
    table = array_module(offsets).asarray(_table(_rounded(longest)))
    buckets = table[offsets]  # a distance to the left counts from the end
    buckets[roots] = ROOT
    return buckets


@lru_cache(maxsize=8)
def _table(longest: int) -> Ints1d:
    """The buckets of distances 0, 1, …, longest to the right, then of longest, …, 1 to the left."""
    right = np.searchsorted(BOUNDS, np.arange(longest + 1), side="right")
    left = right[:0:-1] + len(BOUNDS) + 1
    return np.concatenate([right, left])


@cache
def _cells() -> npt.NDArray[np.int64]:
    """The buckets of the arcs of a sentence of `SHORT` tokens, (SHORT, SHORT + 1)."""
    heads = np.arange(-1, SHORT)
    buckets = _table(SHORT)[heads - np.arange(SHORT)[:, None]]
    buckets[:, 0] = ROOT
    return buckets


def _rounded(n_tokens: int) -> int:
    """Up, so that tables serve sentences of many lengths."""
    return -(-n_tokens // SHORT) * SHORT
