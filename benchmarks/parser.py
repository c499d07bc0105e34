"""Dependency trees on real treebanks: teachers, students from gold alone, distilled students,
spaCy's own parser.

    python benchmarks/parser.py DATA --work /tmp/parser --jobs 2 \
        --raw en=TEXT/en.txt --raw en=wnut17/train.iob

DATA has a folder for each treebank with train.conllu, dev.conllu and test.conllu (Universal
Dependencies). Some students get further sentences of a language with the teacher's word alone: all
of corpora, of plain text what is missing to 15,000. Every document is one sentence with the
treebank's tokens, for all systems. Models are chosen on dev; test is read once, at the end of a
run. With --joined the best models also read the sentences of test ten to a document. Resumable
(training_runs.py).
Our transformers were trained and asked in bfloat16 (BFLOAT16=1).
"""

import json
import re
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Annotated, Any, ClassVar

import spacy
import typer
from raw_sentences import RAW, prepare_raw
from spacy.tokens import Doc, DocBin
from spacy.training import Example
from spacy.util import load_config, minibatch
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

from spacy_skd.distill.copies import plain_copy

LANGUAGES = {"en_ewt": "en", "fr_sequoia": "fr", "nl_lassysmall": "nl"}
# The steps of teachers and students. English teachers are transformers; the others have a wide
# encoder without torch.
STEPS = {"en_ewt": (700, 3000), "fr_sequoia": (2000, 1500), "nl_lassysmall": (2000, 1500)}
SEEDS = {"en_ewt": 3, "fr_sequoia": 1, "nl_lassysmall": 1}
TEACHERS_SEEDS = 1
"""Seeds of students that are there to compare teachers."""
WIDE = {"width": 256, "recurrence": "lstm", "maxout_pieces": 3}
DROPOUT = 0.3
"""Of English students from gold annotation and of teachers without a transformer; else the
config's: students that are taught overfit less, and those of short trainings have no time to."""

BIAFFINE: dict[str, Any] = {"@architectures": "spacy-skd.BiaffineParser.v1"}
MODELS: dict[str, dict[str, Any]] = {
    "heads": BIAFFINE | {"structure": "heads"},
    "tree": BIAFFINE | {"structure": "tree"},
    "second order": {"@architectures": "spacy-skd.SecondOrderParser.v1"},
    "labels": {"@architectures": "spacy-skd.LabelParser.v1"},
}
TEACHERS = ("heads", "tree", "second order")
STUDENTS = ("heads", "tree", "labels")
STOCK = "spacy-parser"
GOLD = "gold"
RAW_TEACHERS = ("heads",)  # whose students are trained with raw text, too
SUMMARY = [
    ("heads", "teacher"),
    (GOLD, STOCK),
    *(
        (setting, student)
        for student in ("heads", "labels")
        for setting in (GOLD, "heads", "heads" + RAW)
    ),
]
"""The systems, by setting and kind, of the README's table."""
JOINED = 10  # sentences of a longer document
TITLES = {"heads": "biaffine, heads", "tree": "biaffine, tree", "labels": "label parser"}


