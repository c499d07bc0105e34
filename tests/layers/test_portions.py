"""Batches that are predicted in portions, against whole ones."""

import pickle
import sys

import numpy as np
import pytest
import spacy
from thinc.api import Model

from spacy_skd.layers import portions
from spacy_skd.models.hash_embedding import build_hash_embed_cnn
from spacy_skd.models.recurrent_encoder import build_hash_embed_recurrent

MODULE = sys.modules["spacy_skd.layers.portions"]
CNN = {"window_size": 1, "maxout_pieces": 2, "subword_features": True, "pretrained_vectors": False}
ENCODERS = {
    "cnn": lambda: build_hash_embed_cnn(width=8, depth=1, embed_size=50, **CNN),
    "recurrent": lambda: build_hash_embed_recurrent(8, depth=1, embed_size=50),
}


@pytest.fixture
def docs():
    nlp = spacy.blank("en")
    return [nlp.make_doc(" ".join(f"word{n}" for n in range(length))) for length in (3, 0, 4, 9, 2)]


@pytest.fixture(autouse=True)
def five_words(monkeypatch):
    monkeypatch.setattr(MODULE, "MOST_WORDS", 5)


def test_portions_keep_the_order_and_have_few_words(docs):
    found = [[len(doc) for doc in portion] for portion in portions(docs, Model("m", None))]
    assert found == [[3, 0], [4], [9], [2]]
    assert list(portions([], Model("m", None))) == []


@pytest.mark.parametrize("encoder", ENCODERS)
def test_an_encoder_gives_the_same_in_portions(docs, encoder, monkeypatch):
    model = ENCODERS[encoder]()
    model.initialize(X=docs)
    in_portions = model.copy().predict(docs)
    monkeypatch.setattr(MODULE, "MOST_WORDS", 1000)
    for found, expected in zip(in_portions, model.predict(docs), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_an_encoder_can_be_pickled():
    model = ENCODERS["cnn"]()
    assert pickle.loads(pickle.dumps(model._func)).args == model._func.args
