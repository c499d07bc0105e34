"""Many monolingual teachers, one multilingual student: what it takes from them, and languages that
none of them knows.

    OMP_NUM_THREADS=1 python benchmarks/multilingual.py DATA --work /tmp/multilingual --jobs 2 \
        --speed --raw en=TEXT/en.txt --raw de=TEXT/de.txt --raw es=TEXT/es.txt --raw nl=TEXT/nl.txt

DATA has ner/wikiann with a folder a language (train.iob, dev.iob, test.iob), and ud with a folder a
treebank. Each sentence's targets are those of the teacher of its language. Languages are sampled by
their share of the sentences: every pass reads each sentence once. Sentences of dev and test whose
text is in the teachers' training data are left out. Treebanks are read with their own tokens.

Models are chosen on the first sentences of dev of all languages together; test is read once, at the
end of a run. With --raw for all languages of a task, one more student gets sentences without
annotation. Runs come in the order in which they tell most: teachers, students of one seed, those of
weak teachers, then the other task and the other seeds. Resumable (training_runs.py). Tried out in
minutes with --limit 200 --steps 20 and results of their own (--results).
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import spacy
import srsly
import typer
from multilingual_tables import FULL, METHODS, OF_WEAK, RAW, SYSTEMS, WEAK, make_table
from multilingual_tasks import TASKS, UNION, Task, task_of, write_corpora, write_raw
from objectives import ARCHITECTURES, OBJECTIVES
from spacy.language import Language
from spacy.training import Corpus
from spacy.util import load_config
from thinc.api import Model
from training_runs import (
    CONFIGS,
    RESULTS,
    Bench,
    Recipe,
    Run,
    finished,
    pipe_speeds,
    read_rows,
)

from spacy_skd.cli.compare import megabytes

SEEDS = 2
WIDE = {
    "@architectures": "spacy-skd.HashEmbedRecurrent.v1",
    "pretrained_vectors": False,
    "width": 192,
    "depth": 2,
    "embed_size": 10000,
    "window_size": 1,
    "maxout_pieces": 3,
    "subword_features": True,
    "recurrence": "lstm",
}
"""The encoder of teachers without a transformer: another kind than the student's, and four times as
many parameters."""
STEPS = {"transformer": (300, 60), "teacher": (1500, 150), "student": (2000, 2000)}
"""Of full and of weak teachers. The first 20 of a transformer are its warm-up."""
DROPOUT = {"gold": 0.3, "kd": 0.2}
FIRST = ("gold", "structural", METHODS[-1])  # of the students
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
    raw: Annotated[list[str] | None, typer.Option(help="LANG=FILE, text to learn from")] = None,
    jobs: Annotated[int, typer.Option(help="Runs at a time, one thread each")] = 1,
    speed: Annotated[bool, typer.Option(help="Measure words/s and sizes of what has run")] = False,
    limit: Annotated[int, typer.Option(help="Sentences of a split; 0 for all")] = 0,
    steps: Annotated[int, typer.Option(help="Steps of every run; 0 for those reported")] = 0,
    results: Annotated[Path, typer.Option(help="Finished runs")] = RESULTS / "multilingual.jsonl",
) -> None:
    """Run what is missing, then write the tables next to the results."""
    chosen = tasks or list(TASKS)
    if unknown := set(chosen) - TASKS.keys():
        known = ", ".join(TASKS)
        raise typer.BadParameter(f"There are the tasks {known}, not {', '.join(sorted(unknown))}.")
    texts = texts_by_language(raw or [])
    runs = []
    for name in chosen:
        task, folder = TASKS[name], folder_of(name, limit)
        write_corpora(task, data, work / folder, limit)
        has_raw = texts.keys() >= set(task.teachers.values())
        if has_raw:
            write_raw(task, texts, work / folder, limit)
        runs += runs_of(task, folder, seeds, has_raw=has_raw)
    bench = MultilingualBench(work, results, steps)
    costs = results.with_name(f"{results.stem}_speed.json")
    folders = {folder_of(name, limit) for name in TASKS}
    with bench.all_run(sorted(runs, key=lambda run: run.seed), jobs):
        for name in chosen if speed else ():
            write_costs(bench, name, folder_of(name, limit), costs)
        rows = [row for row in read_rows(results) if row["corpus"].split("/")[0] in folders]
        table = make_table(rows, costs, work)
        results.with_suffix(".md").write_text(table, encoding="utf-8")
        print(table)


def folder_of(task: str, limit: int) -> str:
    """The folder of a task's corpora, or of their first sentences."""
    return f"{task}-{limit}" if limit else task


