"""`skd calibrate`: the table, the saved pipeline, the report and the plots."""

import json
import sys

import pytest
import spacy
from spacy.tokens import DocBin
from typer.testing import CliRunner

from spacy_skd.cli import app

from ..calibration.sure_tagger import gold_docs, overconfident, sure_pipeline


@pytest.fixture
def folder(tmp_path):
    """A folder with a pipeline, "model", and gold documents, "dev.spacy" and "test.spacy"."""
    nlp = sure_pipeline()
    nlp.to_disk(tmp_path / "model")
    for seed, name in enumerate(("dev", "test")):
        docs = gold_docs(nlp, *overconfident(300, seed=seed))
        DocBin(docs=docs).to_disk(tmp_path / f"{name}.spacy")
    return tmp_path


def calibrate(folder, *options):
    command = ["calibrate", folder / "model", folder / "dev.spacy", *options]
    return CliRunner().invoke(app, [str(word) for word in command])


def temperature(path) -> float:
    return spacy.load(path).get_pipe("tagger").temperature


def files(path) -> dict[str, bytes]:
    return {
        str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()
    }


def test_the_pipeline_is_saved_with_its_temperature(folder):
    result = calibrate(folder, "--output", folder / "new" / "calibrated")
    assert result.exit_code == 0, result.output
    found = temperature(folder / "new" / "calibrated")
    assert 1.5 < found < 2.6 and f"{found:.3f}" in result.output
    before, after = files(folder / "model"), files(folder / "new" / "calibrated")
    assert {name for name in before if before[name] != after.pop(name)} == {"tagger/cfg"}
    assert not after


def test_the_table(folder):
    result = calibrate(folder, "--test", folder / "test.spacy")
    assert "component   on     predictions   right %" in result.output
    dev, test = (line.split() for line in result.output.splitlines() if line.startswith("tagger "))
    assert dev[:3] == ["tagger", "dev", "300"] and test[:3] == ["tagger", "test", "300"]
    assert dev[4] == test[4]  # one temperature
    before, after, _by_chance = map(float, dev[5:8])
    assert after < before
    assert "not saved" in result.output and temperature(folder / "model") == 1.0


def test_the_documents_of_a_folder(folder):
    result = calibrate(folder, "--test", folder)
    [_, test] = (line.split() for line in result.output.splitlines() if line.startswith("tagger "))
    assert test[:3] == ["tagger", "test", "600"]


def test_the_report(folder):
    report = folder / "metrics" / "calibration.json"
    result = calibrate(folder, "--test", folder / "test.spacy", "--report", report, "--bins", 5)
    assert result.exit_code == 0, result.output
    found = json.loads(report.read_text(encoding="utf8"))
    assert found["dev"] == str(folder / "dev.spacy") and found["skipped"] == {}
    tagger = found["components"]["tagger"]
    assert tagger["previous_temperature"] == 1.0 == tagger["dev"]["before"]["temperature"]
    assert tagger["temperature"] == tagger["test"]["after"]["temperature"]
    assert len(tagger["test"]["after"]["bins"]) == 5 and tagger["test"]["judged"] == 300
    assert {"ece", "ece_by_chance", "brier", "log_loss"} <= set(tagger["dev"]["after"])


def test_the_plots(folder):
    pytest.importorskip("matplotlib")
    result = calibrate(folder, "--plot", folder / "plots")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (folder / "plots").iterdir()) == [
        "tagger.png",
        "tagger.svg",
    ]


def test_plots_without_matplotlib_fail_at_once(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = calibrate(folder, "--plot", folder / "plots", "--output", folder / "new")
    assert result.exit_code == 1 and "pip install matplotlib" in " ".join(result.output.split())
    assert not (folder / "new").exists()


def test_nothing_is_replaced_silently(folder):
    kept = files(folder / "model")
    result = calibrate(folder, "--output", folder / "model")
    assert result.exit_code == 1 and "is not empty" in result.output and "--force" in result.output
    assert files(folder / "model") == kept
    result = calibrate(folder, "--output", folder / "dev.spacy")
    assert result.exit_code == 1 and "is a file" in result.output


def test_in_place_by_force(folder):
    kept = files(folder / "model")
    result = calibrate(folder, "--output", folder / "model", "--force")
    assert result.exit_code == 0, result.output
    assert temperature(folder / "model") > 1.5
    now = files(folder / "model")
    assert {name for name in now if kept.get(name) != now[name]} == {"tagger/cfg"}


def test_what_is_left_out_is_named(folder):
    nlp = spacy.load(folder / "model")
    nlp.add_pipe("sentencizer")
    nlp.to_disk(folder / "model")
    result = calibrate(folder, "--components", "tagger, sentencizer")
    assert result.exit_code == 0, result.output
    assert "'sentencizer' is left out: a sentencizer gives no confidences" in result.output


def test_warnings_are_shown(folder):
    nlp = sure_pipeline()
    DocBin(docs=gold_docs(nlp, [1, 2], [True, True])).to_disk(folder / "dev.spacy")
    result = calibrate(folder, "--output", folder / "new")
    assert result.exit_code == 0 and "All 2 predictions of 'tagger' are right" in result.output
    assert temperature(folder / "new") == 1.0


@pytest.mark.parametrize(
    "options, fault",
    [
        (["--components", "ner"], "no component 'ner' that runs. It has: tagger"),
        (["--components", " , "], "no names of components"),
        (["--code", "no_such_file.py"], "no_such_file.py"),
    ],
)
def test_faulty_options(folder, options, fault):
    result = calibrate(folder, *options)
    assert result.exit_code == 1
    assert fault in result.output and isinstance(result.exception, SystemExit)


def test_faulty_files(folder):
    dev = folder / "dev.spacy"
    DocBin(docs=[]).to_disk(dev)
    result = calibrate(folder)
    assert result.exit_code == 1 and f"no documents in {dev}" in result.output
    dev.write_bytes(b"x")
    result = calibrate(folder)
    assert result.exit_code == 1 and f"{dev} cannot be read" in result.output
    nlp = sure_pipeline()
    DocBin(docs=gold_docs(nlp, [1, 2], [None, None])).to_disk(dev)
    result = calibrate(folder)
    assert result.exit_code == 1 and "the documents have no gold annotation" in result.output


def test_a_pipeline_that_is_not_there(folder):
    command = ["calibrate", "no_such_pipeline", str(folder / "dev.spacy")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1 and "no_such_pipeline" in result.output
