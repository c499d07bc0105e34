"""The store of a teacher's targets: a folder of shards that grows, resumes and is read at random.

A store belongs to one teacher. Documents are recognised by their content, so any corpus that has
the same words and spaces finds its targets, in whatever order. What `StoreWriter` has written
is the same to the byte whether it was written in one run or in many.
"""

from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np
from spacy.tokens import Doc

from .keys import (
    KEY_SIZE,
    DocumentKeys,
    KeyIndex,
    KeySet,
    document_keys,
    stack_keys,
    text_key,
    token_key,
)
from .lock import WriterLock
from .manifest import HEAL, SHARD, TABLES, Manifest, Shard, TeacherInfo
from .shards import TEMPORARY_SUFFIX, checksum, map_arrays, read_array, write_arrays
from .store_folder import check_folder, listed, read_manifest
from .targets import Dropped, Target, Teacher

SHARD_SIZE = 4096  # documents a shard, unless told
BATCH_SIZE = 128  # documents that the teacher reads at once, unless told
MEAN_TOKENS = 256  # a shard also ends when it has this many tokens for each of its documents
MAX_OPEN = 64  # shards that are memory-mapped at a time

Scores = Mapping[str, np.ndarray]
"""A document's scores from each component, as in `Target.scores`."""


class Row(NamedTuple):
    """One document of a shard."""

    keys: DocumentKeys
    scores: Scores
    n_tokens: int


