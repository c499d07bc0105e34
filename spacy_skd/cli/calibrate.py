"""`python -m spacy skd calibrate`: make a pipeline as sure of its predictions as it is right."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from spacy.cli._util import import_code, setup_gpu
from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import load_model
from wasabi import msg, table

from ..calibration import Calibration, Outcome, calibrate
from ..calibration.measures import N_BINS
from ..calibration.plot import check_plotting, plot_reliability
from ..training.documents import find_files, read_annotated
from .annotate import clear_errors

HEADER = (
    *("component", "on", "predictions", "right %", "T"),
    *("ECE before", "after", "by chance", "Brier before", "after"),
)
ALIGNS = ("l", "l", *"r" * (len(HEADER) - 2))


def calibrate_cli(
    model: Annotated[str, typer.Argument(help="Pipeline, an installed package or a folder")],
    dev: Annotated[
        Path,
        typer.Argument(
            help="Gold documents to fit the temperatures on (.spacy, or a folder)", exists=True
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for the calibrated pipeline"),
    ] = None,
    components: Annotated[
        str | None,
        typer.Option(help="Names with commas between them (default: all with confidences)"),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option(help="Gold documents to measure on, never fitted on (.spacy)", exists=True),
    ] = None,
    bins: Annotated[int, typer.Option(min=1, help="Bins of ECE and reliability plot")] = N_BINS,
    plot: Annotated[
        Path | None,
        typer.Option(help="Folder for a reliability plot a component (needs matplotlib)"),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="File for all measures (.json)")] = None,
    gpu_id: Annotated[int, typer.Option("--gpu-id", "-g", help="GPU, or -1 for the CPU")] = -1,
    code: Annotated[
        Path | None, typer.Option("--code", "-c", help="Python file to import first")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", "-F", help="Write into a folder that is not empty")
    ] = False,
) -> None:
    """
    Calibrate the confidences of a pipeline: one temperature a component, fitted on DEV.

    What the pipeline predicts stays the same. Without --output, nothing is saved.
    ECE is how far, on average, the part that is right is from the confidence; "by chance" is the
    ECE that so many predictions would have if every confidence was right. Lower is better.
    """
    import_code(code)
    with clear_errors():
        check_output(output, force=force)
        if plot is not None:
            check_plotting_or_exit()
        setup_gpu(gpu_id, silent=True)
        nlp = load_model(model)
        outcome = calibrate(
            nlp,
            read_gold(dev, nlp),
            read_gold(test, nlp) if test is not None else (),
            components=split_names(components),
            n_bins=bins,
        )
        say(outcome)
        if report is not None:
            write_report(outcome, report, model=model, dev=dev, test=test)
            msg.good("Wrote the measures", str(report))
        if plot is not None:
            for path in plot_reliability(outcome.calibrated, plot):
                msg.good("Plotted", str(path))
        if output is None:
            msg.info("The temperatures are not saved: give a folder for the pipeline (--output)")
        else:
            save(model, output, outcome)
            msg.good("Saved the calibrated pipeline", str(output))


def check_output(output: Path | None, *, force: bool) -> None:
    """Raise ValueError if the folder cannot be written to, or has something that may not be
    replaced; before a long computation, not after it."""
    if output is None or not output.exists():
        return
    if not output.is_dir():
        raise ValueError(f"{output} is a file. Give a folder for the pipeline (--output).")
    if any(output.iterdir()) and not force:
        raise ValueError(
            f"The folder {output} is not empty. Give a new one, or write into it by --force, which "
            "also calibrates a pipeline in place."
        )


def check_plotting_or_exit() -> None:
    """Raise ValueError if there is no matplotlib."""
    try:
        check_plotting()
    except ImportError as error:
        raise ValueError(str(error)) from error


def read_gold(path: Path, nlp: Language) -> list[Doc]:
    """The documents of a file or folder. Raises ValueError if it cannot be read or has none."""
    files = find_files([path], (".spacy",))
    docs = [doc for _, doc in read_annotated(files, nlp.vocab)]
    if not docs:
        raise ValueError(f"There are no documents in {path}.")
    return docs


def split_names(names: str | None) -> list[str] | None:
    """The names in a list with commas; None if there is no list. ValueError if it is empty."""
    if names is None:
        return None
    found = [name.strip() for name in names.split(",") if name.strip()]
    if not found:
        raise ValueError(f"There are no names of components in '{names}' (--components).")
    return found


def save(model: str, output: Path, outcome: Outcome) -> None:
    """Write a pipeline with its new temperatures; every other file stays as it is.

    It is loaded once more: the vocabulary of the one that has been used knows the words of the gold
    documents by now, and would be saved with them.
    """
    nlp = load_model(model)
    for name, calibration in outcome.calibrated.items():
        component: Any = nlp.get_pipe(name)
        component.temperature = calibration.temperature
    output.parent.mkdir(parents=True, exist_ok=True)
    nlp.to_disk(output)


def say(outcome: Outcome) -> None:
    """Print the table, what was left out, and what to be careful about."""
    for name, reason in outcome.skipped.items():
        msg.info(f"'{name}' is left out: {reason}")
    rows = [row for item in outcome.calibrated.items() for row in _rows(*item)]
    print(table(rows, header=HEADER, divider=True, aligns=ALIGNS))
    for calibration in outcome.calibrated.values():
        for warning in calibration.warnings:
            msg.warn(warning)


def _rows(name: str, calibration: Calibration) -> list[tuple[str, ...]]:
    """A component's rows of the table, one for each set of documents."""
    rows = []
    for part, comparison in calibration.parts.items():
        before, after, accuracy = comparison.before, comparison.after, comparison.accuracy
        rows.append(
            (
                name,
                part,
                f"{comparison.judged:,}",
                "–" if accuracy is None else f"{100 * accuracy:.1f}",
                f"{calibration.temperature:.3f}",
                *map(_figure, (before.ece, after.ece, after.bins.ece_by_chance)),
                *map(_figure, (before.brier, after.brier)),
            )
        )
    return rows


def _figure(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4f}"


def write_report(outcome: Outcome, path: Path, **sources: object) -> None:
    """Write all measures as JSON.

    sources: what was calibrated, on what.
    """
    found = {
        **{key: None if value is None else str(value) for key, value in sources.items()},
        "components": _plain(outcome.calibrated),
        "skipped": outcome.skipped,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _plain(calibrated: Mapping[str, Calibration]) -> dict[str, dict]:
    return {name: calibration.to_dict() for name, calibration in calibrated.items()}
