"""What it costs to know how sure a student is: `nlp.pipe` without, unused and used.

    python benchmarks/confidence_speed.py

Students with the architectures of configs/student*.cfg, trained for a few steps on the corpora that
come with the project, read 512 of its sentences: with `confidence = false`; with `confidence =
true`, and nobody asks; by the attributes of every entity or token; by `doc._.confidences()`.
float32, one thread, CPU time; the runs take turns, and costs are medians over rounds of what is
more than the first. On a busy machine such differences vary by some hundredths; so what is done for
confidences is also timed by itself ("alone"), and given as a share of the time of `nlp.pipe`.
Memory is that of the arrays which documents refer to, without the model's, when nobody has asked.
"""

import gc
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Annotated, Any

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import numpy as np
import spacy
import typer
from rounds import interleaved
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.util import fix_random_seed, load_config, load_model_from_config

from spacy_skd.cli.convert import read_corpus

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results" / "confidence_speed.json"
ENTITIES = ROOT / "assets" / "entities" / "train.txt"
TREEBANK = ROOT / "assets" / "treebank" / "train.conllu"
N_DOCS, N_STEPS, BATCH = 512, 30, 32
GOALS = {"kept": 0.01, "attributes": 0.3, "doc._.confidences()": 0.3}


@dataclass(frozen=True)
class Task:
    """A student and what it learns.

    n_labels: of entities; more than the corpus has are made by numbering its labels.
    """

    corpus: Path
    config: str
    settings: dict[str, Any]
    n_labels: int = 0


TASKS = {
    "entities, CRF, 4 labels": Task(ENTITIES, "student", {}, 4),
    "entities, CRF, 18 labels": Task(ENTITIES, "student", {}, 18),
    "entities, spans, 4 labels": Task(ENTITIES, "student_spans", {}, 4),
    "parts of speech": Task(
        TREEBANK,
        "student",
        {
            "factory": "skd_tagger",
            "attribute": "pos",
            "model": {"@architectures": "spacy-skd.MaxEnt.v1"},
        },
    ),
    "trees, independent heads": Task(TREEBANK, "student_parser", {}),
    "trees, tree CRF": Task(TREEBANK, "student_parser", {"model": {"structure": "tree"}}),
}


def main(
    rounds: Annotated[int, typer.Option(help="Timed rounds")] = 15,
    output: Annotated[Path, typer.Option(help="Results")] = RESULTS,
) -> None:
    """Measure, print the table, and write it as JSON and Markdown."""
    found = {title: costs(title, task, rounds) for title, task in TASKS.items()}
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    columns = ["words/s without", "unused", "asked", "`confidences()`", "unused, alone"]
    columns += ["asked, alone", "kept"]
    lines = ["| | " + " | ".join(columns) + " |", "| --- |" + " ---: |" * len(columns)]
    for title, row in found.items():
        cells = [f"{row['words_per_second']:,}", *(f"{row[name]:+.1%}" for name in GOALS)]
        cells += [f"{row['unused_alone']:.2%}", f"{row['asked_alone']:.1%}"]
        cells.append(f"{row['bytes_per_word']:,} bytes/word")
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    goals = "Goals: {:.0%} unused, alone; {:.0%} when every one is asked for. Rounds: {}.".format(
        GOALS["kept"], GOALS["attributes"], rounds
    )
    table = "\n".join([*lines, "", goals]) + "\n"
    output.with_suffix(".md").write_text(table, encoding="utf-8")
    print(table)


def costs(title: str, task: Task, rounds: int) -> dict[str, float]:
    """Words a second without confidences, what they cost, and bytes that a word's are."""
    nlp, corpus = trained(task)
    texts = [doc.text for doc in islice(cycle(corpus), N_DOCS)]
    (component,) = (nlp.get_pipe(name) for name in nlp.pipe_names)
    ask = attributes_of(nlp.pipe_names[0])

    def run(confidence: bool, ask: Callable[[Doc], object] | None = None) -> Callable[[], None]:
        def read() -> None:
            component.confidence = confidence  # type: ignore[attr-defined]
            for doc in nlp.pipe(texts):
                if ask is not None:
                    ask(doc)

        return read

    runs = {
        "without": run(False),
        "kept": run(True),
        "attributes": run(True, ask),
        "doc._.confidences()": run(True, lambda doc: doc._.confidences()),
    }
    times = interleaved(runs, rounds, title)
    component.confidence = True  # type: ignore[attr-defined]
    docs = list(nlp.pipe(texts))
    n_words = sum(map(len, docs))
    size = kept_bytes(docs, component)  # before anyone asks
    keeping, asking = seconds_alone(component, docs, ask)
    shares = {
        name: median(b / a for a, b in zip(times["without"], times[name])) - 1 for name in GOALS
    }
    return {
        "words_per_second": round(n_words / median(times["without"])),
        **shares,
        "unused_alone": keeping / median(times["without"]),
        "asked_alone": asking / median(times["without"]),
        "bytes_per_word": round(size / n_words),
    }


