"""Flat spans as arrays: shapes and types, long sentences and extreme scores in float32."""

from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_skd.structures import FlatSpans, Structure

from .span_cases import GARBAGE, LENGTHS, close, make, spans_of


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 6), max_size=6),
    st.integers(1, 8),
    st.integers(1, 4),
    st.sampled_from(["float32", "float64"]),
    st.sampled_from([0.0, 0.5, 1.0]),
)
def test_shapes_and_dtypes(lengths, max_width, n_labels, dtype, forbidden):
    made = make(np.random.default_rng(1), lengths, max_width, n_labels, forbidden)
    spans = spans_of(np, made, lengths, dtype)
    assert isinstance(spans, Structure)
    assert (spans.max_width, spans.n_labels) == (max_width, n_labels)
    outputs, shape = spans.argmax(), made[0].shape
    for values in (
        spans.log_partition(),
        spans.entropy(),
        spans.log_prob(outputs),
        spans.score(outputs),
    ):
        assert values.shape == (len(lengths),) and values.dtype == dtype
        assert np.isfinite(values).all()
    for parts in (spans.marginals(), spans.parts_of(outputs)):
        assert parts.shape == shape and parts.dtype == dtype
        assert parts.flags.c_contiguous
        assert (parts[made[0] == GARBAGE] == 0).all()
    biluo = spans.biluo_marginals()
    assert all(part.dtype == dtype for part in astuple(biluo))
    assert biluo.tokens.shape == (sum(lengths), 4 * n_labels + 1)
    assert biluo.tokens.sum(axis=1) == pytest.approx(np.ones(sum(lengths)), abs=1e-5)
    assert biluo.pairs.sum() == pytest.approx(sum(n - 1 for n in lengths if n), abs=1e-4)
    for found, output in zip(spans.topk(2), outputs):
        assert found[0][0] == output


@pytest.mark.parametrize("lengths", [[2000], [2000, 3, 1, 400]])
@pytest.mark.parametrize("scale", [1.0, 50.0])
@pytest.mark.parametrize("max_width", [8, 200])
def test_float32_on_long_sentences_and_extreme_scores(lengths, scale, max_width):
    rng = np.random.default_rng(3)
    scores = rng.uniform(-scale, scale, size=(sum(lengths), max_width, 2)).astype("float32")
    outside = rng.uniform(-scale, scale, size=sum(lengths)).astype("float32")
    single = spans_of(np, (scores, outside), lengths, "float32")
    double = spans_of(np, (scores, outside), lengths)
    np.testing.assert_allclose(single.log_partition(), double.log_partition(), rtol=1e-6)
    close(double.log_partition(), [log_space_log_z(double, b) for b in range(len(lengths))], 1e-6)
    close(single.marginals(), double.marginals(), 1e-5)
    biluo = single.biluo_marginals()
    close(biluo.tokens.sum(axis=1), np.ones(sum(lengths)), 1e-4)
    close(biluo.tokens, double.biluo_marginals().tokens, 1e-5)
    assert single.argmax() == double.argmax()
    outputs = double.argmax()
    np.testing.assert_allclose(single.score(outputs), double.score(outputs), rtol=1e-6)
    assert (double.log_prob(outputs) <= 1e-9).all()


def log_space_log_z(spans, sentence):
    """log Z of one sentence by the textbook recursion."""
    spans = spans.select([sentence])
    log_f = np.array([0.0])
    for token, free in enumerate(spans.outside):
        ways = [log_f[token] + free]
        for width in range(min(spans.max_width, token + 1)):
            ways.extend(log_f[token - width] + spans.scores[token - width, width])
        log_f = np.append(log_f, np.logaddexp.reduce(ways))
    return log_f[-1]


@pytest.mark.parametrize("max_width, n_labels", [(3, 2), (1, 1)])
def test_results_can_be_changed_in_place(rng, max_width, n_labels):
    made = make(rng, max_width=max_width, n_labels=n_labels)
    spans = FlatSpans(made[0].copy(), LENGTHS, outside=made[1])

    def results():
        biluo = astuple(spans.biluo_marginals())
        return [spans.log_partition(), spans.marginals(), spans.outside_marginals(), *biluo]

    before = [part.copy() for part in results()]
    for part in results():
        part -= 1.0
    for old, new in zip(before, results()):
        assert (old == new).all()
    assert (spans.scores == made[0]).all()


def test_float16_is_computed_in_float32(rng):
    scores, _ = make(rng)
    assert FlatSpans(scores.astype("float16"), LENGTHS).marginals().dtype == np.float32
