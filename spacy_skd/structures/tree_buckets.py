"""Sentences of like length as one rectangle, for the algorithms over trees."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .arc_layout import ArcLayout
from .base import Floats1d, Floats3d, Ints1d


@dataclass(frozen=True, eq=False)
class Bucket:
    """Some sentences of a batch that have tokens, longest first.

    sentences: (P,) their numbers in the batch. lengths: (P,) on the host.
    """

    layout: ArcLayout
    sentences: Ints1d
    lengths: Ints1d

    @property
    def width(self) -> int:
        """The length of the longest sentence, n."""
        return int(self.lengths[0])

    @cached_property
    def alive(self) -> list[int]:
        """How many sentences have more than 0, 1, ..., n - 1 tokens: they are the first ones."""
        ended = np.cumsum(np.bincount(self.lengths, minlength=self.width + 1))
        return (len(self.lengths) - ended[:-1]).tolist()

    def select(self, rows: Ints1d) -> Bucket:
        """Only some of the sentences, by their rows (in the order they have here)."""
        return Bucket(self.layout, self.sentences[rows], self.lengths[rows])

    def gather(self, flat: Floats1d) -> Floats3d:
        """The arcs of the sentences in float64, (P, n, n + 1), -inf where there are none.

        flat: values of all arcs of the batch, (cells,).
        """
        n_tokens = self.width
        shape = (len(self.lengths), n_tokens, n_tokens + 1)
        values = self.layout.xp.full(shape, -np.inf)
        for row, (block, length) in enumerate(zip(self._blocks(flat), self.lengths.tolist())):
            values[row, :length, : length + 1] = block
        return values

    def scatter(self, values: Floats3d, flat: Floats1d) -> None:
        """Write values of arcs, (P, n, n + 1), into those of the whole batch, (cells,)."""
        for row, (block, length) in enumerate(zip(self._blocks(flat), self.lengths.tolist())):
            block[:] = values[row, :length, : length + 1]

    def _blocks(self, flat: Floats1d) -> list[Any]:
        bounds = self.layout.arc_offsets
        starts, stops = bounds[self.sentences].tolist(), bounds[self.sentences + 1].tolist()
        return [
            flat[start:stop].reshape(length, length + 1)
            for start, stop, length in zip(starts, stops, self.lengths.tolist())
        ]


def tree_buckets(layout: ArcLayout, max_cells: int, min_fill: float = 0.0) -> list[Bucket]:
    """The sentences that have tokens in buckets, longest first.

    max_cells: about how many cells a bucket has, unless one sentence has more. min_fill: how long
    the shortest sentence is at least, as a part of the longest.
    """
    order = np.argsort(-layout.lengths, kind="stable")
    lengths = layout.lengths[order]
    n_sentences = int(np.count_nonzero(lengths))
    found, start = [], 0
    while start < n_sentences:
        n_tokens = int(lengths[start])
        stop = min(n_sentences, start + max(1, max_cells // (n_tokens * (n_tokens + 1))))
        stop = start + int(np.count_nonzero(lengths[start:stop] >= min_fill * n_tokens))
        found.append(Bucket(layout, order[start:stop], lengths[start:stop]))
        start = stop
    return found
