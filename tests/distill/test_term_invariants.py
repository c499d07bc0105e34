"""What all objectives of label sequences have in common, whatever their values are."""

import numpy as np
import pytest

from spacy_skd.distill.objectives import make_structural_kd
from spacy_skd.structures import LinearChain, Token

from .random_structures import LENGTHS, gradients, parameters, rebuilt
from .term_cases import (
    KINDS,
    LABELS,
    NOTHING,
    OBJECTIVES,
    TEMPERED,
    check_gradient,
    loss_of,
    random_pair,
)

# Of a few outputs alone no teacher is the copy: those objectives are tested with all outputs.
COPIES = [
    (name, kind, temperature)
    for name in OBJECTIVES
    for kind in KINDS
    for temperature in (1.0, 2.0)
    if not name.startswith("top") and name != "sum"
    if kind is LinearChain or not name.startswith("transitions")
    if temperature == 1.0 or name in TEMPERED
]


@pytest.mark.parametrize("name, kind, temperature", COPIES)
def test_a_student_that_equals_its_teacher_has_no_gradient(name, kind, temperature):
    targets, teacher, _ = random_pair(kind, kind)
    options = {} if temperature == 1.0 else {"temperature": temperature}
    _, gradient = OBJECTIVES[name](**options)(rebuilt(teacher), NOTHING, targets)
    for array in gradients(gradient):
        np.testing.assert_allclose(array, 0, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_all_outputs_with_their_probabilities_are_the_whole_teacher(kind):
    targets, teacher, student = random_pair(kind, kind)
    short = [target if len(target) <= 3 else None for target in targets]  # at most 27 outputs
    listed, whole = make_structural_kd(take="top_wk", k=50), make_structural_kd()
    assert loss_of(listed, student, short) == pytest.approx(loss_of(whole, student, short))
    _, gradient = listed(rebuilt(teacher), NOTHING, short)
    for array in gradients(gradient):
        np.testing.assert_allclose(array, 0, atol=1e-9)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_sentences_without_a_target_do_not_count(name):
    targets, _, student = random_pair(LinearChain, LinearChain)
    objective = OBJECTIVES[name]()
    alone = [
        loss_of(objective, student, [t if n == i else None for n, t in enumerate(targets)])
        for i in range(len(targets))
    ]
    targets[3] = None
    assert loss_of(objective, student, targets) == pytest.approx(sum(alone) - alone[3], abs=1e-9)
    check_gradient(objective, student, targets)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_two_teachers_in_a_batch(name):
    targets, _, student = random_pair(LinearChain, LinearChain)
    others, _, _ = random_pair(Token, LinearChain, seed=22)
    objective = OBJECTIVES[name]()
    mixed = [others[0], targets[1], targets[2], others[3], targets[4]]
    first = loss_of(objective, student, [None, targets[1], targets[2], None, targets[4]])
    second = loss_of(objective, student, [others[0], None, None, others[3], None])
    assert loss_of(objective, student, mixed) == pytest.approx(first + second, abs=1e-9)
    check_gradient(objective, student, mixed)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_float32_agrees_with_float64(name):
    targets, _, student = random_pair(LinearChain, LinearChain)
    single = LinearChain(
        *(array.astype("f") for array in parameters(student)), student.lengths, labels=LABELS
    )
    objective = OBJECTIVES[name]()
    value, gradient = objective(student, NOTHING, targets)
    found, single_gradient = objective(single, NOTHING, targets)
    assert found == pytest.approx(value, rel=1e-5)
    for ours, theirs in zip(gradients(single_gradient), gradients(gradient)):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_gold_joins_every_objective(name):
    targets, _, student = random_pair(LinearChain, LinearChain)
    annotation = np.random.default_rng(23).integers(3, size=sum(LENGTHS))
    taught, _ = OBJECTIVES[name](teacher_weight=1.0)(student, annotation, targets)
    gold, _ = OBJECTIVES[name](teacher_weight=0.0)(student, annotation, targets)
    assert gold == pytest.approx(make_structural_kd()(student, annotation, [None] * 5)[0])
    both, _ = OBJECTIVES[name](teacher_weight=0.25)(student, annotation, targets)
    assert both == pytest.approx(0.25 * taught + 0.75 * gold, abs=1e-9)
