"""What documents say, one thing at a time: entities, labels of tokens, arcs.

Predicted and gold documents say it in the same form, so that it can be compared.
"""

from typing import TypeAlias

import numpy as np
from spacy.symbols import DEP, HEAD, IS_SPACE
from spacy.tokens import Doc

from ..structures.base import Bools1d

Entity: TypeAlias = tuple[int, int, str]
Tag: TypeAlias = tuple[int, str]
Arc: TypeAlias = tuple[int, int, str]
SENTENCE_STARTS = {"I": 2**64 - 1, "S": 1}
"""The labels of spaCy's `senter`, for tokens within and at the beginning of a sentence, and what
`Doc.to_array` gives for them."""
STARTS_OF_CODES = {code: label for label, code in SENTENCE_STARTS.items()}


def entities_of(doc: Doc, spans_key: str | None) -> list[Entity]:
    """(start, end, label) of each entity, or of each span of a key, tokens start..end-1."""
    spans = doc.ents if spans_key is None else doc.spans.get(spans_key, [])
    return [(span.start, span.end, span.label_) for span in spans if span.label_]


def known_entities(doc: Doc, spans_key: str | None) -> Bools1d:
    """Of which tokens it is known whether they are in an entity, (n,)."""
    if spans_key is not None:
        return np.full(len(doc), spans_key in doc.spans)
    return doc.to_array("ENT_IOB") != 0


def tags_of(doc: Doc, values: np.ndarray, *, are_starts: bool) -> list[Tag]:
    """(token, label) of each token that has one.

    values: (n,) spaCy's ids, 0 where there is none. are_starts: whether they say which tokens begin
        a sentence, by the labels of `SENTENCE_STARTS`.
    """
    tokens = np.flatnonzero(values).tolist()
    names = STARTS_OF_CODES if are_starts else doc.vocab.strings
    return [(token, names[value]) for token, value in zip(tokens, values[tokens].tolist())]


def arcs_of(doc: Doc) -> list[Arc]:
    """(token, head, relation) of each word that has a relation; a root is its own head.

    Whitespace is left out: its head is a convention. spaCy takes a token without a relation as one
    without a head.
    """
    tokens = np.flatnonzero(known_arcs(doc)).tolist()
    columns = doc.to_array([HEAD, DEP])[tokens]
    offsets, relations = columns[:, 0].astype(np.int64).tolist(), columns[:, 1].tolist()
    strings = doc.vocab.strings
    return [
        (token, token + offset, strings[relation])
        for token, offset, relation in zip(tokens, offsets, relations)
    ]


def known_arcs(doc: Doc) -> Bools1d:
    """Which words have a relation, and with it a head, (n,)."""
    dep, spaces = doc.to_array(DEP), doc.to_array(IS_SPACE)
    return (dep != 0) & (spaces == 0)
