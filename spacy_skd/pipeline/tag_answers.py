"""How sure a tagger is: probabilities of labels, and other analyses (docs/math.md §5)."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ..structures import LinearChain, Token
from ..structures.base import Bools1d, Floats1d, Floats2d, Ints1d, to_host
from .readings import Answers, Scored, Unit


class TagAnswers(Answers):
    """What can be asked of a batch of tagged documents.

    attribute: what was tagged. structure: the distributions given what was set before, a sentence a
    document. columns: (N,) the labels that were decoded. decided: (N,) which tokens had nothing
    set before.
    """

    def __init__(
        self,
        component: str,
        structure: Token | LinearChain,
        source: Any,
        temperature: float,
        *,
        attribute: str,
        columns: Ints1d,
        decided: Bools1d,
        labels: Sequence[str],
    ) -> None:
        super().__init__(component, structure, source, temperature)
        self.kind = attribute
        self.columns = columns
        self.decided = decided
        self.labels = tuple(labels)
        self.offsets = structure.packing.offsets.tolist()

    def find_probabilities(self, structure: Token | LinearChain) -> Floats1d:
        return _marginals(structure)[np.arange(len(self.columns)), self.columns]

    def found(self, number: int) -> dict[Unit, float]:
        own = slice(self.offsets[number], self.offsets[number + 1])
        labels, values, decided = (column[own] for column in self.listed)
        units = zip(range(len(labels)), labels)
        if not all(decided):
            return {unit: value for unit, value, is_own in zip(units, values, decided) if is_own}
        return dict(zip(units, values))

    @cached_property
    def listed(self) -> tuple[list[Any], ...]:
        """Of every token: its label, the probability of it, and whether it was decoded."""
        labels = [self.labels[column] for column in self.columns.tolist()]
        return labels, self.probabilities.tolist(), self.decided.tolist()

    def probability_of(self, number: int, unit: Unit) -> float | None:
        token, label = unit
        here = self.offsets[number] + token
        if label not in self.labels or not 0 <= token < self.n_tokens(number):
            return None
        if not self.decided[here]:
            return None
        marginals = _marginals(self.of_document(number))
        return float(marginals[token, self.labels.index(label)])

    def alternatives(self, number: int, k: int) -> Scored:
        start, end = self.offsets[number : number + 2]
        tokens = np.flatnonzero(self.decided[start:end]).tolist()
        return [
            (float(np.exp(log_prob)), tuple((token, self.labels[path[token]]) for token in tokens))
            for path, log_prob in self.of_document(number).topk(k)[0]
        ]

    def n_tokens(self, number: int) -> int:
        start, end = self.offsets[number : number + 2]
        return end - start


def _marginals(structure: Token | LinearChain) -> Floats2d:
    """(N, L) on the host."""
    if isinstance(structure, LinearChain):
        return to_host(structure.token_marginals())
    return to_host(structure.marginals())
