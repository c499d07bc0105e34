"""A trained student is taught a new label by documents that are annotated with this label alone.

    OMP_NUM_THREADS=1 python benchmarks/new_labels.py DATA --work /tmp/new_labels --jobs 2 \
        --raw TEXT/en.txt --raw wnut17/train.iob

DATA has a folder en_ewt with train.iob, dev.iob and test.iob, whose entities have three labels;
each is the new one in turn. Half of the training sentences are annotated with the other two, the
other half with the new one alone. An old student learns from the first half. What becomes of its
labels when it learns the new one, with itself as teacher and without? With --raw, two students
get what the old one says of further sentences.

The old student is chosen on dev by its own labels. Of the others, the last model is measured: who
adds a label has no documents with all of them to choose a model by. Test is read once, at the end
of a run. Resumable (training_runs.py). About three core-hours with three seeds; tried out in
minutes with --limit 200 --steps 20 and results of their own (--results).
"""

import random
from collections import Counter
from collections.abc import Collection, Sequence
from itertools import islice
from pathlib import Path
from statistics import mean
from typing import Annotated

import spacy
import srsly
import typer
from raw_sentences import RAW, prepare_raw
from spacy.tokens import Doc, DocBin
from spacy.util import load_config
from training_runs import CONFIGS, RESULTS, Bench, Recipe, Run, cell, prepare, read_rows, write_docs

from spacy_skd.distill.copies import plain_copy

CORPUS = "en_ewt"
LABELS = ("LOC", "ORG", "PER")
SEEDS = 3
DROPOUT = 0.3
SPLITS = ("train", "dev", "test")
PARTS = ("old", "new")  # of the labels
OLD = "old"
FORGETS, CONTINUED = "continued", "kd-continued"
GENTLE, GENTLE_RAW = "kd-gentle", "kd-gentle-raw"
NEW, NEW_RAW = "kd-new", "kd-new-raw"
KEEPS = (CONTINUED, GENTLE, GENTLE_RAW, NEW, "kd-new-only", NEW_RAW)
STEPS = {
    OLD: 1500,
    FORGETS: 600,
    CONTINUED: 600,
    GENTLE: 1500,
    GENTLE_RAW: 1500,
    NEW: 1500,
    "kd-new-only": 1500,
    NEW_RAW: 3000,
}
SYSTEMS = {
    OLD: "old student, of the old labels",
    FORGETS: "it goes on: the new label's annotation as if it were all",
    CONTINUED: "it goes on: itself as teacher, gold for the new label",
    GENTLE: "the same gently, with the sentences that the old one was trained on, too",
    GENTLE_RAW: "gently, with raw text in their place",
    NEW: "a new student: the old one as teacher, gold for the new label",
    "kd-new-only": "the same without the sentences that the old one was trained on",
    NEW_RAW: "a new student that gets raw text, too",
}
RAW_SYSTEMS = (GENTLE_RAW, NEW_RAW)
MOST_LOST = 1.0  # points of the old labels' F1 that learning a new one may cost


def main(
    data: Annotated[Path, typer.Argument(help="Folder with the folder en_ewt", exists=True)],
    work: Annotated[Path, typer.Option(help="Folder for models and targets")],
    labels: Annotated[list[str] | None, typer.Option(help="Labels that are new")] = None,
    seeds: Annotated[int, typer.Option(help="Seeds of each student")] = SEEDS,
    raw: Annotated[list[Path] | None, typer.Option(help="More text", exists=True)] = None,
    jobs: Annotated[int, typer.Option(help="Runs at a time, one thread each")] = 1,
    limit: Annotated[int, typer.Option(help="Sentences of a split; 0 for all")] = 0,
    steps: Annotated[int, typer.Option(help="Steps of every run; 0 for those reported")] = 0,
    results: Annotated[Path, typer.Option(help="Finished runs")] = RESULTS / "new_labels.jsonl",
) -> None:
    """Run what is missing, then write the table next to the results."""
    chosen = labels or list(LABELS)
    if unknown := set(chosen) - set(LABELS):
        known = ", ".join(LABELS)
        raise typer.BadParameter(f"{CORPUS} has {known}, not {', '.join(sorted(unknown))}.")
    corpus = f"{CORPUS}-{limit}" if limit else CORPUS
    prepare(data / CORPUS, work / CORPUS)
    for label in chosen:
        divide(work / CORPUS, work / corpus, label, limit)
        if raw:
            prepare_raw("en", raw, work / corpus / "raw.spacy")
            join(work / corpus, f"{label}-old", "raw")
    runs = [
        Run(corpus, label, system, seed)
        for seed in range(seeds)
        for label in chosen
        for system in SYSTEMS  # in the order in which they need each other
        if raw or system not in RAW_SYSTEMS
    ]
    with NewLabelBench(work, results, steps).all_run(runs, jobs):
        rows = [row for row in read_rows(results) if row["corpus"] == corpus]
        table = "\n".join([*make_table(rows), "", *remarks(rows, work / corpus), ""])
        results.with_suffix(".md").write_text(table, encoding="utf-8")
        print(table)


