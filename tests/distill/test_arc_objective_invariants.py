"""What all objectives of heads and trees have in common, whatever their values are."""

import numpy as np
import pytest

from spacy_skd.distill import cross_entropy
from spacy_skd.distill.objectives import make_structural_kd
from spacy_skd.distill.projection import condition
from spacy_skd.distill.targets import MAX_LOSS
from spacy_skd.structures import HeadSelection

from .arc_cases import NOTHING, OBJECTIVES, TEMPERED, loss_of, random_case, targets_of
from .arc_structures import (
    LENGTHS,
    RELATIONS,
    check_gradient,
    dense,
    make,
    marginals_of,
    random_arcs_of,
)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("name", ["marginals", "token", "squares", "kl"])
@pytest.mark.parametrize("teacher_kind", ["heads", "mean field"])
def test_heads_that_equal_their_teacher_have_no_gradient(teacher_kind, name, temperature):
    targets, stored, _ = random_case(teacher_kind)
    if temperature != 1.0 and name not in TEMPERED:
        pytest.skip("has no temperature")
    options = {} if temperature == 1.0 else {"temperature": temperature}
    _, gradient = OBJECTIVES[name](**options)(stored, NOTHING, targets)
    np.testing.assert_allclose(gradient.arcs, 0, atol=1e-9)
    np.testing.assert_allclose(dense(gradient.relations), 0, atol=1e-9)


@pytest.mark.parametrize("kind", ["trees", "projective"])
def test_trees_that_equal_their_teacher_have_none_but_that_of_rounding(kind):
    student = random_arcs_of(kind, np.random.default_rng(95))
    exact = marginals_of(student)
    assert condition(exact, student) is exact
    np.testing.assert_allclose(cross_entropy(exact, student), cross_entropy(student, student))
    _, gradient = make_structural_kd()(student, NOTHING, targets_of(student))
    np.testing.assert_allclose(gradient.arcs, 0, atol=2 * MAX_LOSS)
    np.testing.assert_allclose(dense(gradient.relations), 0, atol=2 * MAX_LOSS)


@pytest.mark.parametrize("student_kind", ["heads", "trees"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_batch_is_its_sentences(name, student_kind):
    targets, _, scores = random_case("heads")
    student, objective = make(student_kind, scores), OBJECTIVES[name]()
    alone = [
        loss_of(objective, student, [t if n == i else None for n, t in enumerate(targets)])
        for i in range(len(targets))
    ]
    single = [
        objective(student.select([n]), NOTHING[:length], [targets[n]])[0]
        for n, length in enumerate(LENGTHS)
    ]
    np.testing.assert_allclose(alone, single, atol=1e-9)
    targets[3] = None
    assert loss_of(objective, student, targets) == pytest.approx(sum(alone) - alone[3], abs=1e-9)
    check_gradient(student_kind, scores, lambda student: objective(student, NOTHING, targets))


@pytest.mark.parametrize("student_kind", ["heads", "trees"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_two_teachers_in_a_batch(name, student_kind):
    targets, _, scores = random_case("trees")
    others, _, _ = random_case("heads", seed=96)
    student, objective = make(student_kind, scores), OBJECTIVES[name]()
    mixed = [others[0], targets[1], targets[2], others[3], targets[4]]
    first = loss_of(objective, student, [None, targets[1], targets[2], None, targets[4]])
    second = loss_of(objective, student, [others[0], None, None, others[3], None])
    assert loss_of(objective, student, mixed) == pytest.approx(first + second, abs=1e-9)
    check_gradient(student_kind, scores, lambda student: objective(student, NOTHING, mixed))


@pytest.mark.parametrize("student_kind", ["heads", "trees", "mean field"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_float32_agrees_with_float64(name, student_kind):
    targets, _, scores = random_case("trees")
    narrow = make(student_kind, [array.astype("f") for array in scores])
    wide = make(student_kind, [array.astype("f").astype("d") for array in scores])
    if student_kind == "mean field":
        wide = HeadSelection(
            narrow.scores.astype("d"), lengths=LENGTHS, relations=wide.relations, labels=RELATIONS
        )
    value, gradient = OBJECTIVES[name]()(wide, NOTHING, targets)
    found, single = OBJECTIVES[name]()(narrow, NOTHING, targets)
    assert found == pytest.approx(value, rel=1e-4)
    assert single.arcs.dtype == np.float32 and single.relations.values.dtype == np.float32
    np.testing.assert_allclose(single.arcs, gradient.arcs, atol=1e-5)
    np.testing.assert_allclose(dense(single.relations), dense(gradient.relations), atol=1e-5)


def test_nothing_known_is_no_loss():
    value, gradient = make_structural_kd()(
        random_arcs_of("trees", np.random.default_rng(97)), NOTHING, [None] * len(LENGTHS)
    )
    assert value == 0 and gradient.relations is None and not gradient.arcs.any()


def test_relations_in_another_order_and_others():
    targets, _, scores = random_case("heads")
    found = loss_of(make_structural_kd(), make("heads", scores), targets)
    turned = make("heads", (scores[0], scores[1][:, ::-1]), RELATIONS[::-1])
    assert loss_of(make_structural_kd(), turned, targets) == pytest.approx(found, abs=1e-9)
    other = make("heads", scores, ["amod", "nsubj", "OBJ"])
    with pytest.raises(ValueError, match=r"does not have obj;.*label_map.*obj = .OBJ. makes them"):
        make_structural_kd()(other, NOTHING, targets)
