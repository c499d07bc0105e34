"""Weighted lists of outputs, a distribution over nothing but what is listed (docs/math.md §2.7).

The k best outputs of any model, the beam of a transition system, one hard output, an ensemble's
votes.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from .base import (
    Floats1d,
    Ints1d,
    SentenceError,
    as_labels,
    as_lengths,
    split_outputs,
    to_host,
)
from .kbest import check_k
from .packing import Packing


class CandidateTokens(NamedTuple):
    """Every token of every candidate of every sentence, one after another: (M,) each.

    labels: its label. weights: its candidate's probability. tokens: which token of the batch it is,
    in flat order. inner: the positions in these arrays of those that have one before them.
    """

    labels: Ints1d
    weights: Floats1d
    tokens: Ints1d
    inner: Ints1d


class Candidates:
    """p(y) = Σ_k w_k 1[y = y_k], w = softmax(log_weights): outputs that are listed, with weights.

    outputs: the candidates of each sentence, at least one: sequences of label indices or anything
        else. Integer arrays (k, n), one label sequence a row, are the fast way.
    log_weights: (k,) for each sentence, normalised or not; -inf bars a candidate.
    labels: label names, if the outputs are label sequences. lengths: (B,) tokens of each sentence;
        by default the length of its candidates. n_labels: how many labels there are; by default as
        many as have names, or else as the candidates need.

    The parts are the candidates themselves. Equal candidates are one output, with the sum of their
    probabilities. Everything is float64 on the host. Raises ValueError for arguments that do not
    fit and SentenceError for a sentence without candidates or whose candidates differ in length,
    and for weights that are NaN, +inf or all -inf.
    """

    def __init__(
        self,
        outputs: Sequence[Any],
        log_weights: Sequence[Any],
        labels: Sequence[str] | None = None,
        *,
        lengths: Ints1d | Sequence[int] | None = None,
        n_labels: int | None = None,
    ) -> None:
        self.outputs = list(outputs)
        self.counts = np.fromiter(map(len, self.outputs), np.int64, len(self.outputs))
        if not self.counts.all():
            raise SentenceError("has no candidates", int(self.counts.argmin()))
        self._offsets = np.concatenate([[0], np.cumsum(self.counts)])
        self.log_weights = self._as_log_weights(log_weights)
        self._log_z = self._log_sums()
        self.lengths = self._common_lengths() if lengths is None else self._as_lengths(lengths)
        self.labels = as_labels(labels, len(labels or ()) if n_labels is None else n_labels)
        self._n_labels = n_labels if self.labels is None else len(self.labels)
        self.packing = Packing(self.lengths)

    @classmethod
    def from_topk(
        cls,
        scored: Sequence[Sequence[tuple[Any, float]]],
        labels: Sequence[str] | None,
        *,
        lengths: Ints1d | Sequence[int],
        uniform: bool = False,
    ) -> Candidates:
        """The outputs that `topk` of another structure found, normalised among themselves.

        uniform: give the outputs of a sentence the same weight, instead of their probabilities.
        """
        return cls(
            [[output for output, _ in best] for best in scored],
            [[0.0 if uniform else log_prob for _, log_prob in best] for best in scored],
            labels,
            lengths=lengths,
        )

    @property
    def n_labels(self) -> int:
        """The number of labels of label sequences."""
        if self._n_labels is None:
            self._n_labels = 1 + int(self._flat_labels.max(initial=0))
        return self._n_labels

    def log_partition(self) -> Floats1d:
        """The logarithm of the sum of the weights of every sentence, (B,)."""
        return self._log_z.copy()

    def marginals(self) -> list[Floats1d]:
        """The probability of every candidate: one array (k,) a sentence."""
        return self._split(self._weights.copy())

    def argmax(self) -> list[Any]:
        """The most probable output of every sentence; of arrays, a row."""
        best = [int(log_probs.argmax()) for log_probs in self._split(self._distinct[0])]
        return [outputs[number] for outputs, number in zip(self.outputs, best)]

    def topk(self, k: int) -> list[list[tuple[Any, float]]]:
        """The `k` most probable outputs of every sentence with log-probabilities, best first.

        Fewer where fewer are listed with a probability above zero; ties in the order of the list.
        Rows of arrays become lists.
        """
        check_k(k)
        found = []
        for outputs, log_probs in zip(self.outputs, self._split(self._distinct[0])):
            best = np.argsort(-log_probs, kind="stable")[:k].tolist()
            scored = [(outputs[i], float(log_probs[i])) for i in best if log_probs[i] > -np.inf]
            found.append([(y.tolist() if hasattr(y, "tolist") else y, p) for y, p in scored])
        return found

    def log_prob(self, outputs: Sequence[Any] | Ints1d) -> Floats1d:
        """The log-probability of one output a sentence, (B,); -inf if it is not listed."""
        return np.append(self._distinct[0], -np.inf)[self._listed(outputs)]

    def entropy(self) -> Floats1d:
        """The entropy in nats of every sentence's distribution, (B,)."""
        log_probs = self._distinct[0]
        probabilities = np.exp(log_probs)
        terms = probabilities * np.where(probabilities > 0, log_probs, 0)
        return (-self._sum(terms)).clip(0, None)

    def parts_of(self, outputs: Sequence[Any] | Ints1d) -> list[Floats1d]:
        """One output a sentence as indicators of its candidates: one array (k,) a sentence.

        Zeros where it is not listed; where it is listed more than once, the first has the 1.
        """
        listed = self._listed(outputs)
        indicators = np.zeros(len(self.log_weights))
        indicators[listed[listed >= 0]] = 1
        return self._split(indicators)

    def are_sets(self) -> bool:
        """Whether the outputs are sets (of spans), not sequences."""
        return any(isinstance(outputs[0], (set, frozenset)) for outputs in self.outputs)

    def select(self, sentences: Ints1d | Sequence[int]) -> Candidates:
        """Only the given sentences of the batch, in the given order."""
        chosen = to_host(sentences).astype(np.int64, copy=False).tolist()
        log_weights = self._split(self.log_weights)
        return Candidates(
            [self.outputs[number] for number in chosen],
            [log_weights[number] for number in chosen],
            self.labels,
            lengths=self.lengths[chosen],
            n_labels=self._n_labels,
        )

    @cached_property
    def tokens(self) -> CandidateTokens:
        """The candidates as label sequences, token by token.

        Raises SentenceError for candidates that are not one existing label a token.
        """
        lengths = np.repeat(self.lengths, self.counts)
        ends = np.cumsum(lengths)
        shifts = np.repeat(self.packing.offsets[:-1], self.counts) - (ends - lengths)
        inner = np.ones(len(self._flat_labels), dtype=bool)
        inner[(ends - lengths)[lengths > 0]] = False
        tokens = np.repeat(shifts, lengths)
        tokens += np.arange(len(tokens))
        self._check_labels(tokens)
        return CandidateTokens(
            self._flat_labels, np.repeat(self._weights, lengths), tokens, np.flatnonzero(inner)
        )

    def relabel(
        self, columns: Ints1d, labels: Sequence[str] | None, n_labels: int | None = None
    ) -> Candidates:
        """The same candidates with label i called `columns[i]`, an index into `labels`."""
        flat = np.asarray(columns)[self.tokens.labels]
        shapes = zip(self.counts.tolist(), self.lengths.tolist())
        sizes = np.cumsum(self.counts * self.lengths)[:-1]
        outputs = [rows.reshape(shape) for rows, shape in zip(np.split(flat, sizes), shapes)]
        return self.with_outputs(outputs, labels, n_labels)

    def with_outputs(
        self, outputs: Sequence[Any], labels: Sequence[str] | None, n_labels: int | None = None
    ) -> Candidates:
        """The same weights for the same outputs, written otherwise."""
        weights = self._split(self.log_weights)
        return Candidates(outputs, weights, labels, lengths=self.lengths, n_labels=n_labels)

    def with_log_weights(self, log_weights: Floats1d) -> Candidates:
        """The same outputs with other log-weights, those of all candidates one after another."""
        return Candidates(
            self.outputs,
            self._split(log_weights),
            self.labels,
            lengths=self.lengths,
            n_labels=self._n_labels,
        )

    @cached_property
    def _weights(self) -> Floats1d:
        """The probabilities of all candidates, sentence after sentence, (C,)."""
        return np.exp(self.log_weights - np.repeat(self._log_z, self.counts))

    @cached_property
    def _distinct(self) -> tuple[Floats1d, list[dict[Hashable, int]]]:
        """The outputs, without repetition.

        Log-probabilities, (C,): of an output at the first of its candidates, -inf at the others.
        And for each sentence where among the candidates of all that first one is.
        """
        listed: list[int] = []
        firsts = []
        for outputs in self.outputs:
            first: dict[Hashable, int] = {}
            listed.extend(
                first.setdefault(_key(output), number)
                for number, output in enumerate(outputs, start=len(listed))
            )
            firsts.append(first)
        log_probs = np.full(len(listed), -np.inf)
        of_candidates = self.log_weights - np.repeat(self._log_z, self.counts)
        np.logaddexp.at(log_probs, np.array(listed, dtype=np.int64), of_candidates)
        return log_probs, firsts

    def _listed(self, outputs: Sequence[Any] | Ints1d) -> Ints1d:
        """Where among the candidates of all sentences one output a sentence is, (B,), or -1."""
        if isinstance(outputs, np.ndarray) and outputs.ndim == 1 and outputs.dtype.kind in "iu":
            if len(outputs) != self.packing.n_tokens:
                raise ValueError(
                    f"There are {self.packing.n_tokens} tokens, but {len(outputs)} labels"
                )
            outputs = split_outputs(outputs, self.packing.offsets)
        if len(outputs) != len(self.outputs):
            raise ValueError(f"There are {len(self.outputs)} sentences, but {len(outputs)} outputs")
        firsts = self._distinct[1]
        listed = [first.get(_key(output), -1) for first, output in zip(firsts, outputs)]
        return np.array(listed, dtype=np.int64)

    @cached_property
    def _flat_labels(self) -> Ints1d:
        rows = [self._rows(sentence).ravel() for sentence in range(len(self.outputs))]
        return np.concatenate([row for row in rows if row.size] or [[]]).astype(np.int64)

    def _rows(self, sentence: int) -> Any:
        """A sentence's candidates as label sequences, (k, n)."""
        shape = int(self.counts[sentence]), int(self.lengths[sentence])
        try:
            rows = to_host(self.outputs[sentence])
        except ValueError:  # sequences of different lengths
            rows = np.zeros(0)
        if rows.shape != shape or (rows.size and rows.dtype.kind not in "iu"):
            raise SentenceError(
                f"has candidates that are not sequences of {shape[1]} label indices, one a token",
                sentence,
            )
        return rows

    def _check_labels(self, tokens: Ints1d) -> None:
        labels = self._flat_labels
        if not len(labels) or (labels.min() >= 0 and labels.max() < self.n_labels):
            return
        wrong = int(((labels < 0) | (labels >= self.n_labels)).argmax())
        raise SentenceError(
            f"has a candidate with the label {labels[wrong]}, but there are {self.n_labels}",
            int(self.packing.sentences[tokens[wrong]]),
        )

    def _as_log_weights(self, log_weights: Sequence[Any]) -> Floats1d:
        if len(log_weights) != len(self.outputs):
            raise ValueError(
                f"There are candidates for {len(self.outputs)} sentences, but log-weights for "
                f"{len(log_weights)}"
            )
        arrays = [to_host(weights).astype(np.float64, copy=False) for weights in log_weights]
        for sentence, (array, count) in enumerate(zip(arrays, self.counts.tolist())):
            if array.shape != (count,):
                raise SentenceError(
                    f"has {count} candidates, but log-weights of the shape {array.shape}", sentence
                )
        return np.concatenate(arrays or [np.zeros(0)])

    def _log_sums(self) -> Floats1d:
        """The logarithm of the sum of every sentence's weights, (B,), once they are checked."""
        wrong = ~(self.log_weights < np.inf)
        if wrong.any():
            number = int(wrong.argmax())
            raise SentenceError(
                f"has a log-weight of {self.log_weights[number]}; log-weights must be numbers or "
                f"-inf",
                int(np.searchsorted(self._offsets, number, side="right")) - 1,
            )
        starts = self._offsets[:-1]
        peaks = np.maximum.reduceat(self.log_weights, starts) if len(starts) else np.zeros(0)
        if (peaks == -np.inf).any():
            raise SentenceError(
                "has only candidates with a log-weight of -inf", int(peaks.argmin())
            )
        return peaks + np.log(self._sum(np.exp(self.log_weights - np.repeat(peaks, self.counts))))

    def _sum(self, values: Floats1d) -> Floats1d:
        """Values of the candidates, (C,), summed by sentence, (B,)."""
        sentences = np.repeat(np.arange(len(self.counts)), self.counts)
        sums = np.bincount(sentences, weights=values, minlength=len(self.counts))
        return sums.astype(np.float64, copy=False)  # integers, of an empty batch

    def _common_lengths(self) -> Ints1d:
        lengths = np.zeros(len(self.outputs), dtype=np.int64)
        for sentence, outputs in enumerate(self.outputs):
            found = sorted(set(map(len, outputs)))
            if len(found) > 1:
                raise SentenceError(
                    f"has candidates of {' and '.join(map(str, found))} tokens; they should be of "
                    f"the same length, or lengths should be given",
                    sentence,
                )
            lengths[sentence] = found[0]
        return lengths

    def _as_lengths(self, lengths: Ints1d | Sequence[int]) -> Ints1d:
        host = as_lengths(lengths, int(np.sum(to_host(lengths))))
        if len(host) != len(self.outputs):
            raise ValueError(
                f"There are candidates for {len(self.outputs)} sentences, but the lengths of "
                f"{len(host)}"
            )
        return host

    def _split(self, values: Floats1d) -> list[Floats1d]:
        """Values of the candidates, (C,), as one array a sentence."""
        return split_outputs(values, self._offsets)


def _key(output: Any) -> Hashable:
    """The same for equal outputs, whether they are lists, tuples or arrays."""
    if hasattr(output, "tolist"):
        output = output.tolist()
    if isinstance(output, list | tuple):
        return tuple(map(_key, output))
    if isinstance(output, set | frozenset):
        return frozenset(map(_key, output))
    return output