def divide(source: Path, folder: Path, label: str, limit: int = 0) -> None:
    """Write half of the training sentences with the old labels and half with the new one, dev with
    the old ones, and how many sentences and entities these are (LABEL.json)."""
    counts_path = folder / f"{label}.json"
    if counts_path.exists():  # written last
        return
    folder.mkdir(parents=True, exist_ok=True)
    vocab = spacy.blank("en").vocab
    train, dev, test = (
        list(islice(DocBin().from_disk(source / f"{split}.spacy").get_docs(vocab), limit or None))
        for split in SPLITS
    )
    if folder != source:
        write_docs(dev, folder / "dev.spacy")
        write_docs(test, folder / "test.spacy")
    random.Random(0).shuffle(train)
    halves = {"old": train[: len(train) // 2], "new": train[len(train) // 2 :]}
    for doc in (*halves["old"], *dev):
        doc.ents = [entity for entity in doc.ents if entity.label_ != label]
    for doc in halves["new"]:
        doc.ents = [entity for entity in doc.ents if entity.label_ == label]
    for name, docs in (*halves.items(), ("old-dev", dev)):
        write_docs(docs, folder / f"{label}-{name}.spacy")
    counts = {
        name: {"sentences": len(docs), **Counter(e.label_ for doc in docs for e in doc.ents)}
        for name, docs in halves.items()
    }
    srsly.write_json(counts_path, counts)


def join(folder: Path, *names: str) -> None:
    """Write the documents of several files into one."""
    path = folder / f"{'+'.join(names)}.spacy"
    if path.exists():
        return
    joined = DocBin()
    for name in names:
        joined.merge(DocBin().from_disk(folder / f"{name}.spacy"))
    joined.to_disk(path)


class NewLabelBench(Bench):
    """The rows of the table. A run's setting is the new label.

    steps: of every run; 0 for `STEPS`.
    """

    def __init__(self, work: Path, results: Path, steps: int = 0) -> None:
        super().__init__(work, results)
        self.steps = steps

    def recipe(self, run: Run) -> Recipe:
        folder, label = self.work / run.corpus, run.setting
        old, new = folder / f"{label}-old.spacy", folder / f"{label}-new.spacy"
        steps = self.steps or STEPS[run.system]
        options: tuple[object, ...] = ("--training.dropout", DROPOUT)
        if run.system == OLD:
            options += ("--paths.dev", folder / f"{label}-old-dev.spacy")
            return Recipe(CONFIGS / "student.cfg", old, steps, options=options)
        if run.system == FORGETS:
            return Recipe(self.write_config(run), new, steps, options=options)
        if run.system in (GENTLE, GENTLE_RAW):
            config = CONFIGS / "student_new_labels.cfg"
            options = ("--paths.wide", self.widened(run))
            options += ("--corpora.train.gold_labels.ner", srsly.json_dumps([label]))
        else:
            config = self.write_config(run) if run.system == CONTINUED else CONFIGS / "student.cfg"
            options += ("--corpora.train.gold_labels", srsly.json_dumps({"ner": [label]}))
        texts = folder / f"{label}-old+raw.spacy" if run.system in RAW_SYSTEMS else old
        raw = {
            **dict.fromkeys((NEW, GENTLE), old),
            GENTLE_RAW: folder / "raw.spacy",
            NEW_RAW: texts,
        }
        # All that one store is for: no run extends it while another one is reading.
        return Recipe(config, new, steps, (new, texts), raw.get(run.system), options)

    def write_config(self, run: Run) -> Path:
        """student.cfg for a student that goes on from the old one."""
        config = load_config(CONFIGS / "student.cfg")
        config["components"]["ner"] = {"source": str(self.widened(run))}
        path = self.work / run.corpus / f"{run.name}.cfg"
        config.to_disk(path)
        return path

    def widened(self, run: Run) -> Path:
        """The old student with the new label."""
        model = self.work / run.corpus / f"{run.name}-start"
        nlp = spacy.load(self._wait_for(self.teacher_of(run)) / "model-best")
        nlp.get_pipe("ner").add_label(run.setting)  # type: ignore[attr-defined]
        nlp.to_disk(model)
        return model

    def teacher_of(self, run: Run) -> Run:
        """The old student of the same seed: one that goes on is its own teacher."""
        return Run(run.corpus, run.setting, OLD, run.seed)

    def targets(self, run: Run, sources: Sequence[Path]) -> list[Path]:
        more = RAW.replace(" ", "") if run.system in RAW_SYSTEMS else ""
        store = self.work / run.corpus / f"targets-{run.setting}-{run.seed}{more}"
        return [self.annotated(self.teacher_of(run), sources, store)]

    def scores(self, run: Run) -> dict[str, float]:
        """F1 of the old labels and of the new one, of the model that is used: the best one of an
        old student, which teaches, and the last one of all others."""
        nlp = spacy.load(self.folder(run) / ("model-best" if run.system == OLD else "model-last"))
        test = DocBin().from_disk(self.work / run.corpus / "test.spacy")
        gold = list(test.get_docs(nlp.vocab))
        found = list(nlp.pipe(plain_copy(doc, nlp.vocab) for doc in gold))
        f = {"old": f_score(gold, found, set(LABELS) - {run.setting})}
        if run.system != OLD:
            f["new"] = f_score(gold, found, {run.setting})
        return {f"test_{name}": round(100 * value, 2) for name, value in f.items()}


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


def make_table(rows: list[dict]) -> list[str]:
    """F1 on test of the old labels and of the new one, mean and standard deviation over seeds."""
    labels = [label for label in LABELS if rows_of(rows, label, OLD)]
    titles = [title for label in labels for title in (f"new: {label}, old labels", label)]
    lines = [
        f"| test F1 | {' | '.join(titles)} | seeds |",
        "| --- |" + " ---: |" * (len(titles) + 1),
    ]
    for system, title in SYSTEMS.items():
        found = [rows_of(rows, label, system) for label in labels]
        if any(found):
            cells = [
                cell([row for row in own if f"test_{part}" in row], part)
                for own in found
                for part in PARTS
            ]
            numbers = sorted({len(own) for own in found if own})
            seeds = " to ".join(map(str, dict.fromkeys((numbers[0], numbers[-1]))))
            lines.append(f"| {title} | {' | '.join(cells)} | {seeds} |")
    return lines


def rows_of(rows: list[dict], label: str, system: str) -> list[dict]:
    return [row for row in rows if (row["setting"], row["system"]) == (label, system)]


def remarks(rows: list[dict], folder: Path) -> list[str]:
    """What the sentences are, and which goals are met."""
    lines = []
    for label in LABELS:
        if rows_of(rows, label, OLD):
            counts = srsly.read_json(folder / f"{label}.json")
            listed = "; ".join(
                f"{name} half " + ", ".join(f"{n:,} {what}" for what, n in sorted(of.items()))
                for name, of in counts.items()
            )
            lines.append(f"New: {label}. Training: {listed}.")
    lines.append("")
    for system in KEEPS:
        changes = {label: change(rows, label, system) for label in LABELS}
        found = {label: points for label, points in changes.items() if points is not None}
        if found:
            met = "met" if min(found.values()) >= -MOST_LOST else "**not met**"
            lines.append(
                f"- {SYSTEMS[system]}: at most {MOST_LOST:g} point of the old labels' F1 below the "
                f"old student: {met} ({listed_points(found)}; {mean(found.values()):+.1f} on "
                "average)"
            )
    lost = {label: change(rows, label, FORGETS) for label in LABELS}
    known = {label: points for label, points in lost.items() if points is not None}
    if known:
        lines.append(f"- {SYSTEMS[FORGETS]}: {listed_points(known)}")
    return lines


def change(rows: list[dict], label: str, system: str) -> float | None:
    """Points of the old labels' F1 by which a system is above the old student of the same seed, in
    the mean; None if nothing has been run."""
    old = {row["seed"]: row["test_old"] for row in rows_of(rows, label, OLD)}
    found = [row for row in rows_of(rows, label, system) if row["seed"] in old]
    return mean(row["test_old"] - old[row["seed"]] for row in found) if found else None


def listed_points(points: dict[str, float]) -> str:
    return ", ".join(f"new {label} {value:+.1f}" for label, value in points.items())


if __name__ == "__main__":
    typer.run(main)
