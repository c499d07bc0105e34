"""Biaffine scores of relations: at any arcs in any order, against the formula, with gradients."""

import sys

import numpy as np
import pytest
from thinc.api import Adam, Ragged

from spacy_skd.layers.arc_relations import BiaffineRelations, arc_relations
from spacy_skd.layers.distances import ROOT
from spacy_skd.structures import ArcLayout, RelationParts, Relations

from .differences import central_differences
from .test_distances import bucket

LENGTHS = np.asarray([3, 0, 1, 5], dtype="int64")
LAYOUT = ArcLayout(LENGTHS)
HALF, N_LABELS = 3, 4
NAMES = ["bilinear", "heads", "dependents", "b", "root", "distances"]
# Not in order, one of them twice, many of one token, and the root among the heads.
TOKENS = np.asarray([7, 0, 8, 8, 8, 3, 2, 0, 7, 8])
HEADS = np.asarray([5, 2, 0, 1, 4, 0, 1, 2, 0, 2])


def randomized(layer, dtype="float64"):
    layer.initialize()
    rng = np.random.default_rng(1)
    for name in NAMES:
        layer.set_param(name, rng.normal(size=layer.get_param(name).shape).astype(dtype))
    return layer


@pytest.fixture
def layer():
    return randomized(arc_relations(N_LABELS, 2 * HALF))


@pytest.fixture
def vectors():
    return Ragged(np.random.default_rng(2).normal(size=(LENGTHS.sum(), 2 * HALF)), LENGTHS)


@pytest.fixture(params=["one chunk", "small chunks"])
def chunks(request, monkeypatch):
    """Arcs all at once, and three at a time, which separates those of one token."""
    if request.param == "small chunks":
        # The package has the function under the module's name.
        module = sys.modules[arc_relations.__module__]
        for name in ("CHUNK_ITEMS", "CHUNK_ITEMS_ON_GPU"):
            monkeypatch.setattr(module, name, 3 * N_LABELS * HALF)


def expected_scores(layer, vectors, tokens, heads):
    values = [layer.get_param(name) for name in NAMES]
    bilinear, of_heads, of_dependents, b, root, distances = values
    rows = []
    for token, head in zip(tokens, heads):
        first = token - LAYOUT.positions[token]
        u = vectors[first + head - 1, :HALF] if head else root
        v = vectors[token, HALF:]
        row = [v @ bilinear[:, r * HALF : (r + 1) * HALF] @ u for r in range(N_LABELS)]
        row = np.asarray(row) / HALF**0.5
        place = bucket(head - 1 - LAYOUT.positions[token]) if head else ROOT
        rows.append(row + of_heads @ u + of_dependents @ v + b + distances[place])
    return np.asarray(rows)


@pytest.mark.usefixtures("chunks")
def test_scores_follow_the_formula(layer, vectors):
    relations = layer.predict(vectors)
    assert isinstance(relations, BiaffineRelations) and isinstance(relations, Relations)
    assert relations.n_labels == N_LABELS
    found = relations.scores_at(TOKENS, HEADS)
    assert found == pytest.approx(expected_scores(layer, vectors.dataXd, TOKENS, HEADS))
    every_token = np.arange(len(vectors.dataXd))
    found = relations.scores_at(every_token, every_token * 0)
    expected = expected_scores(layer, vectors.dataXd, every_token, every_token * 0)
    assert found == pytest.approx(expected)


@pytest.mark.usefixtures("chunks")
def test_gradients(layer, vectors):
    """Of the sum of scores times weights; an arc that occurs twice counts twice."""
    weights = np.random.default_rng(3).normal(size=(len(TOKENS), N_LABELS))
    _, backprop = layer.begin_update(vectors)
    d_vectors = backprop(RelationParts(TOKENS, HEADS, weights))
    assert d_vectors.lengths is vectors.lengths
    values = {name: layer.get_param(name) for name in NAMES}
    gradients = {name: layer.get_grad(name) for name in NAMES}
    values["vectors"], gradients["vectors"] = vectors.dataXd, d_vectors.dataXd

    def total():
        return (layer.predict(vectors).scores_at(TOKENS, HEADS) * weights).sum()

    for name, value in values.items():
        expected = central_differences(total, value, step=1e-5)
        assert gradients[name] == pytest.approx(expected, abs=1e-7), name
        assert np.abs(expected).max() > 0.1


