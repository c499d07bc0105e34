"""Writing a teacher's targets for documents into a store, with a bar that says how far it is."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from spacy.language import Language
from spacy.tokens import Doc
from tqdm import tqdm
from wasabi import msg

from ..distill.keys import DocumentKeys
from ..distill.manifest import TABLES
from ..distill.store import BATCH_SIZE, SHARD_SIZE, StoreWriter
from ..distill.teachers import TeacherReader, find_teachers, fingerprint
from ..training.documents import Source, find_files, read_sources
from ..training.routes import Share

BAR = "{percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"  # of the input's bytes
ZONE_DOCUMENTS = 100_000  # documents after which the vocabulary that they brought is forgotten


class _Place(NamedTuple):
    """Where a document comes from and where its targets go."""

    source: Source
    keys: DocumentKeys

    def __str__(self) -> str:
        return str(self.source)


def annotate(
    nlp: Language,
    documents: Iterable[Path | str] | Share,
    output: Path | str,
    *,
    components: Sequence[str] | None = None,
    batch_size: int = BATCH_SIZE,
    shard_size: int = SHARD_SIZE,
    force: bool = False,
    tokenizer: Language | None = None,
) -> StoreWriter:
    """Write the targets of all documents that the store does not hold yet.

    nlp: the teacher.
    documents: files and folders (`training.documents`), or the teacher's share of them.
    output: folder of the store.
    components: those that teach, or names of what they teach; None for all that can.
    force: replace a store of another teacher or of other components, or one whose manifest cannot
        be read, instead of raising ValueError.
    tokenizer: a pipeline that tokenises raw text in place of the teacher.

    Returns the closed writer, which knows what has been written. Raises ValueError or
    FileNotFoundError, naming file or component, for what cannot be read or written, and
    BlockingIOError if another run is writing the store.
    """
    files = documents.routes.files if isinstance(documents, Share) else find_files(documents)
    names = find_teachers(nlp, components)
    with StoreWriter.open(
        output,
        fingerprint(nlp),
        names,
        shard_size=shard_size,
        batch_size=batch_size,
        replace=force,
    ) as writer:
        kept = writer.manifest
        if (kept.shard_size, kept.batch_size) != (shard_size, batch_size):
            msg.info(
                f"The store keeps its batches of {kept.batch_size} and shards of {kept.shard_size}"
            )
        reader = TeacherReader(nlp, names, kept.batch_size)
        for line in reader.survey.lines(names, with_refusals=not components):
            msg.info(line)
        if TABLES in writer.damaged:
            writer.describe(reader.describe())
        sources = documents.read() if isinstance(documents, Share) else read_sources(files)
        pending = _Input(nlp, writer, sources, tokenizer)
        with tqdm(total=1.0, bar_format=BAR, disable=None) as bar:
            while not pending.exhausted:
                with _memory_zone(nlp), _memory_zone(tokenizer):
                    _annotate_zone(pending, reader, writer, bar)
        writer.dropped = reader.dropped
    if not kept.shards:
        raise ValueError(f"There is no text in {', '.join(map(str, files))}.")
    return writer


class _Input:
    """The documents that the store does not hold yet, in portions of one shard."""

    def __init__(
        self,
        nlp: Language,
        writer: StoreWriter,
        sources: Iterator[Source],
        tokenizer: Language | None,
    ) -> None:
        self.exhausted = False
        self.n_seen = 0
        self._nlp = nlp
        self._writer = writer
        self._sources = sources
        self._tokenizer = tokenizer

    def shard(self) -> Iterator[tuple[Doc, _Place]]:
        """New documents until the shard is full; none if a long way brought no new ones."""
        empty = True
        for source in self._sources:
            self.n_seen += 1
            # Boundaries are part of how a text is cut up, as tokens are.
            doc = source.make_doc(self._nlp, with_sentences=True, tokenizer=self._tokenizer)
            keys = self._writer.claim(doc) if len(doc) else None
            if keys is not None:
                empty = False
                yield doc, _Place(source, keys)
            if self._writer.full or (empty and self.n_seen % ZONE_DOCUMENTS == 0):
                return
        self.exhausted = True


def _annotate_zone(pending: _Input, reader: TeacherReader, writer: StoreWriter, bar: tqdm) -> None:
    """Annotate shard after shard until the vocabulary has seen enough documents."""
    zone = pending.n_seen // ZONE_DOCUMENTS
    while not pending.exhausted and pending.n_seen // ZONE_DOCUMENTS == zone:
        for doc, place, scores in reader.read(pending.shard()):
            writer.add(place.keys, scores, len(doc))
            speed = writer.n_tokens / (bar.format_dict["elapsed"] or 1.0)
            bar.set_postfix_str(f"{speed:,.0f} words/s", refresh=False)
            bar.update(place.source.progress - bar.n)
        if reader.teachers:
            writer.describe(reader.teachers)
        writer.end_shard()


def _memory_zone(nlp: Language | None) -> AbstractContextManager[Any]:
    """Frees what documents bring into the vocabulary, where spaCy can do so."""
    return nlp.memory_zone() if nlp is not None and hasattr(nlp, "memory_zone") else nullcontext()


def report(writer: StoreWriter) -> None:
    """Say what has been written."""
    shards = writer.manifest.shards
    for file in writer.damaged:
        again = file == TABLES or any(shard.file == file for shard in shards)
        fate = "has been written again" if again else "its documents are not among those given"
        msg.warn(f"{writer.path / file} was missing or damaged: {fate}")
    documents, tokens = sum(s.documents for s in shards), sum(s.tokens for s in shards)
    size = sum(s.bytes for s in shards) / 1e6
    msg.good(
        f"{writer.path}: {writer.n_documents:,} new documents of {writer.n_tokens:,} tokens; "
        f"it holds {documents:,} documents, {tokens:,} tokens, {size:,.1f} MB, "
        f"{1e6 * size / max(1, tokens):,.0f} bytes a token"
    )
    for name, dropped in writer.dropped.items():
        msg.info(
            f"What was not kept of '{name}' has a probability of {dropped.mean:.1e} at a token "
            f"on average, and of {dropped.maximum:.1e} at most"
        )
