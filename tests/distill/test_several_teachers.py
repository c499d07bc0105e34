"""Several teachers, and teachers of some labels, against enumeration and central differences."""

from itertools import pairwise

import numpy as np
import pytest

from spacy_skd.distill.objectives import make_posterior_kd, make_structural_kd, make_token_kd
from spacy_skd.distill.targets import Target, Teacher, describe, stored_scores
from spacy_skd.distill.terms.partial import Partial
from spacy_skd.distill.terms.structural import Structural
from spacy_skd.structures import (
    Candidates,
    FlatSpans,
    LinearChain,
    LocalSpans,
    Token,
    as_potentials,
    biluo_labels,
    legal_moves,
)

from .random_structures import gradients
from .several_cases import (
    BOUNDS,
    LENGTHS,
    NOTHING,
    ONES,
    WIDTH,
    agreement,
    best_sets,
    check_gradient,
    listed,
    make,
    sets_of,
    targets_of,
)


@pytest.mark.parametrize("teacher_kind", [Token, LinearChain])
@pytest.mark.parametrize("student_kind", [LinearChain, FlatSpans])
def test_a_teacher_of_one_label_of_two(teacher_kind, student_kind):
    rng = np.random.default_rng(1)
    student = make(student_kind, rng, ["LOC", "PER"])
    teacher = make(teacher_kind, rng, ["PER"])
    targets = targets_of(teacher)
    weights = np.asarray([0.5, 1, 2, 1])
    expected = 0.0
    for sentence, weight in enumerate(weights):
        for claim, share in best_sets(teacher, sentence, 3):
            expected -= weight * share * agreement(student, sentence, claim, {"PER"})

    def learn(student):
        return Partial(3)(student, targets, weights)

    assert learn(student)[0] == pytest.approx(expected, abs=1e-9)
    check_gradient(learn, student)


@pytest.mark.parametrize("teacher_kind", [Token, LinearChain])
def test_a_token_student_learns_from_all_outputs(teacher_kind):
    rng = np.random.default_rng(2)
    student, teacher = make(Token, rng, ["LOC", "PER"]), make(teacher_kind, rng, ["PER"])
    targets = targets_of(teacher)
    expected = 0.0
    for sentence in range(len(LENGTHS)):
        for path, share in listed(teacher, sentence):
            if share == 0:
                continue
            for place, label in enumerate(path):
                name = teacher.labels[label]
                row = student.scores[BOUNDS[sentence] + place]
                agree = [
                    theirs == name or (name == "O" and theirs.partition("-")[2] == "LOC")
                    for theirs in student.labels
                ]
                expected -= share * np.log(np.exp(row[agree]).sum() / np.exp(row).sum())

    def learn(student):
        return Partial()(student, targets, ONES)

    assert learn(student)[0] == pytest.approx(expected, abs=1e-9)
    check_gradient(learn, student)


@pytest.mark.parametrize("teacher_kind", [Token, LinearChain])
def test_a_student_of_single_spans(teacher_kind):
    rng = np.random.default_rng(3)
    student, teacher = make(LocalSpans, rng, ["LOC", "PER"]), make(teacher_kind, rng, ["PER"])
    chain = teacher
    if teacher_kind is Token:
        chain = LinearChain.from_token(
            teacher, *(as_potentials(mask, "float64") for mask in legal_moves(teacher.labels))
        )
    marginals = chain.span_marginals(WIDTH)[:, :, 0]
    expected = 0.0
    for low, high in pairwise(BOUNDS):
        for token in range(low, high):
            for width in range(min(WIDTH, high - token)):
                odds = np.exp(np.append(0, student.scores[token, width]))
                loc, per = odds[1], odds[2]
                share = marginals[token, width]
                expected -= share * np.log(per / odds.sum())
                expected -= (1 - share) * np.log((1 + loc) / odds.sum())
    targets = targets_of(teacher)

    def learn(student):
        return Partial()(student, targets, ONES)

    assert learn(student)[0] == pytest.approx(expected, abs=1e-9)
    check_gradient(learn, student)


@pytest.mark.parametrize("kind", [Token, LinearChain, FlatSpans, LocalSpans])
def test_gold_annotation_of_some_labels(kind):
    rng = np.random.default_rng(4)
    student = make(kind, rng, ["LOC", "PER"])
    record = Teacher("ner", "annotation", tuple(biluo_labels(["PER"])))
    columns = np.asarray([1, 3, 0, 4, 0, -1, -1, 4])  # B L O, U, O ? ? U
    targets = [Target(record, rows) for rows in np.split(columns, BOUNDS[1:-1])]

    def learn(student):
        return Partial()(student, targets, ONES)

    if kind in (LinearChain, FlatSpans):
        expected = -agreement(student, 0, {(0, 1, "PER")}, {"PER"})
        expected -= agreement(student, 2, {(0, 0, "PER")}, {"PER"})
        total = 0.0
        for spans, prob in sets_of(student, 3):
            per = {span for span in spans if span[2] == "PER"}
            total += prob * (
                (3, 3, "PER") in per and not any(i == 0 or (j == 3 and i < 3) for i, j, _ in per)
            )
        assert learn(student)[0] == pytest.approx(expected - np.log(total), abs=1e-9)
    check_gradient(learn, student)


