"""Entities of one corpus for the same sentences of another, a treebank for instance."""

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from spacy.tokens import Doc, Span


@dataclass
class Joined:
    """How many documents there were (`n_docs`), and how many got entities from the other corpus
    (`n_found`)."""

    n_docs: int = 0
    n_found: int = 0

    @property
    def n_without(self) -> int:
        return self.n_docs - self.n_found


def join_entities(
    docs: Iterable[Doc], others: Iterable[Doc], joined: Joined | None = None
) -> Iterator[Doc]:
    """The documents, with the entities of others that have the same words.

    docs: changed in place. Those that no other has the words of stay as they are: if they have no
        entities, these are missing and train nothing, neither for entities nor against them.
    others: each is used once, in their order, so that sentences that are there several times
        get the entities of each time. Where theirs are missing, they are missing then.
    joined: counts the documents.
    """
    joined = Joined() if joined is None else joined
    by_words: dict[tuple[str, ...], deque[Doc]] = defaultdict(deque)
    for other in others:
        by_words[_words(other)].append(other)
    for doc in docs:
        joined.n_docs += 1
        if found := by_words.get(_words(doc)):
            joined.n_found += 1
            _copy_entities(found.popleft(), doc)
        yield doc


def _words(doc: Doc) -> tuple[str, ...]:
    return tuple(token.text for token in doc)


def _copy_entities(source: Doc, doc: Doc) -> None:
    spans = [
        Span(doc, span.start, span.end, span.label_, kb_id=span.kb_id_, span_id=span.id_)
        for span in source.ents
    ]
    missing = [doc[token.i : token.i + 1] for token in source if not token.ent_iob]
    doc.set_ents(spans, missing=missing, default="outside")
