"""`python -m spacy skd compare`: several pipelines on the same test documents, in one table."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Annotated, Any

import typer
from spacy.cli._util import setup_gpu
from spacy.language import Language
from spacy.pipeline.dep_parser import parser_score
from spacy.scorer import get_ner_prf
from spacy.symbols import DEP, HEAD, MORPH, POS, TAG
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.util import load_model
from tqdm import tqdm
from wasabi import msg

from ..distill.copies import plain_copy
from ..pipeline.tagger import score_tags
from ..training.documents import read_annotated
from .annotate import clear_errors

COLUMNS = {
    "ents_f": "F1",
    "ents_p": "precision",
    "ents_r": "recall",
    "dep_uas": "UAS",
    "dep_las": "LAS",
    "tag_acc": "tags",
    "pos_acc": "parts of speech",
    "morph_acc": "morphology",
    "words_per_second": "words/s",
    "megabytes": "MB on disk",
    "agreement": "agreement with teacher",
}
MAIN_SCORES = ("ents_f", "dep_las", "tag_acc", "pos_acc", "morph_acc")
TAGS = {"TAG": TAG, "POS": POS, "MORPH": MORPH}


def compare(
    test: Annotated[Path, typer.Argument(help="Gold documents (.spacy)", exists=True)],
    model: Annotated[
        list[str],
        typer.Option(
            "--model", "-m", help="name=pipeline (folder or package); the first is the teacher"
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for table.json and .md")],
    rounds: Annotated[int, typer.Option(help="Timed rounds, of which the median counts")] = 3,
    min_words: Annotated[int, typer.Option(help="Words to read in a timed round")] = 5000,
    gpu_id: Annotated[int, typer.Option("--gpu-id", "-g", help="GPU, or -1 for the CPU")] = -1,
) -> None:
    """Compare pipelines on the same test documents: accuracy, speed, size, and agreement.

    What the test documents are annotated with and the pipelines predict is compared: entities,
    dependency trees, tags, parts of speech, morphology. Agreement is a pipeline's score against
    what the first pipeline predicts, the mean of F1, LAS and accuracies if there are several tasks.
    Speed is that of `nlp.pipe` on this machine, the pipelines taking turns.
    """
    names = dict(_split(entry) for entry in model)
    with clear_errors():
        setup_gpu(gpu_id, silent=True)
        pipelines = {name: load_model(pipeline) for name, pipeline in names.items()}
        rows = {name: {"megabytes": megabytes(nlp.path)} for name, nlp in pipelines.items()}
        teacher: list[Doc] = []
        for name, nlp in pipelines.items():
            gold = read_gold(test, nlp)
            predicted = list(predict(nlp, gold))
            teacher = teacher or predicted
            accuracy = scores(predicted, gold)
            rows[name] |= accuracy
            alike = scores(predicted, teacher)
            tasks = [alike[key] for key in MAIN_SCORES if key in accuracy and key in alike]
            if tasks:
                rows[name]["agreement"] = mean(tasks)
        if not any(key in row for row in rows.values() for key in MAIN_SCORES):
            raise ValueError(f"None of the pipelines predicts what {test} is annotated with.")
        speeds = words_per_second(pipelines, test, rounds=rounds, min_words=min_words)
        for name, speed in speeds.items():
            rows[name]["words_per_second"] = speed
        write_table(rows, output)
    msg.good("Compared", str(output))
    print((output / "table.md").read_text(encoding="utf-8"))


def read_gold(test: Path, nlp: Language) -> list[Doc]:
    """The documents of the test file. Raises ValueError if it cannot be read, has none, or nothing
    by which pipelines can be scored."""
    gold = [doc for _, doc in read_annotated([test], nlp.vocab)]
    if not gold:
        raise ValueError(f"There are no documents in {test}.")
    if not annotation_of(gold):
        raise ValueError(
            f"The documents in {test} have neither entities nor dependency trees nor tags: there "
            "is nothing to compare pipelines by."
        )
    return gold


def predict(nlp: Language, docs: Iterable[Doc]) -> Iterator[Doc]:
    """Plain copies of documents with the pipeline's entities, trees and tags, and nothing else that
    it leaves in them: a transformer's tensors would fill the memory."""
    for doc in nlp.pipe(plain_copy(doc, nlp.vocab) for doc in docs):
        copy = plain_copy(doc, nlp.vocab)
        attributes = [number for name, number in TAGS.items() if doc.has_annotation(name)]
        if doc.has_annotation("DEP"):
            attributes += [HEAD, DEP]
        if attributes:
            values: Any = doc.to_array(attributes).reshape(len(doc), -1)
            copy.from_array(attributes, values)
        if doc.has_annotation("ENT_IOB"):
            copy.set_ents([Span(copy, ent.start, ent.end, ent.label) for ent in doc.ents])
        yield copy


