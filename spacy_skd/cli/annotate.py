"""`spacy skd annotate`: write a teacher's targets for documents into a store."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import click
import typer
from spacy.cli._util import import_code, setup_gpu
from wasabi import msg

from ..distill.store import BATCH_SIZE, SHARD_SIZE
from ..training.documents import find_files
from ..training.routes import Shared
from .annotating import annotate, report
from .several_teachers import annotate_each, choose_named
from .teachers import (
    BEAM_HELP,
    BY_HELP,
    ENSEMBLE_HELP,
    LABELS_HELP,
    SHARED_HELP,
    SKIP_HELP,
    TEACHER_HELP,
    TOKENIZER_HELP,
    check_labelled,
    check_options,
    divided,
    load_teacher,
    load_tokenizer,
    named_labels,
    named_teachers,
)

FORMATS = '.spacy, .txt (one text a line), .jsonl (with "text")'


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
    shared: Annotated[Shared | None, typer.Option(help=SHARED_HELP)] = None,
    skip_unknown: Annotated[bool, typer.Option("--skip-unknown", help=SKIP_HELP)] = False,
    ensemble: Annotated[bool, typer.Option("--ensemble", help=ENSEMBLE_HELP)] = False,
    tokenizer: Annotated[str | None, typer.Option(help=TOKENIZER_HELP)] = None,
    component: Annotated[
        list[str] | None, typer.Option(help="A component that teaches (default: all that can)")
    ] = None,
    labels: Annotated[list[str] | None, typer.Option(help=LABELS_HELP)] = None,
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
        check_options(teachers, by, shared, skip_unknown=skip_unknown, ensemble=ensemble)
        of_components = named_labels(labels or [])
        paths = arguments if teachers else arguments[1:]
        if not paths:
            raise ValueError(f"There are no documents: give files or folders ({FORMATS}).")
        find_files(paths)  # before a teacher is loaded, which takes its time
        words = load_tokenizer(tokenizer)
        settings: dict[str, Any] = {
            "batch_size": batch_size,
            "shard_size": shard_size,
            "force": force,
            "tokenizer": words,
        }
        if teachers:
            annotate_each(
                teachers,
                divided(teachers, paths, by, shared, skip_unknown=skip_unknown, ensemble=ensemble),
                output,
                choose=partial(choose_named, names=component, some=ensemble),
                gpu_id=gpu_id,
                beam_width=beam_width,
                labels=of_components,
                **settings,
            )
            return
        setup_gpu(gpu_id)
        nlp = load_teacher(arguments[0], beam_width, of_components)
        check_labelled(of_components, nlp.pipe_names)
        msg.good(f"Loaded the teacher {arguments[0]}")
        report(annotate(nlp, paths, output, components=component, **settings))


@contextmanager
def clear_errors() -> Iterator[None]:
    """End the command with the message of a user's error instead of a traceback."""
    try:
        yield
    except (ValueError, OSError, click.UsageError) as error:
        # As it is: wasabi would wrap paths and the block of a config.
        typer.secho(str(error), fg=typer.colors.RED, err=True)
        raise typer.Exit(1) from error
