"""Bins, ECE, MMCE, Brier score and log loss against their definitions."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_skd.calibration import brier_score, kernel_error, log_loss, measure, reliability

judged = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=50)


def test_an_example_by_hand():
    probs, right = [0.05, 0.92, 0.95, 0.98, 1.0], [False, True, True, False, True]
    bins = reliability(probs, right)
    assert bins.counts.tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0, 4]
    assert bins.confidence[[0, 9]] == pytest.approx([0.05, 0.9625])
    assert bins.accuracy[[0, 9]] == pytest.approx([0, 0.75])
    assert np.isnan(bins.accuracy[1:9]).all() and np.isnan(bins.confidence[1:9]).all()
    assert bins.ece == pytest.approx((0.05 + 4 * 0.2125) / 5)
    assert brier_score(probs, right) == pytest.approx(
        (0.05**2 + 0.08**2 + 0.05**2 + 0.98**2 + 0) / 5
    )
    assert log_loss([0.25, 0.75], [True, False]) == pytest.approx(math.log(4))


def test_a_bin_has_its_lower_edge_and_the_last_one_both():
    assert reliability([0.0, 0.25, 0.5, 0.75, 1.0], [1] * 5, n_bins=4).counts.tolist() == [
        1,
        1,
        1,
        2,
    ]


@settings(deadline=None)
@given(judged, st.integers(1, 20))
def test_bins_hold_all_predictions(pairs, n_bins):
    probs, right = map(np.asarray, zip(*pairs))
    bins = reliability(probs, right, n_bins)
    filled = bins.counts > 0
    assert bins.counts.sum() == len(pairs) and len(bins.edges) == n_bins + 1
    assert np.sum(bins.counts[filled] * bins.confidence[filled]) == pytest.approx(probs.sum())
    assert np.sum(bins.counts[filled] * bins.accuracy[filled]) == pytest.approx(right.sum())
    assert 0 <= bins.ece <= 1
    # Bins only add up what cancels within them.
    assert bins.ece >= abs(probs.mean() - right.mean()) - 1e-9


@settings(deadline=None)
@given(judged)
def test_scores_are_those_of_their_definitions(pairs):
    brier = np.mean([(p - hit) ** 2 for p, hit in pairs])
    assert brier_score(*zip(*pairs)) == pytest.approx(brier)
    said = [np.clip(p if hit else 1 - p, 1e-7, 1 - 1e-7) for p, hit in pairs]
    assert log_loss(*zip(*pairs)) == pytest.approx(-np.mean(np.log(said)), rel=1e-5)


@settings(deadline=None)
@given(judged)
def test_the_kernel_error_is_a_mean_over_pairs(pairs):
    probs, right = (np.asarray(values, dtype=float) for values in zip(*pairs))
    residuals = probs - right
    kernel = np.exp(-np.abs(probs[:, None] - probs) / 0.2)
    squared = residuals @ kernel @ residuals / len(pairs) ** 2
    assert kernel_error(probs, right) == pytest.approx(math.sqrt(max(squared, 0)), abs=1e-7)


def test_the_kernel_error_does_not_let_errors_cancel_that_are_far_apart():
    """Too sure at one end, not sure enough at the other: right as often as it says on average."""
    sure, unsure = np.full(1000, 0.9), np.full(1000, 0.2)
    probs, right = np.concatenate([sure, unsure]), np.arange(2000) % 10 < 8
    right[1000:] = np.arange(1000) % 10 < 3
    assert abs(probs.mean() - right.mean()) < 1e-9
    assert kernel_error(probs, right) > 0.06
    right = np.concatenate([np.arange(1000) % 10 < 9, np.arange(1000) % 10 < 2])
    assert kernel_error(probs, right) < 0.02


def test_being_certain_and_wrong_has_a_finite_loss():
    assert log_loss([1.0], [False]) == pytest.approx(-math.log(1e-7))


def test_what_chance_alone_gives():
    """Against the mean ECE of outcomes that are drawn from the probabilities themselves."""
    rng = np.random.default_rng(0)
    probs = rng.beta(4, 1, 800)
    drawn = [reliability(probs, rng.random(800) < probs).ece for _ in range(300)]
    assert reliability(probs, probs > 0.5).ece_by_chance == pytest.approx(np.mean(drawn), rel=0.08)


@pytest.mark.parametrize("off", [0.0, 0.1])
def test_the_square_error_has_no_part_of_chance(off):
    """Against the mean over outcomes that are right less often than the probabilities say."""
    rng = np.random.default_rng(0)
    probs = rng.beta(4, 1, 200)
    drawn = [reliability(probs, rng.random(200) < probs - off) for _ in range(2000)]
    many = np.repeat(probs, 500)
    exact = reliability(many, rng.random(len(many)) < many - off).ece
    found = np.mean([bins.square_error for bins in drawn])
    assert found == pytest.approx(exact**2, abs=1e-3)
    assert np.mean([bins.ece for bins in drawn]) > exact + 0.01


def test_the_square_error_by_hand():
    probs, right = [0.05, 0.92, 0.95, 0.98, 1.0], [False, True, True, False, True]
    found = reliability(probs, right).square_error  # the bin of one prediction does not count
    assert found == pytest.approx(0.2125**2 - 0.75 * 0.25 / 3)


def test_of_nothing_there_is_nothing_to_say():
    found = measure([], [])
    assert math.isnan(found.ece) and math.isnan(found.brier) and math.isnan(found.log_loss)
    assert math.isnan(kernel_error([], []))
    assert math.isnan(found.bins.ece_by_chance) and math.isnan(found.bins.square_error)
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["ece"] is None and plain["bins"][0]["count"] == 0


def test_plain_data():
    plain = measure([0.6, 0.7], [True, False], temperature=2.0, n_bins=2).to_dict()
    assert plain["temperature"] == 2.0
    assert plain["bins"][1] == {
        "from": 0.5,
        "to": 1.0,
        "count": 2,
        "confidence": pytest.approx(0.65),
        "accuracy": 0.5,
    }


def test_probabilities_that_are_rounded_beyond_one_count_as_one():
    assert reliability([1 + 1e-6], [True]).confidence[9] == 1.0


@pytest.mark.parametrize(
    "probs, right, n_bins, fault",
    [
        ([0.5], [True], 0, "at least one bin"),
        ([0.5], [True, False], 10, "one probability a prediction"),
        ([0.5, 1.5], [True, False], 10, "1 of 2 confidences are no probabilities.* 1.5"),
        ([math.nan], [True], 10, "no probabilities.*nan"),
    ],
)
def test_faults(probs, right, n_bins, fault):
    with pytest.raises(ValueError, match=fault):
        reliability(probs, right, n_bins)
