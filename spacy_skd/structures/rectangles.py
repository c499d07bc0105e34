"""Vectors of tokens and heads, and scores of arcs, of sentences of like length side by side.

A batched matrix product then serves many sentences. What is beyond the end of a sentence holds rows
of other tokens, and scores that nothing is made of.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from .arc_layout import ArcLayout
from .base import Floats1d, Floats2d, Floats3d, Ints1d, array_module
from .tree_buckets import tree_buckets

MAX_CELLS = 1 << 16
MAX_CELLS_ON_GPU = 1 << 22
MIN_FILL = 0.7


class Rectangle:
    """P sentences of at most n tokens.

    sentences: (P,) their numbers in the batch; lengths: (P,), longest first; both on the host.
    """

    def __init__(self, layout: ArcLayout, sentences: Ints1d, lengths: Ints1d) -> None:
        xp = layout.xp
        n_tokens = int(lengths[0])
        self.shape = (len(lengths), n_tokens, n_tokens + 1)
        heads = np.arange(n_tokens + 1)
        inside = heads <= lengths[:, None]  # of heads: the root is always
        tokens_inside = inside[:, 1:]
        starts = layout.token_offsets[sentences][:, None]
        self._tokens = xp.asarray(starts + np.where(tokens_inside, heads[:-1], 0))
        self._heads = xp.asarray(starts + sentences[:, None] + np.where(inside, heads, 0))
        self._token_places = xp.asarray(np.flatnonzero(tokens_inside))
        self._head_places = xp.asarray(np.flatnonzero(inside))
        self._arc_places = xp.asarray(np.flatnonzero(tokens_inside[:, :, None] & inside[:, None]))
        self._cells = layout.select(sentences)[0]

    def tokens(self, vectors: Floats2d) -> Floats3d:
        """What tokens have, (P, n, r) of (N, r)."""
        return vectors.take(self._tokens, axis=0)

    def heads(self, rows: Floats2d) -> Floats3d:
        """What heads have, (P, n + 1, r) of (N + B, r) in the order of `HeadRows`."""
        return rows.take(self._heads, axis=0)

    def arcs(self, flat: Floats1d, filling: float = 0.0) -> Floats3d:
        """What arcs have, (P, n, n + 1) of (Σ n(n + 1),), and `filling` where there are none."""
        values = array_module(flat).full(self.shape, filling, dtype=flat.dtype)
        values.ravel()[self._arc_places] = flat.take(self._cells)
        return values

    def put_tokens(self, values: Floats3d, vectors: Floats2d) -> None:
        """The inverse of `tokens`: write (P, n, r) into (N, r)."""
        width = values.shape[2]
        rows = values.reshape(-1, width).take(self._token_places, axis=0)
        vectors[self._tokens.ravel().take(self._token_places)] = rows

    def put_heads(self, values: Floats3d, rows: Floats2d) -> None:
        """The inverse of `heads`: write (P, n + 1, r) into (N + B, r)."""
        width = values.shape[2]
        found = values.reshape(-1, width).take(self._head_places, axis=0)
        rows[self._heads.ravel().take(self._head_places)] = found

    def put_arcs(self, values: Floats3d, flat: Floats1d) -> None:
        """The inverse of `arcs`: write (P, n, n + 1) into (Σ n(n + 1),)."""
        flat[self._cells] = values.ravel().take(self._arc_places)


def rectangles(layout: ArcLayout) -> list[Rectangle]:
    """All sentences that have tokens, in rectangles of which padding is the smaller part."""
    max_cells = MAX_CELLS if layout.xp is np else MAX_CELLS_ON_GPU
    return [
        Rectangle(layout, bucket.sentences, bucket.lengths)
        for bucket in tree_buckets(layout, max_cells, MIN_FILL)
    ]


class HeadRows:
    """Where what can be a head is in an array (N + B, ...): of each sentence its root, then its
    tokens."""

    def __init__(self, layout: ArcLayout) -> None:
        self.layout = layout

    @cached_property
    def roots(self) -> Ints1d:
        """The rows of roots, (B,)."""
        first_tokens = self.layout.token_offsets[:-1]
        return self.layout.xp.asarray(first_tokens + np.arange(self.layout.n_sentences))

    @cached_property
    def tokens(self) -> Ints1d:
        """The rows of tokens, (N,)."""
        return self.layout.xp.asarray(np.arange(self.layout.n_tokens) + self.layout.sentences + 1)

    def join(self, vectors: Floats2d, root: Floats1d) -> Floats2d:
        """The rows of tokens (N, r), and of the root of every sentence, (r,)."""
        if self.layout.packing.is_alone:
            return self.layout.xp.concatenate([root[None], vectors])
        n_rows = len(self.tokens) + len(self.roots)
        rows = self.layout.xp.empty((n_rows, vectors.shape[1]), dtype=vectors.dtype)
        rows[self.tokens] = vectors
        rows[self.roots] = root
        return rows

    def split(self, d_rows: Floats2d) -> tuple[Floats2d, Floats1d]:
        """The gradients of what `join` takes from that of what it gives."""
        return d_rows.take(self.tokens, axis=0), d_rows.take(self.roots, axis=0).sum(axis=0)

    def of_arcs(self, tokens: Ints1d, heads: Ints1d) -> Ints1d:
        """The rows of the heads of P arcs, (P,), on the host; of one sentence `heads` itself.

        tokens: (P,) numbers in the whole batch; heads: (P,) head numbers in their sentences.
        """
        if self.layout.packing.is_alone:
            return heads
        return self._roots_of[tokens] + heads

    @cached_property
    def _roots_of(self) -> Ints1d:
        """The row of the root of every token's sentence, (N,), on the host."""
        roots = self.layout.token_offsets[:-1] + np.arange(self.layout.n_sentences)
        return roots.repeat(self.layout.lengths)
