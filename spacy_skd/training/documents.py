"""Reading documents from files: `.spacy`, `.txt` (one text a line), `.jsonl` with "text", folders.

Documents are read one after another; at most one `.spacy` file is in memory at a time. To read
several files at once, see `side_by_side`.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc, DocBin
from spacy.vocab import Vocab

from ..distill.copies import plain_copy, words_and_spaces

SUFFIXES = (".spacy", ".txt", ".jsonl")


@dataclass(frozen=True)
class Source:
    """A document of a file: either its text, or its words and whether a space follows each.

    number: line or document number in the file, from 1.
    progress: the part of all input, from 0 to 1, that has been read with this document.
    sent_starts: whether each word begins a sentence, as far as that is annotated.
    attribute: what the document says of the attribute that was asked for (`read_sources`), if
        anything.
    """

    path: Path
    number: int
    progress: float
    text: str = ""
    words: list[str] | None = None
    spaces: list[bool] | None = None
    sent_starts: list[bool | None] | None = None
    attribute: str | None = None

    def __str__(self) -> str:
        unit = "line" if self.words is None else "document"
        return f"{self.path}, {unit} {self.number}"

    @property
    def content(self) -> str:
        """The text, of words too."""
        if self.words is None:
            return self.text
        spaces = self.spaces or [False] * len(self.words)
        return "".join(word + " " * space for word, space in zip(self.words, spaces))

    def make_doc(
        self, nlp: Language, *, with_sentences: bool = False, tokenizer: Language | None = None
    ) -> Doc:
        """The document without any annotation; texts are tokenised by the pipeline.

        with_sentences: keep the boundaries of sentences, if it has any.
        tokenizer: another pipeline that tokenises texts.

        Raises ValueError, naming file and line, for a text that is too long for spaCy.
        """
        if self.words is not None:
            starts: Any = self.sent_starts if with_sentences else None
            return Doc(nlp.vocab, words=self.words, spaces=self.spaces, sent_starts=starts)
        if len(self.text) > nlp.max_length:
            raise ValueError(
                f"{self}, has {len(self.text):,} characters, more than the {nlp.max_length:,} that "
                "spaCy takes at once (nlp.max_length). Divide the text into several."
            )
        if tokenizer is None:
            return nlp.make_doc(self.text)
        return plain_copy(tokenizer.make_doc(self.text), nlp.vocab)


def find_files(paths: Iterable[Path | str], suffixes: Sequence[str] = SUFFIXES) -> list[Path]:
    """The files to read: those given, and in folders all with a known suffix, sorted.

    Raises FileNotFoundError for what does not exist and for a folder without such files, and
    ValueError for a file of another kind.
    """
    files: list[Path] = []
    known = ", ".join(suffixes)
    for path in map(Path, paths):
        if path.is_dir():
            found = sorted(f for f in path.rglob("*") if f.suffix in suffixes and f.is_file())
            if not found:
                raise FileNotFoundError(f"The folder {path} holds no documents ({known}).")
            files.extend(found)
        elif not path.exists():
            raise FileNotFoundError(f"There is no file or folder {path}.")
        elif path.suffix not in suffixes:
            raise ValueError(f"Documents cannot be read from {path}: known are {known}.")
        else:
            files.append(path)
    return files


def read_sources(files: Sequence[Path], attribute: str | None = None) -> Iterator[Source]:
    """The documents of files in order, without annotation but the boundaries of sentences; those
    without any text are left out.

    attribute: name of what the documents are asked for: of JSON a key, or a key of its "meta"; of
        `.spacy` files a key of `doc.user_data` or an extension `doc._`.

    Raises ValueError, naming file and line, for what cannot be read.
    """
    for path, start, share in _shares(files):
        if path.suffix == ".spacy":
            for number, done, doc in _read_docbin(path, Vocab(), start, share):
                words, spaces = words_and_spaces(doc)
                yield Source(
                    path,
                    number,
                    done,
                    words=words,
                    spaces=spaces,
                    sent_starts=_sent_starts(doc),
                    attribute=_attribute_of_doc(doc, attribute),
                )
        else:
            for number, done, line in _read_lines(path, start, share):
                record = _record_of(path, number, line) if path.suffix == ".jsonl" else line
                text = record if isinstance(record, str) else record["text"]
                if text:
                    said = _attribute_of_record(record, attribute)
                    yield Source(path, number, done, text, attribute=said)


def read_annotated(files: Sequence[Path], vocab: Vocab) -> Iterator[tuple[Source, Doc]]:
    """The documents of `.spacy` files with their annotation; those of zero tokens are left out."""
    for path, start, share in _shares(files):
        for number, done, doc in _read_docbin(path, vocab, start, share):
            yield Source(path, number, done, words=[]), doc


def _sent_starts(doc: Doc) -> list[bool | None] | None:
    """Which tokens begin sentences; None where that is not annotated."""
    if not doc.has_annotation("SENT_START"):
        return None
    return [token.is_sent_start for token in doc]


def _shares(files: Sequence[Path]) -> Iterator[tuple[Path, float, float]]:
    """Each file with the part of all bytes before it, and its own part."""
    sizes = [path.stat().st_size for path in files]
    total = sum(sizes) or 1
    done = 0
    for path, size in zip(files, sizes):
        yield path, done / total, size / total
        done += size


def _read_docbin(
    path: Path, vocab: Vocab, start: float, share: float
) -> Iterator[tuple[int, float, Doc]]:
    try:
        docs = DocBin().from_disk(path)
    except Exception as error:  # whatever zlib, msgpack or the layout of old versions raise
        raise ValueError(f"{path} cannot be read as a .spacy file: {error!r}") from error
    for number, doc in enumerate(docs.get_docs(vocab), start=1):
        if len(doc):
            yield number, start + share * number / len(docs), doc


def _read_lines(path: Path, start: float, share: float) -> Iterator[tuple[int, float, str]]:
    """The lines of a text file without their ends."""
    size = path.stat().st_size or 1
    position = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            position += len(line)
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise ValueError(f"{path}, line {number}, is not UTF-8: {error}") from error
            yield number, start + share * position / size, text.rstrip("\r\n")


def _attribute_of_doc(doc: Doc, name: str | None) -> str | None:
    """What a document says of an attribute: in doc.user_data, or as an extension that it was saved
    with."""
    data: dict[Any, Any] = doc.user_data
    value = None if name is None else data.get(name, data.get(("._.", name, None, None)))
    return None if value is None else str(value)


def _attribute_of_record(record: Any, name: str | None) -> str | None:
    """What a line says of an attribute, itself or in its "meta"; plain text says nothing."""
    if name is None or not isinstance(record, dict):
        return None
    meta = record.get("meta")
    value = record.get(name, meta.get(name) if isinstance(meta, dict) else None)
    return None if value is None else str(value)


def _record_of(path: Path, number: int, line: str) -> Any:
    """A line of JSON, an object with a "text"; of empty lines an empty text."""
    if not line.strip():
        return ""
    try:
        record = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{path}, line {number}, is not JSON: {error}") from error
    text = record.get("text") if isinstance(record, dict) else None
    if not isinstance(text, str):
        raise ValueError(f'{path}, line {number}, has no "text".')
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:  # JSON can write half a character: "\ud800"
        raise ValueError(f'{path}, line {number}, has a broken "text": {error}') from error
    return record
