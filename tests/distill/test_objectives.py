"""The structural objective against its definition, gradients against central differences."""

import pickle

import numpy as np
import pytest
from thinc.api import warmup_linear

from spacy_skd.distill.objectives import (
    make_posterior_kd,
    make_structural_kd,
    make_sum_kd,
    make_token_kd,
)
from spacy_skd.distill.targets import Target, collate, describe, stored_scores
from spacy_skd.distill.temperature import temper
from spacy_skd.structures import LinearChain, SentenceError, Token

from .random_structures import (
    LENGTHS,
    enumerations,
    gradients,
    listed_cross_entropy,
    numeric_gradients,
    parameters,
    random_structure,
    rebuilt,
)

LABELS = ["A", "B", "C"]
KINDS = [Token, LinearChain]
PAIRS = [(teacher, student) for teacher in KINDS for student in KINDS]
NOTHING = np.full(sum(LENGTHS), -1)


def targets_of(teacher):
    record = describe(teacher, "ner")
    scores = [array.astype("float64") for array in stored_scores(teacher)]
    return [Target(record, array) for array in scores]


def as_stored(teacher):
    """The teacher as the store gives it back."""
    return collate(targets_of(teacher), np.zeros(1))


def random_annotation(rng, missing=0.3):
    annotation = rng.integers(3, size=sum(LENGTHS))
    annotation[rng.uniform(size=sum(LENGTHS)) < missing] = -1
    return annotation


def listed_gold_loss(student, annotation):
    """−log of the probability of all label sequences that agree with the annotation."""
    bounds = np.concatenate([[0], np.cumsum(student.lengths)])
    losses = []
    for start, end, listed in zip(bounds, bounds[1:], enumerations(student)):
        gold = annotation[start:end]
        agree = [all(g in (-1, y) for g, y in zip(gold, output)) for output in listed.outputs]
        losses.append(-np.log(listed.probs[agree].sum()) if (gold >= 0).any() else 0.0)
    return np.asarray(losses)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("weight", [1.0, 0.4, 0.0])
@pytest.mark.parametrize("teacher_kind, student_kind", PAIRS)
def test_value_and_gradient(teacher_kind, student_kind, weight, temperature):
    rng = np.random.default_rng(11)
    teacher = random_structure(teacher_kind, rng, labels=LABELS)
    student = random_structure(student_kind, rng, labels=LABELS)
    annotation = random_annotation(rng)
    targets = targets_of(teacher)
    targets[3] = None  # a sentence without a teacher
    annotation[: LENGTHS[0]] = -1  # and one without annotation
    objective = make_structural_kd(teacher_weight=weight, temperature=temperature)

    stored = as_stored(teacher)
    kd = temperature**2 * listed_cross_entropy(
        temper(stored, temperature), temper(student, temperature)
    )
    gold = listed_gold_loss(student, annotation)
    annotated = np.asarray(
        [False, False, *(part.any() for part in np.split(annotation >= 0, [3, 4, 8])[1:])]
    )
    taught = np.asarray([True, False, True, False, True])
    teacher_share = np.where(taught & annotated, weight, taught)
    gold_share = np.where(taught & annotated, 1 - weight, annotated)
    expected = (teacher_share * kd + gold_share * gold).sum() / len(LENGTHS)

    value, gradient = objective(student, annotation, targets)
    assert value == pytest.approx(expected, abs=1e-9)
    numeric = numeric_gradients(student, lambda s: objective(s, annotation, targets)[0])
    for found, wanted in zip(gradients(gradient), numeric):
        np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_student_that_equals_its_teacher_has_no_gradient(kind):
    rng = np.random.default_rng(12)
    teacher = as_stored(random_structure(kind, rng, labels=LABELS))
    _, gradient = make_structural_kd()(rebuilt(teacher), NOTHING, targets_of(teacher))
    for array in gradients(gradient):
        np.testing.assert_allclose(array, 0, atol=1e-6)


def test_a_pass_of_the_student_serves_gold_and_teacher_together(monkeypatch):
    rng = np.random.default_rng(13)
    student = random_structure(LinearChain, rng, labels=LABELS)
    targets = targets_of(random_structure(LinearChain, rng, labels=LABELS))
    runs = []
    from spacy_skd.structures import chain

    original = chain.ScaledPasses.__init__

    def counting(self, *args, **kwargs):
        runs.append(self)
        original(self, *args, **kwargs)

    monkeypatch.setattr(chain.ScaledPasses, "__init__", counting)
    make_structural_kd(teacher_weight=0.5)(student, rng.integers(3, size=sum(LENGTHS)), targets)
    assert len(runs) == 2  # the student once, the teacher once


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_known_is_no_loss(kind):
    student = random_structure(kind, np.random.default_rng(14), labels=LABELS)
    value, gradient = make_structural_kd()(student, NOTHING, [None] * len(LENGTHS))
    assert value == 0
    assert all((array == 0).all() for array in gradients(gradient))


