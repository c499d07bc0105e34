"""`skd_parser`: dependency trees, by distributions over heads, trees, or labels that mean them."""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from spacy.language import Language
from spacy.symbols import DEP, IS_SPACE
from spacy.tokens import Doc
from spacy.training import Example
from spacy.vocab import Vocab
from thinc.api import Config, Model

from ..distill.annotation import MISSING
from ..distill.arc_targets import sentence_targets
from ..distill.attached import get_target
from ..distill.objectives import Objective
from ..distill.targets import Target
from ..layers import sentence_counts, sentence_lengths, tags_of
from ..structures import HeadSelection, LabelTrees, Sentences, SpanningTree
from ..structures.base import Ints1d, to_host
from ..structures.dependency_codes import label_columns, split_label
from .parse_annotation import (
    Ids1d,
    give_sentences,
    give_tags,
    gold_tree,
    gold_trees,
    set_tree,
    taught_tree,
    token_labels,
    within_sentences,
)
from .parse_decoding import attach_spaces, best_trees, without_spaces
from .parse_warnings import (
    unknown_relation,
    warn_of_crossing_arcs,
    warn_of_names,
    warn_of_other_sentences,
    warn_of_sentences,
)
from .structured_pipe import StructuredPipe
from .tree_answers import TreeAnswers
from .units import Arc, arcs_of, known_arcs

SPACE_RELATION = "dep"  # what spaCy's own parser says of whitespace
CODE_AND_BAR = re.compile(r"(0|.*[+-][1-9][0-9]*)\|")  # how labels that stand for heads begin

default_config = """
[model]
@architectures = "spacy-skd.BiaffineParser.v1"

[model.tok2vec]
@architectures = "spacy-skd.HashEmbedRecurrent.v1"
width = 96
depth = 2
embed_size = 2000

[objective]
@losses = "spacy-skd.StructuralKD.v1"

[scorer]
@scorers = "spacy.parser_scorer.v1"
"""
DEFAULT_CONFIG = Config().from_str(default_config)

ParseDistribution: TypeAlias = HeadSelection | SpanningTree | LabelTrees


@Language.factory(
    "skd_parser",
    assigns=["token.dep", "token.head", "token.is_sent_start", "doc.sents"],
    default_config={**DEFAULT_CONFIG, "confidence": True},
    default_score_weights={
        "dep_uas": 0.5,
        "dep_las": 0.5,
        "dep_las_per_type": None,
        "sents_p": None,
        "sents_r": None,
        "sents_f": 0.0,
    },
)
def make_parser(
    nlp: Language,
    name: str,
    model: Model[list[Doc], ParseDistribution],
    objective: Objective,
    confidence: bool,
    scorer: Callable | None,
) -> "Parser":
    """Construct a dependency parser.

    model: documents to distributions over trees, for instance spacy-skd.BiaffineParser.v1.
    objective: loss, for instance spacy-skd.StructuralKD.v1.
    confidence: let documents keep what is needed to ask for probabilities.
    scorer: scoring method.
    """
    return Parser(nlp.vocab, model, name, objective=objective, confidence=confidence, scorer=scorer)


