"""How sure components are, asked of documents: `span._.confidence`, `token._.tag_confidence`,
`token._.head_confidence`, `doc._.confidences()`, `doc._.alternatives(k)` and
`doc._.entities_above(threshold)`.

Nothing is computed before someone asks, or writes the document.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from spacy.tokens import Doc, Span, SpanGroup, Token

from .alternatives import Alternative, alternatives_of
from .analyses import analysis_of
from .documents import name_of
from .kept_readings import Readings, check_tokens, parts_of, readings_at, readings_of
from .readings import Reading, Unit

LOGGER = logging.getLogger("spacy")
TAGS = ("tag", "pos", "morph+pos", "morph", "sent_start")
"""What `tag_confidence` is about, where several components have labelled the tokens: the first."""
ENTITIES, TREES = ("entities",), ("tree",)
ALL = (*TAGS, *ENTITIES, *TREES)


def span_confidence(span: Span) -> float | None:
    """The probability of the span with its label.

    That of the component which found it; if none has, of the first one that knows the label, which
    is near 0 for most entities that a rule has set later. None if no component does, if the span
    was there before, and, of spans that were not found, in documents that have been written since.
    Raises ValueError where nothing is kept.
    """
    asked: list[tuple[Reading, Unit]] = []
    for part, readings in readings_at(span.doc, span.start):
        unit = (span.start - part.start, span.end - part.start, span.label_)
        for reading in _of_kinds(span.doc, part.stop - part.start, readings, ENTITIES):
            if unit in reading.found():
                return reading.found()[unit]
            asked.append((reading, unit))
    if not asked:
        raise _nothing_kept(span.doc, "skd_ner")
    return _first(reading.probability_of(unit) for reading, unit in asked)


def tag_confidence(token: Token) -> float | None:
    """The probability of the token's tag, part of speech, morphology or sentence start, the first
    of these that a component has set. None, and ValueError, as for spans."""
    start, reading = _asked(token, TAGS, "skd_tagger")
    return reading.probability_of((token.i - start, _label(token, reading.kind)))


def head_confidence(token: Token) -> float | None:
    """The probability of the token's head and its relation to it. None, and ValueError, as for
    spans; None for whitespace, too."""
    start, reading = _asked(token, TREES, "skd_parser")
    return reading.probability_of((token.i - start, token.head.i - start, token.dep_))


def confidences(doc: Doc, component: str | None = None) -> dict[Unit, float]:
    """What a component found in the document, with probabilities: (start, end, label) of entities,
    (token, label) of tags, (token, head, relation) of arcs.

    component: its name; not needed if it is the only one. Raises ValueError as `alternatives` does.
    """
    return dict(_chosen(doc, component, "confidences(", ALL).found())


def alternatives(doc: Doc, k: int = 5, component: str | None = None) -> list[Alternative]:
    """The `k` best analyses of the document by a component with their probabilities, best first.

    component: its name; not needed if it is the only one. Raises ValueError if there are several,
    or none, if it annotated the documents that this one is put together from, if the document has
    been written since and so many were not asked for before, and for a k below 1.
    """
    return alternatives_of(doc, _chosen(doc, component, f"alternatives({k}, ", ALL), k)


def entities_above(doc: Doc, threshold: float, component: str | None = None) -> SpanGroup:
    """All entities whose probability is at least the threshold, whether or not they overlap.

    Their probabilities are in `.attrs["scores"]`. component, errors: as for `alternatives`.
    """
    reading = _chosen(doc, component, f"entities_above({threshold}, ", ENTITIES)
    found: list[Any] = reading.above(threshold)
    spans = [Span(doc, start, end, label=label) for (start, end, label), _ in found]
    scores = np.asarray([value for _, value in found], dtype=np.float64)
    return SpanGroup(doc, name=reading.component, attrs={"scores": scores}, spans=spans)


def register_attributes() -> None:
    """Let spaCy know of the attributes. What another package has registered stays as it is."""
    wanted: list[tuple[Any, str, dict[str, Any]]] = [
        (Span, "confidence", {"getter": span_confidence}),
        (Token, "tag_confidence", {"getter": tag_confidence}),
        (Token, "head_confidence", {"getter": head_confidence}),
        (Doc, "confidences", {"method": confidences}),
        (Doc, "alternatives", {"method": alternatives}),
        (Doc, "entities_above", {"method": entities_above}),
    ]
    for of, name, how in wanted:
        if not of.has_extension(name):
            of.set_extension(name, **how)
        elif not _is_own(of.get_extension(name)):
            LOGGER.debug(
                "%s._.%s was registered by another package and stays as it is; what it would have "
                "been is in %s.",
                of.__name__,
                name,
                __name__,
            )


def _is_own(extension: tuple[Any, ...]) -> bool:
    return any(getattr(part, "__module__", None) == __name__ for part in extension)


def _asked(token: Token, kinds: Sequence[str], factory: str) -> tuple[int, Reading]:
    """The reading in which a token is, of the first of some kinds that has one, and where its part
    of the document begins. Raises ValueError if there is none."""
    doc: Any = token.doc
    # Nearly always one of the whole document. This is done for every token.
    reading = _first_of_kinds(doc, len(doc), readings_of(doc), kinds)
    if reading is not None:
        return 0, reading
    for part, readings in readings_at(doc, token.i):
        reading = _first_of_kinds(doc, part.stop - part.start, readings, kinds)
        if reading is not None:
            return part.start, reading
    raise _nothing_kept(doc, factory)


def _first_of_kinds(
    doc: Doc, n_tokens: int, readings: Readings, kinds: Sequence[str]
) -> Reading | None:
    """That of the first kind which has one; of several, the first. Raises ValueError if it had
    other tokens."""
    first: Reading | None = None
    for reading in readings.values():
        kind = reading.kind
        if kind in kinds and (first is None or kinds.index(kind) < kinds.index(first.kind)):
            first = reading
    return first and check_tokens(doc, first, n_tokens)


def _of_kinds(doc: Doc, n_tokens: int, readings: Readings, kinds: Sequence[str]) -> list[Reading]:
    """Those of some kinds of the readings of (a part of) a document, which has so many tokens.
    Raises ValueError if it had others."""
    return [
        check_tokens(doc, reading, n_tokens)
        for reading in readings.values()
        if reading.kind in kinds
    ]


def _first(answers: Iterable[float | None]) -> float | None:
    return next((answer for answer in answers if answer is not None), None)


def _label(token: Any, attribute: str) -> str:
    """The token's label, in the form of those of the components."""
    if attribute == "sent_start":
        return {True: "S", False: "I"}.get(token.is_sent_start, "")
    if attribute in ("morph", "morph+pos"):
        features = token.vocab.strings[token.morph.key]
        return features if attribute == "morph" else analysis_of(features, token.pos_)
    return token.tag_ if attribute == "tag" else token.pos_


