"""The light recurrence: its formula, its gradients, blocks of long sequences."""

import numpy as np
import pytest
from thinc.api import Ragged, fix_random_seed

from spacy_skd.layers import light_recurrence
from spacy_skd.layers.light_recurrence import read, read_gradients, scan, scan_gradient
from spacy_skd.layers.two_way import BLOCK, FEW_SEQUENCES, TwoWay
from spacy_skd.structures.base import to_host

from .differences import central_differences

LENGTHS = np.asarray([3, 0, 1, 7, 5])
N_IN, WIDTH = 4, 3


@pytest.fixture(params=[None, 1, 2, 3, 100], ids=lambda block: f"block {block}")
def block(request):
    return request.param


@pytest.fixture
def arrays(rng, xp):
    """Vectors, weights and bias in float64."""
    shapes = [(LENGTHS.sum(), N_IN), (3, 2 * WIDTH, N_IN), (3, 2 * WIDTH)]
    return [xp.asarray(rng.normal(size=shape)) for shape in shapes]


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def read_one(vectors, weights, bias):
    """One sequence in one direction, token by token."""
    state = np.zeros(WIDTH)
    outputs = []
    for vector in vectors:
        forget, candidate, gate = weights @ vector + bias
        keep = sigmoid(forget)
        state = keep * state + (1 - keep) * candidate
        outputs.append(sigmoid(gate) * state)
    return np.reshape(outputs, (len(vectors), WIDTH))


def test_formula(arrays, xp, block):
    found = to_host(read(*arrays, TwoWay(LENGTHS, xp, block))[0])
    vectors, weights, bias = map(to_host, arrays)
    start = 0
    for length in LENGTHS:
        tokens = slice(start, start + length)
        forwards = read_one(vectors[tokens], weights[:, :WIDTH], bias[:, :WIDTH])
        backwards = read_one(vectors[tokens][::-1], weights[:, WIDTH:], bias[:, WIDTH:])[::-1]
        expected = np.hstack([forwards, backwards])
        np.testing.assert_allclose(found[tokens], expected, atol=1e-12)
        start += length


@pytest.mark.parametrize("length", [0, 1, 7])
def test_a_sequence_alone_is_read_as_in_a_batch(rng, block, length):
    """To the last bit, forwards and backwards."""
    lengths = np.asarray([length, 0])
    shape = (2, length, WIDTH)
    forget, states, d_states = rng.random((3, *shape))
    alone, batch = (TwoWay(one, np, block) for one in (lengths[:1], lengths))
    found, expected = states.copy(), states.copy()
    scan(forget, found, alone)
    scan(forget, expected, batch)
    assert (found == expected).all()
    gradients = (scan_gradient(forget, d_states, layout) for layout in (alone, batch))
    assert np.array_equal(*gradients)


def test_gradients(arrays, xp, rng, block):
    layout = TwoWay(LENGTHS, xp, block)
    outputs, memory = read(*arrays, layout)
    d_outputs = xp.asarray(rng.normal(size=outputs.shape))
    d_vectors, gradients = read_gradients(d_outputs, arrays[1], memory, layout)
    for array, found in zip(arrays, [d_vectors, gradients["W"], gradients["b"]]):
        expected = central_differences(lambda: (read(*arrays, layout)[0] * d_outputs).sum(), array)
        assert to_host(found) == pytest.approx(expected, abs=1e-7)
        assert np.abs(expected).max() > 0.1


def test_the_gradient_of_a_scan_is_its_transpose(rng, xp, block):
    """⟨scan(u), d⟩ = ⟨u, scan_gradient(d)⟩, because the scan is linear."""
    layout = TwoWay(LENGTHS, xp, block)
    shape = (2, LENGTHS.sum(), WIDTH)
    forget = xp.asarray(rng.uniform(size=shape))
    inputs, d_states = xp.asarray(rng.normal(size=(2, *shape)))
    states = inputs.copy()
    scan(forget, states, layout)
    transposed = inputs * scan_gradient(forget, d_states, layout)
    assert float((states * d_states).sum()) == pytest.approx(float(transposed.sum()))


@pytest.mark.parametrize("forget", [0.0, 0.05, 0.999, 1.0])
def test_blocks_are_exact_in_float32(rng, forget):
    """Also where products of gates vanish, and where nothing is forgotten."""
    lengths = np.asarray([1000, 3, 257])
    shape = (2, lengths.sum(), WIDTH)
    inputs = rng.normal(size=shape).astype("float32")
    states = []
    for layout in (TwoWay(lengths), TwoWay(lengths, block=BLOCK)):
        gates = np.full(shape, forget, dtype="float32")
        in_order = inputs.take(layout.tokens[0], axis=1)
        scan(gates, in_order, layout)
        states.append(in_order.take(layout.rows[0], axis=1))
    np.testing.assert_allclose(states[1], states[0], rtol=1e-4, atol=1e-4)


def test_a_long_document_takes_few_steps():
    layout = TwoWay.blocked(np.asarray([10_000, 30]))
    assert layout.blocks is not None
    assert len(layout.packing.alive) == BLOCK
    assert len(layout.blocks.alive) == -(-10_000 // BLOCK)


@pytest.mark.parametrize("lengths", [[], [0], [30] * 50, [2 * BLOCK], [300] * FEW_SEQUENCES])
def test_other_documents_are_read_as_a_whole(lengths):
    assert TwoWay.blocked(np.asarray(lengths, dtype="int32")).blocks is None


def test_extreme_scores_are_no_trouble():
    """Gates that are closed or open, without a warning and without a value that is no number."""
    layer = light_recurrence(4, 2)
    layer.initialize()
    X = Ragged(np.asarray([[1e6, -1e6]] * 3, dtype="float32"), np.asarray([3]))
    with np.errstate(all="raise", under="ignore"):
        Y, backprop = layer.begin_update(X)
        dX = backprop(Y)
    assert np.isfinite(Y.dataXd).all() and np.isfinite(dX.dataXd).all()


def test_units_begin_with_memories_of_different_lengths():
    fix_random_seed(0)
    layer = light_recurrence(2 * 8, 4)
    layer.initialize()
    forget = sigmoid(layer.get_param("b")[0])
    assert forget[:8] == pytest.approx(forget[8:])
    assert (np.diff(forget[:8]) > 0).all()
    assert forget[0] == pytest.approx(1 / 2) and forget[7] == pytest.approx(16 / 17)
