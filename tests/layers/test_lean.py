"""Layers that keep nothing of a batch while they predict, against thinc's."""

import tracemalloc

import numpy as np
import pytest
import spacy
from thinc.api import (
    LayerNorm,
    Maxout,
    Model,
    Relu,
    chain,
    expand_window,
    fix_random_seed,
    use_ops,
    with_array,
    with_ragged,
)

from spacy_skd.layers import lean

N_TOKENS, WIDTH, DEPTH = 2000, 64, 8
ARRAY = N_TOKENS * WIDTH * 4


def layers() -> Model:
    fix_random_seed(0)  # rounding turns the gradient of a unit that is almost 0
    nested = [chain(Relu(WIDTH, WIDTH), LayerNorm(WIDTH)) for _ in range(DEPTH)]
    model = chain(*nested)
    model.initialize()
    return model


@pytest.fixture
def inputs(rng):
    return rng.normal(size=(N_TOKENS, WIDTH)).astype("float32")


def same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * abs(expected).max())


def peak_of_prediction(model, inputs) -> int:
    model.predict(inputs)
    tracemalloc.start()
    model.predict(inputs)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_results_are_the_same_and_memory_is_not(inputs):
    kept = layers()
    forgetful = lean(kept.copy())
    same(forgetful.predict(inputs), kept.predict(inputs))
    assert peak_of_prediction(kept, inputs) > 2 * DEPTH * ARRAY
    assert peak_of_prediction(forgetful, inputs) < 5 * ARRAY
    assert peak_of_prediction(forgetful.copy(), inputs) < 5 * ARRAY


@pytest.mark.parametrize("is_train", [True, False])
def test_gradients_are_the_same(rng, inputs, is_train):
    kept = layers()
    forgetful = lean(kept.copy())
    d_outputs = rng.normal(size=inputs.shape).astype("float32")
    gradients = []
    for model in (kept, forgetful):
        _, backprop = model(inputs, is_train)
        gradients.append(backprop(d_outputs))
    same(*gradients)
    for ours, theirs in zip(forgetful.walk(), kept.walk()):
        for name in theirs.grad_names:
            same(ours.get_grad(name), theirs.get_grad(name))


@pytest.mark.parametrize("lengths", [[7], [1], [3, 4], [0, 5]])
def test_documents_alone_and_together(rng, lengths):
    fix_random_seed(0)
    convolution = with_array(chain(expand_window(1), Relu(WIDTH, 3 * WIDTH)), pad=2)
    kept = chain(convolution, with_ragged(with_array(Relu(WIDTH, WIDTH))))
    kept.initialize()
    forgetful = lean(kept.copy())
    docs = [rng.normal(size=(length, WIDTH)).astype("float32") for length in lengths]
    vectors, gradients = [], []
    for model in (kept, forgetful):
        found, backprop = model(docs, False)
        vectors.append(found)
        gradients.append(backprop([np.ones_like(doc) for doc in docs]))
    for found, expected in (vectors, gradients):
        assert list(map(len, found)) == lengths
        for ours, theirs in zip(found, expected):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
@pytest.mark.parametrize("n_tokens", [0, 1, 300])
def test_layer_norm(rng, n_tokens, scale):
    kept = LayerNorm(WIDTH)
    kept.initialize()
    kept.set_param("G", rng.normal(size=WIDTH).astype("float32"))
    kept.set_param("b", rng.normal(size=WIDTH).astype("float32"))
    inputs = (scale * rng.normal(1, size=(n_tokens, WIDTH))).astype("float32")
    found = lean(kept.copy()).predict(inputs)
    assert found.dtype == inputs.dtype
    np.testing.assert_allclose(found, kept.predict(inputs), atol=1e-5)


@pytest.mark.parametrize("use_blis", [True, False])
@pytest.mark.parametrize("n_pieces", [1, 3])
@pytest.mark.parametrize("n_out, n_in", [(7, 64), (96, 288), (128, 384), (300, 900)])
@pytest.mark.parametrize("n_tokens", [0, 1, 9, 10, 72, 73, 127, 300])
def test_maxout(rng, n_tokens, n_out, n_in, n_pieces, use_blis):
    with use_ops("numpy", use_blis=use_blis):
        kept = Maxout(n_out, n_in, nP=n_pieces)
    kept.initialize()
    kept.set_param("b", rng.normal(size=(n_out, n_pieces)).astype("float32"))
    inputs = rng.normal(size=(n_tokens, n_in)).astype("float32")
    model = lean(kept.copy())
    model.ops = kept.ops  # which a copy does not take over
    found, backprop = model(inputs, False)
    expected, expected_backprop = kept(inputs, False)
    assert found.dtype == inputs.dtype
    np.testing.assert_allclose(found, expected, atol=1e-4)
    if n_tokens:  # of nothing thinc has no gradient
        # Not of the layer's own results: the largest of two that are all but equal may change.
        d_outputs = np.where(abs(expected) > 0.1, 1, 0).astype("float32")
        found, expected = backprop(d_outputs), expected_backprop(d_outputs)
        assert (abs(found - expected) > 1e-4).mean() < 1e-3


@pytest.mark.parametrize("factory", ["skd_ner", "skd_tagger", "skd_parser"])
def test_components_predict_lean(factory):
    """All chains of a component's model, spaCy's encoder in it, too."""
    nlp = spacy.blank("en")
    stock = {"@architectures": "spacy.HashEmbedCNN.v2", "width": 8, "depth": 1, "embed_size": 20}
    stock |= {"window_size": 1, "maxout_pieces": 2, "subword_features": True}
    stock |= {"pretrained_vectors": None}
    default = nlp.add_pipe(factory).model
    config = nlp.get_pipe_config(factory)["model"] | {"tok2vec": stock}
    for model in (default, nlp.add_pipe(factory, "stock", config={"model": config}).model):
        names = {layer._func.__module__ for layer in model.walk()}
        assert "spacy_skd.layers.lean" in names and "thinc.layers.chain" not in names
