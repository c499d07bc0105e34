"""The parsers of arcs: documents in, distributions over trees out, gradients back, learning."""

from functools import partial

import numpy as np
import pytest
from spacy.lang.en import EnglishDefaults
from spacy.ml.models.tok2vec import build_hash_embed_cnn_tok2vec
from spacy.tokens import Doc
from spacy.util import registry
from spacy.vocab import create_vocab
from thinc.api import Adam, Config, Model, Ragged, fix_random_seed, set_dropout_rate

from spacy_skd.layers import get_labels, set_labels
from spacy_skd.models.biaffine_parser import build_biaffine_parser
from spacy_skd.models.label_parser import build_label_parser
from spacy_skd.models.second_order_parser import build_second_order_parser
from spacy_skd.structures import (
    ArcDistribution,
    ArcParts,
    HeadSelection,
    MeanField,
    RelationParts,
    SpanningTree,
)

from ..layers.differences import central_differences
from ..test_package import run

WIDTHS = {"arc_width": 6, "relation_width": 4}
BIAFFINE = partial(build_biaffine_parser, **WIDTHS)
SECOND_ORDER = partial(build_second_order_parser, **WIDTHS, factor_width=3, rank=4)
KINDS = {
    "heads": (BIAFFINE, HeadSelection),
    "tree": (partial(BIAFFINE, structure="tree"), SpanningTree),
    "projective": (partial(BIAFFINE, structure="tree", projective=True), SpanningTree),
    "second order": (SECOND_ORDER, MeanField),
    "siblings": (partial(SECOND_ORDER, grandparents=False), MeanField),
    "grandparents": (partial(SECOND_ORDER, siblings=False), MeanField),
}
LABELS = ["nsubj", "obj", "ROOT"]


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def build(kind):
    return KINDS[kind][0]


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


@pytest.fixture(scope="module")
def vocab():
    return create_vocab("en", EnglishDefaults)


@pytest.fixture
def docs(vocab):
    """Documents of two sentences, of none, of one token, and one without boundaries."""
    return [
        Doc(
            vocab,
            words=["Ada", "sees", "ships", ".", "They", "sail"],
            sent_starts=[1, 0, 0, 0, 1, 0],
        ),
        Doc(vocab),
        Doc(vocab, words=["Bob"]),
        Doc(vocab, words=["old", "ships", "sail", "on"]),
    ]


LENGTHS = [4, 2, 1, 4]


def randomize(model: Model, dtype: str = "float32", scale: float = 0.5) -> None:
    """Give all layers of a model above its encoder random parameters: some begin as zeros."""
    rng = np.random.default_rng(4)
    of_encoder = {node.id for node in model.get_ref("tok2vec").walk()}
    for node in model.walk():
        if node.id not in of_encoder:
            for name in node.param_names:
                shape = node.get_param(name).shape
                node.set_param(name, rng.normal(scale=scale, size=shape).astype(dtype))


@pytest.fixture
def model(build):
    fix_random_seed(0)
    model = build(encoder())
    set_labels(model, LABELS)
    model.initialize()
    randomize(model)
    return model


def some_arcs(lengths):
    """Tokens of a batch and head numbers: the root for some, the next token, or the one before."""
    tokens = np.arange(sum(lengths))
    position = tokens - np.repeat(np.cumsum(lengths) - lengths, lengths)
    size = np.repeat(lengths, lengths)
    heads = np.where(position % 3 == 0, 0, position)
    return np.append(tokens, tokens), np.append(
        heads, np.where(position + 1 < size, position + 2, 0)
    )


def log_prob_of_relations(structure: ArcDistribution) -> float:
    """That some arcs have the first relation."""
    log_probs = structure.relation_log_probs(*some_arcs(LENGTHS))[:, 0]
    return float(log_probs.astype("float64").sum())


def gradient_of_relations(structure: ArcDistribution) -> RelationParts:
    """Of the same, with the other sign."""
    tokens, heads = some_arcs(LENGTHS)
    probabilities = np.exp(structure.relation_log_probs(tokens, heads))
    probabilities[:, 0] -= 1
    return RelationParts(tokens, heads, probabilities)


def test_documents_become_distributions(model, kind, docs):
    structure = model.predict(docs)
    assert type(structure) is KINDS[kind][1]
    assert structure.lengths.tolist() == LENGTHS
    assert structure.labels == tuple(LABELS) and structure.n_labels == 3
    assert structure.scores.any() and structure.scores.dtype == "float32"
    assert [len(heads) for heads in structure.argmax()] == LENGTHS
    assert structure.relation_log_probs(*some_arcs(LENGTHS)).shape == (22, 3)


def test_a_document_is_read_alone_as_in_a_batch(model, docs):
    together = model.predict(docs).log_partition()
    alone = [model.predict([doc]).log_partition() for doc in docs]
    assert together == pytest.approx(np.concatenate(alone), rel=1e-4)


