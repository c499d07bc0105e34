"""Pipelines with more entity types, to measure how speed depends on their number (serving.py).

    python benchmarks/many_types.py DATA/ner/en_ewt --types 18 --work /tmp/many_types

Each type of a corpus (train.iob, dev.iob, test.iob) is split into several, by the entities' text:
of 3 types and 18, into six each; of 3 and 4, the first into two. Trains spaCy's `ner` and the
student of configs/student.cfg from gold, both for so few steps that they are good for nothing but
to be timed.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated
from zlib import crc32

import spacy
import typer
from spacy.tokens import Doc, DocBin, Span
from training_runs import CONFIGS, call, prepare, write_docs

STEPS = 600
HERE = Path(__file__).parent


def main(
    corpus: Annotated[Path, typer.Argument(help="Folder of the corpus", exists=True)],
    work: Annotated[Path, typer.Option(help="Folder for corpora and models")],
    types: Annotated[int, typer.Option(help="How many types there will be")] = 18,
) -> None:
    """Write the corpora and train both pipelines."""
    prepare(corpus, work)
    vocab = spacy.blank("en").vocab
    splits = {
        split: list(DocBin().from_disk(work / f"{split}.spacy").get_docs(vocab))
        for split in ("train", "dev", "test")
    }
    every = [doc for docs in splits.values() for doc in docs]
    labels = sorted({entity.label_ for doc in every for entity in doc.ents})
    if types < len(labels):
        raise typer.BadParameter(f"The corpus has {len(labels)} types already: {labels}.")
    n_parts = {label: len(range(place, types, len(labels))) for place, label in enumerate(labels)}
    for split, docs in splits.items():
        write_docs(with_parts(docs, n_parts), work / f"{split}-parts.spacy")
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


def with_parts(docs: Iterable[Doc], n_parts: Mapping[str, int]) -> Iterator[Doc]:
    """Documents whose entities have the part of their type that their text decides. n_parts: of
    each type."""
    for doc in docs:
        doc.ents = [
            Span(doc, entity.start, entity.end, label=f"{entity.label_}-{part}")
            for entity in doc.ents
            for part in [crc32(entity.text.lower().encode()) % n_parts[entity.label_]]
        ]
        yield doc


if __name__ == "__main__":
    typer.run(main)
