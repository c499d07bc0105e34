"""The covariance of a chain's parts with a sum over tokens: the Hessian of log Z by a direction."""

from dataclasses import astuple
from itertools import pairwise

import numpy as np
import pytest

from spacy_skd.structures import LinearChain, biluo_labels, chain_scaled, legal_moves
from spacy_skd.structures.base import to_host

from .chain_cases import CASES, LENGTHS, chain_of, close, enumerate_all, make, underflowing

WEIGHTS = np.array([0.5, 2.0, 0.0, 1.0, 3.0])


def listed_covariance(potentials, values, weights, lengths=LENGTHS):
    """Tokens, pairs, starts and ends by listing every label sequence."""
    n_labels = values.shape[1]
    tokens, pairs = np.zeros(values.shape), np.zeros((n_labels, n_labels))
    starts, ends = np.zeros((2, n_labels))
    bounds = np.cumsum([0, *lengths])
    for listed, weight, low, high in zip(
        enumerate_all(potentials, lengths), weights, bounds, bounds[1:]
    ):
        if low == high:
            continue
        positions = np.arange(low, high)
        sums = np.array([values[positions, list(output)].sum() for output in listed.outputs])
        moments = listed.probs * (sums - listed.probs @ sums)
        for output, moment in zip(listed.outputs, moments):
            tokens[positions, list(output)] += moment
            for pair in pairwise(output):
                pairs[pair] += weight * moment
            starts[output[0]] += weight * moment
            ends[output[-1]] += weight * moment
    return tokens, pairs, starts, ends


def all_close(found, expected, tolerance=1e-9):
    for part, wanted in zip(astuple(found), expected):
        close(part, wanted, tolerance)


@CASES
def test_against_enumeration(xp, seed, n_labels, forbidden):
    rng = np.random.default_rng(seed)
    potentials = make(rng, n_labels=n_labels, forbidden=forbidden)
    values = rng.normal(size=potentials[0].shape, scale=3)
    chain = chain_of(xp, potentials)
    found = chain.covariance(xp.asarray(values), xp.asarray(WEIGHTS))
    all_close(found, listed_covariance(potentials, values, WEIGHTS))
    all_close(chain.covariance(values), listed_covariance(potentials, values, np.ones(5)))


def test_it_is_how_the_marginals_change_along_the_values(rng):
    emissions, *shared = make(rng, forbidden=0.3)
    values = rng.normal(size=emissions.shape)
    above, below = (
        astuple(chain_of(np, (emissions + step * values, *shared)).marginals(WEIGHTS))
        for step in (1e-5, -1e-5)
    )
    found = chain_of(np, (emissions, *shared)).covariance(values, WEIGHTS)
    all_close(found, [(high - low) / 2e-5 for high, low in zip(above, below)], 1e-6)


def test_batches_agree_with_single_sentences(rng):
    lengths = rng.integers(0, 60, size=30)
    potentials = make(rng, lengths, 5, forbidden=0.3)
    values = rng.normal(size=potentials[0].shape)
    chain = chain_of(np, potentials, lengths)
    found = chain.covariance(values)
    pairs, bounds = np.zeros((5, 5)), np.cumsum([0, *lengths])
    for number, (low, high) in enumerate(pairwise(bounds)):
        single = chain.select([number]).covariance(values[low:high])
        close(found.tokens[low:high], single.tokens)
        pairs += single.pairs
    close(found.pairs, pairs)


@pytest.mark.parametrize("lengths", [[], [0], [0, 0], [1], [0, 1, 0]])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_batches_with_nothing_to_pair(rng, lengths, dtype):
    potentials = make(rng, lengths)
    values = rng.normal(size=potentials[0].shape)
    found = chain_of(np, potentials, lengths, dtype).covariance(values)
    assert all(part.dtype == dtype for part in astuple(found))
    assert found.tokens.shape == values.shape and found.pairs.shape == (3, 3)
    assert not found.pairs.any()
    close(found.starts, found.tokens.sum(axis=0))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("huge", [1e6, 1e30, 1e300])
def test_values_of_impossible_labels_do_not_matter(dtype, huge):
    """The labels are barred by their emission, by what is before them or by what is after them."""
    rng = np.random.default_rng(3)
    emissions, transitions, start, end = make(rng, [6], 4)
    emissions[1, 0] = emissions[4, 2] = -np.inf
    transitions[:, 3] = transitions[3, :] = -np.inf  # after the first token and before the last
    potentials = emissions, transitions, start, end
    chain = chain_of(np, potentials, [6], dtype)
    barred = chain.marginals().tokens == 0
    assert barred.sum() > 6
    values = rng.normal(size=emissions.shape)
    expected = listed_covariance(potentials, values, [1.0], [6])
    values[barred] = huge
    all_close(chain.covariance(values), expected, 1e-5 if dtype == "float32" else 1e-9)


