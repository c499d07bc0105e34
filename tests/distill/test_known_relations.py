"""Teachers that know only some of the student's relations, or call them otherwise."""

from dataclasses import replace

import numpy as np
import pytest

from spacy_skd.distill.arc_records import with_relations
from spacy_skd.distill.meaning import relabelled, relation_columns
from spacy_skd.distill.objectives import (
    make_structural_kd,
)
from spacy_skd.distill.targets import Target
from spacy_skd.structures import DenseRelations, HeadSelection, SpanningTree

from .arc_cases import (
    BLOCKS,
    NOTHING,
    OBJECTIVES,
    as_stored,
    log_softmax,
    log_softmax_of_rows,
    loss_of,
    numeric,
    random_case,
    relation_scores,
    targets_of,
)
from .arc_structures import (
    LABELS,
    LAYOUT,
    LENGTHS,
    N_TOKENS,
    RELATIONS,
    check_gradient,
    dense,
    label_trees,
    make,
    random_arcs_of,
)

# --- teachers that do not know all of the student's relations


def without_column(targets, column):
    """Targets of a teacher that does not know one of the relations."""
    labels = tuple(np.delete(RELATIONS, column).tolist())
    found = []
    for target in targets:
        scores = target.scores[target.scores["relation"] != column].copy()
        scores["relation"] -= scores["relation"] > column
        record = replace(target.teacher, labels=labels)
        found.append(Target(record, scores, len(target)))
    return [replace(target, teacher=found[0].teacher) for target in found]


@pytest.mark.parametrize(
    "name, student_kind, column",
    [
        *((name, "heads", 1) for name in OBJECTIVES),
        ("marginals", "trees", 0),
        ("top_wk", "projective", 2),
    ],
)
def test_relations_that_the_teacher_does_not_know_are_missing(name, student_kind, column):
    targets, _, scores = random_case("heads")
    targets, objective = without_column(targets, column), OBJECTIVES[name]()
    found, gradient = objective(make(student_kind, scores), NOTHING, targets)
    known = [number for number in range(len(RELATIONS)) if number != column]
    few = HeadSelection if student_kind == "heads" else SpanningTree
    options = {} if student_kind == "heads" else {"projective": student_kind == "projective"}
    relations = DenseRelations([scores[1][cells][:, :, known] for cells in BLOCKS], len(known))
    labels = [RELATIONS[number] for number in known]
    alone = few(scores[0], lengths=LENGTHS, relations=relations, labels=labels, **options)
    assert found == pytest.approx(objective(alone, NOTHING, targets)[0], abs=1e-9)
    assert not dense(gradient.relations)[:, column].any()
    assert dense(gradient.relations)[:, known].any()
    check_gradient(student_kind, scores, lambda student: objective(student, NOTHING, targets))


def test_teachers_of_different_relations_in_a_batch():
    whole, _, scores = random_case("trees")
    some = without_column(random_case("heads", seed=96)[0], 1)
    mixed = [some[0], whole[1], None, some[3], whole[4]]
    objective = make_structural_kd()
    student = make("trees", scores)
    first = loss_of(objective, student, [some[0], None, None, some[3], None])
    second = loss_of(objective, student, [None, whole[1], None, None, whole[4]])
    assert loss_of(objective, student, mixed) == pytest.approx(first + second, abs=1e-9)
    check_gradient("trees", scores, lambda student: objective(student, NOTHING, mixed))
    both = [[t, o] if o is not None else t for t, o in zip(whole, some)]
    check_gradient("trees", scores, lambda student: objective(student, NOTHING, both))


# --- relations that mean others, or nothing


def regrouped(targets, names):
    """Targets of a teacher whose relations are called others, several perhaps the same, or ""."""
    teacher = targets[0].teacher
    renamed = relabelled(teacher, names)
    columns = relation_columns(teacher, names, renamed)
    if columns is None:
        return [replace(target, teacher=renamed) for target in targets]
    return [Target(renamed, with_relations(t.scores, columns), len(t)) for t in targets]


def test_relations_that_become_one_have_the_sum_of_their_probabilities():
    targets, stored, _ = random_case("heads")
    merged = as_stored(regrouped(targets, {"amod": "obj"}))
    assert merged.labels == ("obj", "nsubj")
    np.testing.assert_allclose(merged.scores, stored.scores, atol=5e-3)  # rounded once more
    probs, wanted = (np.exp(log_softmax(relation_scores(found))) for found in (merged, stored))
    arcs = np.delete(np.arange(LAYOUT.n_cells), LAYOUT.self_cells)
    np.testing.assert_allclose(probs[arcs, 0], wanted[arcs, 0] + wanted[arcs, 2], atol=2e-3)
    np.testing.assert_allclose(probs[arcs, 1], wanted[arcs, 1], atol=2e-3)


