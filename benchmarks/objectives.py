"""What each objective is worth: students of one teacher that differ in what they take from it.

    python benchmarks/ner.py DATA --work /tmp/ner --systems teacher --systems gold-crf …
    python benchmarks/objectives.py DATA --work /tmp/ner --jobs 2

Resumable (training_runs.py). Teachers, gold students and the exact structural students with the
benchmark's usual settings are those of benchmarks/ner.py, in the same work folder: only what is
not in its results is run here. Each group of rows answers a question.
"""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import spacy
import typer
from ner import CORPORA as ENTITY_CORPORA
from ner import EntityBench
from spacy.tokens import DocBin
from spacy.util import load_config
from training_runs import (
    CONFIGS,
    RESULTS,
    Recipe,
    Run,
    cell,
    finished,
    prepare,
    read_rows,
    write_docs,
)

STRUCTURAL: dict[str, Any] = {"@losses": "spacy-skd.StructuralKD.v1"}
POSTERIOR: dict[str, Any] = {"@losses": "spacy-skd.PosteriorKD.v1"}
SUBSTRUCTURE: dict[str, Any] = {"@losses": "spacy-skd.SubstructureKD.v1"}
TOP_K = (1, 3, 5, 10, 20)
OBJECTIVES: dict[str, dict[str, Any]] = {
    "gold": STRUCTURAL,
    "structural": STRUCTURAL,
    "posterior": POSTERIOR,
    **{f"top-K {k}": STRUCTURAL | {"take": "top_k", "k": k} for k in TOP_K},
    **{f"top-WK {k}": STRUCTURAL | {"take": "top_wk", "k": k} for k in TOP_K[1:]},
    "posterior + top-WK 10": {
        "@losses": "spacy-skd.SumKD.v1",
        "losses": {"posterior": POSTERIOR, "top_wk": STRUCTURAL | {"take": "top_wk", "k": 10}},
    },
    "emission": {"@losses": "spacy-skd.TokenKD.v1"},
    "sub-structure (a)": SUBSTRUCTURE,
    "sub-structure (b)": SUBSTRUCTURE | {"transitions": True},
    "sub-structure (a) KL": SUBSTRUCTURE | {"match": "kl"},
    "sub-structure (b) KL": SUBSTRUCTURE | {"transitions": True, "match": "kl"},
    **{
        f"structural, T {t} {scope}": STRUCTURAL | {"temperature": t, "temperature_scope": scope}
        for t in (2, 4)
        for scope in ("global", "local")
    },
}
MAIN = [name for name in OBJECTIVES if ", T" not in name]
WEIGHTED = {
    "structural, by certainty": {"@losses": "benchmark.CertaintyWeighted.v1"},
    "structural, by agreement": {"@losses": "benchmark.AgreementWeighted.v1"},
}
NO_TRANSITIONS = {"sub-structure (b)", "sub-structure (b) KL"}
SHORT = ("gold", "structural", "posterior", "top-WK 10", "posterior + top-WK 10")
ARCHITECTURES = {
    "CRF": "spacy-skd.LinearChainCRF.v1",
    "MaxEnt": "spacy-skd.MaxEnt.v1",
}
# Steps of the weaker teacher of wnut17, and of the German one, a CNN that is wide.
WEAK_STEPS = 40
GERMAN = {"teacher": 2000, "student": 2000, "gold": 0.2, "kd": 0.2}
WIDE = {"width": 256, "embed_size": 20000}
RAW = {"raw1": 1 / 3, "raw3": 1.0}
"""Settings with raw text: so much of en_ewt, which has 3.3 times as many words as wnut17."""
# What benchmarks/ner.py has run already, by its name.
KNOWN = {
    "teacher": "teacher",
    "CRF: gold": "gold-crf",
    "CRF: structural": "kd-crf",
    "MaxEnt: structural": "kd-maxent",
}


def questions() -> Iterator[tuple[str, str, str, list[str], int]]:
    """Title, corpus, setting, systems, and number of seeds."""
    crf = [f"CRF: {name}" for name in MAIN]
    maxent = [f"MaxEnt: {name}" for name in MAIN if name not in NO_TRANSITIONS]
    short = [f"CRF: {name}" for name in SHORT]
    local = ["CRF: sub-structure (a)", "CRF: sub-structure (b)"]
    tempered = ["CRF: structural", *(f"CRF: {name}" for name in OBJECTIVES if ", T" in name)]
    few = ["CRF: structural", "CRF: top-K 1", "CRF: emission"]
    yield "wnut17, CRF student", "wnut17", "full", crf, 3
    yield "en_ewt, CRF student", "en_ewt", "full", short + local, 3
    yield "wnut17, temperature", "wnut17", "full", tempered, 2
    yield "germeval14, CRF student", "germeval14", "full", short[:3], 2
    yield "wnut17, a weaker teacher", "wnut17", "weak", short[1:3], 2
    yield "wnut17, as much raw text again", "wnut17", "raw1", few, 2
    yield "wnut17, three times as much raw text", "wnut17", "raw3", few, 2
    weighted = ["CRF: structural", *(f"CRF: {name}" for name in WEIGHTED)]
    yield "wnut17, sentences weighted", "wnut17", "full", weighted, 2
    yield "wnut17, MaxEnt student", "wnut17", "full", maxent, 3


