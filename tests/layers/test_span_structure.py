"""Scores of spans as a structure in a thinc layer."""

import numpy as np
import pytest
from thinc.api import Ragged

from spacy_skd.layers import span_structure
from spacy_skd.structures import FlatSpans, LocalSpans

LENGTHS = np.asarray([2, 0, 1], dtype="int32")


@pytest.mark.parametrize("loss, kind", [("exact", FlatSpans), ("local", LocalSpans)])
def test_scores_and_gradients_pass_through(loss, kind):
    layer = span_structure(2, 4, loss)
    scores = np.random.default_rng(0).normal(size=(3, 2, 4)).astype("float32")
    structure, backprop = layer.begin_update(Ragged(scores, LENGTHS))
    assert isinstance(structure, kind) and structure.labels is None
    assert (structure.scores == scores).all() and structure.lengths.tolist() == LENGTHS.tolist()
    gradient = structure.marginals()
    back = backprop(gradient)
    assert (back.dataXd == gradient).all() and back.lengths is LENGTHS


@pytest.mark.parametrize("shape", [(0, 2, 4), (0, 4)])
def test_a_batch_without_tokens(shape):
    nothing = Ragged(np.zeros(shape, dtype="float32"), np.zeros(2, dtype="int32"))
    structure = span_structure(2, 4).predict(nothing)
    assert structure.scores.shape == (0, 2, 4)
    assert structure.argmax() == [frozenset(), frozenset()]


def test_saved_and_loaded():
    layer = span_structure(2, 1, "local")
    layer.attrs["labels"] = ["PER"]
    loaded = span_structure(2).from_bytes(layer.to_bytes())
    assert loaded.attrs["loss"] == "local" and loaded.get_dim("nO") == 1
    found = loaded.predict(Ragged(np.zeros((3, 2, 1), dtype="float32"), LENGTHS))
    assert isinstance(found, LocalSpans) and found.labels == ("PER",)


def test_another_loss():
    with pytest.raises(ValueError, match="one of exact, local, not hinge"):
        span_structure(2, 1, "hinge")
