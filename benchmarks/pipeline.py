"""A whole pipeline of tags, morphology, trees and entities: one teacher, the student of all tasks,
a student for each task, spaCy's own components; and a compact transformer of entities, started from
the teacher's layers.

    OMP_NUM_THREADS=1 BFLOAT16=1 python benchmarks/pipeline.py DATA --work /tmp/pipeline --jobs 2 \
        --speed --raw TEXT/en.txt --raw wnut17/train.iob

DATA has ud/en_ewt/*.conllu and ner/en_ewt/*.iob, the same sentences with trees and with entities.
Every document is one sentence with the corpus's own tokens, for all systems. With --raw, students
get further sentences with the teacher's word alone: all of corpora, of plain text what is missing
to 15,000. Models are chosen on dev; test is read once, at the end of a run. Resumable
(training_runs.py). Tried out in minutes with --limit 100 --steps 10 and results of their own
(--results). The transformer is trained and asked in bfloat16 (BFLOAT16=1).
"""

import json
import time
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from statistics import mean, median
from typing import Annotated, Any, ClassVar

import spacy
import typer
from raw_sentences import RAW, prepare_raw
from spacy.language import Language
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
    read_rows,
    write_docs,
)

from spacy_skd.cli.compare import megabytes
from spacy_skd.cli.convert import read_corpus
from spacy_skd.distill.copies import plain_copy
from spacy_skd.training.join_entities import Joined, join_entities

CORPUS = "en_ewt"
STOCK_CONFIG = Path(__file__).parent / "spacy_pipeline.cfg"
SPLITS = ("train", "dev", "test")
STEPS = {"teacher": 600, "student": 3000}
COMPACT_STEPS = 300
SETTING = "distilled"
GOLD = "gold"
# The component of each task and the scores that tell how well it is done.
TASKS = {
    "tagger": ("tag_acc",),
    "morphologizer": ("pos_acc", "morph_acc"),
    "parser": ("dep_las", "dep_uas"),
    "ner": ("ents_f",),
}
SCORES = [score for scores in TASKS.values() for score in scores]
TEACHER, JOINT, SEPARATE = "teacher", "joint", "separate"
# Other settings of the joint student: how much entities weigh, and dropout.
LIGHTER, DROPPING, EQUAL = "joint-lighter", "joint-dropout", "joint-equal"
WEIGHT, DROPOUT = "--components.ner.objective.loss_weight", "--training.dropout"
VARIANTS: dict[str, tuple[object, ...]] = {
    LIGHTER: (WEIGHT, 3.0),
    DROPPING: (WEIGHT, 3.0, DROPOUT, 0.2),
    EQUAL: (WEIGHT, 1.0, DROPOUT, 0.2),
}
GOLD_DROPOUT = 0.2  # of students from gold alone, chosen on dev
COMPACT = "compact"
STOCK, SAME = "spacy", "spacy-same-encoder"
TITLES = {
    TEACHER: "teacher: one transformer",
    JOINT: "one student, distilled at once",
    LIGHTER: "the same with a weight of 3 for entities",
    DROPPING: "with a weight of 3 and a dropout of 0.2",
    EQUAL: "with equal weights and a dropout of 0.2",
    SEPARATE: "a student for each task, distilled apart",
    COMPACT: "a transformer of three layers, distilled",
    SAME: "spaCy's components on the student's encoder, gold",
    STOCK: "spaCy's components on its usual encoder, gold",
}
GOLD_TITLES = {JOINT: "one student, gold", SEPARATE: "a student of entities alone, gold"}
NOT_TIMED = [(GOLD, system) for system in GOLD_TITLES]  # as fast as those that are distilled
ROWS = [
    (SETTING, TEACHER),
    *(
        (setting, system)
        for system in (JOINT, *VARIANTS, SEPARATE, COMPACT)
        for setting in (SETTING + RAW, SETTING)
    ),
    *((GOLD, system) for system in (JOINT, SEPARATE, SAME, STOCK)),
]
"""The rows of the table, by setting and system."""
MOST_LOST = 0.5  # points that the joint student may lose to the student of one task
FASTER = 1.5  # than spaCy's components on the same encoder


