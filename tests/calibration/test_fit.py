"""Temperatures of components, fitted on what they predict for gold documents."""

import re

import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc

from spacy_skd.calibration import calibrate, judge

from .sure_tagger import gold_docs, overconfident, sure_pipeline


@pytest.fixture
def nlp():
    return sure_pipeline()


def test_too_sure_by_a_factor(nlp):
    dev = gold_docs(nlp, *overconfident(4000))
    test = gold_docs(nlp, *overconfident(4000, seed=1))
    outcome = calibrate(nlp, dev, test)
    [(name, found)] = outcome.calibrated.items()
    assert name == "tagger" and not outcome.skipped and not found.warnings
    assert found.temperature == pytest.approx(2.0, rel=0.1)
    assert nlp.get_pipe("tagger").temperature == found.temperature and found.previous == 1.0
    for part in (found.dev, found.test):
        assert part.judged == 4000
        assert part.after.ece < 0.02 < 0.05 < part.before.ece
        assert part.after.brier < part.before.brier
        assert part.after.log_loss < part.before.log_loss
        assert part.after.temperature == found.temperature and part.before.temperature == 1.0
        assert part.accuracy == part.right / 4000


def test_a_few_faults_of_gold_do_not_decide(nlp):
    """Of a hundred predictions one is certain, and wrong by the gold annotation: the log loss would
    have a temperature of 2.6 for it, with an ECE of 0.04."""
    logits, right = overconfident(4000)
    logits[::100], right[::100] = 15, False
    found = calibrate(nlp, gold_docs(nlp, logits, right)).calibrated["tagger"]
    assert found.temperature == pytest.approx(2.0, rel=0.1)
    assert found.dev.after.ece < 0.02


def test_test_is_never_fitted_on(nlp):
    logits, right = overconfident(500)
    dev = gold_docs(nlp, logits, right)
    alone = calibrate(sure_pipeline(), dev).calibrated["tagger"]
    beside = calibrate(nlp, dev, gold_docs(nlp, logits, ~right)).calibrated["tagger"]
    assert alone.temperature == beside.temperature
    assert alone.test is None and beside.test.accuracy == pytest.approx(1 - alone.dev.accuracy)


def test_calibrating_again_begins_where_it_was(nlp):
    dev = gold_docs(nlp, *overconfident(500))
    first = calibrate(nlp, dev).calibrated["tagger"]
    second = calibrate(nlp, dev).calibrated["tagger"]
    assert second.previous == second.temperature == first.temperature
    assert second.dev.before.ece == first.dev.after.ece


def test_bins(nlp):
    found = calibrate(nlp, gold_docs(nlp, *overconfident(200)), n_bins=4).calibrated["tagger"]
    assert len(found.dev.after.bins.counts) == 4


def test_what_gold_does_not_say_is_not_judged(nlp):
    [judged] = judge(nlp, gold_docs(nlp, [1, 2, 3, 4], [True, None, False, None]), ["tagger"])
    assert judged.right.tolist() == [True, False] and judged.n_known == 2
    assert judged.probabilities(1.0) == pytest.approx([0.7311, 0.9526], abs=1e-4)
    assert judged.probabilities(2.0) == pytest.approx([0.6225, 0.8176], abs=1e-4)


def test_what_another_component_set_is_not_judged(nlp):
    nlp.get_pipe("tagger").foreign = "2.0"
    [judged] = judge(nlp, gold_docs(nlp, [1, 2, 3], [True, True, False]), ["tagger"])
    assert judged.right.tolist() == [True, False]


def test_gold_documents_stay_as_they_are(nlp):
    docs = gold_docs(nlp, [1, 2], [True, False])
    calibrate(nlp, docs)
    assert [token.tag_ for token in docs[0]] == ["A", "B"]


def test_components_before_run_and_components_after_do_not(nlp):
    seen = []

    @Language.component("calibration_before")
    def before(doc):
        seen.append(len(doc))
        return doc

    @Language.component("calibration_after")
    def after(doc):
        raise AssertionError("not needed")

    nlp.add_pipe("calibration_before", first=True)
    nlp.add_pipe("calibration_after", last=True)
    outcome = calibrate(nlp, gold_docs(nlp, *overconfident(25)))
    assert seen == [10, 10, 5]
    assert set(outcome.skipped) == {"calibration_before", "calibration_after"}


