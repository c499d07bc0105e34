"""Flat spans against enumeration."""

from dataclasses import astuple
from itertools import pairwise

import numpy as np
import pytest

from spacy_skd.structures import FlatSpans, LinearChain, as_potentials, biluo_labels, legal_moves
from spacy_skd.structures.base import to_host

from .span_brute_force import outside_of
from .span_cases import CASES, GARBAGE, LENGTHS, close, enumerate_all, make, spans_of


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
