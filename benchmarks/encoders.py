"""What the recurrent encoder is worth, for trees and for entities: students from gold annotation
that differ in nothing but the encoder.

    python benchmarks/encoders.py DATA --work /tmp/encoders --jobs 2

DATA has ud/en_ewt/*.conllu and ner/en_ewt/*.iob. Models are chosen on dev; test is read once, at
the end of a run. Resumable (training_runs.py); what benchmarks/ner.py has run with the encoder of
its config is taken from its results. How fast the encoders are: benchmarks/encoder_speed.py.
"""

from pathlib import Path
from typing import Annotated, Any, ClassVar

import ner
import parser as trees
import typer
from spacy.util import load_config
from training_runs import CONFIGS, RESULTS, Bench, Recipe, Run, cell, prepare, read_rows

CORPUS = "en_ewt"
RECURRENT = {
    "@architectures": "spacy-skd.HashEmbedRecurrent.v1",
    "pretrained_vectors": None,
    "width": 96,
    "depth": 2,
    "embed_size": 5000,
    "subword_features": True,
}
ENCODERS: dict[str, dict[str, Any]] = {
    "HashEmbedCNN, 4 windows": {
        "@architectures": "spacy.HashEmbedCNN.v2",
        "pretrained_vectors": None,
        "width": 96,
        "depth": 4,
        "embed_size": 5000,
        "window_size": 1,
        "maxout_pieces": 3,
        "subword_features": True,
    },
    "2 windows, light": RECURRENT,
    "2 windows, light × 2": RECURRENT | {"recurrent_depth": 2},
    "2 windows, LSTM": RECURRENT | {"recurrence": "lstm"},
}
# The results, the setting and the system by which another benchmark knows a run of this one.
KNOWN = {("entities", "HashEmbedCNN, 4 windows"): ("ner.jsonl", "full", "gold-crf")}
SEEDS = 2


def main(
    data: Annotated[Path, typer.Argument(help="Folder with ud/en_ewt and ner/en_ewt", exists=True)],
    work: Annotated[Path, typer.Option(help="Folder for models")],
    seeds: Annotated[int, typer.Option(help="Seeds of each student")] = SEEDS,
    jobs: Annotated[int, typer.Option(help="Runs at a time, one thread each")] = 1,
    results: Annotated[Path, typer.Option(help="Finished runs")] = RESULTS / "encoders.jsonl",
) -> None:
    """Run what is missing, then write the table next to the results."""
    prepare(data / "ud" / CORPUS, work / "trees", "conllu")
    prepare(data / "ner" / CORPUS, work / "entities")
    known = known_rows(results.parent, seeds)
    found = {(row["corpus"], row["system"], row["seed"]) for row in known}
    runs = [
        Run(task, trees.GOLD, encoder, seed)
        for seed in range(seeds)
        for task in ("trees", "entities")
        for encoder in ENCODERS
        if (task, encoder, seed) not in found
    ]
    for bench in (TreeBench(work, results), EntityBench(work, results)):
        bench.run_all([run for run in runs if run.corpus == bench.task], jobs)
    table = make_table(known + read_rows(results))
    results.with_suffix(".md").write_text(table, encoding="utf-8")
    print(table)


def known_rows(results: Path, seeds: int) -> list[dict]:
    """The rows of other benchmarks that are runs of this one, by the names that they have here."""
    return [
        row | {"corpus": task, "setting": trees.GOLD, "system": encoder}
        for (task, encoder), (name, setting, system) in KNOWN.items()
        for row in read_rows(results / name)
        if (row["corpus"], row["setting"], row["system"]) == (CORPUS, setting, system)
        if row["seed"] < seeds
    ]


class TreeBench(Bench):
    """The students of benchmarks/parser.py that choose heads."""

    gold_tokens: ClassVar[bool] = True
    task: ClassVar = "trees"
    config: ClassVar = CONFIGS / "student_parser.cfg"
    component: ClassVar = "parser"
    steps: ClassVar = trees.STEPS[CORPUS][1]
    dropout: ClassVar = trees.DROPOUT
    metrics: ClassVar = {"las": "dep_las", "uas": "dep_uas"}

    def recipe(self, run: Run) -> Recipe:
        config = load_config(self.config)
        config["components"][self.component]["model"]["tok2vec"] = ENCODERS[run.system]
        path = self.work / run.corpus / f"{run.name}.cfg"
        config.to_disk(path)
        train = self.work / run.corpus / "train.spacy"
        return Recipe(path, train, self.steps, options=("--training.dropout", self.dropout))


class EntityBench(TreeBench):
    """The students of benchmarks/ner.py with a CRF."""

    gold_tokens: ClassVar[bool] = False
    task: ClassVar = "entities"
    config: ClassVar = CONFIGS / "student.cfg"
    component: ClassVar = "ner"
    steps: ClassVar = ner.CORPORA[CORPUS]["student"]
    dropout: ClassVar = ner.CORPORA[CORPUS]["gold"]
    metrics: ClassVar = Bench.metrics


def make_table(rows: list[dict]) -> str:
    """LAS and UAS of trees and F1 of entities on test, by encoder."""
    columns = {"trees, LAS": ("trees", "las"), "trees, UAS": ("trees", "uas")}
    columns["entities, F1"] = ("entities", "f")
    lines = [
        "| from gold, test (dev) | " + " | ".join(columns) + " |",
        "| --- |" + " ---: |" * len(columns),
    ]
    for encoder in ENCODERS:
        cells = [
            cell([row for row in rows if (row["corpus"], row["system"]) == (task, encoder)], metric)
            for task, metric in columns.values()
        ]
        lines.append(f"| {encoder} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    typer.run(main)
