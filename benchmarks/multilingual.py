"""Many monolingual teachers, one multilingual student: what it takes from them, and languages that
none of them knows.

    python benchmarks/multilingual.py DATA --work /tmp/multilingual --jobs 2

DATA has ner/wikiann with a folder a language (train.iob, dev.iob, test.iob), and ud with a folder a
treebank. Each sentence's targets are those of the teacher of its language. Languages are sampled by
their share of the sentences: every pass reads each sentence once. Models are chosen on the first
sentences of dev of all languages together; test is read once, at the end of a run. Resumable
(training_runs.py).
"""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Annotated, Any, Literal

import spacy
import typer
from objectives import ARCHITECTURES, OBJECTIVES
from spacy.tokens import DocBin
from spacy.util import load_config
from training_runs import (
    CONFIGS,
    RESULTS,
    Bench,
    Recipe,
    Run,
    cell,
    finished,
    pipe_speeds,
    prepare,
    read_rows,
    write_docs,
)

from spacy_skd.cli.compare import megabytes

UNION = "all"  # folder of the sentences of all the teachers' languages
N_DEV = 500  # sentences of each language on which students are chosen
SEEDS = 2
WIDE = {"width": 192, "embed_size": 10000}
STEPS = {"transformer": 300, "teacher": 1500, "student": 2000}
WEAKER = 10  # times fewer steps of weak teachers
DROPOUT = {"gold": 0.3, "kd": 0.2}
WEAK = ("structural", "posterior")
"""What is learnt from teachers that are trained for a tenth of the time, too."""
SYSTEMS = (
    "gold",
    "emission",
    "top-K 10",
    "top-WK 10",
    "posterior",
    "structural",
    "posterior + top-WK 10",
)


@dataclass(frozen=True)
class Task:
    """What is learnt.

    source: folder of the data, in which each corpus has its own. suffix: of its files. teachers:
    the corpora that have a teacher, and their languages. others: those that nobody learns from.
    transformer: the corpora whose teacher is one. component, factory: who learns. metric: spaCy's
    name of the score. scale: what scores are multiplied by.
    """

    source: str
    suffix: Literal["iob", "conllu"]
    teachers: Mapping[str, str]
    others: Mapping[str, str]
    transformer: Sequence[str]
    component: Literal["ner", "tagger"]
    metric: str


TASKS = {
    "wikiann": Task(
        "ner/wikiann",
        "iob",
        {"en": "en", "de": "de", "es": "es", "nl": "nl"},
        {"fr": "fr", "pl": "pl"},
        ["en"],
        "ner",
        "ents_f",
    ),
    "upos": Task(
        "ud",
        "conllu",
        {"en_ewt": "en", "fr_sequoia": "fr", "nl_lassysmall": "nl"},
        {},
        [],
        "tagger",
        "pos_acc",
    ),
}
TAGGER: dict[str, Any] = {
    "factory": "skd_tagger",
    "attribute": "pos",
    "scorer": {"@scorers": "spacy-skd.tagger_scorer.v1"},
}


def main(
    data: Annotated[Path, typer.Argument(help="Folder with ner/wikiann and ud", exists=True)],
    work: Annotated[Path, typer.Option(help="Folder for models and targets")],
    tasks: Annotated[list[str] | None, typer.Option(help="Only these tasks")] = None,
    seeds: Annotated[int, typer.Option(help="Seeds of each student")] = SEEDS,
    jobs: Annotated[int, typer.Option(help="Runs at a time, one thread each")] = 1,
    speed: Annotated[bool, typer.Option(help="Measure words/s and sizes of what has run")] = False,
    results: Annotated[Path, typer.Option(help="Finished runs")] = RESULTS / "multilingual.jsonl",
) -> None:
    """Run what is missing, then write the tables next to the results."""
    chosen = tasks or list(TASKS)
    for name in chosen:
        write_corpora(TASKS[name], data, work / name)
    bench = MultilingualBench(work, results)
    teachers = [
        Run(f"{name}/{corpus}", setting, "teacher", 0)
        for setting in ("full", "weak")
        for name in chosen
        for corpus in TASKS[name].teachers
    ]
    students = [
        Run(f"{name}/{UNION}", setting, system, seed)
        for seed in range(seeds)
        for name in chosen
        for setting, systems in (("full", SYSTEMS), ("weak", WEAK))
        for system in systems
    ]
    bench.run_all([*teachers, *students], jobs)
    costs = results.with_name(f"{results.stem}_speed.json")
    if speed:
        write_costs(bench, chosen, costs)
    table = make_table(read_rows(results), costs)
    results.with_suffix(".md").write_text(table, encoding="utf-8")
    print(table)


