"""Entities on real corpora: teacher, students from gold alone, distilled students, spaCy's own ner.

For each corpus twice: with all training sentences labelled, and with a quarter of them labelled
(for teacher and students alike) and the rest used as raw text. Resumable (training_runs.py).

    python benchmarks/ner.py DATA --work /tmp/ner --jobs 2

DATA has a folder for each corpus with train.iob, dev.iob and test.iob. Models are chosen on dev;
test is read once, at the end of a run.
"""

from pathlib import Path
from typing import Annotated

import typer
from training_runs import CONFIGS, RESULTS, Bench, Recipe, Run, cell, prepare, read_rows

SETTINGS = ("full", "quarter")
CORPORA = {
    # Training steps of teacher (full, quarter) and students, and the dropout of students from gold
    # and distilled, as chosen on dev. "raw" is the corpus whose training sentences serve as
    # further raw text.
    "wnut17": {"teacher": (150, 120), "student": 1200, "gold": 0.4, "kd": 0.4, "raw": "en_ewt"},
    "en_ewt": {"teacher": (240, 100), "student": 2000, "gold": 0.35, "kd": 0.2, "raw": "wnut17"},
}
SYSTEMS = {
    "teacher": "teacher: transformer + CRF",
    "spacy-ner": "spaCy `ner`, gold",
    "gold-crf": "student CRF, gold",
    "kd-crf": "student CRF, distilled (case 1a)",
    "kd-maxent": "student MaxEnt, distilled (case 2a)",
    "kd-crf-raw": "student CRF, distilled with the other corpus as raw text",
}
RAW_DROPOUT = 0.2
MAXENT = ("--components.ner.model.@architectures", "spacy-skd.MaxEnt.v1")


def main(
    data: Annotated[Path, typer.Argument(help="Folder with a folder a corpus", exists=True)],
    work: Annotated[Path, typer.Option(help="Folder for models and targets")],
    corpora: Annotated[list[str] | None, typer.Option(help="Only these corpora")] = None,
    systems: Annotated[list[str] | None, typer.Option(help="Only these systems")] = None,
    settings: Annotated[list[str] | None, typer.Option(help="Only these settings")] = None,
    seeds: Annotated[int, typer.Option(help="Seeds of each student")] = 3,
    jobs: Annotated[int, typer.Option(help="Runs at a time, one thread each")] = 1,
    results: Annotated[Path, typer.Option(help="Finished runs")] = RESULTS / "ner.jsonl",
) -> None:
    """Run what is missing, then write the table next to the results."""
    chosen = systems or list(SYSTEMS)
    runs = [
        Run(corpus, setting, system, seed)
        for seed in range(seeds)
        for system in SYSTEMS  # teachers first: others wait for them
        for corpus in corpora or CORPORA
        for setting in settings or SETTINGS
        if (system == "teacher" and seed == 0) or (system != "teacher" and system in chosen)
        if (system, setting) != ("kd-crf-raw", "quarter")
    ]
    for corpus in CORPORA:
        prepare(data / corpus, work / corpus)
    EntityBench(work, results).run_all(runs, jobs)
    table = make_table(list(read_rows(results)))
    results.with_suffix(".md").write_text(table, encoding="utf-8")
    print(table)


class EntityBench(Bench):
    """The systems of the table."""

    def recipe(self, run: Run) -> Recipe:
        settings, folder = CORPORA[run.corpus], self.work / run.corpus
        train = folder / ("train.spacy" if run.setting == "full" else "quarter.spacy")
        if run.system == "teacher":
            steps = settings["teacher"][SETTINGS.index(run.setting)]
            return Recipe(CONFIGS / "teacher.cfg", train, steps)
        steps = settings["student"]
        if run.system == "spacy-ner":
            return Recipe(Path(__file__).parent / "spacy_ner.cfg", train, steps)
        student = CONFIGS / "student.cfg"
        if run.system == "gold-crf":
            options = ("--training.dropout", settings["gold"])
            return Recipe(student, train, steps, options=options)
        options = ("--training.dropout", settings["kd"])
        raw = folder / "rest.spacy" if run.setting == "quarter" else None
        if run.system == "kd-maxent":
            options += MAXENT
        if run.system == "kd-crf-raw":
            raw = self.work / settings["raw"] / "train.spacy"
            options = ("--training.dropout", RAW_DROPOUT)
        sources = (train, raw) if raw else (train,)
        return Recipe(student, train, steps, sources, raw, options)


def make_table(rows: list[dict]) -> str:
    """Mean and standard deviation over seeds of test F1, and dev F1, by system and setting."""
    groups: dict[tuple[str, str], dict[str, list[dict]]] = {}
    for row in rows:
        systems = groups.setdefault((row["corpus"], row["setting"]), {})
        systems.setdefault(row["system"], []).append(row)
    columns = [(corpus, how) for corpus in CORPORA for how in SETTINGS if (corpus, how) in groups]
    lines = [
        "| test F1 (dev F1) | " + " | ".join(f"{corpus}, {how}" for corpus, how in columns) + " |",
        "| --- |" + " ---: |" * len(columns),
    ]
    for system, title in SYSTEMS.items():
        cells = [cell(groups[column].get(system, [])) for column in columns]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    typer.run(main)
