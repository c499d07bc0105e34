"""`skd_ner`: entities as a distribution over label sequences, written to doc.ents or doc.spans."""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from spacy.language import Language
from spacy.scorer import Scorer, get_ner_prf
from spacy.tokens import Doc, Span
from spacy.training import Example
from thinc.api import Config, Model

from ..distill.annotation import MISSING
from ..distill.objectives import Objective
from ..structures import (
    LinearChain,
    Token,
    as_potentials,
    biluo_labels,
    entity_labels,
    legal_moves,
)
from ..structures.base import array_module
from .labeller import SequenceLabeller, name_of, same_tokens

IN, OUT, BEGIN = 1, 2, 3  # spaCy's codes of Token.ent_iob; 0 is missing

default_config = """
[model]
@architectures = "spacy-skd.LinearChainCRF.v1"

[model.tok2vec]
@architectures = "spacy.HashEmbedCNN.v2"
pretrained_vectors = null
width = 96
depth = 4
embed_size = 2000
window_size = 1
maxout_pieces = 3
subword_features = true

[objective]
@losses = "spacy-skd.StructuralKD.v1"

[scorer]
@scorers = "spacy-skd.ner_scorer.v1"
"""
DEFAULT_CONFIG = Config().from_str(default_config)


@Language.factory(
    "skd_ner",
    assigns=["doc.ents", "token.ent_iob", "token.ent_type"],
    default_config={**DEFAULT_CONFIG, "spans_key": None},
    default_score_weights={"ents_f": 1.0, "ents_p": 0.0, "ents_r": 0.0, "ents_per_type": None},
)
def make_ner(
    nlp: Language,
    name: str,
    model: Model[list[Doc], Token | LinearChain],
    objective: Objective,
    spans_key: str | None,
    scorer: Callable | None,
) -> "EntityRecognizer":
    """Construct an entity recogniser.

    model: documents to distributions over BILUO labels, for instance spacy-skd.LinearChainCRF.v1.
    objective: loss, for instance spacy-skd.StructuralKD.v1.
    spans_key: read and write doc.spans[spans_key] instead of doc.ents.
    scorer: scoring method.
    """
    return EntityRecognizer(
        nlp.vocab, model, name, objective=objective, scorer=scorer, spans_key=spans_key
    )


def make_ner_scorer() -> Callable:
    """Construct the `spacy-skd.ner_scorer.v1` scorer."""
    return score_entities


def score_entities(
    examples: Iterable[Example], *, spans_key: str | None = None, **kwargs: Any
) -> dict[str, Any]:
    """Precision, recall and F-score of the entities: of doc.ents as `ents_*`, or, with a spans key,
    of doc.spans[key] as `spans_<key>_*`."""
    if spans_key is None:
        return get_ner_prf(examples, **kwargs)
    return Scorer.score_spans(
        examples,
        attr=f"spans_{spans_key}",
        getter=lambda doc, _: doc.spans.get(spans_key, []),
        has_annotation=lambda doc: spans_key in doc.spans,
        allow_overlap=True,
        labeled=True,
    )


