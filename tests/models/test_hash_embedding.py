"""Embeddings whose mixing layer is multiplied into their tables predict what spaCy's predict."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module

import numpy as np
import pytest
import spacy
from spacy.attrs import NORM, SHAPE
from spacy.ml.models.tok2vec import MultiHashEmbed, build_hash_embed_cnn_tok2vec
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import registry
from thinc.api import Adam, Config, fix_random_seed

from spacy_skd.layers.folded_embedding import FOLDED
from spacy_skd.models.hash_embedding import build_hash_embed_cnn, build_multi_hash_embed

ATTRIBUTES = {"NORM": 50, "SUFFIX": 20, "SHAPE": 7}
TEXTS = ["Ada sees old ships", "", "Bob", "the old ships sail on and on again"]
CNN = {
    "width": 12,
    "depth": 2,
    "embed_size": 60,
    "window_size": 1,
    "maxout_pieces": 2,
    "subword_features": True,
    "pretrained_vectors": False,
}


@pytest.fixture(scope="module")
def docs():
    nlp = spacy.blank("en")
    return [nlp.make_doc(text) for text in TEXTS]


def pair(attributes=ATTRIBUTES):
    """Ours and spaCy's, with the same weights: not those of the start, some of which are 0."""
    fix_random_seed(0)
    args = 8, list(attributes), list(attributes.values()), False
    ours, plain = build_multi_hash_embed(*args), MultiHashEmbed(*args)
    plain.initialize()
    change(plain)
    ours.from_bytes(plain.to_bytes())
    return ours, plain


def change(model):
    """Put other weights into the place of a model's."""
    for node in model.walk():
        for name in node.param_names:
            value = node.get_param(name)
            noise = np.random.normal(0, 0.1, size=value.shape)
            node.set_param(name, value + noise.astype("float32"))


def check_same(ours, plain, docs):
    for found, expected in zip(ours.predict(docs), plain.predict(docs), strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, atol=1e-5)


def is_folded(model):
    return any(FOLDED in node.attrs and node.attrs[FOLDED].kept for node in model.walk())


@pytest.mark.parametrize("attributes", [ATTRIBUTES, {"ORTH": 9}])
def test_predictions_are_those_of_spacy(docs, attributes):
    ours, plain = pair(attributes)
    check_same(ours, plain, docs)
    assert is_folded(ours) and not is_folded(plain)
    check_same(ours, plain, docs)  # with rows that are there already
    check_same(ours, plain, docs[1:2])
    check_same(ours, plain, [])


def test_tokens_that_are_alike(monkeypatch):
    """Many tokens, of few kinds; and when different ones cannot be told apart by their sums."""
    ours, plain = pair()
    vocab = spacy.blank("en").vocab
    docs = [Doc(vocab, words=["Ada", "sees", "old", f"ships{n % 5}"] * 50) for n in range(9)]
    check_same(ours, plain, docs)
    module = import_module("spacy_skd.layers.folded_embedding")
    monkeypatch.setattr(module, "FACTOR", np.uint64(0))
    check_same(ours, plain, docs)


def test_a_whole_encoder(docs):
    ours, plain = build_hash_embed_cnn(**CNN), build_hash_embed_cnn_tok2vec(**CNN)
    plain.initialize()
    change(plain)
    ours.from_bytes(plain.to_bytes())
    check_same(ours, plain, docs)
    assert is_folded(ours)


def test_a_row_does_not_depend_on_what_came_before(docs):
    ours, _ = pair()
    together = ours.predict(docs)
    other, _ = pair()
    for doc, expected in reversed(list(zip(docs, together))):
        assert (other.predict([doc])[0] == expected).all()


def test_rows_are_multiplied_once_and_when_needed():
    ours, _ = pair()
    vocab = spacy.blank("en").vocab
    ours.predict([Doc(vocab, words=["ships"])])
    table = ours.attrs[FOLDED].kept.made
    assert 3 <= table.is_known.sum() <= 12
    before = table.rows[table.is_known].copy(), table.is_known.copy()
    ours.predict([Doc(vocab, words=[f"{'Xy' * (n % 9)}{n}" for n in range(400)])])
    assert ours.attrs[FOLDED].kept.made is table and table.is_known.all()
    assert (table.rows[before[1]] == before[0]).all()


def test_training_is_that_of_spacy(docs):
    ours, plain = pair()
    optimizers = Adam(0.1), Adam(0.1)
    for _ in range(3):
        for model, optimizer in zip((ours, plain), optimizers):
            model.predict(docs)
            vectors, backprop = model.begin_update(docs)
            model.predict(docs)  # as annotating components do, before the weights change
            assert not is_folded(model)
            backprop([v * v for v in vectors])
            model.finish_update(optimizer)
            optimizer.step_schedules()
        check_same(ours, plain, docs)
        with ours.use_params(optimizers[0].averages), plain.use_params(optimizers[1].averages):
            check_same(ours, plain, docs)
            assert is_folded(ours)
        check_same(ours, plain, docs)
    for own, other in zip(ours.walk(), plain.walk()):
        for name in own.param_names:
            np.testing.assert_array_equal(own.get_param(name), other.get_param(name))


def test_averages_before_the_update(docs):
    """They change in place, after they have predicted between the pass and its update."""
    ours, plain = pair()
    optimizers = Adam(0.1), Adam(0.1)
    for _ in range(3):
        for model, optimizer in zip((ours, plain), optimizers):
            vectors, backprop = model.begin_update(docs)
            backprop([v * v for v in vectors])
            with model.use_params(optimizer.averages):
                model.predict(docs)
            model.finish_update(optimizer)
        with ours.use_params(optimizers[0].averages), plain.use_params(optimizers[1].averages):
            check_same(ours, plain, docs)


