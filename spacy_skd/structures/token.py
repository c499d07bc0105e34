"""Independent labels, one distribution a token (MaxEnt; docs/math.md §2.1)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from .base import (
    Bools2d,
    Floats1d,
    Floats2d,
    Ints1d,
    Scored,
    SentenceError,
    array_module,
    as_labels,
    as_lengths,
    as_scores,
    cells_of,
    check_scores,
    expectation,
    flatten_outputs,
    row_max,
    split_outputs,
    to_host,
)
from .kbest import check_k, token_kbest
from .packing import Packing


class Token:
    """p(y) = Π_i softmax(scores_i)[y_i]: labels that are independent given the sentence.

    scores: (N, L) log-potentials, the tokens of all sentences one after another; -inf bars a label.
    lengths: (B,) tokens of each sentence, summing to N. labels: label names in column order.
    packing: the layout of another structure over the same sentences, to share it.

    Results have the dtype of the scores. Raises ValueError for shapes that do not fit,
    SentenceError for a score of NaN or +inf and, when asked for a result, for a token whose labels
    are all barred.
    """

    def __init__(
        self,
        scores: Floats2d,
        lengths: Ints1d | Sequence[int],
        labels: Sequence[str] | None = None,
        *,
        packing: Packing | None = None,
    ) -> None:
        self.scores = as_scores(scores, "scores", (None, None))
        self.lengths = as_lengths(packing.lengths if packing else lengths, len(self.scores))
        self.labels = as_labels(labels, self.n_labels)
        check_scores(self.scores, self.lengths, "a score")
        self.packing = packing or Packing(self.lengths, array_module(self.scores))

    @property
    def n_labels(self) -> int:
        return self.scores.shape[1]

    def log_partition(self) -> Floats1d:
        """log Z of every sentence, (B,)."""
        return self._cast(self._log_z)

    def marginals(self) -> Floats2d:
        """The probability of every label at every token, (N, L)."""
        return self._softmax[0].copy()

    def argmax(self) -> list[Ints1d]:
        """The best label of every token: one int64 array a sentence, on the host."""
        peaks = self._peaks  # raises for a token without a label
        best = self.scores.argmax(axis=1) if len(peaks) else np.zeros(0, dtype=np.int64)
        return split_outputs(to_host(best), self.packing.offsets)

    def topk(self, k: int) -> list[Scored]:
        """The `k` best label sequences of every sentence with log-probabilities, best first.

        Exact; fewer where fewer sequences have a probability above zero.
        """
        check_k(k)
        best = to_host(-self.packing.sum(self._softmax[1]))
        scores = to_host(self.scores).astype(np.float64)
        bounds = self.packing.offsets.tolist()
        return [
            token_kbest(scores[start:stop], k, log_prob)
            for start, stop, log_prob in zip(bounds, bounds[1:], best.tolist())
        ]

    def score(self, outputs: Sequence[Any] | Ints1d) -> Floats1d:
        """The unnormalised score of one label sequence a sentence, (B,)."""
        return self._cast(self._score(outputs))

    def log_prob(self, outputs: Sequence[Any] | Ints1d) -> Floats1d:
        """The log-probability of one label sequence a sentence, (B,)."""
        return self._cast(self._score(outputs) - self._log_z)

    def entropy(self) -> Floats1d:
        """The entropy of every sentence's distribution in nats, (B,)."""
        probabilities, log_norms = self._softmax
        expected = expectation(probabilities, self.scores - self._peaks[:, None])
        return self._cast(self.packing.sum(log_norms - expected).clip(0, None))

    def parts_of(self, outputs: Sequence[Any] | Ints1d) -> Floats2d:
        """One label sequence a sentence as indicators, (N, L)."""
        xp = array_module(self.scores)
        parts = xp.zeros(self.scores.shape, dtype=self.scores.dtype)
        parts.ravel()[cells_of(self._flatten(outputs), self.n_labels)] = 1
        return parts

    def restrict(self, allowed: Bools2d) -> Token:
        """The same scores with only the labels of `allowed`, (N, L), possible."""
        xp = array_module(self.scores)
        scores = xp.where(allowed, self.scores, self.scores.dtype.type(-np.inf))
        return Token(scores, self.lengths, self.labels, packing=self.packing)

    def select(self, sentences: Ints1d | Sequence[int]) -> Token:
        """Only the given sentences of the batch, in the given order."""
        tokens, lengths = self.packing.select(sentences)
        return Token(self.scores[tokens], lengths, self.labels)

    @cached_property
    def _peaks(self) -> Floats1d:
        """The best score of every token, (N,)."""
        peaks = row_max(self.scores)
        if len(peaks) and not float(peaks.min()) > -np.inf:
            token = int((peaks == -np.inf).argmax())
            sentence = int(self.packing.sentences[token])
            position = token - int(self.packing.offsets[sentence])
            raise SentenceError(
                f"has no possible label at its token {position} (of {self.lengths[sentence]}): "
                f"every score there is -inf",
                sentence,
            )
        return peaks

    @cached_property
    def _softmax(self) -> tuple[Floats2d, Floats1d]:
        """Probabilities, (N, L), and log Z minus the best score of every token, (N,)."""
        xp = array_module(self.scores)
        probabilities = self.scores - self._peaks[:, None]
        xp.exp(probabilities, out=probabilities)
        norms = probabilities.sum(axis=1)
        probabilities /= norms[:, None]
        return probabilities, xp.log(norms)

    @cached_property
    def _log_z(self) -> Floats1d:
        log_norms = self._softmax[1].astype(np.float64)
        return self.packing.sum(log_norms + self._peaks)

    def _flatten(self, outputs: Sequence[Any] | Ints1d) -> Ints1d:
        xp = array_module(self.scores)
        return xp.asarray(flatten_outputs(outputs, self.lengths, self.n_labels))

    def _score(self, outputs: Sequence[Any] | Ints1d) -> Floats1d:
        cells = cells_of(self._flatten(outputs), self.n_labels)
        return self.packing.sum(self.scores.ravel().take(cells))

    def _cast(self, values: Floats1d) -> Floats1d:
        return values.astype(self.scores.dtype)
