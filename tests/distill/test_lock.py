import errno
import os
import re
import socket
import subprocess
import sys

import pytest

from spacy_skd.distill import lock as lock_module
from spacy_skd.distill.lock import WriterLock

HOLDER = """
import sys
from pathlib import Path
from spacy_skd.distill.lock import WriterLock

lock = WriterLock(Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline().strip() == b"locked"
        yield process
        process.kill()


def test_another_process_is_named_and_its_death_frees_the_lock(tmp_path, holder):
    names = re.escape(f"process {holder.pid} on {socket.gethostname()}")
    with pytest.raises(BlockingIOError, match=rf"store {re.escape(str(tmp_path))} .*\({names}\)"):
        WriterLock(tmp_path)
    holder.kill()
    holder.wait()
    assert (tmp_path / ".lock").exists(), "the dead leave their file behind"
    lock = WriterLock(tmp_path)
    assert (tmp_path / ".lock").read_text() == f"process {os.getpid()} on {socket.gethostname()}"
    lock.release()
    assert not list(tmp_path.iterdir())


def test_the_end_of_a_process_frees_the_lock(tmp_path, holder):
    holder.communicate()
    WriterLock(tmp_path).release()


def test_a_lock_can_be_released_twice(tmp_path):
    first = WriterLock(tmp_path)
    first.release()
    second = WriterLock(tmp_path)
    first.release()
    with pytest.raises(BlockingIOError):
        WriterLock(tmp_path)
    second.release()


@pytest.mark.skipif(sys.platform == "win32", reason="open files cannot be removed there")
def test_a_lock_on_a_file_that_was_removed_meanwhile_does_not_count(tmp_path, monkeypatch):
    lock_file = lock_module._lock
    removed = []

    def late(file):
        if not removed:  # its holder ends between our opening the file and our locking it
            removed.append((tmp_path / ".lock").unlink())
        lock_file(file)

    monkeypatch.setattr(lock_module, "_lock", late)
    lock = WriterLock(tmp_path)
    assert (tmp_path / ".lock").exists()
    with pytest.raises(BlockingIOError):
        WriterLock(tmp_path)
    lock.release()


@pytest.mark.skipif(sys.platform == "win32", reason="open files cannot be removed there")
def test_the_lock_of_another_is_not_removed(tmp_path):
    ours = WriterLock(tmp_path)
    (tmp_path / ".lock").unlink()  # the folder was deleted, and a new run begun
    theirs = WriterLock(tmp_path)
    ours.release()
    with pytest.raises(BlockingIOError):
        WriterLock(tmp_path)
    theirs.release()


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def no_locks(file):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock_module, "_lock", no_locks)
    with pytest.warns(UserWarning, match=rf"{tmp_path.name} has no locks .*No locks available"):
        lock = WriterLock(tmp_path)
    lock.release()
    assert not list(tmp_path.iterdir())
