from dataclasses import astuple
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_skd.structures import (
    FlatSpans,
    LinearChain,
    SentenceError,
    Structure,
    as_potentials,
    biluo_labels,
    legal_moves,
)
from spacy_skd.structures.base import to_host

from .span_brute_force import outside_of, span_scores

LENGTHS = [3, 0, 1, 5, 4]
METHODS = ["log_partition", "marginals", "argmax", "entropy", "biluo_marginals"]
GARBAGE = 7.0


def make(rng, lengths=LENGTHS, max_width=3, n_labels=2, forbidden=0.0, with_outside=True):
    """Random scores with garbage where spans stick out; every sentence has an output."""
    n_tokens = sum(lengths)
    scores = rng.normal(size=(n_tokens, max_width, n_labels), scale=1.5)
    scores[rng.random(scores.shape) < forbidden] = -np.inf
    outside = rng.normal(size=n_tokens) if with_outside else np.zeros(n_tokens)
    if with_outside:
        outside[rng.random(n_tokens) < forbidden] = -np.inf
        if forbidden:
            scores[:, 0, 0] = 0.5
    room = np.concatenate([np.arange(n, 0, -1) for n in lengths if n] or [np.zeros(0)])
    scores[np.arange(max_width) >= room[:, None]] = GARBAGE
    return scores, outside


def spans_of(xp, made, lengths=LENGTHS, dtype="float64", labels=None):
    scores, outside = (xp.asarray(array, dtype=dtype) for array in made)
    return FlatSpans(scores, lengths, labels, outside=outside)


def enumerate_all(made, lengths=LENGTHS):
    bounds = np.cumsum(lengths)[:-1]
    return [span_scores(*parts) for parts in zip(*(np.split(array, bounds) for array in made))]


def close(found, expected, tolerance=1e-9):
    np.testing.assert_allclose(to_host(found), expected, rtol=0, atol=tolerance)


CASES = pytest.mark.parametrize(
    "seed, max_width, n_labels, forbidden",
    [
        (0, 3, 2, 0.0),
        (1, 1, 1, 0.0),
        (2, 2, 3, 0.3),
        (3, 7, 2, 0.5),
        (4, 4, 1, 0.8),
        (5, 1, 3, 0.4),
    ],
)


@CASES
def test_against_enumeration(xp, seed, max_width, n_labels, forbidden):
    made = make(np.random.default_rng(seed), LENGTHS, max_width, n_labels, forbidden)
    spans, expected = spans_of(xp, made), enumerate_all(made)
    close(spans.log_partition(), [e.log_z for e in expected])
    close(spans.entropy(), [e.entropy for e in expected])
    close(spans.marginals(), np.concatenate([e.spans() for e in expected]))
    close(spans.outside_marginals(), np.concatenate([e.outside() for e in expected]))
    for output, enumeration in zip(spans.argmax(), expected):
        assert output == enumeration.best(1)[0][1]
        assert all(type(number) is int for span in output for number in span)


@CASES
@pytest.mark.parametrize("weights", [None, np.array([0.5, 2.0, 1.0, 3.0, 0.25])])
def test_biluo_marginals(xp, seed, max_width, n_labels, forbidden, weights):
    made = make(np.random.default_rng(seed), LENGTHS, max_width, n_labels, forbidden)
    each = np.ones(len(LENGTHS)) if weights is None else weights
    found = spans_of(xp, made).biluo_marginals(None if weights is None else xp.asarray(weights))
    tokens, pairs = zip(*(e.tokens_and_pairs() for e in enumerate_all(made)))
    close(found.tokens, np.concatenate(tokens))
    close(found.pairs, sum(w * p for w, p in zip(each, pairs)))
    close(found.starts, sum(w * t[0] for w, t in zip(each, tokens) if len(t)))
    close(found.ends, sum(w * t[-1] for w, t in zip(each, tokens) if len(t)))


@CASES
@pytest.mark.parametrize("k", [1, 2, 10, 2000])
def test_topk(xp, seed, max_width, n_labels, forbidden, k):
    made = make(np.random.default_rng(seed), LENGTHS, max_width, n_labels, forbidden)
    for found, enumeration in zip(spans_of(xp, made).topk(k), enumerate_all(made)):
        expected = enumeration.best(k)
        assert [output for output, _ in found] == [output for _, output in expected]
        close([log_prob for _, log_prob in found], [log_prob for log_prob, _ in expected])


