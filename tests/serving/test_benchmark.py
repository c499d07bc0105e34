"""benchmarks/serving.py measures pipelines from end to end, at the smallest size."""

import json
import os
import sys
from pathlib import Path

import pytest
import spacy
from spacy.tokens import DocBin
from thinc.api import get_current_ops, set_current_ops

from .conftest import TEXTS

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
NAMES = ("serving", "serving_tables", "fresh_process")


@pytest.fixture
def serving(monkeypatch):
    """The benchmark's module, without what it changes in the process."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before, ops = dict(os.environ), get_current_ops()
    import serving

    yield serving
    set_current_ops(ops)
    os.environ.clear()
    os.environ.update(before)
    for name in NAMES:
        sys.modules.pop(name, None)


@pytest.fixture
def options(saved, tmp_path):
    nlp = spacy.blank("en")
    DocBin(docs=[nlp(text) for text in TEXTS]).to_disk(tmp_path / "test.spacy")
    return {
        "texts": tmp_path / "test.spacy",
        "pipeline": [f"stock={saved('tagger')}", f"student={saved('chain')}"],
        "baseline": "stock",
        "title": "tiny",
        "rounds": 1,
        "words": 40,
        "memory_words": 100,
        "python": sys.executable,
        "output": tmp_path / "serving.json",
    }


def test_speed_and_latency(serving, options):
    options |= {"batch_size": [1, 100], "part": [serving.Part.speed]}
    serving.main(**options, product=serving.Product.numpy)
    options["part"] = [serving.Part.latency]
    serving.main(**options, product=serving.Product.numpy)
    found = json.loads(options["output"].read_text(encoding="utf8"))["tiny"]["numpy"]
    assert set(found) == {"speed", "latency"}, "parts are kept"
    assert set(found["speed"]) == set(found["latency"]) == {"stock", "student"}
    cases = found["speed"]["student"]
    assert "1 process, short texts, batch 100" in cases
    assert "2 processes, long texts, batch 1" in cases
    assert "1 process, long texts, batch 100" not in cases, "one text needs no batches"
    assert all(row["cpu"] > 0 and row["wall"] > 0 for row in cases.values())
    assert all(row["cpu_ratio"] == 1 for row in found["speed"]["stock"].values())
    assert found["latency"]["student"]["cpu_p50"] <= found["latency"]["student"]["cpu_p99"]
    table = options["output"].with_suffix(".md").read_text(encoding="utf8")
    assert "| stock | student |" in table and "matrices multiplied by numpy" in table


@pytest.mark.slow
def test_fresh_processes(serving, options, saved, tmp_path):
    (tmp_path / "student.whl").write_bytes(b"0" * 1000)
    options |= {
        "pipeline": [f"student={saved('chain')}"],
        "baseline": "student",
        "wheel": [f"student={tmp_path / 'student.whl'}"],
        "part": [serving.Part.start, serving.Part.memory],
    }
    serving.main(**options, product=serving.Product.blis)
    found = json.loads(options["output"].read_text(encoding="utf8"))["tiny"]["blis"]
    start = found["start"]["student"]
    assert 0 < start["megabytes_imported"] < start["megabytes_loaded"]
    assert all(seconds > 0 for key in ("import", "load", "first_call") for seconds in start[key])
    assert start["megabytes_on_disk"] > 0 and start["megabytes_of_wheel"] == 0.001
    assert len(found["memory"]["student"]["zones"]) == 11


def test_texts_have_the_words_that_were_asked_for(serving):
    nlp = spacy.blank("en")
    docs = [nlp("Ada lives in New York City ."), nlp("Bob sleeps .")]
    kinds = serving.kinds_of_texts(docs, 23)
    n_words = {kind: [len(nlp(text)) for text in texts] for kind, texts in kinds.items()}
    assert n_words == {"short": [5, 5, 5, 5, 3], "normal": [7, 3, 7, 3, 3], "long": [23]}


def test_a_baseline_that_is_not_there(serving, options):
    options["baseline"] = "teacher"
    with pytest.raises(Exception, match="'teacher' is none of the pipelines: stock, student"):
        serving.main(**options)


def test_goals_stand_beside_the_figures(serving):
    results = BENCHMARKS / "results" / "serving.json"
    tables = serving.report(json.loads(results.read_text(encoding="utf8")))
    assert tables == results.with_suffix(".md").read_text(encoding="utf8")
    rows = [row for row in tables.splitlines() if row.startswith("| goal |")]
    assert rows and all("≤ 1.00" in row for row in rows)
    batches = [row for row in tables.splitlines() if row.startswith("| 1 process, normal texts, b")]
    assert all(("≥" in row) == ("batch 100" in row) for row in batches[:2])
