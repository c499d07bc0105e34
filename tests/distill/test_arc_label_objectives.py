"""Teachers of heads and trees with students of labels that mean arcs, against listing."""

import numpy as np
import pytest

from spacy_skd.distill import project
from spacy_skd.distill.annotation import annotated_sentences
from spacy_skd.distill.objectives import (
    make_posterior_kd,
    make_structural_kd,
    make_substructure_kd,
    make_token_kd,
)
from spacy_skd.distill.temperature import temper

from .arc_cases import best_trees, numeric, random_case
from .arc_structures import (
    BOUNDS,
    LABELS,
    LAYOUT,
    LENGTHS,
    N_TOKENS,
    RELATIONS,
    label_trees,
    random_labels,
)

SOME = ["0|obj", "-1|amod", "+1|obj", "-2|nsubj"]
WITHOUT_FIRSTS = ["-1|obj", "-1|amod", "-2|obj"]


@pytest.mark.parametrize("temperature, scope", [(1.0, "global"), (2.5, "global"), (2.5, "local")])
@pytest.mark.parametrize("labels", [LABELS, SOME, WITHOUT_FIRSTS])
@pytest.mark.parametrize("teacher_kind", ["heads", "trees"])
def test_arcs_teach_labels(teacher_kind, labels, temperature, scope):
    targets, stored, _ = random_case(teacher_kind)
    rng = np.random.default_rng(98)
    student = random_labels(rng, labels)
    annotation = rng.integers(-1, len(labels), size=N_TOKENS)
    annotation[: LENGTHS[0]] = -1
    targets[3] = None
    if scope == "global":
        wanted = project(temper(stored, temperature), student)
        log_probs = np.log(temper(student, temperature).marginals()) * temperature**2
    else:
        wanted = project(stored, student) ** (1 / temperature)
        totals = wanted.sum(axis=1, keepdims=True)
        wanted /= np.where(totals > 0, totals, 1)
        log_probs = np.log(student.marginals())
    kd = np.bincount(LAYOUT.sentences, -(wanted * log_probs).sum(axis=1), len(LENGTHS))
    gold = -np.log(student.marginals())[np.arange(N_TOKENS), annotation]
    gold = np.bincount(LAYOUT.sentences, np.where(annotation >= 0, gold, 0), len(LENGTHS))
    taught = np.asarray([True, False, True, False, True])
    annotated = annotated_sentences(annotation, student)
    share = np.where(taught & annotated, 0.4, taught)
    rest = np.where(taught & annotated, 0.6, annotated)
    objective = make_structural_kd(
        teacher_weight=0.4, temperature=temperature, temperature_scope=scope
    )
    value, gradient = objective(student, annotation, targets)
    assert value == pytest.approx((share * kd + rest * gold).sum() / len(LENGTHS), abs=1e-9)
    found = numeric(student.scores, labels, lambda s: objective(s, annotation, targets)[0])
    np.testing.assert_allclose(gradient, found, atol=1e-6)


@pytest.mark.parametrize("make_objective", [make_posterior_kd, make_token_kd])
def test_single_labels_are_structural(make_objective):
    targets, _, _ = random_case("heads")
    student = random_labels(np.random.default_rng(99))
    nothing = np.full(N_TOKENS, -1)
    value, gradient = make_objective()(student, nothing, targets)
    expected, wanted = make_structural_kd()(student, nothing, targets)
    assert value == pytest.approx(expected, abs=1e-12)
    np.testing.assert_allclose(gradient, wanted, atol=1e-12)
    with pytest.raises(ValueError, match=r"none of labels.*StructuralKD\.v1"):
        make_substructure_kd()(student, nothing, targets)


def test_best_trees_teach_labels():
    targets, stored, _ = random_case("heads")
    student = random_labels(np.random.default_rng(100))
    log_probs, expected = np.log(student.marginals()), 0.0
    for number, length in enumerate(LENGTHS):
        for _, heads, columns in best_trees(stored, length, number, 1, False) if length else ():
            for position, (head, column) in enumerate(zip(heads, columns)):
                code = "0" if head == 0 else f"{head - position - 1:+d}"
                label = LABELS.index(f"{code}|{RELATIONS[column]}")
                expected -= log_probs[BOUNDS[number] + position, label]
    objective = make_structural_kd(take="top_1")
    value, _ = objective(student, np.full(N_TOKENS, -1), targets)
    assert value * len(LENGTHS) == pytest.approx(expected, abs=1e-9)


def test_labels_that_equal_their_teacher_have_no_gradient():
    targets, stored, _ = random_case("trees")
    student = label_trees(
        np.log(project(stored, random_labels(np.random.default_rng(101))) + 1e-30)
    )
    _, gradient = make_structural_kd()(student, np.full(N_TOKENS, -1), targets)
    np.testing.assert_allclose(gradient, 0, atol=1e-9)