class StoreWriter:
    """Writes targets, shard by shard. A shard's documents are the next new ones of the input.

    The caller claims documents until the shard is `full` or the input ends, adds their scores in
    the same order, and calls `end_shard`. A store has one writer at a time: from `open` to `close`,
    or to the end of a `with` block, others are refused.

    damaged: files that were missing or damaged. Shards are written again if their documents come,
        the tables by `describe`.
    n_documents, n_tokens: what has been added so far by this writer.
    dropped: what of it was not kept, by component, where that is known (for whoever reports it).
    """

    def __init__(self, path: Path, manifest: Manifest, lock: WriterLock) -> None:
        self.path = path
        self.manifest = manifest
        self._lock = lock
        self.damaged: list[str] = []
        self.n_documents = self.n_tokens = 0
        self.dropped: dict[str, Dropped] = {}
        try:
            manifest.read_tables(path)
        except ValueError:
            self.damaged.append(TABLES)
        for shard in list(manifest.shards):
            if shard.fault(path, content=True):
                self.damaged.append(shard.file)
                manifest.shards.remove(shard)
        keys = [read_array(path / shard.file, "token_keys") for shard in manifest.shards]
        self._known = KeySet(np.concatenate([np.empty((0, KEY_SIZE), np.uint8), *keys]))
        self._begin_shard()

    @classmethod
    def open(
        cls,
        path: Path | str,
        teacher: TeacherInfo,
        components: Sequence[str],
        *,
        shard_size: int = SHARD_SIZE,
        batch_size: int = BATCH_SIZE,
        replace: bool = False,
    ) -> "StoreWriter":
        """Begin a store, or go on with one of the same teacher.

        shard_size, batch_size: used for a new store; one that exists keeps its own.
        replace: delete a store of another teacher, of other components, of another format or with
            a damaged manifest, and begin anew.

        Raises ValueError if there is such a store that is not to be replaced, or if the folder
        holds something else, and BlockingIOError if another writer is at work on it.
        """
        path = Path(path)
        check_folder(path)
        path.mkdir(parents=True, exist_ok=True)
        lock = WriterLock(path)
        try:
            for stale in path.glob(f"*{TEMPORARY_SUFFIX}"):
                stale.unlink()
            new = Manifest(teacher, shard_size, batch_size)
            manifest = read_manifest(path, new, components, replace=replace)
            return cls(path, manifest, lock)
        except BaseException:
            lock.release()
            raise

    def close(self) -> None:
        """Let others write; what has been added since the last `end_shard` is not kept."""
        self._lock.release()

    def __enter__(self) -> "StoreWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def describe(self, teachers: Mapping[str, Teacher]) -> None:
        """Set the records of the teacher's components; needed before the first shard ends.

        Raises ValueError if the store holds other labels.
        """
        for name, teacher in self.manifest.teachers.items():
            now = teachers[name]
            if (teacher.kind, teacher.labels) != (now.kind, now.labels):
                raise ValueError(
                    f"The store {self.path} holds {teacher.kind} targets of '{name}' with the "
                    f"labels {listed(teacher.labels)}, but the teacher now gives {now.kind} "
                    f"targets with the labels {listed(now.labels)}. Give another folder."
                )
        self.manifest.teachers = dict(teachers)
        self.manifest.write_tables(self.path)

    @property
    def full(self) -> bool:
        """Whether the documents claimed so far fill the shard."""
        return _is_full(self._claimed, self._claimed_tokens, self.manifest.shard_size)

    def claim(self, doc: Doc) -> DocumentKeys | None:
        """The keys under which a document's scores have to be added; None if they are there."""
        keys = document_keys(doc)
        if self._tail and self._tail[0].keys.tokens == keys.tokens:
            self._tail.popleft()
        elif keys.tokens in self._known:
            return None
        else:
            self._keep_tail()
            self._known.add(keys.tokens)
            self._fresh = True
            self.n_documents += 1
            self.n_tokens += len(doc)
        self._claimed += 1
        self._claimed_tokens += len(doc)
        return keys

    def add(self, keys: DocumentKeys, scores: Scores, n_tokens: int) -> None:
        """Add a claimed document's scores."""
        self._rows.append(Row(keys, scores, n_tokens))

    def end_shard(self) -> None:
        """Write the shard if it has new documents, and begin the next."""
        if self._fresh:
            self._keep_tail()
            self._write_shard()
        self._begin_shard()

    def _begin_shard(self) -> None:
        """Take the first free number; the last shard, if it has room, is gone on with.

        The batch that ended that shard was cut short by the end of its input. Its documents are
        put aside as `_tail`: if they come first now, they are annotated again together with what
        follows them, as they would have been in one run; if not, they stay as they are.
        """
        self._rows: list[Row] = []
        self._tail: deque[Row] = deque()
        self._claimed = self._claimed_tokens = 0
        self._fresh = False
        shards = {shard.number: shard for shard in self.manifest.shards}
        last = shards.get(max(shards, default=0))
        if last and not _is_full(last.documents, last.tokens, self.manifest.shard_size):
            del shards[last.number]
        self._number = min(set(range(len(shards) + 1)) - set(shards))
        if last and self._number == last.number:
            rows = self._read_rows(last)
            complete = len(rows) - len(rows) % self.manifest.batch_size
            self._tail.extend(rows[complete:])
            self._carry(rows[:complete])

    def _keep_tail(self) -> None:
        self._carry(self._tail)
        self._tail.clear()

    def _carry(self, rows: Sequence[Row] | deque[Row]) -> None:
        """Take over documents as they are."""
        self._rows.extend(rows)
        self._claimed += len(rows)
        self._claimed_tokens += sum(row.n_tokens for row in rows)

    def _read_rows(self, shard: Shard) -> list[Row]:
        """All documents of a shard, in memory."""
        arrays = {name: array.copy() for name, array in map_arrays(self.path / shard.file).items()}
        offsets = arrays["offsets"].tolist()
        return [
            Row(
                DocumentKeys(text.tobytes(), tokens.tobytes()),
                {name: _scores_at(arrays, name, row) for name in self.manifest.teachers},
                offsets[row + 1] - offsets[row],
            )
            for row, (text, tokens) in enumerate(zip(arrays["text_keys"], arrays["token_keys"]))
        ]

    def _write_shard(self) -> None:
        path = self.path / SHARD.format(self._number)
        lengths = [row.n_tokens for row in self._rows]
        arrays = {
            "text_keys": stack_keys([row.keys.text for row in self._rows]),
            "token_keys": stack_keys([row.keys.tokens for row in self._rows]),
            "offsets": _offsets(lengths),
        }
        for name, teacher in self.manifest.teachers.items():
            scores = [row.scores[name] for row in self._rows]
            dtype = teacher.record or np.dtype("<f2")
            arrays[f"scores/{name}"] = np.concatenate(scores).astype(dtype, copy=False)
            if teacher.record is not None:
                arrays[f"offsets/{name}"] = _offsets(list(map(len, scores)))
        write_arrays(path, arrays)
        written = Shard(path.name, len(lengths), sum(lengths), path.stat().st_size, checksum(path))
        others = [shard for shard in self.manifest.shards if shard.file != written.file]
        self.manifest.shards = [*others, written]
        self.manifest.write(self.path)


