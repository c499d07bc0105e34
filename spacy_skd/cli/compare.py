"""`python -m spacy skd compare`: several pipelines on the same test documents, in one table."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from spacy.language import Language
from spacy.scorer import get_ner_prf
from spacy.tokens import Doc, DocBin
from spacy.training import Example
from spacy.util import load_model
from tqdm import tqdm
from wasabi import msg

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
        list[str], typer.Option("--model", "-m", help="name=folder; the first is the teacher")
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
    from spacy.cli._util import setup_gpu

    setup_gpu(gpu_id, silent=True)
    folders = dict(_split(entry) for entry in model)
    pipelines = {name: load_model(folder) for name, folder in folders.items()}
    rows = {name: {"megabytes": megabytes(folder)} for name, folder in folders.items()}
    predictions: dict[str, list[Doc]] = {}
    for name, nlp in pipelines.items():
        gold = list(DocBin().from_disk(test).get_docs(nlp.vocab))
        predicted = list(nlp.pipe(plain_copy(doc, nlp) for doc in gold))
        predictions[name] = predicted
        rows[name] |= entity_scores(predicted, gold)
    teacher = next(iter(predictions.values()))
    for name, predicted in predictions.items():
        rows[name]["agreement"] = entity_scores(predicted, teacher)["ents_f"]
    speeds = words_per_second(pipelines, test, rounds=rounds, min_words=min_words)
    for name, speed in speeds.items():
        rows[name]["words_per_second"] = speed
    write_table(rows, output)
    msg.good("Compared", str(output))
    print((output / "table.md").read_text(encoding="utf-8"))


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
                docs = [
                    plain_copy(doc, nlp) for doc in DocBin().from_disk(test).get_docs(nlp.vocab)
                ]
                n_words = sum(len(doc) for doc in docs)
                repeats = max(1, min_words // max(1, n_words))
                copies = [plain_copy(doc, nlp) for _ in range(repeats) for doc in docs]
                start = time.perf_counter()
                for _doc in nlp.pipe(copies):
                    pass
                speeds[name].append(repeats * n_words / (time.perf_counter() - start))
                progress.update()
    return {name: median(values) for name, values in speeds.items()}


def plain_copy(doc: Doc, nlp: Language) -> Doc:
    """The tokens of a document, without any annotation."""
    return Doc(
        nlp.vocab,
        words=[token.text for token in doc],
        spaces=[bool(token.whitespace_) for token in doc],
    )


def megabytes(folder: str) -> float:
    """Size of a folder on disk."""
    files = (path for path in Path(folder).rglob("*") if path.is_file())
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
    name, _, folder = entry.partition("=")
    if not name or not folder:
        raise typer.BadParameter(f"'{entry}' is not of the form name=folder.")
    return name, folder
