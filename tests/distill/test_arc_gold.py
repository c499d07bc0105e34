"""Gold trees as a teacher of heads, trees and labels, against listing."""

import numpy as np
import pytest

from spacy_skd.distill import cross_entropy, project
from spacy_skd.distill.annotation import annotated_sentences, gold_parts
from spacy_skd.distill.arcs import dropped_mass
from spacy_skd.distill.projection import condition
from spacy_skd.structures import (
    Candidates,
    DenseRelations,
    HeadSelection,
    LabelTrees,
    SentenceError,
    SpanningTree,
)

from .arc_cases import random_gold
from .arc_structures import (
    LABELS,
    LAYOUT,
    LENGTHS,
    N_TOKENS,
    OFFSETS,
    RELATIONS,
    check_gradient,
    dense,
    listed,
    make,
    random_arcs_of,
    random_scores,
)

ONES = np.ones(len(LENGTHS))
STUDENTS = ["heads", "trees", "projective"]


def listed_gold(student, annotation, weights):
    """The log-weight of what agrees with the heads, and its expected arcs."""
    log_weight, arcs = 0.0, np.zeros(LAYOUT.n_cells)
    rows = zip(
        LAYOUT.split(annotation), listed(student), student.arcs, LAYOUT.blocks(arcs), weights
    )
    for gold, sentence, scores, block, weight in rows:
        tokens = np.arange(len(gold))
        agree = [y for y in sentence.heads if all(g in (-1, h) for g, h in zip(gold[:, 0], y))]
        totals = np.asarray([scores[tokens, list(heads)].sum() for heads in agree])
        log_z = np.logaddexp.reduce(totals)
        log_weight += weight * log_z
        for heads, total in zip(agree, totals):
            block[tokens, list(heads)] += weight * np.exp(total - log_z)
    return log_weight, arcs


@pytest.mark.parametrize("missing", [0.0, 0.4])
@pytest.mark.parametrize("kind", STUDENTS)
def test_gold_trees(kind, missing):
    rng = np.random.default_rng(80)
    student, weights = random_arcs_of(kind, rng), rng.uniform(0.5, 1, size=len(LENGTHS))
    annotation = random_gold(rng, kind, missing)
    wanted_weight, arcs = listed_gold(student, annotation, weights)
    parts, log_weight = gold_parts(student, annotation, weights)
    assert log_weight == pytest.approx(wanted_weight, abs=1e-9)
    np.testing.assert_allclose(parts.arcs, arcs, atol=1e-9)
    relations = np.zeros((LAYOUT.n_cells, 3))
    for token, (head, column) in enumerate(annotation):
        if head >= 0 and column >= 0:
            cell = LAYOUT.row_starts[token] + head
            relations[cell, column] = weights[LAYOUT.sentences[token]]
    np.testing.assert_allclose(dense(parts.relations), relations)


def test_missing_heads_of_independent_tokens_drop_out():
    rng = np.random.default_rng(81)
    student, annotation = random_arcs_of("heads", rng), random_gold(rng, "trees", 0.4)
    parts, log_weight = gold_parts(student, annotation, ONES)
    unknown = np.repeat(annotation[:, 0] == -1, LAYOUT.widths)
    np.testing.assert_array_equal(parts.arcs[unknown], student.flat_marginals()[unknown])
    known = np.flatnonzero(annotation[:, 0] >= 0)
    scores = student.scores[LAYOUT.cells(known, annotation[known, 0])]
    norms = np.asarray([np.logaddexp.reduce(row) for block in student.arcs for row in block])
    expected = (scores - norms[known]).sum()
    assert log_weight - student.log_partition().sum() == pytest.approx(expected, abs=1e-9)


def test_which_sentences_are_annotated():
    student = random_arcs_of("heads", np.random.default_rng(82))
    annotation = np.full((N_TOKENS, 2), -1)
    annotation[3, 0] = 0
    annotation[5, 1] = 2  # a relation without a head says nothing
    assert annotated_sentences(annotation, student).tolist() == [False, False, True, False, False]
    with pytest.raises(ValueError, match=r"\(N, 2\), but it has the shape \(10,\)"):
        annotated_sentences(np.zeros(10), student)


