"""Does distillation calibrate? How far confidences can be trusted, before and after one temperature
is fitted: teachers, students from gold alone and distilled students.

    python benchmarks/calibration.py --ner /tmp/ner --parser /tmp/parser --pipeline /tmp/pipeline \
        --multilingual /tmp/multilingual

Reads the models that benchmarks/ner.py, parser.py, pipeline.py and multilingual.py have trained in
these work folders, and trains none: those that are missing are left out. Temperatures are fitted on
dev; all figures are of test, for students of several languages of the tests of all of them
together. Resumable: what has a line in the results is not measured again.
"""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated, Any, NamedTuple

import spacy
import typer
from multilingual_tables import FULL
from multilingual_tables import RAW as STRUCTURAL_RAW
from multilingual_tasks import TASKS as MULTILINGUAL
from multilingual_tasks import UNION
from ner import CORPORA
from raw_sentences import RAW
from spacy.tokens import Doc
from tqdm import tqdm
from training_runs import RESULTS, Run, read_rows

from spacy_skd.calibration import calibrate
from spacy_skd.calibration.measures import square_error
from spacy_skd.calibration.plot import check_plotting, plot_reliability
from spacy_skd.training.documents import read_annotated

ENTITIES = {
    "teacher": "teacher: transformer + CRF",
    "gold-crf": "student CRF, gold",
    "kd-crf": "student CRF, distilled (case 1a)",
    "kd-maxent": "student MaxEnt, distilled (case 2a)",
}
PARSERS = {
    ("heads", "teacher"): "teacher: transformer, independent heads",
    ("gold", "heads"): "student, independent heads, gold",
    ("heads" + RAW, "heads"): "student, independent heads, distilled",
    ("gold", "tree"): "student, tree CRF, gold",
    ("heads" + RAW, "tree"): "student, tree CRF, distilled",
    ("gold", "labels"): "student, labels, gold",
    ("heads" + RAW, "labels"): "student, labels, distilled",
}
PIPELINES = {
    ("distilled", "teacher"): "teacher: one transformer",
    ("gold", "joint"): "one student, gold",
    ("distilled", "joint"): "one student, distilled",
    ("distilled" + RAW, "joint"): "one student, distilled with raw text",
    ("gold", "ner"): "a student of entities alone, gold",
    ("distilled" + RAW, "ner"): "a student of entities alone, distilled with raw text",
}
WIKIANN = "wikiann"
LANGUAGES = {
    (FULL, "teacher"): "teachers, each in its own language",
    (FULL, "gold"): "one student of four languages, gold",
    (FULL, "posterior"): "the same, distilled (posterior)",
    (FULL, "structural"): "the same, distilled (case 1a)",
    (FULL, STRUCTURAL_RAW): "the same, distilled with raw text (case 1a)",
}
UNITS = {"ner": "entities", "parser": "arcs", "tagger": "tags", "morphologizer": "analyses"}
"""What the components that are calibrated predict."""
CRITERION = "kernel error"
"""By which temperatures are fitted."""


class Task(NamedTuple):
    """The models of a benchmark.

    corpora: those that have a table. systems: titles of the rows, by setting and system.
    components: those that are calibrated where a model has them. languages: folders of a corpus
    that have teachers of their own; their students are in the folder of the union.
    """

    corpora: Iterable[str]
    systems: dict[tuple[str, str], str]
    components: Sequence[str]
    languages: Iterable[str] = ()

    def runs(self, seeds: int) -> list[Run]:
        """All that the benchmark may have trained."""
        return [
            Run(folder, setting, system, seed)
            for corpus in self.corpora
            for setting, system in self.systems
            for folder in self.folders(corpus, system)
            for seed in range(1 if system == "teacher" else seeds)
        ]

    def folders(self, corpus: str, system: str) -> list[str]:
        """Where a system's models of a corpus are, in the work folder."""
        if not self.languages:
            return [corpus]
        if system != "teacher":
            return [f"{corpus}/{UNION}"]
        return [f"{corpus}/{language}" for language in self.languages]

    def documents(self, corpus: str, split: str) -> list[str]:
        """The files with a split of a folder, in the work folder."""
        parent, _, name = corpus.partition("/")
        if name == UNION and split == "test":
            return [f"{parent}/{language}/{split}.spacy" for language in self.languages]
        return [f"{corpus}/{split}.spacy"]


