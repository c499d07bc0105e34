"""The lock of a store's writer: one process at a time, given back by the system when that ends."""

import errno
import os
import socket
import sys
import warnings
from pathlib import Path
from typing import BinaryIO

LOCK = ".lock"  # name of the lock file, which is in the folder only while it is locked
HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)

if sys.platform == "win32":
    import msvcrt

    def _lock(file: BinaryIO) -> None:
        file.seek(1 << 20)  # far behind the holder's name: what is locked cannot be read
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


class WriterLock:
    """Keeps other writers out of a store, from construction to `release`.

    The lock is the operating system's, on a file that says who holds it. A process that dies, in
    whatever way, holds it no longer; the file that it leaves behind is taken over by the next.

    Raises BlockingIOError, naming store and holder, if another writer has the lock. Where the file
    system has no locks, a warning says so and the store is not protected.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK
        self._file = self._acquire()
        self._file.truncate(0)
        self._file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())

    def release(self) -> None:
        """Let others write; does nothing if that has been done."""
        if self._file.closed:
            return
        ours = self._is_there(self._file)
        if sys.platform == "win32":  # there, files that are open cannot be removed
            self._file.close()
        try:
            if ours:
                self._path.unlink(missing_ok=True)
        except PermissionError:  # the next writer has opened it already
            pass
        finally:
            self._file.close()

    def _acquire(self) -> BinaryIO:
        while True:
            file = self._path.open("a+b", buffering=0)
            try:
                _lock(file)
            except OSError as error:
                if error.errno in HELD:
                    file.close()
                    raise BlockingIOError(self._explain()) from error
                warnings.warn(
                    f"The file system of {self._path.parent} has no locks ({error}). See to it "
                    "that no other run writes this store.",
                    stacklevel=2,
                )
            if self._is_there(file):
                return file
            file.close()

    def _is_there(self, file: BinaryIO) -> bool:
        """Whether this is still the folder's lock file, and not one that has been removed."""
        try:
            return os.path.samestat(os.fstat(file.fileno()), self._path.stat())
        except FileNotFoundError:
            return False

    def _explain(self) -> str:
        try:
            holder = self._path.read_text(encoding="utf8")
        except (OSError, ValueError):
            holder = ""
        return (
            f"The store {self._path.parent} is being written by another run "
            f"({holder or 'process unknown'}). Wait until it has ended and run the command again, "
            "or give another folder."
        )
