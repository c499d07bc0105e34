"""Independent spans against enumeration of all sets of spans."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_skd.structures import SentenceError, Structure
from spacy_skd.structures.base import to_host
from spacy_skd.structures.local_spans import LocalSpans

LENGTHS = [3, 0, 1, 2]
MAX_WIDTH = 2
N_LABELS = 2


def make(rng, max_width=MAX_WIDTH, barred=0.2):
    scores = rng.normal(size=(sum(LENGTHS), max_width, N_LABELS), scale=2)
    scores[rng.random(scores.shape) < barred] = -np.inf
    return scores


class Enumerated:
    """All sets of spans of one sentence, (n, W, R), with their scores."""

    def __init__(self, scores):
        n, max_width, n_labels = scores.shape
        spans = [(i, j) for i in range(n) for j in range(i, min(n, i + max_width))]
        self.shape = scores.shape
        self.outputs, values = [], []
        for labels in product(range(-1, n_labels), repeat=len(spans)):
            output = frozenset((i, j, r) for (i, j), r in zip(spans, labels) if r >= 0)
            self.outputs.append(output)
            values.append(sum(scores[i, j - i, r] for i, j, r in output))
        self.scores = np.array(values)
        self.log_z = np.logaddexp.reduce(self.scores)
        self.log_probs = self.scores - self.log_z

    def marginals(self):
        marginals = np.zeros(self.shape)
        for output, log_prob in zip(self.outputs, self.log_probs):
            for i, j, r in output:
                marginals[i, j - i, r] += np.exp(log_prob)
        return marginals

    def entropy(self):
        possible = self.log_probs[self.log_probs > -np.inf]
        return -(np.exp(possible) * possible).sum()

    def best(self, k):
        order = np.argsort(-self.scores, kind="stable")[:k]
        return [(self.outputs[i], self.log_probs[i]) for i in order if self.scores[i] > -np.inf]


def sentences(scores):
    return [Enumerated(part) for part in np.split(scores, np.cumsum(LENGTHS)[:-1])]


def close(found, expected, tolerance=1e-9):
    np.testing.assert_allclose(to_host(found), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("seed", range(4))
def test_against_enumeration(xp, seed):
    scores = make(np.random.default_rng(seed))
    spans = LocalSpans(xp.asarray(scores), LENGTHS)
    expected = sentences(scores)
    close(spans.log_partition(), [e.log_z for e in expected])
    close(spans.packing.sum(spans.span_log_partition().sum(axis=1)), [e.log_z for e in expected])
    close(spans.entropy(), [e.entropy() for e in expected])
    close(spans.marginals(), np.concatenate([e.marginals() for e in expected]))
    assert spans.argmax() == [e.best(1)[0][0] for e in expected]
    choice = [len(e.outputs) // 2 for e in expected]
    outputs = [e.outputs[i] for e, i in zip(expected, choice)]
    close(spans.log_prob(outputs), [e.log_probs[i] for e, i in zip(expected, choice)])


@pytest.mark.parametrize("k", [1, 2, 7, 1000])
def test_topk(xp, rng, k):
    scores = make(rng)
    for found, enumeration in zip(
        LocalSpans(xp.asarray(scores), LENGTHS).topk(k), sentences(scores)
    ):
        expected = enumeration.best(k)
        assert [output for output, _ in found] == [output for output, _ in expected]
        close([value for _, value in found], [value for _, value in expected])


def test_what_sticks_out_is_ignored(rng):
    """Not even a NaN there matters, and a width that fits nowhere changes nothing."""
    scores = make(rng, max_width=5)
    clean = LocalSpans(scores[:, :3].copy(), LENGTHS)
    scores[2, 1:] = np.nan  # the last token of the first sentence
    scores[:, 3:] = np.inf
    spans = LocalSpans(scores, LENGTHS)
    assert spans.max_width == 5 and clean.max_width == 3
    assert spans.log_partition().tolist() == clean.log_partition().tolist()
    assert spans.entropy().tolist() == clean.entropy().tolist()
    assert spans.argmax() == clean.argmax() and spans.topk(5) == clean.topk(5)
    marginals = spans.marginals()
    assert (marginals[:, :3] == clean.marginals()).all()
    assert not marginals[:, 3:].any() and not marginals[2, 1:].any()


def test_marginals_are_the_gradient_of_log_z(rng):
    scores = make(rng, barred=0)
    marginals = LocalSpans(scores, LENGTHS).marginals()
    for index in np.ndindex(scores.shape):
        shift = np.zeros_like(scores)
        shift[index] = 1e-5
        above = LocalSpans(scores + shift, LENGTHS).log_partition().sum()
        below = LocalSpans(scores - shift, LENGTHS).log_partition().sum()
        close((above - below) / 2e-5, marginals[index], 1e-6)


def test_parts_are_the_gradient_of_the_score(xp, rng):
    scores = make(rng, barred=0)
    spans = LocalSpans(xp.asarray(scores), LENGTHS)
    outputs = [{(0, 1, 0), (1, 1, 1)}, set(), [(0, 0, 1)], ()]
    parts = to_host(spans.parts_of(outputs))
    close(spans.score(outputs), [scores[0, 1, 0] + scores[1, 0, 1], 0, scores[3, 0, 1], 0])
    assert np.argwhere(parts).tolist() == [[0, 1, 0], [1, 0, 1], [3, 0, 1]]
    assert parts.sum() == 3


def test_select(rng):
    spans = LocalSpans(make(rng), LENGTHS, ["a", "b"])
    chosen = [3, 1, 0]
    selected = spans.select(chosen)
    assert selected.labels == ("a", "b") and selected.n_labels == 2
    close(selected.log_partition(), spans.log_partition()[chosen])
    assert selected.argmax() == [spans.argmax()[b] for b in chosen]


def test_rare_spans_are_counted_in_single_precision():
    """log(1 + ε) is ε, not 0; and large scores do not overflow."""
    rare = LocalSpans(np.full((1, 1, 2), -20, dtype="float32"), [1])
    assert rare.log_partition()[0] == pytest.approx(2 * np.exp(-20), rel=1e-5)
    sure = LocalSpans(np.full((1, 1, 2), 200, dtype="float32"), [1])
    assert sure.log_partition()[0] == pytest.approx(200 + np.log(2))
    assert sure.marginals().ravel() == pytest.approx([0.5, 0.5])


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(0, 6), max_size=6),
    st.integers(1, 4),
    st.integers(1, 3),
    st.sampled_from(["float32", "float64"]),
)
def test_shapes_and_dtypes(lengths, max_width, n_labels, dtype):
    shape = (sum(lengths), max_width, n_labels)
    spans = LocalSpans(np.random.default_rng(1).normal(size=shape).astype(dtype), lengths)
    assert isinstance(spans, Structure)
    outputs = spans.argmax()
    for n, output in zip(lengths, outputs):
        assert all(0 <= i <= j < n and j - i < max_width for i, j, _ in output)
    for values in (
        spans.log_partition(),
        spans.entropy(),
        spans.log_prob(outputs),
        spans.score(outputs),
    ):
        assert values.shape == (len(lengths),) and values.dtype == dtype
    for parts in (spans.marginals(), spans.parts_of(outputs)):
        assert parts.shape == shape and parts.dtype == dtype
    for found, output, log_prob in zip(spans.topk(2), outputs, spans.log_prob(outputs)):
        assert found[0][0] == output
        assert found[0][1] == pytest.approx(log_prob, abs=1e-4)


def test_a_sentence_without_tokens_has_one_output():
    spans = LocalSpans(np.zeros((0, 3, 2)), [0])
    assert spans.topk(3) == [[(frozenset(), 0.0)]]
    assert spans.log_partition().tolist() == spans.entropy().tolist() == [0.0]
    assert LocalSpans(np.zeros((0, 3, 2)), []).argmax() == []


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_score_that_is_no_number_names_the_sentence(rng, value):
    scores = make(rng)
    scores[4, 1, 0] = value
    with pytest.raises(SentenceError, match=r"Sentence 3 .* token 0 .of 2.") as caught:
        LocalSpans(scores, LENGTHS)
    assert caught.value.sentence == 3


@pytest.mark.parametrize(
    "scores, lengths, labels, message",
    [
        (np.zeros((3, 2)), [3], None, "shape"),
        (np.zeros((3, 2, 0)), [3], None, "at least one label"),
        (np.zeros((3, 0, 2)), [3], None, "at least one width"),
        (np.zeros((3, 2, 1)), [2], None, "sum to the number of tokens"),
        (np.zeros((3, 2, 2)), [3], ["a"], "2 labels, but 1"),
    ],
)
def test_arguments_that_do_not_fit(scores, lengths, labels, message):
    with pytest.raises(ValueError, match=message):
        LocalSpans(scores, np.array(lengths), labels)


@pytest.mark.parametrize(
    "spans, message",
    [
        ([(2, 3, 0)], r"span \(2, 3, 0\), which is not within its 3 tokens"),
        ([(-1, 0, 0)], "not within"),
        ([(1, 0, 0)], "not within"),
        ([(0, 2, 0)], "of 3 tokens, but there are scores only for spans of at most 2"),
        ([(0, 0, 2)], "only 2 labels"),
        ([(0, 0, 1), (0, 0, 0)], r"the same tokens as its span \(0, 0, 1\)"),
    ],
)
def test_outputs_that_do_not_fit(rng, spans, message):
    local = LocalSpans(make(rng), LENGTHS)
    with pytest.raises(SentenceError, match=message) as caught:
        local.parts_of([spans, [], [], []])
    assert caught.value.sentence == 0
    with pytest.raises(ValueError, match="4 sentences, but 1 outputs"):
        local.log_prob([spans])
    with pytest.raises(ValueError, match="k should be"):
        local.topk(0)
