"""The manifest of a store of targets: whose targets they are and in which files they lie."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from .shards import checksum, read_array, write_arrays, write_file
from .targets import Teacher

FORMAT = 1
MANIFEST = "manifest.json"
TABLES = "teacher.npz"
SHARD = "shard-{:05d}.npz"
HEAL = "Run the same `spacy skd annotate` command again: it rewrites what is missing or damaged."
REMAKE = "Add --force to the `spacy skd annotate` command to make the store again."


@dataclass(frozen=True)
class TeacherInfo:
    """A teacher pipeline: its name, its version and the hash of its content."""

    name: str
    version: str
    hash: str

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({self.hash[:12]})"


@dataclass(frozen=True)
class Shard:
    """One file of targets."""

    file: str
    documents: int
    tokens: int
    bytes: int
    sha256: str

    @property
    def number(self) -> int:
        return int(re.sub(r"\D", "", self.file))

    def fault(self, folder: Path, *, content: bool) -> str | None:
        """What is wrong with the file, if anything: that it is there, its size and its content."""
        path = folder / self.file
        if not path.is_file():
            return f"The file {path} is missing from its store."
        size = path.stat().st_size
        if size != self.bytes:
            return f"The file {path} has {size} bytes, but was written with {self.bytes}."
        if content and checksum(path) != self.sha256:
            return f"The content of the file {path} is not what was written: it is damaged."
        return None


@dataclass
class Manifest:
    """What `manifest.json` says.

    teacher: whose targets they are.
    shard_size, batch_size: how documents are divided into files, and what the teacher read at once;
        a resumed run has to keep to both to end with the same bytes.
    teachers: the record of each component.
    """

    teacher: TeacherInfo
    shard_size: int
    batch_size: int
    teachers: dict[str, Teacher] = field(default_factory=dict)
    shards: list[Shard] = field(default_factory=list)
    package: str = f"spacy-skd {__version__}"

    def write(self, folder: Path) -> None:
        """Replace the folder's manifest. The same manifest gives the same bytes."""
        content = {
            "format": FORMAT,
            "package": self.package,
            "teacher": asdict(self.teacher),
            "shard_size": self.shard_size,
            "batch_size": self.batch_size,
            "components": {
                name: {"kind": t.kind, "labels": list(t.labels), "tables": sorted(t.tables)}
                for name, t in self.teachers.items()
            },
            "shards": [asdict(shard) for shard in sorted(self.shards, key=lambda s: s.number)],
        }
        text = json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False) + "\n"
        write_file(folder / MANIFEST, lambda file: file.write(text.encode("utf8")))

    def write_tables(self, folder: Path) -> None:
        """Write the arrays that all documents of a component share."""
        tables = {
            f"{name}/{table}": array
            for name, teacher in self.teachers.items()
            for table, array in teacher.tables.items()
        }
        write_arrays(folder / TABLES, tables)

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """The manifest of a store; the tables of its teachers are left out (`read_tables`).

        Raises FileNotFoundError if there is none, ValueError if it is not one that can be read.
        """
        path = folder / MANIFEST
        if not path.is_file():
            raise FileNotFoundError(
                f"{folder} is not a store of targets: it has no {MANIFEST}. "
                "Make one with `python -m spacy skd annotate`."
            )
        try:
            content = json.loads(path.read_text(encoding="utf8"))
            found = content["format"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} is not the manifest of a store of targets, or it is damaged. {REMAKE}"
            ) from error
        if found != FORMAT:
            raise ValueError(
                f"The store {folder} has the format {found}, written by {content.get('package')}; "
                f"this is spacy-skd {__version__}, which reads the format {FORMAT}. Upgrade "
                f"spacy-skd, or make the store again with this version. {REMAKE}"
            )
        try:
            return cls._from_json(content)
        except KeyError as error:
            raise ValueError(f"{path} is damaged: it lacks {error}. {REMAKE}") from error
        except (AttributeError, TypeError) as error:
            raise ValueError(f"{path} is damaged ({error}). {REMAKE}") from error

    @classmethod
    def _from_json(cls, content: Mapping[str, Any]) -> "Manifest":
        return cls(
            teacher=TeacherInfo(**content["teacher"]),
            shard_size=content["shard_size"],
            batch_size=content["batch_size"],
            teachers={
                name: Teacher(
                    name,
                    component["kind"],
                    tuple(component["labels"]),
                    {table: np.empty(0) for table in component["tables"]},
                )
                for name, component in content["components"].items()
            },
            shards=[Shard(**shard) for shard in content["shards"]],
            package=content["package"],
        )

    def read_tables(self, folder: Path) -> dict[str, Teacher]:
        """The records of the teachers with their tables. Raises ValueError if these are damaged."""
        try:
            return {name: self._with_tables(folder, name) for name in self.teachers}
        except (OSError, ValueError) as error:
            raise ValueError(
                f"The file {folder / TABLES} is missing or damaged ({error}). {HEAL}"
            ) from error

    def _with_tables(self, folder: Path, name: str) -> Teacher:
        teacher = self.teachers[name]
        tables = {t: read_array(folder / TABLES, f"{name}/{t}") for t in teacher.tables}
        return replace(teacher, tables=tables)
