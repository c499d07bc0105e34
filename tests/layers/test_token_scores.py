"""Independent scores as a thinc layer, and labels that belong to a model."""

import numpy as np
import pytest
from spacy.ml.models.tok2vec import build_hash_embed_cnn_tok2vec
from thinc.api import Ragged

from spacy_skd.layers import get_labels, set_labels, token_scores
from spacy_skd.models.linear_chain_crf import build_linear_chain_crf
from spacy_skd.models.maxent import build_maxent

LENGTHS = np.asarray([2, 0, 1], dtype="int32")


@pytest.fixture(params=[build_linear_chain_crf, build_maxent])
def build(request):
    """Builds a new model."""
    encoder = {
        "width": 8,
        "depth": 1,
        "embed_size": 20,
        "window_size": 1,
        "maxout_pieces": 2,
        "subword_features": False,
        "pretrained_vectors": None,
    }
    return lambda: request.param(build_hash_embed_cnn_tok2vec(**encoder))


def test_scores_and_gradients_pass_through():
    layer = token_scores(3)
    scores = np.random.default_rng(0).normal(size=(3, 3)).astype("float32")
    structure, backprop = layer.begin_update(Ragged(scores, LENGTHS))
    assert (structure.scores == scores).all() and structure.labels is None
    gradient = np.random.default_rng(1).normal(size=(3, 3)).astype("float32")
    back = backprop(gradient)
    assert (back.dataXd == gradient).all() and back.lengths.tolist() == LENGTHS.tolist()


def test_labels_are_set_once_and_give_the_size(build):
    model = build()
    assert get_labels(model) == ()
    set_labels(model, ["A", "B"])
    assert get_labels(model) == ("A", "B")
    assert model.get_ref("output_layer").get_dim("nO") == 2
    set_labels(model, ["A", "B"])
    with pytest.raises(ValueError):
        set_labels(model, ["A", "B", "C"])


def test_labels_are_saved_with_the_model(build):
    model = build()
    set_labels(model, ["O", "B-A", "I-A", "L-A", "U-A"], biluo=True)
    loaded = build().from_bytes(model.to_bytes())
    assert get_labels(loaded) == get_labels(model)
    assert loaded.get_ref("structure").attrs["biluo"] is True
    assert loaded.get_ref("output_layer").get_dim("nO") == 5
