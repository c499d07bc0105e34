"""`spacy skd annotate`: write a teacher's targets for documents into a store."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import click
import typer
from spacy.cli._util import import_code, setup_gpu
from spacy.language import Language
from spacy.tokens import Doc
from tqdm import tqdm
from wasabi import msg

from ..distill.keys import DocumentKeys
from ..distill.manifest import MANIFEST, TABLES
from ..distill.store import BATCH_SIZE, SHARD_SIZE, StoreWriter
from ..distill.store_folder import check_store
from ..distill.teachers import TeacherReader, find_teachers, fingerprint
from ..training.documents import Source, find_files, read_sources
from ..training.routes import Routes, Share
from .teachers import (
    BEAM_HELP,
    BY_HELP,
    ENSEMBLE_HELP,
    SKIP_HELP,
    TEACHER_HELP,
    TOKENIZER_HELP,
    check_options,
    divided,
    load_teacher,
    load_tokenizer,
    named_teachers,
)

FORMATS = '.spacy, .txt (one text a line), .jsonl (with "text")'
BAR = "{percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"  # of the input's bytes
ZONE_DOCUMENTS = 100_000  # documents after which the vocabulary that they brought is forgotten


class _Place(NamedTuple):
    """Where a document comes from and where its targets go."""

    source: Source
    keys: DocumentKeys

    def __str__(self) -> str:
        return str(self.source)


def annotate_cli(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="[TEACHER] DOCUMENTS...",
            help="Teacher, an installed package or a folder, unless given with --teacher; files or "
            f"folders of documents: {FORMATS}",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Folder of the store, or of one a teacher, new or to go on with"
        ),
    ],
    teacher: Annotated[list[str] | None, typer.Option(help=TEACHER_HELP)] = None,
    by: Annotated[str | None, typer.Option(help=BY_HELP)] = None,
    skip_unknown: Annotated[bool, typer.Option("--skip-unknown", help=SKIP_HELP)] = False,
    ensemble: Annotated[bool, typer.Option("--ensemble", help=ENSEMBLE_HELP)] = False,
    tokenizer: Annotated[str | None, typer.Option(help=TOKENIZER_HELP)] = None,
    component: Annotated[
        list[str] | None, typer.Option(help="A component that teaches (default: all that can)")
    ] = None,
    beam_width: Annotated[int | None, typer.Option(min=1, help=BEAM_HELP)] = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", "-b", min=1, help="Documents that are read at once")
    ] = BATCH_SIZE,
    shard_size: Annotated[
        int, typer.Option(min=1, help="Documents in a file of the store")
    ] = SHARD_SIZE,
    gpu_id: Annotated[int, typer.Option("--gpu-id", "-g", help="GPU, or -1 for the CPU")] = -1,
    code: Annotated[
        Path | None, typer.Option("--code", "-c", help="Python file to import first")
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", "-F", help="Replace a store of others, or one that is unreadable"),
    ] = False,
) -> None:
    """
    Write a teacher's targets for documents into a store.

    Only the words and spaces of the documents reach the teacher, and the boundaries of
    their sentences where they have any, never other annotation.
    Interrupted at any point, the same command goes on where it was and ends with the same
    files; with more documents, it adds those that are new.

    Several teachers (--teacher de=PATH --teacher en=PATH) divide the documents by their
    language or another attribute, and each has a store of its own in the output folder.
    """
    import_code(code)
    with clear_errors():
        teachers = named_teachers(teacher or [])
        check_options(teachers, by, skip_unknown=skip_unknown, ensemble=ensemble)
        paths = arguments if teachers else arguments[1:]
        if not paths:
            raise ValueError(f"There are no documents: give files or folders ({FORMATS}).")
        find_files(paths)  # before a teacher is loaded, which takes its time
        words = load_tokenizer(tokenizer)
        settings: dict[str, Any] = {
            "components": component,
            "batch_size": batch_size,
            "shard_size": shard_size,
            "force": force,
            "tokenizer": words,
        }
        if teachers:
            shared = divided(teachers, paths, by, skip_unknown=skip_unknown, ensemble=ensemble)
            annotate_each(
                teachers, shared, output, gpu_id=gpu_id, beam_width=beam_width, **settings
            )
            return
        setup_gpu(gpu_id)
        nlp = load_teacher(arguments[0], beam_width)
        msg.good(f"Loaded the teacher {arguments[0]}")
        report(annotate(nlp, paths, output, **settings))


def annotate_each(
    teachers: Mapping[str, str],
    documents: Sequence[Path | str] | Routes,
    output: Path,
    *,
    gpu_id: int = -1,
    beam_width: int | None = None,
    **settings: Any,
) -> None:
    """Write a store for each of several teachers, named after them, and say so.

    teachers: paths or packages by name.
    documents: those that each teacher reads, or how they divide them.
    beam_width: see `load_teacher`. settings: see `annotate`.

    Raises ValueError as `annotate`, and before anything is read if a document has no teacher, a
    teacher no document, or a teacher or its store cannot be used. The teachers are in memory one at
    a time, and so are loaded twice.
    """
    if (output / MANIFEST).exists():
        raise ValueError(
            f"The folder {output} is the store of one teacher, and several need a folder with a "
            "store for each. Give another folder."
        )
    if isinstance(documents, Routes):
        counts = documents.count()
        if left_out := counts.of_teachers[None]:
            msg.warn(f"{left_out:,} documents are of no teacher and are left out")
        if counts.shared is not None:
            msg.warn(
                f"{counts.n_shared:,} documents have the text of one of another teacher's (the "
                f"first is {counts.shared}). A student learns from both only if its reader has "
                "ensemble = true, and refuses them otherwise: leave them out for all but one"
            )
    setup_gpu(gpu_id)
    for name, path in teachers.items():
        _check_teacher(name, path, output / name, beam_width, settings)
    for name, path in teachers.items():
        nlp = load_teacher(path, beam_width)
        msg.good(f"Loaded the teacher {path} ({name})")
        share = Share(documents, name) if isinstance(documents, Routes) else documents
        report(annotate(nlp, share, output / name, **settings))
        del nlp  # one teacher in memory at a time


def _check_teacher(
    name: str, path: str, output: Path, beam_width: int | None, settings: Mapping[str, Any]
) -> None:
    """Raise ValueError, naming the teacher, if `annotate` would before it reads."""
    try:
        nlp = load_teacher(path, beam_width)
        components = find_teachers(nlp, settings.get("components"))
        check_store(output, fingerprint(nlp), components, replace=settings.get("force", False))
    except ValueError as error:
        raise ValueError(f"The teacher '{name}' ({path}): {error}") from error


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


@contextmanager
def clear_errors() -> Iterator[None]:
    """End the command with the message of a user's error instead of a traceback."""
    try:
        yield
    except (ValueError, OSError, click.UsageError) as error:
        # As it is: wasabi would wrap paths and the block of a config.
        typer.secho(str(error), fg=typer.colors.RED, err=True)
        raise typer.Exit(1) from error
