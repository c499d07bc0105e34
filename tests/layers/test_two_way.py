"""What the recurrent layers share: sequences do not know of each other; sizes, files, gradients."""

import numpy as np
import pytest
from thinc.api import Ragged

from spacy_skd.layers import light_recurrence, two_way_lstm
from spacy_skd.layers.two_way import TwoWay
from spacy_skd.structures.base import to_host

LENGTHS = [3, 0, 1, 7, 5, 200]


@pytest.fixture(params=[light_recurrence, two_way_lstm], ids=["light", "lstm"])
def build(request):
    return request.param


@pytest.fixture
def layer(build):
    layer = build(6, 4)
    layer.initialize()
    return layer


def ragged(rng, lengths):
    vectors = rng.normal(size=(sum(lengths), 4)).astype("float32")
    return Ragged(vectors, np.asarray(lengths, dtype="int32"))


def test_a_sequence_is_read_alone_as_in_a_batch(layer, rng):
    X = ragged(rng, LENGTHS)
    together, backprop = layer.begin_update(X)
    d_together = backprop(together).dataXd
    start = 0
    for length in LENGTHS:
        tokens = slice(start, start + length)
        alone, backprop = layer.begin_update(Ragged(X.dataXd[tokens], np.asarray([length])))
        np.testing.assert_allclose(together.dataXd[tokens], alone.dataXd, atol=1e-6)
        np.testing.assert_allclose(d_together[tokens], backprop(alone).dataXd, atol=1e-5)
        start += length


def test_both_ends_of_a_sequence_are_read(layer, rng):
    X = ragged(rng, [9])
    before = layer.predict(X).dataXd.copy()
    X.dataXd[4] += 1
    changed = layer.predict(X).dataXd != before
    assert changed[4:, :3].all() and not changed[:4, :3].any()
    assert changed[:5, 3:].all() and not changed[5:, 3:].any()


@pytest.mark.parametrize("lengths", [[], [0], [0, 0]])
def test_nothing_to_read(layer, rng, lengths):
    Y, backprop = layer.begin_update(ragged(rng, lengths))
    assert Y.dataXd.shape == (0, 6)
    assert backprop(Y).dataXd.shape == (0, 4)
    assert not layer.get_grad("W").any()


def test_gradients_add_up(layer, rng):
    Y, backprop = layer.begin_update(ragged(rng, LENGTHS))
    backprop(Y)
    once = {name: layer.get_grad(name).copy() for name in layer.param_names}
    backprop(Y)
    for name, gradient in once.items():
        assert gradient.any()
        assert layer.get_grad(name) == pytest.approx(2 * gradient, rel=1e-5)


def test_saved_and_loaded(layer, build, rng):
    X = ragged(rng, LENGTHS)
    loaded = build().from_bytes(layer.to_bytes())
    assert loaded.get_dim("nO") == 6 and loaded.get_dim("nI") == 4
    assert (loaded.predict(X).dataXd == layer.predict(X).dataXd).all()


def test_the_width_of_the_input_is_inferred(build, rng):
    layer = build(6)
    layer.initialize(X=ragged(rng, LENGTHS))
    assert layer.get_dim("nI") == 4


def test_an_odd_width(build):
    with pytest.raises(ValueError, match="even, not 7"):
        build(7, 4)


@pytest.mark.parametrize("block", [None, 1, 4, 300])
def test_packed_and_unpacked(rng, xp, block):
    """Whatever the layout, a token comes back, and gradients are added over both directions."""
    layout = TwoWay(LENGTHS, xp, block)
    vectors = xp.asarray(rng.normal(size=(sum(LENGTHS), 6)))
    assert (to_host(layout.unpack(layout.pack(vectors))) == to_host(vectors)).all()
    assert (to_host(layout.scatter(layout.gather(vectors))) == 2 * to_host(vectors)).all()
    forwards, backwards = to_host(layout.gather(vectors))
    assert (backwards == forwards[to_host(layout.reverse)]).all()
