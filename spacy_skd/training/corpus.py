"""`spacy-skd.DistillCorpus.v1`: gold and raw documents, each joined with its teacher's targets."""

import logging
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from heapq import merge
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.vocab import Vocab

from ..distill.attached import copy_targets
from ..distill.copies import plain_copy
from .documents import Source, find_files, read_annotated, read_sources
from .gold_labels import GoldLabels
from .label_maps import LabelMap, LabelMaps
from .side_by_side import side_by_side
from .splitting import split_doc, split_sentences
from .stores import GOLD, Stores, Weights, check_weight
from .taught_names import ComponentNames

Paths = str | Path | Sequence[str | Path] | None
Augmenter = Callable[[Language, Example], Iterable[Example]]
ItemT = TypeVar("ItemT")

LOGGER = logging.getLogger("spacy")  # what `spacy train` shows
READER = "spacy-skd.DistillCorpus.v1"


def make_distill_corpus(
    path: str | Path | None,
    raw: str | Path | list[str | Path] | None = None,
    targets: str | Path | list[str | Path] | None = None,
    max_length: int = 0,
    limit: int = 0,
    gold_preproc: bool = False,
    shuffle: bool = True,
    buffer_size: int = 10_000,
    seed: int = 0,
    require_targets: bool = True,
    ensemble: bool = False,
    target_weights: list[float] | dict[str, float] | None = None,
    label_map: dict[str, dict[str, str | None]] | None = None,
    label_map_by_store: dict[str, dict[str, dict[str, str | None]]] | None = None,
    components: dict[str, list[str]] | None = None,
    gold_labels: dict[str, list[str]] | None = None,
    augmenter: Augmenter | None = None,
) -> "DistillCorpus":
    """Construct the corpus reader `spacy-skd.DistillCorpus.v1`; see `DistillCorpus`."""
    return DistillCorpus(
        path,
        raw,
        targets,
        max_length=max_length,
        limit=limit,
        gold_preproc=gold_preproc,
        shuffle=shuffle,
        buffer_size=buffer_size,
        seed=seed,
        require_targets=require_targets,
        ensemble=ensemble,
        target_weights=target_weights,
        label_map=label_map,
        label_map_by_store=label_map_by_store,
        components=components,
        gold_labels=gold_labels,
        augmenter=augmenter,
    )


