"""Reliability diagrams."""

import sys
from xml.etree import ElementTree

import pytest

from spacy_skd.calibration import calibrate
from spacy_skd.calibration.plot import check_plotting, plot_reliability

from .sure_tagger import gold_docs, overconfident, sure_pipeline


def calibrated(n_bins: int = 10, with_test: bool = True):
    nlp = sure_pipeline()
    test = gold_docs(nlp, *overconfident(200, seed=1)) if with_test else ()
    return calibrate(nlp, gold_docs(nlp, *overconfident(300)), test, n_bins=n_bins).calibrated


@pytest.mark.parametrize("n_bins, with_test", [(10, True), (25, False), (1, False)])
def test_a_png_and_an_svg_a_component(tmp_path, n_bins, with_test):
    pytest.importorskip("matplotlib")
    found = calibrated(n_bins, with_test)
    png, svg = plot_reliability(found, tmp_path / "new" / "plots")
    assert png.name == "tagger.png" and png.read_bytes().startswith(b"\x89PNG")
    text = " ".join(ElementTree.parse(svg).getroot().itertext())
    assert "tagger on dev: 300 predictions" in text
    assert ("tagger on test: 200 predictions" in text) == with_test
    measures = found["tagger"].dev.after
    assert f"after: T = {measures.temperature:.2f}, ECE {measures.ece:.3f}" in text
    assert "before: T = 1.00" in text
    for count in measures.bins.counts.tolist():
        assert not count or str(count) in text


def test_the_same_numbers_give_the_same_files(tmp_path):
    pytest.importorskip("matplotlib")
    found = calibrated()
    first = [path.read_bytes() for path in plot_reliability(found, tmp_path / "a")]
    second = [path.read_bytes() for path in plot_reliability(found, tmp_path / "b")]
    assert first == second


def test_no_predictions_can_be_plotted(tmp_path):
    pytest.importorskip("matplotlib")
    nlp = sure_pipeline()
    nlp.get_pipe("tagger").silent = True
    found = calibrate(nlp, gold_docs(nlp, [1, 2], [True, False])).calibrated
    assert len(plot_reliability(found, tmp_path)) == 2


def test_no_display_is_asked_for(tmp_path):
    pytest.importorskip("matplotlib")
    sys.modules.pop("matplotlib.pyplot", None)
    plot_reliability(calibrated(), tmp_path)
    assert "matplotlib.pyplot" not in sys.modules


def test_without_matplotlib(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        check_plotting()
    with pytest.raises(ImportError, match="matplotlib"):
        plot_reliability({}, tmp_path / "plots")
    assert not (tmp_path / "plots").exists()