@pytest.mark.parametrize("lengths", [[2000], [2000, 3, 1, 400]])
@pytest.mark.parametrize("biluo", [False, True])
@pytest.mark.parametrize("scale, pairs_tolerance", [(1.0, 2e-3), (10.0, 5e-3), (50.0, 1e-4)])
def test_float32_on_long_sentences_and_extreme_values(lengths, biluo, scale, pairs_tolerance):
    """The gradient of the posterior loss, whose values are up to 1e6 where a label is unlikely.

    Rounding errors must not add up along the sentence. Results are up to 6, sums over 2,000 pairs
    up to 500; at a scale of 50, float32 takes the log-space passes.
    """
    rng = np.random.default_rng(3)
    n_labels = 9
    potentials = [
        rng.uniform(-scale, scale, size=shape).astype("float32")
        for shape in ((sum(lengths), n_labels), (n_labels, n_labels), (n_labels,), (n_labels,))
    ]
    if biluo:
        for potential, legal in zip(potentials[1:], legal_moves(biluo_labels(["A", "B"]))):
            potential[~legal] = -np.inf
    single = chain_of(np, potentials, lengths, "float32")
    double = chain_of(np, potentials, lengths, "float64")
    posteriors = rng.dirichlet(np.full(n_labels, 0.3), size=sum(lengths))
    values = (posteriors / np.maximum(double.marginals().tokens, 1e-6)).astype("float32")
    assert values.max() > 1e5 or scale == 1.0
    found, expected = single.covariance(values), double.covariance(values)
    close(found.tokens, expected.tokens, 1e-4)
    close(found.pairs, expected.pairs, pairs_tolerance)
    assert all(part.dtype == np.float32 for part in astuple(found))


def test_long_sentences_agree_with_central_differences():
    """In float64 over 500 tokens that keep their memory: labels rarely change."""
    rng = np.random.default_rng(5)
    emissions, _, start, end = make(rng, [500], 3, scale=0.1)
    transitions = np.where(np.eye(3) > 0, 5.0, 0.0)
    values = rng.normal(size=emissions.shape)
    above, below = (
        astuple(chain_of(np, (emissions + s * values, transitions, start, end), [500]).marginals())
        for s in (1e-5, -1e-5)
    )
    found = chain_of(np, (emissions, transitions, start, end), [500]).covariance(values)
    assert abs(found.tokens).max() > 1
    all_close(found, [(high - low) / 2e-5 for high, low in zip(above, below)], 1e-4)


def test_the_guard_hands_over_what_leaves_the_range_of_float32(xp, rng):
    potentials = underflowing(rng)
    chain = chain_of(xp, potentials, dtype="float32")
    values = rng.normal(size=potentials[0].shape)
    found = chain.covariance(xp.asarray(values), xp.asarray(WEIGHTS))
    assert [part.sentences.tolist() for part in chain._exact] == [[3]]
    all_close(found, listed_covariance(potentials, values, WEIGHTS), 1e-5)
    all_close(chain.covariance(values), listed_covariance(potentials, values, np.ones(5)), 1e-5)


@pytest.mark.parametrize("n_labels, forbidden", [(3, 0.0), (4, 0.4), (1, 0.0)])
def test_log_space_agrees(n_labels, forbidden, monkeypatch):
    rng = np.random.default_rng(7)
    potentials = make(rng, n_labels=n_labels, forbidden=forbidden)
    values = rng.normal(size=potentials[0].shape)
    chain = chain_of(np, potentials)
    monkeypatch.setattr(chain_scaled, "LEAST_SCALE", {"d": np.inf})  # nothing is safe
    all_close(chain.covariance(values, WEIGHTS), listed_covariance(potentials, values, WEIGHTS))
    assert len(chain._exact[0].sentences) == 4


def test_products_beyond_float32_are_taken_in_float64():
    """A label that is nearly lost at first and even in the end: its ratio is about 1e35."""
    emissions = np.zeros((8, 2), dtype="float32")
    emissions[0, 1] = -83.0
    emissions[1:, 0] = -83.0 / 7
    stay = np.array([[0.0, -80.0], [-80.0, 0.0]], dtype="float32")
    potentials = emissions, stay, *np.zeros((2, 2), dtype="float32")
    chain = LinearChain(*potentials, [8])
    values = np.zeros((8, 2))
    values[:, 0] = 1e6
    found = chain.covariance(values)
    assert not chain._exact
    assert float(chain._passes.ratio.max()) * 1e5 > float(np.finfo(np.float32).max)
    expected = listed_covariance(potentials, values / 1e6, [1.0], [8])
    assert abs(expected[1]).max() > 1
    for part, wanted in zip(astuple(found), expected):
        close(part / 1e6, wanted, 1e-4)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(rng, value):
    chain = chain_of(np, make(rng))
    values = np.zeros((sum(LENGTHS), 3))
    values[4, 1] = value
    with pytest.raises(ValueError, match="values must be finite"):
        chain.covariance(values)


def test_arguments_that_do_not_fit(rng):
    chain = chain_of(np, make(rng))
    with pytest.raises(ValueError, match=r"values should have the shape \(13, 3\)"):
        chain.covariance(np.zeros((13, 2)))
    with pytest.raises(ValueError, match="one weight for each of the 5 sentences"):
        chain.covariance(np.zeros((13, 3)), np.ones(3))


def test_results_and_arguments_can_be_changed_in_place(rng):
    chain = chain_of(np, make(rng))
    values = rng.normal(size=(13, 3))
    kept = values.copy()
    before = [part.copy() for part in astuple(chain.covariance(values))]
    for part in astuple(chain.covariance(values)):
        part -= 1.0
    assert (values == kept).all()
    for old, new in zip(before, astuple(chain.covariance(values))):
        assert (old == new).all()
    close(to_host(chain.marginals().tokens).sum(axis=1), np.ones(13))
