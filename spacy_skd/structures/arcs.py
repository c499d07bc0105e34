"""What distributions over dependency trees have in common: scores of arcs, and the best tree."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from .arborescence import best_trees
from .arc_layout import ArcLayout
from .base import (
    Bools1d,
    Floats1d,
    Floats2d,
    Ints1d,
    SentenceError,
    array_module,
    as_integers,
    as_labels,
    as_lengths,
    split_outputs,
    to_host,
)
from .packing import Packing
from .relations import Relations

Self = TypeVar("Self", bound="ArcDistribution")


class ArcDistribution:
    """A batch of distributions over heads, given by a score for every arc.

    An output is the head number of every token: 0 is the root, k the token k - 1 of the sentence.

    arcs: for each sentence of n tokens (n, n + 1) log-potentials; [d, h]: token d has the head
        number h. Or all of them in one flat array (Σ n(n + 1),), then with `lengths`. -inf forbids
        an arc. Arcs from a token to itself, [d, d + 1], are ignored: whatever is there becomes -inf
        in `scores`, a copy.
    relations: scores of relations, which do not change the distribution over heads.
    labels: names of the relations, in column order.
    lengths: (B,) tokens of each sentence, for flat arcs.
    layout: the layout of another structure over the same sentences, to share it.

    Results have the dtype of the scores. Raises ValueError for shapes that do not fit,
    SentenceError for a score of NaN or +inf.
    """

    def __init__(
        self,
        arcs: Sequence[Floats2d] | Floats1d,
        *,
        relations: Relations | None = None,
        labels: Sequence[str] | None = None,
        lengths: Ints1d | Sequence[int] | None = None,
        layout: ArcLayout | None = None,
    ) -> None:
        if layout is not None:
            lengths = layout.lengths
        self.scores, self.lengths = _as_flat(arcs, lengths)
        self.layout = layout or ArcLayout(self.lengths, array_module(self.scores))
        self.scores[self.layout.self_cells] = -np.inf
        self._check_scores()
        self.relations = relations
        self.labels = self._as_labels(labels)

    @property
    def n_labels(self) -> int:
        """The number of relations, R; 0 without any."""
        return 0 if self.relations is None else self.relations.n_labels

    @property
    def packing(self) -> Packing:
        return self.layout.packing

    @property
    def token_offsets(self) -> Ints1d:
        """Where the tokens of sentences start, (B + 1,), on the host; the last is N."""
        return self.layout.token_offsets

    @property
    def arc_offsets(self) -> Ints1d:
        """Where the blocks of sentences start in `scores`, (B + 1,), on the host."""
        return self.layout.arc_offsets

    @cached_property
    def arcs(self) -> list[Floats2d]:
        """Views of `scores`, (n, n + 1) a sentence."""
        return self.layout.blocks(self.scores)

    def flat_marginals(self) -> Floats1d:
        """The probability of every arc, (Σ n(n + 1),)."""
        raise NotImplementedError

    def marginals(self) -> list[Floats2d]:
        """The probability of every arc, (n, n + 1) a sentence."""
        return self.layout.blocks(self.flat_marginals())

    def greedy(self) -> list[Ints1d]:
        """The best head of every token by itself, whether or not that gives trees.

        Head numbers, one int64 array a sentence, on the host.
        """
        return split_outputs(self._greedy, self.token_offsets)

    def argmax(self, single_root: bool = True) -> list[Ints1d]:
        """The best dependency tree of every sentence, exactly.

        single_root: one token has the head number 0; else at least one. Head numbers, one int64
        array a sentence, on the host. Raises SentenceError for a sentence that has no tree.
        """
        heads = best_trees(self.scores, self.layout, self._greedy, single_root)
        return split_outputs(heads, self.token_offsets)

    def score(self, outputs: Sequence[Any] | Ints1d) -> Floats1d:
        """The sum of the scores of the arcs of one output a sentence, (B,)."""
        return self._cast(self._score(outputs))

    def parts_of(self, outputs: Sequence[Any] | Ints1d) -> list[Floats2d]:
        """One output a sentence as indicators, (n, n + 1) a sentence."""
        return self.layout.blocks(self.flat_parts_of(outputs))

    def flat_parts_of(self, outputs: Sequence[Any] | Ints1d) -> Floats1d:
        """One output a sentence as indicators, (Σ n(n + 1),)."""
        parts = array_module(self.scores).zeros(self.scores.shape, dtype=self.scores.dtype)
        parts[self._cells(outputs)] = 1
        return parts

    def with_scores(self: Self, scores: Floats1d, relations: Relations | None = None) -> Self:
        """The same kind of distributions with other scores of arcs (flat), and of relations."""
        return self._like(scores, self.relations if relations is None else relations, self.layout)

    def restrict(self: Self, allowed: Bools1d) -> Self:
        """The same scores with only some arcs possible.

        Its log Z is that of the outputs which agree with a partial annotation. allowed:
        (Σ n(n + 1),).
        """
        xp = array_module(self.scores)
        allowed = xp.asarray(allowed)
        if allowed.shape != self.scores.shape:
            raise ValueError(
                f"allowed should have the shape {self.scores.shape}, but it has {allowed.shape}"
            )
        return self.with_scores(xp.where(allowed, self.scores, self.scores.dtype.type(-np.inf)))

    def select(self: Self, sentences: Ints1d | Sequence[int]) -> Self:
        """Only the given sentences of the batch, in the given order."""
        cells, lengths = self.layout.select(sentences)
        relations = None if self.relations is None else self.relations.select(sentences)
        layout = ArcLayout(lengths, array_module(self.scores))
        return self._like(self.scores.take(cells), relations, layout)

    def relation_log_probs(self, tokens: Ints1d, heads: Ints1d) -> Floats2d:
        """log p(relation | arc) of P arcs, (P, R).

        tokens: (P,) numbers in the whole batch. heads: (P,) head numbers in their sentences. Raises
        ValueError where there are no relations, or an arc does not exist; SentenceError where every
        relation is forbidden.
        """
        if self.relations is None:
            raise ValueError("There are no relations: the structure was made without any")
        self.layout.check_arcs(tokens, heads)
        scores = self.relations.scores_at(tokens, heads)
        if not scores.size:
            return scores
        xp = array_module(scores)
        peaks = scores.max(axis=1, keepdims=True)
        if not float(peaks.min()) > -np.inf:
            arc = int(to_host(peaks).argmin())
            raise SentenceError(
                f"has no possible relation for the arc from the head number {int(heads[arc])} to "
                f"its token {self.layout.positions[int(tokens[arc])]}: every score is -inf",
                int(self.layout.sentences[int(tokens[arc])]),
            )
        scores = scores - peaks
        return scores - xp.log(xp.exp(scores).sum(axis=1, keepdims=True))

    def _options(self) -> dict[str, Any]:
        """Further arguments of the constructor that a copy has to have."""
        return {}

    def _like(self: Self, scores: Floats1d, relations: Relations | None, layout: ArcLayout) -> Self:
        labels = None if relations is None else self.labels
        return type(self)(
            scores, relations=relations, labels=labels, layout=layout, **self._options()
        )

    @cached_property
    def _greedy(self) -> Ints1d:
        """The best head of every token, (N,), once every token is known to have one."""
        self._peaks  # noqa: B018
        return self.layout.row_argmax(self.scores)

    @cached_property
    def _peaks(self) -> Floats1d:
        """The best score of every token, (N,)."""
        peaks = self.layout.row_max(self.scores)
        if len(peaks) and not float(peaks.min()) > -np.inf:
            token = int((to_host(peaks) == -np.inf).argmax())
            sentence = int(self.layout.sentences[token])
            raise SentenceError(
                f"has no possible head for its token {self.layout.positions[token]} (of "
                f"{self.lengths[sentence]}): every arc score there is -inf",
                sentence,
            )
        return peaks

    def _score(self, outputs: Sequence[Any] | Ints1d) -> Floats1d:
        """The score in float64, (B,)."""
        return self.packing.sum(self.scores.take(self._cells(outputs)))

    def _cells(self, outputs: Sequence[Any] | Ints1d) -> Ints1d:
        """Where the arcs of one output a sentence are, (N,)."""
        heads = flatten_heads(outputs, self.layout)
        return self.layout.cells(np.arange(self.layout.n_tokens), heads)

    def _as_labels(self, labels: Sequence[str] | None) -> tuple[str, ...] | None:
        # Relations of no sentence at all need not know how many they are.
        if labels is not None and not self.n_labels and not len(self.lengths):
            return tuple(labels)
        return as_labels(labels, self.n_labels)

    def _check_scores(self) -> None:
        if self.scores.size == 0 or float(self.scores.max()) < np.inf:
            return
        cell = int(to_host(~(self.scores < np.inf)).argmax())
        token = int(np.searchsorted(self.layout.row_starts, cell, side="right")) - 1
        sentence = int(self.layout.sentences[token])
        raise SentenceError(
            f"has an arc score of {float(self.scores[cell])} from the head number "
            f"{cell - self.layout.row_starts[token]} to its token {self.layout.positions[token]} "
            f"(of {self.lengths[sentence]}); scores must be numbers or -inf",
            sentence,
        )

    def _cast(self, values: Floats1d) -> Floats1d:
        return values.astype(self.scores.dtype)


def flatten_heads(outputs: Any, layout: ArcLayout) -> Ints1d:
    """Head numbers of all sentences as one flat array (N,) on the host.

    outputs: a sequence of head numbers for each sentence, or an integer array (N,). Raises
    ValueError for another number of sentences or tokens; SentenceError for an output of the wrong
    length, a head that does not exist and a token that is its own head; ValueError for what are
    no integers.
    """
    lengths = layout.lengths
    if hasattr(outputs, "dtype") and outputs.ndim == 1 and outputs.dtype.kind in "iu":
        flat = to_host(outputs)
        if len(flat) != layout.n_tokens:
            raise ValueError(f"There are {layout.n_tokens} tokens, but {len(flat)} heads")
    else:
        if len(outputs) != len(lengths):
            raise ValueError(f"There are {len(lengths)} sentences, but {len(outputs)} outputs")
        found = np.fromiter(map(len, outputs), dtype=np.int64, count=len(outputs))
        if (found != lengths).any():
            sentence = int((found != lengths).argmax())
            raise SentenceError(
                f"has {lengths[sentence]} tokens, but its output {found[sentence]}", sentence
            )
        arrays = [as_integers(output, "Head numbers") for output in outputs if len(output)]
        flat = np.concatenate(arrays) if arrays else np.zeros(0)
    flat = flat.astype(np.int64, copy=False)
    wrong = (flat < 0) | (flat >= layout.widths) | (flat == layout.positions + 1)
    if wrong.any():
        token = int(wrong.argmax())
        sentence, position = int(layout.sentences[token]), int(layout.positions[token])
        raise SentenceError(
            f"has the head number {flat[token]} at its token {position} (of {lengths[sentence]}); "
            f"head numbers are 0 for the root and k for token k - 1, not the token itself",
            sentence,
        )
    return flat


def _as_flat(arcs: Any, lengths: Any) -> tuple[Floats1d, Ints1d]:
    """A copy of the scores of all arcs in one array, in float32 or float64, and the lengths."""
    if hasattr(arcs, "ndim") and arcs.ndim == 1 and arcs.dtype != object:
        if lengths is None:
            raise ValueError("A flat array of arc scores needs the lengths of the sentences")
        host = as_lengths(lengths)
        n_cells = int((host * (host + 1)).sum())
        if len(arcs) != n_cells:
            raise ValueError(
                f"Sentences of these lengths have {n_cells} arc scores, n (n + 1) each, but there "
                f"are {len(arcs)}"
            )
        return _as_floats(arcs), host
    blocks = [block if hasattr(block, "dtype") else np.asarray(block, "f8") for block in arcs]
    blocks = [block if len(block) else block.reshape(0, 1) for block in blocks]
    for sentence, block in enumerate(blocks):
        if block.ndim != 2 or block.shape[1] != block.shape[0] + 1:
            raise SentenceError(
                f"has arc scores of the shape {block.shape}; they should be (n, n + 1), a row for "
                f"each token, a column for the root and for each token",
                sentence,
            )
    found = np.asarray([len(block) for block in blocks], dtype=np.int64)
    if lengths is not None and found.tolist() != to_host(lengths).tolist():
        raise ValueError(
            f"The arc scores are those of sentences of the lengths {found.tolist()}, not of "
            f"{to_host(lengths).tolist()}"
        )
    if not len(blocks):
        return np.zeros(0), found
    xp = array_module(blocks[0])
    return _as_floats(xp.concatenate([block.ravel() for block in blocks])), found


def _as_floats(scores: Any) -> Floats1d:
    dtypes = {"f": np.float32, "e": np.float32}
    return scores.astype(dtypes.get(scores.dtype.char, np.float64))
