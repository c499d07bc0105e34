"""New labels of a trained model: what it said before it says still, whatever its weights are."""

import numpy as np
import pytest
from thinc.api import Linear, Model, Ragged, chain, with_array

from spacy_skd.layers import (
    chain_potentials,
    get_labels,
    label_trees,
    set_labels,
    span_scores,
    span_structure,
    token_scores,
)
from spacy_skd.layers.widening import LEAD, widen_labels
from spacy_skd.structures import biluo_labels

TAGS = ["DET", "NOUN", "VERB"]
LENGTHS = [3, 0, 1, 5]
WIDTH = 6


def random_model(kind: str, labels: list[str], *, scale: float = 3.0) -> Model:
    """A model with random weights, of vectors."""
    if kind == "spans":
        output_layer, structure = span_scores(2, None, WIDTH), span_structure(2)
        model = chain(output_layer, structure)
    else:
        output_layer = Linear(None, WIDTH)
        structure = chain_potentials() if kind == "crf" else token_scores()
        model = chain(with_array(output_layer), structure)
    model.set_ref("output_layer", output_layer)
    model.set_ref("structure", structure)
    set_labels(model, labels, biluo=kind != "spans" and labels[0] == "O")
    model.initialize()
    rng = np.random.default_rng(0)
    for layer in (output_layer, structure):
        for name in layer.param_names:
            shape = layer.get_param(name).shape
            layer.set_param(name, rng.normal(scale=scale, size=shape).astype("float32"))
    return model


def vectors() -> Ragged:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(sum(LENGTHS), WIDTH)).astype("float32")
    return Ragged(X, np.asarray(LENGTHS, dtype="int32"))


CASES = [
    ("crf", TAGS, [*TAGS, "ADJ", "X"]),
    ("maxent", TAGS, [*TAGS, "ADJ", "X"]),
    ("crf", biluo_labels(["LOC", "PER"]), biluo_labels(["LOC", "PER", "ORG"])),
    ("maxent", biluo_labels(["LOC", "PER"]), biluo_labels(["LOC", "PER", "ORG"])),
    ("spans", ["LOC", "PER"], ["LOC", "PER", "ORG"]),
]


@pytest.mark.parametrize("kind, old, new", CASES)
def test_old_labels_keep_their_probabilities(kind, old, new):
    model = random_model(kind, old)
    before = model.predict(vectors())
    widen_labels(model, new)
    after = model.predict(vectors())
    assert get_labels(model) == tuple(new) == tuple(after.labels)
    n_new = len(new) - len(old)
    marginals = [
        structure.marginals().tokens if kind == "crf" else structure.marginals()
        for structure in (before, after)
    ]
    bound = 2 * n_new * sum(LENGTHS) * np.exp(-LEAD)
    assert np.abs(marginals[1][..., : len(old)] - marginals[0]).max() < bound
    assert 0 < marginals[1][..., len(old) :].max() < bound
    best, wide = before.argmax(), after.argmax()
    assert [list(output) for output in wide] == [list(output) for output in best]


@pytest.mark.parametrize("kind, old, new", CASES)
def test_no_probable_text_makes_a_new_label_the_best(kind, old, new):
    """Also where all old labels score low, or high."""
    for shift in (-50.0, 50.0):
        model = random_model(kind, old)
        layer = model.get_ref("output_layer")
        layer.set_param("b", layer.get_param("b") + np.float32(shift if kind != "spans" else 0))
        before = [list(output) for output in model.predict(vectors()).argmax()]
        widen_labels(model, new)
        assert [list(output) for output in model.predict(vectors()).argmax()] == before


@pytest.mark.parametrize("kind, old, new", CASES)
def test_saved_and_trained_on(kind, old, new):
    model = random_model(kind, old)
    structure, backprop = model.begin_update(vectors())
    backprop(structure.marginals())  # gradients of the old shapes, never applied
    widen_labels(model, new)
    other = random_model(kind, new)
    other.from_bytes(model.to_bytes())
    structure, backprop = other.begin_update(vectors())
    d_vectors = backprop(structure.marginals())
    assert d_vectors.data.shape == (sum(LENGTHS), WIDTH)
    model.begin_update(vectors())[1](structure.marginals())
    for layer in (model.get_ref("output_layer"), model.get_ref("structure")):
        assert layer.get_dim("nO") == len(new)
        for name in layer.param_names:
            assert layer.get_grad(name).shape == layer.get_param(name).shape


def test_labels_that_do_not_go_on_from_the_old_ones():
    model = random_model("maxent", TAGS)
    with pytest.raises(ValueError, match="have to begin with those of the model: DET, NOUN, VERB"):
        widen_labels(model, ["NOUN", "DET", "VERB", "X"])


def test_layers_that_cannot():
    scores = Linear(None, WIDTH)
    model = label_trees(with_array(scores), "position", None)
    model.set_ref("output_layer", scores)
    model.set_ref("structure", model)
    set_labels(model, ["0|root", "-1|det"])
    with pytest.raises(ValueError, match="'linear' and 'label_trees' cannot be given more labels"):
        widen_labels(model, ["0|root", "-1|det", "+1|det"])
