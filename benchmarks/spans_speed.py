"""How fast spans are: the structure alone, and a training step against that of a chain student.

    python benchmarks/spans_speed.py

64 sentences of 30 words, four labels, spans of up to W words, float32, one thread, CPU time. The
students are those of configs/student_spans.cfg and configs/student.cfg on the same documents in
turns; the ratio is a median over rounds.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import numpy as np
import spacy
import typer
from rounds import interleaved
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import load_config, load_model_from_config

from spacy_skd.cli.convert import read_corpus
from spacy_skd.structures import FlatSpans, biluo_labels
from spacy_skd.structures.span_decoding import decode_greedy

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results" / "spans_speed.json"
N_SENTENCES, LENGTH, N_LABELS = 64, 30, 4
GOALS = {"log-partition": 250_000, "BILUO marginals": 100_000, "exact decoding": 500_000}
STEP_GOAL = 1.3


def main(
    rounds: Annotated[int, typer.Option(help="Timed rounds")] = 15,
    output: Annotated[Path, typer.Option(help="Results")] = RESULTS,
) -> None:
    """Measure, print the table, and write it as JSON and Markdown."""
    speeds = {width: structure_speeds(width, rounds) for width in (8, 12)}
    found = {"words_per_second": speeds, "step": step_ratio(rounds)}
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    lines = ["| words/s | W = 8 | W = 12 | goal |", "| --- | ---: | ---: | ---: |"]
    for name in speeds[8]:
        goal = f"{GOALS[name]:,}" if name in GOALS else "–"
        lines.append(f"| {name} | {speeds[8][name]:,} | {speeds[12][name]:,} | {goal} |")
    step = f"A training step of the span student is {found['step']:.2f} times one of the chain's"
    table = "\n".join([*lines, "", f"{step} (goal: at most {STEP_GOAL})."]) + "\n"
    output.with_suffix(".md").write_text(table, encoding="utf-8")
    print(table)


def structure_speeds(width: int, rounds: int) -> dict[str, int]:
    """Words a second of each operation on new structures."""
    rng = np.random.default_rng(width)
    lengths = np.full(N_SENTENCES, LENGTH)
    scores = rng.normal(size=(lengths.sum(), width, N_LABELS)).astype("f") * 2 - 3
    labels = [f"T{number}" for number in range(N_LABELS)]

    def spans() -> FlatSpans:
        return FlatSpans(scores, lengths, labels)

    runs: dict[str, Callable[[], object]] = {
        "log-partition": lambda: spans().log_partition(),
        "log-partition and marginals": lambda: spans().marginals(),
        "BILUO marginals": lambda: spans().biluo_marginals(),
        "exact decoding": lambda: spans().argmax(),
        "greedy decoding": lambda: decode_greedy(scores, lengths),
        "ten best sets": lambda: spans().topk(10),
    }
    times = interleaved(runs, rounds, f"structure, W {width}")
    return {name: round(lengths.sum() / median(seconds)) for name, seconds in times.items()}


def step_ratio(rounds: int) -> float:
    """A training step of the span student over one of the chain student."""
    corpus = list(read_corpus(ROOT / "assets" / "entities" / "train.txt", spacy.blank("en")))
    students = {name: student(name, corpus) for name in ("student", "student_spans")}
    times = interleaved(students, rounds, "training step")
    return median(a / b for a, b in zip(times["student_spans"], times["student"]))


def student(name: str, corpus: list[Doc]) -> Callable[[], object]:
    """A step of the student of a config, on 64 pieces of about 30 words."""
    config = load_config(ROOT / "configs" / f"{name}.cfg")
    nlp: Language = load_model_from_config(
        {"nlp": config["nlp"], "components": config["components"]}, auto_fill=True, validate=False
    )
    docs = [Doc.from_docs(corpus[n : n + 2]) for n in range(0, 2 * N_SENTENCES, 2)]
    examples = [Example(Doc(nlp.vocab, words=[token.text for token in doc]), doc) for doc in docs]
    optimizer = nlp.initialize(lambda: examples)
    assert len(biluo_labels(nlp.get_pipe("ner").labels)) == 4 * N_LABELS + 1
    return lambda: nlp.update(examples, sgd=optimizer, drop=0.1)


if __name__ == "__main__":
    typer.run(main)
