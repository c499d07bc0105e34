"""Trees with any number of roots against listing them, and against determinants in many digits."""

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest

from spacy_skd.structures import (
    DenseRelations,
    HeadSelection,
    SentenceError,
    SpanningForest,
    Structure,
    arc_weights,
)
from spacy_skd.structures.base import to_host

from .arc_brute_force import assignments, random_arcs, scored, trees, without_own
from .test_matrix_tree import anything, cycles, one_cycle, two_ways

LENGTHS = [3, 0, 1, 4, 2]


@pytest.fixture(params=["weights", "logarithms"])
def numbers(request, monkeypatch):
    """Sums by products of weights, and by logarithms, as if every sentence needed them."""
    if request.param == "logarithms":
        monkeypatch.setattr(arc_weights, "LEAST_LOG_PART", np.inf)


def forest_of(xp, arcs, dtype="float64", **options):
    return SpanningForest([xp.asarray(block, dtype=dtype) for block in arcs], **options)


def enumerate_all(arcs):
    return [scored(trees(len(block), single_root=False), without_own(block)) for block in arcs]


def possible_arcs(rng, lengths, forbidden):
    """Random scores of which every sentence has a tree."""
    found = []
    while len(found) < len(lengths):
        arcs = random_arcs(rng, [lengths[len(found)]], forbidden)
        found += arcs if enumerate_all(arcs)[0].log_z > -np.inf else []
    return found


