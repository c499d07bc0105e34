"""`skd_tagger`: one label a token — fine-grained tag, part of speech, features, both of these at
once, or whether it begins a sentence."""

from collections.abc import Callable, Iterable, Sequence
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
from ..distill.targets import Target
from ..structures import LinearChain, Token
from ..structures.base import array_module
from .analyses import analysis_of, parts_of
from .barred_labels import barred_labels, check_not_all
from .documents import name_of, same_tokens
from .structured_pipe import StructuredPipe
from .tag_answers import TagAnswers
from .units import SENTENCE_STARTS, Tag, tags_of

ATTRIBUTES = {
    "tag": [TAG],
    "pos": [POS],
    "morph": [MORPH],
    "morph+pos": [MORPH, POS],
    "sent_start": [SENT_START],
}
"""What a component may set, and what spaCy calls that of a token."""
UNKNOWN = MISSING - 1
"""Annotation that no label agrees with."""

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
    attribute: what to tag: "tag", "pos", "morph", "morph+pos" or "sent_start".
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
    """Accuracy of the attribute, as `tag_acc`, `pos_acc` or `morph_acc`; of "morph+pos" both of
    these; of sentences `sents_p`, `sents_r` and `sents_f`."""
    if attribute == "sent_start":
        return senter_score(examples, **kwargs)
    if attribute == "morph+pos":
        examples = list(examples)
        parts = [score_tags(examples, attribute=part, **kwargs) for part in ("pos", "morph")]
        return {name: value for scores in parts for name, value in scores.items()}
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
        """Add a label, to a trained model too; see `StructuredPipe.add_label`.

        Raises ValueError for what is not a part of speech, or not I or S, if that is what the
        component sets.
        """
        if self.cfg["attribute"] == "sent_start" and label not in SENTENCE_STARTS:
            raise ValueError(
                f"The component '{self.name}' sets where sentences begin, by the labels "
                f"{', '.join(SENTENCE_STARTS)}; it cannot set '{label}'."
            )
        pos = label if self.cfg["attribute"] == "pos" else ""
        if self._analyses:
            features, pos = parts_of(label)
            label = analysis_of(self.vocab.morphology.normalize_features(features), pos)
        if pos and pos not in PARTS_OF_SPEECH:
            raise ValueError(
                f"The component '{self.name}' cannot set the part of speech '{pos}': spaCy knows "
                f"{', '.join(filter(None, PARTS_OF_SPEECH))}. Set other tags as 'tag'."
            )
        return super().add_label(label)

    def check_labels(self, target: Target) -> None:
        """As of all components; features alone are no target where parts of speech are set, too."""
        teachers = target.teacher.meant
        if self._analyses and not _name_pos(teachers) and _name_pos(self.labels):
            raise ValueError(
                f"The component '{self.name}' sets features and parts of speech at once, but the "
                f"teacher's target for it has features alone ('{teachers[0]}'). Of spaCy's "
                f'morphologizer, take the target of both: components = {{"{self.name}": '
                f'["{self.name}_analyses"]}} in the training corpus, and '
                f"--component {self.name}_analyses for `annotate`. Otherwise let one component "
                'learn the features, with attribute = "morph", and another the parts of speech, '
                'with attribute = "pos".'
            )
        super().check_labels(target)

    @property
    def _finds_sentences(self) -> bool:
        return self.cfg["attribute"] == "sent_start"

    @property
    def _analyses(self) -> bool:
        return self.cfg["attribute"] == "morph+pos"

    def labels_of(self, doc: Doc) -> Iterable[str]:
        values = self._values(doc)
        if self._finds_sentences:
            return SENTENCE_STARTS if values.any() else ()
        return {self._label_in(doc, row) for row in set(map(tuple, values.tolist())) if any(row)}

    def _label_in(self, doc: Doc, values: Sequence[int]) -> str:
        """The label of what a token has, given as spaCy's ids."""
        names = [doc.vocab.strings[value] for value in values]
        return analysis_of(*names) if self._analyses else names[0]

    def _values(self, doc: Doc) -> np.ndarray:
        """What each token has, as spaCy's ids (n, A), 0 where it is not set; A is 2 for features
        and parts of speech, else 1."""
        attributes = ATTRIBUTES[self.cfg["attribute"]]
        values = doc.to_array(attributes).reshape(len(doc), len(attributes))
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
        """Write the best label sequence of each document, around what is set already."""
        docs = list(docs)
        kept = self._all_kept(docs)
        answers = self._decode(docs, scores, kept)
        attributes, offsets = ATTRIBUTES[self.cfg["attribute"]], answers.offsets
        ids: Any = self._ids(set(answers.columns.tolist()))
        values = ids[answers.columns]
        if kept.any():
            values = np.where(kept != 0, kept, values)
        for doc, start, end in zip(docs, offsets, offsets[1:]):
            doc.from_array(attributes, values[start:end])
        self._keep(docs, answers)

    def read(
        self, docs: list[Doc], structure: Token | LinearChain, *, has_annotations: bool = False
    ) -> TagAnswers:
        """Decode, around the tags that documents have already; see `StructuredPipe.read`."""
        return self._decode(docs, structure, self._all_kept(docs, none_set=has_annotations))

    def _all_kept(self, docs: list[Doc], *, none_set: bool = False) -> np.ndarray:
        """`_kept` of a batch (N, A)."""
        nothing = np.zeros((0, len(ATTRIBUTES[self.cfg["attribute"]])), dtype=np.uint64)
        return np.concatenate([*(self._kept(doc, none_set=none_set) for doc in docs), nothing])

    def _decode(
        self, docs: list[Doc], structure: Token | LinearChain, kept: np.ndarray
    ) -> TagAnswers:
        """Decode, around the values (N, A) that are kept."""
        is_set = kept != 0
        is_open: Any = ~is_set.all(axis=1)
        decided = is_open
        barred = barred_labels(docs, self.labels)
        if barred is not None:
            check_not_all(barred, ~is_set.any(axis=1), docs, self.name)
        scores = structure
        if barred is not None or is_set.any():
            allowed = _agreeing(kept, self._ids())
            known: Any = allowed.any(axis=1)
            decided = is_open & known
            allowed |= ~known[:, None]  # a value that the component does not know says nothing
            if barred is not None:
                others = allowed & ~(barred & is_open[:, None])
                allowed = np.where(others.any(axis=1, keepdims=True), others, allowed)
            potentials = structure.scores if isinstance(structure, Token) else structure.emissions
            scores = structure.restrict(array_module(potentials).asarray(allowed))
        with self._naming(docs):
            best = scores.argmax()
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
        values = self._values(doc)
        if not self._analyses:
            return tags_of(doc, values[:, 0], are_starts=self._finds_sentences)
        columns = self._columns(values).tolist()
        return [
            (token, self._label_in(doc, row) if column < 0 else self.labels[column])
            for token, (row, column) in enumerate(zip(values.tolist(), columns))
            if any(row)
        ]

    def known(self, doc: Doc) -> np.ndarray:
        """The tokens of which a gold document says the label, (n,) of bool. That the first one
        begins a sentence is not what it says: there is nothing to be right about."""
        values = self._values(doc)
        known = (values != 0).all(axis=1)
        if self._analyses:
            known |= self._columns(values) >= 0
        if self._finds_sentences:
            known[:1] = False
        return known

    def _ids(self, columns: Iterable[int] | None = None) -> np.ndarray:
        """What each label sets, as spaCy's ids (L, A), in the order of the columns; 0 where it sets
        nothing.

        columns: of these alone; all others are 0.
        """
        labels = self.labels
        ids = np.zeros((len(labels), len(ATTRIBUTES[self.cfg["attribute"]])), dtype=np.uint64)
        for column in range(len(labels)) if columns is None else columns:
            ids[column] = self._ids_of(labels[column])
        return ids

    def _ids_of(self, label: str) -> int | tuple[int, int]:
        """What a label sets, as spaCy's ids."""
        if self._finds_sentences:
            return SENTENCE_STARTS[label]
        if self._analyses:
            features, pos = parts_of(label)
            return self.vocab.morphology.add(features), PARTS_OF_SPEECH[pos]
        names = self.vocab.morphology if self.cfg["attribute"] == "morph" else self.vocab.strings
        return names.add(label)

    def _columns(self, values: np.ndarray) -> np.ndarray:
        """The column of what tokens have, (n, A) to (n,): `MISSING` where nothing is set, and where
        features or a part of speech alone leave more than one label; `UNKNOWN` where they leave
        none."""
        ids = self._ids()
        same = (values[:, None] == ids).all(axis=2)
        if values.shape[1] > 1:
            agreeing = _agreeing(values, ids)
            same = np.where(same.any(axis=1, keepdims=True), same, agreeing)
        n_labels = same.sum(axis=1)
        columns = np.where(n_labels == 1, same.argmax(axis=1), MISSING)
        columns[(n_labels == 0) & values.any(axis=1)] = UNKNOWN
        return columns.astype(np.int64)

    def get_annotation(self, example: Example) -> np.ndarray:
        """Gold column of each predicted token (n,), −1 where the annotation is missing."""
        if same_tokens(example):
            values = self._values(example.reference)
        else:
            values = self._aligned_values(example)
        columns = self._columns(values)
        for token in np.flatnonzero(columns == UNKNOWN)[:1].tolist():
            raise ValueError(
                f"A token of {name_of(example.reference)} has the {self.cfg['attribute']} "
                f"'{self._label_in(example.reference, values[token].tolist())}', which component "
                f"'{self.name}' does not know. Remove it from the data, or train a new component "
                "on all the labels."
            )
        return columns

    def _aligned_values(self, example: Example) -> np.ndarray:
        """The values of the reference for the tokens of the predicted document (n, A), if these are
        others."""
        if self._finds_sentences:
            number = {True: SENTENCE_STARTS["S"], False: SENTENCE_STARTS["I"], None: 0}
            aligned = [[number[starts] for starts in example.get_aligned_sent_starts()]]
        else:
            names = self.cfg["attribute"].upper().split("+")
            aligned = [[int(value or 0) for value in example.get_aligned(name)] for name in names]
        return np.asarray(aligned, dtype=np.uint64).T


def _name_pos(labels: Iterable[str]) -> bool:
    return any(parts_of(label)[1] for label in labels)


def _agreeing(values: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Which labels say nothing else (N, L) than what tokens have.

    values: (N, A). ids: (L, A) what labels say. 0 in either is nothing said.
    """
    agreeing = np.ones((len(values), len(ids)), dtype=bool)
    for given, said in zip(values.T, ids.T):
        agreeing &= (given[:, None] == said) | (given == 0)[:, None] | (said == 0)
    return agreeing
