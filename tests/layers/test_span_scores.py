"""Biaffine scores of spans as a thinc layer: against the formula, gradients, edges."""

import numpy as np
import pytest
from thinc.api import Adam, Ragged

from spacy_skd.layers.span_scores import span_scores

LENGTHS = np.asarray([3, 0, 1, 5], dtype="int32")
MAX_WIDTH, N_LABELS, HALF = 4, 2, 3
NAMES = ["bilinear", "starts", "ends", "widths", "b"]


def randomized(layer, dtype="float64"):
    """The layer with random parameters; in float64, differences are exact enough."""
    layer.initialize()
    rng = np.random.default_rng(1)
    for name in NAMES:
        layer.set_param(name, rng.normal(size=layer.get_param(name).shape).astype(dtype))
    return layer


@pytest.fixture
def layer():
    return randomized(span_scores(MAX_WIDTH, N_LABELS, 2 * HALF))


@pytest.fixture
def vectors():
    values = np.random.default_rng(2).normal(size=(LENGTHS.sum(), 2 * HALF))
    return Ragged(values, LENGTHS)


@pytest.fixture
def weights():
    """A direction in the space of scores; nothing that may be used where spans stick out."""
    shape = (LENGTHS.sum(), MAX_WIDTH, N_LABELS)
    weights = np.random.default_rng(3).normal(size=shape)
    return np.where(outside(), np.nan, weights)


def inside():
    """The spans of the batch: first token, width, sentence end not passed."""
    for start, n in zip(np.cumsum(LENGTHS) - LENGTHS, LENGTHS):
        for i in range(n):
            for w in range(min(MAX_WIDTH, n - i)):
                yield start + i, w


def outside() -> np.ndarray:
    """Which scores (N, W, R) are of spans that stick out."""
    sticks_out = np.ones((LENGTHS.sum(), MAX_WIDTH, N_LABELS), dtype=bool)
    for i, w in inside():
        sticks_out[i, w] = False
    return sticks_out


def test_scores_follow_the_formula(layer, vectors):
    bilinear, starts, ends, widths, b = (layer.get_param(name) for name in NAMES)
    expected = np.zeros((LENGTHS.sum(), MAX_WIDTH, N_LABELS))
    for i, w in inside():
        start, end = vectors.dataXd[i, :HALF], vectors.dataXd[i + w, HALF:]
        for r in range(N_LABELS):
            matrix = bilinear[:, r * HALF : (r + 1) * HALF]
            expected[i, w, r] = start @ matrix @ end + starts[r] @ start + ends[r] @ end
            expected[i, w, r] += widths[w, r] + b[r]
    found = layer.predict(vectors)
    assert found.lengths is vectors.lengths
    assert found.dataXd == pytest.approx(expected, abs=1e-12)


def test_gradients(layer, vectors, weights):
    """Of the sum of scores times weights; of spans that stick out, neither counts."""
    d_vectors = layer.begin_update(vectors)[1](Ragged(weights, LENGTHS))
    assert d_vectors.lengths is vectors.lengths

    def total():
        return float(np.nansum(layer.predict(vectors).dataXd * weights))

    values = {name: layer.get_param(name) for name in NAMES}
    gradients = {name: layer.get_grad(name) for name in NAMES}
    values["vectors"], gradients["vectors"] = vectors.dataXd, d_vectors.dataXd
    for name, value in values.items():
        expected = differences(total, value)
        assert gradients[name] == pytest.approx(expected, abs=1e-7), name
        assert np.abs(expected).max() > 0.1


def differences(total, array, step=1e-5) -> np.ndarray:
    """Central differences of a number with respect to an array, changed in place."""
    gradient = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        before = array[index]
        array[index] = before + step
        above = total()
        array[index] = before - step
        below = total()
        array[index] = before
        gradient[index] = (above - below) / (2 * step)
    return gradient


