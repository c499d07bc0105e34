"""How a ragged batch is laid out inside: time-major and packed, without padding.

Sentences are sorted longest first; the rows of step t are the t-th tokens of the sentences that
are still alive at t, in that order. A step of a recursion is then one operation on two contiguous
slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from .base import Floats1d, Ints1d, array_module, as_integers


class Packing:
    """The layout of sentences of the given lengths, made once and shared by all passes over them.

    lengths: (B,) on the host. xp: the array module of the scores; index arrays that meet scores
    are its arrays, all others are numpy's.

    Flat order is the caller's (sentence after sentence), packed order the one inside. `is_alone`:
    there is one sentence, and it has tokens.
    """

    def __init__(self, lengths: Ints1d, xp: Any = np) -> None:
        self.lengths = lengths
        self.xp = xp
        self.n_tokens = int(lengths.sum())
        self.n_sentences = len(lengths)
        # What someone waits for is mostly one sentence, of which packed order is flat order.
        self.is_alone = self.n_sentences == 1 and self.n_tokens > 0

    @cached_property
    def offsets(self) -> Ints1d:
        """Where sentences start in flat order, (B + 1,); the last is N."""
        offsets = np.zeros(self.n_sentences + 1, dtype=np.int64)
        self.lengths.cumsum(out=offsets[1:])
        return offsets

    @cached_property
    def alive(self) -> Ints1d:
        """How many sentences have a token at each step, (T,)."""
        if self.is_alone:
            return np.ones(self.n_tokens, dtype=np.int64)
        ended = np.cumsum(np.bincount(self.lengths, minlength=1))
        return self.n_sentences - ended[:-1]

    @cached_property
    def starts(self) -> Ints1d:
        """The first packed row of each step, (T,)."""
        return np.cumsum(self.alive) - self.alive

    @cached_property
    def n_alive(self) -> int:
        """The number of sentences that have tokens; their first tokens are the first rows."""
        return int(np.count_nonzero(self.lengths))

    @cached_property
    def steps(self) -> list[tuple[slice, slice]]:
        """For every step but the first: the rows of the sentences alive, one step ago and now."""
        starts, alive = self.starts.tolist(), self.alive.tolist()
        return [
            (slice(before, before + n), slice(start, start + n))
            for before, start, n in zip(starts, starts[1:], alive[1:])
        ]

    @cached_property
    def _order(self) -> Ints1d:
        if self.is_alone:
            return np.zeros(1, dtype=np.int64)
        return np.argsort(-self.lengths, kind="stable")[: self.n_alive]

    @cached_property
    def order(self) -> Ints1d:
        """The sentences that have tokens, longest first, (n_alive,)."""
        return self.xp.asarray(self._order)

    @cached_property
    def _steps(self) -> Ints1d:
        """The step of every packed row, (N,)."""
        return np.repeat(np.arange(len(self.alive)), self.alive)

    @cached_property
    def _sentences(self) -> Ints1d:
        return self._order.take(np.arange(self.n_tokens) - self.starts.take(self._steps))

    @cached_property
    def packed_sentences(self) -> Ints1d:
        """The sentence of every packed row, (N,)."""
        return self.xp.asarray(self._sentences)

    @cached_property
    def rows(self) -> Ints1d:
        """The token of every packed row: `packed = flat[rows]`, (N,)."""
        if self.is_alone:
            return self.xp.arange(self.n_tokens)
        return self.xp.asarray(self.offsets.take(self._sentences) + self._steps)

    @cached_property
    def back(self) -> Ints1d:
        """The packed row of every token: `flat = packed[back]`, (N,)."""
        if self.is_alone:
            return self.rows
        back = self.xp.empty_like(self.rows)
        back[self.rows] = self.xp.arange(self.n_tokens)
        return back

    @cached_property
    def previous(self) -> Ints1d:
        """The packed rows of the tokens before those of the rows `n_alive:`, (N - n_alive,)."""
        before = self._steps[self.n_alive :] - 1
        return self.xp.asarray(np.arange(self.n_alive, self.n_tokens) - self.alive.take(before))

    @cached_property
    def last(self) -> Ints1d:
        """The packed rows of the last tokens of the sentences in `order`, (n_alive,)."""
        if self.is_alone:
            return self.xp.asarray([self.n_tokens - 1])
        lengths = self.lengths[self._order]
        return self.xp.asarray(self.starts[lengths - 1] + np.arange(self.n_alive))

    @cached_property
    def sentences(self) -> Ints1d:
        """The sentence of every token in flat order, (N,)."""
        return self.xp.asarray(np.repeat(np.arange(self.n_sentences), self.lengths))

    @cached_property
    def first_tokens(self) -> Ints1d:
        """The first tokens, in flat order, of the sentences that have any."""
        return self.xp.asarray(self.offsets[:-1][self.lengths > 0])

    @cached_property
    def last_tokens(self) -> Ints1d:
        """The last tokens, in flat order, of the sentences that have any."""
        return self.xp.asarray(self.offsets[1:][self.lengths > 0] - 1)

    @cached_property
    def nonempty(self) -> Ints1d:
        """The sentences that have tokens, in the order of the batch."""
        return self.xp.asarray(np.flatnonzero(self.lengths))

    @cached_property
    def inner_tokens(self) -> Ints1d:
        """The tokens, in flat order, that have one before them in their sentence."""
        inner = np.ones(self.n_tokens, dtype=bool)
        inner[self.offsets[:-1][self.lengths > 0]] = False
        return self.xp.asarray(np.flatnonzero(inner))

    def select(self, sentences: Ints1d | Sequence[int]) -> tuple[Ints1d, Ints1d]:
        """The tokens, in flat order, of some sentences one after another, and their lengths."""
        chosen = self.chosen(sentences)
        lengths = self.lengths[chosen]
        ends = np.cumsum(lengths)
        shifts = np.repeat(self.offsets[:-1][chosen] - (ends - lengths), lengths)
        return self.xp.asarray(shifts + np.arange(len(shifts))), lengths

    def chosen(self, sentences: Ints1d | Sequence[int]) -> Ints1d:
        """Numbers of sentences; ValueError for one that there is not."""
        chosen = as_integers(sentences, "Numbers of sentences")
        if chosen.size and not 0 <= chosen.min() <= chosen.max() < self.n_sentences:
            raise ValueError(
                f"The batch has the sentences 0 to {self.n_sentences - 1}, but those from "
                f"{chosen.min()} to {chosen.max()} are asked for"
                if self.n_sentences
                else f"The batch has no sentences, but the number {chosen[0]} is asked for"
            )
        return chosen

    def sum(self, values: Floats1d) -> Floats1d:
        """Values of the tokens in flat order, (N,), summed by sentence, (B,) in float64."""
        return self._sum(self.sentences, values)

    def sum_packed(self, values: Floats1d, first_row: int = 0) -> Floats1d:
        """Values of the packed rows from `first_row` on, summed by sentence, (B,) in float64."""
        return self._sum(self.packed_sentences[first_row:], values)

    def _sum(self, sentences: Ints1d, values: Floats1d) -> Floats1d:
        if not len(values):  # cupy's bincount takes no empty array
            return array_module(values).zeros(self.n_sentences)
        # bincount adds in float64 and keeps an infinity within its own sentence.
        xp = array_module(values)
        sums = xp.bincount(sentences, weights=values, minlength=self.n_sentences)
        return sums.astype(np.float64, copy=False)
