"""The elimination against determinants in more digits than anything can cancel."""

from decimal import Decimal, localcontext

import numpy as np
import pytest

from spacy_skd.structures import arc_weights, matrix_tree
from spacy_skd.structures.arborescence import maximum_arborescence
from spacy_skd.structures.arc_layout import ArcLayout
from spacy_skd.structures.matrix_tree import MatrixTrees, sum_in_logs

from .arc_brute_force import random_arcs, without_own


def laplacian(scores):
    """That of Koo et al., a row for each token, in Decimals; the root has the first column."""
    n_tokens = len(scores)
    with localcontext() as context:
        context.prec = 40  # that weights are rounded is no matter, but then they are exact
        weights = [[Decimal(float(score)).exp() for score in row] for row in without_own(scores)]
    weights = np.array(weights)
    rows = -weights[:, 1:]
    rows[np.arange(n_tokens), np.arange(n_tokens)] = weights[:, 1:].sum(axis=1)
    rows[:, 0] = weights[:, 0]
    return weights, rows


def by_determinant(scores, tokens, digits=200):
    """log Z and the probabilities of the heads of some tokens."""
    n_tokens = len(scores)
    with localcontext() as context:
        context.prec = digits
        weights, rows = laplacian(scores)
        units = np.array([[Decimal(int(i == t)) for t in tokens] for i in range(n_tokens)])
        rows = np.concatenate([rows, units], axis=1)
        determinant = Decimal(1)
        for step in range(n_tokens):
            pivot = step + int(abs(rows[step:, step]).argmax())
            if pivot != step:
                rows[[step, pivot]] = rows[[pivot, step]]
                determinant = -determinant
            determinant *= rows[step, step]
            rows[step, step:] = rows[step, step:] / rows[step, step]
            below = rows[step + 1 :, step, None].copy()
            rows[step + 1 :, step:] -= below * rows[step, step:]
        inverse = rows[:, n_tokens:]
        for step in range(n_tokens - 1, 0, -1):
            inverse[:step] -= rows[:step, step, None] * inverse[step]
        heads = np.zeros((len(tokens), n_tokens + 1))
        for number, (token, column) in enumerate(zip(tokens, inverse.T)):
            own = column[token] if token else 0
            others = [own - (column[head] if head else 0) for head in range(n_tokens)]
            heads[number, 1:] = weights[token, 1:] * np.array(others)
            heads[number, 0] = weights[token, 0] * column[0]
        context.prec = 40
        return float(determinant.ln()), heads


def sums_of(blocks):
    layout = ArcLayout(np.array([len(block) for block in blocks]))
    flat = np.concatenate([without_own(block).ravel() for block in blocks])
    trees = MatrixTrees(flat, layout)
    return trees.log_z, layout.blocks(trees.marginals)


def cycles(rng, n_tokens, margin):
    """Tokens that prefer each other as heads, two and two, by a margin."""
    scores = rng.normal(size=(n_tokens, n_tokens + 1))
    for token in range(0, n_tokens - 1, 2):
        scores[token, token + 2] += margin
        scores[token + 1, token + 1] += margin
    return scores


def two_ways(rng, n_tokens, margin):
    """Tokens that prefer their neighbours as heads, on both sides."""
    scores = rng.normal(size=(n_tokens, n_tokens + 1))
    tokens = np.arange(n_tokens)
    scores[tokens[1:], tokens[1:]] += margin
    scores[tokens[:-1], tokens[:-1] + 2] += margin - 1
    return scores


def one_cycle(rng, n_tokens, margin):
    """Tokens that prefer the next one of one big cycle."""
    scores = rng.normal(size=(n_tokens, n_tokens + 1))
    order = rng.permutation(n_tokens)
    scores[order, np.roll(order, 1) + 1] += margin
    return scores


def anything(rng, n_tokens, margin):
    return rng.normal(size=(n_tokens, n_tokens + 1), scale=margin)


