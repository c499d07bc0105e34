import numpy as np
import pytest

from spacy_skd.structures import SpanningTree, maximum_arborescence
from spacy_skd.structures.arborescence import is_tree
from spacy_skd.structures.arc_layout import ArcLayout
from spacy_skd.structures.projective_tree import is_projective
from spacy_skd.structures.tree_kbest import projective_seconds, tree_seconds

from .arc_brute_force import random_arcs, scored, without_own
from .trees import all_trees

KINDS = pytest.mark.parametrize("projective", [False, True], ids=["all", "projective"])


def best_of(block, projective):
    """The best tree of a short sentence, and the score of the best without each of its arcs."""
    enumeration = scored(all_trees(len(block), projective), block)
    best = enumeration.outputs[int(enumeration.scores.argmax())]
    outputs = np.array(enumeration.outputs).reshape(-1, len(block))
    seconds = [
        enumeration.scores[outputs[:, token] != head].max(initial=-np.inf)
        for token, head in enumerate(best)
    ]
    return np.array(best), np.array(seconds)


@KINDS
@pytest.mark.parametrize("n_tokens", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("forbidden", [0.0, 0.3])
def test_seconds(rng, n_tokens, forbidden, projective):
    blocks, best, expected = [], [], []
    while len(blocks) < 12:
        block = without_own(random_arcs(rng, [n_tokens], forbidden)[0])
        heads, seconds = best_of(block, projective)
        if block[np.arange(n_tokens), heads].sum() > -np.inf:
            blocks.append(block)
            best.append(heads)
            expected.append(seconds)
    find = projective_seconds if projective else tree_seconds
    found = find(np.stack(blocks), np.stack(best))
    expected = np.stack(expected)
    assert (np.isneginf(found) == np.isneginf(expected)).all()
    possible = expected > -np.inf
    np.testing.assert_allclose(found[possible], expected[possible], rtol=0, atol=1e-9)


@pytest.mark.parametrize("n_tokens", [8, 13, 25])
@pytest.mark.parametrize("scale", [1.0, 50.0])
def test_seconds_of_longer_sentences(rng, n_tokens, scale):
    """The best trees without each arc are what the algorithm of Chu, Liu and Edmonds finds."""
    blocks = [without_own(block) for block in random_arcs(rng, [n_tokens] * 2, 0.1, scale)]
    best = [maximum_arborescence(block) for block in blocks]
    tokens = np.arange(n_tokens)
    for block, heads, found in zip(blocks, best, tree_seconds(np.stack(blocks), np.stack(best))):
        for token, head in enumerate(heads):
            other = block.copy()
            other[token, head] = -np.inf
            expected = block[tokens, maximum_arborescence(other)].sum()
            np.testing.assert_allclose(found[token], expected, rtol=1e-11)


@KINDS
@pytest.mark.parametrize("n_tokens", [2, 3, 4])
def test_trees_that_are_alike_are_all_found_once(n_tokens, projective):
    expected = all_trees(n_tokens, projective)
    block = np.zeros((n_tokens, n_tokens + 1))
    (found,) = SpanningTree([block], projective).topk(1000)
    assert sorted(tuple(heads) for heads, _ in found) == sorted(expected)
    np.testing.assert_allclose([log_prob for _, log_prob in found], -np.log(len(expected)))


@KINDS
@pytest.mark.parametrize("k", [1, 2, 20])
def test_the_best_of_longer_sentences(rng, k, projective):
    """They are trees, no two alike, begin with the best, and none better is left out."""
    lengths = [20, 1, 0, 11, 20, 33]
    trees = SpanningTree(random_arcs(rng, lengths, 0.1, scale=4), projective)
    more = trees.topk(k + 10)
    for number, (found, longer) in enumerate(zip(trees.topk(k), more)):
        assert len(found) == (k if lengths[number] > 1 else 1)
        outputs = [heads for heads, _ in found]
        assert outputs[0] == trees.argmax()[number].tolist()
        assert outputs == [heads for heads, _ in longer[: len(outputs)]]
        assert len(set(map(tuple, outputs))) == len(outputs)
        assert is_tree(outputs).all()
        if projective:
            layout = ArcLayout(np.full(len(outputs), lengths[number]))
            assert is_projective(np.concatenate(outputs).astype(np.int64), layout).all()
        log_probs = [log_prob for _, log_prob in found]
        assert log_probs == sorted(log_probs, reverse=True)
        some = trees.select([number] * len(outputs))
        np.testing.assert_allclose(log_probs, some.log_prob(outputs), rtol=1e-12, atol=1e-12)


@KINDS
def test_no_neighbour_is_left_out(rng, projective):
    """What other trees come of changing one head of those that are found is worse than the last."""
    block = rng.normal(size=(9, 10), scale=2)
    (found,) = SpanningTree([block], projective).topk(40)
    known = {tuple(heads) for heads, _ in found}
    last = found[-1][1]
    for heads, _ in found:
        for token in range(9):
            for head in range(10):
                changed = [*heads[:token], head, *heads[token + 1 :]]
                if head == token + 1 or tuple(changed) in known or not is_tree([changed])[0]:
                    continue
                assert SpanningTree([block], projective).log_prob([changed])[0] <= last


def test_all_trees_of_five_tokens_sum_to_1(rng):
    trees = SpanningTree([rng.normal(size=(5, 6))])
    (found,) = trees.topk(625)
    assert len(found) == 625
    np.testing.assert_allclose(np.exp([log_prob for _, log_prob in found]).sum(), 1)
