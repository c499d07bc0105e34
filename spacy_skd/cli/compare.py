"""`python -m spacy skd compare`: several pipelines on the same test documents, in one table."""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from spacy.cli._util import setup_gpu
from spacy.language import Language
from spacy.scorer import get_ner_prf
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.util import load_model
from tqdm import tqdm
from wasabi import msg

from ..training.documents import plain_copy, read_annotated
from .annotate import clear_errors

COLUMNS = {
    "ents_f": "F1",
    "ents_p": "precision",
    "ents_r": "recall",
    "words_per_second": "words/s",
    "megabytes": "MB on disk",
    "agreement": "agreement with teacher",
}


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

    Agreement is the F-score of a pipeline's entities against those of the first pipeline. Speed is
    that of `nlp.pipe` on this machine, the pipelines taking turns.
    """
    names = dict(_split(entry) for entry in model)
    with clear_errors():
        setup_gpu(gpu_id, silent=True)
        pipelines = {name: load_model(pipeline) for name, pipeline in names.items()}
        rows = {name: {"megabytes": megabytes(nlp.path)} for name, nlp in pipelines.items()}
        teacher: list[Doc] = []
        for name, nlp in pipelines.items():
            gold = read_gold(test, nlp)
            predicted = list(predict_entities(nlp, gold))
            teacher = teacher or predicted
            rows[name] |= entity_scores(predicted, gold)
            rows[name]["agreement"] = entity_scores(predicted, teacher)["ents_f"]
        speeds = words_per_second(pipelines, test, rounds=rounds, min_words=min_words)
        for name, speed in speeds.items():
            rows[name]["words_per_second"] = speed
        write_table(rows, output)
    msg.good("Compared", str(output))
    print((output / "table.md").read_text(encoding="utf-8"))


def read_gold(test: Path, nlp: Language) -> list[Doc]:
    """The documents of the test file. Raises ValueError if it cannot be read or has none."""
    gold = [doc for _, doc in read_annotated([test], nlp.vocab)]
    if not gold:
        raise ValueError(f"There are no documents in {test}.")
    return gold


def predict_entities(nlp: Language, docs: Iterable[Doc]) -> Iterator[Doc]:
    """Plain copies of documents with the pipeline's entities, and nothing else that it leaves in
    them: a transformer's tensors would fill the memory."""
    for doc in nlp.pipe(plain_copy(doc, nlp.vocab) for doc in docs):
        copy = plain_copy(doc, nlp.vocab)
        copy.set_ents([Span(copy, ent.start, ent.end, ent.label) for ent in doc.ents])
        yield copy


def entity_scores(predicted: Sequence[Doc], gold: Sequence[Doc]) -> dict[str, float]:
    """F-score, precision and recall of entities, in per cent."""
    examples = [Example(ours, theirs) for ours, theirs in zip(predicted, gold)]
    scores = get_ner_prf(examples)
    return {key: 100 * (scores[key] or 0.0) for key in ("ents_f", "ents_p", "ents_r")}


def words_per_second(
    pipelines: dict[str, Language], test: Path, *, rounds: int, min_words: int
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
                start = time.perf_counter()
                for _doc in nlp.pipe(copies):
                    pass
                speeds[name].append(repeats * n_words / (time.perf_counter() - start))
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
    lines = [
        "| pipeline | " + " | ".join(COLUMNS.values()) + " |",
        "| --- |" + " ---: |" * len(COLUMNS),
        *(
            f"| {name} | "
            + " | ".join(_round(column, row.get(column)) for column in COLUMNS)
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
