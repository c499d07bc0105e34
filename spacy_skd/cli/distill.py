"""`spacy skd distill`: annotate with a teacher, then train a student on its targets."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from spacy.cli._util import import_code, parse_config_overrides, setup_gpu, show_validation_error
from spacy.cli.train import train as train_pipeline
from spacy.training.loop import DIR_MODEL_BEST, DIR_MODEL_LAST
from spacy.util import load_config
from wasabi import msg

from ..distill.store import BATCH_SIZE
from ..distill.teachers import survey
from ..training.corpus import READER
from ..training.documents import find_files
from ..training.routes import Routes, Shared
from .annotate import FORMATS, clear_errors
from .annotating import annotate, report
from .several_teachers import annotate_each
from .student import read_student, training_corpus
from .teachers import (
    BEAM_HELP,
    BY_HELP,
    ENSEMBLE_HELP,
    LABELS_HELP,
    SHARED_HELP,
    SKIP_HELP,
    TEACHER_HELP,
    check_labelled,
    check_options,
    divided,
    load_teacher,
    load_tokenizer,
    named_labels,
    named_teachers,
    tokenizer_of,
)

SPACY_READER = "spacy.Corpus.v1"
TARGETS = "targets"  # folder of the store, or of one for each teacher, in the output folder
BLOCKS = f"""[paths]
train = null
dev = null
raw = null
targets = null

[corpora.train]
@readers = "{READER}"
path = ${{paths.train}}
raw = ${{paths.raw}}
targets = ${{paths.targets}}"""


def distill_cli(
    ctx: typer.Context,
    first: Annotated[
        str,
        typer.Argument(
            metavar="[TEACHER]",
            help="Teacher, an installed package or a folder, if none is given with --teacher",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the targets and the student")
    ],
    second: Annotated[
        str | None, typer.Argument(metavar="CONFIG", help="Training config of the student")
    ] = None,
    train: Annotated[
        Path | None, typer.Option(help="Annotated documents: a .spacy file or a folder of them")
    ] = None,
    raw: Annotated[
        list[Path] | None, typer.Option(help=f"Documents of which only the text is used: {FORMATS}")
    ] = None,
    dev: Annotated[Path | None, typer.Option(help="Annotated documents for evaluation")] = None,
    teacher: Annotated[list[str] | None, typer.Option(help=TEACHER_HELP)] = None,
    by: Annotated[str | None, typer.Option(help=BY_HELP)] = None,
    shared: Annotated[Shared | None, typer.Option(help=SHARED_HELP)] = None,
    skip_unknown: Annotated[bool, typer.Option("--skip-unknown", help=SKIP_HELP)] = False,
    ensemble: Annotated[bool, typer.Option("--ensemble", help=ENSEMBLE_HELP)] = False,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="Language or pipeline that tokenises raw text (default: the teacher's own; the "
            "student's if there are several teachers)"
        ),
    ] = None,
    component: Annotated[
        list[str] | None,
        typer.Option(help="A component that teaches (default: all that the student learns from)"),
    ] = None,
    labels: Annotated[list[str] | None, typer.Option(help=LABELS_HELP)] = None,
    beam_width: Annotated[int | None, typer.Option(min=1, help=BEAM_HELP)] = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", "-b", min=1, help="Documents that are read at once")
    ] = BATCH_SIZE,
    gpu_id: Annotated[int, typer.Option("--gpu-id", "-g", help="GPU, or -1 for the CPU")] = -1,
    code: Annotated[
        Path | None, typer.Option("--code", "-c", help="Python file to import first")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", "-F", help="Replace a student and targets of another teacher")
    ] = False,
) -> None:
    """
    Distil a teacher into a student: write the teacher's targets for labelled and raw
    documents to OUTPUT/targets, then train CONFIG on them as `spacy train` does.

    The student is OUTPUT/model-best and OUTPUT/model-last. Settings of the config can be
    overridden as in `spacy train`, for instance --training.max_steps 100. A config with
    [paths] teacher is told the teacher, to start from its weights. Interrupted while
    annotating, the same command goes on where it was.

    Several teachers (--teacher de=PATH --teacher en=PATH) divide the documents by their
    language or another attribute.
    """
    import_code(code)
    # Whatever is wrong is said before the teacher reads for hours.
    with clear_errors():
        teachers = named_teachers(teacher or [])
        check_options(teachers, by, shared, skip_unknown=skip_unknown, ensemble=ensemble)
        of_components = named_labels(labels or [])
        given = [first] if second is None else [first, second]
        if not teachers and len(given) < 2:
            raise ValueError("Give a teacher and the student's config, or --teacher NAME=PATH.")
        config = Path(given[0] if teachers else given[1])
        if not config.is_file():
            raise FileNotFoundError(f"There is no config {config}.")
        overrides = parse_config_overrides([*given[1:], *ctx.args] if teachers else ctx.args)
        if train is None and not raw:
            raise ValueError("There is nothing to learn from: give --train, --raw or both.")
        find_files([train] if train else [], (".spacy",))
        find_files(raw or [])
        check_output(output, force=force)
        check_config(config, overrides)
        # Not all that is in the folder: a teacher of an earlier run may have left a store there.
        stores = [output / TARGETS / name for name in teachers] or [output / TARGETS]
        overrides |= {
            "paths.train": None if train is None else str(train),
            "paths.raw": _one_or_all(raw or []),
            "paths.targets": _one_or_all(stores),
        }
        if ensemble or skip_unknown or shared == Shared.skip:
            left_out = skip_unknown or shared == Shared.skip
            overrides |= reader_settings(config, ensemble=ensemble, left_out=left_out)
        if dev is not None:
            overrides["paths.dev"] = str(dev)
        if not teachers and starts_from_teacher(config):
            overrides.setdefault("paths.teacher", first)
        check_dev(config, overrides)
        with show_validation_error(config):
            whole = load_config(config, overrides=overrides, interpolate=True)
            words = load_tokenizer(tokenizer)
            if teachers and words is None:
                words = tokenizer_of(whole)
        corpus = training_corpus(whole)
        student = read_student(config, overrides, corpus)
        setup_gpu(gpu_id)
    msg.divider("Annotating")
    with clear_errors():
        documents = [*([train] if train else []), *(raw or [])]
        settings: dict[str, Any] = {
            "batch_size": batch_size,
            "force": force,
            "tokenizer": words,
        }
        if teachers:
            parts = divided(
                teachers, documents, by, shared, skip_unknown=skip_unknown, ensemble=ensemble
            )
            routed = isinstance(parts, Routes)
            if isinstance(parts, Routes) and shared is None and not corpus.get("ensemble"):
                check_shared(parts)
            by_all = routed and corpus.get("require_targets", True)
            annotate_each(
                teachers,
                parts,
                output / TARGETS,
                choose=partial(student.choose, names=component, by_all=by_all),
                gpu_id=gpu_id,
                beam_width=beam_width,
                labels=of_components,
                **settings,
            )
        else:
            nlp = load_teacher(first, beam_width, of_components)
            check_labelled(of_components, nlp.pipe_names)
            offers = {first: survey(nlp).offer}
            chosen = student.choose(offers, component, by_all=False)[first]
            report(annotate(nlp, documents, output / TARGETS, components=chosen, **settings))
            del nlp  # the teacher's memory is needed for training
        del student
    with clear_errors():
        train_pipeline(config, output, use_gpu=gpu_id, overrides=overrides)


def check_shared(routes: Routes) -> None:
    """Raise ValueError for a text of two teachers, which the student's reader would refuse."""
    counts = routes.counts
    if counts.shared is not None:
        raise ValueError(
            f"{counts.n_shared:,} documents have the text of one of another teacher's: the first "
            f"is {counts.shared}. The student would refuse to learn from both. Let the teacher "
            "of the first one read them with --shared first, nobody with --shared skip, or "
            "both with --shared both and ensemble = true in the training corpus."
        )