def texts_by_language(items: Sequence[str]) -> dict[str, list[Path]]:
    """The files of each language, from LANG=FILE. BadParameter for what is not of that form."""
    texts: dict[str, list[Path]] = {}
    for item in items:
        lang, _, path = item.partition("=")
        if not path or not Path(path).exists():
            raise typer.BadParameter(f"'{item}' is not LANG=FILE with a file that there is.")
        texts.setdefault(lang, []).append(Path(path))
    return texts


def runs_of(task: Task, folder: str, seeds: int, *, has_raw: bool) -> list[Run]:
    """The runs of a task: teachers before those who learn from them, what tells most first."""
    union = f"{folder}/{UNION}"
    systems = [*FIRST, *(name for name in SYSTEMS if name not in (*FIRST, RAW))]
    runs = [Run(f"{folder}/{corpus}", FULL, "teacher", 0) for corpus in task.teachers]
    runs += [Run(union, FULL, system, 0) for system in systems]
    runs += [Run(union, FULL, RAW, 0)] if has_raw else []
    runs += [Run(f"{folder}/{corpus}", WEAK, "teacher", 0) for corpus in task.teachers]
    runs += [Run(union, WEAK, system, 0) for system in OF_WEAK]
    for seed in range(1, seeds):
        runs += [Run(union, FULL, system, seed) for system in systems]
        runs += [Run(union, WEAK, system, seed) for system in OF_WEAK]
    return runs


