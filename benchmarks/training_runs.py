"""Training runs whose results are kept: one JSON line for each that has finished.

What is in the results file is not run again, so a benchmark can be stopped at any time and goes on
where it was; after changing a config, remove its lines. Each run has one thread. With BFLOAT16=1 in
the environment, transformers are trained and asked in bfloat16; set OMP_NUM_THREADS=1 for what is
measured in the benchmark's own process, speeds above all.
"""

import json
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import ClassVar

import spacy
from spacy.tokens import Doc, DocBin
from spacy.util import load_config
from tqdm import tqdm

from spacy_skd.cli.compare import words_per_second
from spacy_skd.cli.convert import read_corpus
from spacy_skd.training.conllu import Faults

ROOT = Path(__file__).parent.parent
CONFIGS = ROOT / "configs"
RESULTS = Path(__file__).parent / "results"
EVALUATIONS = {"teacher": 2, "student": 10}
# spaCy's commands with numpy's matrix product instead of blis's: several times as fast on some
# processors, and the only difference is the order in which sums are rounded. With BFLOAT16=1 in the
# environment, transformers compute in bfloat16 (weights stay in float32), which is faster where the
# processor has instructions for it.
SPACY = """
import os
from thinc.backends.numpy_ops import NumpyOps
init = NumpyOps.__init__
NumpyOps.__init__ = lambda self, *args, use_blis=False, **kwargs: init(
    self, *args, use_blis=False, **kwargs
)
if os.environ.get("BFLOAT16"):
    import torch
    from transformers import BertModel
    forward = BertModel.forward
    def in_bfloat16(self, *args, **kwargs):
        with torch.autocast("cpu", torch.bfloat16):
            output = forward(self, *args, **kwargs)
        for name, value in list(output.items()):
            if isinstance(value, torch.Tensor):
                output[name] = value.float()
        return output
    BertModel.forward = in_bfloat16
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
        return re.sub(r"[^\w.]+", "-", f"{self.corpus}-{self.setting}-{self.system}-{self.seed}")

    @property
    def role(self) -> str:
        return "teacher" if self.system == "teacher" else "student"


@dataclass(frozen=True)
class Recipe:
    """How a run is trained.

    config: a config file. train: gold documents. steps: of the optimiser. taught_on: the texts for
    which the teacher leaves targets; none: no teacher. raw: those of them that come without gold.
    options: overrides of the config. code: a file that registers what the config names.
    """

    config: Path
    train: Path
    steps: int
    taught_on: tuple[Path, ...] = ()
    raw: Path | None = None
    options: Sequence[object] = ()
    code: Path | None = None


class Bench:
    """Carries out runs, teachers before those who learn from them.

    work: folder with a folder a corpus (`prepare`), for models and targets.
    results: file with one line a finished run.
    metrics: of spaCy's scores, those that are kept, by their names in the line; the first is that
        which models are chosen by.
    gold_tokens: whether documents are read with the corpus's own tokens, as is usual for treebanks,
        and not as the tokenizer of the pipeline splits their text; by all systems, for training
        and for scores.
    """

    gold_tokens: ClassVar[bool] = False
    metrics: Mapping[str, str] = {"f": "ents_f", "p": "ents_p", "r": "ents_r"}

    def __init__(self, work: Path, results: Path) -> None:
        self.work = work
        self.results = results
        self._failed: set[Run] = set()
        self._lock = threading.Lock()
        self._annotating: dict[Path, threading.Lock] = {}
        self._annotated: set[tuple[Path, ...]] = set()

    def recipe(self, run: Run) -> Recipe:
        """How a run is trained."""
        raise NotImplementedError

    def run_all(self, runs: Sequence[Run], jobs: int) -> None:
        """Carry out the runs that are not finished, some at a time, in the given order.

        One that fails stops only those whose teacher it is. Raises RuntimeError, with the names of
        those that failed and why, when all others are done.
        """
        with self.all_run(runs, jobs):
            pass

    @contextmanager
    def all_run(self, runs: Sequence[Run], jobs: int) -> Iterator[None]:
        """The same; what is within is done before the error is raised: tables of the others."""
        missing = [run for run in runs if run not in finished(self.results)]
        with ThreadPoolExecutor(jobs) as pool:
            futures: dict[Future, Run] = {pool.submit(self._guarded, run): run for run in missing}
            with tqdm(total=len(futures), desc="runs") as progress:
                for future in as_completed(futures):
                    progress.set_postfix_str(futures[future].name)
                    progress.update()
        failures = [
            f"{run.name}: {error}"
            for future, run in futures.items()
            if (error := future.exception())
        ]
        for failure in failures:
            print(failure, file=sys.stderr)
        yield
        if failures:
            raise RuntimeError("Some runs have failed:\n" + "\n".join(failures))

    def _guarded(self, run: Run) -> None:
        try:
            self._run(run)
        except Exception:
            self._failed.add(run)
            raise

    def _run(self, run: Run) -> None:
        """Train, evaluate on test, and write the line of a run."""
        folder, output = self.work / run.corpus, self.folder(run)
        recipe = self.recipe(run)
        options = [
            *("--paths.train", recipe.train, "--paths.dev", folder / "dev.spacy"),
            *("--system.seed", run.seed),
            *("--training.max_steps", recipe.steps),
            *("--training.eval_frequency", max(recipe.steps // EVALUATIONS[run.role], 1)),
            *self._token_options(recipe),
            *recipe.options,
        ]
        if recipe.taught_on:
            stores = [str(store) for store in self.targets(run, recipe.taught_on)]
            options += ["--paths.targets", json.dumps(stores) if stores[1:] else stores[0]]
        if recipe.raw:
            options += ["--paths.raw", recipe.raw]
        code = ("--code", recipe.code) if recipe.code else ()
        start = time.perf_counter()
        log = folder / f"{run.name}.log"
        call("train", recipe.config, "--output", output, *options, *code, log=log)
        seconds = time.perf_counter() - start
        row = {
            **asdict(run),
            **self.scores(run),
            "steps": recipe.steps,
            "seconds": round(seconds),
        }
        with self._lock:
            self.results.parent.mkdir(parents=True, exist_ok=True)
            with self.results.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(row) + "\n")

    def scores(self, run: Run) -> dict[str, float]:
        """The scores of a trained run in percent: on dev, as `dev_…`, and on test."""
        found = self.evaluate(run, self.work / run.corpus / "test.spacy")
        return self._percent("dev", self.on_dev(run)) | self._percent("test", found)

    def on_dev(self, run: Run) -> dict[str, float]:
        """spaCy's scores of a trained run on what its model was chosen on."""
        meta = (self.folder(run) / "model-best" / "meta.json").read_text(encoding="utf-8")
        return json.loads(meta)["performance"]

    def evaluate(self, run: Run, test: Path) -> dict[str, float]:
        """spaCy's scores of a trained run on a test set."""
        code = self.recipe(run).code
        options = [*(("--code", code) if code else ())]
        if self.gold_tokens:
            options.append("--gold-preproc")
        return evaluate(self.folder(run) / "model-best", test, *options)

    def _token_options(self, recipe: Recipe) -> list[object]:
        """What makes a run read the corpus's own tokens, which DistillCorpus does by itself."""
        if not self.gold_tokens:
            return []
        options: list[object] = ["--corpora.dev.gold_preproc", "true"]
        if load_config(recipe.config)["corpora"]["train"]["@readers"] == "spacy.Corpus.v1":
            options += ["--corpora.train.gold_preproc", "true"]
        return options

    def _percent(self, part: str, scores: Mapping[str, float]) -> dict[str, float]:
        return {f"{part}_{name}": round(100 * scores[key], 2) for name, key in self.metrics.items()}

    def targets(self, run: Run, sources: Sequence[Path]) -> list[Path]:
        """The stores of what the teachers of a run say of all the texts."""
        store = self.work / run.corpus / f"targets-{run.setting}"
        return [self.annotated(self.teacher_of(run), sources, store)]

    def annotated(self, teacher: Run, sources: Sequence[Path], store: Path) -> Path:
        """The store of a teacher's targets, with all the texts in it; that of a teacher that has
        been trained again since is replaced."""
        with self._lock:
            lock = self._annotating.setdefault(store, threading.Lock())
        with lock:
            if (store, *sources) not in self._annotated:
                model = self._wait_for(teacher) / "model-best"
                log = store.with_name(f"annotate-{store.name.removeprefix('targets-')}.log")
                call("skd", "annotate", model, *sources, "--output", store, "--force", log=log)
                self._annotated.add((store, *sources))
        return store

    def _wait_for(self, teacher: Run) -> Path:
        while teacher not in self.teachers():
            if teacher in self._failed:
                raise RuntimeError(f"its teacher {teacher.name} has failed")
            time.sleep(1)
        return self.folder(teacher)

    def teacher_of(self, run: Run) -> Run:
        """The run that trains a student's teacher: the one of its setting."""
        return Run(run.corpus, run.setting, "teacher", 0)

    def folder(self, run: Run) -> Path:
        """Where the models of a run are."""
        return self.work / run.corpus / run.name

    def teachers(self) -> set[Run]:
        """The runs whose models can be used."""
        return finished(self.results)


