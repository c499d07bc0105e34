"""Every kind of teacher and every kind of student of entities: tokens, chains and spans.

    python benchmarks/spans.py DATA --work /tmp/ner --jobs 2

Three teachers (transformer + MaxEnt, CRF, spans) and, from each, three students, with the students
from gold alone beside them. Teachers' marginals are measured on dev: the expected calibration error
over entities; of the students, words/s. Resumable (training_runs.py): what benchmarks/ner.py has
run in the same work folder is not run again.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import spacy
import typer
from ner import CORPORA
from spacy.tokens import Doc, DocBin
from spacy.util import load_config
from training_runs import (
    CONFIGS,
    RESULTS,
    Bench,
    Recipe,
    Run,
    cell,
    finished,
    pipe_speeds,
    prepare,
    read_rows,
)

from spacy_skd.calibration import reliability
from spacy_skd.distill.projection import project
from spacy_skd.structures import FlatSpans

MODELS: dict[str, dict[str, Any]] = {
    "MaxEnt": {"@architectures": "spacy-skd.MaxEnt.v1"},
    "CRF": {"@architectures": "spacy-skd.LinearChainCRF.v1"},
    "spans": {
        "@architectures": "spacy-skd.SpanBiaffine.v1",
        "max_width": 12,
        "hidden_width": 64,
        "loss": "exact",
    },
}
SEEDS = {"wnut17": 3, "en_ewt": 1}
# What benchmarks/ner.py has run already, by its name, as setting and system.
KNOWN = {
    "teacher": ("CRF", "teacher"),
    "gold-crf": ("gold", "CRF"),
    "kd-crf": ("CRF", "CRF"),
    "kd-maxent": ("CRF", "MaxEnt"),
}


def main(
    data: Annotated[Path, typer.Argument(help="Folder with a folder a corpus", exists=True)],
    work: Annotated[Path, typer.Option(help="Folder for models and targets")],
    corpora: Annotated[list[str] | None, typer.Option(help="Only these corpora")] = None,
    jobs: Annotated[int, typer.Option(help="Runs at a time, one thread each")] = 1,
    entity_results: Annotated[Path, typer.Option(help="Of benchmarks/ner.py")] = RESULTS
    / "ner.jsonl",
    table: Annotated[
        bool, typer.Option("--table", help="Run and measure nothing: the table of what has run")
    ] = False,
    results: Annotated[Path, typer.Option(help="Finished runs")] = RESULTS / "spans.jsonl",
) -> None:
    """Run what is missing, then write the tables next to the results."""
    measured = results.with_name(f"{results.stem}_measured.json")
    if table:
        write_tables(results, entity_results, measured)
        return
    chosen = corpora or list(SEEDS)
    for corpus in chosen:
        prepare(data / corpus, work / corpus)
    # The setting of a run is the kind of its teacher; "gold" has none.
    teachers = [Run(corpus, kind, "teacher", 0) for corpus in chosen for kind in MODELS]
    students = [
        Run(corpus, setting, student, seed)
        for seed in range(max(SEEDS.values()))
        for corpus in chosen
        for setting in ("gold", *MODELS)
        for student in MODELS
        if seed < SEEDS[corpus]
    ]
    bench = SpanBench(work, results, entity_results)
    known = bench.known()
    bench.run_all([run for run in (*teachers, *students) if run not in known], jobs)
    done = bench.teachers()
    found = json.loads(measured.read_text(encoding="utf-8")) if measured.exists() else {}
    for corpus in chosen:
        own = [run for run in teachers if run.corpus == corpus and run in done]
        found[corpus] = {
            "errors": {run.setting: calibration(bench, run) for run in own},
            "speeds": student_speeds(bench, corpus),
        }
    measured.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    write_tables(results, entity_results, measured)


class SpanBench(Bench):
    """The runs of the matrix."""

    def __init__(self, work: Path, results: Path, entity_results: Path) -> None:
        super().__init__(work, results)
        self.entity_results = entity_results

    def known(self) -> dict[Run, Run]:
        """The runs of benchmarks/ner.py by the names that they have here."""
        return {
            Run(run.corpus, *KNOWN[run.system], run.seed): run
            for run in finished(self.entity_results)
            if run.setting == "full" and run.system in KNOWN
        }

    def teachers(self) -> set[Run]:
        return super().teachers() | set(self.known())

    def folder(self, run: Run) -> Path:
        return super().folder(self.known().get(run, run))

    def recipe(self, run: Run) -> Recipe:
        folder, settings = self.work / run.corpus, CORPORA[run.corpus]
        train = folder / "train.spacy"
        if run.system == "teacher":
            config = self.write_config(run, "teacher.cfg", run.setting)
            return Recipe(config, train, settings["teacher"][0])
        config = self.write_config(run, "student.cfg", run.system)
        kind = "gold" if run.setting == "gold" else "kd"
        options = ("--training.dropout", settings[kind])
        sources = () if run.setting == "gold" else (train,)
        return Recipe(config, train, settings["student"], sources, options=options)

    def write_config(self, run: Run, name: str, kind: str) -> Path:
        """A config with another kind of model."""
        config = load_config(CONFIGS / name)
        model = config["components"]["ner"]["model"]
        hidden = {} if kind == "spans" else {"hidden_width": model["hidden_width"]}
        config["components"]["ner"]["model"] = {
            **MODELS[kind],
            **hidden,
            "nO": None,
            "tok2vec": model["tok2vec"],
        }
        path = self.work / run.corpus / f"{run.name}.cfg"
        config.to_disk(path)
        return path


def calibration(bench: SpanBench, run: Run) -> float:
    """Expected calibration error of a teacher over entities, on dev: how far the probability of a
    span is from how often such spans are entities, over all spans of at least 1 %."""
    folder = bench.work / run.corpus
    nlp = spacy.load(bench.folder(run) / "model-best")
    ner = nlp.get_pipe("ner")
    gold = list(DocBin().from_disk(folder / "dev.spacy").get_docs(nlp.vocab))
    docs = [Doc(nlp.vocab, words=[token.text for token in doc]) for doc in gold]
    others = [name for name in nlp.pipe_names if name != "ner"]
    docs = list(nlp.pipe(docs, disable=["ner"])) if others else docs
    probs, right = [], []
    for start in range(0, len(docs), 128):
        structure = ner.predict(docs[start : start + 128])
        n_tokens = sum(map(len, docs[start : start + 128]))
        shape = FlatSpans(
            np.zeros((n_tokens, 12, len(ner.labels)), "f"), structure.lengths, ner.labels
        )
        marginals = project(structure, shape)
        offset = 0
        for doc in gold[start : start + 128]:
            truth = np.zeros((len(doc), *marginals.shape[1:]), dtype=bool)
            for span in doc.ents:
                if len(span) <= 12:
                    truth[span.start, len(span) - 1, ner.labels.index(span.label_)] = True
            own = marginals[offset : offset + len(doc)]
            kept = own > 0.01
            probs.extend(own[kept].tolist())
            right.extend(truth[kept].tolist())
            offset += len(doc)
    return reliability(probs, right).ece


def student_speeds(bench: SpanBench, corpus: str) -> dict[str, float]:
    """Words/s of each kind of student, of those that have been trained."""
    done = bench.teachers()
    models: dict[str, Path] = {}
    for kind in MODELS:
        for setting in ("gold", *MODELS):
            run = Run(corpus, setting, kind, 0)
            if run in done:
                models.setdefault(kind, bench.folder(run) / "model-best")
    return pipe_speeds(models, bench.work / corpus / "test.spacy")


def renamed(row: dict) -> dict | None:
    """A row of benchmarks/ner.py as one of the matrix."""
    if row["setting"] != "full" or row["system"] not in KNOWN:
        return None
    setting, system = KNOWN[row["system"]]
    return row | {"setting": setting, "system": system}


def write_tables(results: Path, entity_results: Path, measured: Path) -> None:
    """Write the tables next to the results."""
    found = json.loads(measured.read_text(encoding="utf-8")) if measured.exists() else {}
    rows = [row for row in map(renamed, read_rows(entity_results)) if row] + read_rows(results)
    tables = make_table(rows, found)
    results.with_suffix(".md").write_text(tables, encoding="utf-8")
    print(tables)


def make_table(rows: list[dict], measured: dict[str, dict[str, dict[str, float]]]) -> str:
    """A matrix a corpus: teachers down, students across."""
    lines = []
    for corpus in SEEDS:
        errors = measured.get(corpus, {}).get("errors", {})
        lines += [
            f"| {corpus}, teacher ↓ student → | the teacher itself | its ECE | "
            + " | ".join(MODELS)
            + " |",
            "| --- |" + " ---: |" * (len(MODELS) + 2),
        ]
        for setting in ("gold", *MODELS):
            own = [row for row in rows if (row["corpus"], row["setting"]) == (corpus, setting)]
            teacher = [row for row in own if row["system"] == "teacher"]
            error = f"{errors[setting]:.3f}" if setting in errors else "–"
            cells = [cell([row for row in own if row["system"] == kind]) for kind in MODELS]
            lines.append(f"| {setting} | {cell(teacher)} | {error} | " + " | ".join(cells) + " |")
        speed = measured.get(corpus, {}).get("speeds", {})
        if speed:
            cells = [f"{speed[kind]:,.0f}" if kind in speed else "–" for kind in MODELS]
            lines.append("| words/s of CPU time | – | – | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
