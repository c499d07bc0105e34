"""Distributions over label sequences by listing them: what the structures must agree with."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np


@dataclass
class Enumeration:
    """All label sequences of one sentence with their scores, in lexicographic order."""

    outputs: list[tuple[int, ...]]
    scores: np.ndarray
    n_labels: int

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

    def tokens(self) -> np.ndarray:
        """(n, L)"""
        marginals = np.zeros((len(self.outputs[0]), self.n_labels))
        for output, prob in zip(self.outputs, self.probs):
            for token, label in enumerate(output):
                marginals[token, label] += prob
        return marginals

    def pairs(self) -> np.ndarray:
        """(n, L, L), zeros at the first token."""
        marginals = np.zeros((len(self.outputs[0]), self.n_labels, self.n_labels))
        for output, prob in zip(self.outputs, self.probs):
            for token in range(1, len(output)):
                marginals[token, output[token - 1], output[token]] += prob
        return marginals

    def expected(self, value) -> float:
        """E[value(y)], 0·(-inf) = 0."""
        return float(sum(p * value(y) for y, p in zip(self.outputs, self.probs) if p > 0))

    def best(self, k: int) -> list[tuple[float, tuple[int, ...]]]:
        """The k best (log-probability, sequence) of probability above zero, best first."""
        order = np.argsort(-self.scores, kind="stable")[:k]
        return [(self.log_probs[i], self.outputs[i]) for i in order if self.scores[i] > -np.inf]


def token_scores(scores: np.ndarray) -> Enumeration:
    """Independent labels with scores (n, L)."""
    n_labels = scores.shape[1]
    return chain_scores(scores, np.zeros((n_labels,) * 2), np.zeros(n_labels), np.zeros(n_labels))


def chain_scores(emissions, transitions, start, end) -> Enumeration:
    """A linear chain with potentials (n, L), (L, L), (L,), (L,)."""
    n_tokens, n_labels = emissions.shape
    outputs = list(product(range(n_labels), repeat=n_tokens))
    scores = [chain_score(y, emissions, transitions, start, end) for y in outputs]
    return Enumeration(outputs, np.array(scores), n_labels)


def chain_score(output, emissions, transitions, start, end) -> float:
    """The score of one label sequence."""
    if not len(output):
        return 0.0
    score = start[output[0]] + end[output[-1]]
    score += sum(emissions[token, label] for token, label in enumerate(output))
    return float(score + sum(transitions[a, b] for a, b in pairwise(output)))
