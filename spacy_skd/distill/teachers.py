"""A pipeline as a teacher: which of its components teach, and what they say of documents.

How a component is read is up to the adapters of its kind (`adapters`).
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import srsly
from spacy.language import Language
from spacy.tokens import Doc

from ..structures import SentenceError, Sentences
from ..structures.base import to_host
from .adapters import CannotTeach, Readable, Reader, find_reader
from .adapters.beams import beams_of
from .manifest import TeacherInfo
from .offer import Offer
from .targets import Dropped, Teacher, describe, document_lengths, kept_scores

PlaceT = TypeVar("PlaceT")

N_CHARACTERS = 60  # of a document's text in an error
RETRAIN = (
    "Its training has diverged or its weights are damaged: train the teacher again, or take "
    "another checkpoint."
)


class Survey(NamedTuple):
    """What can be learnt from the components of a pipeline.

    readers: of those that can teach, by their names. offer: the names of what they teach, and why
        the others cannot.
    """

    readers: dict[str, Reader]
    offer: Offer

    def lines(self, targets: Sequence[str], *, with_refusals: bool = False) -> list[str]:
        """What is read of the components that some targets are of, and why not of others, for the
        user."""
        found = [
            f"'{name}': {reader.summary}"
            for name, reader in self.readers.items()
            if set(reader.targets) & set(targets)
        ]
        if with_refusals:
            found += [f"not '{name}': {reason}" for name, reason in self.offer.refusals.items()]
        return found


def survey(nlp: Language) -> Survey:
    """Ask all components of a pipeline whether they can teach."""
    readers, refusals = {}, {}
    for name in nlp.pipe_names:
        try:
            readers[name] = find_reader(nlp, name)
        except CannotTeach as error:
            refusals[name] = str(error)
    targets = {name: reader.targets for name, reader in readers.items()}
    on_request = {target for reader in readers.values() for target in reader.on_request}
    return Survey(readers, Offer(tuple(nlp.pipe_names), targets, refusals, on_request))


def find_teachers(nlp: Language, components: Sequence[str] | None = None) -> list[str]:
    """The names of what the components teach, in the order of the pipeline: of those named, or of
    all that can teach.

    Mostly that is a component's own name. One that teaches several things has further names, which
    can be given as well. Raises ValueError if one that is named is not in the pipeline
    or cannot teach, if none can, and if two teach by the same name.
    """
    return survey(nlp).offer.choose(components)


def fingerprint(nlp: Language) -> TeacherInfo:
    """Who a teacher is: name, version, and a hash over all files of its folder, and over beams
    that are not those of the folder.

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
        digest.update(_other_beams(nlp, Path(nlp.path)))
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


def _other_beams(nlp: Language, folder: Path) -> bytes:
    """The beams of a pipeline that have been set since it was loaded."""
    found = []
    for name, component in beams_of(nlp).items():
        saved = folder / name / "cfg"
        of_folder = srsly.read_json(saved) if saved.is_file() else {}
        now = [component.cfg.get(setting) for setting in ("beam_width", "beam_density")]
        if now != [of_folder.get(setting) for setting in ("beam_width", "beam_density")]:
            found.append(f"{name} {now}")
    return "\n".join(found).encode("utf8")


@dataclass(frozen=True)
class _Entry(Generic[PlaceT]):
    """What travels with a document through the pipeline."""

    place: PlaceT
    n_tokens: int
    scores: dict[str, np.ndarray]


class TeacherReader:
    """Reads targets from a pipeline, batch by batch.

    targets: names of what they teach (`find_teachers`).
    teachers: the records of these, known once a batch has been read.
    survey: what is read of each component, and why the others teach nothing.
    dropped: of those whose targets are less than they know and say how much it is, how much.
    """

    def __init__(self, nlp: Language, targets: Sequence[str], batch_size: int) -> None:
        self.survey = survey(nlp)
        self.teachers: dict[str, Teacher] = {}
        self.dropped: dict[str, Dropped] = {}
        self._nlp = nlp
        self._batch_size = batch_size
        self._targets = tuple(self.survey.offer.choose(targets))
        self._readers = {
            name: reader
            for name, reader in self.survey.readers.items()
            if set(reader.targets) & set(targets)
        }
        names = nlp.pipe_names
        places = [names.index(name) for name in self._readers]
        self._before = names[: min(places)]
        self._rest = names[min(places) : max(places) + 1]

    def describe(self) -> dict[str, Teacher]:
        """The records of all targets, without reading a document."""
        found: dict[str, Teacher] = {}
        for reader in self._readers.values():
            structures = self._wanted(reader.read([], reader.predict([])))
            found |= {name: _describe(structure, name) for name, structure in structures.items()}
        return found

    def read(
        self, docs: Iterable[tuple[Doc, PlaceT]]
    ) -> Iterator[tuple[Doc, PlaceT, dict[str, np.ndarray]]]:
        """Each document with the scores of every target, as in `Target.scores`.

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
        reader = self._readers[name]
        structure: Any = None
        try:
            prediction = reader.predict(docs)
            for target, structure in self._wanted(reader.read(docs, prediction)).items():
                self._keep(target, structure, name, batch)
        except SentenceError as error:
            number = _document_of(error.sentence, structure)
            raise _fault(name, *batch[number], str(error)) from error
        if name != self._rest[-1]:
            reader.annotate(docs, prediction)

    def _wanted(self, structures: Mapping[str, Readable]) -> dict[str, Readable]:
        """Those of the targets that are asked for."""
        return {name: found for name, found in structures.items() if name in self._targets}

    def _keep(
        self, target: str, structure: Readable, name: str, batch: list[tuple[Doc, _Entry]]
    ) -> None:
        """Store what a target is of the documents of a batch."""
        if target not in self.teachers:
            self.teachers[target] = _describe(structure, target)
        stored, dropped = kept_scores(structure)
        if dropped is not None:
            self.dropped.setdefault(target, Dropped()).add(dropped)
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
            entry.scores[target] = scores


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


def _describe(structure: Readable, name: str) -> Teacher:
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