class EntityRecognizer(SequenceLabeller):
    """Entities by exact decoding of a distribution over BILUO label sequences.

    Entities that a document has already are kept and the rest is decoded around them; tokens of a
    `blocked` span, and tokens set to outside in a document where others are still missing, stay
    outside. No entity begins or ends with whitespace.
    """

    biluo = True

    def column_labels(self) -> Sequence[str]:
        return biluo_labels(self.labels)

    def labels_of(self, doc: Doc) -> Iterable[str]:
        return {span.label_ for span in self._spans(doc) or () if span.label_}

    def labels_of_columns(self, columns: Sequence[str]) -> Iterable[str]:
        return entity_labels(columns)

    def _spans(self, doc: Doc) -> Iterable[Span] | None:
        """A gold document's entities, or None where they are not annotated at all."""
        key = self.cfg["spans_key"]
        if key is not None:
            return doc.spans.get(key)
        return doc.ents

    # --- prediction

    def set_annotations(self, docs: Iterable[Doc], scores: Token | LinearChain) -> None:
        """Write the best legal label sequence of each document, around what is set already."""
        docs = list(docs)
        key = self.cfg["spans_key"]
        preset = [_preset_tokens(doc) if key is None else None for doc in docs]
        spans_of_docs = self._decode(docs, self._constrain(docs, scores, preset))
        for doc, spans, codes in zip(docs, spans_of_docs, preset):
            if key is not None:
                doc.spans[key] = spans
            elif codes is None:
                doc.set_ents(spans)
            else:
                _add_entities(doc, spans)

    def _decode(self, docs: list[Doc], scores: Token | LinearChain) -> list[list[Span]]:
        labels = tuple(self.column_labels())
        if isinstance(scores, Token):
            xp = array_module(scores.scores)
            moves = [xp.asarray(potential) for potential in _legal_potentials(labels)]
            scores = LinearChain.from_token(scores, *moves)
        with self._naming(docs):
            best = scores.argmax()
        begins, ends, types = _columns(labels)
        columns = np.concatenate([*best, np.empty(0, dtype=np.int64)]).astype(np.int64)
        starts, lasts = np.flatnonzero(begins[columns]), np.flatnonzero(ends[columns])
        ids = [self.vocab.strings.add(label) for label in self.labels]
        offsets = np.concatenate([[0], np.cumsum([len(doc) for doc in docs])])
        spans: list[list[Span]] = [[] for _ in docs]
        numbers = np.searchsorted(offsets, starts, side="right") - 1
        first, last = starts - offsets[numbers], lasts - offsets[numbers]
        for number, start, end, type_ in zip(
            numbers.tolist(), first.tolist(), (last + 1).tolist(), types[columns[starts]].tolist()
        ):
            spans[number].append(Span(docs[number], start, end, label=ids[type_]))
        return spans

    def _constrain(
        self, docs: list[Doc], scores: Token | LinearChain, preset: list[np.ndarray | None]
    ) -> Token | LinearChain:
        """The distributions given what the documents have set already, and their whitespace."""
        spaces = np.concatenate([doc.to_array("IS_SPACE") for doc in docs] or [np.zeros(0)]) != 0
        if not spaces.any() and all(codes is None for codes in preset):
            return scores
        labels = tuple(self.column_labels())
        known = np.full(len(spaces), MISSING)
        offset = 0
        for doc, codes in zip(docs, preset):
            if codes is not None:
                known[offset : offset + len(doc)] = codes
                for entity in doc.ents:
                    if entity.label_ in self.labels:
                        columns = _columns_of_span(len(entity), self.labels.index(entity.label_))
                        known[offset + entity.start : offset + entity.end] = columns
            offset += len(doc)
        free = known[:, None] == MISSING
        begins, ends, _ = _columns(labels)
        fits_space = ~spaces[:, None] | ~(begins | ends)
        allowed = np.where(free, fits_space, known[:, None] == np.arange(len(labels)))
        potentials = scores.scores if isinstance(scores, Token) else scores.emissions
        return scores.restrict(array_module(potentials).asarray(allowed))

    # --- annotation

    def get_annotation(self, example: Example) -> np.ndarray:
        """Gold BILUO column of each predicted token (n,), −1 where the annotation is missing."""
        if self.cfg["spans_key"] is not None:
            return self._annotation_of_spans(example)
        if not same_tokens(example):
            return self._annotation_by_alignment(example)
        codes, types = example.reference.to_array(["ENT_IOB", "ENT_TYPE"]).T
        annotation = np.where(codes == 0, MISSING, 0)
        entity = ((codes == IN) | (codes == BEGIN)) & (types != 0)
        if not entity.any():
            return annotation
        begins = entity & (codes == BEGIN)
        ends = entity & ~np.append(entity[1:] & (codes[1:] == IN), False)
        # I, B, L, U of a label are the columns 4k + 2, 4k + 1, 4k + 3, 4k + 4.
        position = np.where(begins, np.where(ends, 4, 1), np.where(ends, 3, 2))
        number = {self.vocab.strings[label]: n for n, label in enumerate(self.labels)}
        try:
            first = np.asarray([4 * number[type_] for type_ in types[entity].tolist()])
        except KeyError as error:
            label = example.reference.vocab.strings[error.args[0]]
            raise self._unknown_label(label, example) from None
        annotation[entity] = first + position[entity]
        return annotation

    def _annotation_by_alignment(self, example: Example) -> np.ndarray:
        column = {label: number for number, label in enumerate(self.column_labels())}
        annotation = np.full(len(example.predicted), MISSING)
        for token, tag in enumerate(example.get_aligned_ner()):
            if tag is not None and tag != "-" and tag != "":
                if tag not in column:
                    raise self._unknown_label(tag.split("-", 1)[-1], example)
                annotation[token] = column[tag]
        return annotation

    def _annotation_of_spans(self, example: Example) -> np.ndarray:
        spans = self._spans(example.reference)
        if spans is None:
            return np.full(len(example.predicted), MISSING)
        annotation = np.zeros(len(example.predicted), dtype=np.int64)
        taken = np.zeros(len(example.reference), dtype=bool)
        aligned = same_tokens(example)
        for span in spans:
            if span.label_ not in self.labels:
                raise self._unknown_label(span.label_, example)
            if taken[span.start : span.end].any():
                raise ValueError(
                    f"The spans '{self.cfg['spans_key']}' of {name_of(example.reference)} overlap "
                    f"at '{span.text}'. A token or chain model of '{self.name}' takes spans that "
                    "do not overlap; remove one of them."
                )
            taken[span.start : span.end] = True
            places = [span] if aligned else example.get_aligned_spans_y2x([span])
            if not places:  # its ends are within tokens: nothing is known of these
                annotation[example.alignment.y2x[span.start : span.end]] = MISSING
            for place in places:
                columns = _columns_of_span(len(place), self.labels.index(span.label_))
                annotation[place.start : place.end] = columns
        return annotation

    def _unknown_label(self, label: str, example: Example) -> ValueError:
        return ValueError(
            f"An entity of {name_of(example.reference)} has the label '{label}', which component "
            f"'{self.name}' does not know (it knows {', '.join(self.labels)}). Remove the label "
            "from the data, or train a new component on all the labels."
        )


