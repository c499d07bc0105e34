"""Any component that predicts distributions, read as a teacher.

What can teach is decided by a table of adapters: functions from a component to its reader, or to
None if they do not know the component.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc

from ..structures import SentenceError, Sentences
from ..structures.base import to_host
from .manifest import TeacherInfo
from .parts import Distribution
from .targets import Dropped, Teacher, describe, document_lengths, kept_scores

Reader = Callable[[list[Doc]], Distribution | Sentences]
"""Reads the distributions of a batch of documents, one sentence a document unless they say so."""
PlaceT = TypeVar("PlaceT")

N_CHARACTERS = 60  # of a document's text in an error
RETRAIN = (
    "Its training has diverged or its weights are damaged: train the teacher again, or take "
    "another checkpoint."
)


def predicts_structure(component: Any) -> Reader | None:
    """Components whose `predict` gives a structure, as those of this package do."""
    predict = getattr(component, "predict", None)
    if predict is None or not isinstance(predict([]), (*get_args(Distribution), Sentences)):
        return None
    return predict


ADAPTERS: list[Callable[[Any], Reader | None]] = [predicts_structure]


def find_reader(component: Any) -> Reader | None:
    """The reader of the first adapter that knows the component."""
    return next((reader for adapter in ADAPTERS if (reader := adapter(component))), None)


def find_teachers(nlp: Language, components: Sequence[str] | None = None) -> list[str]:
    """The components that teach, in the order of the pipeline: those named, or all that can.

    Raises ValueError if one that is named is not in the pipeline or cannot teach, or if none can.
    """
    pipeline = dict(nlp.pipeline)
    described = ", ".join(nlp.pipe_names) or "none"
    for name in components or ():
        if name not in pipeline:
            raise ValueError(f"The teacher has no component '{name}'. Its components: {described}.")
        if not find_reader(pipeline[name]):
            raise ValueError(
                f"The component '{name}' of the teacher cannot teach: it does not predict a "
                f"distribution that can be stored. Components of the teacher: {described}."
            )
    if components:
        return [name for name in pipeline if name in components]
    teachers = [name for name, component in pipeline.items() if _can_teach(component)]
    if not teachers:
        raise ValueError(
            "No component of the teacher predicts a distribution that can be stored. "
            f"Its components: {described}."
        )
    return teachers


def _can_teach(component: Any) -> bool:
    with suppress(Exception):  # a component of anyone's, perhaps without labels, asked for nothing
        return find_reader(component) is not None
    return False


def fingerprint(nlp: Language) -> TeacherInfo:
    """Who a teacher is: name, version, and a hash over all files of its folder.

    A pipeline that was not loaded from a folder is hashed as `nlp.to_bytes` writes it.
    """
    name = f"{nlp.meta['lang']}_{nlp.meta['name']}"
    digest = hashlib.blake2b(digest_size=32)
    if nlp.path is None:
        digest.update(nlp.to_bytes())
    else:
        for name_in_folder, path in _content(Path(nlp.path)):
            relative = name_in_folder.encode("utf8")
            digest.update(b"%d %s %d " % (len(relative), relative, path.stat().st_size))
            with path.open("rb") as file:
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
    return TeacherInfo(name, nlp.meta["version"], digest.hexdigest())


def _content(folder: Path) -> list[tuple[str, Path]]:
    """The files of a pipeline by their names in it, sorted, without what systems and interpreters
    leave in folders."""
    files = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    return sorted(
        (name.as_posix(), path)
        for name, path in files.items()
        if "__pycache__" not in name.parts and not name.name.startswith(".")
    )


@dataclass(frozen=True)
class _Entry(Generic[PlaceT]):
    """What travels with a document through the pipeline."""

    place: PlaceT
    n_tokens: int
    scores: dict[str, np.ndarray]


class TeacherReader:
    """Reads targets from a pipeline, batch by batch.

    components: names of the components that teach (`find_teachers`).
    teachers: their records, known once a batch has been read.
    dropped: of those whose targets are less than they know and say how much it is, how much.
    """

    def __init__(self, nlp: Language, components: Sequence[str], batch_size: int) -> None:
        self.teachers: dict[str, Teacher] = {}
        self.dropped: dict[str, Dropped] = {}
        self._nlp = nlp
        self._batch_size = batch_size
        self._readers = {
            name: reader for name in components if (reader := find_reader(nlp.get_pipe(name)))
        }
        names = nlp.pipe_names
        places = [names.index(name) for name in components]
        self._before = names[: min(places)]
        self._rest = names[min(places) : max(places) + 1]

    def describe(self) -> dict[str, Teacher]:
        """The records of all components, without reading a document."""
        return {name: _describe(reader([]), name) for name, reader in self._readers.items()}

    def read(
        self, docs: Iterable[tuple[Doc, PlaceT]]
    ) -> Iterator[tuple[Doc, PlaceT, dict[str, np.ndarray]]]:
        """Each document with the scores of every component, as in `Target.scores`.

        docs: documents, each with its place, which is handed on and named in errors.

        Components that come before one that teaches annotate the documents as in `nlp.pipe`; those
        after the last one do not run. Raises ValueError, naming component and document, if a score
        is not a number, and if a component changes the tokens.
        """
        entries = ((doc, _Entry(place, len(doc), {})) for doc, place in docs)
        stream = self._annotate(entries, self._before)
        while batch := list(islice(stream, self._batch_size)):
            for name in self._rest:
                if name in self._readers:
                    self._predict(name, batch)
                else:
                    batch = list(self._annotate(batch, [name]))
            for doc, entry in batch:
                yield doc, entry.place, entry.scores

    def _annotate(
        self, docs: Iterable[tuple[Doc, _Entry]], names: Sequence[str]
    ) -> Iterator[tuple[Doc, _Entry]]:
        """Run some components of the pipeline."""
        others = [name for name in self._nlp.pipe_names if name not in names]
        return self._nlp.pipe(docs, as_tuples=True, batch_size=self._batch_size, disable=others)

    def _predict(self, name: str, batch: list[tuple[Doc, _Entry]]) -> None:
        """Read one component's scores into the entries of a batch."""
        docs = [doc for doc, _ in batch]
        structure: Any = None
        try:
            structure = self._readers[name](docs)
            if name not in self.teachers:
                self.teachers[name] = _describe(structure, name)
            stored, dropped = kept_scores(structure)
        except SentenceError as error:
            number = _document_of(error.sentence, structure)
            raise _fault(name, *batch[number], str(error)) from error
        if dropped is not None:
            self.dropped.setdefault(name, Dropped()).add(dropped)
        if name != self._rest[-1]:
            component: Any = self._nlp.get_pipe(name)
            component.set_annotations(docs, structure)
        lengths = document_lengths(structure).tolist()
        for (doc, entry), scores, length in zip(batch, stored, lengths):
            if any(np.isnan(values).any() for values in _numbers(scores)):
                raise _fault(name, doc, entry, "it gives scores that are not numbers")
            if length != entry.n_tokens:
                raise ValueError(
                    f"A component before '{name}' changes the tokens of {entry.place}: it had "
                    f"{entry.n_tokens}, now {length}. Remove that component from the teacher: "
                    "a student could not use its targets."
                )
            entry.scores[name] = scores


def _document_of(sentence: int, structure: Any) -> int:
    """The document of a batch that a sentence is in, whether or not its structure is known."""
    if not isinstance(structure, Sentences):
        return sentence
    ends = np.cumsum(to_host(structure.n_sentences))
    return int(np.searchsorted(ends, sentence, side="right"))


def _numbers(scores: np.ndarray) -> list[np.ndarray]:
    """The arrays of scores that are no integers."""
    if scores.dtype.names is None:
        return [scores]
    return [scores[name] for name in scores.dtype.names if scores.dtype[name].kind == "f"]


def _describe(structure: Distribution | Sentences, name: str) -> Teacher:
    teacher = describe(structure, name)
    for table, values in teacher.tables.items():
        if np.isnan(values).any():
            raise ValueError(f"In '{name}', {table} holds values that are not numbers. {RETRAIN}")
    return teacher


def _fault(name: str, doc: Doc, entry: _Entry, fault: str) -> ValueError:
    start = doc.text[:N_CHARACTERS]
    return ValueError(
        f"The teacher component '{name}' fails on {entry.place} ({start!r}): {fault}. {RETRAIN}"
    )
