"""Lists of trees as the marginals of their arcs, sentence by sentence."""

import numpy as np
import pytest

from spacy_skd.distill import cross_entropy
from spacy_skd.distill.listed_trees import in_sentences, tree_marginals
from spacy_skd.distill.projection import condition
from spacy_skd.distill.targets import TREES, describe, kept_scores
from spacy_skd.structures import Candidates, SpanningTree

LABELS = ("ROOT", "a", "b")


def document(*trees, probs=None):
    """Heads (a root's its own) and relations of each tree."""
    found = np.asarray([[heads, relations] for heads, relations in trees])
    return found, np.asarray(probs or [1 / len(trees)] * len(trees))


def joint(structure) -> dict:
    relations = structure.relations
    probs = np.exp(structure.relation_log_probs(relations.tokens, relations.heads))
    cells = structure.layout.cells(relations.tokens, relations.heads)
    probs *= structure.flat_marginals()[cells][:, None]
    places = zip(relations.tokens.tolist(), relations.heads.tolist())
    return {
        (token, head, int(column)): probs[row, column]
        for row, (token, head) in enumerate(places)
        for column in np.flatnonzero(probs[row])
    }


def test_marginals_of_trees():
    trees = np.asarray([[[2, 0], [1, 0]], [[2, 0], [2, 0]], [[0, 1], [0, 1]]])
    candidates = Candidates([trees], [np.log([0.5, 0.3, 0.2])], LABELS, lengths=[2])
    found = joint(tree_marginals(candidates))
    wanted = {(0, 2, 1): 0.5, (0, 2, 2): 0.3, (0, 0, 0): 0.2, (1, 0, 0): 0.8, (1, 1, 1): 0.2}
    assert found == pytest.approx(wanted)


def test_sentences_are_those_of_the_best_tree():
    best = [1, 1, 2, 2], [1, 0, 0, 1]
    other = [0, 0, 3, 3], [0, 1, 1, 0]  # the same sentences
    across = [1, 1, 1, 2], [1, 0, 2, 1]  # one sentence
    several = [0, 1, 2, 2], [0, 0, 0, 1]  # the first is two
    trees = document(best, other, across, several, probs=[0.4, 0.3, 0.2, 0.1])
    found = in_sentences([trees], [None], LABELS)
    assert found.n_sentences.tolist() == [2]
    assert found.structure.lengths.tolist() == [2, 2]
    wanted = {
        **{(0, 2, 1): 4 / 7, (1, 0, 0): 4 / 7, (0, 0, 0): 3 / 7, (1, 1, 1): 3 / 7},
        **{(2, 0, 0): 5 / 8, (3, 1, 1): 5 / 8, (2, 2, 1): 3 / 8, (3, 0, 0): 3 / 8},
    }
    assert joint(found.structure) == pytest.approx(wanted)


def test_sentences_that_are_given():
    two_roots = document(([0, 0, 2], [0, 1, 0]))
    found = in_sentences([two_roots, two_roots], [np.asarray([0]), np.asarray([0, 1, 2])], LABELS)
    assert found.n_sentences.tolist() == [1, 2]  # an arc joins the first two tokens
    assert found.structure.lengths.tolist() == [3, 2, 1]
    assert joint(found.structure)[2, 0, 0] == 1  # a second root of its sentence


def test_documents_without_tokens_and_none():
    empty = np.zeros((1, 2, 0), dtype=np.int64), np.ones(1)
    found = in_sentences([empty, document(([0], [0])), empty], [None] * 3, LABELS)
    assert found.n_sentences.tolist() == [0, 1, 0]
    assert [len(scores) for scores in kept_scores(found)[0]] == [0, 1, 0]
    nothing = in_sentences([], [], LABELS, projective=True)
    teacher = describe(nothing, "parser")
    assert (teacher.kind, teacher.labels) == ("arcs", LABELS)
    assert TREES[int(teacher.tables["trees"][0])] == "projective trees"


def test_improbable_trees_do_not_count():
    trees = document(([0, 0], [0, 1]), ([1, 1], [1, 0]), probs=[1.0, 0.0])
    found = joint(in_sentences([trees], [None], LABELS).structure)
    assert found == pytest.approx({(0, 0, 0): 1.0, (1, 1, 1): 1.0})


@pytest.mark.parametrize("projective", [False, True])
def test_sentences_with_several_roots_teach_trees_with_one(projective):
    """A tree student's loss has a lower bound, and its gradient is that of a tree's marginals."""
    two_roots = document(([0, 0, 2, 2], [0, 1, 0, 1]))
    one_root = document(([1, 1], [1, 0]), ([0, 0], [0, 1]))
    starts = [np.asarray([0]), None]
    heads = in_sentences([two_roots, one_root], starts, LABELS, projective=True).structure
    student = SpanningTree(np.zeros(26), projective, lengths=[4, 2])
    given = condition(heads, student)
    arcs = given.arcs
    found = given.marginals()
    assert found[0][:, 0].sum() == pytest.approx(1)
    assert found[0][[0, 2], 0].min() > 0.3
    np.testing.assert_array_equal(arcs[1], heads.arcs[1])
    np.testing.assert_allclose(found[0].sum(axis=1), 1)
    far = SpanningTree(np.where(heads.scores > -1, 1e3, 0.0), projective, lengths=[4, 2])
    assert float(cross_entropy(given, far).min()) >= 0