def test_no_tokens(model, docs):
    for batch in ([docs[1]], [docs[1], docs[1]]):
        structure = model.predict(batch)
        assert structure.lengths.tolist() == [] and structure.labels == tuple(LABELS)
    # What the component asks the layer for: sentences without tokens, vectors of any width.
    nothing = Ragged(model.ops.alloc2f(0, 3), model.ops.alloc1i(2))
    structure, backprop = model.get_ref("structure").begin_update(nothing)
    assert structure.argmax()[1].tolist() == [] and len(structure.lengths) == 2
    assert len(backprop(ArcParts(structure.flat_marginals())).dataXd) == 0


def test_gradients_of_the_structure(model):
    """Of a loss over heads and relations, in float64: all parameters, and the vectors."""
    randomize(model, "float64")
    layer = model.get_ref("structure")
    n_columns = sum(scorer.get_dim("nI") for scorer in layer.layers)
    rng = np.random.default_rng(2)
    vectors = Ragged(rng.normal(size=(sum(LENGTHS), n_columns)), np.asarray(LENGTHS))
    possible = layer.predict(vectors).scores > -np.inf
    target = rng.random(possible.shape) * possible

    def loss():
        structure = layer.predict(vectors)
        linear = (target[possible] * structure.scores[possible]).sum()
        return structure.log_partition().sum() - linear - log_prob_of_relations(structure)

    structure, backprop = layer.begin_update(vectors)
    d_arcs = structure.flat_marginals() - target
    gradient = backprop(ArcParts(d_arcs, gradient_of_relations(structure)))
    checked = {"vectors": (vectors.dataXd, gradient.dataXd)}
    for number, scorer in enumerate(layer.layers):
        for name in scorer.param_names:
            place = f"{number} {scorer.name} {name}"
            checked[place] = scorer.get_param(name), scorer.get_grad(name)
    assert len(checked) >= 9
    for place, (values, found) in checked.items():
        expected = central_differences(loss, values, step=1e-5)
        assert found == pytest.approx(expected, abs=1e-6), place
        assert np.abs(expected).max() > 1e-3, place


def test_gradients_reach_the_embeddings(model, docs):
    """Along the gradient, the loss changes by the gradient's squared length."""
    structure, backprop = model.begin_update(docs)
    backprop(ArcParts(structure.flat_marginals(), gradient_of_relations(structure)))
    parameters = [
        (node, name) for node in model.walk() for name in node.param_names if node.has_grad(name)
    ]
    assert {"hashembed", "arc_scores", "arc_relations"} <= {node.name for node, _ in parameters}
    gradients = [node.get_grad(name).copy() for node, name in parameters]
    values = [node.get_param(name).copy() for node, name in parameters]
    squared = sum(float((gradient.astype("float64") ** 2).sum()) for gradient in gradients)

    def total(step: float) -> float:
        for (node, name), value, gradient in zip(parameters, values, gradients):
            node.set_param(name, value + np.float32(step) * gradient)
        structure = model.predict(docs)
        log_z = float(structure.log_partition().astype("float64").sum())
        return log_z - log_prob_of_relations(structure)

    step = 0.02 / squared
    assert total(step) - total(-step) == pytest.approx(2 * step * squared, rel=0.05)


def test_references(model):
    assert {"tok2vec", "output_layer", "structure"} <= set(model.ref_names)
    assert model.get_ref("output_layer").get_dim("nO") == 3
    assert get_labels(model) == tuple(LABELS)
    structure = model.get_ref("structure")
    assert structure.get_dim("nO") == 3
    assert structure.attrs["sentences"] == "set" and structure.attrs["max_length"] == 200


def test_initialized_from_documents(build, docs):
    """An encoder whose width is not known before."""
    unknown = encoder()
    listener = Model("listener", lambda model, X, is_train: unknown(X, is_train), dims={"nO": None})
    unknown.initialize()
    model = build(listener)
    set_labels(model, LABELS)
    model.initialize(X=docs)
    assert model.predict(docs).lengths.tolist() == LENGTHS


def test_saved_and_loaded(model, build, docs):
    loaded = build(encoder()).from_bytes(model.to_bytes())
    assert get_labels(loaded) == tuple(LABELS)
    found, expected = loaded.predict(docs), model.predict(docs)
    assert (found.scores == expected.scores).all()
    arcs = some_arcs(LENGTHS)
    assert (found.relation_log_probs(*arcs) == expected.relation_log_probs(*arcs)).all()


def test_dropout(model, docs):
    def difference():
        found = model.begin_update(docs)[0].scores
        real = np.isfinite(found)
        return abs(found[real] - model.predict(docs).scores[real]).max()

    set_dropout_rate(model.get_ref("structure"), 0.5)
    assert difference() < 1e-3
    set_dropout_rate(model, 0.5)
    assert difference() > 0.1
    set_dropout_rate(model, 0.0)
    assert difference() < 1e-3


