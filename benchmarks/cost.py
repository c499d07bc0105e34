"""What distillation and exact structures cost, as ratios measured in one process.

    python benchmarks/cost.py

Rivals take turns and medians count. The text is that of assets/; the student is the 96×4 one of
configs/student.cfg with four entity types (17 BILUO labels). Needs the `project` extra.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Annotated

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", HF_HUB_OFFLINE="1")

import numpy as np
import spacy
import typer
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from spacy.training import Example
from spacy.util import load_config, load_model_from_config
from thinc.api import set_dropout_rate
from tqdm import tqdm

from spacy_skd.cli.annotate import annotate
from spacy_skd.cli.convert import read_corpus
from spacy_skd.distill.attached import get_target
from spacy_skd.distill.store import TargetStore
from spacy_skd.distill.targets import collate
from spacy_skd.training.corpus import DistillCorpus

ROOT = Path(__file__).parent.parent
CORPUS = ROOT / "assets" / "entities"
RESULTS = Path(__file__).parent / "results"
BATCH = 64
GOALS = {
    "training step: structural KD from a store / gold": ("≤", 1.10),
    "marginals from the store / a gold step": ("≤", 0.03),
    "student's nlp.pipe / its encoder alone (words/s)": ("≥", 0.85),
    "annotate / the teacher's nlp.pipe (time)": ("≤", 1.15),
    "importing the components after spaCy (CPU seconds)": ("≤", 0.05),
}


def main(
    rounds: Annotated[int, typer.Option(help="Timed rounds")] = 15,
    teacher_rounds: Annotated[int, typer.Option(help="Timed rounds of the teacher")] = 5,
    teacher_sentences: Annotated[int, typer.Option(help="Sentences the teacher reads")] = 692,
    output: Annotated[Path, typer.Option(help="Results")] = RESULTS / "cost.json",
) -> None:
    """Measure, print the table, and write it as JSON and Markdown."""
    nlp = spacy.blank("en")
    sentences = [doc for part in ("train", "dev", "test") for doc in read(part, nlp)]
    documents = [Doc.from_docs(list(pair)) for pair in list(pairwise(sentences))[::2]]
    with tempfile.TemporaryDirectory() as folder:
        rows = student_rows(documents, Path(folder), rounds)
        rows |= import_rows(rounds)
        rows |= teacher_rows(sentences[:teacher_sentences], Path(folder), teacher_rounds)
    report(rows, output)


def read(part: str, nlp: Language) -> list[Doc]:
    return list(read_corpus(CORPUS / f"{part}.txt", nlp))


def student_rows(documents: list[Doc], folder: Path, rounds: int) -> dict[str, float]:
    """Training and serving of the student."""
    DocBin(docs=documents).to_disk(folder / "gold.spacy")
    student = make_student(documents)
    annotate(make_student(documents), [folder / "gold.spacy"], folder / "store")
    taught = list(DistillCorpus(folder / "gold.spacy", None, folder / "store")(student))
    gold = list(DistillCorpus(folder / "gold.spacy")(student))
    optimizer = student.resume_training()
    student.get_pipe("ner").objective.start(10**6)
    store = TargetStore(folder / "store")
    plain = [example.predicted for example in taught]

    def steps(examples: list[Example]) -> None:
        for start in range(0, len(examples) - BATCH + 1, BATCH):
            student.update(examples[start : start + BATCH], sgd=optimizer, drop=0.1)

    def marginals() -> None:
        for start in range(0, len(plain) - BATCH + 1, BATCH):
            batch = [store.get(doc)["ner"] for doc in plain[start : start + BATCH]]
            collate(batch, np.zeros(0, "float32")).marginals()

    times = interleaved(
        {
            "gold": lambda: steps(gold),
            "kd": lambda: steps(taught),
            "marginals": marginals,
        },
        rounds,
        "training step",
    )
    assert get_target(taught[0].reference, "ner") is not None
    serving = interleaved(serving_rivals(student, documents), rounds, "serving")
    return {
        "training step: structural KD from a store / gold": ratio(times["kd"], times["gold"]),
        "marginals from the store / a gold step": ratio(times["marginals"], times["gold"]),
        "student's nlp.pipe / its encoder alone (words/s)": ratio(
            serving["encoder"], serving["student"]
        ),
    }


def serving_rivals(student: Language, documents: list[Doc]) -> dict[str, Callable[[], None]]:
    """The student's `nlp.pipe`, and the same with nothing but its encoder."""
    encoder = spacy.blank("en", vocab=student.vocab)
    encoder.add_pipe("tok2vec")
    encoder.get_pipe("tok2vec").model = student.get_pipe("ner").model.get_ref("tok2vec")
    set_dropout_rate(student.get_pipe("ner").model, 0.0)

    def pipe(nlp: Language) -> Callable[[], None]:
        def run() -> None:
            copies = (Doc(nlp.vocab, words=words[i], spaces=spaces[i]) for i in range(len(words)))
            for _ in nlp.pipe(copies, batch_size=256):
                pass

        return run

    words = [[token.text for token in doc] for doc in documents]
    spaces = [[bool(token.whitespace_) for token in doc] for doc in documents]
    return {"student": pipe(student), "encoder": pipe(encoder)}


