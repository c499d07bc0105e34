"""The search for the temperature with the lowest loss."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_skd.calibration import best_temperature


@settings(deadline=None)
@given(st.floats(0.11, 9.0), st.floats(0.01, 100))
def test_it_finds_the_minimum(best, steepness):
    found = best_temperature(lambda t: steepness * math.log(t / best) ** 2)
    assert found.temperature == pytest.approx(best, rel=0.002)
    assert not found.at_edge and not found.flat


def test_of_two_valleys_it_takes_the_deeper():
    def loss(temperature):
        place = math.log(temperature)
        return min((place + 1.5) ** 2, (place - 1.2) ** 2 - 0.5)

    assert math.log(best_temperature(loss).temperature) == pytest.approx(1.2, abs=0.002)


@pytest.mark.parametrize("sign, edge", [(1, 0.1), (-1, 10.0)])
def test_it_says_that_it_is_at_the_edge(sign, edge):
    found = best_temperature(lambda t: sign * t)
    assert found.at_edge and found.temperature == pytest.approx(edge)


def test_a_loss_that_does_not_depend_on_it_leaves_one():
    found = best_temperature(lambda t: 0.3)
    assert found.flat and found.temperature == 1.0 and found.loss == 0.3


def test_what_is_not_finite_is_never_best():
    found = best_temperature(lambda t: math.nan if t < 0.5 else math.inf if t > 5 else (t - 1) ** 2)
    assert found.temperature == pytest.approx(1.0, abs=0.003)
    with pytest.raises(ValueError, match="not a number at any temperature"):
        best_temperature(lambda t: math.nan)


def test_the_same_few_evaluations_each_time():
    asked: list[float] = []

    def loss(temperature):
        asked.append(temperature)
        return (temperature - 1.7) ** 2

    best_temperature(loss)
    first = asked.copy()
    asked.clear()
    best_temperature(loss)
    assert asked == first and len(first) < 30


@pytest.mark.parametrize("low, high", [(0, 1), (2, 1), (1, 1)])
def test_an_empty_range(low, high):
    with pytest.raises(ValueError, match="no temperatures"):
        best_temperature(lambda t: t, low, high)