class TargetStore:
    """Reads the targets of documents from a store; memory grows by 24 bytes a document.

    teacher: whose targets they are.
    teachers: the record of each of its components.

    Raises FileNotFoundError or ValueError, saying which file is at fault and what to do, if the
    folder is not a store, or is one of another format, or if a file is missing or damaged. Sizes
    are checked at once, the content of a shard when it is first read.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        manifest = Manifest.read(self.path)
        self.teacher = manifest.teacher
        self._shards = sorted(manifest.shards, key=lambda shard: shard.number)
        for shard in self._shards:
            self._check(shard, content=False)
        self.teachers = manifest.read_tables(self.path)
        self._verified: set[str] = set()
        self._open: OrderedDict[int, dict[str, np.ndarray]] = OrderedDict()
        self._firsts = list(accumulate((shard.documents for shard in self._shards), initial=0))
        self._index = self._read_index("token_keys")
        self._texts: KeyIndex | None = None

    def __len__(self) -> int:
        """Number of documents."""
        return self._firsts[-1]

    @property
    def n_tokens(self) -> int:
        """Number of tokens."""
        return sum(shard.tokens for shard in self._shards)

    def get(self, doc: Doc) -> dict[str, Target] | None:
        """The targets of a document from each component, or None if it is not in the store.

        `has_text` then tells whether the same text is there with other tokens.
        """
        place = self._index.find(token_key(doc))
        if place is None:
            return None
        number = bisect_right(self._firsts, place) - 1
        arrays = self._arrays(number)
        row = place - self._firsts[number]
        return {
            name: Target(teacher, _scores_at(arrays, name, row).copy(), len(doc))
            for name, teacher in self.teachers.items()
        }

    def has_text(self, doc: Doc) -> bool:
        """Whether a document of the same text is in the store, tokenised in whatever way."""
        if self._texts is None:
            self._texts = self._read_index("text_keys")
        return self._texts.find(text_key(doc)) is not None

    def _arrays(self, number: int) -> dict[str, np.ndarray]:
        """The arrays of a shard; those read last stay open."""
        if number in self._open:
            self._open.move_to_end(number)
            return self._open[number]
        self._verify(self._shards[number])
        arrays = self._open[number] = map_arrays(self.path / self._shards[number].file)
        if len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)
        return arrays

    def _read_index(self, name: str) -> KeyIndex:
        keys = [self._read_keys(shard, name) for shard in self._shards]
        return KeyIndex(np.concatenate([np.empty((0, KEY_SIZE), np.uint8), *keys]))

    def _read_keys(self, shard: Shard, name: str) -> np.ndarray:
        try:
            return read_array(self.path / shard.file, name)
        except ValueError as error:
            raise ValueError(f"The file {self.path / shard.file} is damaged. {HEAL}") from error

    def _verify(self, shard: Shard) -> None:
        if shard.file not in self._verified:
            self._check(shard, content=True)
            self._verified.add(shard.file)

    def _check(self, shard: Shard, *, content: bool) -> None:
        fault = shard.fault(self.path, content=content)
        if fault:
            kind = ValueError if (self.path / shard.file).exists() else FileNotFoundError
            raise kind(f"{fault} {HEAL}")


def _is_full(documents: int, tokens: int, shard_size: int) -> bool:
    return documents >= shard_size or tokens >= shard_size * MEAN_TOKENS


def _offsets(lengths: Sequence[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype("<i8")


def _scores_at(arrays: Mapping[str, np.ndarray], name: str, row: int) -> np.ndarray:
    """A component's scores for a document of a shard; a row a token, unless they have offsets."""
    offsets = arrays.get(f"offsets/{name}", arrays["offsets"])
    start, end = offsets[row : row + 2].tolist()
    return arrays[f"scores/{name}"][start:end]