class DistillCorpus:
    """Examples from gold and raw documents, with the targets of the same documents attached.

    Called with a pipeline, it yields examples. The documents of each file are spread evenly over a
    pass (`side_by_side`), so that each part of it has gold and raw documents of every file.

    path: documents with annotation, a `.spacy` file or a folder of them.
    raw: documents of which only words and spaces are used: `.spacy`, `.txt` (one text a line),
        `.jsonl` (with "text"), folders of them, or a list of these. Their annotation is missing.
    targets: stores of targets (`spacy skd annotate`), or folders of stores. Of several stores of
        one teacher, the first is taken that has the document. Without a store it is a plain corpus.
    max_length: longer documents are split, at the ends of sentences if possible, and never within
        an entity or span; nothing is left out. 0 for no limit.
    limit: use only so many documents, the first ones of each file in proportion to its size. 0 for
        no limit.
    gold_preproc: split gold documents into their sentences.
    shuffle: yield examples in another order at each pass. They go through a buffer of
        `buffer_size`, so no more are in memory when the corpus is streamed (max_epochs = -1).
    buffer_size: examples in the shuffle buffer.
    seed: of the shuffling; the same seed gives the same orders.
    require_targets: raise ValueError for a document without targets, from whichever store. If
        False, it is used with its annotation alone; raw documents are left out and counted. One
        that is in a store with other tokens is an error all the same.
    ensemble: let several teachers teach one document. If False, that is an error: ValueError.
    target_weights: how much the stores count in an ensemble, one number for each of `targets` or by
        the names of the stores' folders; by default all alike. Under "gold", `gold_labels`.
        ValueError where there is nothing to weigh.
    label_map: by component, as the stores name it, the student's label for labels of the teachers;
        "" or null for none of them (`distill.meaning.relabelled`). ValueError for labels that no
        teacher has.
    label_map_by_store: the same by the names of the stores' folders, for teachers that call things
        by different names; of these stores it goes before label_map, label by label.
    components: by component of the student, the names in the stores that it learns from, where that
        is not its own name alone. Of a teacher, all of them teach it; of several teachers, if they
        are an ensemble. ValueError for names that no store has.
    gold_labels: by component (skd_ner, of doc.ents), the labels that gold documents are annotated
        with. Of all others the annotation says nothing, and does not deny them. It then counts as a
        target beside those of the teachers, and an objective's teacher_weight does not matter.
    augmenter: as in spacy.Corpus.v1. An augmented example keeps the targets of the original if it
        has as many tokens.

    The predicted side of an example always has the words and spaces of the reference.
    """

    def __init__(
        self,
        path: str | Path | None,
        raw: Paths = None,
        targets: Paths = None,
        *,
        max_length: int = 0,
        limit: int = 0,
        gold_preproc: bool = False,
        shuffle: bool = True,
        buffer_size: int = 10_000,
        seed: int = 0,
        require_targets: bool = True,
        ensemble: bool = False,
        target_weights: Weights = None,
        label_map: LabelMap | None = None,
        label_map_by_store: LabelMaps | None = None,
        components: ComponentNames | None = None,
        gold_labels: Mapping[str, Sequence[str]] | None = None,
        augmenter: Augmenter | None = None,
    ) -> None:
        self.gold = _as_paths(path)
        self.raw = _as_paths(raw)
        self.targets = _as_paths(targets)
        self.max_length = max_length
        self.limit = limit
        self.gold_preproc = gold_preproc
        self.shuffle = shuffle
        self.buffer_size = buffer_size
        self.seed = seed
        self.require_targets = require_targets
        self.ensemble = ensemble
        self.target_weights = target_weights
        self.label_map = label_map
        self.label_map_by_store = label_map_by_store
        self.components = components
        self.augmenter = augmenter
        by_name = target_weights if isinstance(target_weights, Mapping) else {}
        gold_weight = check_weight("gold annotation", by_name.get(GOLD, 1.0))
        self.gold_labels = GoldLabels(gold_labels or {}, gold_weight)
        self._opened: Stores | None = None
        self._passes = 0
        self._told = False
        if not self.gold and not self.raw:
            raise ValueError("The corpus reads nothing: give a path, raw documents or both.")
        if self.raw and not self.targets:
            raise ValueError(
                f"Nothing can be learnt from the raw documents {_listed(self.raw)} without "
                "targets. Write them with `python -m spacy skd annotate`, and give the store as "
                "`targets`."
            )
        if target_weights and not ensemble and not gold_labels:
            raise ValueError(
                "target_weights weigh several teachers of a document, or teachers and gold_labels: "
                "set ensemble = true, or leave them out."
            )

    def __call__(self, nlp: Language) -> Iterator[Example]:
        """Yield the examples of one pass.

        Raises ValueError if the stores hold targets for no component of the pipeline.
        """
        references = self._references(nlp, self._begin(nlp))
        if self.shuffle:
            generator = random.Random(f"{self.seed} {self._passes}")
            references = shuffled(references, self.buffer_size, generator)
        self._passes += 1
        for reference in references:
            yield from self._examples(nlp, reference)

    def _begin(self, nlp: Language) -> Stores:
        """The stores. Components that are resumed are told how long the run is: spaCy initialises
        only new ones."""
        stores = self._opened = self._opened or Stores(
            self.targets,
            ensemble=self.ensemble,
            weights=self.target_weights,
            label_map=self.label_map,
            label_map_by_store=self.label_map_by_store,
            components=self.components,
            gold=bool(self.gold_labels.teachers),
        )
        stores.labels.check_student(nlp, stores.names)
        self.gold_labels.check(nlp)
        taught = stores.components
        names = nlp.component_names
        if taught and names and not taught.intersection(names):
            raise ValueError(
                f"The targets in {_listed(self.targets)} are for the component "
                f"{', '.join(sorted(taught))}, but the pipeline has only {', '.join(names)}. "
                "A student's component has to have the name of the teacher's, or a list of such "
                "names in `components`."
            )
        for _, component in nlp.pipeline:
            objective = getattr(component, "objective", None)
            # Components of others may have an objective of another kind.
            if objective is not None and not getattr(objective, "started", True):
                objective.start(nlp.config.interpolate()["training"]["max_steps"])
        return stores

    def _references(self, nlp: Language, stores: Stores) -> Iterator[Doc]:
        """Reference documents with their targets, split."""
        for doc in islice(self._documents(nlp, stores), self.limit or None):
            sentences = split_sentences(doc) if self.gold_preproc else [doc]
            for sentence in sentences:
                pieces = split_doc(sentence, self.max_length) if self.max_length else [sentence]
                for piece in pieces:
                    self.gold_labels.attach(piece)
                    yield piece

    def _documents(self, nlp: Language, stores: Stores) -> Iterator[Doc]:
        """Documents with their targets; raw ones that have none are left out."""
        gold = side_by_side(
            find_files(self.gold, (".spacy",)), partial(_read_gold, nlp.vocab), _progress
        )
        raw = side_by_side(find_files(self.raw), partial(_read_raw, nlp), _progress)
        untaught = 0
        for source, doc, is_raw in merge(gold, raw, key=_progress):
            taught = stores.attach(source, doc, required=self.require_targets)
            if taught or not is_raw:
                yield doc
            else:
                untaught += 1
        if untaught and not self._told:
            self._told = True
            LOGGER.info("%s raw documents have no targets and are left out.", f"{untaught:,}")

    def _examples(self, nlp: Language, reference: Doc) -> Iterator[Example]:
        example = Example(plain_copy(reference, nlp.vocab), reference)
        if self.augmenter is None:
            yield example
            return
        for augmented in self.augmenter(nlp, example):
            if len(augmented.reference) == len(reference):
                copy_targets(reference, augmented.reference)
            yield augmented


class _Input(NamedTuple):
    """A document as it was read."""

    source: Source
    doc: Doc
    is_raw: bool


def _progress(item: _Input) -> float:
    return item.source.progress


def _read_gold(vocab: Vocab, files: Sequence[Path]) -> Iterator[_Input]:
    for source, doc in read_annotated(files, vocab):
        yield _Input(source, doc, is_raw=False)


def _read_raw(nlp: Language, files: Sequence[Path]) -> Iterator[_Input]:
    for source in read_sources(files):
        doc = source.make_doc(nlp)
        if len(doc):
            yield _Input(source, doc, is_raw=True)


def shuffled(items: Iterable[ItemT], buffer_size: int, generator: random.Random) -> Iterator[ItemT]:
    """The items in random order, of which at most `buffer_size` are held at a time."""
    stream = iter(items)
    buffer = list(islice(stream, buffer_size))
    for item in stream:
        place = generator.randrange(len(buffer))
        buffer[place], item = item, buffer[place]
        yield item
    generator.shuffle(buffer)
    yield from buffer


def _as_paths(paths: Paths) -> list[Path]:
    """One path, several or none (null or an empty string in a config), as a list."""
    if paths is None or paths == "":
        return []
    if isinstance(paths, (str, Path)):
        return [Path(paths)]
    return [Path(path) for path in paths if path != ""]


def _listed(paths: Iterable[Path]) -> str:
    return ", ".join(map(str, paths))
