"""benchmarks/calibration.py measures the models of other benchmarks, at the smallest size."""

import json
import sys
from pathlib import Path

import pytest
from spacy.tokens import DocBin

from ..pipeline.tiny import blank, train, tree_examples

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
NAMES = ("calibration", "ner", "raw_sentences", "training_runs")


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import calibration

    yield calibration
    for name in NAMES:
        sys.modules.pop(name, None)


@pytest.fixture
def work(tmp_path):
    """The work folder of benchmarks/parser.py after its first run, as it were."""
    nlp = blank("skd_parser", "BiaffineParser")
    examples = tree_examples(nlp)
    train(nlp, examples, steps=3)
    folder = tmp_path / "parser" / "en_ewt"
    (folder / "en_ewt-gold-heads-0").mkdir(parents=True)
    nlp.to_disk(folder / "en_ewt-gold-heads-0" / "model-best")
    for split in ("dev", "test"):
        DocBin(docs=[example.reference for example in examples]).to_disk(folder / f"{split}.spacy")
    return tmp_path / "parser"


def test_parsers(benchmark, work, tmp_path, capsys):
    results = tmp_path / "calibration.jsonl"
    options = {"parser": work, "corpora": None, "setting": "full", "seeds": 1, "plots": None}
    benchmark.main(**options, results=results)
    assert "en_ewt-gold-tree-0" in capsys.readouterr().out, "which is not there"
    [row] = [json.loads(line) for line in results.read_text(encoding="utf8").splitlines()]
    assert (row["task"], row["component"], row["system"]) == ("parser", "parser", "heads")
    assert row["test"]["judged"] == sum(len(doc) for doc in docs(work))
    table = results.with_suffix(".md").read_text(encoding="utf8")
    assert "| en_ewt, parser: arcs of test |" in table
    assert "| student, independent heads, gold |" in table
    before = results.read_text(encoding="utf8")
    benchmark.main(**options, results=results)
    assert results.read_text(encoding="utf8") == before, "measured once"


def docs(work):
    vocab = blank().vocab
    return list(DocBin().from_disk(work / "en_ewt" / "test.spacy").get_docs(vocab))


def test_the_results_give_their_table(benchmark):
    rows = benchmark.read_rows(benchmark.RESULTS / "calibration.jsonl")
    table = (benchmark.RESULTS / "calibration.md").read_text(encoding="utf8")
    assert benchmark.make_table(rows) == table


def test_students_of_several_languages_are_measured_on_all_their_tests(benchmark):
    task = benchmark.tasks("full")["multilingual"]
    runs = task.runs(seeds=2)
    assert {run.corpus for run in runs if run.system == "teacher"} == {
        f"wikiann/{language}" for language in task.languages
    }
    assert [run.seed for run in runs if (run.corpus, run.system) == ("wikiann/all", "gold")] == [
        0,
        1,
    ]
    assert task.documents("wikiann/all", "dev") == ["wikiann/all/dev.spacy"]
    assert task.documents("wikiann/de", "test") == ["wikiann/de/test.spacy"]
    assert "wikiann/de/test.spacy" in task.documents("wikiann/all", "test")
    assert len(task.documents("wikiann/all", "test")) == len(task.languages) == 4