def test_threads(docs):
    ours, _ = pair()
    wanted = ours.predict(docs)
    with ThreadPoolExecutor(6) as threads:
        for _ in range(5):
            cold, _ = pair()
            for found in threads.map(lambda _, model=cold: model.predict(docs), range(6)):
                assert all((one == other).all() for one, other in zip(found, wanted))


def test_spans(docs):
    """What spaCy can read by the numbers of attributes."""
    ours, plain = pair({NORM: 20, SHAPE: 10})
    spans = [docs[0][1:3], docs[3][2:]]
    check_same(ours, plain, spans)
    assert is_folded(ours)


def test_weights_that_take_the_place_of_others(docs):
    ours, plain = pair()
    ours.predict(docs)
    change(plain)
    ours.from_bytes(plain.to_bytes())
    check_same(ours, plain, docs)
    table = ours.layers[2].layers[0].layers[1]
    for node in table.walk():
        if node.has_param("E"):
            node.set_param("E", node.get_param("E") * 2)
    plain.from_bytes(ours.to_bytes())
    check_same(ours, plain, docs)


def test_what_is_remembered_is_neither_saved_nor_copied(docs):
    ours, plain = pair()
    size = len(ours.to_bytes())
    expected = ours.predict(docs)
    assert len(ours.to_bytes()) == size == len(plain.to_bytes())
    for copy in (ours.copy(), pickle.loads(pickle.dumps(ours.attrs))):
        found = copy if isinstance(copy, dict) else copy.attrs
        assert found[FOLDED].kept is None
    copy = ours.copy()
    change(copy)
    copy.predict(docs)
    for found, wanted in zip(ours.predict(docs), expected):
        assert (found == wanted).all()


def test_predictions_cannot_be_trained(docs):
    ours, _ = pair()
    vectors, backprop = ours(docs, is_train=False)
    with pytest.raises(ValueError, match="was a prediction"):
        backprop(vectors)


def test_static_vectors_are_left_to_spacy():
    nlp = spacy.blank("en")
    nlp.vocab.set_vector("Ada", np.ones(7, dtype="float32"))
    docs = [nlp.make_doc(text) for text in TEXTS]
    ours = build_hash_embed_cnn(**CNN | {"pretrained_vectors": True})
    ours.initialize(X=docs)
    assert [len(vectors) for vectors in ours.predict(docs)] == [len(doc) for doc in docs]
    assert all(FOLDED not in node.attrs for node in ours.walk())


EMBED = """
[model]
@architectures = "spacy.Tok2Vec.v2"

[model.embed]
@architectures = "spacy-skd.MultiHashEmbed.v1"
width = 16
attrs = ["NORM", "SHAPE"]
rows = [30, 10]
include_static_vectors = false

[model.encode]
@architectures = "spacy.MaxoutWindowEncoder.v2"
width = 16
window_size = 1
maxout_pieces = 2
depth = 1
"""


def test_part_of_an_encoder_of_spacy(docs):
    model = registry.resolve(registry.fill(Config().from_str(EMBED)))["model"]
    model.initialize()
    assert model.predict(docs)[0].shape == (4, 16)
    assert is_folded(model)


@pytest.mark.parametrize("name", ["spacy-skd.HashEmbedCNN.v1", "spacy-skd.HashEmbedRecurrent.v1"])
def test_a_component_learns_and_comes_back(tmp_path, name):
    """Evaluated between steps, on a shared encoder, and then on a copy of its own."""
    nlp = spacy.blank("en")
    settings = CNN if "CNN" in name else {"width": 12, "embed_size": 60}
    nlp.add_pipe("tok2vec", config={"model": {"@architectures": name, **settings}})
    listener = {"@architectures": "spacy.Tok2VecListener.v1", "width": 12}
    model = {"@architectures": "spacy-skd.MaxEnt.v1", "tok2vec": listener}
    nlp.add_pipe("skd_tagger", name="tagger", config={"model": model})
    tags = [["X", "Y", "Z", "Y"], [], ["X"], ["Z", "Z", "Y", "Y", "Z", "X", "Z", "X"]]
    references = [Doc(nlp.vocab, words=text.split(), tags=own) for text, own in zip(TEXTS, tags)]
    examples = [Example(nlp.make_doc(doc.text), doc) for doc in references]
    fix_random_seed(0)
    nlp.initialize(lambda: examples)
    optimizer = Adam(0.02)
    for _ in range(40):
        nlp.update(examples, sgd=optimizer, annotates=["tok2vec", "tagger"])
        with nlp.use_params(optimizer.averages):
            nlp.evaluate(examples)
    assert nlp.evaluate(examples)["tag_acc"] == 1.0
    with nlp.use_params(optimizer.averages):
        expected = tags_of(nlp)
        nlp.to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    assert tags_of(loaded) == expected
    assert is_folded(loaded.get_pipe("tok2vec").model)
    loaded.replace_listeners("tok2vec", "tagger", ["model.tok2vec"])
    assert tags_of(loaded) == expected
    nlp.from_disk(tmp_path)
    assert tags_of(nlp) == expected
    assert [doc.to_array("TAG").tolist() for doc in nlp.pipe(TEXTS, n_process=2)] == expected


def tags_of(nlp):
    return [doc.to_array("TAG").tolist() for doc in nlp.pipe(TEXTS)]
