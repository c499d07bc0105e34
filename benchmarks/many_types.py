"""Pipelines with many entity types, to measure how speed depends on their number (serving.py).

    python benchmarks/many_types.py DATA/ner/en_ewt --work /tmp/many_types

Each type of a corpus (train.iob, dev.iob, test.iob) is split into six, by the entities' text.
Trains spaCy's `ner` and the student of configs/student.cfg from gold, both for so few steps that
they are good for nothing but to be timed.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated
from zlib import crc32

import spacy
import typer
from spacy.tokens import Doc, DocBin, Span
from training_runs import CONFIGS, call, prepare, write_docs

N_PARTS = 6
STEPS = 600
HERE = Path(__file__).parent


def main(
    corpus: Annotated[Path, typer.Argument(help="Folder of the corpus", exists=True)],
    work: Annotated[Path, typer.Option(help="Folder for corpora and models")],
) -> None:
    """Write the corpora and train both pipelines."""
    prepare(corpus, work)
    vocab = spacy.blank("en").vocab
    for split in ("train", "dev", "test"):
        docs = DocBin().from_disk(work / f"{split}.spacy").get_docs(vocab)
        write_docs(with_parts(docs), work / f"{split}-parts.spacy")
    for name, config in {
        "stock": HERE / "spacy_ner.cfg",
        "student": CONFIGS / "student.cfg",
    }.items():
        options = [
            *("--paths.train", work / "train-parts.spacy", "--paths.dev", work / "dev-parts.spacy"),
            *("--training.max_steps", STEPS, "--training.eval_frequency", STEPS),
        ]
        call("train", config, "--output", work / name, *options, log=work / f"{name}.log")
        print(work / name / "model-best")


def with_parts(docs: Iterable[Doc]) -> Iterator[Doc]:
    """Documents whose entities have the part of their type that their text decides."""
    for doc in docs:
        doc.ents = [
            Span(doc, entity.start, entity.end, label=f"{entity.label_}-{part_of(entity.text)}")
            for entity in doc.ents
        ]
        yield doc


def part_of(text: str) -> int:
    return crc32(text.lower().encode()) % N_PARTS


if __name__ == "__main__":
    typer.run(main)
