"""A whole pipeline of tags, morphology, trees and entities: one teacher, the student of all tasks,
a student for each task, spaCy's own components.

    OMP_NUM_THREADS=1 python benchmarks/pipeline.py DATA --work /tmp/pipeline --jobs 2 --speed

DATA has ud/en_ewt/*.conllu and ner/en_ewt/*.iob, the same sentences with trees and with entities.
Every document is one sentence, for all systems. Models are chosen on dev; test is read once, at the
end of a run. Resumable (training_runs.py). Tried out in minutes with --limit 100 --steps 10 and
results of their own (--results).
"""

import json
import time
from collections import defaultdict, deque
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from statistics import mean, median
from typing import Annotated, Any

import spacy
import typer
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span
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

CORPUS = "en_ewt"
STOCK_CONFIG = Path(__file__).parent / "spacy_pipeline.cfg"
SPLITS = ("train", "dev", "test")
STEPS = {"teacher": 600, "student": 3000}
SETTING = "distilled"
GOLD = "gold"
# The component of each task and the scores that tell how well it is done.
TASKS = {
    "tagger": ("tag_acc",),
    "morphologizer": ("morph_acc",),
    "parser": ("dep_las", "dep_uas"),
    "ner": ("ents_f",),
}
SCORES = [score for scores in TASKS.values() for score in scores]
TEACHER, JOINT = "teacher", "joint"
STOCK, SAME = "spacy", "spacy-same-encoder"
TITLES = {
    TEACHER: "teacher: one transformer",
    JOINT: "one student, distilled at once",
    "separate": "a student for each task, distilled apart",
    SAME: "spaCy's components on the student's encoder, gold",
    STOCK: "spaCy's components on its usual encoder, gold",
}
MOST_LOST = 0.5  # points that the joint student may lose to the student of one task
FASTER = 1.5  # than spaCy's components on the same encoder