def _preset_tokens(doc: Doc) -> np.ndarray | None:
    """What a document says of its tokens before prediction: (n,), 0 (column of O) where a token has
    to stay outside or belongs to an entity already, −1 where it is free; None where all are free.

    `doc.ents = …` marks every other token as outside, so outside counts as said only where the
    document also has tokens whose entity is missing.
    """
    codes = doc.to_array("ENT_IOB")
    if not codes.any():
        return None
    fixed = (codes == IN) | (codes == BEGIN)
    if (codes == 0).any():
        fixed |= codes == OUT
    return np.where(fixed, 0, MISSING) if fixed.any() else None


def _add_entities(doc: Doc, spans: Iterable[Span]) -> None:
    """Add the entities that do not begin in one that the document has; keep what it has."""
    kept = doc.ents
    taken = {token for entity in kept for token in range(entity.start, entity.end)}
    new = [span for span in spans if span.start not in taken]
    codes, types = doc.to_array(["ENT_IOB", "ENT_TYPE"]).T
    blocked = np.flatnonzero((codes == BEGIN) & (types == 0)).tolist()
    doc.set_ents([*kept, *new], blocked=[doc[token : token + 1] for token in blocked])


def _columns_of_span(length: int, number: int) -> list[int]:
    """BILUO columns of an entity of so many tokens whose label has this number."""
    first = 4 * number
    if length == 1:
        return [first + 4]
    return [first + 1, *[first + 2] * (length - 2), first + 3]


@lru_cache(maxsize=64)
def _columns(labels: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each column: whether an entity begins with it, whether one ends, number of its label."""
    begins = np.asarray([label[0] in "BU" for label in labels])
    ends = np.asarray([label[0] in "LU" for label in labels])
    types = np.asarray([max(0, (column - 1) // 4) for column in range(len(labels))])
    return begins, ends, types


@lru_cache(maxsize=64)
def _legal_potentials(labels: tuple[str, ...]) -> tuple[np.ndarray, ...]:
    return tuple(as_potentials(mask, "float32") for mask in legal_moves(labels))
