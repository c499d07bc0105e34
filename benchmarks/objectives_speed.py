"""What each objective costs: loss and gradient alone, and in a whole training step.

    python benchmarks/objectives_speed.py

The student is the 96×4 one of configs/student.cfg; half of its loss is gold annotation's, half the
teacher's, whose scores lie where the store puts them. Rivals get the same batches in the same
process in turns, as objectives of the same component (benchmarks/torch_losses.py), one thread, CPU
time; the ratios are medians over rounds.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from statistics import median
from typing import Annotated, Any

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import numpy as np
import spacy
import torch
import typer
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.util import load_config, load_model_from_config
from torch_losses import TorchObjective, local_matching, pytorch_crf, pytorch_struct
from tqdm import tqdm

from spacy_skd.cli.convert import read_corpus
from spacy_skd.distill.attached import get_target, set_target
from spacy_skd.distill.objectives import (
    Objective,
    make_posterior_kd,
    make_structural_kd,
    make_substructure_kd,
    make_sum_kd,
    make_token_kd,
)
from spacy_skd.distill.targets import Target, Teacher
from spacy_skd.structures import as_potentials, legal_moves

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
N_SENTENCES = 64
LABELS = (9, 17, 37, 73)
LENGTHS = (15, 30, 128)
STRUCT_CELLS = 700_000
"""Edge scores above which torch-struct is left out: it keeps dozens of copies of them."""

GOLD = "gold alone"
SEARCH = "top-WK, k = 10, found anew"
LIN = "Lin et al. by autograd"
OBJECTIVES: dict[str, Callable[[], Objective]] = {
    GOLD: make_structural_kd,
    "structural (exact)": lambda: make_structural_kd(teacher_weight=0.5),
    "top-K, k = 10": lambda: make_structural_kd("top_k", teacher_weight=0.5),
    "top-WK, k = 10": lambda: make_structural_kd("top_wk", teacher_weight=0.5),
    SEARCH: lambda: make_structural_kd("top_wk", teacher_weight=0.5),
    "posterior": lambda: make_posterior_kd(teacher_weight=0.5),
    "posterior + top-WK": lambda: make_sum_kd(
        {"posterior": make_posterior_kd(), "top_wk": make_structural_kd("top_wk")},
        teacher_weight=0.5,
    ),
    "emission": lambda: make_token_kd(teacher_weight=0.5),
    "sub-structure (a)": lambda: make_substructure_kd(teacher_weight=0.5),
    "sub-structure (b)": lambda: make_substructure_kd(True, teacher_weight=0.5),
    "sub-structure (b), KL": lambda: make_substructure_kd(True, "kl", teacher_weight=0.5),
    "pytorch-crf, gold": lambda: TorchObjective(pytorch_crf),
    "torch-struct, gold": lambda: TorchObjective(pytorch_struct),
    LIN: lambda: TorchObjective(local_matching),
}
GOALS = {
    17: {
        "structural (exact)": 1.03,
        "posterior": 1.05,
        "top-K, k = 10": 1.05,
        "top-WK, k = 10": 1.05,
        "sub-structure (a)": 1.01,
        "sub-structure (b)": 1.01,
    },
    73: {"structural (exact)": 1.10},
}


class Bench:
    """One student, one batch of documents with gold annotation and targets, all objectives."""

    def __init__(self, n_labels: int, length: int) -> None:
        self.rng = np.random.default_rng(n_labels * length)
        self.types = [f"T{number}" for number in range(n_labels // 4)]
        self.nlp = make_student(self.types)
        docs = [self.document(length) for _ in range(N_SENTENCES)]
        blank = [
            Doc(self.nlp.vocab, words=[token.text for token in doc], spaces=[True] * len(doc))
            for doc in docs
        ]
        self.taught = [Example(doc, gold) for doc, gold in zip(blank, docs)]
        self.ner = self.nlp.get_pipe("ner")
        self.optimizer = self.nlp.initialize(lambda: self.taught)
        self.set_targets(docs)
        self.gold = [Example(doc, without_target(gold)) for doc, gold in zip(blank, docs)]
        self.objectives = {
            name: make()
            for name, make in OBJECTIVES.items()
            if name != "torch-struct, gold" or N_SENTENCES * length * n_labels**2 <= STRUCT_CELLS
        }
        for _ in range(30):  # so that the student is no longer the same everywhere
            self.step(GOLD)

    def document(self, length: int) -> Doc:
        """Words of the shipped corpus in random order with random entities."""
        n_tokens = max(2, round(self.rng.lognormal(np.log(length) - 0.125, 0.5)))
        doc = Doc(self.nlp.vocab, words=self.rng.choice(words(), n_tokens).tolist())
        starts = range(int(self.rng.integers(4)), n_tokens - 3, 8)
        doc.ents = [
            Span(
                doc, start, start + int(self.rng.integers(1, 4)), label=self.rng.choice(self.types)
            )
            for start in starts
        ]
        return doc

    def set_targets(self, docs: list[Doc]) -> None:
        """A teacher that is fairly, but not always sure, as the store gives it."""
        columns = self.ner.column_labels()
        transitions, start, end = map(as_potentials, legal_moves(columns))
        noise = self.rng.normal(size=transitions.shape).astype("float32")
        tables = {"transitions": transitions + noise, "start": start, "end": end}
        tables = {name: np.asarray(table, "float32") for name, table in tables.items()}
        teacher = Teacher("ner", "chain", tuple(columns), tables)
        for example in self.taught:
            scores = self.rng.normal(size=(len(example.reference), len(columns))) * 2
            gold = self.ner.get_annotation(example)
            scores[np.arange(len(gold)), gold] += 6
            scores -= scores.max(axis=1, keepdims=True)
            set_target(example.reference, Target(teacher, scores.astype("float16")))

    def examples(self, name: str) -> list[Example]:
        if name == SEARCH:
            for example in self.taught:
                get_target(example.reference, "ner").kept.clear()
        return self.gold if "gold" in name else self.taught

    def step(self, name: str) -> None:
        """A whole training step."""
        self.ner.objective = self.objectives[name]
        self.nlp.update(self.examples(name), sgd=self.optimizer, drop=0.1)

    def loss(self, name: str) -> None:
        """Loss and gradient, from the student's distributions on."""
        examples = self.examples(name)
        targets = [get_target(example.reference, "ner") for example in examples]
        self.objectives[name](self.fresh(), self.annotation, targets)

    def prepare_losses(self) -> None:
        """The student's scores, for `loss`."""
        self.student = self.ner.model.predict([example.predicted for example in self.taught])
        self.annotation = np.concatenate([self.ner.get_annotation(e) for e in self.taught])

    def fresh(self) -> Any:
        """The student's distributions with nothing computed yet."""
        student = self.student
        return type(student)(
            student.emissions,
            student.transitions,
            student.start,
            student.end,
            student.lengths,
            student.labels,
        )

    def measure(self, rounds: int, title: str) -> dict[str, dict[str, float]]:
        """Median ratios to gold alone, by objective: of the loss, and of the step."""
        self.prepare_losses()
        losses = self.interleaved(self.loss, rounds, f"loss, {title}")
        steps = self.interleaved(self.step, rounds, f"step, {title}")
        return {
            name: {
                "loss": ratio(losses[name], losses[GOLD]),
                "loss_milliseconds": 1000 * median(losses[name]),
                "step": ratio(steps[name], steps[GOLD]),
                "step_milliseconds": 1000 * median(steps[name]),
            }
            for name in self.objectives
        }

    def interleaved(
        self, run: Callable[[str], None], rounds: int, title: str
    ) -> dict[str, list[float]]:
        """CPU seconds of each objective in each round; the first round does not count."""
        times: dict[str, list[float]] = {name: [] for name in self.objectives}
        for number in tqdm(range(rounds + 1), desc=title, file=sys.stderr, leave=False):
            for name in self.objectives:
                start = time.process_time()
                run(name)
                if number:
                    times[name].append(time.process_time() - start)
        return times


