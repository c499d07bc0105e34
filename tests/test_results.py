"""The tables in benchmarks/results are what the scripts make of the results beside them, and those
of README and docs are the same."""

import importlib
import sys
from pathlib import Path

import pytest
import srsly

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
RESULTS = BENCHMARKS / "results"
MORE = {"pipeline": "pipeline_speed.json"}
"""What a table is made of beside the finished runs."""


@pytest.fixture
def benchmark(request, monkeypatch):
    """A benchmark's module. All that it imports from beside it is forgotten afterwards."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    known = set(sys.modules)
    yield importlib.import_module(request.param)
    for name in set(sys.modules) - known:
        if (BENCHMARKS / f"{name}.py").exists():
            del sys.modules[name]


@pytest.mark.parametrize("benchmark", ["ner", "new_labels", "pipeline"], indirect=True)
def test_the_results_give_their_table(benchmark):
    name = benchmark.__name__
    more = [srsly.read_json(RESULTS / MORE[name])] if name in MORE else []
    made = benchmark.make_table(list(srsly.read_jsonl(RESULTS / f"{name}.jsonl")), *more)
    lines = made.splitlines() if isinstance(made, str) else made
    written = (RESULTS / f"{name}.md").read_text(encoding="utf8").splitlines()
    assert written[: len(lines)] == lines


@pytest.mark.parametrize("benchmark", ["readme"], indirect=True)
def test_the_pages_have_the_tables(benchmark):
    for page in benchmark.PAGES:
        text = page.read_text(encoding="utf8")
        assert benchmark.filled(text) == text, f"{page.name}: run benchmarks/readme.py"
