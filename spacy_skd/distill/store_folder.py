"""The folder of a store of targets: what may be in it, and when it may be gone on with."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from .lock import LOCK
from .manifest import MANIFEST, TABLES, Manifest, TeacherInfo
from .shards import TEMPORARY_SUFFIX


def read_manifest(
    path: Path, new: Manifest, components: Sequence[str], *, replace: bool
) -> Manifest:
    """The manifest to go on with: that of the store, or the new one if there is no store or if it
    is to be replaced. Raises ValueError for a store that does not fit."""
    if not (path / MANIFEST).exists():
        return new
    try:
        manifest = Manifest.read(path)
    except ValueError:
        if not replace:
            raise
        _check_content(path)
        _clear(path)
        return new
    same_components = set(manifest.teachers) == set(components)
    if replace and (manifest.teacher != new.teacher or not same_components):
        _clear(path)
        return new
    if manifest.teacher != new.teacher:
        raise ValueError(
            f"The store {path} holds targets of the teacher {manifest.teacher}, but "
            f"the teacher is now {new.teacher}. Give another folder, or --force to make it again."
        )
    if not same_components:
        raise ValueError(
            f"The store {path} holds targets of {listed(manifest.teachers)}, "
            f"but those of {listed(components)} are to be written. Give another folder, or "
            "the same components, or --force to make it again."
        )
    return manifest


def check_store(
    path: Path, teacher: TeacherInfo, components: Sequence[str], *, replace: bool
) -> None:
    """Raise ValueError for a folder in which `read_manifest` would not let a store of this teacher
    be written; nothing is changed."""
    check_folder(path)
    if not replace:
        new = Manifest(teacher, shard_size=0, batch_size=0)
        read_manifest(path, new, components, replace=False)


def check_folder(path: Path) -> None:
    """Raise ValueError if there is something at the path that is not a store."""
    if path.is_file():
        raise ValueError(f"The store has to be a folder, but {path} is a file.")
    if path.is_dir() and not (path / MANIFEST).exists():
        _check_content(path)


def _check_content(path: Path) -> None:
    """Raise ValueError if a folder holds other files than those of a store."""
    for entry in sorted(path.iterdir()):
        name = entry.name.removesuffix(TEMPORARY_SUFFIX)
        if name not in (MANIFEST, TABLES, LOCK) and not entry.match("shard-*"):
            raise ValueError(
                f"The folder {path} exists and is not a store of targets: it holds {entry.name}. "
                "Give a new folder, or that of a store to go on with."
            )


def _clear(path: Path) -> None:
    """Delete the files of a store."""
    for file in (path / MANIFEST, path / TABLES, *path.glob("shard-*.npz")):
        file.unlink(missing_ok=True)


def listed(names: Sequence[str] | Mapping[str, object]) -> str:
    return ", ".join(f"'{name}'" for name in names)
