"""Every objective with students of heads and trees, against listing."""

import numpy as np
import pytest

from spacy_skd.distill import cross_entropy
from spacy_skd.distill.annotation import annotated_sentences, gold_parts
from spacy_skd.distill.objectives import (
    make_posterior_kd,
    make_structural_kd,
    make_substructure_kd,
    make_token_kd,
)
from spacy_skd.distill.projection import condition
from spacy_skd.distill.temperature import temper
from spacy_skd.structures import HeadSelection

from .arc_cases import (
    NOTHING,
    SCALE,
    STUDENTS,
    as_stored,
    best_trees,
    log_softmax,
    loss_of,
    random_case,
    random_gold,
    relation_scores,
    rows,
    targets_of,
)
from .arc_structures import (
    KINDS,
    LAYOUT,
    LENGTHS,
    RELATIONS,
    check_gradient,
    dense,
    joint_cross_entropy,
    listed,
    make,
    random_arcs_of,
    random_scores,
)

# --- the structural objective


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("weight", [1.0, 0.4])
@pytest.mark.parametrize("student_kind", STUDENTS)
@pytest.mark.parametrize("teacher_kind", KINDS)
def test_value_and_gradient(teacher_kind, student_kind, weight, temperature):
    targets, stored, scores = random_case(teacher_kind)
    student = make(student_kind, scores)
    annotation = random_gold(np.random.default_rng(92), student_kind)
    annotation[: LENGTHS[0]] = -1  # a sentence without annotation
    targets[3] = None  # and one without a teacher
    hot_student = temper(student, temperature)
    hot_teacher = condition(temper(stored, temperature), hot_student)
    kd = temperature**2 * joint_cross_entropy(hot_teacher, hot_student)
    taught = np.asarray([True, False, True, False, True])
    annotated = annotated_sentences(annotation, student)
    gold = np.zeros(len(LENGTHS))
    for number in np.flatnonzero(annotated):
        alone = np.eye(len(LENGTHS))[number]
        parts, log_weight = gold_parts(student, annotation, alone)
        log_probs = log_softmax(relation_scores(student))
        of_relations = (dense(parts.relations) * log_probs).sum()
        gold[number] = student.log_partition()[number] - log_weight - of_relations
    share = np.where(taught & annotated, weight, taught)
    rest = np.where(taught & annotated, 1 - weight, annotated)
    objective = make_structural_kd(teacher_weight=weight, temperature=temperature)
    value, _ = objective(student, annotation, targets)
    assert value == pytest.approx((share * kd + rest * gold).sum() / len(LENGTHS), abs=1e-9)
    check_gradient(student_kind, scores, lambda student: objective(student, annotation, targets))


@pytest.mark.parametrize("student_kind", ["heads", "trees"])
def test_marginals_of_trees_are_taken_as_they_are(student_kind):
    targets, stored, scores = random_case("trees")
    student = make(student_kind, scores)
    found = loss_of(make_structural_kd(), student, targets)
    assert found == pytest.approx(cross_entropy(stored, student).sum(), abs=1e-9)
    assert condition(stored, student) is stored


@pytest.mark.parametrize("teacher_kind, projective", [("trees", True), ("projective", False)])
def test_which_trees_are_conditioned(teacher_kind, projective):
    _, stored, scores = random_case(teacher_kind)
    student = make("projective" if projective else "trees", scores)
    given = condition(stored, student)
    assert (given is stored) == (not projective)
    hot = condition(temper(stored, 2.0), student)  # no longer the marginals of any trees
    np.testing.assert_allclose(LAYOUT.row_sum(hot.flat_marginals()), 1)
    roots = [block[:, 0].sum() for block in hot.marginals() if len(block)]
    np.testing.assert_allclose(roots, 1)


@pytest.mark.parametrize("student_kind", STUDENTS)
@pytest.mark.parametrize("teacher_kind", ["heads", "trees"])
def test_local_temperature(teacher_kind, student_kind):
    """The teacher's probabilities to the power 1/T, heads and relations each; the student's as
    they are."""
    targets, stored, scores = random_case(teacher_kind)
    student = make(student_kind, scores)
    softer = HeadSelection(
        np.log(stored.flat_marginals().clip(1e-300)) / 3, lengths=LENGTHS,
        relations=temper(stored, 3.0).relations, labels=RELATIONS,
    )  # fmt: skip
    wanted = joint_cross_entropy(condition(softer, student), student).sum()
    objective = make_structural_kd(temperature=3.0, temperature_scope="local")
    assert loss_of(objective, student, targets) == pytest.approx(wanted, abs=1e-9)
    check_gradient(student_kind, scores, lambda student: objective(student, NOTHING, targets))


