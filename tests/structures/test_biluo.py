from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_skd.structures import (
    LinearChain,
    Token,
    as_potentials,
    biluo_labels,
    entity_labels,
    indices_of,
    legal_moves,
    spans_of,
    split_label,
)

LABELS = biluo_labels(["PER", "MY-ORG"])


def test_labels():
    assert LABELS[:5] == ["O", "B-PER", "I-PER", "L-PER", "U-PER"]
    assert len(LABELS) == 9
    assert entity_labels(LABELS) == ["PER", "MY-ORG"]
    assert biluo_labels([]) == ["O"]
    assert entity_labels(["O"]) == []


def test_split_label():
    assert split_label("B-PER") == ("B", "PER")
    assert split_label("L-MY-ORG") == ("L", "MY-ORG")
    assert split_label("O") == ("O", "")


@pytest.mark.parametrize("label", ["", "PER", "B", "B-", "S-PER", "O-PER", "-PER", "b-PER"])
def test_names_that_are_not_biluo(label):
    with pytest.raises(ValueError, match="BILUO"):
        split_label(label)
    with pytest.raises(ValueError, match=f"'{label}'"):
        legal_moves(["O", "B-X", label])


def test_legal_moves():
    transitions, start, end = legal_moves(LABELS)
    column = {label: index for index, label in enumerate(LABELS)}

    def followers(label):
        return {other for other in LABELS if transitions[column[label], column[other]]}

    opening = {"O", "B-PER", "U-PER", "B-MY-ORG", "U-MY-ORG"}
    for label in ("O", "L-PER", "U-PER", "L-MY-ORG", "U-MY-ORG"):
        assert followers(label) == opening
    for label in ("B-PER", "I-PER"):
        assert followers(label) == {"I-PER", "L-PER"}
    assert {label for label in LABELS if start[column[label]]} == opening
    assert {label for label in LABELS if end[column[label]]} == {
        "O",
        "L-PER",
        "U-PER",
        "L-MY-ORG",
        "U-MY-ORG",
    }


def test_as_potentials():
    potentials = as_potentials([[True, False]])
    assert potentials.dtype == np.float32
    assert potentials.tolist() == [[0.0, -np.inf]]
    assert as_potentials([True], np.float64).dtype == np.float64


@given(st.data(), st.integers(0, 12))
def test_spans_and_indices_are_inverse(data, length):
    spans, first = [], 0
    while first < length:
        last = data.draw(st.integers(first, length - 1))
        label = data.draw(st.sampled_from(["PER", "MY-ORG", None]))
        if label:
            spans.append((first, last, label))
        first = last + 1
    indices = indices_of(spans, length, LABELS)
    assert indices.shape == (length,) and indices.dtype == np.int64
    assert spans_of(indices, LABELS) == spans
    transitions, start, end = legal_moves(LABELS)
    assert all(transitions[a, b] for a, b in pairwise(indices))
    assert not length or (start[indices[0]] and end[indices[-1]])


@pytest.mark.parametrize(
    "names",
    [
        ["I-PER"],
        ["B-PER"],
        ["B-PER", "O"],
        ["B-PER", "L-MY-ORG"],
        ["O", "L-PER"],
        ["B-PER", "I-PER"],
    ],
)
def test_sequences_that_are_not_legal(names):
    with pytest.raises(ValueError, match=r"not legal|no end"):
        spans_of([LABELS.index(name) for name in names], LABELS)


@pytest.mark.parametrize(
    "spans, message",
    [
        ([(0, 4, "PER")], "not within 4 tokens"),
        ([(2, 1, "PER")], "not within"),
        ([(-1, 1, "PER")], "not within"),
        ([(0, 1, "PER"), (1, 1, "PER")], "overlaps"),
        ([(0, 1, "GPE")], "B-GPE, L-GPE"),
    ],
)
def test_spans_that_have_no_sequence(spans, message):
    with pytest.raises(ValueError, match=message):
        indices_of(spans, 4, LABELS)


def test_the_legal_sequences_of_a_chain_are_those_that_spans_write(rng):
    """Free scores, restricted by the scheme's moves, never give what is not an entity."""
    lengths = [1, 2, 5, 9, 30]
    token = Token(rng.normal(size=(sum(lengths), len(LABELS))), lengths, LABELS)
    chain = LinearChain.from_token(token, *map(as_potentials, legal_moves(LABELS)))
    for output, length in zip(chain.argmax(), lengths):
        spans = spans_of(output, LABELS)
        assert indices_of(spans, length, LABELS).tolist() == output.tolist()
