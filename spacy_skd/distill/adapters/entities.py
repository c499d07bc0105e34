"""spaCy's `ner` and `beam_ner`: the sets of entities in a beam, or the only one."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from spacy.language import Language
from spacy.pipeline import EntityRecognizer
from spacy.tokens import Doc

from ...structures import Candidates
from ..copies import plain_copy
from .base import Reader, check_trained
from .beams import has_beam, parses_of

Entity = tuple[int, int, str]  # first token, token after the last, label


class EntityReader(Reader):
    """Reads the outputs of a transition-based entity recogniser."""

    def __init__(self, name: str, component: Any) -> None:
        width = component.cfg["beam_width"]
        best = f"the {width} best of a beam" if has_beam(component) else "its best entities alone"
        super().__init__(name, component, best)
        # Of now: predicting, it takes up labels that documents bring with them.
        self.labels = tuple(component.labels)

    def read(self, docs: Sequence[Doc], prediction: Sequence[Any]) -> dict[str, Candidates]:
        if any(map(len, docs)) and has_beam(self.component):
            scored = parses_of(self.component, prediction)
        else:
            scored = [[(1.0, entities)] for entities in self._best(docs, prediction)]
        return {self.name: entity_candidates(docs, scored, self.labels)}

    def _best(self, docs: Sequence[Doc], states: Sequence[Any]) -> list[list[Entity]]:
        copies = [plain_copy(doc, doc.vocab) for doc in docs]
        self.component.set_annotations(copies, states)
        return [[(ent.start, ent.end, ent.label_) for ent in doc.ents] for doc in copies]


def entity_candidates(
    docs: Sequence[Doc],
    scored: Sequence[Sequence[tuple[float, Sequence[Entity]]]],
    labels: Sequence[str],
) -> Candidates:
    """Weighted sets of spans of each document; spans with other labels are left out.

    scored: of each document, probabilities and spans.
    """
    column = {label: number for number, label in enumerate(labels)}
    outputs = [
        [
            frozenset(
                (start, end - 1, column[label]) for start, end, label in spans if label in column
            )
            for _, spans in parses
        ]
        for parses in scored
    ]
    with np.errstate(divide="ignore"):
        weights = [np.log([prob for prob, _ in parses]) for parses in scored]
    return Candidates(outputs, weights, labels, lengths=[len(doc) for doc in docs])


def entity_reader(nlp: Language, name: str, component: Any) -> Reader | None:
    """spaCy's entity recogniser, with or without a beam."""
    if not isinstance(component, EntityRecognizer):
        return None
    check_trained(component)
    return EntityReader(name, component)
