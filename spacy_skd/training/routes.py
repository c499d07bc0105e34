"""Which of several teachers reads a document: the one of its language, or of another attribute."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from ..distill.keys import KeySet, stack_keys, text_key
from .documents import Source, find_files, read_sources

SEPARATORS = re.compile(r"[_.-]")


class Shared(str, Enum):
    """Who reads a text that is in the documents of several teachers."""

    both = "both"
    """All of them."""
    first = "first"
    """The one whose document comes first."""
    skip = "skip"
    """None."""


class Counts(NamedTuple):
    """What teachers are to read.

    of_teachers: how many documents each is to read, and under None how many are of no teacher.
    n_shared: how many documents have the text of an earlier one that is of another teacher. shared:
        the first of these.
    owners: by their texts' keys, the teacher of the first.
    """

    of_teachers: Counter[str | None]
    n_shared: int
    shared: Source | None
    owners: dict[bytes, str]


class Routes:
    """Divides documents among teachers.

    teachers: their names, values of an attribute of documents.
    paths: files and folders of documents.
    by: name of the attribute. A document that does not say it is of the teacher whose name is its
        file's, without ending, or a part of that between "_", "-" and ".", or else a folder's: of
        those within a path that was given, or the one that holds a file that was given.
    skip_unknown: leave out documents of no teacher, instead of raising ValueError.
    shared: who reads a text that is in the documents of several teachers.

    Raises FileNotFoundError or ValueError for what are no documents.
    """

    def __init__(
        self,
        teachers: Collection[str],
        paths: Sequence[Path | str],
        by: str = "lang",
        *,
        skip_unknown: bool = False,
        shared: Shared = Shared.both,
    ) -> None:
        self.teachers = list(teachers)
        self.by = by
        self.skip_unknown = skip_unknown
        self.shared = shared
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

    @cached_property
    def counts(self) -> Counts:
        """What each teacher is to read, known before one is loaded.

        Raises ValueError as `teacher_of`, and for a teacher that none is for.
        """
        found: Counter[str | None] = Counter()
        texts = {teacher: KeySet(stack_keys([])) for teacher in self.teachers}
        n_shared, shared = 0, None
        owners: dict[bytes, str] = {}
        for source in read_sources(self.files, self.by):
            teacher = self.teacher_of(source)
            if teacher is None:
                found[None] += 1
                continue
            key = text_key(source.content)
            if key not in owners:
                others = [name for name, of_one in texts.items() if name != teacher]
                first = next((name for name in others if key in texts[name]), None)
                if first is not None:
                    owners[key] = first
                    found[first] -= self.shared == Shared.skip
                elif key not in texts[teacher]:
                    texts[teacher].add(key)
            if owners.get(key, teacher) != teacher:
                n_shared, shared = n_shared + 1, shared or source
            found[teacher] += self._is_read(owners.get(key), teacher)
        idle = [teacher for teacher in self.teachers if not found[teacher]]
        if idle:
            raise ValueError(
                f"No document is for the teacher {', '.join(idle)}: none has the {self.by} "
                f"'{idle[0]}', or is in a file or folder of that name"
                + (", or the texts of all are another teacher's, too." if n_shared else ".")
            )
        return Counts(found, n_shared, shared, owners)

    def reads(self, teacher: str, source: Source) -> bool:
        """Whether a teacher reads a document."""
        if self.teacher_of(source) != teacher:
            return False
        owners = self.counts.owners
        return self._is_read(owners.get(text_key(source.content)) if owners else None, teacher)

    def _is_read(self, owner: str | None, teacher: str) -> bool:
        """Whether a teacher reads a text of its own, of which it may not be the first owner."""
        if owner is None or self.shared == Shared.both:
            return True
        return self.shared == Shared.first and owner == teacher

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
            if self.routes.reads(self.teacher, source):
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