@pytest.mark.parametrize("k", [5, 60, 1000])
def test_topk_with_ties_lists_every_output_once(k):
    """Scores 0 and 1 only: among equals any order, but the right ones and none twice."""
    rng = np.random.default_rng(0)
    made = [rng.integers(2, size=shape).astype(float) for shape in ((5, 3, 1), (5,))]
    found = spans_of(np, made, [5]).topk(k)[0]
    enumeration = enumerate_all(made, [5])[0]
    assert len({output for output, _ in found}) == len(found) == min(k, len(enumeration.outputs))
    close([p for _, p in found], np.sort(enumeration.log_probs)[::-1][:k])
    listed = dict(zip(enumeration.outputs, enumeration.log_probs))
    close([p for _, p in found], [listed[output] for output, _ in found])


@pytest.mark.parametrize("with_outside", [True, False])
def test_score_log_prob_and_parts(xp, rng, with_outside):
    made = make(rng, forbidden=0.3, with_outside=with_outside)
    spans, expected = spans_of(xp, made), enumerate_all(made)
    if not with_outside:
        spans = FlatSpans(spans.scores, LENGTHS)
    for choice in (0, -1, 7):
        outputs = [e.outputs[choice % len(e.outputs)] for e in expected]
        scores = np.array([e.scores[choice % len(e.outputs)] for e in expected])
        close(spans.score(outputs), scores)
        close(spans.score([sorted(output) for output in outputs]), scores)
        close(spans.log_prob(outputs), scores - [e.log_z for e in expected])
        parts = np.zeros(made[0].shape)
        for output, offset in zip(outputs, np.cumsum([0, *LENGTHS])):
            for first, last, label in output:
                parts[offset + first, last - first, label] = 1
        assert to_host(spans.parts_of(outputs)).tolist() == parts.tolist()


def test_marginals_are_the_gradient_of_log_z(rng):
    made = make(rng)
    spans = spans_of(np, made)
    for number, gradient in enumerate((spans.marginals(), spans.outside_marginals())):
        for index in np.ndindex(gradient.shape):
            values = []
            for step in (1e-5, -1e-5):
                shifted = [array.copy() for array in made]
                shifted[number][index] += step
                values.append(spans_of(np, shifted).log_partition().sum())
            close((values[0] - values[1]) / 2e-5, gradient[index], 1e-6)


@pytest.mark.parametrize("garbage", [0.0, 1e30, -np.inf, np.inf, np.nan])
def test_what_sticks_out_does_not_matter(xp, rng, garbage):
    made = make(rng)
    spans = spans_of(xp, made)
    other = spans_of(xp, (np.where(made[0] == GARBAGE, garbage, made[0]), made[1]))
    for method in ("log_partition", "entropy", "marginals"):
        close(getattr(other, method)(), to_host(getattr(spans, method)()), 0)
    assert other.argmax() == spans.argmax()
    assert other.topk(5) == spans.topk(5)


def test_outside_is_zero_unless_given(xp, rng):
    scores, outside = make(rng, with_outside=False)
    implicit, explicit = FlatSpans(xp.asarray(scores), LENGTHS), spans_of(xp, (scores, outside))
    for method in ("log_partition", "entropy", "marginals"):
        close(getattr(implicit, method)(), to_host(getattr(explicit, method)()), 0)
    assert implicit.topk(9) == explicit.topk(9)


@pytest.mark.parametrize("given_outside", [True, False])
def test_restrict_sums_over_what_agrees_with_the_annotation(xp, rng, given_outside):
    made = make(rng, with_outside=given_outside)
    allowed, free = rng.random(made[0].shape) < 0.5, rng.random(sum(LENGTHS)) < 0.7
    allowed[:, 0, 0] = True
    spans = spans_of(xp, made, labels=["a", "b"])
    if not given_outside:
        spans = FlatSpans(spans.scores, LENGTHS, spans.labels)
    restricted = spans.restrict(xp.asarray(allowed), xp.asarray(free))
    assert restricted.packing is spans.packing and restricted.labels == ("a", "b")
    partly = spans.restrict(xp.asarray(allowed))
    bounds = np.cumsum([0, *LENGTHS])
    for b, enumeration in enumerate(enumerate_all(made)):
        here, free_here = allowed[bounds[b] : bounds[b + 1]], free[bounds[b] : bounds[b + 1]]
        agree = np.array(
            [all(here[i, j - i, r] for i, j, r in output) for output in enumeration.outputs]
        )
        covers = np.array(
            [free_here[outside_of(y, len(here))].all() for y in enumeration.outputs], dtype=bool
        )
        close(to_host(partly.log_partition())[b], np.logaddexp.reduce(enumeration.scores[agree]))
        compatible = enumeration.scores[agree & covers]
        close(to_host(restricted.log_partition())[b], np.logaddexp.reduce(compatible))


