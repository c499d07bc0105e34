"""The ways in which pipelines are called in production all give the same."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import spacy
from spacy.tokens import DocBin

from .conftest import TEXTS, said


@pytest.fixture
def expected(nlp):
    return [said(nlp(text)) for text in TEXTS]


def test_something_is_said(nlp, expected):
    """Without which the other tests would compare nothing with nothing."""
    assert expected[0] != said(nlp.make_doc(TEXTS[0]))


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_batches(nlp, expected, batch_size):
    assert [said(doc) for doc in nlp.pipe(TEXTS, batch_size=batch_size)] == expected


def test_two_processes(nlp, expected):
    docs = nlp.pipe(TEXTS, n_process=2, batch_size=2)
    assert [said(doc) for doc in docs] == expected


def test_threads(nlp, expected):
    with ThreadPoolExecutor(4) as pool:
        docs = list(pool.map(nlp, TEXTS * 10))
    assert [said(doc) for doc in docs] == expected * 10


def test_threads_that_pipe(nlp, expected):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: [said(doc) for doc in nlp.pipe(TEXTS)], range(8)))
    assert found == [expected] * 8


def test_a_disabled_component(nlp, path, expected):
    [name] = nlp.pipe_names
    loaded = spacy.load(path, disable=[name])
    assert said(loaded(TEXTS[0])) == said(loaded.make_doc(TEXTS[0]))
    loaded.enable_pipe(name)
    assert [said(loaded(text)) for text in TEXTS] == expected


def test_an_excluded_component(nlp, path):
    loaded = spacy.load(path, exclude=nlp.pipe_names)
    assert not loaded.component_names
    assert said(loaded(TEXTS[0])) == said(loaded.make_doc(TEXTS[0]))


def test_other_components_are_disabled_or_excluded(nlp, expected, tmp_path):
    nlp.add_pipe("sentencizer", first=True)
    nlp.to_disk(tmp_path)
    for option in ("disable", "exclude"):
        loaded = spacy.load(tmp_path, **{option: ["sentencizer"]})
        assert [said(loaded(text)) for text in TEXTS] == expected


def test_selected_pipes(nlp, expected):
    with nlp.select_pipes(disable=nlp.pipe_names):
        assert said(nlp(TEXTS[0])) == said(nlp.make_doc(TEXTS[0]))
    assert [said(nlp(text)) for text in TEXTS] == expected


def test_pickled_documents(nlp, expected):
    docs = pickle.loads(pickle.dumps([nlp(text) for text in TEXTS]))
    assert [said(doc) for doc in docs] == expected


@pytest.mark.parametrize("store_user_data", [False, True])
def test_stored_documents(nlp, expected, store_user_data):
    stored = DocBin(docs=nlp.pipe(TEXTS), store_user_data=store_user_data).to_bytes()
    docs = DocBin().from_bytes(stored).get_docs(spacy.blank("en").vocab)
    assert [said(doc) for doc in docs] == expected


def test_a_very_long_text(nlp):
    """As the only text, and between others; a shorter one that begins alike is read alike."""
    words = (TEXTS[0] + " ").split() * 1700
    long = " ".join(words[:10_000])
    doc = nlp(long)
    assert len(doc) == 10_000
    alone, after = nlp(TEXTS[2]), nlp.pipe([long, TEXTS[2]])
    assert said(next(after)) == said(doc)
    assert said(next(after)) == said(alone)
    entities, tags, (heads, _) = said(doc)
    assert len(set(tags)) > 1 or len(entities) > 1000 or heads != list(range(10_000))


@pytest.mark.parametrize("text", ["", " ", "\n\n \t", "Ada", ".", "\u200b", "a" * 10_000])
def test_texts_with_little_in_them(nlp, text):
    doc = nlp(text)
    assert doc.text == text
    assert said(next(nlp.pipe([text]))) == said(doc)
    assert all(span.text.strip() for span in doc.ents)


def test_the_first_document_of_a_stream_does_not_wait_for_the_last(nlp):
    """`nlp.pipe` reads no further than it needs for a batch."""
    read = []

    def texts():
        for text in TEXTS:
            read.append(text)
            yield text

    next(iter(nlp.pipe(texts(), batch_size=2)))
    assert len(read) <= 4
