"""Which of several teachers reads a document: the one of its language, or of another attribute."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..distill.keys import KeySet, stack_keys, text_key
from .documents import Source, find_files, read_sources

SEPARATORS = re.compile(r"[_.-]")


class Counts(NamedTuple):
    """What teachers are to read.

    of_teachers: how many documents each is to read, and under None how many are left out.
    n_shared: how many documents have the text of one that another teacher reads. shared: the first
        of these.
    """

    of_teachers: Counter[str | None]
    n_shared: int
    shared: Source | None


class Routes:
    """Divides documents among teachers.

    teachers: their names, values of an attribute of documents.
    paths: files and folders of documents.
    by: name of the attribute. A document that does not say it is of the teacher whose name is its
        file's, without ending, or a part of that between "_", "-" and ".", or else a folder's: of
        those within a path that was given, or the one that holds a file that was given.
    skip_unknown: leave out documents of no teacher, instead of raising ValueError.

    Raises FileNotFoundError or ValueError for what are no documents.
    """

    def __init__(
        self,
        teachers: Collection[str],
        paths: Sequence[Path | str],
        by: str = "lang",
        *,
        skip_unknown: bool = False,
    ) -> None:
        self.teachers = list(teachers)
        self.by = by
        self.skip_unknown = skip_unknown
        self.files = find_files(paths)
        self._by_file = {
            file: self._named_by(file, path)
            for path in map(Path, reversed(paths))
            for file in find_files([path])
        }

    def teacher_of(self, source: Source) -> str | None:
        """The teacher of a document, None if it is left out.

        Raises ValueError, naming it, for a document of no teacher.
        """
        said = source.attribute
        name = self._by_file[source.path] if said is None else said
        if name in self.teachers:
            return name
        if self.skip_unknown:
            return None
        known = ", ".join(self.teachers)
        if said is None:
            raise ValueError(
                f"{source}, does not say which teacher is to read it: it has no '{self.by}', and "
                f"neither its file nor a folder has the name of one teacher (there are {known}). "
                "Name them so, or leave such documents out with --skip-unknown."
            )
        raise ValueError(
            f"{source}, has the {self.by} '{said}', and no teacher has that name (there are "
            f"{known}). Give it one (--teacher {said}=PATH), or leave such documents out with "
            "--skip-unknown."
        )

    def count(self) -> Counts:
        """Count the documents, before a teacher is loaded.

        Raises ValueError as `teacher_of`, and for a teacher that none is for.
        """
        found: Counter[str | None] = Counter()
        texts = {teacher: KeySet(stack_keys([])) for teacher in self.teachers}
        n_shared, shared = 0, None
        for source in read_sources(self.files, self.by):
            teacher = self.teacher_of(source)
            found[teacher] += 1
            if teacher is None:
                continue
            key = text_key(source.content)
            if any(key in of_other for name, of_other in texts.items() if name != teacher):
                n_shared, shared = n_shared + 1, shared or source
            if key not in texts[teacher]:
                texts[teacher].add(key)
        idle = [teacher for teacher in self.teachers if teacher not in found]
        if idle:
            raise ValueError(
                f"No document is for the teacher {', '.join(idle)}: none has the {self.by} "
                f"'{idle[0]}', or is in a file or folder of that name."
            )
        return Counts(found, n_shared, shared)

    def _named_by(self, file: Path, path: Path) -> str | None:
        """The teacher that a file of a path is named after, if it is one."""
        for names in _names(file, path):
            known = names.intersection(self.teachers)
            if known:
                return known.pop() if len(known) == 1 else None
        return None


@dataclass(frozen=True)
class Share:
    """The documents of one teacher."""

    routes: Routes
    teacher: str

    def read(self) -> Iterator[Source]:
        """The documents, in the order of their files."""
        for source in read_sources(self.routes.files, self.routes.by):
            if self.routes.teacher_of(source) == self.teacher:
                yield source


def _names(file: Path, path: Path) -> Iterator[set[str]]:
    """What a file of a path may be named after, from the nearest on."""
    yield {file.stem}
    yield set(SEPARATORS.split(file.stem))
    folder = file.parent
    yield {folder.name}
    while file != path and folder not in (path, folder.parent):
        folder = folder.parent
        yield {folder.name}
