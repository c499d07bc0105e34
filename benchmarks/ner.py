"""Entities on real corpora: teacher, students from gold alone, distilled students, spaCy's own ner.

For each corpus twice: with all training sentences labelled, and with a quarter of them labelled
(for teacher and students alike) and the rest used as raw text. Resumable: each finished run is a
line of the results file, and runs that are in it are not repeated (after changing a config, remove
its lines).

    python benchmarks/ner.py DATA --work /tmp/ner --jobs 2

DATA has a folder for each corpus with train.iob, dev.iob and test.iob. Models are chosen on dev;
test is read once, at the end of a run.
"""

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated

import spacy
import typer
from spacy.tokens import Doc, DocBin
from tqdm import tqdm

from spacy_skd.cli.convert import read_corpus

ROOT = Path(__file__).parent.parent
CONFIGS = ROOT / "configs"
RESULTS = Path(__file__).parent / "results"
SETTINGS = {"full": 1.0, "quarter": 0.25}
CORPORA = {
    # Training steps of teacher (full, quarter) and students, and the students' dropout, as chosen
    # on dev. "raw" is the corpus whose training sentences serve as further raw text, with twice
    # the steps for the larger amount of text.
    "wnut17": {"teacher": (150, 60), "student": (800, 800), "dropout": 0.4, "raw": "en_ewt"},
    "en_ewt": {"teacher": (240, 100), "student": (1000, 1000), "dropout": 0.2, "raw": "wnut17"},
}
SYSTEMS = {
    "teacher": "teacher: transformer + CRF",
    "spacy-ner": "spaCy `ner`, gold",
    "gold-crf": "student CRF, gold",
    "kd-crf": "student CRF, distilled (case 1a)",
    "kd-maxent": "student MaxEnt, distilled (case 2a)",
    "kd-crf-raw": "student CRF, distilled with the other corpus as raw text",
}
RAW_DROPOUT = 0.2
EVALUATIONS = {"teacher": 2, "student": 10}
MAXENT = ("--components.ner.model.@architectures", "spacy-skd.MaxEnt.v1")
# spaCy's commands with numpy's matrix product instead of blis's: several times as fast on some
# processors, and the only difference is the order in which sums are rounded.
SPACY = """
from thinc.backends.numpy_ops import NumpyOps
init = NumpyOps.__init__
NumpyOps.__init__ = lambda self, *args, use_blis=False, **kwargs: init(
    self, *args, use_blis=False, **kwargs
)
from spacy.cli import setup_cli
setup_cli()
"""


@dataclass(frozen=True)
class Run:
    """One training run."""

    corpus: str
    setting: str
    system: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.corpus}-{self.setting}-{self.system}-{self.seed}"


def main(
    data: Annotated[Path, typer.Argument(help="Folder with a folder a corpus", exists=True)],
    work: Annotated[Path, typer.Option(help="Folder for models and targets")],
    corpora: Annotated[list[str] | None, typer.Option(help="Only these corpora")] = None,
    systems: Annotated[list[str] | None, typer.Option(help="Only these systems")] = None,
    settings: Annotated[list[str] | None, typer.Option(help="Only these settings")] = None,
    seeds: Annotated[int, typer.Option(help="Seeds of each student")] = 3,
    jobs: Annotated[int, typer.Option(help="Runs at a time, one thread each")] = 1,
    results: Annotated[Path, typer.Option(help="Finished runs")] = RESULTS / "ner.jsonl",
) -> None:
    """Run what is missing, then write the table next to the results."""
    chosen = systems or list(SYSTEMS)
    runs = [
        Run(corpus, setting, system, seed)
        for seed in range(seeds)
        for system in SYSTEMS  # teachers first: others wait for them
        for corpus in corpora or CORPORA
        for setting in settings or SETTINGS
        if (system == "teacher" and seed == 0) or (system != "teacher" and system in chosen)
        if (system, setting) != ("kd-crf-raw", "quarter")
    ]
    for corpus in CORPORA:
        prepare(data / corpus, work / corpus)
    bench = Bench(work, results)
    with ThreadPoolExecutor(jobs) as pool:
        futures: dict[Future, Run] = {}
        for run in sorted(set(runs) - finished(results), key=runs.index):
            futures[pool.submit(bench.run, run)] = run
        with tqdm(total=len(futures), desc="runs") as progress:
            for future, run in futures.items():
                future.result()
                progress.set_postfix_str(run.name)
                progress.update()
    table = make_table(list(read_rows(results)))
    results.with_suffix(".md").write_text(table, encoding="utf-8")
    print(table)


def prepare(source: Path, folder: Path) -> None:
    """Write a corpus as .spacy files: each split, and a quarter of train with the rest apart."""
    if (folder / "test.spacy").exists():  # written last
        return
    folder.mkdir(parents=True, exist_ok=True)
    nlp = spacy.blank("en")
    for split in ("train", "dev", "test"):
        docs = list(read_corpus(source / f"{split}.iob", nlp))
        write_docs(docs, folder / f"{split}.spacy")
        if split == "train":
            random.Random(0).shuffle(docs)
            cut = len(docs) // 4
            write_docs(docs[:cut], folder / "quarter.spacy")
            write_docs(docs[cut:], folder / "rest.spacy")


def write_docs(docs: Iterable[Doc], path: Path) -> None:
    DocBin(docs=docs).to_disk(path)