def test_an_impossible_annotation_names_its_sentence():
    rng = np.random.default_rng(15)
    student = random_structure(LinearChain, rng, labels=LABELS)
    student.transitions[0, 1] = -np.inf
    for gold in ([0, 1], [0, 1, -1]):
        annotation = NOTHING.copy()
        annotation[4 : 4 + len(gold)] = gold  # in the fourth sentence
        with pytest.raises(SentenceError) as error:
            make_structural_kd()(rebuilt(student), annotation, [None] * len(LENGTHS))
        assert error.value.sentence == 3


def test_the_teachers_weight_falls_linearly_over_the_run():
    objective = make_structural_kd()
    with pytest.raises(ValueError, match=r"training\.max_steps"):
        _ = objective.weight.value
    objective.start(4)
    seen = []
    for _ in range(6):
        seen.append(objective.weight.value)
        objective.finish_step()
    assert seen == [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]


def test_the_teachers_weight_may_be_a_schedule_or_a_number():
    objective = make_structural_kd(teacher_weight=warmup_linear(0.8, 0, 2))
    seen = []
    for _ in range(4):
        seen.append(round(objective.weight.value, 6))
        objective.finish_step()
    assert seen == [0.8, 0.4, 0.0, 0.0]
    assert make_structural_kd(teacher_weight=0.3).weight.value == 0.3
    for wrong in (-0.1, 1.1):
        with pytest.raises(ValueError, match="between 0 and 1"):
            make_structural_kd(teacher_weight=wrong)
    with pytest.raises(ValueError, match="temperature"):
        make_structural_kd(temperature=0)


def test_targets_survive_float16():
    rng = np.random.default_rng(16)
    teacher = random_structure(LinearChain, rng, labels=LABELS)
    record = describe(teacher, "ner")
    stored = collate(
        [Target(record, scores) for scores in stored_scores(teacher)], np.zeros(1, "f")
    )
    np.testing.assert_allclose(stored.marginals().tokens, teacher.marginals().tokens, atol=2e-3)
    assert all(scores.dtype == np.float16 for scores in stored_scores(teacher))
    assert parameters(stored)[0].dtype == np.float32


def test_a_mixture_of_two_teachers():
    rng = np.random.default_rng(17)
    student = random_structure(LinearChain, rng, labels=LABELS)
    chain = random_structure(LinearChain, rng, labels=LABELS)
    token = random_structure(Token, rng, labels=LABELS)
    targets = targets_of(chain)
    targets[0], targets[3] = targets_of(token)[0], targets_of(token)[3]
    value, _ = make_structural_kd()(student, NOTHING, targets)
    from_chain = listed_cross_entropy(as_stored(chain), student)
    from_token = listed_cross_entropy(as_stored(token), student)
    expected = from_token[[0, 3]].sum() + from_chain[[1, 2, 4]].sum()
    assert value * len(LENGTHS) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("make", [make_structural_kd, make_posterior_kd, make_token_kd])
def test_a_loss_weight_multiplies_loss_and_gradient(make, rng):
    student = random_structure(LinearChain, rng, labels=LABELS)
    targets = targets_of(random_structure(LinearChain, rng, labels=LABELS))
    annotation = random_annotation(rng)
    loss, gradient = make(teacher_weight=0.4)(student, annotation, targets)
    heavy, its_gradient = make(teacher_weight=0.4, loss_weight=2.5)(student, annotation, targets)
    assert heavy == pytest.approx(2.5 * loss)
    for found, plain in zip(gradients(its_gradient), gradients(gradient), strict=True):
        np.testing.assert_allclose(found, 2.5 * plain, rtol=1e-6)


@pytest.mark.parametrize("weight", [0, -1.0, float("nan"), float("inf")])
def test_a_loss_weight_is_above_zero(weight):
    with pytest.raises(ValueError, match="loss_weight has to be a number above 0"):
        make_structural_kd(loss_weight=weight)


def test_a_sum_weighs_its_losses_itself():
    heavy = make_structural_kd(loss_weight=2.0)
    with pytest.raises(ValueError, match="'one' has a loss_weight"):
        make_sum_kd({"one": heavy, "other": make_token_kd()})
    assert make_sum_kd({"one": make_token_kd()}, loss_weight=2.0).loss_weight == 2.0


def test_a_pickled_objective_keeps_its_weight():
    objective = make_structural_kd(teacher_weight=warmup_linear(0.8, 0, 2))
    objective.finish_step()
    copy = pickle.loads(pickle.dumps(objective))
    assert copy.weight.value == objective.weight.value == 0.4
    copy.finish_step()
    assert copy.weight.value == 0.4