def test_a_dropped_relation_is_missing():
    """Of it no loss, of the others by the teacher's probabilities of them."""
    targets, stored, scores = random_case("heads")
    dropped = regrouped(targets, {"amod": ""})
    student = make("heads", scores)
    arcs = np.exp(log_softmax_of_rows(stored.scores))
    relations = np.exp(log_softmax(relation_scores(stored)))
    possible = arcs > 0
    expected = -(arcs[possible] * log_softmax_of_rows(scores[0])[possible]).sum()
    expected -= (arcs[:, None] * relations[:, 1:] * log_softmax(scores[1][:, 1:])).sum()
    objective = make_structural_kd()
    assert loss_of(objective, student, dropped) == pytest.approx(expected, abs=1e-9)
    _, gradient = objective(student, NOTHING, dropped)
    assert not dense(gradient.relations)[:, 0].any() and dense(gradient.relations)[:, 1].any()


@pytest.mark.parametrize(
    "name, student_kind",
    [
        *((name, "heads") for name in OBJECTIVES),
        ("marginals", "trees"),
        ("top_wk", "projective"),
    ],
)
@pytest.mark.parametrize("names", [{"amod": ""}, {"amod": "obj"}, {"amod": "", "nsubj": "obj"}])
def test_gradients_with_relations_that_mean_others(name, student_kind, names):
    targets, _, scores = random_case("heads")
    targets, objective = regrouped(targets, names), OBJECTIVES[name]()
    _, gradient = objective(make(student_kind, scores), NOTHING, targets)
    assert not dense(gradient.relations)[:, 0].any()
    check_gradient(student_kind, scores, lambda student: objective(student, NOTHING, targets))


@pytest.mark.parametrize("name", ["marginals", "top_wk", "squares", "kl"])
def test_a_teacher_all_of_whose_relations_are_dropped_teaches_heads(name):
    targets, _, scores = random_case("heads")
    nothing = regrouped(targets, dict.fromkeys(RELATIONS, ""))
    objective, student = OBJECTIVES[name](), make("heads", scores)
    _, gradient = objective(student, NOTHING, nothing)
    assert not dense(gradient.relations).any()
    _, wanted = objective(make("heads", (scores[0], None)), NOTHING, targets)
    np.testing.assert_allclose(gradient.arcs, wanted.arcs, atol=1e-4)  # rounded once more


def test_the_best_tree_does_not_tell_a_dropped_relation():
    targets, stored, scores = random_case("heads")
    _, gradient = OBJECTIVES["top_1"]()(
        make("heads", scores), NOTHING, regrouped(targets, {"obj": ""})
    )
    told = np.flatnonzero(dense(gradient.relations).any(axis=1))
    _, whole = OBJECTIVES["top_1"]()(make("heads", scores), NOTHING, targets)
    every = np.flatnonzero(dense(whole.relations).any(axis=1))
    likeliest = relation_scores(stored)[every].argmax(axis=1)
    assert told.tolist() == every[likeliest != 2].tolist() and 0 < len(told) < len(every)


def test_labels_that_mean_arcs_are_not_taught_what_is_mostly_dropped():
    targets = targets_of(random_arcs_of("heads", np.random.default_rng(91), scale=3.0))
    stored, dropped = as_stored(targets), regrouped(targets, {"amod": "", "obj": ""})
    scores = np.random.default_rng(121).normal(size=(N_TOKENS, len(LABELS)))

    def learn(student):
        return make_structural_kd()(student, np.full(N_TOKENS, -1), dropped)

    _, gradient = learn(label_trees(scores, LABELS))
    np.testing.assert_allclose(
        gradient, numeric(scores, LABELS, lambda student: learn(student)[0]), atol=1e-6
    )
    known = np.exp(log_softmax(relation_scores(stored))[:, 1] + log_softmax_of_rows(stored.scores))
    lost = 1 - np.add.reduceat(known, LAYOUT.row_starts)
    assert (gradient.any(axis=1) == (lost <= 0.5)).all() and {*(lost > 0.5)} == {True, False}
