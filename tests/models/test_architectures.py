"""The architectures: documents in, distributions out, gradients back to the encoder."""

from functools import partial

import numpy as np
import pytest
import spacy
from spacy.ml.models.tok2vec import build_hash_embed_cnn_tok2vec
from spacy.tokens import Doc
from spacy.util import registry
from thinc.api import Config

from spacy_skd.layers import get_labels, set_labels
from spacy_skd.models.linear_chain_crf import build_linear_chain_crf
from spacy_skd.models.maxent import build_maxent
from spacy_skd.models.span_biaffine import build_span_biaffine
from spacy_skd.structures import FlatSpans, LinearChain, LocalSpans, Token

from ..test_package import run

SPANS = partial(build_span_biaffine, max_width=3, hidden_width=6)
KINDS = {
    "chain": (build_linear_chain_crf, LinearChain),
    "maxent": (build_maxent, Token),
    "spans": (SPANS, FlatSpans),
    "local spans": (partial(SPANS, loss="local"), LocalSpans),
}
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
def kind(request):
    return request.param


@pytest.fixture
def build(kind):
    return KINDS[kind][0]


@pytest.fixture
def model(build):
    """An initialised model whose scores are not zero: span models begin there."""
    model = build(encoder())
    set_labels(model, LABELS)
    model.initialize()
    rng = np.random.default_rng(4)
    output_layer = model.get_ref("output_layer")
    for name in output_layer.param_names:
        shape = output_layer.get_param(name).shape
        output_layer.set_param(name, rng.normal(scale=0.5, size=shape).astype("float32"))
    return model


@pytest.fixture(scope="module")
def docs():
    nlp = spacy.blank("en")
    return [nlp("Ada sees ships"), Doc(nlp.vocab), nlp("Bob"), nlp("old ships sail on")]


def test_documents_become_distributions(model, kind, docs):
    structure = model.predict(docs)
    assert isinstance(structure, KINDS[kind][1])
    assert structure.lengths.tolist() == [3, 0, 1, 4]
    assert structure.labels == tuple(LABELS)
    assert structure.n_labels == 3
    shape = (8, 3, 3) if "spans" in kind else (8, 3)
    scores = structure.emissions if kind == "chain" else structure.scores
    assert scores.shape == shape and scores.any()
    assert len(structure.argmax()) == 4


def test_a_document_is_read_alone_as_in_a_batch(model, docs):
    together = model.predict(docs).log_partition()
    alone = [float(model.predict([doc]).log_partition()[0]) for doc in docs if len(doc)]
    assert together[[0, 2, 3]] == pytest.approx(alone, rel=1e-5)
    assert together[1] == 0


def test_gradients_reach_every_parameter(model, kind, docs):
    """Along the gradient, log Z changes by the gradient's squared length."""
    structure, backprop = model.begin_update(docs)
    backprop(structure.marginals())
    parameters = [
        (node, name) for node in model.walk() for name in node.param_names if node.has_grad(name)
    ]
    gradients = [node.get_grad(name).copy() for node, name in parameters]
    values = [node.get_param(name).copy() for node, name in parameters]
    output_layer = model.get_ref("output_layer")
    found = {(node.id, name) for node, name in parameters}
    assert {(output_layer.id, name) for name in output_layer.param_names} <= found
    assert "hashembed" in {node.name for node, _ in parameters}
    assert all(gradient.any() for gradient in gradients)
    squared = sum(float((gradient.astype("float64") ** 2).sum()) for gradient in gradients)

    def total(step: float) -> float:
        for (node, name), value, gradient in zip(parameters, values, gradients):
            node.set_param(name, value + np.float32(step) * gradient)
        return float(model.predict(docs).log_partition().astype("float64").sum())

    step = 0.02 / squared
    assert total(step) - total(-step) == pytest.approx(2 * step * squared, rel=0.05)


def test_references(model, kind):
    assert {"tok2vec", "output_layer", "structure"} <= set(model.ref_names)
    assert model.get_ref("output_layer").get_dim("nI") == (12 if "spans" in kind else 16)
    assert get_labels(model) == tuple(LABELS)


def test_saved_and_loaded(model, build, docs):
    loaded = build(encoder()).from_bytes(model.to_bytes())
    assert get_labels(loaded) == tuple(LABELS)
    assert loaded.get_ref("output_layer").get_dim("nO") == 3
    expected = model.predict(docs).log_partition()
    assert (loaded.predict(docs).log_partition() == expected).all()


def test_spans_are_predicted_without_torch(tmp_path, docs):
    model = SPANS(encoder())
    set_labels(model, LABELS)
    model.initialize()
    model.to_disk(tmp_path / "model")
    code = """
        from spacy.tokens import Doc
        from spacy.vocab import Vocab

        from spacy_skd.structures import FlatSpans
        from tests.models.test_architectures import SPANS, encoder

        model = SPANS(encoder()).from_disk(sys.argv[1])
        assert isinstance(model.predict([Doc(Vocab(), words=["Ada"])]), FlatSpans)
        assert not {"torch", "transformers", "spacy_transformers"} & set(sys.modules)
        print("predicted")
        """
    done = run(code, str(tmp_path / "model"))
    assert done.stdout.strip() == "predicted", done.stderr


def test_a_width_that_was_not_trained():
    """Widths are parameters: weights do not fit into a model with another number of them."""
    model = build_span_biaffine(encoder(), max_width=3)
    set_labels(model, LABELS)
    with pytest.raises(ValueError, match="nW"):
        build_span_biaffine(encoder(), max_width=4).from_bytes(model.to_bytes())


@pytest.mark.parametrize(
    "name", ["spacy-skd.LinearChainCRF.v1", "spacy-skd.MaxEnt.v1", "spacy-skd.SpanBiaffine.v1"]
)
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