def main(
    data: Annotated[Path, typer.Argument(help="Folder with ud/en_ewt and ner/en_ewt", exists=True)],
    work: Annotated[Path, typer.Option(help="Folder for models and targets")],
    seeds: Annotated[int, typer.Option(help="Seeds of each student")] = 3,
    only: Annotated[str, typer.Option(help="Only systems with this in their name")] = "",
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
    bench = PipelineBench(work, results, steps)
    students = [
        Run(corpus, GOLD if system in (STOCK, SAME) else SETTING, system, seed)
        for seed in range(seeds)
        for system in (JOINT, SAME, STOCK, *TASKS)
        if only in system
    ]
    bench.run_all([Run(corpus, SETTING, TEACHER, 0), *students], jobs)
    measured = results.with_name(f"{results.stem}_speed.json")
    if speed:
        write_speeds(bench, corpus, measured)
    rows = [row for row in read_rows(results) if row["corpus"] == corpus]
    speeds = json.loads(measured.read_text(encoding="utf-8")) if measured.exists() else {}
    counts = json.loads((folder / "joined.json").read_text(encoding="utf-8"))
    table = "\n".join([*make_table(rows, speeds), "", *remarks(rows, speeds, counts), ""])
    results.with_suffix(".md").write_text(table, encoding="utf-8")
    print(table)


def prepare_joined(data: Path, folder: Path, limit: int = 0) -> None:
    """Write the sentences that the treebank and the corpus of entities share, with both
    annotations, and how many there are (joined.json)."""
    if (folder / "joined.json").exists():  # written last
        return
    folder.mkdir(parents=True, exist_ok=True)
    nlp = spacy.blank("en")
    counts = {}
    for split in SPLITS:
        trees = read_corpus(data / "ud" / CORPUS / f"{split}.conllu", nlp)
        entities = list(read_corpus(data / "ner" / CORPUS / f"{split}.iob", nlp))
        sentences = list(islice(trees, limit or None))
        docs = joined(sentences, entities)
        write_docs(docs, folder / f"{split}.spacy")
        counts[split] = {"sentences": len(docs), "left out": len(sentences) - len(docs)}
    (folder / "joined.json").write_text(json.dumps(counts) + "\n", encoding="utf-8")


def joined(trees: list[Doc], entities: list[Doc]) -> list[Doc]:
    """The documents with trees that have the same words as one with entities, with its entities."""
    found: dict[tuple[str, ...], deque[Doc]] = defaultdict(deque)
    for doc in entities:
        found[words_of(doc)].append(doc)
    docs = []
    for doc in trees:
        if same := found[words_of(doc)]:
            names = same.popleft().ents
            doc.set_ents([Span(doc, name.start, name.end, name.label_) for name in names])
            docs.append(doc)
    return docs


def words_of(doc: Doc) -> tuple[str, ...]:
    return tuple(token.text for token in doc)


class PipelineBench(Bench):
    """The systems of the table. The separate students have the names of their components.

    steps: of every run; 0 for `STEPS`.
    """

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
        if run.system in TASKS:
            config = self.write_config(run)
        return Recipe(config, train, steps, taught_on=(train,))

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
        path = self.work / run.corpus / f"{run.name}.cfg"
        config.to_disk(path)
        return path

    def scores(self, run: Run) -> dict[str, float]:
        found = {
            "dev": self.on_dev(run),
            "test": self.evaluate(run, self.work / run.corpus / "test.spacy"),
        }
        # A student of one task has no scores of the others.
        known = TASKS.get(run.system, SCORES)
        return {
            f"{part}_{score}": round(100 * scores[score], 2)
            for part, scores in found.items()
            for score in known
        }


def write_speeds(bench: PipelineBench, corpus: str, path: Path) -> None:
    """Words/s and size of each system, and how much of its time each component takes."""
    models: dict[str, Path] = {}
    for run in sorted(finished(bench.results), key=lambda run: run.seed):
        if run.corpus == corpus:
            models.setdefault(run.system, bench.folder(run) / "model-best")
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


def rows_of(rows: list[dict], system: str, score: str) -> list[dict]:
    """The runs that say how well a system does a task; "separate" is the student of the task."""
    task = next(task for task, scores in TASKS.items() if score in scores)
    return [row for row in rows if row["system"] == (task if system == "separate" else system)]


def make_table(rows: list[dict], speeds: Mapping[str, Any]) -> list[str]:
    """Scores on test (dev), words/s against spaCy's components, size."""
    lines = [
        f"| test (dev) | {' | '.join(SCORES)} | words/s, × spaCy's | MB on disk |",
        "| --- |" + " ---: |" * (len(SCORES) + 2),
    ]
    for system, title in TITLES.items():
        cells = [cell(rows_of(rows, system, score), score) for score in SCORES]
        ratio, size = speed_ratio(speeds, system), size_of(speeds, system)
        cells += ["–" if ratio is None else f"{ratio:.2f}", "–" if size is None else f"{size:.1f}"]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return lines


def members(system: str) -> list[str]:
    """The pipelines that make up a row of the table."""
    return list(TASKS) if system == "separate" else [system]


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
        f"{split} {of['sentences']:,} ({of['left out']} left out)" for split, of in counts.items()
    )
    lines = [f"Sentences with both annotations: {sizes}.", ""]
    lost = largest_loss(rows, "separate")
    if lost is not None:
        goal = f"at most {MOST_LOST} points below the student of each task"
        lines.append(f"- {goal}: {verdict(lost <= MOST_LOST)} (at worst {-lost:+.2f})")
    for rival, encoder in ((SAME, "the same encoder"), (STOCK, "its usual encoder")):
        lost = largest_loss(rows, rival)
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


def largest_loss(rows: list[dict], rival: str) -> float | None:
    """Points on test by which the joint student is behind in the task where it is worst."""
    losses = []
    for score in SCORES:
        joint, other = rows_of(rows, JOINT, score), rows_of(rows, rival, score)
        if not joint or not other:
            return None
        losses.append(
            mean(row[f"test_{score}"] for row in other)
            - mean(row[f"test_{score}"] for row in joint)
        )
    return max(losses)


if __name__ == "__main__":
    typer.run(main)
