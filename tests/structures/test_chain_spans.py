"""Entities as parts of a BILUO chain against enumeration of its label sequences."""

import numpy as np
import pytest

from spacy_skd.structures import LinearChain, as_potentials, biluo_labels, legal_moves
from spacy_skd.structures.base import to_host

from .brute_force import chain_scores

LENGTHS = [3, 0, 1, 5, 4]
LABELS = biluo_labels(["PER"])


def make(rng, legal, lengths=LENGTHS, scale=1.5):
    """Random potentials over `LABELS`; legal: whether other moves are forbidden."""
    size = len(LABELS)
    emissions = rng.normal(size=(sum(lengths), size), scale=scale)
    shared = [rng.normal(size=shape, scale=scale) for shape in ((size, size), size, size)]
    if legal:
        shared = [
            s + as_potentials(mask, "float64") for s, mask in zip(shared, legal_moves(LABELS))
        ]
    return [emissions, *shared]


def chain_of(xp, potentials, lengths=LENGTHS, dtype="float64"):
    return LinearChain(*(xp.asarray(p, dtype=dtype) for p in potentials), lengths, LABELS)


def enumerated(potentials, max_width, lengths=LENGTHS):
    """(N, W, 1): how often the labels of the tokens i..i+w are those of an entity."""
    emissions, *shared = potentials
    found = []
    for part in np.split(emissions, np.cumsum(lengths)[:-1]):
        listed = chain_scores(part, *shared)
        marginals = np.zeros((len(part), max_width, 1))
        for output, prob in zip(listed.outputs, listed.probs):
            for first in range(len(part)):
                for width in range(min(max_width, len(part) - first)):
                    entity = (1, *(2,) * (width - 1), 3) if width else (4,)
                    if output[first : first + width + 1] == entity:
                        marginals[first, width, 0] += prob
        found.append(marginals)
    return np.concatenate(found)


def close(found, expected, tolerance=1e-9):
    np.testing.assert_allclose(to_host(found), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("legal", [True, False])
@pytest.mark.parametrize("max_width", [1, 2, 3, 4, 9])
def test_against_enumeration(xp, legal, max_width):
    for seed in range(3):
        potentials = make(np.random.default_rng(seed), legal)
        found = chain_of(xp, potentials).span_marginals(max_width)
        close(found, enumerated(potentials, max_width))


def test_several_labels_do_not_meet(rng):
    """The marginals of two entity labels at once are those of chains that know one by its name."""
    labels = biluo_labels(["PER", "LOC"])
    emissions, *shared = (rng.normal(size=shape) for shape in ((13, 9), (9, 9), 9, 9))
    shared = [s + as_potentials(mask, "float64") for s, mask in zip(shared, legal_moves(labels))]
    swapped = [0, 5, 6, 7, 8, 1, 2, 3, 4]
    one = LinearChain(emissions, *shared, LENGTHS, labels)
    other = LinearChain(
        emissions[:, swapped],
        shared[0][np.ix_(swapped, swapped)],
        shared[1][swapped],
        shared[2][swapped],
        LENGTHS,
        biluo_labels(["LOC", "PER"]),
    )
    spans = one.span_marginals(4)
    close(other.span_marginals(4), spans[:, :, ::-1])
    tokens = one.marginals().tokens
    close(spans[:, 0], tokens[:, [4, 8]])
    close(one.span_marginals(5)[:, 1:].sum(axis=1), tokens[:, [1, 5]])


def test_sentences_that_need_log_space(xp, rng):
    """Scaled float32 loses the best way through one sentence, as in `test_chain`."""
    potentials = make(rng, legal=True, scale=0.5)
    begin = sum(LENGTHS[:3])
    potentials[0][begin : begin + 5] = 0.0
    potentials[0][begin, 0] = 120.0
    potentials[0][begin + 1 : begin + 5, [0, 1, 4]] = -300.0
    chain = chain_of(xp, potentials, dtype="float32")
    close(chain.span_marginals(5), enumerated(potentials, 5), 1e-5)
    assert [part.sentences.tolist() for part in chain._exact] == [[3]]


@pytest.mark.parametrize("scale", [1.0, 50.0])
def test_float32_on_long_sentences(scale):
    potentials = make(np.random.default_rng(1), True, [2000, 30], scale)
    single = chain_of(np, potentials, [2000, 30], "float32").span_marginals(12)
    double = chain_of(np, [p.astype("float32") for p in potentials], [2000, 30])
    assert single.dtype == np.float32 and single.shape == (2030, 12, 1)
    close(single, double.span_marginals(12), 1e-4)


@pytest.mark.parametrize("lengths", [[], [0], [1], [0, 2]])
def test_short_batches(lengths):
    chain = chain_of(np, make(np.random.default_rng(0), True, lengths), lengths)
    spans = chain.span_marginals(3)
    assert spans.shape == (sum(lengths), 3, 1)
    close(spans[:, 0, 0], chain.marginals().tokens[:, 4])


@pytest.mark.parametrize(
    "labels, message",
    [
        (None, "without label names"),
        (["O", "I-PER", "B-PER", "L-PER", "U-PER"], "in the order of `biluo_labels`"),
        (["O", "B-PER", "I-PER", "L-PER", "U-LOC"], "but they are O, B-PER"),
        (["A", "B", "C", "D", "E"], "have to be BILUO labels"),
    ],
)
def test_chains_that_have_no_spans(rng, labels, message):
    chain = LinearChain(*make(rng, True), LENGTHS, labels)
    with pytest.raises(ValueError, match=message):
        chain.span_marginals(3)


def test_a_width_that_does_not_exist(rng):
    with pytest.raises(ValueError, match="max_width should be at least 1"):
        chain_of(np, make(rng, True)).span_marginals(0)