def test_learns(build, docs):
    """From the first parameters, a few documents by heart, heads and relations."""
    fix_random_seed(0)
    model = build(encoder())
    set_labels(model, LABELS)
    model.initialize(X=docs)
    gold = np.asarray([2, 0, 2, 2, 2, 0, 0, 2, 3, 0, 3])
    tokens, relations = np.arange(len(gold)), np.where(gold == 0, 2, np.arange(len(gold)) % 2)
    optimizer = Adam(0.01)
    for _ in range(60):
        structure, backprop = model.begin_update(docs)
        d_relations = np.exp(structure.relation_log_probs(tokens, gold))
        d_relations[tokens, relations] -= 1
        parts = RelationParts(tokens, gold, d_relations)
        backprop(ArcParts(structure.flat_marginals() - structure.flat_parts_of(gold), parts))
        model.finish_update(optimizer)
    structure = model.predict(docs)
    assert np.concatenate(structure.argmax()).tolist() == gold.tolist()
    found = structure.relation_log_probs(tokens, gold)
    assert found.argmax(axis=1).tolist() == relations.tolist()
    assert structure.log_prob(gold).sum() > -1


def test_factors_begin_as_zeros(docs):
    model = SECOND_ORDER(encoder())
    set_labels(model, LABELS)
    model.initialize(X=docs)
    field = model.predict(docs)
    np.testing.assert_array_equal(field.scores, field.first_order.scores)


def test_sentences_that_are_to_be_found(docs):
    model = BIAFFINE(encoder(), sentences="roots", max_length=5)
    set_labels(model, LABELS)
    model.initialize(X=docs)
    assert model.predict(docs).lengths.tolist() == [4, 2, 1, 4]  # six tokens are cut after the end
    assert model.get_ref("structure").attrs["sentences"] == "roots"


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"structure": "graph"}, "'heads' or 'tree', not 'graph'"),
        ({"projective": True}, "Only trees are projective"),
        ({"structure": "tree", "sentences": "roots"}, "Trees have one root"),
        ({"sentences": "all"}, "'set' or 'roots', not 'all'"),
        ({"max_length": 0}, "max_length is 0"),
        ({"arc_width": 0}, "arc_width should be at least 1, but it is 0"),
        ({"relation_width": -3}, "relation_width should be at least 1, but it is -3"),
    ],
)
def test_settings_that_there_are_not(settings, message):
    with pytest.raises(ValueError, match=message):
        BIAFFINE(encoder(), **settings)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"factor_width": 0}, "factor_width should be at least 1"),
        ({"rank": 0}, "rank should be at least 1"),
        ({"iterations": -1}, "iterations should be at least 0, but it is -1"),
        ({"arc_width": 0}, "arc_width should be at least 1"),
    ],
)
def test_settings_of_the_second_order_that_there_are_not(settings, message):
    with pytest.raises(ValueError, match=message):
        SECOND_ORDER(encoder(), **settings)


@pytest.mark.parametrize("width", [0, -8])
def test_label_parsers_without_a_hidden_layer(width):
    with pytest.raises(ValueError, match="hidden_width should be at least 1"):
        build_label_parser(encoder(), hidden_width=width)


def test_a_second_order_without_factors():
    with pytest.raises(ValueError, match="needs siblings, grandparents or both"):
        SECOND_ORDER(encoder(), siblings=False, grandparents=False)


@pytest.mark.parametrize("name", ["spacy-skd.BiaffineParser.v1", "spacy-skd.SecondOrderParser.v1"])
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


def test_predicted_without_torch(tmp_path, model, kind):
    model.to_disk(tmp_path / "model")
    code = """
        from spacy.tokens import Doc
        from spacy.vocab import Vocab

        from spacy_skd.structures import HeadSelection
        from tests.models.test_parsers import KINDS, encoder

        build, expected = KINDS[sys.argv[2]]
        structure = build(encoder()).from_disk(sys.argv[1]).predict([Doc(Vocab(), words=["Ada"])])
        assert isinstance(structure, expected)
        assert not {"torch", "transformers", "spacy_transformers"} & set(sys.modules)
        print("predicted")
        """
    done = run(code, str(tmp_path / "model"), kind)
    assert done.stdout.strip() == "predicted", done.stderr


@pytest.mark.parametrize("name", ["heads", "second order"])
def test_weights_from_before_there_were_distances(name, docs):
    """They are read as those of a parser without distances, and learn."""
    fix_random_seed(0)
    before, now = (
        KINDS[name][0](encoder(), nO=3, **options) for options in ({"distances": False}, {})
    )
    before.initialize()
    now.from_bytes(before.to_bytes())
    for found, wanted in zip(now.predict(docs).argmax(), before.predict(docs).argmax()):
        assert found.tolist() == wanted.tolist()
    structure, backprop = now.begin_update(docs)
    relations = RelationParts(np.arange(2), np.zeros(2, dtype="int64"), np.ones((2, 3)))
    backprop(ArcParts(np.ones_like(structure.scores), relations))
    now.finish_update(Adam(0.01))
