import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_skd.structures import FlatSpans
from spacy_skd.structures.span_decoding import decode_greedy, decode_nested, without_overlaps


def overlapping(span, other):
    return span[0] <= other[1] and other[0] <= span[1]


def crossing(span, other):
    return span[0] < other[0] <= span[1] < other[1] or other[0] < span[0] <= other[1] < span[1]


def one_by_one(scores, lengths, threshold, conflict):
    """The textbook loop over the spans of one sentence after the other."""
    found, offset = [], 0
    for length in lengths:
        candidates = [
            (first, first + width, int(row.argmax()), float(row.max()))
            for first in range(length)
            for width, row in enumerate(scores[offset + first, : length - first])
            if row.max() > threshold
        ]
        accepted = []
        for span in sorted(candidates, key=lambda span: -span[3]):
            if not any(conflict(span, other) for other in accepted):
                accepted.append(span)
        found.append(accepted)
        offset += length
    return found


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 9), max_size=5),
    st.integers(1, 6),
    st.integers(1, 3),
    st.sampled_from([-1.0, 0.0, 1.0]),
    st.booleans(),
)
def test_against_the_loop(lengths, max_width, n_labels, threshold, with_ties):
    rng = np.random.default_rng(sum(lengths))
    scores = rng.normal(size=(sum(lengths), max_width, n_labels)) * 2
    if with_ties:
        scores = scores.round()
    arguments = (scores, lengths, threshold)
    assert decode_nested(*arguments) == one_by_one(*arguments, crossing)
    assert decode_greedy(*arguments) == one_by_one(*arguments, overlapping)


@pytest.mark.parametrize("n_spans", [0, 1, 30])
def test_listed_spans_without_overlaps(rng, n_spans):
    sentences = np.sort(rng.integers(0, 3, n_spans))
    firsts = 10 * sentences + rng.integers(0, 8, n_spans)
    lasts = firsts + rng.integers(0, 3, n_spans)
    scores = rng.integers(0, 4, n_spans).astype(float)
    accepted = []
    for number in np.argsort(-scores, kind="stable").tolist():
        span = (firsts[number], lasts[number])
        if not any(overlapping(span, (firsts[other], lasts[other])) for other in accepted):
            accepted.append(number)
    found = without_overlaps(sentences, firsts, lasts, scores)
    assert found.tolist() == sorted(accepted)


def test_containment_is_kept_and_crossing_refused(xp):
    scores = np.zeros((5, 4, 2))
    scores[0, 3, 0] = 0.9
    scores[1, 1, 1] = 0.8
    scores[1, 1, 0] = 0.7  # the same tokens with another label
    scores[2, 2, 1] = 0.6  # crosses both
    scores[4, 0, 0] = 0.55
    scores[4, 1, 0] = 1.0  # sticks out
    nested = decode_nested(xp.asarray(scores), [5], 0.5)
    assert nested == [[(0, 3, 0, 0.9), (1, 2, 1, 0.8), (4, 4, 0, 0.55)]]
    flat = decode_greedy(xp.asarray(scores), [5], 0.5)
    assert flat == [[(0, 3, 0, 0.9), (4, 4, 0, 0.55)]]
    assert decode_nested(scores, [5], 0.9) == [[]]


def test_numbers_are_those_of_python():
    spans = decode_nested(np.ones((1, 1, 1), dtype="float32"), [1], 0.0)
    assert [type(number) for number in spans[0][0]] == [int, int, int, float]


@pytest.mark.parametrize("decode", [decode_nested, decode_greedy])
def test_impossible_spans_and_empty_batches(decode):
    assert decode(np.full((2, 1, 1), -np.inf), [2], -1e9) == [[]]
    assert decode(np.zeros((0, 2, 3)), [], 0.0) == []
    assert decode(np.zeros((0, 2, 3)), [0, 0], 0.0) == [[], []]
    with pytest.raises(ValueError, match="scores should have the shape"):
        decode(np.zeros((2, 1)), [2], 0.0)
    with pytest.raises(ValueError, match="sum to the number of tokens"):
        decode(np.zeros((2, 1, 1)), [3], 0.0)


def test_greedy_is_never_better_than_the_exact_best_set():
    rng = np.random.default_rng(0)
    lengths = [12] * 50
    spans = FlatSpans(rng.normal(size=(600, 5, 3)), lengths)
    greedy = [{span[:3] for span in found} for found in decode_greedy(spans.scores, lengths)]
    behind = spans.score(spans.argmax()) - spans.score(greedy)
    assert behind.min() >= -1e-9 and (behind > 1e-9).any()