def main(
    data: Annotated[Path, typer.Argument(help="Folder with ud/en_ewt and ner/en_ewt", exists=True)],
    work: Annotated[Path, typer.Option(help="Folder for models and targets")],
    seeds: Annotated[int, typer.Option(help="Seeds of each student")] = 3,
    only: Annotated[str, typer.Option(help="Only systems with this in their name")] = "",
    raw: Annotated[list[Path] | None, typer.Option(help="More text", exists=True)] = None,
    jobs: Annotated[int, typer.Option(help="Runs at a time, one thread each")] = 1,
    speed: Annotated[bool, typer.Option(help="Measure speed and size of what has run")] = False,
    limit: Annotated[int, typer.Option(help="Sentences of a split; 0 for all")] = 0,
    steps: Annotated[int, typer.Option(help="Steps of every run; 0 for those reported")] = 0,
    results: Annotated[Path, typer.Option(help="Finished runs")] = RESULTS / "pipeline.jsonl",
) -> None:
    """Run what is missing, then write the table next to the results."""
    corpus = f"{CORPUS}-{limit}" if limit else CORPUS
    folder = work / corpus
    prepare_joined(data, folder, limit)
    if raw:
        prepare_raw("en", raw, folder / "raw.spacy")
    setting = SETTING + RAW if raw else SETTING
    bench = PipelineBench(work, results, steps)
    # Those that need no teacher first: they run while it is trained.
    kinds = [
        (GOLD, (SAME, STOCK)),
        (setting, (JOINT, *TASKS)),
        (setting, (COMPACT,)),
        (setting, tuple(VARIANTS)),
        (GOLD, (JOINT, "ner")),
    ]
    students = [
        Run(corpus, setting, system, seed)
        for setting, systems in kinds
        for seed in range(seeds)
        for system in systems
        if only in system
    ]
    with bench.all_run([Run(corpus, SETTING, TEACHER, 0), *students], jobs):
        measured = results.with_name(f"{results.stem}_speed.json")
        if speed:
            write_speeds(bench, corpus, measured)
        print(write_table(corpus, results, measured, folder / "joined.json"))


def prepare_joined(data: Path, folder: Path, limit: int = 0) -> None:
    """Write the sentences of the treebank with the entities of the same sentences, and how many
    there are, with and without (joined.json)."""
    if (folder / "joined.json").exists():  # written last
        return
    folder.mkdir(parents=True, exist_ok=True)
    nlp = spacy.blank("en")
    counts = {}
    for split in SPLITS:
        trees = read_corpus(data / "ud" / CORPUS / f"{split}.conllu", nlp)
        entities = read_corpus(data / "ner" / CORPUS / f"{split}.iob", nlp)
        joined = Joined()
        docs = join_entities(islice(trees, limit or None), entities, joined)
        write_docs(docs, folder / f"{split}.spacy")
        counts[split] = {"sentences": joined.n_docs, "without entities": joined.n_without}
    (folder / "joined.json").write_text(json.dumps(counts) + "\n", encoding="utf-8")


