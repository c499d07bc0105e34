import numpy as np
import pytest

from spacy_skd.structures import SpanningTree, arc_weights
from spacy_skd.structures.arborescence import is_tree
from spacy_skd.structures.arc_layout import ArcLayout
from spacy_skd.structures.base import to_host
from spacy_skd.structures.projective_tree import (
    LOGS,
    MAXIMA,
    PRODUCTS,
    Charts,
    best_projective_trees,
    is_projective,
)
from spacy_skd.structures.tree_buckets import tree_buckets

from .arc_brute_force import assignments, random_arcs, scored, trees, without_own
from .trees import all_trees
from .trees import is_projective as by_definition


def flat_of(blocks):
    layout = ArcLayout(np.array([len(block) for block in blocks]))
    return np.concatenate([without_own(block).ravel() for block in blocks]), layout


def close(found, expected, tolerance=1e-9):
    np.testing.assert_allclose(to_host(found), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("n_tokens", [0, 1, 2, 3, 4, 5])
def test_is_projective(n_tokens):
    outputs = trees(n_tokens)
    layout = ArcLayout(np.full(len(outputs), n_tokens))
    flat = np.array(outputs, dtype=np.int64).ravel()
    expected = [by_definition(heads) for heads in outputs]
    assert is_projective(flat, layout).tolist() == expected


def test_is_projective_in_sentences_of_any_length():
    outputs = [(2, 0, 2), (), (3, 4, 0, 3), (0,), (0, 4, 4, 1), (2, 0, 1), (2, 0)]
    layout = ArcLayout(np.array([len(heads) for heads in outputs]))
    flat = np.concatenate([np.array(heads, dtype=np.int64) for heads in outputs])
    # The third has crossing arcs; in the sixth an arc passes over the root.
    expected = [True, True, False, True, True, False, True]
    assert is_projective(flat, layout).tolist() == expected


def test_heads_that_are_no_tree_may_cross_or_not():
    for heads in assignments(3):
        layout = ArcLayout(np.array([3]))
        good = is_projective(np.array(heads), layout) & is_tree(np.array(heads), layout.lengths)
        assert bool(good[0]) == (heads in all_trees(3, True))


def charts_of(blocks, semiring):
    flat, layout = flat_of(blocks)
    (bucket,) = tree_buckets(layout, 10**6)
    scores = bucket.gather(flat)
    charts = Charts(np.exp(scores) if semiring is PRODUCTS else scores, bucket, semiring)
    arcs = np.zeros_like(flat)
    bucket.scatter(charts.arcs(), arcs)
    order = np.argsort(bucket.sentences)
    return charts.totals[order], layout.blocks(arcs)


@pytest.mark.parametrize("lengths", [[5], [1, 4, 2, 5, 3], [4, 4, 4]])
@pytest.mark.parametrize("semiring", [PRODUCTS, LOGS, MAXIMA], ids=["products", "logs", "maxima"])
def test_charts(rng, lengths, semiring):
    """Of maxima, arcs have the score of the best tree with them; of sums, their probability."""
    blocks = random_arcs(rng, lengths)
    totals, arcs = charts_of(blocks, semiring)
    for block, total, found in zip(blocks, totals, arcs):
        enumeration = scored(all_trees(len(block), True), without_own(block))
        if semiring is MAXIMA:
            expected = np.full(block.shape, -np.inf)
            for heads, score in zip(enumeration.outputs, enumeration.scores):
                cells = np.arange(len(block)), list(heads)
                expected[cells] = np.maximum(expected[cells], score)
            assert total == pytest.approx(enumeration.scores.max())
            found = np.where(found > -np.inf, found, -1e9)
            close(found, np.where(expected > -np.inf, expected, -1e9))
        else:
            total = np.log(total) if semiring is PRODUCTS else total
            assert total == pytest.approx(enumeration.log_z)
            close(found, enumeration.tokens())


def test_weights_agree_with_logarithms(rng, monkeypatch):
    """Scores of up to ±50 that make a tree likely, in long and short sentences."""
    blocks = []
    for n_tokens in (120, 40, 7, 80):
        block = rng.normal(size=(n_tokens, n_tokens + 1), scale=5)
        block[np.arange(n_tokens), np.arange(n_tokens)] += 35  # a chain
        blocks.append(block.clip(-50, 50))
    blocks.append(rng.uniform(-50, 50, size=(60, 61)))
    found = SpanningTree(blocks, projective=True)
    found.flat_marginals()
    monkeypatch.setattr(arc_weights, "LEAST_LOG_PART", np.inf)
    expected = SpanningTree(blocks, projective=True)
    np.testing.assert_allclose(found.log_partition(), expected.log_partition(), rtol=1e-12)
    close(found.flat_marginals(), expected.flat_marginals(), 1e-10)


def test_what_weights_are_too_small_for(rng):
    """Two tokens that want each other as heads, far from the rest, in a sentence like that."""
    block = rng.uniform(-50, 50, size=(150, 151))
    tokens = np.arange(0, 150, 2)
    block[tokens, tokens + 2] = block[tokens + 1, tokens + 1] = 900
    trees = SpanningTree([block, block[:3, :4]], projective=True)
    marginals = trees.marginals()
    for found in marginals:
        assert np.isfinite(found).all() and found.min() >= 0
        close(found.sum(axis=1), np.ones(len(found)))
        close(found[:, 0].sum(), 1)
    enumeration = scored(all_trees(3, True), without_own(block[:3, :4]))
    close(marginals[1], enumeration.tokens())
    best = trees.argmax()
    assert (trees.score(best) <= trees.log_partition()).all()
    assert (trees.log_partition() <= trees.score(best) + 150 * np.log(7)).all()


@pytest.mark.parametrize("seed", range(5))
def test_best_trees(seed):
    rng = np.random.default_rng(seed)
    blocks = random_arcs(rng, [5, 3, 0, 4, 5, 1, 2, 5])
    flat, layout = flat_of(blocks)
    found = best_projective_trees(flat, layout, layout.row_argmax(flat))
    for heads, block in zip(layout.split(found), blocks):
        expected = scored(all_trees(len(block), True), without_own(block)).best(1)[0][1]
        assert tuple(heads) == expected


def test_a_greedy_tree_is_taken_as_it_is(rng):
    """Without charts, if it is projective."""
    blocks = random_arcs(rng, [25, 40], scale=0.1)
    for block in blocks:
        block[np.arange(len(block)), np.arange(len(block))] += 9
    trees = SpanningTree(blocks, projective=True)
    assert [heads.tolist() for heads in trees.argmax()] == [list(range(25)), list(range(40))]


@pytest.mark.parametrize("n_tokens", [30, 90])
def test_the_best_tree_of_a_long_sentence(rng, n_tokens):
    """The most probable one at a low temperature, which sums know nothing of."""
    trees = SpanningTree([rng.normal(size=(n_tokens, n_tokens + 1))], projective=True)
    best = trees.argmax()
    cold = trees.with_scores(trees.scores * 1e4)
    close(cold.marginals()[0], to_host(trees.parts_of(best)[0]), 1e-3)
    assert is_projective(best[0], trees.layout).all() and is_tree(best).all()
