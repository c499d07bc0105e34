"""`skd_tagger`: one label a token — fine-grained tag, part of speech, morphology, or whether it
begins a sentence."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from spacy.language import Language
from spacy.parts_of_speech import IDS as PARTS_OF_SPEECH
from spacy.pipeline.senter import senter_score
from spacy.scorer import Scorer
from spacy.symbols import MORPH, POS, SENT_START, TAG
from spacy.tokens import Doc
from spacy.training import Example
from spacy.vocab import Vocab
from thinc.api import Config, Model

from ..distill.annotation import MISSING
from ..distill.objectives import Objective
from ..structures import LinearChain, Token
from ..structures.base import array_module
from .barred_labels import barred_labels, check_not_all
from .documents import name_of, same_tokens
from .structured_pipe import StructuredPipe
from .tag_answers import TagAnswers
from .units import SENTENCE_STARTS, Tag, tags_of

ATTRIBUTES = {"tag": TAG, "pos": POS, "morph": MORPH, "sent_start": SENT_START}

default_config = """
[model]
@architectures = "spacy-skd.MaxEnt.v1"

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
@scorers = "spacy-skd.tagger_scorer.v1"
"""
DEFAULT_CONFIG = Config().from_str(default_config)


@Language.factory(
    "skd_tagger",
    assigns=["token.tag"],
    default_config={**DEFAULT_CONFIG, "attribute": "tag", "overwrite": False, "confidence": True},
    default_score_weights={"tag_acc": 1.0},
)
def make_tagger(
    nlp: Language,
    name: str,
    model: Model[list[Doc], Token | LinearChain],
    objective: Objective,
    attribute: str,
    overwrite: bool,
    confidence: bool,
    scorer: Callable | None,
) -> "Tagger":
    """Construct a tagger.

    model: documents to distributions over label sequences, for instance spacy-skd.MaxEnt.v1.
    objective: loss, for instance spacy-skd.StructuralKD.v1.
    attribute: what to tag: "tag", "pos", "morph" or "sent_start".
    overwrite: replace tags that are set already; otherwise they are kept and decoded around.
    confidence: let documents keep what is needed to ask for probabilities.
    scorer: scoring method.
    """
    return Tagger(
        nlp.vocab,
        model,
        name,
        objective=objective,
        attribute=attribute,
        overwrite=overwrite,
        confidence=confidence,
        scorer=scorer,
    )


def make_tagger_scorer() -> Callable:
    """Construct the `spacy-skd.tagger_scorer.v1` scorer."""
    return score_tags


def score_tags(
    examples: Iterable[Example], *, attribute: str = "tag", **kwargs: Any
) -> dict[str, Any]:
    """Accuracy of the attribute, as `tag_acc`, `pos_acc` or `morph_acc`; of sentences `sents_p`,
    `sents_r` and `sents_f`."""
    if attribute == "sent_start":
        return senter_score(examples, **kwargs)
    if attribute == "morph":
        # By key: an analysis that is not set cannot be compared with anything.
        kwargs["getter"] = lambda token, _: token.morph.key
    return Scorer.score_token_attr(examples, attribute, **kwargs)


class Tagger(StructuredPipe):
    """Labels of tokens by exact decoding of a distribution over label sequences."""

    def __init__(
        self,
        vocab: Vocab,
        model: Model[list[Doc], Token | LinearChain],
        name: str,
        *,
        objective: Objective,
        attribute: str = "tag",
        overwrite: bool = False,
        confidence: bool = True,
        scorer: Callable | None = score_tags,
    ) -> None:
        if attribute not in ATTRIBUTES:
            raise ValueError(
                f"The component '{name}' cannot set '{attribute}': the attribute has to be one of "
                f"{', '.join(ATTRIBUTES)}."
            )
        super().__init__(
            vocab,
            model,
            name,
            objective=objective,
            scorer=scorer,
            confidence=confidence,
            attribute=attribute,
            overwrite=overwrite,
        )

    def add_label(self, label: str) -> int:
        """Add a label before the model is initialised. Returns 1 if it is new, else 0.

        Raises ValueError for what is not a part of speech, or not I or S, if that is what the
        component sets, and once the model has its labels.
        """
        if self.cfg["attribute"] == "sent_start" and label not in SENTENCE_STARTS:
            raise ValueError(
                f"The component '{self.name}' sets where sentences begin, by the labels "
                f"{', '.join(SENTENCE_STARTS)}; it cannot set '{label}'."
            )
        if self.cfg["attribute"] == "pos" and label not in PARTS_OF_SPEECH:
            raise ValueError(
                f"The component '{self.name}' cannot set the part of speech '{label}': spaCy knows "
                f"{', '.join(filter(None, PARTS_OF_SPEECH))}. Set other tags as 'tag'."
            )
        return super().add_label(label)

    @property
    def _finds_sentences(self) -> bool:
        return self.cfg["attribute"] == "sent_start"

    def labels_of(self, doc: Doc) -> Iterable[str]:
        values = set(self._values(doc).tolist()) - {0}
        if self._finds_sentences:
            return SENTENCE_STARTS if values else ()
        return {doc.vocab.strings[value] for value in values}

    def _values(self, doc: Doc) -> np.ndarray:
        """Value of the attribute of each token (n,), as spaCy's ids; 0 where it is not set."""
        values = doc.to_array(ATTRIBUTES[self.cfg["attribute"]])
        if self._finds_sentences and not doc.has_annotation("SENT_START"):
            return np.zeros_like(values)  # spaCy says of the first token that it begins a sentence
        return values

    def _kept(self, doc: Doc, *, none_set: bool) -> np.ndarray:
        """The same of the values that the component does not replace; the first token always begins
        a sentence. none_set: take no value for one that was set before."""
        values = self._values(doc)
        if self.cfg["overwrite"] or none_set:
            values = np.zeros_like(values)
        if self._finds_sentences:
            values[:1] = SENTENCE_STARTS["S"]
        return values

    def set_annotations(self, docs: Iterable[Doc], scores: Token | LinearChain) -> None:
        """Write the best label sequence of each document, around the tags that are set already."""
        docs = list(docs)
        answers = self.read(docs, scores)
        ids, offsets = self._ids(), answers.offsets
        for doc, start, end in zip(docs, offsets, offsets[1:]):
            new: Any = ids[answers.columns[start:end]]
            decided = answers.decided[start:end]
            if not decided.all():
                new = np.where(decided, new, self._values(doc))
            doc.from_array([ATTRIBUTES[self.cfg["attribute"]]], new.reshape(-1, 1))
        self._keep(docs, answers)

    def read(
        self, docs: list[Doc], structure: Token | LinearChain, *, has_annotations: bool = False
    ) -> TagAnswers:
        """Decode, around the tags that documents have already; see `StructuredPipe.read`."""
        kept = [self._kept(doc, none_set=has_annotations) for doc in docs]
        values = np.concatenate([*kept, np.zeros(0, dtype=np.uint64)])
        barred = barred_labels(docs, self.labels)
        if barred is not None:
            check_not_all(barred, values == 0, docs, self.name)
        if barred is None and not values.any():
            scores = structure
        else:
            scores = _constrain(structure, values, self._ids(), barred)
        with self._naming(docs):
            best = scores.argmax()
        decided = values == 0
        if self._finds_sentences:
            firsts = scores.packing.offsets[:-1][scores.lengths > 0]
            decided[firsts] = True  # that they begin a sentence is known, not set before
        return TagAnswers(
            self.name,
            scores,
            structure,
            self.temperature,
            attribute=self.cfg["attribute"],
            columns=np.concatenate([*best, np.zeros(0, dtype=np.int64)]).astype(np.int64),
            decided=decided,
            labels=self.labels,
        )

    def units(self, doc: Doc) -> list[Tag]:
        """(token, label) of each token of a document, predicted or gold, that has one."""
        return tags_of(doc, self._values(doc), are_starts=self._finds_sentences)

    def known(self, doc: Doc) -> np.ndarray:
        """The tokens of which a gold document says the label, (n,) of bool. That the first one
        begins a sentence is not what it says: there is nothing to be right about."""
        known = self._values(doc) != 0
        if self._finds_sentences:
            known[:1] = False
        return known

    def _ids(self) -> np.ndarray:
        """spaCy's id of each label, in the order of the columns."""
        if self._finds_sentences:
            return np.asarray([SENTENCE_STARTS[label] for label in self.labels], dtype=np.uint64)
        if self.cfg["attribute"] == "morph":
            return np.asarray(
                [self.vocab.morphology.add(label) for label in self.labels], dtype=np.uint64
            )
        return np.asarray([self.vocab.strings.add(label) for label in self.labels], dtype=np.uint64)

    def get_annotation(self, example: Example) -> np.ndarray:
        """Gold column of each predicted token (n,), −1 where the annotation is missing."""
        if same_tokens(example):
            values = self._values(example.reference).tolist()
        elif self._finds_sentences:
            number = {True: SENTENCE_STARTS["S"], False: SENTENCE_STARTS["I"], None: 0}
            values = [number[starts] for starts in example.get_aligned_sent_starts()]
        else:
            aligned = example.get_aligned(self.cfg["attribute"].upper())
            values = [int(value or 0) for value in aligned]
        column = {int(id_): number for number, id_ in enumerate(self._ids())}
        column[0] = MISSING
        try:
            return np.asarray([column[value] for value in values], dtype=np.int64)
        except KeyError as error:
            label = example.reference.vocab.strings[error.args[0]]
            raise ValueError(
                f"A token of {name_of(example.reference)} has the {self.cfg['attribute']} "
                f"'{label}', which component '{self.name}' does not know. Remove it from the data, "
                "or train a new component on all the labels."
            ) from None


def _constrain(
    scores: Token | LinearChain, values: np.ndarray, ids: np.ndarray, barred: np.ndarray | None
) -> Token | LinearChain:
    """The distributions given the values (N,) that are set; unknown values constrain nothing.

    barred: (N, L) which labels tokens without a value must not get.
    """
    fits = values[:, None] == ids
    free = ~fits.any(axis=1, keepdims=True)
    if barred is not None:
        free = free & ~(barred & (values == 0)[:, None])
    potentials = scores.scores if isinstance(scores, Token) else scores.emissions
    return scores.restrict(array_module(potentials).asarray(fits | free))
