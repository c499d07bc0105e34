"""Components that only annotate documents, by rules or in whatever way, and tell their labels, or
have them told: what they set is their one and certain output. Of spaCy's `attribute_ruler`, its
patterns tell them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from spacy.language import Language
from spacy.pipeline import AttributeRuler, SpanFinder, TrainablePipe
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
    "token.is_sent_start": lambda token: {True: "S", False: "I"}.get(token.is_sent_start, ""),
}
"""What a component may assign to tokens: the label of a token."""
SENTENCES = "doc.sents"  # another name of token.is_sent_start
SENTENCE_LABELS = ("I", "S")  # as those of spaCy's senter
TREES = ("token.head", "token.dep")
LABELS = "skd_labels"  # of nlp.meta: labels of components that do not tell them, by their names
NO_LABELS = (
    "it does not tell its labels, or has none: name them with --labels, give it an attribute "
    "'labels', or register an adapter"
)
NO_KEY = (
    "it does not tell the key of the spans that it sets: give it an attribute 'key', or register "
    "an adapter"
)
UNLABELLED = "the spans that it finds have no labels, and no student learns such spans"
NO_PARSER = (
    "it assigns {}, and trees are read of spaCy's parsers and of distributions alone: register an "
    "adapter"
)
SEVERAL_TAGS = "it assigns {}, and one of them can be read: register an adapter"

ReadCopies: TypeAlias = Callable[[Sequence[Doc], Sequence[str]], Token | Candidates]
"""From documents that are annotated and labels to a structure."""


def tell_labels(nlp: Language, labels: Mapping[str, Sequence[str]]) -> None:
    """Name the labels of components that only annotate and do not tell them, by the components'
    names; others that they set do not count. They are kept in `nlp.meta`.

    Raises ValueError for components that have been trained: these know theirs.
    """
    for name in labels:
        if name in nlp.pipe_names and isinstance(nlp.get_pipe(name), TrainablePipe):
            raise ValueError(
                f"The component '{name}' of the teacher has the labels that it was trained with: "
                "--labels is for components that only annotate, such as rules."
            )
    if labels:
        told = {name: list(of_name) for name, of_name in labels.items()}
        nlp.meta[LABELS] = nlp.meta.get(LABELS, {}) | told


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
    """A component that assigns entities, spans, tags, parts of speech, morphology or sentences."""
    if isinstance(component, AttributeRuler):
        return _attribute_reader(name, component)
    assigns = [
        "token.is_sent_start" if attribute == SENTENCES else attribute
        for attribute in nlp.get_pipe_meta(name).assigns
    ]
    trees = [attribute for attribute in TREES if attribute in assigns]
    tags = [attribute for attribute in TAGS if attribute in assigns]
    sets_entities = "doc.ents" in assigns or getattr(component, "annotate_ents", False)
    told: Any = nlp.meta.get(LABELS, {}).get(name) or getattr(component, "labels", ())
    key = getattr(component, "key", None)
    read: ReadCopies
    if trees:
        raise CannotTeach(NO_PARSER.format(" and ".join(trees)))
    if isinstance(component, SpanFinder):
        raise CannotTeach(UNLABELLED)
    if "doc.spans" in assigns and isinstance(key, str):
        what, read = f"the spans that it sets in doc.spans['{key}']", read_spans(key)
    elif sets_entities:
        what, read = "the entities that it sets", read_entities
    elif len(tags) == 1:
        what, read = f"the {tags[0]} that it sets", read_tags(TAGS[tags[0]])
        told = SENTENCE_LABELS if tags == ["token.is_sent_start"] else told
    elif tags:
        raise CannotTeach(SEVERAL_TAGS.format(" and ".join(tags)))
    elif "doc.spans" in assigns:
        raise CannotTeach(NO_KEY)
    else:
        return None
    labels = sorted(told)
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