def main(
    data: Annotated[Path, typer.Argument(help="Folder with a folder a corpus", exists=True)],
    work: Annotated[Path, typer.Option(help="Folder for models and targets")],
    only: Annotated[str, typer.Option(help="Only questions with this in their title")] = "",
    seeds: Annotated[int, typer.Option(help="At most so many seeds")] = 3,
    jobs: Annotated[int, typer.Option(help="Runs at a time, one thread each")] = 1,
    entity_results: Annotated[Path, typer.Option(help="Of benchmarks/ner.py")] = RESULTS
    / "ner.jsonl",
    results: Annotated[Path, typer.Option(help="Finished runs")] = RESULTS / "objectives.jsonl",
) -> None:
    """Run what is missing, then write the table next to the results."""
    for corpus in ("wnut17", "en_ewt", "germeval14"):
        prepare(data / corpus, work / corpus)
    bench = ObjectiveBench(work, results, entity_results)
    bench.write_raw()
    done = {as_objective(run) for run in finished(entity_results)}
    runs = [
        run
        for seed in range(seeds)
        for title, corpus, setting, systems, n_seeds in questions()
        if only in title and seed < n_seeds
        for run in (Run(corpus, setting, system, seed) for system in systems)
        if run not in done
    ]
    teachers = {bench.teacher_of(run): None for run in runs}
    bench.run_all([*(run for run in teachers if run not in done), *dict.fromkeys(runs)], jobs)
    table = make_table([*map(renamed, read_rows(entity_results)), *read_rows(results)])
    results.with_suffix(".md").write_text(table, encoding="utf-8")
    print(table)


class ObjectiveBench(EntityBench):
    """The students of the table."""

    def __init__(self, work: Path, results: Path, entity_results: Path) -> None:
        super().__init__(work, results)
        self.entity_results = entity_results

    def recipe(self, run: Run) -> Recipe:
        folder = self.work / run.corpus
        train = folder / "train.spacy"
        if run.system == "teacher":
            return self.teacher_recipe(run, train)
        architecture, name = run.system.split(": ")
        settings = GERMAN if run.corpus == "germeval14" else ENTITY_CORPORA[run.corpus]
        config = self.write_config(run, architecture, name)
        kind = "gold" if name == "gold" else "kd"
        options: tuple[object, ...] = ("--training.dropout", settings[kind])
        code = Path(__file__).parent / "sentence_weights.py" if name in WEIGHTED else None
        if name == "gold":
            return Recipe(config, train, settings["student"], options=options)
        raw = folder / f"{run.setting}.spacy" if run.setting in RAW else None
        sources = (train, raw) if raw else (train,)
        return Recipe(config, train, settings["student"], sources, raw, options, code)

    def teacher_recipe(self, run: Run, train: Path) -> Recipe:
        if run.corpus != "germeval14":
            return Recipe(CONFIGS / "teacher.cfg", train, WEAK_STEPS)
        config = load_config(CONFIGS / "student.cfg")
        config["nlp"]["lang"] = "de"
        config["components"]["ner"]["model"]["tok2vec"].update(WIDE)
        path = self.work / run.corpus / "teacher.cfg"
        config.to_disk(path)
        return Recipe(path, train, GERMAN["teacher"])

    def write_config(self, run: Run, architecture: str, objective: str) -> Path:
        """The student's config with another architecture and objective."""
        config = load_config(CONFIGS / "student.cfg")
        if run.corpus == "germeval14":
            config["nlp"]["lang"] = "de"
        component = config["components"]["ner"]
        component["model"]["@architectures"] = ARCHITECTURES[architecture]
        component["objective"] = (OBJECTIVES | WEIGHTED)[objective]
        path = self.work / run.corpus / f"{run.name}.cfg"
        config.to_disk(path)
        return path

    def write_raw(self) -> None:
        """Raw text for wnut17: a part of the sentences of en_ewt, in random order."""
        source = self.work / "en_ewt" / "train.spacy"
        docs = list(DocBin().from_disk(source).get_docs(spacy.blank("en").vocab))
        random.Random(0).shuffle(docs)
        for setting, share in RAW.items():
            path = self.work / "wnut17" / f"{setting}.spacy"
            if not path.exists():
                write_docs(docs[: round(share * len(docs))], path)

    def teacher_of(self, run: Run) -> Run:
        """Where a student's teacher was trained."""
        return super().teacher_of(replace(run, setting="full") if run.setting in RAW else run)

    def teachers(self) -> set[Run]:
        return super().teachers() | finished(self.entity_results)


def as_objective(run: Run) -> Run:
    """A run of benchmarks/ner.py under the name that it has here."""
    names = {name: here for here, name in KNOWN.items()}
    return Run(run.corpus, run.setting, names.get(run.system, run.system), run.seed)


def renamed(row: dict) -> dict:
    run = Run(**{key: row[key] for key in Run.__annotations__})
    return row | {"system": as_objective(run).system}


def make_table(rows: list[dict]) -> str:
    """A table a question, with the systems that have been run."""
    lines = []
    for title, corpus, setting, systems, _ in questions():
        groups: dict[str, list[dict]] = {}
        for row in rows:
            own = row["setting"] == setting or row["system"].endswith("gold")
            own |= row["system"] == "teacher" and row["setting"] == "full" and setting in RAW
            if row["corpus"] == corpus and own and row["setting"] != "quarter":
                groups.setdefault(row["system"], []).append(row)
        architecture = systems[0].split(": ")[0]
        if not any(system in groups for system in systems if system not in KNOWN):
            continue
        lines += [f"| {title} | test F1 (dev F1) | seeds |", "| --- | ---: | ---: |"]
        for system in dict.fromkeys(["teacher", f"{architecture}: gold", *systems]):
            found = groups.get(system, [])
            if found:
                lines.append(f"| {system.split(': ')[-1]} | {cell(found)} | {len(found)} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