def main(
    data: Annotated[Path, typer.Argument(help="Folder with a folder a treebank", exists=True)],
    work: Annotated[Path, typer.Option(help="Folder for models and targets")],
    corpora: Annotated[list[str] | None, typer.Option(help="Only these treebanks")] = None,
    only: Annotated[str, typer.Option(help="Only systems with this in their name")] = "",
    teachers: Annotated[str, typer.Option(help="Kinds of teacher")] = ",".join(TEACHERS),
    raw: Annotated[list[str] | None, typer.Option(help="LANG=FILE, more text")] = None,
    seeds: Annotated[int, typer.Option(help="At most so many seeds")] = 3,
    jobs: Annotated[int, typer.Option(help="Runs at a time, one thread each")] = 1,
    speed: Annotated[bool, typer.Option(help="Measure words/s of what has run")] = False,
    joined: Annotated[bool, typer.Option(help="Measure longer documents of what has run")] = False,
    results: Annotated[Path, typer.Option(help="Finished runs")] = RESULTS / "parser.jsonl",
) -> None:
    """Run what is missing, then write the tables next to the results."""
    chosen = corpora or list(LANGUAGES)
    texts: dict[str, list[Path]] = {}
    for item in raw or ():
        lang, _, path = item.partition("=")
        texts.setdefault(lang, []).append(Path(path))
    for corpus in chosen:
        prepare(data / corpus, work / corpus, "conllu")
        if found := texts.get(LANGUAGES[corpus]):
            prepare_raw(LANGUAGES[corpus], found, work / corpus / "raw.spacy")
    bench = ParserBench(work, results)
    kinds = [kind for kind in TEACHERS if kind in teachers.split(",")]
    # The setting of a run is the kind of its teacher; "gold" has none.
    taught = [
        Run(corpus, kind, "teacher", 0)
        for corpus in chosen
        for kind in (kinds if corpus == "en_ewt" else kinds[:1])
    ]
    students = [
        Run(corpus, setting, system, seed)
        for seed in range(seeds)
        for corpus in chosen
        for setting in settings_of(corpus, kinds, LANGUAGES[corpus] in texts)
        for system in (*STUDENTS, STOCK)
        if seed < seeds_of(corpus, setting)
        and only in system
        and (setting == GOLD or system != STOCK)
    ]
    bench.run_all([*taught, *students], jobs)
    if speed:
        write_speeds(bench, chosen, results.with_name(f"{results.stem}_speed.json"))
    write_stores(bench, chosen, results.with_name(f"{results.stem}_stores.json"))
    if joined:
        write_joined(bench, chosen, results.with_name(f"{results.stem}_joined.json"))
    print(write_tables(results))


def settings_of(corpus: str, kinds: list[str], has_raw: bool) -> list[str]:
    """What a treebank's students learn from: gold, or the teacher of a kind, perhaps with raw text.

    Those with raw text come before those without.
    """
    kinds = kinds if corpus == "en_ewt" else kinds[:1]
    with_raw = [kind + RAW for kind in kinds if kind in RAW_TEACHERS] if has_raw else []
    return [GOLD, *with_raw, *kinds]


def seeds_of(corpus: str, setting: str) -> int:
    """How many seeds a treebank's students of a setting have."""
    is_main = setting == GOLD or setting.endswith(RAW)
    return SEEDS[corpus] if is_main else min(SEEDS[corpus], TEACHERS_SEEDS)


class ParserBench(Bench):
    """The systems of the table."""

    gold_tokens: ClassVar[bool] = True
    metrics: ClassVar = {"las": "dep_las", "uas": "dep_uas"}

    def recipe(self, run: Run) -> Recipe:
        train = self.work / run.corpus / "train.spacy"
        teacher_steps, student_steps = STEPS[run.corpus]
        lang = ("--nlp.lang", LANGUAGES[run.corpus])
        dropout = ("--training.dropout", DROPOUT)
        if run.system == STOCK:
            config = Path(__file__).parent / "spacy_parser.cfg"
            return Recipe(config, train, student_steps, options=lang)
        if run.system == "teacher":
            config = self.write_config(run, run.setting)
            options = lang if run.corpus == "en_ewt" else (*lang, *dropout)
            return Recipe(config, train, teacher_steps, options=options)
        config = self.write_config(run, run.system)
        if run.setting == GOLD:
            options = (*lang, *dropout) if run.corpus == "en_ewt" else lang
            return Recipe(config, train, student_steps, options=options)
        raw = self.work / run.corpus / "raw.spacy" if run.setting.endswith(RAW) else None
        sources = (train, raw) if raw else (train,)
        return Recipe(config, train, student_steps, sources, raw, lang)

    def teacher_of(self, run: Run) -> Run:
        return Run(run.corpus, run.setting.removesuffix(RAW), "teacher", 0)

    def targets(self, run: Run, sources: Sequence[Path]) -> list[Path]:
        teacher = self.teacher_of(run)
        store = self.work / run.corpus / f"targets-{teacher.setting.replace(' ', '-')}"
        return [self.annotated(teacher, sources, store)]

    def write_config(self, run: Run, kind: str) -> Path:
        """The teacher's or the student's config with another kind of model."""
        is_teacher = run.system == "teacher"
        transformer = is_teacher and run.corpus == "en_ewt"
        name = "teacher_parser.cfg" if transformer else "student_parser.cfg"
        config = load_config(CONFIGS / name)
        model = config["components"]["parser"]["model"]
        if is_teacher and not transformer:
            model["tok2vec"].update(WIDE)
        if not is_teacher and "structure" in MODELS[kind]:
            model["structure"] = MODELS[kind]["structure"]
        else:
            config["components"]["parser"]["model"] = {
                **MODELS[kind],
                **({"distances": model["distances"]} if "distances" in model else {}),
                "nO": None,
                "tok2vec": model["tok2vec"],
            }
        path = self.work / run.corpus / f"{run.name}.cfg"
        config.to_disk(path)
        return path