class Parser(StructuredPipe):
    """Heads and relations by exact decoding of a distribution over dependency trees.

    Every sentence gets one tree with one root. Sentences are those that the document has: set by a
    component before this one, or, in training, by the gold document if there is none. A document
    without boundaries is one sentence, unless the model has `sentences = "roots"`: then it may
    have several roots, and each is a sentence. Sentences longer than the model's `max_length` are
    split. Whitespace depends on the word before it, and nothing on whitespace; only a model that
    labels tokens may say otherwise.
    """

    def __init__(
        self,
        vocab: Vocab,
        model: Model[list[Doc], ParseDistribution],
        name: str = "parser",
        *,
        objective: Objective,
        scorer: Callable | None,
        confidence: bool = True,
    ) -> None:
        super().__init__(
            vocab, model, name, objective=objective, scorer=scorer, confidence=confidence
        )
        self._has_warned = False

    @property
    def labels(self) -> tuple[str, ...]:
        """The relations that the component can set."""
        columns = self.cfg["labels"]
        if not self.labels_tokens:
            return tuple(columns)
        return label_columns(tuple(columns)).relation_names

    @property
    def label_data(self) -> tuple[str, ...]:
        """The model's columns: relations, or the labels of tokens that stand for heads as well."""
        return tuple(self.cfg["labels"])

    @property
    def labels_tokens(self) -> bool:
        """Whether the model labels tokens (spacy-skd.LabelParser.v1) or scores arcs."""
        return self._setting("codes") is not None

    def _setting(self, name: str) -> Any:
        return self.model.get_ref("structure").attrs.get(name)

    @cached_property
    def _sentence_settings(self) -> dict[str, Any]:
        """Of the layer that cuts documents into sentences; looked for once, as it takes a while."""
        return next(layer.attrs for layer in self.model.walk() if "max_length" in layer.attrs)

    @property
    def _finds_sentences(self) -> bool:
        return self._sentence_settings["sentences"] == "roots"

    @property
    def _needs_tags(self) -> bool:
        return self._setting("codes") == "tag"

    def add_label(self, label: str) -> int:
        """Add a relation, or a label of tokens, before the model is initialised. Returns 1 if it is
        new, else 0.

        Raises ValueError once the model has its labels, and for what is no label of tokens.
        """
        if self.labels_tokens:
            self.vocab.strings.add(split_label(label)[1])
        elif CODE_AND_BAR.match(label):
            raise ValueError(
                f"'{label}' is a label of spacy-skd.LabelParser.v1, but the model of '{self.name}' "
                "scores arcs and takes relations alone. Read the labels again: they are of another "
                "architecture."
            )
        return super().add_label(label)

    def column_labels(self) -> Sequence[str]:
        return self.cfg["labels"]

    # --- prediction

    def predict(self, docs: Iterable[Doc]) -> Any:
        """The distributions over the trees of the documents' sentences (`Sentences`)."""
        docs = list(docs)
        structure: Any = super().predict(docs)
        return Sentences(structure, sentence_counts(structure.lengths, docs))

    def structure_of_nothing(self, docs: Sequence[Doc]) -> Any:
        if self.labels_tokens:
            return self.model.predict(list(docs))
        return super().structure_of_nothing(docs)

    def set_annotations(self, docs: Iterable[Doc], scores: Sentences) -> None:
        """Write the best tree of each sentence."""
        docs = list(docs)
        answers = self.read(docs, scores)
        ids = np.zeros(len(answers.labels), dtype=np.uint64)
        for number in set(answers.relations.tolist()):
            ids[number] = self.vocab.strings.add(answers.labels[number])
        names = ids[answers.relations]
        if answers.attached.any():
            names[answers.attached] = self.vocab.strings.add(SPACE_RELATION)
        for doc, (start, end) in zip(docs, pairwise(answers.bounds)):
            if len(doc):
                set_tree(doc, answers.heads[start:end] - start, names[start:end])
        self._keep(docs, answers)

    def read(
        self, docs: list[Doc], structure: Sentences, *, has_annotations: bool = False
    ) -> TreeAnswers:
        """Decode; see `StructuredPipe.read`. Nothing that was set before is kept."""
        trees = structure.structure
        spaces = np.concatenate(
            [doc.to_array(IS_SPACE) != 0 for doc in docs] or [np.zeros(0, bool)]
        )
        attached = np.zeros_like(spaces)
        if spaces.any() and not isinstance(trees, LabelTrees):
            trees = without_spaces(trees, spaces)
        with self._naming(docs):
            heads, relations = self.decode(trees)
        if spaces.any():
            attached = attach_spaces(heads, spaces, to_host(trees.lengths))
        return TreeAnswers(
            self.name,
            trees,
            structure,
            self.temperature,
            heads=heads,
            relations=relations,
            spaces=spaces,
            attached=attached,
            lengths=[len(doc) for doc in docs],
            labels=self.labels,
            several_roots=self._finds_sentences,
        )

    def units(self, doc: Doc) -> list[Arc]:
        """(token, head, relation) of each word of a document, predicted or gold, that has one."""
        return arcs_of(doc)

    def known(self, doc: Doc) -> np.ndarray:
        """The words of which a gold document says the head and relation, (n,) of bool."""
        return known_arcs(doc)

    def decode(self, structure: Any) -> tuple[Ints1d, Ints1d]:
        """Of all tokens of a batch, the token numbers of their heads in it, a root's its own, and
        the numbers of their relations, both (N,)."""
        return best_trees(structure, self.labels, several_roots=self._finds_sentences)

    # --- learning

    def update(self, examples: Iterable[Example], **kwargs: Any) -> dict[str, float]:
        """Learn from a batch; see `StructuredPipe.update`.

        Predicted documents without sentence boundaries get those of the gold documents, or of the
        teacher's trees where there are none.
        """
        examples = list(examples)
        for example in examples:
            self._prepare(example)
        return super().update(examples, **kwargs)

    def _prepare(self, example: Example) -> None:
        """Give a predicted document what the model needs to see of it."""
        if self._needs_tags:
            give_tags(example)
        if not self._finds_sentences:
            give_sentences(example, get_target(example.reference, self.name))

    def annotation_of(self, examples: Sequence[Example], structure: Any) -> np.ndarray:
        """Gold annotation of a batch: head numbers and relations (N, 2), or labels (N,); −1 where
        nothing is known."""
        heads, relations = self._gold_trees(examples, structure.lengths)
        if self.labels_tokens:
            return self._columns_of(examples, heads, relations, structure.lengths)
        number = {self.vocab.strings[label]: n for n, label in enumerate(self.labels)}
        columns = np.full(len(relations), MISSING)
        for relation in np.unique(relations[heads != MISSING]).tolist():
            if relation not in number and relation:
                raise unknown_relation(self.name, relation, examples, self.labels)
            columns[relations == relation] = number.get(relation, MISSING)
        return np.stack([heads, columns], axis=1)

    def _gold_trees(self, examples: Sequence[Example], lengths: Ints1d) -> tuple[Ints1d, Ids1d]:
        """Head numbers within the model's sentences, and ids of relations, of all tokens."""
        single_root = self._setting("structure") == "tree"
        return gold_trees(examples, lengths, single_root, bool(self._setting("projective")))

    def _columns_of(
        self, examples: Sequence[Example], heads: Ints1d, relations: Ids1d, lengths: Ints1d
    ) -> Ints1d:
        """Columns of the labels of tokens (N,), −1 where there is none: labels that the model does
        not know are learnt from by no one."""
        labels = self._labels_of(examples, heads, relations, lengths)
        number = {label: column for column, label in enumerate(self.cfg["labels"])}
        return np.asarray([number.get(label, MISSING) for label in labels])

    def targets_of(self, examples: Sequence[Example], structure: Any) -> list[list[Target]]:
        counts = sentence_counts(structure.lengths, [example.predicted for example in examples])
        lengths = np.split(to_host(structure.lengths), np.cumsum(counts)[:-1])
        targets: list[list[Target]] = []
        for example, of_sentences in zip(examples, lengths):
            found: list[list[Target]] = [[] for _ in of_sentences]
            for target in self.targets_of_document(example):
                pieces = sentence_targets(
                    target, of_sentences.tolist(), joined=self._finds_sentences
                )
                self._warn_of_other_sentences(example.reference, pieces)
                for of_sentence, piece in zip(found, pieces):
                    if piece is not None:
                        of_sentence.append(piece)
            targets.extend(found)
        return targets

    def _warn_of_other_sentences(self, doc: Doc, pieces: Sequence[Target | None]) -> None:
        n_lost = sum(piece is None for piece in pieces)
        if not n_lost or self._has_warned:
            return
        self._has_warned = True
        warn_of_other_sentences(self.name, doc, n_lost, len(pieces))

    def doc_of(self, sentence: int, docs: Sequence[Doc]) -> Doc:
        lengths = self._sentence_lengths(docs)
        return docs[int(np.repeat(np.arange(len(docs)), sentence_counts(lengths, docs))[sentence])]

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: Sequence[str] | None = None,
    ) -> None:
        """Prepare the model for training; see `StructuredPipe.initialize`.

        Warns if there are gold arcs that a projective model cannot predict, and if relations have
        names that differ in case alone, as a teacher's `ROOT` and the annotation's `root`.
        """

        def prepared() -> Iterable[Example]:
            for example in get_examples():
                self._prepare(example)
                yield example

        super().initialize(prepared, nlp=nlp, labels=labels)
        warn_of_names(self.name, self.labels)
        if nlp is not None and not self._finds_sentences:
            warn_of_sentences(nlp, self.name, get_examples)
        if not self._setting("projective"):
            return
        warn_of_crossing_arcs(
            self.name,
            ((gold_tree(one)[0], self._sentence_lengths([one.predicted])) for one in prepared()),
        )

    def labels_of(self, doc: Doc) -> Iterable[str]:
        if not self.labels_tokens:
            strings, ids = doc.vocab.strings, np.unique(doc.to_array([DEP]))
            return {strings[relation] for relation in ids.tolist() if relation}
        if self._needs_tags and not doc.has_annotation("POS"):
            return ()  # a raw document, which says nothing of how it would be labelled
        lengths = self._sentence_lengths([doc])
        heads, relations = self._gold_trees([Example(doc, doc)], lengths)
        if not (heads != MISSING).any():
            heads, relations = taught_tree(doc, get_target(doc, self.name))
            heads = within_sentences(heads, lengths)
        labels = self._labels_of([Example(doc, doc)], heads, relations, lengths)
        return {label for label in labels if label is not None}

    def labels_of_columns(self, columns: Sequence[str]) -> Iterable[str]:
        # What the teacher's relations are as labels of tokens is found document by document.
        return () if self.labels_tokens else columns

    def check_labels(self, target: Target) -> None:
        # A student that labels tokens learns of the teacher's arcs those that it has labels for.
        if not self.labels_tokens:
            super().check_labels(target)

    def _labels_of(
        self, examples: Sequence[Example], heads: Ints1d, relations: Ids1d, lengths: Ints1d
    ) -> list[str | None]:
        """The label of each token (N,), None where its head or relation is not known."""
        tags = tags_of([example.predicted for example in examples]) if self._needs_tags else None
        gold = [example.reference for example in examples]
        return token_labels(heads, relations, lengths, gold, tags)

    # --- sentences

    def _sentence_lengths(self, docs: Sequence[Doc]) -> Ints1d:
        """Lengths of the sentences that the model reads in some documents."""
        max_length = self._sentence_settings["max_length"]
        return sentence_lengths(docs, max_length, use_boundaries=not self._finds_sentences)[0]