@pytest.mark.parametrize("take", ["top_k", "top_wk", "top_1"])
@pytest.mark.parametrize("student_kind", STUDENTS)
@pytest.mark.parametrize("teacher_kind", ["heads", "trees"])
def test_the_teachers_best_trees(teacher_kind, student_kind, take):
    targets, stored, scores = random_case(teacher_kind)
    student = make(student_kind, scores)
    k, expected = 1 if take == "top_1" else 4, 0.0
    for number, length in enumerate(LENGTHS):
        if not length:
            continue
        best = best_trees(stored, length, number, k, student_kind == "projective")
        weights = np.asarray([score if take == "top_wk" else 0.0 for score, _, _ in best])
        weights = np.exp(log_softmax(weights))
        tokens = np.arange(length)
        relations = listed(student)[number].relations
        for weight, (_, heads, columns) in zip(weights, best):
            log_prob = student.select([number]).log_prob([list(heads)])[0]
            log_prob += relations[tokens, list(heads), columns].sum()
            expected -= weight * log_prob
    objective = make_structural_kd(take=take, k=4)
    found = loss_of(objective, student, targets)
    assert found == pytest.approx(expected, abs=1e-9)
    assert loss_of(objective, student, targets) == found  # with the outputs that were kept
    check_gradient(student_kind, scores, lambda student: objective(student, NOTHING, targets))


def test_best_trees_of_heads_that_make_none():
    arcs = np.full(LAYOUT.n_cells, -np.inf)
    for block in LAYOUT.blocks(arcs):
        if len(block):
            block[np.arange(len(block)), (np.arange(len(block)) + 1) % len(block) + 1] = 0.0
    arcs[LAYOUT.row_starts[3]] = 0.0
    scores = random_scores(np.random.default_rng(93))
    targets = targets_of(make("heads", (arcs, scores[1])))
    objective = make_structural_kd(take="top_k", k=3)
    for student_kind in ("heads", "trees"):
        value, gradient = objective(make(student_kind, scores), NOTHING, targets)
        assert np.isfinite(value) and np.isfinite(gradient.arcs).all()
        check_gradient(student_kind, scores, lambda student: objective(student, NOTHING, targets))


# --- scores compared head by head


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("student_kind", STUDENTS)
@pytest.mark.parametrize("teacher_kind", ["heads", "trees"])
def test_token(teacher_kind, student_kind, temperature):
    targets, stored, scores = random_case(teacher_kind)
    alone = make("heads", scores)
    wanted = joint_cross_entropy(temper(stored, temperature), temper(alone, temperature)).sum()
    objective = make_token_kd(temperature=temperature)
    found = loss_of(objective, make(student_kind, scores), targets)
    assert found == pytest.approx(temperature**2 * wanted, abs=1e-9)
    check_gradient(student_kind, scores, lambda student: objective(student, NOTHING, targets))


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("student_kind", ["heads", "trees"])
def test_divergence(student_kind, temperature):
    targets, stored, scores = random_case("heads")
    student = make(student_kind, scores)
    expected = 0.0
    relations = zip(rows(relation_scores(stored)), rows(relation_scores(student)))
    for theirs, ours, (r_theirs, r_ours) in zip(
        rows(stored.scores), rows(student.scores), relations
    ):
        p, q = log_softmax(theirs / temperature), log_softmax(ours / temperature)
        r_p, r_q = log_softmax(r_theirs / temperature), log_softmax(r_ours / temperature)
        of_relations = np.where(np.isfinite(r_p), np.exp(r_p) * (r_p - r_q), 0).sum(-1)
        expected += np.exp(p) @ (p - q + of_relations)
    objective = make_substructure_kd(match="kl", temperature=temperature)
    found = loss_of(objective, student, targets)
    assert found == pytest.approx(temperature**2 * expected, abs=1e-9)
    check_gradient(student_kind, scores, lambda student: objective(student, NOTHING, targets))


@pytest.mark.parametrize("scale", [SCALE, 6.0])
@pytest.mark.parametrize("student_kind", ["heads", "trees"])
def test_squares(student_kind, scale):
    rng = np.random.default_rng(94)
    targets, scores = targets_of(random_arcs_of("heads", rng, scale)), random_scores(rng)
    stored, student = as_stored(targets), make(student_kind, scores)
    assert np.isneginf(np.concatenate(rows(stored.scores))).any() == (scale > 1)
    expected = 0.0
    relations = zip(rows(relation_scores(stored)), rows(relation_scores(student)))
    for theirs, ours, (r_theirs, r_ours) in zip(
        rows(stored.scores), rows(student.scores), relations
    ):
        kept = np.isfinite(theirs)
        expected += np.var((ours - theirs)[kept])
        for prob, r_their, r_our in zip(np.exp(theirs)[kept], r_theirs[kept], r_ours[kept]):
            expected += prob * np.var((r_our - r_their)[np.isfinite(r_their)])
    objective = make_substructure_kd()
    assert loss_of(objective, student, targets) == pytest.approx(expected, abs=1e-9)
    check_gradient(student_kind, scores, lambda student: objective(student, NOTHING, targets))


def test_posterior_of_heads_is_structural():
    targets, _, scores = random_case("trees")
    student = make("heads", scores)
    for options in ({}, {"temperature": 2.0}, {"temperature": 2.0, "temperature_scope": "local"}):
        value, gradient = make_posterior_kd(**options)(student, NOTHING, targets)
        expected, wanted = make_structural_kd(**options)(student, NOTHING, targets)
        assert value == expected
        np.testing.assert_array_equal(gradient.arcs, wanted.arcs)
    with pytest.raises(ValueError, match=r"StructuralKD\.v1, which is exact for them"):
        make_posterior_kd()(make("trees", scores), NOTHING, targets)


def test_there_are_no_transitions_between_heads():
    targets, _, scores = random_case("heads")
    with pytest.raises(ValueError, match="no transitions to match"):
        make_substructure_kd(transitions=True)(make("heads", scores), NOTHING, targets)
