"""The probabilities of a few spans, against all label sequences and against all marginals."""

import numpy as np
import pytest

from spacy_skd.structures import (
    FlatSpans,
    LinearChain,
    LocalSpans,
    as_potentials,
    biluo_labels,
    legal_moves,
    spans_of,
)
from spacy_skd.structures.base import to_host
from spacy_skd.structures.span_probabilities import likely_spans, span_probabilities

from .brute_force import chain_scores

ENTITIES = ["PER", "LOC"]
LENGTHS = [4, 0, 1, 5, 3]


def random_chain(rng, scale=2.0, xp=np):
    labels = biluo_labels(ENTITIES)
    masks = [as_potentials(mask, np.float64) for mask in legal_moves(labels)]
    moves = [mask + rng.normal(size=mask.shape) for mask in masks]
    emissions = rng.normal(size=(sum(LENGTHS), len(labels))) * scale
    return LinearChain(xp.asarray(emissions), *map(xp.asarray, moves), LENGTHS, labels)


def random_spans(kind, rng, xp=np):
    scores = xp.asarray(rng.normal(size=(sum(LENGTHS), 3, 2)))
    return kind(scores, LENGTHS, ENTITIES)


def every_span(max_width):
    """All spans within sentences: first and last tokens in the batch, and labels."""
    ends = np.repeat(np.cumsum(LENGTHS), LENGTHS)
    return np.asarray(
        [
            (first, last, label)
            for first in range(sum(LENGTHS))
            for last in range(first, min(first + max_width, ends[first]))
            for label in range(len(ENTITIES))
        ]
    ).T


@pytest.mark.parametrize("scale", [2.0, 200.0])  # the latter leaves scaled space
def test_spans_of_a_chain_agree_with_all_sequences(rng, scale):
    chain = random_chain(rng, scale)
    spans = every_span(max(LENGTHS))
    found = span_probabilities(chain, *spans)
    expected = dict.fromkeys(zip(*spans.tolist()), 0.0)
    start = 0
    for length in filter(None, LENGTHS):
        sentence = chain.emissions[start : start + length]
        listed = chain_scores(sentence, chain.transitions, chain.start, chain.end)
        for output, probability in zip(listed.outputs, listed.probs):
            if probability > 0:
                for first, last, label in spans_of(output, chain.labels):
                    expected[start + first, start + last, ENTITIES.index(label)] += probability
        start += length
    np.testing.assert_allclose(found, list(expected.values()), atol=1e-12)


@pytest.mark.parametrize("kind", [FlatSpans, LocalSpans, LinearChain])
@pytest.mark.parametrize("threshold", [1e-6, 0.05, 0.5, 2.0])
def test_likely_spans_are_those_above_the_threshold(rng, xp, kind, threshold):
    structure = random_chain(rng, xp=xp) if kind is LinearChain else random_spans(kind, rng, xp)
    spans = every_span(max(LENGTHS) if kind is LinearChain else 3)
    probabilities = span_probabilities(structure, *spans)
    above = probabilities >= threshold
    found = likely_spans(structure, threshold)
    assert np.stack(found[:3]).tolist() == spans[:, above].tolist()
    np.testing.assert_allclose(found.probabilities, probabilities[above])


@pytest.mark.parametrize("kind", [FlatSpans, LocalSpans])
def test_spans_have_their_marginals(rng, kind):
    structure = random_spans(kind, rng)
    firsts, lasts, labels = every_span(3)
    expected = to_host(structure.marginals())[firsts, lasts - firsts, labels]
    assert (span_probabilities(structure, firsts, lasts, labels) == expected).all()


def test_no_spans_and_no_tokens(rng):
    none = np.zeros(0, dtype=np.int64)
    labels = biluo_labels(ENTITIES)
    masks = [as_potentials(mask, np.float64) for mask in legal_moves(labels)]
    empty = LinearChain(np.zeros((0, len(labels))), *masks, [0], labels)
    for structure in (random_chain(rng), random_spans(FlatSpans, rng), empty):
        assert not len(span_probabilities(structure, none, none, none))
    assert not len(likely_spans(empty, 0.5).firsts)


def test_what_is_refused(rng):
    with pytest.raises(ValueError, match="above 0"):
        likely_spans(random_chain(rng), 0.0)
    with pytest.raises(TypeError, match="ndarray"):
        likely_spans(np.zeros(3), 0.5)