def tasks(setting: str) -> dict[str, Task]:
    """By the names of the benchmarks. setting: of the models for entities."""
    entities = {(setting, system): title for system, title in ENTITIES.items()}
    return {
        "ner": Task(CORPORA, entities, ["ner"]),
        "parser": Task(["en_ewt"], PARSERS, ["parser"]),
        "pipeline": Task(["en_ewt"], PIPELINES, list(UNITS)),
        "multilingual": Task([WIKIANN], LANGUAGES, ["ner"], list(MULTILINGUAL[WIKIANN].teachers)),
    }


COLUMNS: dict[str, tuple[str, Callable[[dict], float]]] = {
    "T": ("temperature", lambda row: row["temperature"]),
    "right %": ("accuracy", lambda row: 100 * row["test"]["accuracy"]),
    "confidence %": ("confidence", lambda row: 100 * confidence(row)),
    "ECE": ("ece", lambda row: row["test"]["before"]["ece"]),
    "without chance": ("root", lambda row: remaining(row["test"]["before"])),
    "ECE, calibrated": ("ece", lambda row: row["test"]["after"]["ece"]),
    "by chance": ("ece", lambda row: row["test"]["after"]["ece_by_chance"]),
    "without chance, calibrated": ("root", lambda row: remaining(row["test"]["after"])),
    "Brier": ("brier", lambda row: row["test"]["before"]["brier"]),
    "Brier, calibrated": ("brier", lambda row: row["test"]["after"]["brier"]),
}
DIGITS = {"temperature": 2, "accuracy": 1, "confidence": 1}


def main(
    ner: Annotated[Path | None, typer.Option(help="Work folder of ner.py", exists=True)] = None,
    parser: Annotated[
        Path | None, typer.Option(help="Work folder of parser.py", exists=True)
    ] = None,
    pipeline: Annotated[
        Path | None, typer.Option(help="Work folder of pipeline.py", exists=True)
    ] = None,
    multilingual: Annotated[
        Path | None, typer.Option(help="Work folder of multilingual.py", exists=True)
    ] = None,
    corpora: Annotated[list[str] | None, typer.Option(help="Only these corpora")] = None,
    setting: Annotated[
        str, typer.Option(help="Of entities: full, or quarter of the training set")
    ] = "full",
    seeds: Annotated[int, typer.Option(help="Seeds of each student")] = 3,
    plots: Annotated[
        Path | None, typer.Option(help="Folder for reliability plots of the first seed")
    ] = None,
    results: Annotated[Path, typer.Option(help="Measured models")] = RESULTS / "calibration.jsonl",
) -> None:
    """Measure what is missing, then write the table next to the results."""
    if plots is not None:
        check_plotting()
    measured = {key(row) for row in read_rows(results)}
    results.parent.mkdir(parents=True, exist_ok=True)
    works = {"ner": ner, "parser": parser, "pipeline": pipeline, "multilingual": multilingual}
    for name, work in works.items():
        task = tasks(setting)[name]
        chosen = [corpus for corpus in task.corpora if corpus in (corpora or task.corpora)]
        runs = task._replace(corpora=chosen).runs(seeds)
        missing = [run for run in runs if (name, run) not in measured]
        there = [run for run in missing if work and folder(work, run).exists()]
        absent = [run.name for run in missing if run not in there]
        if work and absent:
            print(f"Not trained, and left out: {', '.join(absent)}")
        for run in tqdm(there, desc=f"models of {name}", disable=not there):
            rows = calibrated(work, run, task, plots if run.seed == 0 else None)
            with results.open("a", encoding="utf-8") as lines:
                for component, row in rows.items():
                    labels = asdict(run) | {"task": name, "component": component}
                    lines.write(json.dumps(labels | row) + "\n")
    table = make_table(read_rows(results))
    results.with_suffix(".md").write_text(table, encoding="utf-8")
    print(table)