@cache
def words() -> list[str]:
    """The words of the shipped corpus."""
    corpus = read_corpus(ROOT / "assets" / "entities" / "train.txt", spacy.blank("en"))
    return sorted({token.text for doc in corpus for token in doc})


def make_student(types: list[str]) -> Language:
    config = load_config(ROOT / "configs" / "student.cfg")
    nlp = load_model_from_config(
        {"nlp": config["nlp"], "components": config["components"]}, auto_fill=True, validate=False
    )
    for label in types:
        nlp.get_pipe("ner").add_label(label)
    return nlp


def without_target(doc: Doc) -> Doc:
    """A copy of a gold document that no teacher has seen."""
    copy = doc.copy()
    copy.user_data.clear()
    return copy


def ratio(numerator: list[float], denominator: list[float]) -> float:
    """Median of the ratios round by round."""
    return median(a / b for a, b in zip(numerator, denominator))


def search_speed(n_labels: int, rounds: int) -> float:
    """Tokens a second of the teacher's ten best outputs."""
    bench = Bench(n_labels, 30)
    bench.prepare_losses()
    times = []
    for _ in range(rounds):
        student = bench.fresh()
        start = time.process_time()
        student.topk(10)
        times.append(time.process_time() - start)
    return len(bench.annotation) / median(times)


