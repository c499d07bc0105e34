"""What it is to serve pipelines on a CPU: speed, latency, how they start, memory, size.

    python benchmarks/serving.py --texts test.spacy --baseline stock \
        --pipeline stock=PATH --pipeline student=PATH --pipeline teacher=PATH --title "4 types"

Words a second of `nlp.pipe` with one and two processes, by batch size, for texts of 5 words, as
they are, and of 10,000 words; the latency of single sentences; and, each in a process of its own
(benchmarks/fresh_process.py), import, loading, the first call, resident memory, and whether memory
stays flat under `nlp.memory_zone()`. Rivals take turns in one process on one thread, ratios are
medians over rounds of CPU time, and all have the same product of matrices (`--product`): blis,
which is what thinc takes unless told otherwise, or numpy.

Parts can be measured one by one (`--part`), and pipelines, too: what is in the results under the
same title and product is kept unless it is measured again. thinc imports torch where it is
installed, which costs seconds and memory: for `--part start` give the `--python` of an environment
that has what a student needs and no more. Two processes are a fork, after which
torch may wait for ever: pipelines that use torch are measured with one process alone. A pipeline
whose name ends with "without confidences" is measured with `confidence = false`.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from pathlib import Path
from statistics import median
from typing import Annotated, Any, NamedTuple

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", HF_HUB_OFFLINE="1")

import spacy
import typer
from fresh_process import choose_product
from serving_tables import report
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from spacy.util import load_model, minibatch
from thinc.api import PyTorchShim
from tqdm import tqdm

from spacy_skd.cli.compare import megabytes

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "serving.json"
BATCH_SIZES = [1, 10, 100, 1000]
PROCESSES = [1, 2]
SHORT, LONG = 5, 10_000
PROCESSES_WORDS = 4
"""How many times as much is read where two processes read, since it takes time to start them."""
N_CALLS = 50
TURN = 20
"""Single sentences that a pipeline gets before it is the next one's turn."""
UNASKED = "without confidences"
"""At the end of a pipeline's name: its components keep none (docs/confidence.md)."""
Times = dict[str, list["Seconds"]]


class Part(str, Enum):
    speed = "speed"
    latency = "latency"
    start = "start"
    memory = "memory"


PARTS = list(Part)


class Product(str, Enum):
    blis = "blis"
    numpy = "numpy"


class Seconds(NamedTuple):
    """What a run took: CPU time, that of child processes included, and time on the clock."""

    cpu: float
    wall: float


class Settings(NamedTuple):
    """What the parts need: pipelines by name, and the amounts."""

    paths: dict[str, str]
    wheels: dict[str, str]
    baseline: str
    product: str
    documents: list[Doc]
    batch_sizes: list[int]
    processes: list[int]
    rounds: int
    words: int
    memory_words: int
    python: str


def main(
    texts: Annotated[
        Path, typer.Option(help="Documents (.spacy), or one text a line", exists=True)
    ],
    pipeline: Annotated[list[str], typer.Option(help="name=pipeline (folder or package)")],
    baseline: Annotated[str, typer.Option(help="The name that ratios are to")],
    wheel: Annotated[list[str] | None, typer.Option(help="name=wheel of a pipeline")] = None,
    title: Annotated[str, typer.Option(help="What the tables are of")] = "pipelines",
    product: Annotated[Product, typer.Option(help="Product of matrices")] = Product.blis,
    part: Annotated[list[Part], typer.Option(help="What to measure")] = PARTS,
    batch_size: Annotated[list[int], typer.Option(help="Batch sizes of nlp.pipe")] = BATCH_SIZES,
    processes: Annotated[list[int], typer.Option(help="Numbers of processes")] = PROCESSES,
    rounds: Annotated[int, typer.Option(help="Timed rounds")] = 5,
    words: Annotated[int, typer.Option(help="Words of a timed run")] = 10_000,
    memory_words: Annotated[int, typer.Option(help="Words of the memory's part")] = 1_000_000,
    python: Annotated[str, typer.Option(help="Python of the fresh processes")] = sys.executable,
    output: Annotated[Path, typer.Option(help="Results")] = RESULTS,
) -> None:
    """Measure, print the tables, and write them as JSON and Markdown."""
    paths = dict(entry.split("=", 1) for entry in pipeline)
    if baseline not in paths:
        raise typer.BadParameter(f"'{baseline}' is none of the pipelines: {', '.join(paths)}.")
    paths = {baseline: paths[baseline], **paths}  # the first row of every table
    settings = Settings(
        paths=paths,
        wheels=dict(entry.split("=", 1) for entry in wheel or ()),
        baseline=baseline,
        product=product.value,
        documents=read_texts(texts),
        batch_sizes=sorted(batch_size),
        processes=processes,
        rounds=rounds,
        words=words,
        memory_words=memory_words,
        python=python,
    )
    measure = {
        Part.speed: speeds,
        Part.latency: latencies,
        Part.start: starts,
        Part.memory: memories,
    }
    for one in part:
        keep(measure[one](settings), output, [title, settings.product, one.value])
    tables = report(json.loads(output.read_text(encoding="utf-8")))
    output.with_suffix(".md").write_text(tables, encoding="utf-8")
    print(tables)


