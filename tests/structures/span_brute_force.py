"""Distributions over sets of flat spans by listing them: what `FlatSpans` must agree with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from spacy_skd.structures import biluo_labels, indices_of

Spans = frozenset[tuple[int, int, int]]


@dataclass
class SpanEnumeration:
    """All sets of non-overlapping spans of one sentence of n tokens, with their scores."""

    outputs: list[Spans]
    scores: np.ndarray
    shape: tuple[int, int, int]

    @property
    def log_z(self) -> float:
        return float(np.logaddexp.reduce(self.scores))

    @property
    def log_probs(self) -> np.ndarray:
        return self.scores - self.log_z

    @property
    def probs(self) -> np.ndarray:
        return np.exp(self.log_probs)

    @property
    def entropy(self) -> float:
        probs = self.probs[self.probs > 0]
        return float(-(probs * np.log(probs)).sum())

    def spans(self) -> np.ndarray:
        """(n, W, R)"""
        marginals = np.zeros(self.shape)
        for output, prob in zip(self.outputs, self.probs):
            for first, last, label in output:
                marginals[first, last - first, label] += prob
        return marginals

    def outside(self) -> np.ndarray:
        """(n,)"""
        marginals = np.zeros(self.shape[0])
        for output, prob in zip(self.outputs, self.probs):
            marginals[outside_of(output, self.shape[0])] += prob
        return marginals

    def tokens_and_pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """BILUO labels (n, 1 + 4R), and pairs of them summed over the sentence."""
        n_tokens, _, n_labels = self.shape
        names = [f"X{label}" for label in range(n_labels)]
        columns = biluo_labels(names)
        tokens = np.zeros((n_tokens, len(columns)))
        pairs = np.zeros((len(columns),) * 2)
        for output, prob in zip(self.outputs, self.probs):
            spans = [(first, last, names[label]) for first, last, label in output]
            indices = indices_of(spans, n_tokens, columns)
            tokens[np.arange(n_tokens), indices] += prob
            np.add.at(pairs, (indices[:-1], indices[1:]), prob)
        return tokens, pairs

    def best(self, k: int) -> list[tuple[float, Spans]]:
        """The k best (log-probability, set) of probability above zero, best first."""
        order = np.argsort(-self.scores, kind="stable")[:k]
        return [(self.log_probs[i], self.outputs[i]) for i in order if self.scores[i] > -np.inf]


def outside_of(output: Spans, n_tokens: int) -> list[int]:
    covered = {token for first, last, _ in output for token in range(first, last + 1)}
    return [token for token in range(n_tokens) if token not in covered]


def flat_sets(shape: tuple[int, int, int], start: int = 0) -> Iterator[Spans]:
    """All sets of spans of at most W of n tokens with one of R labels, from `start` on."""
    n_tokens, max_width, n_labels = shape
    if start == n_tokens:
        yield frozenset()
        return
    yield from flat_sets(shape, start + 1)
    for last in range(start, min(start + max_width, n_tokens)):
        for rest in flat_sets(shape, last + 1):
            for label in range(n_labels):
                yield rest | {(start, last, label)}


def span_scores(scores: np.ndarray, outside: np.ndarray) -> SpanEnumeration:
    """Flat spans with scores (n, W, R), and (n,) of the tokens in none."""
    outputs = list(flat_sets(scores.shape))
    values = [
        sum(scores[first, last - first, label] for first, last, label in output)
        + outside[outside_of(output, len(scores))].sum()
        for output in outputs
    ]
    return SpanEnumeration(outputs, np.array(values, dtype=float), scores.shape)
