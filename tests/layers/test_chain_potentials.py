"""The chain's potentials as a thinc layer: gradients against central differences, serialisation."""

import numpy as np
import pytest
from thinc.api import Adam, Ragged

from spacy_skd.layers import chain_potentials
from spacy_skd.structures import ChainMarginals, biluo_labels, legal_moves

LABELS = biluo_labels(["PER", "LOC"])
LENGTHS = np.asarray([3, 0, 1, 4], dtype="int32")
NAMES = ["transitions", "start", "end"]


@pytest.fixture(params=[True, False], ids=["biluo", "free"])
def layer(request):
    """A layer with random potentials, for entities and for any labels."""
    layer = chain_potentials(len(LABELS))
    layer.attrs["labels"] = LABELS
    layer.attrs["biluo"] = request.param
    layer.initialize()
    rng = np.random.default_rng(5)
    for name in NAMES:
        layer.set_param(name, rng.normal(size=layer.get_param(name).shape).astype("float32"))
    return layer


@pytest.fixture
def emissions():
    scores = np.random.default_rng(6).normal(size=(LENGTHS.sum(), len(LABELS)))
    return Ragged(scores.astype("float32"), LENGTHS)


def total(layer, emissions) -> float:
    return float(layer.predict(emissions).log_partition().astype("float64").sum())


def backpropagate(layer, emissions) -> Ragged:
    """The gradient of the sum of log Z, whose parts are the marginals."""
    chain, backprop = layer.begin_update(emissions)
    return backprop(chain.marginals())


def test_without_training_the_potentials_are_zero():
    layer = chain_potentials(3)
    layer.initialize()
    chain = layer.predict(Ragged(np.zeros((2, 3), dtype="float32"), np.asarray([2])))
    assert chain.log_partition() == pytest.approx(np.log(9))
    assert chain.labels is None


def test_gradients_of_parameters(layer, emissions):
    backpropagate(layer, emissions)
    for name in NAMES:
        found, value = layer.get_grad(name), layer.get_param(name)
        assert found == pytest.approx(differences(layer, emissions, value), abs=2e-3)
        assert np.abs(found).max() > 0.05


def test_gradients_of_emissions(layer, emissions):
    found = backpropagate(layer, emissions)
    assert found.lengths is emissions.lengths
    assert found.dataXd == pytest.approx(differences(layer, emissions, emissions.dataXd), abs=2e-3)


def differences(layer, emissions, array, step=1e-2) -> np.ndarray:
    """Central differences of the sum of log Z with respect to an array, changed in place."""
    gradient = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        before = array[index]
        array[index] = before + step
        above = total(layer, emissions)
        array[index] = before - step
        below = total(layer, emissions)
        array[index] = before
        gradient[index] = (above - below) / (2 * step)
    return gradient


def test_gradients_add_up(layer, emissions):
    backpropagate(layer, emissions)
    once = {name: layer.get_grad(name).copy() for name in NAMES}
    backpropagate(layer, emissions)
    for name in NAMES:
        assert layer.get_grad(name) == pytest.approx(2 * once[name])


@pytest.mark.parametrize("layer", [True], indirect=True)
def test_illegal_moves_stay_illegal(layer, emissions):
    """Whatever gradient comes in, an illegal move keeps its parameter and its potential of −∞."""
    illegal = dict(zip(NAMES, (~mask for mask in legal_moves(LABELS))))
    before = {name: layer.get_param(name).copy() for name in NAMES}
    optimizer = Adam(0.1, L2=0.0)
    for _ in range(3):
        chain, backprop = layer.begin_update(emissions)
        parts = chain.marginals()
        backprop(
            ChainMarginals(
                parts.tokens, *(np.ones_like(p) for p in (parts.pairs, parts.starts, parts.ends))
            )
        )
        for name in NAMES:
            assert (layer.get_grad(name)[illegal[name]] == 0).all()
        layer.finish_update(optimizer)
    chain = layer.predict(emissions)
    for name in NAMES:
        potential = getattr(chain, name)
        assert np.isneginf(potential[illegal[name]]).all()
        assert np.isfinite(potential[~illegal[name]]).all()
        assert (layer.get_param(name)[illegal[name]] == before[name][illegal[name]]).all()
        assert (layer.get_param(name)[~illegal[name]] != before[name][~illegal[name]]).all()


def test_saved_and_loaded(layer, emissions):
    loaded = chain_potentials().from_bytes(layer.to_bytes())
    assert loaded.attrs["labels"] == LABELS
    assert loaded.attrs["biluo"] is layer.attrs["biluo"]
    assert loaded.get_dim("nO") == len(LABELS)
    assert total(loaded, emissions) == total(layer, emissions)
    assert loaded.predict(emissions).labels == tuple(LABELS)


def test_the_distributions_of_two_layers_are_their_own(layer, emissions):
    """Legal moves are cached by labels; the cache is not shared between other labels."""
    other = chain_potentials(len(LABELS))
    other.attrs["labels"] = biluo_labels(["LOC", "PER"])
    other.attrs["biluo"] = True
    other.initialize()
    assert other.predict(emissions).labels == tuple(biluo_labels(["LOC", "PER"]))
    assert layer.predict(emissions).labels == tuple(LABELS)