def check_output(output: Path, *, force: bool) -> None:
    """Raise ValueError if there is a student in the output folder that must not be replaced, or if
    the output is not a folder."""
    if output.is_file():
        raise ValueError(f"The output has to be a folder, but {output} is a file.")
    for name in (DIR_MODEL_BEST, DIR_MODEL_LAST):
        if (output / name).exists() and not force:
            raise ValueError(
                f"The output folder {output} holds a trained pipeline already ({name}). "
                "Give another folder, or --force to replace it."
            )


def check_config(path: Path, overrides: dict[str, Any]) -> None:
    """Raise ValueError if a config does not train on targets, with the block that it needs."""
    with show_validation_error(path):
        config = load_config(path, overrides=overrides, interpolate=False)
    missing = sorted({"train", "dev", "raw", "targets"} - set(config.get("paths", {})))
    reader = training_corpus(config).get("@readers")
    if reader == READER and not missing:
        return
    fault = (
        f"its training corpus is read by {reader!r}"
        if reader != READER
        else f"its [paths] lack {', '.join(missing)}"
    )
    raise ValueError(
        f"The config {path} cannot be used for distillation: {fault}. "
        f"It needs these blocks:\n\n{BLOCKS}"
    )


def reader_settings(path: Path, *, ensemble: bool, left_out: bool) -> dict[str, Any]:
    """Overrides of a config with which the reader takes what several teachers have left.

    left_out: whether there are documents that no teacher has read.
    """
    block = load_config(path, interpolate=False).get("training", {}).get("train_corpus")
    block = block or "corpora.train"
    settings = {f"{block}.ensemble": True} if ensemble else {}
    return settings | ({f"{block}.require_targets": False} if left_out else {})


def starts_from_teacher(path: Path) -> bool:
    """Whether a config has a place for the teacher's pipeline, paths.teacher, and names none there
    (docs/gpu.md)."""
    paths = load_config(path, interpolate=False).get("paths", {})
    return "teacher" in paths and paths["teacher"] is None


def check_dev(path: Path, overrides: dict[str, Any]) -> None:
    """Raise ValueError or FileNotFoundError if spaCy would find no development documents."""
    with show_validation_error(path):
        config = load_config(path, overrides=overrides, interpolate=True)
    corpus = training_corpus(config, "dev_corpus")
    if corpus.get("@readers", SPACY_READER) != SPACY_READER:
        return
    dev = corpus.get("path", config["paths"]["dev"])
    if not dev:
        raise ValueError("There is nothing to evaluate on: give --dev.")
    find_files([dev], (".spacy",))


def _one_or_all(paths: list[Path]) -> str | list[str] | None:
    """A path, or a list of several, as a value of the config."""
    names = [str(path) for path in paths]
    return names[0] if len(names) == 1 else names or None