def prepare(source: Path, folder: Path, suffix: str = "iob") -> None:
    """Write a corpus as .spacy files: each split, and a quarter of train with the rest apart.

    suffix: of the corpus's files. If it is "conllu", a document is a sentence, and sentences that
        are no trees are left out, which is printed.
    """
    if (folder / "test.spacy").exists():  # written last
        return
    folder.mkdir(parents=True, exist_ok=True)
    nlp = spacy.blank("en")
    for split in ("train", "dev", "test"):
        skipped = Faults()
        docs = list(read_corpus(source / f"{split}.{suffix}", nlp, skipped=skipped))
        for fault in skipped.messages:
            print(f"Left out: {fault}", file=sys.stderr)
        write_docs(docs, folder / f"{split}.spacy")
        if split == "train":
            random.Random(0).shuffle(docs)
            cut = len(docs) // 4
            write_docs(docs[:cut], folder / "quarter.spacy")
            write_docs(docs[cut:], folder / "rest.spacy")


def write_docs(docs: Iterable[Doc], path: Path) -> None:
    DocBin(docs=docs).to_disk(path)


def evaluate(model: Path, test: Path, *options: object) -> dict[str, float]:
    """spaCy's scores of a pipeline."""
    output = model.parent / "test.json"
    log = model.parent / "evaluate.log"
    call("evaluate", model, test, "--output", output, *options, log=log)
    return json.loads(output.read_text(encoding="utf-8"))


