"""A trained student is taught a new label by documents that are annotated with this label alone.

Half of the training sentences have all labels but one, the other half has only that one. An old
student learns from the first half. What becomes of its labels when a student learns the new one,
with the old student as teacher and without? Resumable (training_runs.py).

    python benchmarks/new_labels.py DATA --work /tmp/new_labels --jobs 2

DATA has a folder wnut17 with train.iob, dev.iob and test.iob. There is nothing to choose a model
by that has all labels, so it is the last one of every run that is measured, on test.
"""

import random
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated

import spacy
import srsly
import typer
from spacy.tokens import Doc, DocBin
from spacy.util import load_config
from training_runs import CONFIGS, RESULTS, Bench, Recipe, Run, cell, prepare, read_rows, write_docs

from spacy_skd.distill.copies import plain_copy

CORPUS = "wnut17"
LABELS = ("corporation", "creative-work", "group", "location", "person", "product")
ALL_LABELS = "labels.json"  # file of them, for students with room for the new one
STEPS = {"teacher": 1200, "room": 1200, "continued": 600, "kd-continued": 600, "kd-new": 1200}
SYSTEMS = {
    "teacher": "old student, on the old labels",
    "room": "before: the same with a column for the new label, which it has not seen",
    "continued": "that, trained on: the new label's annotation as if it were all",
    "kd-continued": "that, trained on: the old student as teacher, gold for the new label alone",
    "kd-new": "a new student of the old one, which has also read the old sentences",
}
SOURCED = ("continued", "kd-continued")
DROPOUT = 0.4


def main(
    data: Annotated[Path, typer.Argument(help="Folder with the folder wnut17", exists=True)],
    work: Annotated[Path, typer.Option(help="Folder for models and targets")],
    labels: Annotated[list[str] | None, typer.Option(help="Labels that are new")] = None,
    seeds: Annotated[int, typer.Option(help="Seeds of each student")] = 3,
    steps: Annotated[float, typer.Option(help="Part of the steps of every run")] = 1.0,
    jobs: Annotated[int, typer.Option(help="Runs at a time, one thread each")] = 1,
    results: Annotated[Path, typer.Option(help="Finished runs")] = RESULTS / "new_labels.jsonl",
) -> None:
    """Run what is missing, then write the table next to the results."""
    runs = [
        Run(CORPUS, label, system, seed)
        for system in SYSTEMS  # in the order in which they need each other
        for label in labels or ["person"]
        for seed in range(1 if system == "teacher" else seeds)
    ]
    prepare(data / CORPUS, work / CORPUS)
    srsly.write_json(work / CORPUS / ALL_LABELS, list(LABELS))
    for label in labels or ["person"]:
        divide(work / CORPUS, label)
    NewLabelBench(work, results, steps).run_all(runs, jobs)
    table = make_table(list(read_rows(results)))
    results.with_suffix(".md").write_text(table, encoding="utf-8")
    print(table)


class NewLabelBench(Bench):
    """The rows of the table. A run's setting is the new label."""

    metrics: Mapping[str, str] = {"old": "old", "new": "new"}

    def __init__(self, work: Path, results: Path, share_of_steps: float) -> None:
        super().__init__(work, results)
        self.share_of_steps = share_of_steps

    def recipe(self, run: Run) -> Recipe:
        folder, label = self.work / run.corpus, run.setting
        old, new = folder / f"{label}-old.spacy", folder / f"{label}-new.spacy"
        steps = max(10, int(STEPS[run.system] * self.share_of_steps))
        options: tuple[object, ...] = ("--training.dropout", DROPOUT)
        if run.system == "teacher":
            options += ("--paths.dev", folder / f"{label}-old-dev.spacy")
            return Recipe(CONFIGS / "student.cfg", old, steps, options=options)
        config = self._config(run)
        if run.system == "room":
            return Recipe(config, old, steps, options=options)
        if run.system == "continued":
            return Recipe(config, new, steps, options=options)
        options += ("--corpora.train.gold_labels", srsly.json_dumps({"ner": [label]}))
        # One store for both: no run extends it while another one is reading.
        raw = old if run.system == "kd-new" else None
        return Recipe(config, new, steps, (new, old), raw, options)

    def _config(self, run: Run) -> Path:
        """The student's config, with room for all labels, or from the run that has it."""
        config = load_config(CONFIGS / "student.cfg")
        if run.system in SOURCED:
            before = self._wait_for(Run(run.corpus, run.setting, "room", run.seed))
            config["components"]["ner"] = {"source": str(before / "model-last")}
        else:
            labels = self.work / run.corpus / ALL_LABELS
            reader = {"@readers": "spacy.read_labels.v1", "path": str(labels)}
            config["initialize"] = {"components": {"ner": {"labels": reader}}}
        path = self.work / run.corpus / f"{run.name}.cfg"
        config.to_disk(path)
        return path

    def scores(self, run: Run) -> dict[str, float]:
        nlp = spacy.load(self.folder(run) / "model-last")
        test = DocBin().from_disk(self.work / run.corpus / "test.spacy")
        gold = list(test.get_docs(nlp.vocab))
        found = list(nlp.pipe(plain_copy(doc, nlp.vocab) for doc in gold))
        old = f_score(gold, found, set(LABELS) - {run.setting})
        return self._percent("test", {"old": old, "new": f_score(gold, found, {run.setting})})


def divide(folder: Path, label: str) -> None:
    """Write half of the training sentences with the old labels, half with the new one."""
    if (folder / f"{label}-new.spacy").exists():  # written last
        return
    vocab = spacy.blank("en").vocab
    docs = list(DocBin().from_disk(folder / "train.spacy").get_docs(vocab))
    dev = list(DocBin().from_disk(folder / "dev.spacy").get_docs(vocab))
    random.Random(0).shuffle(docs)
    half = len(docs) // 2
    for doc in (*docs[:half], *dev):
        doc.ents = [entity for entity in doc.ents if entity.label_ != label]
    for doc in docs[half:]:
        doc.ents = [entity for entity in doc.ents if entity.label_ == label]
    write_docs(dev, folder / f"{label}-old-dev.spacy")
    write_docs(docs[:half], folder / f"{label}-old.spacy")
    write_docs(docs[half:], folder / f"{label}-new.spacy")


def f_score(gold: list[Doc], found: list[Doc], labels: Collection[str]) -> float:
    """F1 of the entities of some labels."""
    ours, theirs = (
        {
            (number, entity.start, entity.end, entity.label_)
            for number, doc in enumerate(docs)
            for entity in doc.ents
            if entity.label_ in labels
        }
        for docs in (found, gold)
    )
    return 2 * len(ours & theirs) / max(1, len(ours) + len(theirs))


def make_table(rows: list[dict]) -> str:
    """Mean and standard deviation over seeds of the F1 of the old labels and of the new one."""
    lines = []
    for label in dict.fromkeys(row["setting"] for row in rows):
        lines += [f"| new: {label} | F1 of the old labels | F1 of the new label |"]
        lines += ["| --- | ---: | ---: |"]
        for system, title in SYSTEMS.items():
            chosen = [r for r in rows if (r["setting"], r["system"]) == (label, system)]
            cells = (cell(chosen, metric) for metric in ("old", "new"))
            lines.append(f"| {title} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
