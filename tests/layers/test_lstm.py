"""The LSTM: its formula and its gradients."""

import numpy as np
import pytest

from spacy_skd.layers import two_way_lstm
from spacy_skd.layers.lstm import read, read_gradients
from spacy_skd.layers.two_way import TwoWay
from spacy_skd.structures.base import to_host

from .differences import central_differences

LENGTHS = np.asarray([3, 0, 1, 6, 4])
N_IN, WIDTH = 4, 3


@pytest.fixture
def arrays(rng, xp):
    """Vectors, weights from inputs and from states, and bias, in float64."""
    shapes = [(LENGTHS.sum(), N_IN), (2, 4 * WIDTH, N_IN), (2, 4 * WIDTH, WIDTH), (2, 4 * WIDTH)]
    return [xp.asarray(rng.normal(size=shape)) for shape in shapes]


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def read_one(vectors, W, U, b):
    """One sequence in one direction, token by token."""
    cell, output, outputs = np.zeros(WIDTH), np.zeros(WIDTH), []
    for vector in vectors:
        o, i, f, g = (W @ vector + U @ output + b).reshape(4, WIDTH)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
        output = sigmoid(o) * np.tanh(cell)
        outputs.append(output)
    return np.reshape(outputs, (len(vectors), WIDTH))


def test_formula(arrays, xp):
    found = to_host(read(*arrays, TwoWay(LENGTHS, xp))[0])
    vectors, *parameters = map(to_host, arrays)
    start = 0
    for length in LENGTHS:
        tokens = slice(start, start + length)
        forwards = read_one(vectors[tokens], *(p[0] for p in parameters))
        backwards = read_one(vectors[tokens][::-1], *(p[1] for p in parameters))[::-1]
        expected = np.hstack([forwards, backwards])
        np.testing.assert_allclose(found[tokens], expected, atol=1e-12)
        start += length


def test_gradients(arrays, xp, rng):
    layout = TwoWay(LENGTHS, xp)
    outputs, memory = read(*arrays, layout)
    d_outputs = xp.asarray(rng.normal(size=outputs.shape))
    d_vectors, gradients = read_gradients(d_outputs, arrays[1], arrays[2], memory, layout)
    for array, found in zip(arrays, [d_vectors, gradients["W"], gradients["U"], gradients["b"]]):
        expected = central_differences(lambda: (read(*arrays, layout)[0] * d_outputs).sum(), array)
        assert to_host(found) == pytest.approx(expected, abs=1e-7)
        assert np.abs(expected).max() > 0.1


def test_initial_weights():
    layer = two_way_lstm(2 * 5, 3)
    layer.initialize()
    for U, b in zip(layer.get_param("U"), layer.get_param("b").reshape(2, 4, 5)):
        for from_state in U.reshape(4, 5, 5):
            np.testing.assert_allclose(from_state @ from_state.T, np.eye(5), atol=1e-5)
        assert (np.diff(b[2]) > 0).all()
        assert (b[1] == -b[2]).all() and not b[0].any() and not b[3].any()
