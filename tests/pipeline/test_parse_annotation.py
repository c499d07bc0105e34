"""Gold trees as head numbers within sentences, and trees written to documents."""

import numpy as np
import pytest
import spacy
from spacy.tokens import Doc
from spacy.training import Example

from spacy_skd.pipeline.parse_annotation import (
    gold_sentence_starts,
    gold_tree,
    set_sentence_starts,
    set_tree,
    within_sentences,
    without_crossing,
    without_further_roots,
)
from spacy_skd.structures import SpanningTree, maximum_arborescence

WORDS = ["She", "did", "n't", "go", ".", "Why", "?"]
HEADS = [3, 3, 3, 3, 3, 5, 5]
DEPS = ["nsubj", "aux", "neg", "ROOT", "punct", "ROOT", "punct"]


@pytest.fixture
def vocab():
    return spacy.blank("en").vocab


def test_gold_trees_are_read(vocab):
    reference = Doc(vocab, words=WORDS, heads=HEADS, deps=DEPS)
    heads, relations = gold_tree(Example(Doc(vocab, words=WORDS), reference))
    assert heads.tolist() == HEADS
    assert [vocab.strings[relation] for relation in relations.tolist()] == DEPS
    assert within_sentences(heads, [5, 2]).tolist() == [4, 4, 4, 0, 4, 0, 1]


def test_heads_in_another_sentence_and_missing_ones_are_missing(vocab):
    reference = Doc(vocab, words=WORDS, heads=HEADS, deps=[*DEPS[:2], "", *DEPS[3:]])
    heads, _ = gold_tree(Example(Doc(vocab, words=WORDS), reference))
    assert heads[2] == -1
    assert within_sentences(heads, [3, 4]).tolist() == [-1, -1, -1, 0, 1, 0, 3]


def test_other_tokens_are_aligned_where_one_stands_for_one(vocab):
    reference = Doc(vocab, words=WORDS, heads=HEADS, deps=DEPS, spaces=[1, 0, 1, 0, 1, 0, 0])
    words = ["She", "didn't", "go", ".", "Why", "?"]
    predicted = Doc(vocab, words=words, spaces=[1, 1, 0, 1, 0, 0])
    heads, relations = gold_tree(Example(predicted, reference))
    assert heads.tolist() == [2, -1, 2, 2, 4, 4]
    assert relations[1] == 0
    assert vocab.strings[int(relations[0])] == "nsubj"


def test_a_head_that_was_cut_in_two_is_missing(vocab):
    reference = Doc(vocab, words=["I", "cannot"], heads=[1, 1], deps=["nsubj", "ROOT"])
    predicted = Doc(vocab, words=["I", "can", "not"], spaces=[True, False, True])
    assert gold_tree(Example(predicted, reference))[0].tolist() == [-1, -1, -1]


def test_several_roots_of_a_sentence_are_not_known():
    heads = np.asarray([0, 1, 0, 2, 0])
    assert without_further_roots(heads, [3, 2]).tolist() == [-1, 1, -1, 2, 0]


def test_of_crossing_arcs_as_few_as_possible_are_dropped():
    # 1 → 3 and 2 → 4 cross.
    heads = np.asarray([0, 1, 1, 2, 4])
    assert without_crossing(heads, [5]).tolist() in ([0, 1, 1, -1, 4], [0, 1, -1, 2, 4])
    # The arc from 3 to 1 passes over the root.
    assert (without_crossing(np.asarray([3, 0, 2, 2]), [4]) == -1).sum() == 1
    projective = np.asarray([2, 0, 2, 3])
    assert without_crossing(projective, [4]).tolist() == projective.tolist()


def test_what_is_left_is_part_of_a_projective_tree():
    rng = np.random.default_rng(0)
    for length in [1, 2, 3, 6, 10, 15] * 20:
        tree = maximum_arborescence(rng.normal(size=(length, length + 1)))
        tree[rng.random(length) < rng.choice([0, 0.2])] = -1
        left = without_crossing(tree, [length])
        arcs = np.full((length, length + 1), 0.0)
        for token in np.flatnonzero(left >= 0):
            arcs[token] = -np.inf
            arcs[token, left[token]] = 0
        assert np.isfinite(SpanningTree([arcs], projective=True).log_partition()).all()


def test_a_sentence_of_a_treebank_that_leaves_doubt():
    heads = np.asarray([1, 1, 4, 4, 1, 7, 8, 4, 7, 10, 1, 12, 1, 12, 13])
    local = within_sentences(heads, [15])
    left = without_crossing(local, [15])
    assert 0 < (left == -1).sum() < 4


def test_trees_are_written(vocab):
    doc = Doc(vocab, words=WORDS)
    ids = np.asarray([vocab.strings.add(dep) for dep in DEPS], dtype=np.uint64)
    set_tree(doc, np.asarray(HEADS), ids)
    assert [token.head.i for token in doc] == HEADS
    assert [token.dep_ for token in doc] == DEPS
    assert [sentence.text for sentence in doc.sents] == ["She did n't go .", "Why ?"]
    assert [token.text for token in doc[3].children] == ["She", "did", "n't", "."]
    assert doc[3].left_edge.i == 0 and doc[3].right_edge.i == 4


def test_sentence_starts_are_written(vocab):
    doc = Doc(vocab, words=WORDS)
    set_sentence_starts(doc, [0, 5])
    assert [len(sentence) for sentence in doc.sents] == [5, 2]


def test_sentences_that_begin_within_a_token_are_left_out(vocab):
    reference = Doc(vocab, words=WORDS, heads=HEADS, deps=DEPS, spaces=[1, 0, 1, 0, 1, 0, 0])
    words = ["She", "didn't", "go", ".", "Why?"]
    predicted = Doc(vocab, words=words, spaces=[1, 1, 0, 1, 0])
    assert gold_sentence_starts(Example(predicted, reference)).tolist() == [0, 4]
    spaced = Doc(vocab, words=["She", "did", "n't", "go", ".", "\n", "Why", "?"], spaces=[0] * 8)
    spaced = Doc(vocab, words=[t.text for t in spaced], spaces=[1, 0, 1, 0, 0, 0, 0, 0])
    assert gold_sentence_starts(Example(spaced, reference)).tolist() == [0, 6]