def write_speeds(bench: ParserBench, corpora: list[str], path: Path) -> None:
    """Words/s of each kind of student and of the stock parser, and of the first teacher: the others
    have the same transformer."""
    speeds = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for corpus in corpora:
        done = sorted(finished(bench.results), key=lambda run: run.seed)
        models: dict[str, Path] = {}
        for run in done:
            if run.corpus == corpus and (run.system != "teacher" or run.setting == TEACHERS[0]):
                name = run.setting + " teacher" if run.system == "teacher" else run.system
                models.setdefault(name, bench.work / corpus / run.name / "model-best")
        test = bench.work / corpus / "test.spacy"
        speeds[corpus] = pipe_speeds(models, test)
        students = {name: models[name] for name in STUDENTS if name in models}
        speeds[corpus]["decoding"] = {
            name: decoding_share(model, test) for name, model in students.items()
        }
    path.write_text(json.dumps(speeds, indent=2) + "\n", encoding="utf-8")


def decoding_share(model: Path, test: Path, rounds: int = 5) -> float:
    """Which part of `nlp.pipe` the search for the best trees is, in CPU time."""
    nlp = spacy.load(model)
    parser = nlp.get_pipe("parser")
    docs = list(DocBin().from_disk(test).get_docs(nlp.vocab))
    batches = list(minibatch(docs, nlp.batch_size))
    total, decoding = [], []
    for _ in range(rounds):
        plain = [plain_copy(doc, nlp.vocab) for doc in docs]
        start = time.process_time()
        deque(nlp.pipe(plain), maxlen=0)
        total.append(time.process_time() - start)
        predicted = [parser.predict(batch) for batch in batches]
        start = time.process_time()
        for batch in predicted:
            parser.decode(batch.structure)
        decoding.append(time.process_time() - start)
    return median(decoding) / median(total)


def write_stores(bench: ParserBench, corpora: list[str], path: Path) -> None:
    """What the stores of targets take and leave out, by what `annotate` said last of each."""
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for corpus in corpora:
        for teacher in TEACHERS:
            log = bench.work / corpus / f"annotate-{teacher.replace(' ', '-')}.log"
            said = " ".join(log.read_text(encoding="utf-8").split()) if log.exists() else ""
            if size := re.search(r"(\d+) bytes a token", said):
                lost = re.search(
                    r"probability of (\S+) at a token on average, .* (\S+) at most", said
                )
                store = {"bytes a token": int(size[1])}
                if lost:
                    store |= {"lost on average": float(lost[1]), "lost at most": float(lost[2])}
                found.setdefault(corpus, {})[teacher] = store
    path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def write_joined(bench: ParserBench, corpora: list[str], path: Path) -> None:
    """LAS and UAS on test of the summary's systems, each seed's, with ten sentences a document."""
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for corpus in corpora:
        test = bench.work / corpus / "test.spacy"
        runs = [run for run in finished(bench.results) if run.corpus == corpus]
        found[corpus] = {
            f"{setting}: {system}": [
                joined_scores(bench.folder(run) / "model-best", test)
                for run in sorted(runs, key=lambda run: run.seed)
                if (run.setting, run.system) == (setting, system)
            ]
            for setting, system in SUMMARY
            if system != "teacher"
        }
    path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def joined_scores(model: Path, test: Path) -> dict[str, float]:
    """A pipeline's scores on documents of ten sentences, whose tokens and boundaries are given."""
    nlp = spacy.load(model)
    examples = []
    for sentences in minibatch(DocBin().from_disk(test).get_docs(nlp.vocab), JOINED):
        reference = Doc.from_docs(sentences)
        predicted = plain_copy(reference, nlp.vocab)
        for token in reference:
            predicted[token.i].is_sent_start = token.is_sent_start
        examples.append(Example(predicted, reference))
    scores = nlp.evaluate(examples)
    return {name: round(100 * scores[key], 2) for name, key in ParserBench.metrics.items()}


