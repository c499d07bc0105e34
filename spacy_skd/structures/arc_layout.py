"""How the arcs of a ragged batch are laid out: one flat array, a block a sentence.

A sentence of n tokens has a block (n, n + 1), row-major: row d is token d (from 0), column h the
head number h, 0 for the root and k for token k - 1. The cell [d, d + 1] is no arc.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from .base import Floats1d, Floats2d, Ints1d, SentenceError, to_host
from .packing import Packing


class ArcLayout:
    """Where the arcs of sentences of the given lengths are; made once and shared.

    lengths: (B,) on the host. xp: the array module of the scores; `self_cells` and what `cells`
    gives are its arrays, all others are numpy's.
    """

    def __init__(self, lengths: Ints1d, xp: Any = np) -> None:
        self.lengths = lengths
        self.xp = xp
        self.packing = Packing(lengths, xp)
        self.n_tokens = self.packing.n_tokens
        self.n_sentences = len(lengths)

    @property
    def token_offsets(self) -> Ints1d:
        """Where the tokens of sentences start, (B + 1,); the last is N."""
        return self.packing.offsets

    @cached_property
    def arc_offsets(self) -> Ints1d:
        """Where the blocks of sentences start, (B + 1,); the last is the number of cells."""
        offsets = np.zeros(self.n_sentences + 1, dtype=np.int64)
        (self.lengths * (self.lengths + 1)).cumsum(out=offsets[1:])
        return offsets

    @property
    def n_cells(self) -> int:
        """The size of the flat array, Σ n(n + 1)."""
        return int(self.arc_offsets[-1])

    @cached_property
    def sentences(self) -> Ints1d:
        """The sentence of every token, (N,)."""
        return np.arange(self.n_sentences).repeat(self.lengths)

    @cached_property
    def widths(self) -> Ints1d:
        """How many cells the row of every token has, n + 1, (N,)."""
        return (self.lengths + 1).repeat(self.lengths)

    @cached_property
    def positions(self) -> Ints1d:
        """The number of every token in its sentence, from 0, (N,)."""
        return np.arange(self.n_tokens) - self.token_offsets[:-1].repeat(self.lengths)

    @cached_property
    def row_starts(self) -> Ints1d:
        """The first cell of every token's row, (N,)."""
        return self.widths.cumsum() - self.widths

    @cached_property
    def self_cells(self) -> Ints1d:
        """The cells that are no arcs: a token as its own head, (N,)."""
        if self.packing.is_alone:
            return self.xp.arange(1, self.n_cells, self.n_tokens + 2)
        return self.xp.asarray(self.row_starts + self.positions + 1)

    def cells(self, tokens: Any, heads: Any) -> Ints1d:
        """The cells of arcs. tokens: (P,) in the whole batch; heads: (P,) head numbers."""
        return self._row_starts.take(self.xp.asarray(tokens)) + self.xp.asarray(heads)

    def checked_cells(self, tokens: Any, heads: Any) -> Ints1d:
        """`cells`, but ValueError for arcs that do not exist."""
        self.check_arcs(tokens, heads)
        return self.cells(tokens, heads)

    def check_arcs(self, tokens: Any, heads: Any) -> None:
        """Raise ValueError for arcs that do not exist."""
        tokens, heads = to_host(tokens), to_host(heads)
        if len(tokens):
            if tokens.min() < 0 or tokens.max() >= self.n_tokens:
                raise ValueError(f"There are {self.n_tokens} tokens, but arcs to others")
            if heads.min() < 0 or (heads >= self.widths[tokens]).any():
                wrong = int(((heads < 0) | (heads >= self.widths[tokens])).argmax())
                raise SentenceError(
                    f"has {self.widths[tokens[wrong]] - 1} tokens, but an arc from the head "
                    f"{heads[wrong]}",
                    int(self.sentences[tokens[wrong]]),
                )

    def blocks(self, flat: Floats1d) -> list[Floats2d]:
        """Views of a flat array, one (n, n + 1) a sentence."""
        bounds = self.arc_offsets.tolist()
        return [
            flat[start:stop].reshape(n, n + 1)
            for start, stop, n in zip(bounds, bounds[1:], self.lengths.tolist())
        ]

    def split(self, flat: Any) -> list[Any]:
        """Views of an array over tokens, (N, ...), one a sentence."""
        bounds = self.token_offsets.tolist()
        return [flat[start:stop] for start, stop in pairwise(bounds)]

    def select(self, sentences: Ints1d | Sequence[int]) -> tuple[Ints1d, Ints1d]:
        """The cells of some sentences one after another, and the sentences' lengths."""
        chosen = self.packing.chosen(sentences)
        lengths = self.lengths[chosen]
        sizes = lengths * (lengths + 1)
        shifts = np.repeat(self.arc_offsets[:-1][chosen] - (np.cumsum(sizes) - sizes), sizes)
        return self.xp.asarray(shifts + np.arange(len(shifts))), lengths

    def spread(self, values: Any) -> Any:
        """Values of tokens, (N,), at all cells of their rows, (cells,)."""
        if self._square:
            n = int(self.lengths[0])
            return self.xp.repeat(values, n + 1)
        if self.xp is np:
            return np.repeat(values, self.widths)
        return values.take(self._rows)

    def row_max(self, flat: Floats1d) -> Floats1d:
        """The largest value of every row, (N,)."""
        if self._square:
            return flat.reshape(self.n_tokens, -1).max(axis=1)
        return self._reduce(np.maximum, flat, -np.inf)

    def row_sum(self, flat: Floats1d) -> Floats1d:
        """The sum of every row, (N,), in the dtype of the values."""
        return self._reduce(np.add, flat, 0)

    def row_argmax(self, flat: Floats1d) -> Ints1d:
        """The column of the largest value of every row, the first of equals, (N,) on the host."""
        if not self.n_tokens:
            return np.zeros(0, dtype=np.int64)
        if self._square:
            return to_host(flat.reshape(self.n_tokens, -1).argmax(axis=1))
        if self.xp is not np:
            return to_host(self._padded(flat, -np.inf).argmax(axis=1))
        return np.concatenate([block.argmax(axis=1) for block in self.blocks(flat)])

    @cached_property
    def _row_starts(self) -> Ints1d:
        return self.xp.asarray(self.row_starts)

    @cached_property
    def _rows(self) -> Ints1d:
        """The token of every cell."""
        return self.xp.asarray(np.repeat(np.arange(self.n_tokens), self.widths))

    @cached_property
    def _square(self) -> bool:
        """Whether all sentences have the same length, above 0."""
        lengths = self.lengths
        return bool(len(lengths) and lengths[0] and (lengths == lengths[0]).all())

    def _reduce(self, ufunc: Any, flat: Floats1d, neutral: float) -> Floats1d:
        if not self.n_tokens:
            return self.xp.zeros(0, dtype=flat.dtype)
        if self.xp is np:
            return ufunc.reduceat(flat, self.row_starts)
        rows = self._padded(flat, neutral)
        return rows.max(axis=1) if ufunc is np.maximum else rows.sum(axis=1)

    def _padded(self, flat: Floats1d, filling: float) -> Floats2d:
        """The rows of all tokens as one rectangle, (N, widest row)."""
        shape = (self.n_tokens, int(self.widths.max()))
        padded = self.xp.full(shape, filling, dtype=flat.dtype)
        places = self.xp.arange(self.n_cells) - self._row_starts.take(self._rows)
        padded[self._rows, places] = flat
        return padded
