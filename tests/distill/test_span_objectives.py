"""Every kind of teacher of entities with every kind of student, spans among them."""

import numpy as np
import pytest

from spacy_skd.distill.objectives import (
    make_posterior_kd,
    make_structural_kd,
    make_substructure_kd,
    make_token_kd,
)
from spacy_skd.distill.targets import MAX_LOSS
from spacy_skd.structures import ChainMarginals, LinearChain

from .span_cases import (
    NOTHING,
    WIDTH,
    random_chain,
    random_local_spans,
    random_spans,
    random_token,
    targets_of,
)


@pytest.mark.parametrize("take", ["marginals", "top_k", "top_wk"])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize(
    "make_student", [random_token, random_chain, random_spans, random_local_spans]
)
@pytest.mark.parametrize(
    "make_teacher", [random_token, random_chain, random_spans, random_local_spans]
)
def test_every_kind_teaches_every_other(make_teacher, make_student, temperature, take):
    rng = np.random.default_rng(43)
    targets, student = targets_of(make_teacher(rng)), make_student(rng)
    annotation = NOTHING.copy()
    annotation[:3] = 0
    if make_student is random_local_spans:
        annotation = np.repeat(annotation[:, None], WIDTH, axis=1)
    targets[4] = None
    objective = make_structural_kd(take, k=4, temperature=temperature, teacher_weight=0.3)
    value, gradient = objective(student, annotation, targets)
    assert np.isfinite(value)
    found = gradient if not isinstance(gradient, ChainMarginals) else gradient.tokens
    scores = student.emissions if isinstance(student, LinearChain) else student.scores
    for index in [(0, 0), (2, 1), (5, 0)] if scores.ndim == 2 else [(0, 0, 0), (5, 1, 1)]:
        ends = []
        for step in (1e-5, -1e-5):
            moved = scores.copy()
            moved[index] += step
            ends.append(objective(with_scores(student, moved), annotation, targets)[0])
        assert found[index] == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-6)


def with_scores(structure, scores):
    if isinstance(structure, LinearChain):
        rest = structure.transitions, structure.start, structure.end
        return LinearChain(scores, *rest, structure.lengths, labels=structure.labels)
    return type(structure)(scores, structure.lengths, labels=structure.labels)


def test_a_student_of_spans_that_equals_its_teacher_has_no_gradient():
    teacher = random_spans(np.random.default_rng(44))
    _, gradient = make_structural_kd()(teacher, NOTHING, targets_of(teacher))
    np.testing.assert_allclose(gradient, 0, atol=MAX_LOSS)


def test_local_temperature_is_not_for_spans():
    rng = np.random.default_rng(46)
    objective = make_structural_kd(temperature=2.0, temperature_scope="local")
    for teacher, student in (
        (random_chain(rng), random_spans(rng)),
        (random_spans(rng), random_chain(rng)),
    ):
        with pytest.raises(ValueError, match="temperature_scope = 'global'"):
            objective(student, NOTHING, targets_of(teacher))
    assert objective(random_token(rng), NOTHING, targets_of(random_spans(rng)))[0] > 0


def test_objectives_of_tokens_say_so():
    rng = np.random.default_rng(45)
    targets, student = targets_of(random_spans(rng)), random_spans(rng)
    for make in (make_posterior_kd, make_token_kd, make_substructure_kd):
        with pytest.raises(ValueError, match=r"StructuralKD\.v1, which serves all"):
            make()(student, NOTHING, targets)
    value, _ = make_posterior_kd()(random_chain(rng), NOTHING, targets)
    assert np.isfinite(value)