def test_no_gradient(layer, vectors):
    _, backprop = layer.begin_update(vectors)
    assert not backprop(None).dataXd.any()
    none = np.zeros(0, dtype=np.int64)
    assert not backprop(RelationParts(none, none, np.zeros((0, N_LABELS)))).dataXd.any()
    assert not any(layer.has_grad(name) and layer.get_grad(name).any() for name in NAMES)


def test_select(layer, vectors):
    relations = layer.predict(vectors)
    some = relations.select([3, 1, 0, 3])
    lengths = LENGTHS[[3, 1, 0, 3]]
    assert some.layout.lengths.tolist() == lengths.tolist()
    for tokens, shift in ((slice(0, 5), 4), (slice(5, 8), -5), (slice(8, 13), -4)):
        numbers = np.arange(13)[tokens]
        for head in (0, 1, 3):
            heads = np.full(len(numbers), head)
            expected = relations.scores_at(numbers + shift, heads)
            assert some.scores_at(numbers, heads) == pytest.approx(expected)
    nothing = relations.select([])
    none = np.zeros(0, dtype=np.int64)
    assert nothing.scores_at(none, none).shape == (0, N_LABELS)


@pytest.mark.parametrize("lengths", [[], [0], [0, 0]])
def test_no_tokens(layer, lengths):
    lengths = np.asarray(lengths, dtype="int32")
    relations, backprop = layer.begin_update(Ragged(np.zeros((0, 2 * HALF)), lengths))
    assert relations.n_labels == N_LABELS
    assert relations.scores_at([], []).shape == (0, N_LABELS)
    assert backprop(None).dataXd.shape == (0, 2 * HALF)


def test_single_precision(vectors):
    layer = randomized(arc_relations(N_LABELS, 2 * HALF))
    double = layer.predict(vectors).scores_at(TOKENS, HEADS)
    layer = randomized(layer, "float32")
    single = Ragged(vectors.dataXd.astype("float32"), LENGTHS)
    relations, backprop = layer.begin_update(single)
    scores = relations.scores_at(TOKENS, HEADS)
    assert scores.dtype == "float32" and scores == pytest.approx(double, abs=1e-4)
    d_vectors = backprop(RelationParts(TOKENS, HEADS, scores.astype("float64"))).dataXd
    assert d_vectors.dtype == "float32"
    assert {layer.get_grad(name).dtype for name in NAMES} == {np.dtype("float32")}


def test_learns_to_score(vectors):
    single = Ragged(vectors.dataXd.astype("float32"), LENGTHS)
    layer = arc_relations(N_LABELS)
    layer.initialize(X=single)
    assert not layer.predict(single).scores_at(TOKENS, HEADS).any()
    wanted = randomized(arc_relations(N_LABELS, 2 * HALF), "float32").predict(single)
    wanted = wanted.scores_at(TOKENS, HEADS)
    optimizer = Adam(0.02, L2=0.0)
    for _ in range(500):
        relations, backprop = layer.begin_update(single)
        scores = relations.scores_at(TOKENS, HEADS)
        backprop(RelationParts(TOKENS, HEADS, scores - wanted))
        layer.finish_update(optimizer)
    assert layer.predict(single).scores_at(TOKENS, HEADS) == pytest.approx(wanted, abs=0.1)


def test_without_distances(layer, vectors):
    plain = arc_relations(N_LABELS, 2 * HALF, distances=False)
    plain.initialize()
    for name in NAMES[:-1]:
        plain.set_param(name, layer.get_param(name))
    layer.set_param("distances", np.zeros_like(layer.get_param("distances")))
    found, wanted = (each.begin_update(vectors) for each in (plain, layer))
    scores = found[0].scores_at(TOKENS, HEADS)
    np.testing.assert_allclose(scores, wanted[0].scores_at(TOKENS, HEADS))
    d_vectors = [back(RelationParts(TOKENS, HEADS, scores)).dataXd for _, back in (found, wanted)]
    np.testing.assert_allclose(*d_vectors)


def test_saved_and_loaded(layer, vectors):
    loaded = arc_relations().from_bytes(layer.to_bytes())
    assert loaded.get_dim("nO") == N_LABELS and loaded.get_dim("nI") == 2 * HALF
    found, expected = (each.predict(vectors).scores_at(TOKENS, HEADS) for each in (loaded, layer))
    assert (found == expected).all()