class MultilingualBench(Bench):
    """The teachers and students of the tables.

    steps: of every run; 0 for `STEPS`.
    """

    def __init__(self, work: Path, results: Path, steps: int = 0) -> None:
        super().__init__(work, results)
        self.steps = steps

    def recipe(self, run: Run) -> Recipe:
        corpus, task = run.corpus.split("/")[1], task_of(run.corpus)
        train = self.work / run.corpus / "train.spacy"
        own_tokens = ("--corpora.dev.gold_preproc", "true") if task.own_tokens else ()
        if run.system == "teacher":
            kind = "transformer" if corpus in task.transformer else "teacher"
            config = self.write_config(run, task, kind, task.teachers[corpus])
            return Recipe(config, train, self.steps_of(kind, run), options=own_tokens)
        config = self.write_config(run, task, "student", "xx")
        kind = "gold" if run.system == "gold" else "kd"
        options = ("--training.dropout", DROPOUT[kind], *own_tokens)
        taught_on = () if kind == "gold" else (train,)
        raw = self.work / run.corpus / "raw" if run.system == RAW else None
        steps = self.steps_of("student", run)
        return Recipe(config, train, steps, taught_on, raw, options)

    def steps_of(self, kind: str, run: Run) -> int:
        return self.steps or STEPS[kind][run.setting == WEAK]

    def write_config(self, run: Run, task: Task, kind: str, lang: str) -> Path:
        """A config of benchmarks/ner.py for another language, encoder, component or objective."""
        name = "teacher.cfg" if kind == "transformer" else "student.cfg"
        config = load_config(CONFIGS / name)
        config["nlp"]["lang"] = lang
        component = config["components"]["ner"]
        component["model"]["@architectures"] = ARCHITECTURES["CRF"]
        if kind == "teacher":
            component["model"]["tok2vec"] = WIDE
        if kind == "student":
            objective = "structural" if run.system == RAW else run.system
            component["objective"] = OBJECTIVES[objective]
        if task.component == "tagger":
            del config["components"]["ner"], component["spans_key"]
            config["nlp"]["pipeline"][-1] = "tagger"
            config["components"]["tagger"] = component | TAGGER
            config["training"]["score_weights"] = {"pos_acc": 1.0, "tag_acc": None}
        if task.labels is not None:
            labels = self.work / run.corpus / "labels.json"
            srsly.write_json(labels, list(task.labels))
            reader = {"@readers": "spacy.read_labels.v1", "path": str(labels)}
            config.setdefault("initialize", {})["components"] = {task.component: {"labels": reader}}
        path = self.work / run.corpus / f"{run.name}.cfg"
        config.to_disk(path)
        return path

    def targets(self, run: Run, sources: Sequence[Path]) -> list[Path]:
        """A store of each teacher, with its language's part of the union, and one with its raw
        sentences for those who read them."""
        name, corpus = run.corpus.split("/")
        if corpus != UNION:
            return super().targets(run, sources)
        folder = self.work / run.corpus
        parts = {run.setting: folder} | ({"raw": folder / "raw"} if run.system == RAW else {})
        return [
            self.annotated(
                Run(f"{name}/{teacher}", run.setting, "teacher", 0),
                [texts / f"{teacher}.spacy"],
                folder / f"targets-{part}-{teacher}",
            )
            for part, texts in parts.items()
            for teacher in task_of(run.corpus).teachers
        ]

    def scores(self, run: Run) -> dict[str, float]:
        """The score on each corpus's test set, those that nobody has learnt from too, and how many
        parameters the model has. Weak teachers are there for their own language alone."""
        name, corpus = run.corpus.split("/")
        task = task_of(run.corpus)
        nlp = spacy.load(self.folder(run) / "model-best")
        is_weak_teacher = (run.system, run.setting) == ("teacher", WEAK)
        tests = [corpus] if is_weak_teacher else [*task.teachers, *task.others]
        scores = {"dev_f": self.on_dev(run)[task.metric]}
        for test in tests:
            reader = Corpus(self.work / name / test / "test.spacy", gold_preproc=task.own_tokens)
            scores[f"test_f_{test}"] = nlp.evaluate(list(reader(nlp)))[task.metric]
        rounded = {score: round(100 * value, 2) for score, value in scores.items()}
        return rounded | {"parameters": n_parameters(nlp)}


def n_parameters(nlp: Language) -> int:
    """How many numbers a pipeline has learnt, those of torch models too."""
    models = [
        pipe.model for _, pipe in nlp.pipeline if isinstance(getattr(pipe, "model", 0), Model)
    ]  # type: ignore[attr-defined]
    nodes = {node.id: node for model in models for node in model.walk()}
    torch_models = [getattr(shim, "_model", None) for n in nodes.values() for shim in n.shims]
    return sum(
        node.get_param(name).size
        for node in nodes.values()
        for name in node.param_names
        if node.has_param(name)
    ) + sum(weights.numel() for m in torch_models if m is not None for weights in m.parameters())


def write_costs(bench: MultilingualBench, name: str, folder: str, path: Path) -> None:
    """Words/s on each language of its teacher and of the student, and sizes on disk in MB."""
    costs = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    done = finished(bench.results)
    student = Run(f"{folder}/{UNION}", FULL, "structural", 0)
    rows = {}
    for corpus in TASKS[name].teachers:
        teacher = Run(f"{folder}/{corpus}", FULL, "teacher", 0)
        if {student, teacher} <= done:
            models = {run.system: bench.folder(run) / "model-best" for run in (teacher, student)}
            speeds = pipe_speeds(models, bench.work / folder / corpus / "test.spacy")
            sizes = {system: megabytes(model) for system, model in models.items()}
            rows[corpus] = {"words/s": speeds, "MB": sizes}
    costs[name] = rows
    path.write_text(json.dumps(costs, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