@pytest.mark.parametrize("kind", [Token, LinearChain])
@pytest.mark.parametrize("make_objective", [make_structural_kd, make_posterior_kd, make_token_kd])
def test_a_teacher_that_knows_all_labels_is_as_before(kind, make_objective):
    rng = np.random.default_rng(5)
    student, teacher = make(kind, rng, ["LOC", "PER"]), make(kind, rng, ["PER", "LOC"])
    targets = targets_of(teacher)
    objective = make_objective(teacher_weight=1.0)
    found = objective.term(student, targets, ONES)
    value, gradient = objective(student, NOTHING, targets)
    assert value * len(LENGTHS) == pytest.approx(found[0], abs=1e-12)
    for one, other in zip(gradients(gradient), gradients(found[1])):
        np.testing.assert_allclose(one * len(LENGTHS), other, atol=1e-12)


@pytest.mark.parametrize("kind", [LinearChain, FlatSpans])
def test_with_nothing_unknown_it_is_the_structural_term_of_the_best_outputs(kind):
    rng = np.random.default_rng(6)
    student, teacher = make(kind, rng, ["PER"]), make(LinearChain, rng, ["PER"])
    one = Partial(5)(student, targets_of(teacher), ONES)
    other = Structural(take="top_wk", k=5)(student, targets_of(teacher), ONES)
    assert one[0] == pytest.approx(other[0], abs=1e-9)
    for found, wanted in zip(gradients(one[1]), gradients(other[1])):
        np.testing.assert_allclose(found, wanted, atol=1e-9)


@pytest.mark.parametrize("student_kind", [Token, LinearChain, FlatSpans])
def test_an_ensemble_is_the_mean_of_the_marginals(student_kind):
    """Teachers of different kinds, mixed at the student's parts with weights."""
    rng = np.random.default_rng(7)
    student = make(student_kind, rng, ["LOC", "PER"])
    chain, token = make(LinearChain, rng, ["LOC", "PER"]), make(Token, rng, ["LOC", "PER"])
    both = [list(pair) for pair in zip(targets_of(chain, 3.0), targets_of(token, 1.0))]
    del both[2][1]  # a sentence that only the chain has read
    objective = make_structural_kd(teacher_weight=1.0)
    value, gradient = objective(student, NOTHING, both)
    alone = [Structural()(student, targets_of(teacher), w) for teacher, w in (
        (chain, np.asarray([0.75, 0.75, 1, 0.75])), (token, np.asarray([0.25, 0.25, 0, 0.25])),
    )]  # fmt: skip
    assert value * len(LENGTHS) == pytest.approx(alone[0][0] + alone[1][0], abs=1e-9)
    summed = zip(gradients(gradient), gradients(alone[0][1]), gradients(alone[1][1]))
    for found, first, second in summed:
        np.testing.assert_allclose(found * len(LENGTHS), first + second, atol=1e-9)


@pytest.mark.parametrize("student_kind", [Token, LinearChain, FlatSpans, LocalSpans])
def test_an_ensemble_of_four_kinds_by_hand(student_kind):
    """One token that may be an entity: the mean of 0.6, 0.2, 0.3 and 0.9, weighted 1, 2, 1, 1."""
    labels = biluo_labels(["PER"])  # O, B, I, L, U
    sure = np.log([[0.4, 1e-9, 1e-9, 1e-9, 0.6]])
    chain = np.log([[0.7, 1e-9, 1e-9, 1e-9, 0.3]])
    moves = [as_potentials(mask, "float64") for mask in legal_moves(labels)]
    odds = np.log(0.2 / 0.8)
    listed_sets = [[frozenset({(0, 0, 0)}), frozenset()]]
    teachers = [
        (Token(sure, [1], labels), 1),
        (FlatSpans(np.full((1, 1, 1), odds), [1], ["PER"]), 2),
        (LinearChain(chain, *moves, [1], labels=labels), 1),
        (Candidates(listed_sets, [np.log([0.9, 0.1])], ["PER"], lengths=[1]), 1),
    ]
    targets = []
    for teacher, weight in teachers:
        [scores] = stored_scores(teacher)
        targets.append(Target(describe(teacher, "ner"), scores, 1, weight=weight))
    mean = (0.6 + 2 * 0.2 + 0.3 + 0.9) / 5
    rng = np.random.default_rng(16)
    if student_kind in (Token, LinearChain):
        scores = rng.normal(size=(1, 5))
        ends = scores[0, [0, 4]]
        student = (
            Token(scores, [1], labels)
            if student_kind is Token
            else LinearChain(scores, *moves, [1], labels=labels)
        )
        total = np.log(np.exp(scores if student_kind is Token else ends).sum())
    else:
        scores = rng.normal(size=(1, 1, 1))
        ends = np.asarray([0, scores.item()])
        student = student_kind(scores, [1], labels=["PER"])
        total = np.log(np.exp(ends).sum())
    value, _ = make_structural_kd(teacher_weight=1.0)(student, np.full(1, -1), [targets])
    assert value == pytest.approx(total - (1 - mean) * ends[0] - mean * ends[1], abs=1e-3)


def test_teachers_of_different_labels_in_one_sentence():
    rng = np.random.default_rng(8)
    student = make(LinearChain, rng, ["LOC", "PER"])
    of_per, of_loc = (targets_of(make(LinearChain, rng, [label])) for label in ("PER", "LOC"))
    value, _ = make_structural_kd(teacher_weight=1.0)(
        student, NOTHING, [list(pair) for pair in zip(of_per, of_loc)]
    )
    alone = [Partial()(student, targets, 0.5 * ONES)[0] for targets in (of_per, of_loc)]
    assert value * len(LENGTHS) == pytest.approx(sum(alone), abs=1e-9)