@pytest.mark.parametrize("make", [cycles, two_ways, one_cycle, anything])
@pytest.mark.parametrize("margin", [5, 20, 50, 300])
def test_nothing_cancels(make, margin, rng):
    """Greedy heads in cycles make the determinant all but zero, at any margin."""
    blocks = [make(rng, n_tokens, margin) for n_tokens in (11, 6, 12)]
    for block, log_z, marginals in zip(blocks, *sums_of(blocks)):
        tokens = list(range(len(block)))
        expected, heads = by_determinant(block, tokens, digits=50 + 10 * margin)
        np.testing.assert_allclose(log_z, expected, rtol=1e-13, atol=1e-12)
        np.testing.assert_allclose(marginals, heads, rtol=0, atol=1e-12)


def test_long_sentence(rng):
    scores = rng.uniform(-50, 50, size=(200, 201))
    (log_z,), (marginals,) = sums_of([scores])
    expected, heads = by_determinant(scores, [0, 77, 199], digits=60)
    np.testing.assert_allclose(log_z, expected, rtol=1e-13)
    np.testing.assert_allclose(marginals[[0, 77, 199]], heads, rtol=0, atol=1e-10)
    np.testing.assert_allclose(marginals.sum(axis=1), np.ones(200), rtol=0, atol=1e-12)
    np.testing.assert_allclose(marginals[:, 0].sum(), 1, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 10.0, 50.0])
def test_logarithms_agree_with_weights(rng, scale):
    scores = rng.normal(size=(200, 201), scale=scale)
    (log_z,), (marginals,) = sums_of([scores])
    root = int((maximum_arborescence(scores) == 0).argmax())
    expected, probabilities = sum_in_logs(without_own(scores), root)
    np.testing.assert_allclose(log_z, expected, rtol=1e-12)
    np.testing.assert_allclose(marginals, probabilities, rtol=0, atol=1e-9)


def test_only_what_needs_logarithms_is_done_with_them(rng, monkeypatch):
    done = []

    def watched(scores, root):
        done.append(len(scores))
        return sum_in_logs(scores, root)

    monkeypatch.setattr(matrix_tree, "sum_in_logs", watched)
    blocks = random_arcs(rng, [30, 9, 25, 7, 30], scale=8)
    sums_of([*blocks, cycles(rng, 12, 50)])
    assert not done
    blocks[1] = cycles(rng, 9, 400)
    log_z, marginals = sums_of(blocks)
    assert done == [9]
    for number, block in enumerate(blocks):
        alone = sums_of([block])
        np.testing.assert_allclose(alone[0], log_z[number], rtol=1e-13)
        np.testing.assert_allclose(alone[1][0], marginals[number], rtol=0, atol=1e-12)


def test_what_does_not_sum_to_1_is_done_again(rng, monkeypatch):
    blocks = random_arcs(rng, [7, 4, 9], scale=5)
    expected = sums_of(blocks)
    slopes = matrix_tree._Elimination._slopes

    def wrong(self):
        found = slopes(self)
        found[1, 0] = np.nan
        found[2] *= 1 + 1e-6
        return found

    monkeypatch.setattr(matrix_tree._Elimination, "_slopes", wrong)
    found = sums_of(blocks)
    np.testing.assert_allclose(found[0], expected[0])
    for one, other in zip(found[1], expected[1]):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


def test_weights_are_at_most_1(rng):
    """Whatever the scores are, so that products of them do not overflow."""
    from spacy_skd.structures.tree_buckets import tree_buckets

    blocks = random_arcs(rng, [5, 3, 1, 4], forbidden=0.3, scale=1000)
    layout = ArcLayout(np.array([5, 3, 1, 4]))
    flat = np.concatenate([without_own(block).ravel() for block in blocks])
    (bucket,) = tree_buckets(layout, 1000)
    weights = arc_weights.ArcWeights(bucket.gather(flat), bucket)
    assert weights.values.min() == 0 and weights.values.max() == 1
    assert (weights.values[:, :, 0].max(axis=1) == 1).all()