def write_tables(results: Path) -> str:
    """Write a table a treebank, which is returned, and a short one for the README."""
    rows = read_rows(results)
    path = results.with_name(f"{results.stem}_speed.json")
    speeds = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path = results.with_name(f"{results.stem}_joined.json")
    joined = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path = results.with_name(f"{results.stem}_stores.json")
    stores = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    lines = []
    for corpus in LANGUAGES:
        own = [row for row in rows if row["corpus"] == corpus]
        systems = sorted({(row["setting"], row["system"]) for row in own}, key=place)
        speed = speeds.get(corpus, {})
        lines += table_of(corpus, own, systems, speed) if own else []
        shares = [
            f"{TITLES[name]} {share:.0%}" for name, share in speed.get("decoding", {}).items()
        ]
        if shares:
            found = ", ".join(shares)
            lines += [f"Search for the best tree, of the time of `nlp.pipe`: {found}.", ""]
        lines += joined_table(corpus, joined.get(corpus, {}))
        lines += store_lines(stores.get(corpus, {}))
    table = "\n".join(lines)
    results.with_suffix(".md").write_text(table, encoding="utf-8")
    english = [row for row in rows if row["corpus"] == "en_ewt"]
    summary = table_of("en_ewt", english, SUMMARY, speeds.get("en_ewt", {}))
    summary_path = results.with_name(f"{results.stem}_summary.md")
    summary_path.write_text("\n".join(summary), encoding="utf-8")
    return table


def table_of(
    corpus: str, rows: list[dict], systems: Sequence[tuple[str, str]], speed: dict[str, float]
) -> list[str]:
    """LAS and UAS on test of the systems that have run, words/s against spaCy's parser."""
    lines = [
        f"| {corpus} | LAS (dev) | UAS (dev) | words/s, × spaCy's parser | seeds |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for setting, system in systems:
        found = [row for row in rows if (row["setting"], row["system"]) == (setting, system)]
        name = f"{setting} teacher" if system == "teacher" else system
        ratio = f"{speed[name] / speed[STOCK]:.2f}" if {name, STOCK} <= speed.keys() else "–"
        if found:
            lines.append(
                f"| {title(setting, system)} | {cell(found, 'las')} | {cell(found, 'uas')} | "
                f"{ratio} | {len(found)} |"
            )
    return [*lines, ""]


def store_lines(stores: dict[str, dict[str, float]]) -> list[str]:
    """Bytes a token of the targets of each teacher, and the probability that is left out."""
    said = []
    for teacher, store in stores.items():
        text = f"{teacher} {store['bytes a token']}"
        if "lost at most" in store:
            mean, most = store["lost on average"], store["lost at most"]
            text += f" (left out: {mean:.1e} on average, {most:.1e} at most)"
        said.append(text)
    return [f"Targets, bytes a token by teacher: {'; '.join(said)}.", ""] if said else []


def joined_table(corpus: str, scores: dict[str, list[dict[str, float]]]) -> list[str]:
    """LAS and UAS on documents of ten sentences, mean ± standard deviation over seeds."""
    lines = [
        f"| {corpus}, {JOINED} sentences a document | LAS | UAS | seeds |",
        "| --- | ---: | ---: | ---: |",
    ]
    for setting, system in SUMMARY:
        if found := scores.get(f"{setting}: {system}"):
            rows = [{f"test_{name}": score for name, score in row.items()} for row in found]
            cells = " | ".join(cell(rows, name) for name in ("las", "uas"))
            lines.append(f"| {title(setting, system)} | {cells} | {len(rows)} |")
    return [*lines, ""] if lines[2:] else []


def place(system: tuple[str, str]) -> tuple[int, int]:
    """Where a system comes in the table: teachers, spaCy's parser, kinds of student."""
    settings = [GOLD, *(kind + suffix for kind in TEACHERS for suffix in (RAW, ""))]
    return ["teacher", STOCK, *STUDENTS].index(system[1]), settings.index(system[0])


def title(setting: str, system: str) -> str:
    if system == STOCK:
        return "spaCy `parser`, gold"
    if system == "teacher":
        return f"teacher, {setting}"
    return f"{TITLES[system]}, " + ("gold" if setting == GOLD else f"taught by {setting}")


if __name__ == "__main__":
    typer.run(main)
