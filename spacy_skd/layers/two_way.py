"""How sequences are laid out that a recurrence reads from both ends at once."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from ..structures.base import Floats1d, Floats2d, Floats3d, Ints1d, to_host
from ..structures.packing import Packing

BLOCK = 64
FEW_SEQUENCES = 16
"""A step with fewer sequences than this costs its calls, hardly its arithmetic."""
LONGEST_MEMORY = 16
"""Tokens that units remember before they are trained: from one or two to about so many."""


class TwoWay:
    """The layout of sequences of the given lengths that are read forwards and backwards.

    lengths: (B,); tokens are flat, sequence after sequence. xp: the array module.
    block: cut sequences into blocks of that many tokens, which are what `packing` then lays out;
        `blocks` lays out how many each sequence has. None: `packing` lays out whole sequences.

    Packed arrays are (2, N, width), time-major (`Packing`): in the first half row r is a token
    counted from the front of its sequence, in the second half the same counted from the end. So one
    step of a loop serves both directions of all sequences.
    """

    def __init__(self, lengths: Any, xp: Any = np, block: int | None = None) -> None:
        host = to_host(lengths).astype(np.int64, copy=False)
        self.xp = xp
        self.sequences = self.packing = Packing(host, xp)
        self.blocks: Packing | None = None
        if block is not None:
            n_blocks = -(-host // block)
            sizes = np.full(n_blocks.sum(), block, dtype=np.int64)
            last = np.cumsum(n_blocks)[n_blocks > 0] - 1
            sizes[last] -= (n_blocks * block - host)[n_blocks > 0]
            self.blocks, self.packing = Packing(n_blocks, xp), Packing(sizes, xp)

    @classmethod
    def blocked(cls, lengths: Any, xp: Any = np) -> TwoWay:
        """Cut into blocks where that pays: long sequences, and few of them at a step."""
        host = to_host(lengths).astype(np.int64, copy=False)
        longest = int(host.max(initial=0))
        pays = longest > 2 * BLOCK and int(host.sum()) < FEW_SEQUENCES * longest
        return cls(host, xp, BLOCK if pays else None)

    @cached_property
    def _mirrored(self) -> Ints1d:
        """The token as far from the other end of its sequence, for every token, (N,)."""
        if self.sequences.is_alone:
            return self.xp.arange(self.sequences.n_tokens)[::-1]
        offsets = self.sequences.offsets
        both_ends = np.repeat(offsets[:-1] + offsets[1:] - 1, self.sequences.lengths)
        return self.xp.asarray(both_ends - np.arange(len(both_ends)))

    @cached_property
    def tokens(self) -> Ints1d:
        """The token of every packed row in both directions, (2, N)."""
        rows = self.packing.rows
        return self.xp.stack([rows, self._mirrored[rows]])

    @cached_property
    def rows(self) -> Ints1d:
        """The packed row of every token in both directions, (2, N)."""
        if self.packing.is_alone:
            return self.tokens
        back = self.packing.back
        return self.xp.stack([back, back[self._mirrored]])

    @cached_property
    def reverse(self) -> Ints1d:
        """The row that holds, in the same half, the token as far from the other end, (N,)."""
        return self.packing.back[self._mirrored[self.packing.rows]]

    @cached_property
    def before(self) -> Ints1d:
        """The row that is read before each row, (N,). First rows: any."""
        return self.packing.back[self.xp.maximum(self.packing.rows - 1, 0)]

    @cached_property
    def first_rows(self) -> Ints1d:
        """The rows that nothing is read before."""
        return self.packing.back[self.sequences.first_tokens]

    @property
    def _halves(self) -> Ints1d:
        return self.xp.arange(2)[:, None]

    def gather(self, vectors: Floats2d) -> Floats3d:
        """Token vectors (N, I) in both directions, packed, (2, N, I)."""
        return vectors.take(self.tokens, axis=0)

    def scatter(self, d_packed: Floats3d) -> Floats2d:
        """The gradient of what `gather` takes, (N, I), from that of what it gives."""
        d_vectors = d_packed[0].take(self.rows[0], axis=0)
        d_vectors += d_packed[1].take(self.rows[1], axis=0)
        return d_vectors

    def pack(self, states: Floats2d) -> Floats3d:
        """Both directions' states of the tokens, side by side, (N, 2 * H), packed, (2, N, H)."""
        n_tokens, width = states.shape
        halves = states.reshape(2 * n_tokens, width // 2)
        return halves.take(2 * self.tokens + self._halves, axis=0)

    def unpack(self, packed: Floats3d) -> Floats2d:
        """The inverse of `pack`."""
        _, n_tokens, width = packed.shape
        rows = (self.rows + n_tokens * self._halves).T
        return packed.reshape(2 * n_tokens, width).take(rows, axis=0).reshape(n_tokens, 2 * width)

    def previous(self, packed: Floats3d) -> Floats3d:
        """The states before those of each row; zeros at the beginning of a sequence."""
        states = packed.take(self.before, axis=1)
        states[:, self.first_rows] = 0
        return states


def memory_biases(width: int) -> Floats1d:
    """Biases (width,) of untrained forget gates: the logarithms of evenly spaced times.

    A gate of σ(log τ) remembers about τ tokens (Tallec and Ollivier, 2018, arXiv 1804.11188).
    """
    return np.log(np.linspace(1, LONGEST_MEMORY, width))
