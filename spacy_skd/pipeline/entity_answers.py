"""How sure an entity recogniser is: probabilities of entities, other analyses, entities above a
threshold (docs/math.md §5)."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ..distill.spans import as_flat, legal_chain
from ..structures import FlatSpans, LocalSpans, Token, spans_of
from ..structures.base import Floats1d, to_host
from ..structures.span_probabilities import likely_spans, span_probabilities
from .entity_decoding import Entities, EntityDistribution
from .readings import Answers, Scored, Unit

Place = tuple[int, int]


class EntityAnswers(Answers):
    """What can be asked of a batch of documents with entities.

    structure: the distributions given what was set before, a sentence a document. entities: what
    was decoded. labels: entity labels, as numbered there. presets: (start, end) of the entities
    that documents had before, by the documents' numbers in the batch.

    Probabilities are those of well-formed entities, which is what is decoded: of independent labels
    given that, and of independent spans, unless they may be nested, given that none overlap.
    """

    kind = "entities"

    def __init__(
        self,
        component: str,
        structure: EntityDistribution,
        source: Any,
        temperature: float,
        *,
        entities: Entities,
        labels: Sequence[str],
        spans_key: str | None,
        presets: dict[int, tuple[Place, ...]],
    ) -> None:
        super().__init__(component, structure, source, temperature)
        self.entities = entities
        self.labels = tuple(labels)
        self.spans_key = spans_key
        self.presets = presets

    def legal(self, structure: EntityDistribution) -> EntityDistribution:
        if isinstance(structure, LocalSpans):
            return structure if self.spans_key is not None else as_flat(structure)
        return legal_chain(structure) if isinstance(structure, Token) else structure

    def find_probabilities(self, structure: Any) -> Floats1d:
        documents, firsts, lasts, labels, _ = self.entities
        shifts = structure.packing.offsets[documents]
        return span_probabilities(structure, firsts + shifts, lasts + shifts, labels)

    def found(self, number: int) -> dict[Unit, float]:
        bounds, units, values = self.listed
        own = slice(bounds[number], bounds[number + 1])
        return dict(self._without_preset(number, list(zip(units[own], values[own]))))

    @cached_property
    def listed(self) -> tuple[list[Any], ...]:
        """Where the entities of every document begin, and of every entity: it and its
        probability."""
        documents, firsts, lasts, labels, _ = self.entities
        numbers = np.arange(self.structure.packing.n_sentences + 1)
        names = [self.labels[label] for label in labels.tolist()]
        units = list(zip(firsts.tolist(), (lasts + 1).tolist(), names))
        return np.searchsorted(documents, numbers).tolist(), units, self.probabilities.tolist()

    def probability_of(self, number: int, unit: Unit) -> float | None:
        start, end, label = unit
        if label not in self.labels or (start, end) in self.preset(number):
            return None
        if not 0 <= start < end <= self.n_tokens(number):
            return None
        width = end - start
        if isinstance(self.structure, FlatSpans | LocalSpans) and width > self.structure.max_width:
            return 0.0
        first, last, column = np.asarray([[start], [end - 1], [self.labels.index(label)]])
        return float(span_probabilities(self.of_document(number), first, last, column)[0])

    def alternatives(self, number: int, k: int) -> Scored:
        structure = self.of_document(number)
        found: Scored = []
        for output, log_prob in structure.topk(k)[0]:
            if isinstance(output, frozenset):
                spans = [(first, last, self.labels[label]) for first, last, label in sorted(output)]
            else:
                spans = spans_of(output, structure.labels)
            units = [((first, last + 1, label), 0.0) for first, last, label in spans]
            kept = tuple(unit for unit, _ in self._without_preset(number, units))
            found.append((float(np.exp(log_prob)), kept))
        return found

    def above(self, number: int, threshold: float) -> list[tuple[Unit, float]]:
        spans = likely_spans(self.of_document(number), threshold)
        units = [
            ((first, last + 1, self.labels[label]), value)
            for first, last, label, value in zip(*(column.tolist() for column in spans))
        ]
        return self._without_preset(number, units)

    def n_tokens(self, number: int) -> int:
        return int(to_host(self.structure.lengths)[number])

    def preset(self, number: int) -> tuple[Place, ...]:
        return self.presets.get(number, ())

    def _without_preset(self, number: int, units: list) -> list:
        """Only the units that are no part of an entity which the document had before."""
        preset = self.preset(number)
        if not preset:
            return units
        taken = {token for start, end in preset for token in range(start, end)}
        return [(unit, value) for unit, value in units if unit[0] not in taken]