class PipelineBench(Bench):
    """The systems of the table. The separate students have the names of their components.

    steps: of every run; 0 for `STEPS`.
    """

    gold_tokens: ClassVar[bool] = True

    def __init__(self, work: Path, results: Path, steps: int = 0) -> None:
        super().__init__(work, results)
        self.steps = steps

    def recipe(self, run: Run) -> Recipe:
        train = self.work / run.corpus / "train.spacy"
        steps = self.steps or STEPS[run.role]
        if run.system == TEACHER:
            return Recipe(CONFIGS / "teacher_pipeline.cfg", train, steps)
        if run.system == STOCK:
            return Recipe(STOCK_CONFIG, train, steps)
        if run.system == SAME:
            return Recipe(self.write_stock_config(run), train, steps)
        config = CONFIGS / "student_pipeline.cfg"
        options = VARIANTS.get(run.system, ())
        if run.system in TASKS:
            config = self.write_config(run)
        elif run.system == COMPACT:
            config, steps = CONFIGS / "student_gpu.cfg", self.steps or COMPACT_STEPS
            options = ("--paths.teacher", self.folder(self.teacher_of(run)) / "model-best")
        if run.setting == GOLD:
            return Recipe(config, train, steps, options=(DROPOUT, GOLD_DROPOUT))
        raw = self.work / run.corpus / "raw.spacy" if run.setting.endswith(RAW) else None
        return Recipe(config, train, steps, (train, raw) if raw else (train,), raw, options)

    def teacher_of(self, run: Run) -> Run:
        return Run(run.corpus, SETTING, TEACHER, 0)

    def targets(self, run: Run, sources: Sequence[Path]) -> list[Path]:
        store = self.work / run.corpus / "targets"
        return [self.annotated(self.teacher_of(run), sources, store)]

    def write_stock_config(self, run: Run) -> Path:
        """spaCy's components on the student's encoder."""
        config = load_config(STOCK_CONFIG)
        student = load_config(CONFIGS / "student_pipeline.cfg")
        config["components"]["tok2vec"] = student["components"]["tok2vec"]
        path = self.work / run.corpus / f"{run.name}.cfg"
        config.to_disk(path)
        return path

    def write_config(self, run: Run) -> Path:
        """The student's config with one of its tasks."""
        config = load_config(CONFIGS / "student_pipeline.cfg")
        config["nlp"]["pipeline"] = ["tok2vec", run.system]
        for task in TASKS.keys() - {run.system}:
            del config["components"][task]
            for score in TASKS[task]:
                config["training"]["score_weights"][score] = None
        config["components"][run.system]["objective"]["loss_weight"] = 1.0
        path = self.work / run.corpus / f"{run.name}.cfg"
        config.to_disk(path)
        return path

    def scores(self, run: Run) -> dict[str, float]:
        found = {
            "dev": self.on_dev(run),
            "test": self.evaluate(run, self.work / run.corpus / "test.spacy"),
        }
        # A student of one task has no scores of the others.
        known = TASKS["ner"] if run.system == COMPACT else TASKS.get(run.system, SCORES)
        return {
            f"{part}_{score}": round(100 * scores[score], 2)
            for part, scores in found.items()
            for score in known
        }


def write_speeds(bench: PipelineBench, corpus: str, path: Path) -> None:
    """Words/s and size of each system that has a model here, except `VARIANTS`, and how much of
    its time each component takes. What was measured before stays if one of those that are compared
    has none."""
    models: dict[str, Path] = {}
    for run in sorted(finished(bench.results), key=lambda run: run.seed):
        model = bench.folder(run) / "model-best"
        if run.corpus == corpus and model.exists() and run.system not in VARIANTS:
            models.setdefault(run.system, model)
    if missing := {JOINT, SAME, STOCK} - models.keys():
        print(f"Speeds are not measured: there are no models of {', '.join(sorted(missing))}.")
        return
    test = bench.work / corpus / "test.spacy"
    speeds = {
        "words/s": pipe_speeds(models, test),
        "megabytes": {name: megabytes(model) for name, model in models.items()},
        "shares": {
            name: component_shares(spacy.load(models[name]), test)
            for name in (JOINT, SAME, STOCK)
            if name in models
        },
    }
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))["megabytes"]
        speeds["megabytes"] = before | speeds["megabytes"]
    path.write_text(json.dumps(speeds, indent=2) + "\n", encoding="utf-8")


def component_shares(nlp: Language, test: Path, rounds: int = 5) -> dict[str, float]:
    """Which part of the CPU time of all components each of them takes."""
    docs = list(DocBin().from_disk(test).get_docs(nlp.vocab))
    seconds: dict[str, list[float]] = {name: [] for name in nlp.pipe_names}
    for _ in range(rounds):
        plain = [plain_copy(doc, nlp.vocab) for doc in docs]
        for name, component in nlp.pipeline:
            start = time.process_time()
            deque(component.pipe(plain, batch_size=nlp.batch_size), maxlen=0)
            seconds[name].append(time.process_time() - start)
    whole = sum(map(median, seconds.values()))
    return {name: median(times) / whole for name, times in seconds.items()}


def write_table(corpus: str, results: Path, measured: Path, joined: Path) -> str:
    """Write the table of what has finished, which is returned."""
    rows = [row for row in read_rows(results) if row["corpus"] == corpus]
    speeds = json.loads(measured.read_text(encoding="utf-8")) if measured.exists() else {}
    counts = json.loads(joined.read_text(encoding="utf-8"))
    table = "\n".join([*make_table(rows, speeds), "", *remarks(rows, speeds, counts), ""])
    results.with_suffix(".md").write_text(table, encoding="utf-8")
    return table