def test_a_component_that_changes_tokens(nlp):
    @Language.component("calibration_merger")
    def merge(doc):
        return Doc(doc.vocab, words=["0.0"])

    nlp.add_pipe("calibration_merger", first=True)
    with pytest.raises(ValueError, match="before 'tagger' changes the tokens of document '1"):
        calibrate(nlp, gold_docs(nlp, [1, 2], [True, False]))


@pytest.mark.parametrize(
    "logits, right, silent, warning",
    [
        ([1, 2], [True, True], False, "All 2 predictions of 'tagger' are right"),
        ([1, 2], [False, False], False, "are wrong.*Are its labels those of the gold documents"),
        ([1, 2], [True, False], True, "predicts nothing that can be judged"),
    ],
)
def test_nothing_to_learn_from_leaves_the_temperature(nlp, logits, right, silent, warning):
    tagger = nlp.get_pipe("tagger")
    tagger.temperature, tagger.silent = 1.5, silent
    found = calibrate(nlp, gold_docs(nlp, logits, right)).calibrated["tagger"]
    assert found.temperature == tagger.temperature == 1.5
    assert re.search(warning, found.warnings[0])


def test_few_predictions(nlp):
    found = calibrate(nlp, gold_docs(nlp, *overconfident(50))).calibrated["tagger"]
    assert found.warnings == ["The temperature of 'tagger' is fitted on 50 predictions only."]


def test_the_edge_of_the_range(nlp):
    """More often wrong where it is surer: the least sure is the best."""
    docs = gold_docs(nlp, [3, 2, 1, 0.5] * 50, [False, False, True, False] * 50)
    found = calibrate(nlp, docs).calibrated["tagger"]
    assert found.temperature == pytest.approx(10.0)
    assert "at the edge of the range that is searched, 0.1 to 10" in found.warnings[0]


def test_confidences_that_do_not_depend_on_it(nlp):
    nlp.get_pipe("tagger").temperature = 3.0
    found = calibrate(nlp, gold_docs(nlp, [0] * 200, [True, False] * 100)).calibrated["tagger"]
    assert found.temperature == 3.0 and "do not depend on its temperature" in found.warnings[0]


def test_test_documents_without_gold(nlp):
    test = gold_docs(nlp, [1, 2], [None, None])
    found = calibrate(nlp, gold_docs(nlp, *overconfident(200)), test).calibrated["tagger"]
    assert found.test is None and "test documents have no gold annotation" in found.warnings[0]


def test_components_are_chosen_by_name(nlp):
    nlp.add_pipe("sure_tagger", name="other")
    nlp.add_pipe("sentencizer")
    dev = gold_docs(nlp, *overconfident(200))
    outcome = calibrate(nlp, dev, components=["other"])
    assert list(outcome.calibrated) == ["other"] and not outcome.skipped
    assert nlp.get_pipe("tagger").temperature == 1.0
    outcome = calibrate(nlp, dev, components=["other", "sentencizer"])
    assert outcome.skipped == {"sentencizer": "a sentencizer gives no confidences"}
    assert list(calibrate(nlp, dev).calibrated) == ["tagger", "other"]
    with pytest.raises(ValueError, match=r"no component 'ner' that runs.* tagger, other, sen"):
        calibrate(nlp, dev, components=["ner"])


def test_a_renamed_component(nlp):
    nlp.rename_pipe("tagger", "marker")
    assert list(calibrate(nlp, gold_docs(nlp, *overconfident(50))).calibrated) == ["marker"]


def test_nothing_to_calibrate(nlp):
    with pytest.raises(ValueError, match="no documents to calibrate on"):
        calibrate(nlp, [])
    with pytest.raises(ValueError, match=r"None of .* can be calibrated .'tagger': the documents"):
        calibrate(nlp, gold_docs(nlp, [1, 2], [None, None]))
    stock = spacy.blank("xx")
    with pytest.raises(ValueError, match="the pipeline has none"):
        calibrate(stock, gold_docs(stock, [1], [True]))
    stock.add_pipe("sentencizer")
    with pytest.raises(ValueError, match="'sentencizer': a sentencizer gives no confidences"):
        calibrate(stock, gold_docs(stock, [1], [True]))
