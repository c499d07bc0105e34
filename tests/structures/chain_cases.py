"""Random chains, and all of their outputs."""

import numpy as np
import pytest

from spacy_skd.structures import LinearChain
from spacy_skd.structures.base import to_host

from .brute_force import chain_scores

LENGTHS = [3, 0, 1, 5, 4]


def make(rng, lengths=LENGTHS, n_labels=3, forbidden=0.0, scale=1.5):
    """Random potentials of a chain; `forbidden` is the share of moves at -inf, never a way out."""
    emissions = rng.normal(size=(sum(lengths), n_labels), scale=scale)
    transitions = rng.normal(size=(n_labels, n_labels), scale=scale)
    start, end = rng.normal(size=(2, n_labels), scale=scale)
    for potentials in (emissions, transitions, start, end):
        potentials[rng.random(potentials.shape) < forbidden] = -np.inf
    if forbidden:
        emissions[:, 0] = transitions[0, 0] = start[0] = end[0] = 0.5
    return emissions, transitions, start, end


def chain_of(xp, potentials, lengths=LENGTHS, dtype="float64", labels=None):
    return LinearChain(*(xp.asarray(p, dtype=dtype) for p in potentials), lengths, labels)


def enumerate_all(potentials, lengths=LENGTHS):
    emissions, *shared = potentials
    parts = np.split(emissions, np.cumsum(lengths)[:-1])
    return [chain_scores(part, *shared) for part in parts]


def close(found, expected, tolerance=1e-9):
    np.testing.assert_allclose(to_host(found), expected, rtol=0, atol=tolerance)


CASES = pytest.mark.parametrize(
    "seed, n_labels, forbidden",
    [(0, 3, 0.0), (1, 1, 0.0), (2, 4, 0.3), (3, 4, 0.6), (4, 2, 0.4), (5, 3, 0.8), (6, 4, 0.0)],
)


def underflowing(rng, lengths=LENGTHS, sentence=3):
    """The best way through one sentence is by states that scaled float32 loses.

    After label 0, which its first token prefers by e^120, only label 0 may follow, which its other
    tokens put at e^-300; label 1 leads to label 1 alone.
    """
    emissions, _, start, end = make(rng, lengths, 2)
    transitions = np.array([[0.0, -np.inf], [-np.inf, 0.0]])
    low = sum(lengths[:sentence])
    high = low + lengths[sentence]
    emissions[low:high] = [0.0, 0.0]
    emissions[low] = [0.0, -120.0]
    emissions[low + 1 : high] = [-60.0, 0.0]
    return emissions, transitions, start, end