def teacher_rows(sentences: list[Doc], folder: Path, rounds: int) -> dict[str, float]:
    """Annotation against the teacher's plain `nlp.pipe` over the same documents."""
    import torch

    torch.set_num_threads(1)
    make_teacher(sentences).to_disk(folder / "teacher")
    teacher = spacy.load(folder / "teacher")
    DocBin(docs=sentences).to_disk(folder / "sentences.spacy")
    runs = iter(range(10**6))

    def plain() -> None:
        docs = DocBin().from_disk(folder / "sentences.spacy").get_docs(teacher.vocab)
        copies = (Doc(teacher.vocab, words=[t.text for t in doc]) for doc in docs)
        for _ in teacher.pipe(copies, batch_size=128):
            pass

    def annotated() -> None:
        annotate(teacher, [folder / "sentences.spacy"], folder / f"teacher-{next(runs)}")

    times = interleaved({"pipe": plain, "annotate": annotated}, rounds, "annotate")
    return {"annotate / the teacher's nlp.pipe (time)": ratio(times["annotate"], times["pipe"])}


def import_rows(rounds: int) -> dict[str, float]:
    """What every `spacy.blank()` pays for the package being installed."""
    code = (
        "import time, spacy; start = time.process_time(); "
        "import spacy_skd.pipeline.ner, spacy_skd.pipeline.tagger; "
        "print(time.process_time() - start)"
    )
    # Compiled beforehand, as an installed package is.
    with tempfile.TemporaryDirectory() as compiled:
        env = os.environ | {"PYTHONPYCACHEPREFIX": compiled, "PYTHONDONTWRITEBYTECODE": ""}
        command = [sys.executable, "-c", code]
        subprocess.run(command, env=env, check=True, capture_output=True)
        seconds = [
            float(subprocess.run(command, env=env, check=True, capture_output=True).stdout)
            for _ in tqdm(range(rounds), desc="import")
        ]
    return {"importing the components after spaCy (CPU seconds)": median(seconds)}


def make_student(documents: list[Doc], n_steps: int = 40) -> Language:
    """The student of configs/student.cfg, trained a little so that it finds entities."""
    config = load_config(ROOT / "configs" / "student.cfg")
    nlp = load_model_from_config(
        {"nlp": config["nlp"], "components": config["components"], "training": {"max_steps": 1000}},
        auto_fill=True,
        validate=False,
    )
    return trained(nlp, documents, n_steps)


def make_teacher(sentences: list[Doc]) -> Language:
    """A transformer with a CRF, trained a little."""
    config = load_config(ROOT / "configs" / "teacher.cfg").interpolate()
    nlp = load_model_from_config(
        {"nlp": config["nlp"], "components": config["components"]}, auto_fill=True, validate=False
    )
    return trained(nlp, sentences[:64], 4)


def trained(nlp: Language, documents: list[Doc], n_steps: int) -> Language:
    examples = [
        Example(Doc(nlp.vocab, words=[token.text for token in doc]), doc) for doc in documents
    ]
    optimizer = nlp.initialize(lambda: examples)
    for step in range(n_steps):
        start = step * BATCH % len(examples)
        nlp.update(examples[start : start + BATCH], sgd=optimizer)
    return nlp


def interleaved(
    rivals: dict[str, Callable[[], None]], rounds: int, title: str
) -> dict[str, list[float]]:
    """CPU seconds of each rival in each round; the first round does not count."""
    times: dict[str, list[float]] = {name: [] for name in rivals}
    for number in tqdm(range(rounds + 1), desc=title, file=sys.stderr):
        for name, rival in rivals.items():
            start = time.process_time()
            rival()
            if number:
                times[name].append(time.process_time() - start)
    return times


def ratio(numerator: list[float], denominator: list[float]) -> float:
    """Median of the ratios round by round."""
    return median(a / b for a, b in zip(numerator, denominator))


def report(rows: dict[str, float], output: Path) -> None:
    lines = ["| ratio | measured | goal |", "| --- | ---: | ---: |"]
    for name, value in rows.items():
        sign, goal = GOALS[name]
        lines.append(f"| {name} | {value:.3f} | {sign} {goal:.2f} |")
    table = "\n".join(lines) + "\n"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    output.with_suffix(".md").write_text(table, encoding="utf-8")
    print(table)


if __name__ == "__main__":
    typer.run(main)