class Bench:
    """Carries out runs, teachers before those who learn from them."""

    def __init__(self, work: Path, results: Path) -> None:
        self.work = work
        self.results = results
        self._failed = False
        self._lock = threading.Lock()
        self._annotating: dict[str, threading.Lock] = {}

    def run(self, run: Run) -> None:
        """Train, evaluate on test, and write the line of a run."""
        try:
            self._run(run)
        except Exception:
            self._failed = True
            raise

    def _run(self, run: Run) -> None:
        folder = self.work / run.corpus
        output = folder / run.name
        role = "teacher" if run.system == "teacher" else "student"
        steps = CORPORA[run.corpus][role][list(SETTINGS).index(run.setting)]
        steps *= 2 if run.system == "kd-crf-raw" else 1
        gold = folder / ("train.spacy" if run.setting == "full" else "quarter.spacy")
        options = [
            *("--paths.train", gold, "--paths.dev", folder / "dev.spacy"),
            *("--system.seed", run.seed),
            *("--training.max_steps", steps),
            *("--training.eval_frequency", steps // EVALUATIONS[role]),
        ]
        if run.system.startswith("kd"):
            options += ["--paths.targets", self.targets(run)]
            if run.setting != "full":
                options += ["--paths.raw", folder / "rest.spacy"]
            elif run.system == "kd-crf-raw":
                options += ["--paths.raw", self.work / CORPORA[run.corpus]["raw"] / "train.spacy"]
        if run.system == "kd-maxent":
            options += MAXENT
        if run.system == "kd-crf-raw":
            options += ["--training.dropout", RAW_DROPOUT]
        elif run.system.startswith(("gold", "kd")):
            options += ["--training.dropout", CORPORA[run.corpus]["dropout"]]
        config = {"teacher": "teacher.cfg", "spacy-ner": "../benchmarks/spacy_ner.cfg"}
        start = time.perf_counter()
        config_path = CONFIGS / config.get(run.system, "student.cfg")
        call("train", config_path, "--output", output, *options, log=folder / f"{run.name}.log")
        seconds = time.perf_counter() - start
        test = evaluate(output / "model-best", folder / "test.spacy")
        meta = json.loads((output / "model-best" / "meta.json").read_text(encoding="utf-8"))
        row = {
            **asdict(run),
            "dev_f": round(100 * meta["performance"]["ents_f"], 2),
            **{f"test_{key}": round(100 * test[f"ents_{key}"], 2) for key in "fpr"},
            "steps": steps,
            "seconds": round(seconds),
        }
        with self._lock:
            self.results.parent.mkdir(parents=True, exist_ok=True)
            with self.results.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(row) + "\n")

    def _wait_for(self, teacher: Run) -> None:
        """Wait until a teacher's run is in the results."""
        while teacher not in finished(self.results):
            if self._failed:
                raise RuntimeError(f"{teacher.name} cannot be waited for: a run has failed.")
            time.sleep(1)

    def targets(self, run: Run) -> Path:
        """The store of the teacher's targets for all training text of a run's setting."""
        folder = self.work / run.corpus
        teacher = folder / Run(run.corpus, run.setting, "teacher", 0).name
        store = folder / f"targets-{run.setting}"
        with self._lock:
            lock = self._annotating.setdefault(str(store), threading.Lock())
        with lock:
            self._wait_for(Run(run.corpus, run.setting, "teacher", 0))
            files = ["train.spacy"] if run.setting == "full" else ["quarter.spacy", "rest.spacy"]
            sources = [folder / name for name in files]
            if run.system == "kd-crf-raw":
                sources.append(self.work / CORPORA[run.corpus]["raw"] / "train.spacy")
            log = folder / f"annotate-{run.setting}.log"
            call("skd", "annotate", teacher / "model-best", *sources, "--output", store, log=log)
        return store


def evaluate(model: Path, test: Path) -> dict[str, float]:
    """spaCy's scores of a pipeline."""
    output = model.parent / "test.json"
    call("evaluate", model, test, "--output", output, log=model.parent / "evaluate.log")
    return json.loads(output.read_text(encoding="utf-8"))


def call(*arguments: object, log: Path) -> None:
    """A spaCy command in a process of its own, with one thread."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SPACY, *map(str, arguments)]
    with log.open("w", encoding="utf-8") as output:
        outcome = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
    if outcome.returncode:
        raise RuntimeError(f"{' '.join(command)} failed; see {log}")


def finished(results: Path) -> set[Run]:
    """The runs that have a line in the results."""
    return {Run(**{key: row[key] for key in Run.__annotations__}) for row in read_rows(results)}


def read_rows(path: Path) -> list[dict]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def make_table(rows: list[dict]) -> str:
    """Mean and standard deviation over seeds of test F1, and dev F1, by system and setting."""
    groups: dict[tuple[str, str], dict[str, list[dict]]] = {}
    for row in rows:
        groups.setdefault((row["corpus"], row["setting"]), {}).setdefault(row["system"], []).append(
            row
        )
    columns = list(groups)
    lines = [
        "| test F1 (dev F1) | " + " | ".join(f"{corpus}, {how}" for corpus, how in columns) + " |",
        "| --- |" + " ---: |" * len(columns),
    ]
    for system, title in SYSTEMS.items():
        cells = [cell(groups[column].get(system, [])) for column in columns]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def cell(rows: list[dict]) -> str:
    if not rows:
        return "–"
    test, dev = [row["test_f"] for row in rows], [row["dev_f"] for row in rows]
    spread = f" ± {stdev(test):.1f}" if len(test) > 1 else ""
    return f"{mean(test):.1f}{spread} ({mean(dev):.1f})"


if __name__ == "__main__":
    typer.run(main)