def scores(predicted: Sequence[Doc], gold: Sequence[Doc]) -> dict[str, float]:
    """Scores in per cent of what the gold documents are annotated with, and the others too.

    `ents_f`, `ents_p` and `ents_r` of entities, `dep_uas` and `dep_las` of trees, and the
    accuracies `tag_acc`, `pos_acc` and `morph_acc`.
    """
    both = annotation_of(gold) & annotation_of(predicted)
    examples = [Example(ours, theirs) for ours, theirs in zip(predicted, gold)]
    found: dict[str, Any] = {}
    if "ENT_IOB" in both:
        entities = get_ner_prf(examples)
        found |= {key: entities[key] for key in ("ents_f", "ents_p", "ents_r")}
    if "DEP" in both:
        trees = parser_score(examples)
        found |= {key: trees[key] for key in ("dep_uas", "dep_las")}
    for name in both.intersection(TAGS):
        found |= score_tags(examples, attribute=name.lower())
    return {key: 100 * (value or 0.0) for key, value in found.items()}


def annotation_of(docs: Sequence[Doc]) -> set[str]:
    """The attributes that documents have, of those that can be scored."""
    attributes = ("ENT_IOB", "DEP", *TAGS)
    return {name for name in attributes if any(doc.has_annotation(name) for doc in docs)}


def words_per_second(
    pipelines: dict[str, Language],
    test: Path,
    *,
    rounds: int,
    min_words: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median speed of each pipeline's `nlp.pipe` over rounds in which they take turns."""
    speeds: dict[str, list[float]] = {name: [] for name in pipelines}
    with tqdm(total=rounds * len(pipelines), desc="words/s", disable=None) as progress:
        for _ in range(rounds):
            for name, nlp in pipelines.items():
                docs = read_gold(test, nlp)
                n_words = sum(len(doc) for doc in docs)
                repeats = max(1, min_words // max(1, n_words))
                copies = [plain_copy(doc, nlp.vocab) for _ in range(repeats) for doc in docs]
                start = clock()
                for _doc in nlp.pipe(copies):
                    pass
                speeds[name].append(repeats * n_words / (clock() - start))
                progress.update()
    return {name: median(values) for name, values in speeds.items()}


def megabytes(folder: Path) -> float:
    """Size of a folder on disk."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sum(path.stat().st_size for path in files) / 1e6


def write_table(rows: dict[str, dict[str, float]], output: Path) -> None:
    """Write the rows as table.json and, rounded, as table.md."""
    output.mkdir(parents=True, exist_ok=True)
    (output / "table.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    columns = [column for column in COLUMNS if any(column in row for row in rows.values())]
    lines = [
        "| pipeline | " + " | ".join(COLUMNS[column] for column in columns) + " |",
        "| --- |" + " ---: |" * len(columns),
        *(
            f"| {name} | "
            + " | ".join(_round(column, row.get(column)) for column in columns)
            + " |"
            for name, row in rows.items()
        ),
    ]
    (output / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _round(column: str, value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if column == "words_per_second" else f"{value:.1f}"


def _split(entry: str) -> tuple[str, str]:
    name, _, pipeline = entry.partition("=")
    if not name or not pipeline:
        raise typer.BadParameter(f"'{entry}' is not of the form name=pipeline.")
    return name, pipeline