def test_select_and_batches_agree_with_single_sentences(xp, rng):
    spans = spans_of(xp, make(rng, forbidden=0.3))
    marginals = np.split(to_host(spans.marginals()), np.cumsum(LENGTHS)[:-1])
    for b in range(len(LENGTHS)):
        single = spans.select([b])
        close(single.log_partition(), to_host(spans.log_partition())[[b]])
        close(single.marginals(), marginals[b])
        assert single.argmax()[0] == spans.argmax()[b]
    chosen = spans.select(np.array([3, 2, 2]))
    assert chosen.lengths.tolist() == [5, 1, 1]
    close(chosen.log_partition(), to_host(spans.log_partition())[[3, 2, 2]])


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


def test_a_sentence_without_tokens_has_one_output():
    empty = FlatSpans(np.zeros((0, 2, 3)), [0])
    assert empty.topk(3) == [[(frozenset(), 0.0)]]
    assert empty.argmax() == [frozenset()]
    assert empty.log_partition().tolist() == empty.entropy().tolist() == [0.0]
    assert empty.marginals().shape == empty.parts_of([set()]).shape == (0, 2, 3)
    assert empty.biluo_marginals().pairs.tolist() == np.zeros((13, 13)).tolist()


def test_spans_of_one_token_are_independent_labels(rng):
    """With W = 1 the spans of a token are its labels: a softmax with "no entity"."""
    scores, outside = make(rng, max_width=1, n_labels=3)
    logits = np.column_stack([outside, scores[:, 0]])
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    spans = spans_of(np, (scores, outside))
    close(spans.marginals()[:, 0], softmax[:, 1:])
    biluo = spans.biluo_marginals()
    close(biluo.tokens[:, [0, 4, 8, 12]], softmax)
    close(biluo.pairs[np.ix_([0, 4, 8, 12], [0, 4, 8, 12])], pairs_of_neighbours(softmax))


def pairs_of_neighbours(tokens):
    parts = np.split(tokens, np.cumsum(LENGTHS)[:-1])
    return sum(part[:-1].T @ part[1:] for part in parts)


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


def test_a_best_set_that_greedy_misses():
    """One span of 3 against two spans of 2 each that it overlaps."""
    scores = np.full((4, 2, 1), -9.0)
    scores[0, 1] = scores[2, 1] = 2.0
    scores[1, 1] = 3.0
    spans = FlatSpans(scores, [4])
    assert spans.argmax() == [{(0, 1, 0), (2, 3, 0)}]
    assert [output for output, _ in spans.topk(2)[0]] == [{(0, 1, 0), (2, 3, 0)}, {(1, 2, 0)}]


def test_an_additive_chain_is_the_same_distribution(xp, rng):
    """Span scores that are sums of a BILUO chain's scores: both kinds give the same marginals."""
    lengths, labels = [9, 1, 0, 14], ["PER", "LOC"]
    chain = biluo_chain(xp, rng, lengths, labels)
    emissions, transitions = to_host(chain.emissions), to_host(chain.transitions)
    max_width = max(lengths)
    scores = np.zeros((sum(lengths), max_width, len(labels)))
    for first, (end, label) in enumerate(
        (end, label) for end, n in zip(np.cumsum(lengths), lengths) for label in [None] * n
    ):
        for width in range(end - first):
            for label in range(len(labels)):
                columns = entity_columns(width, label)
                scores[first, width, label] = sum(
                    emissions[first + offset, column] for offset, column in enumerate(columns)
                ) + sum(transitions[pair] for pair in pairwise(columns))
    outside = xp.asarray(emissions[:, 0])
    spans = FlatSpans(xp.asarray(scores), lengths, labels, outside=outside)
    close(spans.log_partition(), to_host(chain.log_partition()))
    close(spans.entropy(), to_host(chain.entropy()))
    close(chain.span_marginals(max_width), to_host(spans.marginals()))
    for found, expected in zip(astuple(spans.biluo_marginals()), astuple(chain.marginals())):
        close(found, to_host(expected))