def test_gradients_add_up(layer, vectors, weights):
    for times in (1, 2):
        layer.begin_update(vectors)[1](Ragged(weights, LENGTHS))
        found = {name: layer.get_grad(name).copy() for name in NAMES}
        if times == 1:
            once = found
    for name in NAMES:
        assert found[name] == pytest.approx(2 * once[name])


def test_a_sentence_is_scored_alone_as_in_a_batch(layer, vectors, weights):
    scores, backprop = layer.begin_update(vectors)
    gradient = backprop(Ragged(weights, LENGTHS)).dataXd
    for start, n in zip(np.cumsum(LENGTHS) - LENGTHS, LENGTHS):
        rows = slice(start, start + n)
        alone = Ragged(vectors.dataXd[rows], np.asarray([n]))
        scores_alone, backprop_alone = layer.begin_update(alone)
        assert scores_alone.dataXd == pytest.approx(scores.dataXd[rows])
        gradient_alone = backprop_alone(Ragged(weights[rows], np.asarray([n])))
        assert gradient_alone.dataXd == pytest.approx(gradient[rows])


def test_what_sticks_out_scores_zero_and_learns_nothing(layer, vectors):
    scores, backprop = layer.begin_update(vectors)
    assert not scores.dataXd[outside()].any()
    assert not backprop(Ragged(outside().astype("float64"), LENGTHS)).dataXd.any()
    assert not any(layer.get_grad(name).any() for name in NAMES)


@pytest.mark.parametrize("lengths", [[], [0], [0, 0]])
def test_no_tokens(layer, lengths):
    lengths = np.asarray(lengths, dtype="int32")
    scores, backprop = layer.begin_update(Ragged(np.zeros((0, 2 * HALF)), lengths))
    assert scores.dataXd.shape == (0, MAX_WIDTH, N_LABELS)
    assert backprop(scores).dataXd.shape == (0, 2 * HALF)
    assert not any(layer.get_grad(name).any() for name in NAMES)


def test_every_span_can_be_longer_than_any_sentence(vectors):
    wide = randomized(span_scores(9, N_LABELS, 2 * HALF))
    scores = wide.predict(vectors).dataXd
    assert scores.shape == (LENGTHS.sum(), 9, N_LABELS)
    assert not scores[:, 5:].any() and scores[4, 4].all()


def test_single_precision_stays(vectors):
    layer = randomized(span_scores(MAX_WIDTH, N_LABELS, 2 * HALF), "float32")
    single = Ragged(vectors.dataXd.astype("float32"), LENGTHS)
    scores, backprop = layer.begin_update(single)
    assert scores.dataXd.dtype == backprop(scores).dataXd.dtype == "float32"
    assert {layer.get_grad(name).dtype for name in NAMES} == {np.dtype("float32")}


def test_learns_to_score(vectors):
    """From zeros, gradient descent finds scores that a biaffine form with widths can give."""
    single = Ragged(vectors.dataXd.astype("float32"), LENGTHS)
    layer = span_scores(MAX_WIDTH, N_LABELS)
    layer.initialize(X=single)
    assert not layer.predict(single).dataXd.any()
    wanted = randomized(span_scores(MAX_WIDTH, N_LABELS, 2 * HALF), "float32").predict(single)
    optimizer = Adam(0.02, L2=0.0)
    for _ in range(1000):
        scores, backprop = layer.begin_update(single)
        backprop(Ragged(scores.dataXd - wanted.dataXd, LENGTHS))
        layer.finish_update(optimizer)
    assert layer.predict(single).dataXd == pytest.approx(wanted.dataXd, abs=0.1)


def test_vectors_have_two_halves():
    with pytest.raises(ValueError, match=r"a start and an end of the same width.* 5"):
        span_scores(MAX_WIDTH, N_LABELS, 5).initialize()


def test_saved_and_loaded(layer, vectors):
    loaded = span_scores(MAX_WIDTH).from_bytes(layer.to_bytes())
    assert loaded.get_dim("nO") == N_LABELS and loaded.get_dim("nI") == 2 * HALF
    assert (loaded.predict(vectors).dataXd == layer.predict(vectors).dataXd).all()