def close(found, expected, tolerance=1e-9):
    np.testing.assert_allclose(to_host(found), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("seed, forbidden", [(0, 0.0), (1, 0.3), (2, 0.5)])
def test_against_enumeration(xp, numbers, seed, forbidden):
    arcs = possible_arcs(np.random.default_rng(seed), [*LENGTHS, 4, 4], forbidden)
    forests, expected = forest_of(xp, arcs), enumerate_all(arcs)
    assert isinstance(forests, Structure)
    close(forests.log_partition(), [e.log_z for e in expected])
    close(forests.entropy(), [e.entropy for e in expected])
    for found, enumeration in zip(forests.marginals(), expected):
        close(found, enumeration.tokens())
    for output, enumeration in zip(forests.argmax(), expected):
        assert tuple(output) == enumeration.best(1)[0][1]
    for k in (1, 4, 1000):
        for found, enumeration in zip(forests.topk(k), expected):
            best = enumeration.best(k)
            assert [tuple(heads) for heads, _ in found] == [heads for _, heads in best]
            close([log_prob for _, log_prob in found], [log_prob for log_prob, _ in best])
    for found in forests.topk(1000):
        close(np.exp([log_prob for _, log_prob in found]).sum(), 1)


def test_log_prob_of_all_assignments(xp, rng):
    """Trees have a probability, whatever the number of roots; circles have none."""
    for block in random_arcs(rng, [1, 3, 4], 0.2):
        outputs = assignments(len(block))
        (enumeration,) = enumerate_all([block])
        known = dict(zip(enumeration.outputs, enumeration.log_probs))
        expected = np.array([known.get(output, -np.inf) for output in outputs])
        found = to_host(forest_of(xp, [block] * len(outputs)).log_prob(outputs))
        assert (np.isneginf(found) == np.isneginf(expected)).all()
        close(found[expected > -np.inf], expected[expected > -np.inf])


@pytest.mark.parametrize("n_tokens", [1, 2, 7, 50, 200])
def test_all_trees_are_alike(n_tokens, numbers):
    """There are (n + 1)^(n - 1) of them."""
    forests = SpanningForest([np.zeros((n_tokens, n_tokens + 1))])
    expected = (n_tokens - 1) * math.log(n_tokens + 1)
    np.testing.assert_allclose(forests.log_partition(), [expected], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(forests.entropy(), [expected], rtol=1e-12, atol=1e-12)
    (marginals,) = forests.marginals()
    close(marginals.sum(axis=1), np.ones(n_tokens))
    close(marginals[:, 0], np.full(n_tokens, 2 / (n_tokens + 1)))


def by_determinant(scores, digits):
    """The logarithm of the determinant of the Laplacian with the root's weights on the diagonal."""
    n_tokens = len(scores)
    with localcontext() as context:
        context.prec = 40  # that weights are rounded is no matter, but then they are exact
        weights = [[Decimal(float(score)).exp() for score in row] for row in without_own(scores)]
        context.prec = digits
        rows = np.array([[-weight for weight in row[1:]] for row in weights])
        rows[np.arange(n_tokens), np.arange(n_tokens)] = [sum(row) for row in weights]
        determinant = Decimal(1)
        for step in range(n_tokens):
            determinant *= rows[step, step]
            shares = rows[step + 1 :, step, None] / rows[step, step]
            rows[step + 1 :, step:] -= shares * rows[step, step:]
        context.prec = 40
        return float(determinant.ln())


@pytest.mark.parametrize("make", [cycles, two_ways, one_cycle, anything])
@pytest.mark.parametrize("margin", [5, 50, 300])
def test_nothing_cancels(make, margin, rng):
    """Greedy heads in cycles make the determinant all but zero, at any margin."""
    blocks = [make(rng, n_tokens, margin) for n_tokens in (9, 4, 12)]
    forests = SpanningForest(blocks)
    for block, log_z, marginals in zip(blocks, forests.log_partition(), forests.marginals()):
        expected = by_determinant(block, 50 + 10 * margin)
        np.testing.assert_allclose(log_z, expected, rtol=1e-13, atol=1e-12)
        close(marginals.sum(axis=1), np.ones(len(block)))


def test_long_sentences(rng):
    arcs = [rng.uniform(-50, 50, size=(n, n + 1)) for n in (200, 60)]
    forests = SpanningForest(arcs)
    log_z = forests.log_partition()
    np.testing.assert_allclose(log_z[1], by_determinant(arcs[1], 60), rtol=1e-13)
    for found in forests.marginals():
        close(found.sum(axis=1), np.ones(len(found)))
    single = SpanningForest([block.astype("float32") for block in arcs])
    assert single.log_partition().dtype == single.marginals()[0].dtype == np.float32
    np.testing.assert_allclose(single.log_partition(), log_z, rtol=1e-6)


def test_marginals_are_the_gradient_of_log_z(rng):
    forests = SpanningForest(random_arcs(rng, [4, 0, 1, 3]))
    gradient = forests.flat_marginals()
    for cell in np.flatnonzero(forests.scores > -np.inf):
        shift = np.zeros_like(forests.scores)
        shift[cell] = 1e-5
        above, below = (
            forests.with_scores(forests.scores + sign * shift).log_partition() for sign in (1, -1)
        )
        close((above - below).sum() / 2e-5, gradient[cell], 1e-6)


@pytest.mark.parametrize("scale", [0.0, 4.0])
def test_the_best_of_longer_sentences_begin_with_what_heads_decode(rng, scale):
    """With all scores alike, too."""
    arcs = [block * scale for block in (rng.normal(size=(n, n + 1)) for n in (20, 1, 11, 33))]
    forests = SpanningForest(arcs)
    decoded = HeadSelection(arcs).argmax(single_root=False)
    for number, (found, best) in enumerate(zip(forests.topk(8), decoded)):
        outputs = [heads for heads, _ in found]
        assert outputs[0] == best.tolist()
        assert len(set(map(tuple, outputs))) == len(outputs) == (1 if number == 1 else 8)
        log_probs = [log_prob for _, log_prob in found]
        assert log_probs == sorted(log_probs, reverse=True)
        close(forests.select([number] * len(outputs)).log_prob(outputs), log_probs)


def test_two_roots_are_a_tree_and_circles_are_none(rng):
    arcs = random_arcs(rng, [3, 4])
    two_roots = np.zeros((4, 5))
    two_roots[0, 1:] = two_roots[2, 1:] = -np.inf
    forests = SpanningForest([*arcs, two_roots])
    assert forests.topk(1)[2][0][0].count(0) >= 2
    circle = np.zeros((4, 5))
    circle[1, [0, 1, 3]] = circle[3, [0, 1, 3]] = -np.inf
    impossible = SpanningForest([*arcs, circle])
    for method in ("log_partition", "marginals", "entropy", "argmax", "topk"):
        with pytest.raises(SentenceError, match=r"2 .*4 tokens. has no .* at least one root"):
            getattr(impossible, method)(*([2] if method == "topk" else []))
    lost = np.full((2, 3), -np.inf)
    with pytest.raises(SentenceError, match=r"no possible head for its token 0 .of 2."):
        SpanningForest([lost]).log_partition()


def test_select_and_restrict_keep_relations(xp, rng):
    arcs = random_arcs(rng, LENGTHS)
    relations = DenseRelations([xp.asarray(rng.normal(size=(n, n + 1, 2))) for n in LENGTHS])
    forests = forest_of(xp, arcs, relations=relations, labels=["a", "b"])
    some = forests.select([3, 1, 0])
    assert isinstance(some, SpanningForest) and some.labels == ("a", "b")
    close(some.log_partition(), to_host(forests.log_partition())[[3, 1, 0]])
    outputs = [[2, 0, 0], [], [0], [0, 1, 0, 3], [0, 0]]
    one = forests.restrict(forests.flat_parts_of(outputs) > 0)
    close(one.log_partition(), to_host(forests.score(outputs)))
    assert [[heads for heads, _ in found] for found in one.topk(3)] == [[o] for o in outputs]
