"""Files of named arrays: written at once or not at all, always the same bytes, read by memory map.

The format is numpy's own `.npz` without compression, so `numpy.load` opens them too.
"""

import hashlib
import os
import struct
import zipfile
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np

TEMPORARY_SUFFIX = ".tmp"
LOCAL_HEADER = 30  # bytes of a zip member's header before its name; the last four are two sizes
# What zipfile and numpy raise for files that are not what they should be.
FAULTS = (
    OSError,
    zipfile.BadZipFile,
    EOFError,
    RuntimeError,
    KeyError,
    TypeError,
    ValueError,
    struct.error,
)


def write_file(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Replace a file by what `write` puts into it; if interrupted, the old one stays."""
    temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
    with temporary.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays under their names. The same arrays give the same bytes."""

    def write(file: BinaryIO) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, array in sorted(arrays.items()):
                member = zipfile.ZipInfo(f"{name}.npy")  # dated 1980, always
                member.create_system = 3
                content = BytesIO()
                contiguous = np.ascontiguousarray(array)
                np.lib.format.write_array(content, contiguous, allow_pickle=False)
                archive.writestr(member, content.getbuffer())

    write_file(path, write)


def map_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file as read-only views of one memory map of it.

    Raises ValueError if it is not an uncompressed file of arrays.
    """
    arrays = {}
    try:
        whole = np.asarray(np.memmap(path, dtype=np.uint8, mode="r"))
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.compress_type != zipfile.ZIP_STORED:
                    raise ValueError(f"{member.filename} is compressed")
                with archive.open(member) as stream:
                    np.lib.format.read_magic(stream)
                    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
                    start = _data_start(whole, member) + stream.tell()
                n_bytes = dtype.itemsize * int(np.prod(shape))
                data = whole[start : start + n_bytes].view(dtype).reshape(shape)
                arrays[member.filename.removesuffix(".npy")] = data
    except FAULTS as error:
        raise ValueError(f"{path} is not a file of arrays: {error}") from error
    return arrays


def read_array(path: Path, name: str) -> np.ndarray:
    """One array of a file in memory, checked against the sum that the file has of it.

    Raises ValueError if it is not there or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return arrays[name]
    except FAULTS as error:
        raise ValueError(f"{path} has no intact array {name!r}: {error}") from error


def _data_start(whole: np.ndarray, member: zipfile.ZipInfo) -> int:
    """Where an uncompressed member's bytes begin."""
    sizes = whole[member.header_offset + LOCAL_HEADER - 4 : member.header_offset + LOCAL_HEADER]
    name_size, extra_size = struct.unpack("<HH", sizes.tobytes())
    return member.header_offset + LOCAL_HEADER + name_size + extra_size


def checksum(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
