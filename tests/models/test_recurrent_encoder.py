"""The recurrent encoder: what it sees, how it is built, and that it can be shared and trained."""

import numpy as np
import pytest
import spacy
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import registry
from thinc.api import Config, fix_random_seed, set_dropout_rate

from spacy_skd.models.maxent import build_maxent
from spacy_skd.models.recurrent_encoder import build_hash_embed_recurrent

from ..test_package import run

NAME = "spacy-skd.HashEmbedRecurrent.v1"
SETTINGS = {"width": 16, "depth": 1, "embed_size": 100, "maxout_pieces": 2}
TEXTS = ["Ada sees old ships", "", "Bob", "the old ships sail on and on again"]


def build(**settings):
    return build_hash_embed_recurrent(**{**SETTINGS, **settings})


@pytest.fixture(params=["light", "lstm"])
def recurrence(request):
    return request.param


@pytest.fixture
def encoder(recurrence):
    fix_random_seed(0)
    encoder = build(recurrence=recurrence)
    encoder.initialize()
    return encoder


@pytest.fixture(scope="module")
def nlp():
    return spacy.blank("en")


@pytest.fixture(scope="module")
def docs(nlp):
    return [nlp.make_doc(text) for text in TEXTS]


def test_registered():
    config = Config().from_str(f'[model]\n@architectures = "{NAME}"\nwidth = 8\n')
    model = registry.resolve(registry.fill(config))["model"]
    assert model.get_dim("nO") == 8


def test_the_width_is_known_before_it_is_initialized(recurrence):
    encoder = build(recurrence=recurrence)
    assert encoder.get_dim("nO") == 16
    assert {"embed", "encode"} <= set(encoder.ref_names)
    assert build_maxent(encoder).get_ref("output_layer").get_dim("nI") == 16


def test_a_document_is_read_alone_as_in_a_batch(encoder, docs):
    together = encoder.predict(docs)
    assert [vectors.shape for vectors in together] == [(len(doc), 16) for doc in docs]
    for doc, vectors in zip(docs, together):
        np.testing.assert_allclose(encoder.predict([doc])[0], vectors, atol=1e-5)


def test_documents_without_tokens(encoder, nlp):
    assert [v.shape for v in encoder.predict([Doc(nlp.vocab), Doc(nlp.vocab)])] == [(0, 16)] * 2


@pytest.mark.parametrize("depth", [0, 2])
def test_every_token_sees_a_document_without_boundaries(recurrence, depth, nlp):
    encoder = build(recurrence=recurrence, depth=depth)
    encoder.initialize()
    words = ["so"] * 12
    before = encoder.predict([Doc(nlp.vocab, words=words)])[0]
    for place in (0, 11):
        changed = [*words[:place], "Ada", *words[place + 1 :]]
        after = encoder.predict([Doc(nlp.vocab, words=changed)])[0]
        assert (before != after).any(axis=1).all()


def with_sentences(nlp, *sentences):
    """A document of the sentences' words, whose boundaries are set."""
    words = [
        (word, not place) for sentence in sentences for place, word in enumerate(sentence.split())
    ]
    texts, starts = zip(*words)
    return Doc(nlp.vocab, words=texts, sent_starts=starts)


def test_a_sentence_is_read_as_if_it_were_a_document(recurrence, nlp, docs):
    encoder, whole = build(recurrence=recurrence), build(recurrence=recurrence, sentences="ignored")
    encoder.initialize()
    whole.from_bytes(encoder.to_bytes())
    sentences = [nlp.make_doc(text) for text in (TEXTS[0], TEXTS[3], TEXTS[2])]
    joined = with_sentences(nlp, *(sentence.text for sentence in sentences))
    expected = np.concatenate(encoder.predict(sentences))
    found, empty, alone = encoder.predict([joined, docs[1], docs[0]])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(alone, encoder.predict([docs[0]])[0], atol=1e-5)
    assert empty.shape == (0, 16)
    assert (whole.predict([joined])[0] != expected).any(axis=1).all()


def test_other_sentences_are_refused():
    with pytest.raises(ValueError, match='are "set" or "ignored", not "roots"'):
        build(sentences="roots")


@pytest.mark.parametrize("several", [False, True])
def test_the_gradient_is_that_of_the_output(encoder, nlp, docs, several):
    """Along the gradient, the sum of squares changes by the gradient's squared length."""
    if several:
        docs = [*docs, with_sentences(nlp, TEXTS[3], TEXTS[0])]
    vectors, backprop = encoder.begin_update(docs)
    backprop([2 * v for v in vectors])
    parameters = [
        (node, name) for node in encoder.walk() for name in node.param_names if node.has_grad(name)
    ]
    assert len(parameters) >= 12
    gradients = [node.get_grad(name).copy() for node, name in parameters]
    values = [node.get_param(name).copy() for node, name in parameters]
    squared = sum(float((gradient.astype("float64") ** 2).sum()) for gradient in gradients)

    def total(step: float) -> float:
        for (node, name), value, gradient in zip(parameters, values, gradients):
            node.set_param(name, value + np.float32(step) * gradient)
        return sum(float((v.astype("float64") ** 2).sum()) for v in encoder.predict(docs))

    step = 0.05 / squared
    assert total(step) - total(-step) == pytest.approx(2 * step * squared, rel=0.02)