def main(
    rounds: Annotated[int, typer.Option(help="Timed rounds")] = 9,
    labels: Annotated[list[int] | None, typer.Option(help="Numbers of labels")] = None,
    lengths: Annotated[list[int] | None, typer.Option(help="Mean sentence lengths")] = None,
    output: Annotated[Path, typer.Option()] = RESULTS / "objectives_speed.json",
) -> None:
    """Measure, print the tables, and write them as JSON and Markdown.

    Asked for some labels or lengths, it keeps what the output has of the others.
    """
    torch.set_num_threads(1)
    rows: dict[str, Any] = {"ratios": []}
    if (labels or lengths) and output.exists():
        rows = json.loads(output.read_text(encoding="utf-8"))
    else:
        rows["search_tokens_per_second"] = round(search_speed(17, rounds))
    output.parent.mkdir(parents=True, exist_ok=True)
    for n_labels in labels or LABELS:
        for length in lengths or LENGTHS:
            title = f"L {n_labels}, n {length}"
            found = Bench(n_labels, length).measure(rounds, title)
            column = {"labels": n_labels, "length": length, "ratios": found}
            others = [row for row in rows["ratios"] if place(row) != place(column)]
            rows["ratios"] = sorted([*others, column], key=place)
            output.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
            output.with_suffix(".md").write_text(table(rows), encoding="utf-8")
    print(table(rows))


def place(column: dict[str, Any]) -> tuple[int, int]:
    """Where a column is in the table."""
    return column["labels"], column["length"]


def table(rows: dict[str, Any]) -> str:
    found = rows["ratios"]
    head = "".join(f" L {row['labels']}, n {row['length']} |" for row in found)
    lines = []
    for what, title in (
        ("step", "whole training step / gold alone"),
        ("loss", "loss + gradient / gold alone"),
    ):
        lines += [f"| {title} |{head}", "| --- |" + " ---: |" * len(found)]
        for name in OBJECTIVES:
            cells = [cell(row, name, what) for row in found]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        lines.append("")
    lines.append(
        f"The ten best outputs of a chain with 17 labels: "
        f"{rows['search_tokens_per_second']:,} tokens/s."
    )
    return "\n".join(lines) + "\n"


def cell(row: dict[str, Any], name: str, what: str) -> str:
    """A ratio, bold where it misses its goal; the milliseconds for gold alone."""
    if name not in row["ratios"]:
        return "–"
    value = row["ratios"][name][what]
    if name == GOLD:
        return f"{row['ratios'][name][what + '_milliseconds']:.1f} ms"
    text = f"{value:.3f}" if what == "step" else f"{value:.1f}"
    goal = GOALS.get(row["labels"], {}).get(name, np.inf)
    return f"**{text}**" if what == "step" and value > goal else text


if __name__ == "__main__":
    typer.run(main)
