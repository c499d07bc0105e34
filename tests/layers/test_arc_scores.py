"""Biaffine scores of arcs as a thinc layer: against the formula, gradients, edges."""

import numpy as np
import pytest
from thinc.api import Adam, Ragged

from spacy_skd.layers import arc_scores
from spacy_skd.layers.distances import ROOT
from spacy_skd.structures import ArcLayout

from .differences import central_differences
from .test_distances import bucket

LENGTHS = np.asarray([3, 0, 1, 5, 4], dtype="int64")
LAYOUT = ArcLayout(LENGTHS)
HALF = 3
NAMES = ["W", "b", "root", "distances", "distance_bias"]


def randomized(layer, dtype="float64"):
    """The layer with random parameters; in float64, differences are exact enough."""
    layer.initialize()
    rng = np.random.default_rng(1)
    for name in NAMES:
        layer.set_param(name, rng.normal(size=layer.get_param(name).shape).astype(dtype))
    return layer


@pytest.fixture
def layer():
    return randomized(arc_scores(2 * HALF))


@pytest.fixture
def vectors():
    return Ragged(np.random.default_rng(2).normal(size=(LENGTHS.sum(), 2 * HALF)), LENGTHS)


@pytest.fixture
def weights():
    """A direction in the space of scores; nothing that may be used where there are no arcs."""
    weights = np.random.default_rng(3).normal(size=LAYOUT.n_cells)
    weights[LAYOUT.self_cells] = np.nan
    return weights


def test_scores_follow_the_formula(layer, vectors):
    W, b, root, distances, bias = (layer.get_param(name) for name in NAMES)
    scores = LAYOUT.blocks(layer.predict(vectors))
    for block, of_sentence in zip(scores, np.split(vectors.dataXd, np.cumsum(LENGTHS)[:-1])):
        heads = [root, *of_sentence[:, :HALF]]
        for d, dependent in enumerate(of_sentence[:, HALF:]):
            for h, head in enumerate(heads):
                if h != d + 1:
                    expected = head @ W.T @ dependent / HALF**0.5 + b @ head
                    place = bucket(h - 1 - d) if h else ROOT
                    expected += distances[place] @ dependent / HALF**0.5 + bias[place]
                    assert block[d, h] == pytest.approx(expected)


def test_without_distances(layer, vectors):
    plain = arc_scores(2 * HALF, distances=False)
    plain.initialize()
    for name in NAMES[:3]:
        plain.set_param(name, layer.get_param(name))
    assert set(plain.param_names) == set(NAMES[:3])
    for name in NAMES[3:]:
        layer.set_param(name, np.zeros_like(layer.get_param(name)))
    real = np.delete(np.arange(LAYOUT.n_cells), LAYOUT.self_cells)
    np.testing.assert_allclose(plain.predict(vectors)[real], layer.predict(vectors)[real])


def test_gradients(layer, vectors, weights):
    """Of the sum of scores times weights; those of no arcs do not count."""
    d_vectors = layer.begin_update(vectors)[1](weights)
    assert d_vectors.lengths is vectors.lengths
    values = {name: layer.get_param(name) for name in NAMES}
    gradients = {name: layer.get_grad(name) for name in NAMES}
    values["vectors"], gradients["vectors"] = vectors.dataXd, d_vectors.dataXd
    for name, value in values.items():
        expected = central_differences(
            lambda: np.nansum(layer.predict(vectors) * weights), value, step=1e-5
        )
        assert gradients[name] == pytest.approx(expected, abs=1e-7), name
        assert np.abs(expected).max() > 0.1


def test_gradients_add_up(layer, vectors, weights):
    for _ in range(2):
        layer.begin_update(vectors)[1](weights)
    twice = {name: layer.get_grad(name).copy() for name in NAMES}
    for name in NAMES:
        layer.set_grad(name, np.zeros_like(twice[name]))
    layer.begin_update(vectors)[1](weights)
    for name in NAMES:
        assert twice[name] == pytest.approx(2 * layer.get_grad(name))


def test_a_sentence_is_scored_alone_as_in_a_batch(layer, vectors, weights):
    scores, backprop = layer.begin_update(vectors)
    gradient = backprop(weights).dataXd
    tokens, cells = LAYOUT.token_offsets, LAYOUT.arc_offsets
    for sentence, n in enumerate(LENGTHS):
        rows, block = (slice(*offsets[sentence : sentence + 2]) for offsets in (tokens, cells))
        alone = Ragged(vectors.dataXd[rows], np.asarray([n]))
        scores_alone, backprop_alone = layer.begin_update(alone)
        assert scores_alone == pytest.approx(scores[block])
        assert backprop_alone(weights[block]).dataXd == pytest.approx(gradient[rows])


@pytest.mark.parametrize("lengths", [[], [0], [0, 0]])
def test_no_tokens(layer, lengths):
    lengths = np.asarray(lengths, dtype="int32")
    scores, backprop = layer.begin_update(Ragged(np.zeros((0, 2 * HALF)), lengths))
    assert scores.shape == (0,)
    assert backprop(scores).dataXd.shape == (0, 2 * HALF)
    assert not any(layer.get_grad(name).any() for name in NAMES)


def test_single_precision_stays(vectors):
    layer = randomized(arc_scores(2 * HALF), "float32")
    scores, backprop = layer.begin_update(Ragged(vectors.dataXd.astype("float32"), LENGTHS))
    assert scores.dtype == backprop(scores).dataXd.dtype == "float32"
    assert {layer.get_grad(name).dtype for name in NAMES} == {np.dtype("float32")}


def test_learns_to_score(vectors):
    """From zeros, gradient descent finds scores that a biaffine form can give."""
    single = Ragged(vectors.dataXd.astype("float32"), LENGTHS)
    layer = arc_scores()
    layer.initialize(X=single)
    assert not layer.predict(single).any()
    wanted = randomized(arc_scores(2 * HALF), "float32").predict(single)
    real = np.ones(LAYOUT.n_cells, dtype=bool)
    real[LAYOUT.self_cells] = False
    optimizer = Adam(0.02, L2=0.0)
    for _ in range(1500):
        scores, backprop = layer.begin_update(single)
        backprop(scores - wanted)
        layer.finish_update(optimizer)
    assert layer.predict(single)[real] == pytest.approx(wanted[real], abs=0.1)


def test_vectors_have_two_halves():
    with pytest.raises(ValueError, match=r"a head and a dependent of the same width.* 5"):
        arc_scores(5).initialize()


def test_saved_and_loaded(layer, vectors):
    loaded = arc_scores().from_bytes(layer.to_bytes())
    assert loaded.get_dim("nI") == 2 * HALF
    assert (loaded.predict(vectors) == layer.predict(vectors)).all()