def write_corpora(task: Task, data: Path, folder: Path) -> None:
    """Every corpus, and the union of those with a teacher, without what is in two of them."""
    for corpus in (*task.teachers, *task.others):
        prepare(data / task.source / corpus, folder / corpus, task.suffix)
    union = folder / UNION
    if (union / "train.spacy").exists():  # written last
        return
    union.mkdir(parents=True, exist_ok=True)
    vocab = spacy.blank("xx").vocab
    taken: set[str] = set()
    train, dev = [], []
    for corpus in task.teachers:
        own = []
        for doc in DocBin().from_disk(folder / corpus / "train.spacy").get_docs(vocab):
            if doc.text not in taken:
                taken.add(doc.text)
                own.append(doc)
        write_docs(own, union / f"{corpus}.spacy")
        train += own
        dev += list(DocBin().from_disk(folder / corpus / "dev.spacy").get_docs(vocab))[:N_DEV]
    random.Random(0).shuffle(train)
    write_docs(dev, union / "dev.spacy")
    write_docs(train, union / "train.spacy")


class MultilingualBench(Bench):
    """The teachers and students of the tables."""

    def recipe(self, run: Run) -> Recipe:
        name, corpus = run.corpus.split("/")
        task = TASKS[name]
        train = self.work / run.corpus / "train.spacy"
        if run.system == "teacher":
            kind = "transformer" if corpus in task.transformer else "teacher"
            config = self.write_config(run, task, kind, task.teachers[corpus])
            steps = STEPS[kind] // (1 if run.setting == "full" else WEAKER)
            return Recipe(config, train, steps)
        config = self.write_config(run, task, "student", "xx")
        kind = "gold" if run.system == "gold" else "kd"
        options = ("--training.dropout", DROPOUT[kind])
        taught_on = () if kind == "gold" else (train,)
        return Recipe(config, train, STEPS["student"], taught_on, options=options)

    def write_config(self, run: Run, task: Task, kind: str, lang: str) -> Path:
        """A config of benchmarks/ner.py for another language, encoder, component or objective."""
        name = "teacher.cfg" if kind == "transformer" else "student.cfg"
        config = load_config(CONFIGS / name)
        config["nlp"]["lang"] = lang
        component = config["components"]["ner"]
        component["model"]["@architectures"] = ARCHITECTURES["CRF"]
        if kind == "teacher":
            component["model"]["tok2vec"].update(WIDE)
        if kind == "student":
            component["objective"] = OBJECTIVES[run.system]
        if task.component == "tagger":
            del config["components"]["ner"], component["spans_key"]
            config["nlp"]["pipeline"][-1] = "tagger"
            config["components"]["tagger"] = component | TAGGER
            config["training"]["score_weights"] = {"pos_acc": 1.0}
        path = self.work / run.corpus / f"{run.name}.cfg"
        config.to_disk(path)
        return path

    def targets(self, run: Run, sources: Sequence[Path]) -> list[Path]:
        """A store of each teacher, with its language's part of the union."""
        name, corpus = run.corpus.split("/")
        if corpus != UNION:
            return super().targets(run, sources)
        folder = self.work / run.corpus
        return [
            self.annotated(
                Run(f"{name}/{teacher}", run.setting, "teacher", 0),
                [folder / f"{teacher}.spacy"],
                folder / f"targets-{run.setting}-{teacher}",
            )
            for teacher in TASKS[name].teachers
        ]

    def scores(self, run: Run) -> dict[str, float]:
        """The score of each corpus's test set, those that nobody has learnt from too."""
        name, _ = run.corpus.split("/")
        task = TASKS[name]
        scores = {"dev_f": self.on_dev(run)[task.metric]}
        for corpus in (*task.teachers, *task.others):
            found = self.evaluate(run, self.work / name / corpus / "test.spacy")
            scores[f"test_f_{corpus}"] = found[task.metric]
        return {score: round(100 * value, 2) for score, value in scores.items()}