def _chosen(doc: Doc, component: str | None, call: str, kinds: Sequence[str]) -> Reading:
    """The reading of a component, or of the only one, whose kind is among `kinds`."""

    def fitting(readings: Readings) -> list[str]:
        return [name for name, reading in readings.items() if reading.kind in kinds]

    readings = readings_of(doc)
    candidates = fitting(readings)
    found = candidates if component is None else [name for name in candidates if name == component]
    if len(found) == 1:
        return check_tokens(doc, readings[found[0]], len(doc))
    parts = [names for part in parts_of(doc) if (names := fitting(part))]
    if not found and any(component is None or component in names for names in parts):
        raise ValueError(
            f"The {name_of(doc)} is put together from {len(parts)}, or a part of one: ask these."
        )
    if not candidates:
        only_entities = tuple(kinds) == ENTITIES
        raise _nothing_kept(doc, "skd_ner" if only_entities else "skd_ner, skd_tagger, skd_parser")
    names = [repr(name) for name in candidates]
    wrong = "" if component is None else f" and not by '{component}'"
    what = "has entities" if tuple(kinds) == ENTITIES else "was annotated"
    raise ValueError(
        f"The {name_of(doc)} {what} by {', '.join(names)}{wrong}: say which of these is "
        f"meant, for instance doc._.{call}component={names[0]})."
    )


def _nothing_kept(doc: Doc, factory: str) -> ValueError:
    return ValueError(
        f"The {name_of(doc)} does not know how sure a component is: no component ({factory}) has "
        "annotated it, or one that keeps no confidences. Set confidence = true in the component's "
        "config, or nlp.get_pipe(NAME).confidence = True, and annotate the text again. Of "
        "documents that are read from disk, user data has to be written, too: "
        "DocBin(store_user_data=True)."
    )
