"""Where documents keep the readings of components: in their user data.

There is one entry, a dictionary by the components' names, under a key in the form of spaCy's own
for the span of all characters: so it moves with the document when documents are put together.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from spacy.tokens import Doc

from .documents import name_of
from .readings import Answers, Reading, is_reading

NAME = "skd_readings"
Readings: TypeAlias = dict[str, Reading]
Key: TypeAlias = tuple[str, str, int, int]


def keep(docs: Sequence[Doc], answers: Answers) -> None:
    """Let documents know of the answers that a component has for their batch."""
    for number, doc in enumerate(docs):
        readings = _user_data(doc).setdefault(_key(doc), {})
        readings[answers.component] = Reading.of(answers, number)


def forget(docs: Sequence[Doc], component: str) -> None:
    """Take from documents what they know of an earlier annotation by a component."""
    for doc in docs:
        data = _user_data(doc)
        for readings in data and [data.get(_key(doc), {}), *parts_of(doc)]:
            readings.pop(component, None)


def reading_of(doc: Doc, component: str) -> Reading | None:
    """What a component has left in a document, if it has."""
    return readings_of(doc).get(component)


def readings_of(doc: Any) -> Readings:
    """What components have left in a document as a whole, in their order."""
    # Asked for every token: no call that can be spared.
    return _readings(doc.user_data.get(_key(doc), {}))


def parts_of(doc: Doc) -> list[Readings]:
    """What components have left in the documents that this one is put together from, or in the one
    that it is a part of."""
    return [readings for _, _, readings in _parts(doc)]


def readings_at(doc: Doc, token: int) -> Iterator[tuple[slice, Readings]]:
    """What components have left in parts of the document that a token is in, and where these are:
    first in all of it, then in the documents that it is put together from, the longest first.

    Of components that have annotated it again since, only the first.
    """
    own = readings_of(doc)
    yield slice(0, len(doc)), own
    if not len(doc):
        return
    place, n_characters = doc[min(token, len(doc) - 1)].idx, _key(doc)[3]
    known = set(own)
    for start, end, readings in sorted(_parts(doc), key=lambda part: part[0] - part[1]):
        if 0 <= start <= place < end <= n_characters:
            where = slice(_token_at(doc, start), _token_at(doc, end))
            yield where, {name: found for name, found in readings.items() if name not in known}
            known.update(readings)


def _user_data(doc: Doc) -> dict[Any, Any]:
    return doc.user_data


def _key(doc: Doc) -> Key:
    """Under which the readings of a document are: from its first to its last character."""
    n_tokens = len(doc)
    if not n_tokens:
        return ("._.", NAME, 0, 0)
    last = doc[n_tokens - 1]
    return ("._.", NAME, 0, last.idx + len(last) + len(last.whitespace_))


def _readings(kept: dict[str, Any]) -> Readings:
    """Of what a document keeps; it is plain data if it was read before this package was there."""
    for reading in kept.values():
        if type(reading) is not Reading:
            break
    else:
        return kept
    for name, reading in kept.items():
        if is_reading(reading):
            kept[name] = Reading.from_dict(reading)
    known = {name: reading for name, reading in kept.items() if isinstance(reading, Reading)}
    return kept if len(known) == len(kept) else known


def _parts(doc: Doc) -> list[tuple[int, int, Readings]]:
    """The first and last character of parts of the document, and their readings; not its own."""
    own = _key(doc)
    return [
        (key[2], key[3], _readings(value))
        for key, value in _user_data(doc).items()
        if isinstance(key, tuple) and len(key) == 4 and key[:2] == own[:2] and key != own
    ]


def _token_at(doc: Doc, place: int) -> int:
    """The first token that begins at a character or after it."""
    return bisect_left(range(len(doc)), place, key=lambda number: doc[number].idx)


def check_tokens(doc: Doc, reading: Reading, n_tokens: int) -> Reading:
    """The reading. Raises ValueError if its part of the document had other tokens."""
    if reading.n_tokens != n_tokens:
        raise ValueError(
            f"Component '{reading.component}' annotated {reading.n_tokens} tokens of the "
            f"{name_of(doc)}, where it has {n_tokens} now: ask before tokens are merged or split."
        )
    return reading
