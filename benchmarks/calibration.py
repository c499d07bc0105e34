"""Does distillation calibrate? How far the confidences of entities can be trusted, before and after
one temperature is fitted: teachers, students from gold alone and distilled students.

    python benchmarks/calibration.py --work /tmp/ner

Reads the models that benchmarks/ner.py has trained in the same work folder, and trains none: those
that are missing are left out. Temperatures are fitted on dev; all figures are of test. Resumable:
what has a line in the results is not measured again.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated, Any

import spacy
import typer
from ner import CORPORA
from spacy.tokens import Doc
from tqdm import tqdm
from training_runs import RESULTS, Run, finished, read_rows

from spacy_skd.calibration import calibrate
from spacy_skd.calibration.plot import check_plotting, plot_reliability
from spacy_skd.training.documents import read_annotated

SYSTEMS = {
    "teacher": "teacher: transformer + CRF",
    "gold-crf": "student CRF, gold",
    "kd-crf": "student CRF, distilled (case 1a)",
    "kd-maxent": "student MaxEnt, distilled (case 2a)",
}
COMPONENT = "ner"
COLUMNS: dict[str, tuple[str, Callable[[dict], float]]] = {
    "T": ("temperature", lambda row: row["temperature"]),
    "right %": ("accuracy", lambda row: 100 * row["test"]["accuracy"]),
    "confidence %": ("confidence", lambda row: 100 * confidence(row)),
    "ECE": ("ece", lambda row: row["test"]["before"]["ece"]),
    "ECE, calibrated": ("ece", lambda row: row["test"]["after"]["ece"]),
    "by chance": ("ece", lambda row: row["test"]["after"]["ece_by_chance"]),
    "Brier": ("brier", lambda row: row["test"]["before"]["brier"]),
    "Brier, calibrated": ("brier", lambda row: row["test"]["after"]["brier"]),
}
DIGITS = {"temperature": 2, "accuracy": 1, "confidence": 1}


def main(
    work: Annotated[Path, typer.Option(help="Work folder of benchmarks/ner.py", exists=True)],
    corpora: Annotated[list[str] | None, typer.Option(help="Only these corpora")] = None,
    setting: Annotated[str, typer.Option(help="full, or quarter of the training set")] = "full",
    seeds: Annotated[int, typer.Option(help="Seeds of each student")] = 3,
    plots: Annotated[
        Path | None, typer.Option(help="Folder for reliability plots of the first seed")
    ] = None,
    results: Annotated[Path, typer.Option(help="Measured models")] = RESULTS / "calibration.jsonl",
) -> None:
    """Measure what is missing, then write the table next to the results."""
    if plots is not None:
        check_plotting()
    runs = [
        Run(corpus, setting, system, seed)
        for corpus in corpora or CORPORA
        for system in SYSTEMS
        for seed in range(1 if system == "teacher" else seeds)
    ]
    missing = [run for run in runs if run not in finished(results)]
    absent = [run.name for run in missing if not folder(work, run).exists()]
    if absent:
        print(f"Not trained, and left out: {', '.join(absent)}")
    results.parent.mkdir(parents=True, exist_ok=True)
    for run in tqdm([run for run in missing if run.name not in absent], desc="models"):
        row = calibrated(work, run, plots if run.seed == 0 else None)
        with results.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(asdict(run) | row) + "\n")
    table = make_table(read_rows(results))
    results.with_suffix(".md").write_text(table, encoding="utf-8")
    print(table)


def folder(work: Path, run: Run) -> Path:
    """The trained pipeline of a run of benchmarks/ner.py."""
    return work / run.corpus / run.name / "model-best"


def calibrated(work: Path, run: Run, plots: Path | None) -> dict[str, Any]:
    """All measures of a model."""
    nlp = spacy.load(folder(work, run))

    def gold(split: str) -> list[Doc]:
        return [doc for _, doc in read_annotated([work / run.corpus / f"{split}.spacy"], nlp.vocab)]

    found = calibrate(nlp, gold("dev"), gold("test"), components=[COMPONENT]).calibrated
    if plots is not None:
        plot_reliability({f"{run.name}-{name}": item for name, item in found.items()}, plots)
    return found[COMPONENT].to_dict()


def confidence(row: dict) -> float:
    """Mean confidence on test before calibration: above the accuracy, the model is too sure."""
    bins = [bin_ for bin_ in row["test"]["before"]["bins"] if bin_["count"]]
    total = sum(bin_["count"] for bin_ in bins)
    return sum(bin_["count"] * bin_["confidence"] for bin_ in bins) / total


def make_table(rows: Sequence[dict]) -> str:
    """Mean and standard deviation over seeds, by corpus, setting and system."""
    lines = []
    groups = {(row["corpus"], row["setting"]) for row in rows}
    for corpus, setting in sorted(groups):
        own = [row for row in rows if (row["corpus"], row["setting"]) == (corpus, setting)]
        lines += [
            f"| {corpus}, {setting}: entities of test | " + " | ".join(COLUMNS) + " |",
            "| --- |" + " ---: |" * len(COLUMNS),
        ]
        for system, title in SYSTEMS.items():
            of_system = [row for row in own if row["system"] == system and row["test"]["judged"]]
            if of_system:
                cells = [
                    cell([figure(row) for row in of_system], DIGITS.get(kind, 3))
                    for kind, figure in COLUMNS.values()
                ]
                lines.append(f"| {title} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def cell(values: Sequence[float], digits: int) -> str:
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{spread}"


if __name__ == "__main__":
    typer.run(main)
