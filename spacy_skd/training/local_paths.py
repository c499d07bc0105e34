"""Settings that are paths of the machine on which a pipeline is trained."""

from collections.abc import Iterator
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any


def absolute_paths(config: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str, str]]:
    """The settings that are absolute paths, or lists with one: (block, key, dotted place)."""
    pending = list(config.items())
    while pending:
        place, block = pending.pop()
        for key, value in block.items():
            if isinstance(value, dict):
                pending.append((f"{place}.{key}", value))
            elif any(_as_absolute(v) for v in (value if isinstance(value, list) else [value])):
                yield block, key, f"{place}.{key}"


def without_folder(name: str) -> str:
    """The last part of an absolute path; any other name as it is."""
    path = _as_absolute(name)
    return name if path is None else path.name


def _as_absolute(value: Any) -> PurePath | None:
    """A setting as an absolute path, of any system and below the root, if it is one."""
    if not isinstance(value, str) or "\n" in value:
        return None
    value = value.removeprefix("file://")
    for path in (PurePosixPath(value), PureWindowsPath(value)):
        if (path.is_absolute() or path.parts[:1] == ("~",)) and len(path.parts) > 1:
            return path
    return None