def keep(found: dict[str, Any], output: Path, keys: Sequence[str]) -> None:
    """Add what was found to the results, as soon as it is there."""
    results = json.loads(output.read_text(encoding="utf-8")) if output.exists() else {}
    place = results
    for key in keys:
        place = place.setdefault(key, {})
    for name, row in found.items():
        place[name] = place.get(name, {}) | row
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def read_texts(path: Path) -> list[Doc]:
    """The documents of a .spacy file, or of the lines of a text file."""
    nlp = spacy.blank("en")
    if path.suffix == ".spacy":
        documents = list(DocBin().from_disk(path).get_docs(nlp.vocab))
    else:
        lines = path.read_text(encoding="utf-8").splitlines()
        documents = [nlp.make_doc(line) for line in lines if line.strip()]
    if not any(len(doc) for doc in documents):
        raise typer.BadParameter(f"There are no texts in {path}.")
    return documents


def speeds(settings: Settings) -> dict[str, dict[str, Any]]:
    """Words a second of `nlp.pipe`, by processes, texts and batch size."""
    pipelines = load(settings)
    found: dict[str, dict[str, Any]] = {name: {} for name in pipelines}
    for n_process in settings.processes:
        rivals = {
            name: nlp for name, nlp in pipelines.items() if n_process == 1 or not uses_torch(nlp)
        }
        n_words = settings.words * (PROCESSES_WORDS if n_process > 1 else 1)
        for kind, texts in kinds_of_texts(settings.documents, n_words).items():
            for size in useful_sizes(settings.batch_sizes, len(texts) // n_process):
                case = f"{n_process} process{'es' * (n_process > 1)}, {kind} texts, batch {size}"
                runs = {name: piped(nlp, texts, size, n_process) for name, nlp in rivals.items()}
                times = taking_turns(runs, settings.rounds, case)
                for name, row in compared(times, settings.baseline, n_words).items():
                    found[name][case] = row
    return found


def kinds_of_texts(documents: list[Doc], n_words: int) -> dict[str, list[str]]:
    """Texts of so many words, about: cut short, as they are, and joined."""
    pieces = [token.text + (token.whitespace_ or " ") for doc in documents for token in doc]
    pieces *= n_words // len(pieces) + 1
    normal: list[str] = []
    n_left = n_words
    while n_left > 0:
        for doc in documents:
            if n_left > 0 and len(doc):
                normal.append(doc[:n_left].text)
                n_left -= len(doc)

    def cut(size: int) -> list[str]:
        starts = range(0, n_words, size)
        return ["".join(pieces[begin : min(begin + size, n_words)]).strip() for begin in starts]

    return {"short": cut(SHORT), "normal": normal, "long": cut(LONG)}


def useful_sizes(sizes: Sequence[int], n_texts: int) -> Iterator[int]:
    """The batch sizes up to the first that takes all the texts at once."""
    for size in sizes:
        yield size
        if size >= n_texts:
            return


def piped(nlp: Language, texts: list[str], batch_size: int, n_process: int) -> Callable[[], None]:
    def run() -> None:
        for _ in nlp.pipe(texts, batch_size=batch_size, n_process=n_process):
            pass

    return run


def uses_torch(nlp: Language) -> bool:
    """Whether a layer of a pipeline is a torch module."""
    models = (getattr(component, "model", None) for _, component in nlp.components)
    return any(
        isinstance(shim, PyTorchShim)
        for model in models
        if hasattr(model, "walk")
        for layer in model.walk()
        for shim in layer.shims
    )


def latencies(settings: Settings) -> dict[str, dict[str, Any]]:
    """Milliseconds of `nlp(text)` for single sentences.

    The rivals take turns, `TURN` texts at a time: text by text, each would find the others' data in
    the processor's caches, where a service that has one pipeline finds its own. So does the first
    text of a turn, which does not count.
    """
    pipelines = load(settings)
    sentences = sentences_of(settings.documents, settings.words)
    times: Times = {name: [] for name in pipelines}
    for number in tqdm(range(settings.rounds + 1), desc="latency", disable=None):
        for turn in minibatch(sentences, TURN):
            for name, nlp in pipelines.items():
                for place, sentence in enumerate(turn):
                    seconds = timed(lambda nlp=nlp, text=sentence: nlp(text))
                    if number and place:
                        times[name].append(seconds)
    found = {}
    base = [seconds.cpu for seconds in times[settings.baseline]]
    for name, rows in times.items():
        cpu, wall = ([1000 * value for value in column] for column in zip(*rows))
        found[name] = {
            **{f"cpu_p{percent}": quantile(cpu, percent) for percent in (50, 99)},
            **{f"wall_p{percent}": quantile(wall, percent) for percent in (50, 99)},
            "ratio": median(ours.cpu / other for ours, other in zip(rows, base)),
        }
    return found


def sentences_of(documents: list[Doc], n_words: int) -> list[str]:
    """Sentences of so many words, about; a document without boundaries is one."""
    found: list[str] = []
    for doc in documents:
        has_sentences = doc.has_annotation("SENT_START")
        found += [span.text for span in doc.sents] if has_sentences else [doc.text]
        n_words -= len(doc)
        if n_words <= 0:
            break
    return [sentence for sentence in found if sentence.strip()]


def quantile(values: Sequence[float], percent: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def starts(settings: Settings) -> dict[str, dict[str, Any]]:
    """Import, load, first and later calls, resident memory, and size; medians over processes."""
    sentences = sentences_of(settings.documents, settings.words)[: N_CALLS + 1]
    sentences *= 2 if len(sentences) == 1 else 1
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in settings.paths}
    for _ in tqdm(range(settings.rounds), desc="start", disable=None):
        for name in settings.paths:
            n_words = min(100_000, settings.memory_words)
            rows[name].append(fresh("start", name, settings, sentences=sentences, n_words=n_words))
    found: dict[str, dict[str, Any]] = {}
    for name, measured in rows.items():
        found[name] = {key: medians([row[key] for row in measured]) for key in measured[0]}
        found[name]["megabytes_on_disk"] = size_of(settings.paths[name])
        if name in settings.wheels:
            found[name]["megabytes_of_wheel"] = Path(settings.wheels[name]).stat().st_size / 1e6
    return found


def size_of(pipeline: str) -> float:
    """Megabytes of a pipeline's files: of a folder or of an installed package."""
    folder = Path(pipeline)
    return megabytes(folder if folder.exists() else load_model(pipeline).path)


def medians(values: list[Any]) -> Any:
    if isinstance(values[0], list):
        return [median(column) for column in zip(*values)]
    return median(values)


def memories(settings: Settings) -> dict[str, dict[str, Any]]:
    """Resident memory over a stream of words with new ones among them, in zones and in none."""
    every = max(1, settings.memory_words // 10)
    found: dict[str, dict[str, Any]] = {}
    for name in tqdm(settings.paths, desc="memory", disable=None):
        found[name] = {"every": every}
        for zone in (True, False):
            amounts = {"n_words": settings.memory_words, "every": every}
            row = fresh("memory", name, settings, zone=zone, **amounts)
            found[name]["zones" if zone else "no zones"] = row["megabytes"]
    return found


def fresh(what: str, name: str, settings: Settings, **request: Any) -> dict[str, Any]:
    """What fresh_process.py says of a pipeline."""
    request |= {"what": what, "pipeline": settings.paths[name], "product": settings.product}
    command = [settings.python, str(HERE / "fresh_process.py"), json.dumps(request)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"Pipeline '{name}' has failed in its own process:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def load(settings: Settings) -> dict[str, Language]:
    """The pipelines, all with the same product of matrices."""
    choose_product(settings.product)
    pipelines = {name: load_model(path) for name, path in settings.paths.items()}
    for name, nlp in pipelines.items():
        for _, component in nlp.components:
            if name.endswith(UNASKED) and hasattr(component, "confidence"):
                component.confidence = False
    return pipelines


def taking_turns(runs: dict[str, Callable[[], Any]], rounds: int, title: str) -> Times:
    """Times of each run in each round; the first round does not count.

    Every round begins with another run: what one leaves in memory slows or helps the next.
    """
    times: Times = {name: [] for name in runs}
    names = list(runs)
    for number in tqdm(range(rounds + 1), desc=title, leave=False, disable=None):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            seconds = timed(runs[name])
            if number:
                times[name].append(seconds)
    return times


def timed(run: Callable[[], Any]) -> Seconds:
    cpu, wall = cpu_time(), time.perf_counter()
    run()
    return Seconds(cpu_time() - cpu, time.perf_counter() - wall)


def cpu_time() -> float:
    """Of this process and of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def compared(times: Times, baseline: str, n_words: int) -> dict[str, dict[str, float]]:
    """Words a second of each rival, and the ratios to the baseline's, by both clocks."""
    found: dict[str, dict[str, float]] = {}
    for name, rows in times.items():
        found[name] = {}
        for clock in Seconds._fields:
            seconds = [getattr(row, clock) for row in rows]
            found[name][clock] = round(n_words / median(seconds))
            if baseline in times:
                base = [getattr(row, clock) for row in times[baseline]]
                found[name][f"{clock}_ratio"] = median(b / s for b, s in zip(base, seconds))
    return found


if __name__ == "__main__":
    typer.run(main)
