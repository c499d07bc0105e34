"""Every objective with students of heads, trees and labels that mean arcs, against listing."""

import numpy as np
import pytest

from spacy_skd.distill import cross_entropy, project
from spacy_skd.distill.annotation import annotated_sentences, gold_parts
from spacy_skd.distill.objectives import (
    make_posterior_kd,
    make_structural_kd,
    make_substructure_kd,
    make_token_kd,
)
from spacy_skd.distill.projection import condition
from spacy_skd.distill.targets import MAX_LOSS
from spacy_skd.distill.temperature import temper
from spacy_skd.structures import HeadSelection

from .arc_cases import (
    NOTHING,
    OBJECTIVES,
    SCALE,
    STUDENTS,
    TEMPERED,
    as_stored,
    log_softmax,
    loss_of,
    numeric,
    random_case,
    random_gold,
    relation_scores,
    rows,
    targets_of,
)
from .arc_structures import (
    BOUNDS,
    KINDS,
    LABELS,
    LAYOUT,
    LENGTHS,
    N_TOKENS,
    RELATIONS,
    check_gradient,
    dense,
    joint_cross_entropy,
    label_trees,
    listed,
    make,
    marginals_of,
    outputs_of,
    random_arcs_of,
    random_labels,
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


def best_trees(stored, length, number, k, projective):
    """The k best trees of a sentence with their log-weights, relations as columns."""
    kind = make("projective" if projective else "trees", random_scores(np.random.default_rng(0)))
    trees, block = outputs_of(kind, length), stored.arcs[number]
    tokens = np.arange(length)
    scored = [(block[tokens, list(heads)].sum(), heads) for heads in trees]
    best = sorted(scored, reverse=True)[:k]
    relations = listed(stored)[number].relations
    return [(score, heads, relations[tokens, list(heads)].argmax(-1)) for score, heads in best]


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


# --- what all have in common


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


# --- labels that mean arcs


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
