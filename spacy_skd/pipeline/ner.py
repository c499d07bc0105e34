"""`skd_ner`: entities as a distribution over label sequences or spans, written to doc.ents or
doc.spans."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from spacy.language import Language
from spacy.scorer import Scorer, get_ner_prf
from spacy.symbols import IS_SPACE
from spacy.tokens import Doc, Span
from spacy.training import Example
from thinc.api import Config, Model

from ..distill.annotation import MISSING, mark_unknown, without_wide
from ..distill.objectives import Objective
from ..structures import LocalSpans, biluo_labels, entity_labels
from ..structures.biluo import is_biluo
from .barred_labels import barred_labels
from .documents import name_of, same_tokens
from .entity_answers import EntityAnswers
from .entity_decoding import (
    EntityDistribution,
    as_spans,
    best_entities,
    columns_of_span,
    constrain,
    likely_entities,
    nested_entities,
    warn_of_flat_threshold,
)
from .preset_entities import BEGIN, IN, add_entities, preset_tokens
from .structured_pipe import StructuredPipe
from .units import Entity, entities_of, known_entities

default_config = """
[model]
@architectures = "spacy-skd.LinearChainCRF.v1"

[model.tok2vec]
@architectures = "spacy-skd.HashEmbedCNN.v1"
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
    default_config={
        **DEFAULT_CONFIG,
        "spans_key": None,
        "threshold": 0.5,
        "flat_threshold": None,
        "confidence": True,
    },
    default_score_weights={"ents_f": 1.0, "ents_p": 0.0, "ents_r": 0.0, "ents_per_type": None},
)
def make_ner(
    nlp: Language,
    name: str,
    model: Model[list[Doc], EntityDistribution],
    objective: Objective,
    spans_key: str | None,
    threshold: float,
    flat_threshold: float | None,
    confidence: bool,
    scorer: Callable | None,
) -> "EntityRecognizer":
    """Construct an entity recogniser.

    model: documents to distributions over BILUO labels or spans, for instance
        spacy-skd.LinearChainCRF.v1.
    objective: loss, for instance spacy-skd.StructuralKD.v1.
    spans_key: read and write doc.spans[spans_key] instead of doc.ents.
    threshold: above which probability a span is predicted, for models whose spans may be nested.
    flat_threshold: from which probability on an entity is predicted, for all other models; None for
        the best entities together.
    confidence: let documents keep what is needed to ask for probabilities.
    scorer: scoring method.
    """
    return EntityRecognizer(
        nlp.vocab,
        model,
        name,
        objective=objective,
        scorer=scorer,
        confidence=confidence,
        spans_key=spans_key,
        threshold=threshold,
        flat_threshold=flat_threshold,
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


class EntityRecognizer(StructuredPipe):
    """Entities by exact decoding of a distribution over BILUO label sequences or over spans.

    Entities that a document has already are kept and the rest is decoded around them; tokens of a
    `blocked` span, and tokens set to outside in a document where others are still missing, stay
    outside. No entity begins or ends with whitespace.
    """

    @property
    def biluo(self) -> bool:
        """Whether the model labels tokens, by the BILUO scheme, or spans."""
        return self.max_width is None

    @property
    def max_width(self) -> int | None:
        """Tokens of the longest span that the model can predict; None: there is no limit."""
        structure = self.model.get_ref("structure")
        return structure.get_dim("nW") if structure.has_dim("nW") else None

    @property
    def is_local(self) -> bool:
        """Whether the model is trained span by span, on spans that may be nested."""
        return self.model.get_ref("structure").attrs.get("loss") == "local"

    def column_labels(self) -> Sequence[str]:
        return biluo_labels(self.labels) if self.biluo else self.labels

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: Sequence[str] | None = None,
    ) -> None:
        """Prepare the model for training; see `StructuredPipe.initialize`.

        Warns if there are gold entities that are wider than the model can predict.
        """
        super().initialize(get_examples, nlp=nlp, labels=labels)
        if self.max_width is None:
            return
        widths = [
            len(span)
            for example in get_examples()
            for span in self._spans(example.reference) or ()
            if span.label_
        ]
        wide = sum(width > self.max_width for width in widths)
        if wide:
            warnings.warn(
                f"The component '{self.name}' predicts entities of up to {self.max_width} tokens, "
                f"but {wide:,} of the {len(widths):,} in the training documents are wider, the "
                f"widest of {max(widths)} tokens. It does not learn these: their tokens count as "
                "not annotated. Raise max_width of its model to include them.",
                stacklevel=2,
            )

    def labels_of(self, doc: Doc) -> Iterable[str]:
        return {span.label_ for span in self._spans(doc) or () if span.label_}

    def labels_of_columns(self, columns: Sequence[str]) -> Iterable[str]:
        return entity_labels(columns) if all(map(is_biluo, columns)) else columns

    def _spans(self, doc: Doc) -> Iterable[Span] | None:
        """A gold document's entities, or None where they are not annotated at all."""
        key = self.cfg["spans_key"]
        if key is not None:
            return doc.spans.get(key)
        return doc.ents

    # --- prediction

    def set_annotations(self, docs: Iterable[Doc], scores: EntityDistribution) -> None:
        """Write the best entities of each document, around what is set already."""
        docs = list(docs)
        key = self.cfg["spans_key"]
        answers = self.read(docs, scores)
        entities = answers.entities
        for number, (doc, spans) in enumerate(zip(docs, as_spans(docs, entities, self.labels))):
            if key is not None:
                doc.spans[key] = spans
            elif number in answers.presets:
                add_entities(doc, spans)
            else:
                doc.set_ents(spans)
        if key is not None and entities.scores is not None:
            counts = np.bincount(entities.documents, minlength=len(docs))
            for doc, probs in zip(docs, np.split(entities.scores, np.cumsum(counts)[:-1])):
                doc.spans[key].attrs["scores"] = probs
        self._keep(docs, answers)

    def read(
        self, docs: list[Doc], structure: EntityDistribution, *, has_annotations: bool = False
    ) -> EntityAnswers:
        """Decode, around the entities that documents have already; see `StructuredPipe.read`."""
        key = self.cfg["spans_key"]
        is_free = key is not None or has_annotations
        preset = [None if is_free else preset_tokens(doc) for doc in docs]
        constrained = self._constrain(docs, structure, preset)
        with self._naming(docs):
            if key is not None and isinstance(constrained, LocalSpans):
                warn_of_flat_threshold(self.name, self.cfg)
                entities = nested_entities(constrained, self.cfg["threshold"])
            elif (threshold := self.cfg.get("flat_threshold")) is not None:
                entities = likely_entities(constrained, threshold, may_overlap=key is not None)
            else:
                entities = best_entities(constrained, with_scores=key is not None)
        return EntityAnswers(
            self.name,
            constrained,
            structure,
            self.temperature,
            entities=entities,
            labels=self.labels,
            spans_key=key,
            presets={
                number: tuple((entity.start, entity.end) for entity in docs[number].ents)
                for number, codes in enumerate(preset)
                if codes is not None
            },
        )

    def units(self, doc: Doc) -> list[Entity]:
        """(start, end, label) of each entity of a document, predicted or gold."""
        return entities_of(doc, self.cfg["spans_key"])

    def known(self, doc: Doc) -> np.ndarray:
        """The tokens of which a gold document says whether they are in an entity, (n,) of bool."""
        return known_entities(doc, self.cfg["spans_key"])

    def _constrain(
        self,
        docs: list[Doc],
        scores: EntityDistribution,
        preset: list[np.ndarray | None],
    ) -> EntityDistribution:
        """The distributions given what the documents have set already, their whitespace, and what
        tokens are barred from."""
        spaces = np.concatenate([doc.to_array(IS_SPACE) for doc in docs] or [np.zeros(0)]) != 0
        barred = barred_labels(docs, self.labels)
        if barred is None and not spaces.any() and all(codes is None for codes in preset):
            return scores
        known = np.full(len(spaces), MISSING)
        offset = 0
        for doc, codes in zip(docs, preset):
            if codes is not None:
                known[offset : offset + len(doc)] = codes
                for entity in doc.ents:
                    if entity.label_ in self.labels and self._fits(len(entity)):
                        columns = columns_of_span(len(entity), self.labels.index(entity.label_))
                        known[offset + entity.start : offset + entity.end] = columns
            offset += len(doc)
        return constrain(scores, known, spaces, barred)

    # --- annotation

    def get_annotation(self, example: Example) -> np.ndarray:
        """Gold BILUO column of each predicted token (n,), −1 where the annotation is missing; of a
        model that is trained span by span, a number a span (n, W) (`distill.annotation`)."""
        if self.is_local:
            return self._annotation_of_single_spans(example)
        if self.cfg["spans_key"] is not None:
            annotation = self._annotation_of_spans(example)
        elif not same_tokens(example):
            annotation = self._annotation_by_alignment(example)
        else:
            annotation = self._annotation_of_entities(example)
        return annotation if self.max_width is None else without_wide(annotation, self.max_width)

    def _annotation_of_entities(self, example: Example) -> np.ndarray:
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
        column = {label: number for number, label in enumerate(biluo_labels(self.labels))}
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
                    f"at '{span.text}', but the model of '{self.name}' predicts spans that do not. "
                    "Remove one of them, or use the architecture spacy-skd.SpanBiaffine.v1 with "
                    'loss = "local", which learns overlapping spans.'
                )
            taken[span.start : span.end] = True
            places = [span] if aligned else example.get_aligned_spans_y2x([span])
            if not places:  # its ends are within tokens: nothing is known of these
                annotation[example.alignment.y2x[span.start : span.end]] = MISSING
            for place in places:
                columns = columns_of_span(len(place), self.labels.index(span.label_))
                annotation[place.start : place.end] = columns
        return annotation

    def _annotation_of_single_spans(self, example: Example) -> np.ndarray:
        n_tokens, width = len(example.predicted), self.max_width or 0
        spans = self._spans(example.reference)
        if spans is None:
            return np.full((n_tokens, width), MISSING)
        annotation = np.zeros((n_tokens, width), dtype=np.int64)
        if self.cfg["spans_key"] is None:
            codes = example.get_aligned("ENT_IOB")
            mark_unknown(annotation, np.asarray([code in (None, 0) for code in codes]))
        aligned = same_tokens(example)
        for span in spans:
            if span.label_ not in self.labels:
                raise self._unknown_label(span.label_, example)
            places = [span] if aligned else example.get_aligned_spans_y2x([span], True)
            if not places:  # its ends are within tokens: nothing is known of these
                within = np.zeros(n_tokens, dtype=bool)
                within[example.alignment.y2x[span.start : span.end]] = True
                mark_unknown(annotation, within)
            for place in places:
                if not self._fits(len(place)):
                    within = np.zeros(n_tokens, dtype=bool)
                    within[place.start : place.end] = True
                    mark_unknown(annotation, within)
                    continue
                number, cell = 1 + self.labels.index(span.label_), (place.start, len(place) - 1)
                if annotation[cell] not in (0, MISSING, number):
                    raise ValueError(
                        f"The span '{place.text}' of {name_of(example.reference)} has two labels, "
                        f"and component '{self.name}' predicts one a span. Remove one of them."
                    )
                annotation[cell] = number
        return annotation

    def _fits(self, width: int) -> bool:
        return self.max_width is None or width <= self.max_width

    def _unknown_label(self, label: str, example: Example) -> ValueError:
        return ValueError(
            f"An entity of {name_of(example.reference)} has the label '{label}', which component "
            f"'{self.name}' does not know (it knows {', '.join(self.labels)}). Remove the label "
            "from the data, or add it to the component (`add_label`, `python -m spacy skd widen`)."
        )