def rows_of(rows: list[dict], setting: str, system: str, score: str) -> list[dict]:
    """The runs that say how well a system does a task; `SEPARATE` is the student of the task."""
    task = next(task for task, scores in TASKS.items() if score in scores)
    name = task if system == SEPARATE else system
    return [
        row
        for row in rows
        if (row["setting"], row["system"]) == (setting, name) and f"test_{score}" in row
    ]


def make_table(rows: list[dict], speeds: Mapping[str, Any]) -> list[str]:
    """Scores on test (dev), words/s against spaCy's components, size."""
    lines = [
        f"| test (dev) | {' | '.join(SCORES)} | words/s, × spaCy's | MB on disk |",
        "| --- |" + " ---: |" * (len(SCORES) + 2),
    ]
    for setting, system in ROWS:
        found = [rows_of(rows, setting, system, score) for score in SCORES]
        if not any(found):
            continue
        cells = [cell(runs, score) for runs, score in zip(found, SCORES)]
        measured = {} if (setting, system) in NOT_TIMED else speeds
        ratio, size = speed_ratio(measured, system), size_of(measured, system)
        cells += ["–" if ratio is None else f"{ratio:.2f}", "–" if size is None else f"{size:.1f}"]
        title = TITLES[system] + (", with raw text" if setting.endswith(RAW) else "")
        if setting == GOLD:
            title = GOLD_TITLES.get(system, title)
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return lines


def members(system: str) -> list[str]:
    """The pipelines that make up a row of the table."""
    return list(TASKS) if system == SEPARATE else [system]


def speed_ratio(speeds: Mapping[str, Any], system: str, rival: str = STOCK) -> float | None:
    """Words/s against a rival's. Several pipelines read one after another."""
    measured = speeds.get("words/s", {})
    if not {*members(system), rival} <= measured.keys():
        return None
    return 1 / sum(measured[rival] / measured[name] for name in members(system))


def size_of(speeds: Mapping[str, Any], system: str) -> float | None:
    sizes = speeds.get("megabytes", {})
    if not sizes.keys() >= set(members(system)):
        return None
    return sum(sizes[name] for name in members(system))


def remarks(
    rows: list[dict], speeds: Mapping[str, Any], counts: Mapping[str, Mapping[str, int]]
) -> list[str]:
    """What the corpus is, which goals are met, and where the time goes."""
    sizes = ", ".join(
        f"{split} {of['sentences']:,} ({of['without entities']} without entities)"
        for split, of in counts.items()
    )
    lines = [f"Sentences: {sizes}.", ""]
    setting = next(
        (row["setting"] for row in rows if row["setting"].endswith(RAW)),
        SETTING,
    )
    lost = largest_loss(rows, setting, (setting, SEPARATE))
    if lost is not None:
        goal = f"at most {MOST_LOST} points below the student of each task"
        lines.append(f"- {goal}: {verdict(lost <= MOST_LOST)} (at worst {-lost:+.2f})")
    for rival, encoder in ((SAME, "the same encoder"), (STOCK, "its usual encoder")):
        lost = largest_loss(rows, setting, (GOLD, rival))
        if lost is not None:
            goal = f"above spaCy's components on {encoder} in every task"
            lines.append(f"- {goal}: {verdict(lost < 0)} (at worst {-lost:+.2f})")
        ratio = speed_ratio(speeds, JOINT, rival)
        if ratio is not None:
            goal = f"at least {FASTER} times the words/s of spaCy's components on {encoder}"
            lines.append(f"- {goal}: {verdict(ratio >= FASTER)} ({ratio:.2f})")
    for name, shares in speeds.get("shares", {}).items():
        parts = ", ".join(f"{component} {share:.0%}" for component, share in shares.items())
        lines += ["", f"Time of the components, {TITLES[name]}: {parts}."]
    return lines


def verdict(met: bool) -> str:
    return "met" if met else "**not met**"


def largest_loss(rows: list[dict], setting: str, rival: tuple[str, str]) -> float | None:
    """Points on test by which the joint student of a setting is behind, in the task where it is
    worst.

    rival: a setting and a system.
    """
    losses = []
    for score in SCORES:
        joint, other = rows_of(rows, setting, JOINT, score), rows_of(rows, *rival, score)
        if not joint or not other:
            return None
        losses.append(
            mean(row[f"test_{score}"] for row in other)
            - mean(row[f"test_{score}"] for row in joint)
        )
    return max(losses)


if __name__ == "__main__":
    typer.run(main)
