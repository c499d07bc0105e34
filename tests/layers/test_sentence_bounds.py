"""The sentences of documents: those that are set, and pieces of those that are too long."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spacy.tokens import Doc
from spacy.vocab import Vocab
from thinc.api import Model, Ragged

from spacy_skd.layers import by_sentence, sentence_lengths

VOCAB = Vocab()


def doc_of(words: str, starts=None) -> Doc:
    words = words.split(" ") if words else []
    doc = Doc(VOCAB, words=words, spaces=[True] * len(words))
    if starts is not None:
        for token in doc[1:]:
            token.is_sent_start = token.i in starts
    return doc


def lengths_of(docs, max_length=200, **options):
    lengths, n_sentences = sentence_lengths(docs, max_length, **options)
    assert lengths.dtype == n_sentences.dtype == np.int64
    return lengths.tolist(), n_sentences.tolist()


def test_boundaries_that_are_set():
    docs = [
        doc_of("so it goes . on and on", [4]),
        doc_of(""),
        doc_of("no boundaries . here"),
        doc_of("one"),
        doc_of("a b c", [1, 2]),
        doc_of("one sentence", []),
    ]
    assert lengths_of(docs) == ([4, 3, 4, 1, 1, 1, 1, 2], [2, 0, 1, 1, 3, 1])
    assert lengths_of(docs, use_boundaries=False) == ([7, 4, 1, 3, 2], [1, 0, 1, 1, 1, 1])


def test_boundaries_of_trees_and_unknown_ones():
    tree = Doc(VOCAB, words=list("abcd"), heads=[1, 1, 3, 3], deps=["x"] * 4)
    partial = doc_of("a b c d")
    partial[2].is_sent_start = True  # of the others nothing is known
    assert lengths_of([tree, partial]) == ([2, 2, 2, 2], [2, 2])


def test_no_documents():
    assert lengths_of([]) == ([], [])
    assert lengths_of([doc_of(""), doc_of("")]) == ([], [0, 0])


@pytest.mark.parametrize(
    "words, expected",
    [
        ("a b c . d e f g h", [4, 5]),
        ("a . b . c . d e f", [6, 3]),  # the last end that fits
        ("a b c . d , e f g", [4, 5]),  # an end, though a pause would be longer
        ("a b c d , e f g h", [5, 4]),
        ("a , b c d e f g h", [5, 4]),  # a pause too soon: evenly
        ("a b c d e f g h i j k l m", [7, 6]),
        ("a b c \n d e f g h", [4, 5]),
        ("a b c ! '' d e f g", [5, 4]),  # quotes belong to what they close
        ("a b ( c d e ) f g", [7, 2]),
        ("a b c ... d ; e f g", [4, 5]),
        ("a b c d e f etc. g h", [5, 4]),
        ("a b c d e f ( g h", [5, 4]),  # never after what opens
        ("a b c d e f g . h", [8, 1]),
        ("a b c d e f g h .", [5, 4]),
        ("a b c d e f g h", [8]),
        ("。 b c d e f g h i", [1, 8]),
    ],
)
def test_where_long_sentences_are_cut(words, expected):
    doc = doc_of(words)
    assert lengths_of([doc], 8) == (expected, [len(expected)])


def test_only_long_sentences_are_cut():
    doc = doc_of("a . b c . d e f g h i , j k", [3])
    assert lengths_of([doc_of("a . b"), doc], 5) == ([3, 3, 2, 5, 4], [1, 4])


@given(
    st.lists(st.sampled_from(["a", "b", ".", ",", "\n", '"', "(", ")"]), max_size=60),
    st.lists(st.integers(1, 59), max_size=4),
    st.integers(1, 12),
)
def test_sentences_have_all_tokens_and_are_not_too_long(words, starts, max_length):
    doc = Doc(VOCAB, words=words)
    for start in starts:
        if start < len(doc):
            doc[start].is_sent_start = True
    lengths, (n_sentences,) = lengths_of([doc], max_length)
    assert sum(lengths) == len(doc) and n_sentences == len(lengths)
    assert all(0 < length <= max_length for length in lengths)
    ends = set(np.cumsum([0, *lengths]).tolist())
    assert {start for start in starts if start < len(doc)} <= ends


def test_max_length_has_to_be_positive():
    with pytest.raises(ValueError, match="max_length is 0"):
        sentence_lengths([doc_of("a")], 0)


def characters(width=2) -> Model:
    """An encoder whose vectors are ones times the length of the word."""

    def forward(model, docs, is_train):
        vectors = [
            np.asarray([[len(token)] * width for token in doc], dtype="f").reshape(-1, width)
            for doc in docs
        ]
        return vectors, lambda d_vectors: d_vectors

    return Model("characters", forward, dims={"nO": width})


DOCS = [doc_of("an end . so on", [3]), doc_of(""), doc_of("Ada")]


def test_vectors_by_sentence():
    model = by_sentence(characters(), 4)
    found, backprop = model.begin_update(DOCS)
    assert isinstance(found, Ragged)
    assert found.dataXd[:, 1].tolist() == [2, 3, 1, 2, 2, 3]
    assert found.lengths.tolist() == [3, 2, 1]
    d_vectors = backprop(Ragged(found.dataXd * 2, found.lengths))
    assert [d[:, 0].tolist() for d in d_vectors] == [[4, 6, 2, 4, 4], [], [6]]
    assert by_sentence(characters(), 2).predict(DOCS).lengths.tolist() == [2, 1, 2, 1]
    whole = by_sentence(characters(), 9, "roots").predict(DOCS)
    assert whole.lengths.tolist() == [5, 1]


def test_no_vectors():
    found, backprop = by_sentence(characters()).begin_update([DOCS[1], DOCS[1]])
    assert found.dataXd.shape == (0, 2) and found.lengths.tolist() == []
    assert [d.shape for d in backprop(found)] == [(0, 2), (0, 2)]
    found, backprop = by_sentence(characters()).begin_update([])
    assert backprop(found) == []


def test_the_width_is_that_of_the_encoder():
    model = by_sentence(characters(3))
    model.initialize(X=DOCS)
    assert model.get_dim("nO") == 3


@pytest.mark.parametrize(
    "settings, message",
    [({"sentences": "all"}, "'set' or 'roots', not 'all'"), ({"max_length": 0}, "max_length is 0")],
)
def test_settings_that_there_are_not(settings, message):
    with pytest.raises(ValueError, match=message):
        by_sentence(characters(), **settings)
