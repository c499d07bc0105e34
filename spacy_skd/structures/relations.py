"""Scores of the relations, or dependency labels, of arcs (docs/math.md §2.3).

There are n(n+1) arcs a sentence and R relations, of which few matter: relations are scored where
they are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from .arc_layout import ArcLayout
from .base import Floats2d, Floats3d, Ints1d, SentenceError, array_module, as_lengths, to_host


@runtime_checkable
class Relations(Protocol):
    """Log-potentials of R relations for the arcs of a batch of sentences."""

    n_labels: int

    def scores_at(self, tokens: Ints1d, heads: Ints1d) -> Floats2d:
        """Log-potentials of the relations of P arcs, (P, R).

        tokens: (P,) dependents, numbers in the whole batch, 0..N-1. heads: (P,) head numbers in the
        dependent's sentence, 0 for the root.
        """

    def select(self, sentences: Ints1d | Sequence[int]) -> Relations:
        """Only the given sentences of the batch, in the given order."""


class DenseRelations:
    """Relations with a score at every arc.

    scores: for each sentence (n, n + 1, R) log-potentials; [d, h, r]: token d has the head number h
        with the relation r. What is at [d, d + 1], which is no arc, is ignored.
    n_labels: R, for batches without sentences; else it is what the scores say.

    Raises ValueError for shapes that do not fit, SentenceError for a score of NaN or +inf.
    """

    def __init__(self, scores: Sequence[Floats3d], n_labels: int | None = None) -> None:
        blocks = [_as_block(block, number) for number, block in enumerate(scores)]
        widths = {block.shape[2] for block in blocks}
        if len(widths) > 1:
            raise ValueError(
                f"Sentences have scores for different numbers of relations: {sorted(widths)}"
            )
        self.n_labels = widths.pop() if widths else n_labels or 0
        lengths = np.asarray([len(block) for block in blocks], dtype=np.int64)
        xp = array_module(blocks[0]) if blocks else np
        self.layout = ArcLayout(lengths, xp)
        flat = [block.reshape(-1, self.n_labels) for block in blocks]
        self.scores: Floats2d = xp.concatenate(flat) if flat else np.zeros((0, self.n_labels))
        self.scores[self.layout.self_cells] = 0
        self._check_scores()

    def scores_at(self, tokens: Ints1d, heads: Ints1d) -> Floats2d:
        """Log-potentials of the relations of P arcs, (P, R); see `Relations`."""
        return self.scores.take(self.layout.cells(tokens, heads), axis=0)

    def select(self, sentences: Ints1d | Sequence[int]) -> DenseRelations:
        """Only the given sentences of the batch, in the given order."""
        bounds = self.layout.arc_offsets.tolist()
        lengths = self.layout.lengths.tolist()
        return DenseRelations(
            [
                self.scores[bounds[b] : bounds[b + 1]].reshape(
                    lengths[b], lengths[b] + 1, self.n_labels
                )
                for b in to_host(sentences).astype(np.int64).tolist()
            ],
            self.n_labels,
        )

    def _check_scores(self) -> None:
        if self.scores.size == 0 or float(self.scores.max()) < np.inf:
            return
        row = int(to_host(~(self.scores < np.inf)).any(axis=1).argmax())
        raise SentenceError(
            "has a score of a relation that is NaN or +inf; scores must be numbers or -inf",
            int(np.searchsorted(self.layout.arc_offsets, row, side="right")) - 1,
        )


class ListedRelations:
    """Relations with scores at some arcs; at all others they are alike (zeros).

    tokens, heads: (P,) the arcs, in any order, none twice: numbers in the whole batch, and head
        numbers in their sentences. scores: (P, R) log-potentials. lengths: (B,) of the sentences.

    Raises ValueError for shapes that do not fit, arcs that do not exist or are listed twice.
    """

    def __init__(
        self,
        tokens: Ints1d,
        heads: Ints1d,
        scores: Floats2d,
        lengths: Ints1d | Sequence[int],
    ) -> None:
        self.tokens, self.heads = to_host(tokens), to_host(heads)
        if scores.ndim != 2 or not len(self.tokens) == len(self.heads) == len(scores):
            raise ValueError(
                f"There should be scores (P, R) for each of the {len(self.tokens)} tokens and "
                f"{len(self.heads)} heads that are listed, but they have the shape {scores.shape}"
            )
        self.scores = scores
        lengths = as_lengths(lengths, int(np.sum(to_host(lengths))))
        self.layout = ArcLayout(lengths)
        cells = self.layout.checked_cells(self.tokens, self.heads)
        self._order = np.argsort(cells, kind="stable")
        self._cells = cells[self._order]
        if (self._cells[1:] == self._cells[:-1]).any():
            twice = self._order[int((self._cells[1:] == self._cells[:-1]).argmax())]
            raise ValueError(
                f"The arc from the head {self.heads[twice]} to the token {self.tokens[twice]} of "
                f"the batch is listed twice"
            )

    @property
    def n_labels(self) -> int:
        return self.scores.shape[1]

    def scores_at(self, tokens: Ints1d, heads: Ints1d) -> Floats2d:
        """Log-potentials of the relations of P arcs, (P, R); see `Relations`."""
        xp = array_module(self.scores)
        wanted = self.layout.cells(to_host(tokens), to_host(heads))
        if not len(self._cells):
            return xp.zeros((len(wanted), self.n_labels), dtype=self.scores.dtype)
        places = np.searchsorted(self._cells, wanted).clip(max=len(self._cells) - 1)
        missing = self._cells[places] != wanted
        found = self.scores.take(xp.asarray(self._order[places]), axis=0)
        found[xp.asarray(missing)] = 0
        return found

    def select(self, sentences: Ints1d | Sequence[int]) -> ListedRelations:
        """Only the given sentences of the batch, in the given order."""
        chosen = to_host(sentences).astype(np.int64, copy=False)
        lengths, bounds = self.layout.lengths[chosen], self.layout.arc_offsets
        starts = np.searchsorted(self._cells, bounds[chosen])
        counts = np.searchsorted(self._cells, bounds[chosen + 1]) - starts
        shifts = np.repeat(starts - (np.cumsum(counts) - counts), counts)
        listed = self._order[shifts + np.arange(len(shifts))]
        moved = np.cumsum(lengths) - lengths - self.layout.token_offsets[chosen]
        return ListedRelations(
            self.tokens[listed] + np.repeat(moved, counts),
            self.heads[listed],
            self.scores.take(array_module(self.scores).asarray(listed), axis=0),
            lengths,
        )


def _as_block(block: Any, sentence: int) -> Floats3d:
    """The scores of one sentence's relations, checked."""
    if not hasattr(block, "dtype") or block.dtype.kind != "f":
        block = array_module(block).asarray(block, dtype=np.float64)
    if block.ndim != 3 or block.shape[1] != block.shape[0] + 1:
        raise SentenceError(
            f"has scores of relations of the shape {block.shape}; they should be (n, n + 1, R)",
            sentence,
        )
    return block
