"""Files read side by side: each in its order, and each spread over the whole pass."""

from collections import Counter

import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_skd.training import side_by_side as module
from spacy_skd.training.documents import read_sources
from spacy_skd.training.side_by_side import in_runs, side_by_side

from ..toy import write_docs

LINES = {"big": 40, "middle": 20, "small": 4}


@pytest.fixture
def files(tmp_path):
    for name, n_lines in LINES.items():
        lines = [f"{name} {number:02}" for number in range(n_lines)]
        (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return [tmp_path / f"{name}.txt" for name in LINES]


def read(files):
    return list(side_by_side(files, read_sources, lambda source: source.progress))


def test_each_quarter_of_a_pass_has_a_quarter_of_each_file(files):
    found = read(files)
    for start in range(0, 64, 16):
        counts = Counter(source.path.stem for source in found[start : start + 16])
        assert counts == {name: n_lines // 4 for name, n_lines in LINES.items()}
    for file in files:
        texts = [source.text for source in found if source.path == file]
        assert texts == file.read_text().splitlines()


def test_of_many_files_neighbours_are_read_one_after_another(tmp_path, monkeypatch):
    nlp = spacy.blank("xx")
    files = [tmp_path / f"{number:02}.spacy" for number in range(12)]
    for file in files:
        write_docs(file, [nlp.make_doc(f"{file.stem} {number}") for number in range(5)])
    monkeypatch.setattr(module, "MAX_DOCBINS", 3)
    found = read(files)
    assert len(found) == 60
    assert {source.path.stem for source in found[:3]} == {"00", "04", "08"}
    assert {source.path.stem for source in found[-3:]} == {"03", "07", "11"}


@given(st.lists(st.integers(0, 1000), max_size=12), st.integers(1, 5))
@settings(deadline=None)
def test_runs_are_the_files_in_order(tmp_path_factory, sizes, n_runs):
    folder = tmp_path_factory.mktemp("files")
    files = [folder / f"{number}.txt" for number in range(len(sizes))]
    for file, size in zip(files, sizes):
        file.write_bytes(b"x" * size)
    runs = in_runs(files, n_runs)
    assert [file for run in runs for file in run] == files
    assert len(runs) <= n_runs and all(runs)
    assert len(runs) == len(files) or len(files) > n_runs