def key(row: dict) -> tuple[str, Run]:
    """The task and the run of a line of results."""
    return row.get("task", "ner"), Run(**{name: row[name] for name in Run.__annotations__})


def folder(work: Path, run: Run) -> Path:
    """The trained pipeline of a run of a benchmark."""
    return work / run.corpus / run.name / "model-best"


def calibrated(work: Path, run: Run, task: Task, plots: Path | None) -> dict[str, dict[str, Any]]:
    """All measures of a model, by component."""
    nlp = spacy.load(folder(work, run))

    def gold(split: str) -> list[Doc]:
        files = [work / file for file in task.documents(run.corpus, split)]
        return [doc for _, doc in read_annotated(files, nlp.vocab)]

    own = [name for name in task.components if name in nlp.pipe_names]
    found = calibrate(nlp, gold("dev"), gold("test"), components=own).calibrated
    if plots is not None:
        plot_reliability({f"{run.name}-{name}": item for name, item in found.items()}, plots)
    return {name: item.to_dict() | {"criterion": CRITERION} for name, item in found.items()}


def confidence(row: dict) -> float:
    """Mean confidence on test before calibration: above the accuracy, the model is too sure."""
    bins = [bin_ for bin_ in row["test"]["before"]["bins"] if bin_["count"]]
    total = sum(bin_["count"] for bin_ in bins)
    return sum(bin_["count"] * bin_["confidence"] for bin_ in bins) / total


def remaining(measures: dict) -> float:
    """The squared error of the bins of a line, without chance."""
    bins = measures["bins"]
    counts = [bin_["count"] for bin_ in bins]
    known = [[bin_[name] or 0.0 for bin_ in bins] for name in ("confidence", "accuracy")]
    return square_error(counts, *known)


def make_table(rows: Sequence[dict]) -> str:
    """Mean and standard deviation over seeds, by task, component, corpus and system."""
    lines = []
    settings = {row["setting"] for row in rows if row.get("task", "ner") == "ner"}
    every = [("ner", tasks(setting)["ner"]) for setting in sorted(settings)]
    others = ("multilingual", "parser", "pipeline")
    for name, task in [*every, *((name, tasks("")[name]) for name in others)]:
        for component in task.components:
            for corpus in sorted(task.corpora):
                own = [
                    row
                    for row in rows
                    if (row.get("task", "ner"), row["corpus"].split("/")[0]) == (name, corpus)
                    and row.get("component", "ner") == component
                    and (row["setting"], row["system"]) in task.systems
                    and row.get("test", {}).get("judged")
                ]
                if own:
                    of = f"{corpus}, {own[0]['setting']}" if name == "ner" else f"{corpus}, {name}"
                    lines += [*table_of(f"{of}: {UNITS[component]} of test", own, task), ""]
    return "\n".join(lines)


def table_of(title: str, rows: Sequence[dict], task: Task) -> list[str]:
    """A row a system."""
    lines = [
        f"| {title} | " + " | ".join(COLUMNS) + " |",
        "| --- |" + " ---: |" * len(COLUMNS),
    ]
    for (setting, system), name in task.systems.items():
        own = [row for row in rows if (row["setting"], row["system"]) == (setting, system)]
        if own:
            cells = [cell([figure(row) for row in own], kind) for kind, figure in COLUMNS.values()]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def cell(values: Sequence[float], kind: str) -> str:
    """Mean and standard deviation, but of squared errors the root of their mean alone: single ones
    may be negative."""
    if kind == "root":
        return "< 0" if mean(values) < 0 else f"{math.sqrt(mean(values)):.3f}"
    digits = DIGITS.get(kind, 3)
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{spread}"


if __name__ == "__main__":
    typer.run(main)