def call(*arguments: object, log: Path) -> None:
    """A spaCy command in a process of its own, with one thread."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        # Batches of all lengths leave holes in the heap, in a transformer's training gigabytes.
        # Setting this would let the heap shrink and grow again at every step, but for the second.
        "MALLOC_MMAP_THRESHOLD_": "4000000",
        "MALLOC_TRIM_THRESHOLD_": "1000000000",
    }
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


def cell(rows: Sequence[dict], metric: str = "f") -> str:
    """A score on test, mean ± standard deviation over the runs, and in brackets on dev."""
    if not rows:
        return "–"
    test = [row[f"test_{metric}"] for row in rows]
    dev = [row[f"dev_{metric}"] for row in rows if f"dev_{metric}" in row]
    spread = f" ± {stdev(test):.1f}" if len(test) > 1 else ""
    on_dev = f" ({mean(dev):.1f})" if dev else ""
    return f"{mean(test):.1f}{spread}{on_dev}"


def pipe_speeds(models: Mapping[str, Path], test: Path, rounds: int = 5) -> dict[str, float]:
    """Words a second of CPU time in `nlp.pipe`, of pipelines that take turns in one process."""
    pipelines = {name: spacy.load(path) for name, path in models.items()}
    return words_per_second(pipelines, test, rounds=rounds, min_words=1, clock=time.process_time)