def entity_columns(width, label):
    """Columns of `biluo_labels` of an entity."""
    begin, inside, last, unit = range(1 + 4 * label, 5 + 4 * label)
    return [begin, *[inside] * (width - 1), last] if width else [unit]


def biluo_chain(xp, rng, lengths, labels):
    """A chain with legal moves only, and random scores for those within an entity."""
    columns = biluo_labels(labels)
    moves, starts, ends = (as_potentials(mask, "float64") for mask in legal_moves(columns))
    for label in range(len(labels)):
        begin, inside, last, _ = range(1 + 4 * label, 5 + 4 * label)
        moves[np.ix_([begin, inside], [inside, last])] += rng.normal(size=(2, 2))
    emissions = rng.normal(size=(sum(lengths), len(columns)))
    return LinearChain(*map(xp.asarray, (emissions, moves, starts, ends)), lengths, columns)


@pytest.mark.parametrize("method", METHODS)
def test_no_possible_output_names_the_sentence(xp, rng, method):
    scores, outside = make(rng)
    outside[6] = -np.inf
    scores[4:7] = -np.inf
    with pytest.raises(SentenceError, match=r"Sentence 3 .*5 tokens.* no possible") as caught:
        getattr(spans_of(xp, (scores, outside)), method)()
    assert caught.value.sentence == 3
    with pytest.raises(SentenceError, match="no possible"):
        spans_of(xp, (scores, outside)).topk(2)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_score_that_is_no_number(xp, rng, value):
    for number, what in enumerate(["a span score", "a score for no span"]):
        made = make(rng)
        made[number][7] = value
        with pytest.raises(SentenceError, match=f"Sentence 3 .*{what}.*token 3") as caught:
            spans_of(xp, made)
        assert caught.value.sentence == 3


@pytest.mark.parametrize(
    "output, message",
    [
        ({(0, 5, 0)}, r"\(0, 5, 0\), which is not within its 5 tokens"),
        ({(-1, 0, 0)}, "not within"),
        ({(3, 2, 0)}, "not within"),
        ({(0, 3, 0)}, "of 4 tokens, but there are scores only for spans of at most 3"),
        ({(0, 1, 2)}, r"\(0, 1, 2\), but there are only 2 labels"),
        ({(0, 1, -1)}, "only 2 labels"),
        ({(3, 4, 1), (1, 3, 0)}, r"\(3, 4, 1\), which overlaps with its span \(1, 3, 0\)"),
        ([(2, 2, 0), (2, 2, 0)], "overlaps"),
        ({(0, 1, 0), (0, 1, 1)}, "overlaps"),
        ({(0, 1, "PER")}, r"\(0, 1, 'PER'\), which is not \(first token, last token, label index"),
        ({(0, 1)}, "which is not"),
        ([3], "span 3, which is not"),
    ],
)
@pytest.mark.parametrize("method", ["parts_of", "score", "log_prob"])
def test_outputs_that_are_no_sets_of_spans(rng, output, message, method):
    outputs = [{(0, 2, 0)}, set(), set(), output, {(3, 3, 1)}]
    with pytest.raises(SentenceError, match=f"Sentence 3 .*{message}") as caught:
        getattr(spans_of(np, make(rng)), method)(outputs)
    assert caught.value.sentence == 3


def test_arguments_that_do_not_fit(rng):
    for shape, message in [
        ((4, 2, 1), "sum to the number of tokens"),
        ((3, 2), "scores should have the shape"),
        ((3, 2, 0), "at least one label"),
        ((3, 0, 2), "at least one width"),
    ]:
        with pytest.raises(ValueError, match=message):
            FlatSpans(np.zeros(shape), [2, 1])
    with pytest.raises(ValueError, match="outside should have the shape"):
        FlatSpans(np.zeros((3, 2, 1)), [2, 1], outside=np.zeros(2))
    with pytest.raises(ValueError, match="2 labels, but 1 label names"):
        FlatSpans(np.zeros((3, 2, 2)), [2, 1], ["a"])
    spans = spans_of(np, make(rng))
    with pytest.raises(ValueError, match="5 sentences, but 1 outputs"):
        spans.log_prob([set()])
    with pytest.raises(ValueError, match="one weight for each of the 5 sentences"):
        spans.biluo_marginals(np.ones(3))
    with pytest.raises(ValueError, match="k should be"):
        spans.topk(0)


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
