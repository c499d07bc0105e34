"""Arcs that are all but forbidden, by scores far below all others, against listing all trees."""

import numpy as np
import pytest

from spacy_skd.structures import HeadSelection, SpanningForest, SpanningTree

from .arc_brute_force import scored, without_own
from .arc_brute_force import trees as trees_of_roots
from .trees import all_trees

MASKS = [-1e4, -1e9, -1e16, -1e30, -np.inf]
KINDS = {
    "all": (SpanningTree, all_trees),
    "projective": (
        lambda arcs: SpanningTree(arcs, projective=True),
        lambda n: all_trees(n, projective=True),
    ),
    "forest": (SpanningForest, lambda n: trees_of_roots(n, single_root=False)),
}


def masked_arcs(rng, n_tokens, list_trees, has_tree):
    """Random scores, many of them masks, and the same with -inf for these."""
    while True:
        arcs = without_own(rng.normal(size=(n_tokens, n_tokens + 1), scale=3))
        masked = rng.random(arcs.shape) < rng.choice([0.3, 0.5, 0.7])
        forbidden = np.where(masked, -np.inf, arcs)
        possible = (forbidden > -np.inf).any(axis=1).all()
        possible = possible and scored(list_trees(n_tokens), forbidden).log_z > -np.inf
        if possible == has_tree:
            return np.where(masked, rng.choice(MASKS, size=arcs.shape), arcs), forbidden, masked


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_tokens", [1, 2, 3, 4])
def test_any_mask_is_exact_where_there_is_a_tree_without(rng, kind, n_tokens):
    make, list_trees = KINDS[kind]
    found = [masked_arcs(rng, n_tokens, list_trees, True) for _ in range(60)]
    # What is no arc stays none, whatever is there.
    trees = make([arcs for arcs, _, _ in found])
    expected = [scored(list_trees(n_tokens), forbidden) for _, forbidden, _ in found]
    exact = {"rtol": 0, "atol": 1e-9}
    np.testing.assert_allclose(trees.log_partition(), [e.log_z for e in expected], **exact)
    np.testing.assert_allclose(trees.entropy(), [e.entropy for e in expected], **exact)
    single_root = {"single_root": kind != "forest"}
    for block, best, listed, enumeration in zip(
        trees.marginals(), trees.argmax(**single_root), trees.topk(3), expected
    ):
        np.testing.assert_allclose(block, enumeration.tokens(), **exact)
        likeliest = [one for one in enumeration.best(3) if one[0] > -np.inf]
        assert tuple(best) == likeliest[0][1]
        for (heads, log_prob), (wanted, output) in zip(listed, likeliest, strict=False):
            assert tuple(heads) == output and log_prob == pytest.approx(wanted, abs=1e-9)
    outputs = [enumeration.best(1)[0][1] for enumeration in expected]
    np.testing.assert_allclose(
        trees.log_prob(outputs), [e.best(1)[0][0] for e in expected], **exact
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mask, tolerance", [(-1e4, 1e-9), (-1e6, 1e-8), (-1e9, 1e-5)])
def test_arcs_that_every_tree_needs(rng, kind, mask, tolerance):
    """As exact as sums of such scores are in float64."""
    make, list_trees = KINDS[kind]
    found = [masked_arcs(rng, 3, list_trees, False) for _ in range(60)]
    arcs = [np.where(masked, mask, forbidden) for _, forbidden, masked in found]
    trees = make([without_own(block) for block in arcs])
    expected = [scored(list_trees(3), without_own(block)) for block in arcs]
    np.testing.assert_allclose(trees.log_partition(), [e.log_z for e in expected], rtol=1e-14)
    for block, enumeration in zip(trees.marginals(), expected):
        np.testing.assert_allclose(block, enumeration.tokens(), rtol=0, atol=tolerance)


def test_the_example_of_the_audit():
    scores = np.array([[0.5, 0, -1e16], [-1e16, 1.3, 0]])
    trees = SpanningTree([scores])
    assert trees.log_partition().tolist() == pytest.approx([1.8])
    assert trees.entropy().tolist() == pytest.approx([0])
    assert trees.topk(1)[0][0] == ([0, 1], pytest.approx(0))
    trees = SpanningTree([np.maximum(scores * 1e14, -1e30)])
    assert trees.log_partition().tolist() == pytest.approx([1.8e14])


def test_independent_heads(rng):
    arcs, forbidden, _ = masked_arcs(rng, 4, all_trees, True)
    masked, without = HeadSelection([arcs]), HeadSelection([forbidden])
    for method in ("log_partition", "entropy", "flat_marginals"):
        np.testing.assert_allclose(getattr(masked, method)(), getattr(without, method)())
