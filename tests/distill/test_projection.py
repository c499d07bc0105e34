"""Teacher marginals over the student's parts, and the cross-entropy, against enumeration."""

import numpy as np
import pytest

from spacy_skd.distill import cross_entropy, project
from spacy_skd.distill.projection import condition
from spacy_skd.structures import LinearChain, Token, as_potentials, biluo_labels, legal_moves

from .random_structures import (
    LENGTHS,
    enumerations,
    listed_cross_entropy,
    random_chain,
    random_structure,
    random_token,
)

KINDS = [Token, LinearChain]
PAIRS = [(teacher, student) for teacher in KINDS for student in KINDS]


@pytest.mark.parametrize("teacher_kind, student_kind", PAIRS)
def test_cross_entropy_is_its_definition(teacher_kind, student_kind):
    rng = np.random.default_rng(1)
    for _ in range(5):
        teacher = random_structure(teacher_kind, rng)
        student = random_structure(student_kind, rng)
        expected = listed_cross_entropy(teacher, student)
        np.testing.assert_allclose(cross_entropy(teacher, student), expected, atol=1e-9)


@pytest.mark.parametrize("teacher_kind, student_kind", PAIRS)
def test_projection_is_the_expected_parts(teacher_kind, student_kind):
    rng = np.random.default_rng(2)
    teacher = random_structure(teacher_kind, rng)
    weights = rng.uniform(size=len(LENGTHS))
    parts = project(teacher, student_kind, weights)
    tokens, pairs = [], np.zeros((3, 3))
    starts, ends = np.zeros(3), np.zeros(3)
    for weight, listed in zip(weights, enumerations(teacher)):
        if len(listed.outputs[0]) == 0:
            continue
        tokens.append(weight * listed.tokens())
        pairs += weight * listed.pairs().sum(0)
        starts += tokens[-1][0]
        ends += tokens[-1][-1]
    if student_kind is Token:
        np.testing.assert_allclose(parts, np.concatenate(tokens), atol=1e-9)
    else:
        np.testing.assert_allclose(parts.tokens, np.concatenate(tokens), atol=1e-9)
        np.testing.assert_allclose(parts.pairs, pairs, atol=1e-9)
        np.testing.assert_allclose(parts.starts, starts, atol=1e-9)
        np.testing.assert_allclose(parts.ends, ends, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cross_entropy_keeps_the_dtype_of_the_scores(dtype):
    rng = np.random.default_rng(3)
    scores = rng.normal(size=(3, 2)).astype(dtype)
    table, ends = np.zeros((2, 2), dtype), np.zeros(2, dtype)
    chain = LinearChain(scores, table, ends, ends, [2, 1])
    token = Token(scores, [2, 1])
    for teacher in (chain, token):
        for student in (chain, token):
            assert cross_entropy(teacher, student).dtype == dtype


@pytest.mark.parametrize("teacher_kind, student_kind", PAIRS)
def test_labels_are_matched_by_name(teacher_kind, student_kind):
    rng = np.random.default_rng(4)
    teacher = random_structure(teacher_kind, rng, labels=["A", "B", "C"])
    student = random_structure(student_kind, rng, labels=["A", "B", "C"])
    order = [2, 0, 1]
    if student_kind is Token:
        shuffled = Token(student.scores[:, order], student.lengths, labels=["C", "A", "B"])
    else:
        shuffled = LinearChain(
            student.emissions[:, order],
            student.transitions[order][:, order],
            student.start[order],
            student.end[order],
            student.lengths,
            labels=["C", "A", "B"],
        )
    np.testing.assert_allclose(
        cross_entropy(teacher, shuffled), cross_entropy(teacher, student), atol=1e-9
    )


def test_different_labels_are_an_error_that_names_both_differences():
    rng = np.random.default_rng(5)
    teacher = random_token(rng, labels=["O", "PER", "LOC"])
    student = random_chain(rng, labels=["O", "PER", "ORG"])
    with pytest.raises(ValueError, match=r"Only the teacher has: LOC.*Only the student has: ORG"):
        project(teacher, student)
    with pytest.raises(ValueError, match="2 labels and the student 3"):
        cross_entropy(random_token(rng, n_labels=2), random_chain(rng))


def test_mass_on_what_the_student_cannot_represent_is_infinite():
    rng = np.random.default_rng(6)
    teacher = random_token(rng, lengths=[2, 1])
    student = random_chain(rng, lengths=[2, 1])
    student.transitions[0, 1] = -np.inf
    student = LinearChain(
        student.emissions, student.transitions, student.start, student.end, student.lengths
    )
    values = cross_entropy(teacher, student)
    assert np.isinf(values[0]) and np.isfinite(values[1])


def test_conditioning_a_token_teacher_keeps_the_legal_sequences():
    rng = np.random.default_rng(7)
    labels = biluo_labels(["X"])
    moves = [as_potentials(mask, "float64") for mask in legal_moves(labels)]
    teacher = random_token(rng, lengths=[3, 1], n_labels=5, labels=labels)
    free = random_chain(rng, lengths=[3, 1], n_labels=5, labels=labels)
    student = LinearChain(free.emissions, *moves, free.lengths, labels=labels)
    conditioned = condition(teacher, student)
    for all_of_it, legal in zip(enumerations(teacher), enumerations(conditioned)):
        possible = np.isfinite(legal.scores)
        expected = np.where(possible, all_of_it.probs, 0)
        np.testing.assert_allclose(legal.probs, expected / expected.sum(), atol=1e-9)
    assert condition(teacher, free) is teacher
    assert np.isfinite(cross_entropy(conditioned, student)).all()


def test_forbidden_moves_that_teacher_and_student_share_cost_nothing():
    rng = np.random.default_rng(8)
    labels = biluo_labels(["X"])
    transitions, start, end = (as_potentials(mask, "float64") for mask in legal_moves(labels))
    chains = [
        LinearChain(rng.normal(size=(5, 5)), transitions, start, end, [4, 1], labels=labels)
        for _ in range(2)
    ]
    np.testing.assert_allclose(cross_entropy(*chains), listed_cross_entropy(*chains), atol=1e-9)


def test_an_empty_batch():
    empty = Token(np.zeros((0, 3)), [])
    assert cross_entropy(empty, LinearChain.from_token(empty)).shape == (0,)
    assert project(empty, LinearChain).pairs.shape == (3, 3)