WRONG = {
    "out of range": ([0, 5, 1, 1], "heads", "head number 5 at its token 1; it has 4 tokens"),
    "negative": ([0, -2, 1, 1], "heads", "head number -2 at its token 1"),
    "self": ([0, 2, 1, 1], "heads", "token 1 as its own head"),
    "two roots": ([0, 0, 1, 1], "trees", "2 roots"),
    "two roots in part": ([0, 0, -1, -1], "trees", "2 roots"),
    "circle": ([2, 3, 1, 0], "trees", "round in a circle"),
    "circle in part": ([2, 1, -1, -1], "trees", "round in a circle"),
    "crossing": ([3, 0, 2, 2], "projective", "arcs that cross"),
    "crossing in part": ([3, 0, 2, -1], "projective", "arcs cross"),
}


@pytest.mark.parametrize("case", WRONG)
def test_gold_that_is_no_tree_names_its_sentence(case):
    heads, kind, match = WRONG[case]
    student = random_arcs_of(kind, np.random.default_rng(83))
    annotation = np.zeros((N_TOKENS, 2), dtype=int)
    annotation[[1, 2], 0] = 1
    annotation[9, 0] = 1
    annotation[4:8, 0] = heads
    with pytest.raises(SentenceError, match=match) as error:
        gold_parts(student, annotation, ONES)
    assert error.value.sentence == 3
    weights = ONES.copy()
    weights[3] = 0
    gold_parts(student, annotation, weights)  # what does not count is not asked for


def test_several_roots_and_circles_are_fine_for_heads():
    student = random_arcs_of("heads", np.random.default_rng(84))
    annotation = np.zeros((N_TOKENS, 2), dtype=int)
    annotation[4:8, 0] = [2, 1, 0, 0]
    assert np.isfinite(gold_parts(student, annotation, ONES)[1])


@pytest.mark.parametrize("kind", STUDENTS)
def test_gold_that_the_scores_forbid(kind):
    arcs, relations = random_scores(np.random.default_rng(85))
    arcs[LAYOUT.row_starts[4]] = -np.inf  # the root of the fourth sentence's first token
    annotation = np.zeros((N_TOKENS, 2), dtype=int)
    annotation[4:8, 0], annotation[[1, 2, 9], 0] = [0, 1, 2, 3], [1, 2, 1]
    for missing in ([], [7]):
        annotation[missing, 0] = -1
        with pytest.raises(SentenceError, match="score of -inf") as error:
            gold_parts(make(kind, (arcs, relations)), annotation, ONES)
        assert error.value.sentence == 3


def test_a_relation_that_does_not_exist():
    student = random_arcs_of("heads", np.random.default_rng(86))
    annotation = np.zeros((N_TOKENS, 2), dtype=int)
    annotation[8, 1] = 3
    with pytest.raises(SentenceError, match="relation 3 at its token 0, but there are 3") as error:
        gold_parts(student, annotation, ONES)
    assert error.value.sentence == 4


@pytest.mark.parametrize("kind", STUDENTS)
def test_the_gold_gradient(kind):
    from spacy_skd.distill.objectives import gold_loss

    rng = np.random.default_rng(87)
    scores, annotation = random_scores(rng), random_gold(rng, kind)
    weights = annotated_sentences(annotation, make(kind, scores)) * 1.0
    check_gradient(kind, scores, lambda student: gold_loss(student, annotation, weights))


def test_offsets_are_all_there():
    assert len(OFFSETS) == 7 and len(LABELS) == 21


def test_an_empty_batch():
    rest = {"relations": DenseRelations([], 3), "labels": RELATIONS}
    heads, trees = HeadSelection([], **rest), SpanningTree([], **rest)
    labels = LabelTrees(
        np.zeros((0, 2)), [], ["0|obj", "-1|obj"], heads=np.zeros((0, 2), dtype=int),
        relations=[0, 0], relation_labels=["obj"],
    )  # fmt: skip
    for teacher in (heads, trees, Candidates([], [], RELATIONS)):
        for student in (heads, trees):
            assert cross_entropy(teacher, student).shape == (0,)
            assert project(teacher, student).arcs.shape == (0,)
    for teacher in (heads, trees):
        assert cross_entropy(teacher, labels).shape == (0,)
        assert project(teacher, labels).shape == (0, 2)
        assert dropped_mass(teacher, labels).shape == (0,)
        assert isinstance(condition(teacher, trees), SpanningTree)
    assert gold_parts(trees, np.zeros((0, 2), dtype=int), np.zeros(0))[1] == 0