def seconds_alone(
    component: Any, docs: list[Doc], ask: Callable[[Doc], object]
) -> tuple[float, float]:
    """CPU seconds of what is done for confidences when nobody asks, and of asking for all."""
    structure = component.predict(docs)
    keeping, asking = [], []
    for _ in range(9):
        answers = component.read(docs, structure, has_annotations=True)
        start = time.process_time()
        component._keep(docs, answers)
        kept_at = time.process_time()
        for doc in docs:
            ask(doc)
        keeping.append(kept_at - start)
        asking.append(time.process_time() - kept_at)
    return median(keeping), median(asking)


def trained(task: Task) -> tuple[Language, list[Doc]]:
    """A student after a few steps, and its training documents."""
    fix_random_seed(0)
    config = load_config(ROOT / "configs" / f"{task.config}.cfg")
    (name,) = config["nlp"]["pipeline"]
    component = config["components"][name]
    for key, value in task.settings.items():
        component[key] = component[key] | value if isinstance(value, dict) else value
    if task.settings.get("factory"):
        component.pop("spans_key")
    nlp = load_model_from_config(
        {"nlp": config["nlp"], "components": config["components"]}, auto_fill=True, validate=False
    )
    corpus = list(read_corpus(task.corpus, spacy.blank("en", vocab=nlp.vocab)))
    number_labels(corpus, task.n_labels)
    examples = [Example(nlp.make_doc(doc.text), doc) for doc in corpus]
    optimizer = nlp.initialize(lambda: examples)
    optimizer.learn_rate = 0.01
    stream = cycle(examples)
    for _ in range(N_STEPS):
        nlp.update(list(islice(stream, BATCH)), sgd=optimizer, drop=0.1)
    return nlp, corpus


def number_labels(corpus: list[Doc], n_labels: int) -> None:
    """Let entities have so many labels."""
    known = sorted({entity.label_ for doc in corpus for entity in doc.ents})
    if n_labels <= len(known):
        return
    numbers = cycle(range(n_labels))
    for doc in corpus:
        doc.set_ents([Span(doc, e.start, e.end, f"L{next(numbers)}") for e in doc.ents])


def attributes_of(name: str) -> Callable[[Doc], object]:
    """What asks for every attribute of a document that the component is sure of."""
    if name == "parser":
        return lambda doc: [token._.head_confidence for token in doc]
    return lambda doc: (
        [entity._.confidence for entity in doc.ents]
        if any(reading.kind == "entities" for reading in kept(doc))
        else [token._.tag_confidence for token in doc]
    )


def kept(doc: Doc) -> list[Any]:
    return [reading for entry in doc.user_data.values() for reading in entry.values()]


def kept_bytes(docs: list[Doc], component: Any) -> int:
    """The size of the arrays that readings refer to and the model does not, each counted once."""
    seen: set[int] = set()
    for layer in component.model.walk():
        seen.update(id(owner(layer.get_param(name))) for name in layer.param_names)
    owners = {id(one): one for one in map(owner, arrays([kept(doc) for doc in docs]))}
    return sum(one.nbytes for key, one in owners.items() if key not in seen)


def owner(array: np.ndarray) -> np.ndarray:
    """The array whose memory another one shows."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def arrays(found: list[Any]) -> list[np.ndarray]:
    """All arrays that some objects refer to."""
    seen: set[int] = set()
    left, result = list(found), []
    while left:
        one = left.pop()
        if id(one) in seen or isinstance(one, type) or callable(one):
            continue
        seen.add(id(one))
        if isinstance(one, np.ndarray):
            result.append(one)
        else:
            left.extend(gc.get_referents(one))
    return result


if __name__ == "__main__":
    typer.run(main)
