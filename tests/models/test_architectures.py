"""The architectures: documents in, distributions out, gradients back to the encoder."""

import numpy as np
import pytest
import spacy
from spacy.ml.models.tok2vec import build_hash_embed_cnn_tok2vec
from spacy.tokens import Doc
from spacy.util import registry
from thinc.api import Config

from spacy_skd.layers import set_labels
from spacy_skd.models.linear_chain_crf import build_linear_chain_crf
from spacy_skd.models.maxent import build_maxent
from spacy_skd.structures import LinearChain, Token

KINDS = {build_linear_chain_crf: LinearChain, build_maxent: Token}
LABELS = ["A", "B", "C"]


def encoder():
    return build_hash_embed_cnn_tok2vec(
        width=16,
        depth=1,
        embed_size=50,
        window_size=1,
        maxout_pieces=2,
        subword_features=True,
        pretrained_vectors=None,
    )


@pytest.fixture(params=KINDS)
def build(request):
    return request.param


@pytest.fixture
def model(build):
    model = build(encoder())
    set_labels(model, LABELS)
    model.initialize()
    return model


@pytest.fixture(scope="module")
def docs():
    nlp = spacy.blank("en")
    return [nlp("Ada sees ships"), Doc(nlp.vocab), nlp("Bob"), nlp("old ships sail on")]


def test_documents_become_distributions(model, build, docs):
    structure = model.predict(docs)
    assert isinstance(structure, KINDS[build])
    assert structure.lengths.tolist() == [3, 0, 1, 4]
    assert structure.labels == tuple(LABELS)
    assert [len(output) for output in structure.argmax()] == [3, 0, 1, 4]


def test_a_document_is_read_alone_as_in_a_batch(model, docs):
    together = model.predict(docs).log_partition()
    alone = [float(model.predict([doc]).log_partition()[0]) for doc in docs if len(doc)]
    assert together[[0, 2, 3]] == pytest.approx(alone, rel=1e-5)
    assert together[1] == 0


def test_gradients_reach_every_parameter(model, docs):
    """Along the gradient, log Z changes by the gradient's squared length."""
    structure, backprop = model.begin_update(docs)
    backprop(structure.marginals())
    parameters = [
        (node, name) for node in model.walk() for name in node.param_names if node.has_grad(name)
    ]
    gradients = [node.get_grad(name).copy() for node, name in parameters]
    values = [node.get_param(name).copy() for node, name in parameters]
    names = {f"{node.name} {name}" for node, name in parameters}
    assert {"hashembed E", "linear W", "linear b"} <= names
    squared = sum(float((gradient.astype("float64") ** 2).sum()) for gradient in gradients)

    def total(step: float) -> float:
        for (node, name), value, gradient in zip(parameters, values, gradients):
            node.set_param(name, value + np.float32(step) * gradient)
        return float(model.predict(docs).log_partition().astype("float64").sum())

    step = 0.02 / squared
    assert total(step) - total(-step) == pytest.approx(2 * step * squared, rel=0.05)


def test_references(model):
    assert {"tok2vec", "output_layer", "structure"} <= set(model.ref_names)
    assert model.get_ref("output_layer").get_dim("nI") == 16


@pytest.mark.parametrize("name", ["spacy-skd.LinearChainCRF.v1", "spacy-skd.MaxEnt.v1"])
def test_registered(name):
    config = f"""
    [model]
    @architectures = "{name}"
    nO = 4

    [model.tok2vec]
    @architectures = "spacy.HashEmbedCNN.v2"
    pretrained_vectors = null
    width = 8
    depth = 1
    embed_size = 20
    window_size = 1
    maxout_pieces = 2
    subword_features = false
    """
    model = registry.resolve(Config().from_str(config))["model"]
    assert model.get_ref("output_layer").get_dim("nO") == 4
