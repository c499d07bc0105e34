"""Components that only annotate documents, by rules or in whatever way, and tell their labels: what
they set is their one and certain output. Of spaCy's `attribute_ruler`, its patterns tell them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from spacy.language import Language
from spacy.pipeline import AttributeRuler
from spacy.symbols import MORPH, POS
from spacy.tokens import Doc

from ...structures import Candidates, Token
from ..copies import full_copy
from .base import CannotTeach, Reader
from .entities import entity_candidates

TAGS: dict[str, Callable[[Any], str]] = {
    "token.tag": lambda token: token.tag_,
    "token.pos": lambda token: token.pos_,
    "token.morph": lambda token: str(token.morph) or "_",
}
"""What a component may assign to tokens: the label of a token."""
NO_LABELS = (
    "it does not tell its labels, or has none: give it an attribute 'labels', or register an "
    "adapter"
)

ReadCopies: TypeAlias = Callable[[Sequence[Doc], Sequence[str]], Token | Candidates]
"""From documents that are annotated and labels to a structure."""


class AnnotationReader(Reader):
    """Runs a component on copies of documents; of what they have then, its labels count.

    taught: by the names of the targets, labels and how these are read.
    """

    def __init__(
        self,
        name: str,
        component: Any,
        summary: str,
        taught: Mapping[str, tuple[Sequence[str], ReadCopies]],
    ) -> None:
        super().__init__(name, component, summary, tuple(taught))
        self._taught = taught

    def predict(self, docs: Sequence[Doc]) -> list[Doc]:
        """Annotated copies of the documents."""
        return [self.component(full_copy(doc)) for doc in docs]

    def read(self, docs: Sequence[Doc], prediction: list[Doc]) -> dict[str, Token | Candidates]:
        return {target: read(prediction, labels) for target, (labels, read) in self._taught.items()}

    def annotate(self, docs: Sequence[Doc], prediction: list[Doc]) -> None:
        for doc in docs:
            self.component(doc)


def read_entities(docs: Sequence[Doc], labels: Sequence[str]) -> Candidates:
    """The entities of documents, one candidate each."""
    return _one_candidate(docs, [doc.ents for doc in docs], labels)


def read_spans(key: str) -> ReadCopies:
    """The spans of documents under a key, one candidate each."""
    return lambda docs, labels: _one_candidate(
        docs, [doc.spans.get(key, []) for doc in docs], labels
    )


def _one_candidate(docs: Sequence[Doc], groups: Sequence[Any], labels: Sequence[str]) -> Candidates:
    scored = [[(1.0, [(span.start, span.end, span.label_) for span in spans])] for spans in groups]
    return entity_candidates(docs, scored, labels)


def read_tags(label_of: Callable[[Any], str]) -> ReadCopies:
    """The labels of tokens, each certain. A token that has none could have any."""

    def read(docs: Sequence[Doc], labels: Sequence[str]) -> Token:
        column = {label: number for number, label in enumerate(labels)}
        found = [column.get(label_of(token), -1) for doc in docs for token in doc]
        columns = np.asarray(found, dtype=np.int64)[:, None]
        possible = (columns == np.arange(len(labels))) | (columns < 0)
        scores = np.where(possible, 0, -np.inf).astype(np.float32)
        return Token(scores, [len(doc) for doc in docs], labels=labels)

    return read


def annotation_reader(nlp: Language, name: str, component: Any) -> Reader | None:
    """A component that assigns entities, spans, tags, parts of speech or morphology."""
    if isinstance(component, AttributeRuler):
        return _attribute_reader(name, component)
    assigns = nlp.get_pipe_meta(name).assigns
    key = getattr(component, "key", None)
    tags = [attribute for attribute in assigns if attribute in TAGS]
    sets_entities = "doc.ents" in assigns or getattr(component, "annotate_ents", False)
    read: ReadCopies
    if "doc.spans" in assigns and isinstance(key, str):
        what, read = f"the spans that it sets in doc.spans['{key}']", read_spans(key)
    elif sets_entities:
        what, read = "the entities that it sets", read_entities
    elif len(tags) == 1:
        what, read = f"the {tags[0]} that it sets", read_tags(TAGS[tags[0]])
    else:
        return None
    labels = sorted(getattr(component, "labels", ()))
    if not labels:
        raise CannotTeach(NO_LABELS)
    return AnnotationReader(name, component, what, {name: (labels, read)})


def _attribute_reader(name: str, component: AttributeRuler) -> Reader:
    """What patterns set of morphology and of parts of speech, by the names that a morphologizer
    has."""
    strings = component.vocab.strings
    found = {
        attribute: sorted({strings[attrs[key]] for attrs in component.attrs if key in attrs})
        for attribute, key in (("token.morph", MORPH), ("token.pos", POS))
    }
    set_ones = [attribute for attribute, labels in found.items() if set(labels) - {"", "_"}]
    if not set_ones:
        raise CannotTeach("its patterns set neither parts of speech nor morphology")
    names = dict(zip(set_ones, (name, f"{name}_pos")))
    taught = {
        names[attribute]: (list(filter(None, found[attribute])), read_tags(TAGS[attribute]))
        for attribute in set_ones
    }
    summary = " and ".join(f"the {attr} of its patterns ('{names[attr]}')" for attr in set_ones)
    return AnnotationReader(name, component, summary, taught)
