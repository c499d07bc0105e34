"""Labels that mean heads, against counting by hand."""

import numpy as np
import pytest

from spacy_skd.structures.dependency_codes import (
    Words,
    label_columns,
    labels_of_trees,
    meant_heads,
    split_label,
)

NOUN, VERB, DET = 3, 5, 7
NAMES = {NOUN: "NOUN", VERB: "VERB", DET: "DET"}
IDS = {name: tag for tag, name in NAMES.items()}


def test_labels_are_read():
    assert split_label("-2|nsubj:pass") == (("", -2), "nsubj:pass")
    assert split_label("NOUN+1|a|b") == (("NOUN", 1), "a|b")
    assert split_label("0|ROOT") == (("", 0), "ROOT")


@pytest.mark.parametrize("label", ["nsubj", "+0|det", "x|det", "|det", "NOUN|det", "0"])
def test_what_is_no_label_is_refused(label):
    with pytest.raises(ValueError, match="is no label of a dependency"):
        split_label(label)


def test_codes_of_a_sentence_with_parts_of_speech():
    # the dog saw the cat; a second sentence with the same words
    tags = np.asarray([DET, NOUN, VERB, DET, NOUN] * 2)
    heads = np.asarray([2, 3, 0, 5, 3] * 2)
    relations = ["det", "nsubj", "ROOT", "det", "obj"] * 2
    words = Words(np.asarray([5, 5]), tags)
    expected = ["NOUN+1|det", "VERB+1|nsubj", "0|ROOT", "NOUN+1|det", "VERB-1|obj"] * 2
    assert labels_of_trees(heads, relations, words, NAMES) == expected
    far = np.asarray([5, 3, 0, 2, 3] * 2)
    assert labels_of_trees(far, relations, words, NAMES)[0] == "NOUN+2|det"
    assert labels_of_trees(far, relations, words, NAMES)[3] == "NOUN-1|det"


@pytest.mark.parametrize("with_tags", [False, True])
def test_codes_lead_back_to_the_heads(with_tags):
    rng = np.random.default_rng(0)
    lengths = np.asarray([1, 7, 0, 4, 12])
    n_tokens = int(lengths.sum())
    tags = rng.choice([NOUN, VERB, DET], n_tokens) if with_tags else None
    words = Words(lengths, tags)
    sizes = np.repeat(lengths, lengths)
    heads = rng.integers(0, sizes + 1)
    heads[heads == np.arange(n_tokens) - words.starts + 1] = 0
    labels = labels_of_trees(heads, ["x"] * n_tokens, words, NAMES if with_tags else None)
    inventory = sorted(set(labels))
    meant = meant_heads(inventory, words, IDS)
    codes = label_columns(tuple(inventory)).code_of
    assert meant.shape == (n_tokens, len(codes))
    found = meant[np.arange(n_tokens), [codes[inventory.index(label)] for label in labels]]
    np.testing.assert_array_equal(found, heads)


def test_what_is_outside_the_sentence_means_nothing():
    words = Words(np.asarray([2, 3]))
    meant = meant_heads(["+1|x", "-1|x", "+2|x", "0|ROOT", "NOUN+1|x"], words)
    assert meant.T.tolist() == [
        [2, -1, 2, 3, -1],
        [-1, 1, -1, 1, 2],
        [-1, -1, 3, -1, -1],
        [0, 0, 0, 0, 0],
        [-1, -1, -1, -1, -1],
    ]


def test_missing_heads_have_no_label():
    words = Words(np.asarray([3]))
    assert labels_of_trees(np.asarray([-1, 0, 2]), ["", "ROOT", "obj"], words, None) == [
        None,
        "0|ROOT",
        "-1|obj",
    ]