def write_costs(bench: MultilingualBench, tasks: list[str], path: Path) -> None:
    """Words/s on each language of its teacher and of the student, and sizes on disk in MB."""
    costs = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    done = finished(bench.results)
    for name in tasks:
        student = Run(f"{name}/{UNION}", "full", "structural", 0)
        rows = {}
        for corpus in TASKS[name].teachers:
            teacher = Run(f"{name}/{corpus}", "full", "teacher", 0)
            if {student, teacher} <= done:
                models = {
                    run.system: bench.folder(run) / "model-best" for run in (teacher, student)
                }
                speeds = pipe_speeds(models, bench.work / name / corpus / "test.spacy")
                sizes = {system: megabytes(model) for system, model in models.items()}
                rows[corpus] = {"words/s": speeds, "MB": sizes}
        costs[name] = rows
    path.write_text(json.dumps(costs, indent=2) + "\n", encoding="utf-8")


def make_table(rows: list[dict], costs: Path) -> str:
    """A table a task: systems down, corpora across, those that nobody has learnt from last."""
    measured = json.loads(costs.read_text(encoding="utf-8")) if costs.exists() else {}
    lines = []
    for name, task in TASKS.items():
        own = [row for row in rows if row["corpus"].startswith(f"{name}/")]
        if not own:
            continue
        titles = [*task.teachers, "mean", *(f"{corpus} (not learnt)" for corpus in task.others)]
        lines += [
            f"| {name} | " + " | ".join(titles) + " | seeds |",
            "| --- |" + " ---: |" * (len(titles) + 1),
        ]
        systems: dict[str, list[dict]] = {}
        for setting, title in (("full", "teachers"), ("weak", "weak teachers")):
            taught = [row for row in own if (row["system"], row["setting"]) == ("teacher", setting)]
            if setting == "full":
                systems |= {f"teacher, {corpus_of(row)}": [row] for row in taught}
            if len(taught) == len(task.teachers):
                scores = [f"test_f_{corpus_of(row)}" for row in taught]
                together = {score: row[score] for score, row in zip(scores, taught)}
                systems[f"{title}, each in its own language"] = [together]
        for setting, title in (("full", ""), ("weak", ", weak teachers")):
            for system in SYSTEMS:
                found = [row for row in own if (row["system"], row["setting"]) == (system, setting)]
                if found:
                    systems[f"student, {system}{title}"] = found
        for system, found in systems.items():
            for row in found:
                known = [row.get(f"test_f_{corpus}") for corpus in task.teachers]
                if None not in known:
                    row["test_f_mean"] = mean(known)
                    if row.get("system") in SYSTEMS:
                        row["dev_f_mean"] = row["dev_f"]
            cells = [
                cell([row for row in found if f"test_f_{column}" in row], f"f_{column}")
                for column in (*task.teachers, "mean", *task.others)
            ]
            lines.append(f"| {system} | " + " | ".join(cells) + f" | {len(found)} |")
        lines.append("")
        if measured.get(name):
            lines += [*cost_lines(measured[name]), ""]
    return "\n".join(lines)


def corpus_of(row: dict) -> str:
    return row["corpus"].split("/")[1]


def cost_lines(costs: Mapping[str, Any]) -> list[str]:
    """The student against its teachers: words/s in each language, sizes."""
    ratios = {
        corpus: cost["words/s"]["structural"] / cost["words/s"]["teacher"]
        for corpus, cost in costs.items()
    }
    teachers = sum(cost["MB"]["teacher"] for cost in costs.values())
    student = mean(cost["MB"]["structural"] for cost in costs.values())
    listed = ", ".join(f"{corpus} {ratio:.1f} ×" for corpus, ratio in ratios.items())
    return [
        f"Words/s of the student against the teacher: {listed}. On disk: student {student:.0f} MB, "
        f"teachers {teachers:.0f} MB together."
    ]


if __name__ == "__main__":
    typer.run(main)