def test_dropout(encoder, docs):
    set_dropout_rate(encoder, 0.5)
    vectors, _ = encoder.begin_update(docs)
    assert not np.allclose(vectors[0], encoder.predict(docs)[0])
    set_dropout_rate(encoder, 0.0)
    vectors, _ = encoder.begin_update(docs)
    assert np.allclose(vectors[0], encoder.predict(docs)[0])


def test_saved_and_loaded(encoder, recurrence, docs):
    loaded = build(recurrence=recurrence).from_bytes(encoder.to_bytes())
    for found, expected in zip(loaded.predict(docs), encoder.predict(docs)):
        assert (found == expected).all()


def test_sizes(docs):
    encoder = build(depth=2, recurrent_width=5, recurrent_depth=3, subword_features=False)
    encoder.initialize()
    layers = [node for node in encoder.walk() if node.name == "light_recurrence"]
    assert [layer.get_dim("nO") for layer in layers] == [10] * 3
    assert len([node for node in encoder.walk() if node.name == "expand_window"]) == 2
    assert len([node for node in encoder.walk() if node.name == "hashembed"]) == 1
    assert encoder.predict(docs)[3].shape == (8, 16)


def test_static_vectors():
    nlp = spacy.blank("en")
    nlp.vocab.set_vector("Ada", np.ones(7, dtype="float32"))
    docs = [nlp.make_doc(text) for text in TEXTS]
    encoder = build(pretrained_vectors=True)
    encoder.initialize(X=docs)
    assert "static_vectors" in {node.name for node in encoder.walk()}
    assert encoder.predict(docs)[0].shape == (4, 16)


@pytest.mark.parametrize(
    "settings, message",
    [({"recurrence": "gru"}, '"light", "lstm", not "gru"'), ({"recurrent_depth": 0}, "HashEmbed")],
)
def test_settings_that_there_are_not(settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)


def tag_of_the_first_word(nlp, rng, n_examples: int) -> list[Example]:
    """Documents whose last token's tag is said by their first word, eleven tokens before."""
    examples = []
    for _ in range(n_examples):
        first = ["Ada", "Bob", "Cleo"][rng.integers(3)]
        words = [first, *rng.choice(["so", "and", "on", "it", "goes"], size=10).tolist(), "."]
        reference = Doc(nlp.vocab, words=words, tags=["X"] * 11 + [first.upper()])
        examples.append(Example(Doc(nlp.vocab, words=words), reference))
    return examples


def shared_tok2vec(recurrence: str):
    """A pipeline with a tok2vec of its own and a tagger that listens to it."""
    nlp = spacy.blank("en")
    tok2vec = {"@architectures": NAME, **SETTINGS, "width": 32, "recurrence": recurrence}
    nlp.add_pipe("tok2vec", config={"model": tok2vec})
    listener = {"@architectures": "spacy.Tok2VecListener.v1", "width": 32}
    model = {"@architectures": "spacy-skd.MaxEnt.v1", "tok2vec": listener}
    nlp.add_pipe("skd_tagger", name="tagger", config={"model": model})
    return nlp


def last_tags(nlp, examples) -> list[str]:
    return [doc[-1].tag_ for doc in nlp.pipe(example.text for example in examples)]


def test_a_shared_encoder_learns_what_no_window_sees(recurrence, tmp_path):
    fix_random_seed(0)
    rng = np.random.default_rng(0)
    nlp = shared_tok2vec(recurrence)
    train, test = (tag_of_the_first_word(nlp, rng, n) for n in (32, 20))
    optimizer = nlp.initialize(lambda: train)
    optimizer.learn_rate = 0.01
    for _ in range(60):
        nlp.update(train, sgd=optimizer)
    expected = [example.reference[-1].tag_ for example in test]
    assert last_tags(nlp, test) == expected
    nlp.to_disk(tmp_path)
    assert last_tags(spacy.load(tmp_path), test) == expected


def test_a_shared_encoder_is_served_without_torch(recurrence, tmp_path):
    nlp = shared_tok2vec(recurrence)
    nlp.get_pipe("tagger").add_label("X")
    nlp.initialize()
    nlp.to_disk(tmp_path)
    code = """
        import spacy

        assert spacy.load(sys.argv[1])("Ada lives in Oslo")[3].tag_ == "X"
        assert not {"torch", "transformers", "spacy_transformers"} & set(sys.modules)
        print("served")
        """
    done = run(code, str(tmp_path))
    assert done.stdout.strip() == "served", done.stderr
