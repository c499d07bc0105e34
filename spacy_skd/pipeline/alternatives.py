"""Other analyses of a document than the best one, to look at or to have as a document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from spacy.tokens import Doc, Span

from .analyses import NO_FEATURES, parts_of
from .parse_annotation import set_sentence_starts, set_tree
from .preset_entities import replace_entities
from .readings import Reading, Units


@dataclass(frozen=True)
class Alternative:
    """An analysis of a document and its probability.

    units: what it says, a tuple for each thing: an entity (start, end, label), a label of a token
    (token, label), or an arc (token, head, relation; a root is its own head). doc: the document,
    which stays as it is.
    """

    probability: float
    units: Units
    doc: Doc

    def as_doc(self) -> Doc:
        """A copy of the document with this analysis."""
        raise NotImplementedError


@dataclass(frozen=True)
class Entities(Alternative):
    """Entities in place of those that the component found. spans_key: where they are, if not in
    doc.ents. preset: (start, end) of entities that the document had before the component."""

    spans_key: str | None = None
    preset: tuple[tuple[int, int], ...] = ()

    @property
    def spans(self) -> list[Span]:
        """All entities, those that were there before among them, in the order of the document."""
        return self._spans_in(self.doc)

    def as_doc(self) -> Doc:
        doc = self.doc.copy()
        spans = self._spans_in(doc)
        if self.spans_key is not None:
            doc.spans[self.spans_key] = spans
        else:
            replace_entities(doc, spans)
        return doc

    def _spans_in(self, doc: Doc) -> list[Span]:
        spans = [Span(doc, start, end, label=label) for start, end, label in self.units]
        if self.preset:
            places = set(self.preset)
            spans += [span for span in doc.ents if (span.start, span.end) in places]
        return sorted(spans, key=lambda span: (span.start, span.end))


@dataclass(frozen=True)
class Tags(Alternative):
    """Labels of tokens in place of those that the component found."""

    attribute: str = "tag"
    names: ClassVar[dict[str, str]] = {"tag": "tag_", "pos": "pos_"}

    @property
    def labels(self) -> list[str | None]:
        """The label of each token; None where one was set before the component."""
        labels: list[str | None] = [None] * len(self.doc)
        for token, label in self.units:
            labels[token] = label
        return labels

    def as_doc(self) -> Doc:
        doc = self.doc.copy()
        if self.attribute == "sent_start":
            labels = zip(self.labels, self.doc)
            starts = [
                token.i
                for label, token in labels
                if label == "S" or (label is None and token.is_sent_start)
            ]
            set_sentence_starts(doc, starts)
            return doc
        for token, label in self.units:
            tagged: Any = doc[token]
            if self.attribute in self.names:
                setattr(tagged, self.names[self.attribute], label)
                continue
            features, pos = parts_of(label)
            tagged.set_morph("" if features == NO_FEATURES else features)
            if pos:
                tagged.pos_ = pos
        return doc


@dataclass(frozen=True)
class Tree(Alternative):
    """Trees of the document's sentences in place of those that the component found."""

    @property
    def heads(self) -> list[int]:
        """The token number of each token's head, a root's its own."""
        heads = [token.head.i for token in self.doc]
        for token, head, _ in self.units:
            heads[token] = head
        return heads

    @property
    def relations(self) -> list[str]:
        """The relation of each token to its head."""
        relations = [token.dep_ for token in self.doc]
        for token, _, relation in self.units:
            relations[token] = relation
        return relations

    def as_doc(self) -> Doc:
        doc = self.doc.copy()
        ids = [doc.vocab.strings.add(relation) for relation in self.relations]
        set_tree(doc, np.asarray(self.heads, dtype=np.int64), np.asarray(ids, dtype=np.uint64))
        return doc


def alternatives_of(doc: Doc, reading: Reading, k: int) -> list[Any]:
    """The `k` best analyses of a document by one component, best first."""
    found = reading.alternatives(k)
    if reading.kind == "entities":
        places = reading.spans_key, reading.preset
        return [Entities(probability, units, doc, *places) for probability, units in found]
    if reading.kind == "tree":
        return [Tree(probability, units, doc) for probability, units in found]
    return [Tags(probability, units, doc, reading.kind) for probability, units in found]
