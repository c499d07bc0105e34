"""Teacher marginals over the student's parts, and the cross-entropy, against enumeration."""

import numpy as np
import pytest

from spacy_skd.distill import cross_entropy, project
from spacy_skd.distill.projection import condition
from spacy_skd.structures import (
    Candidates,
    LinearChain,
    Token,
    as_potentials,
    biluo_labels,
    legal_moves,
)
from spacy_skd.structures.base import to_host

from .random_structures import (
    LENGTHS,
    enumerations,
    gradients,
    listed_cross_entropy,
    parameters,
    random_candidates,
    random_chain,
    random_structure,
    random_token,
    rebuilt,
)

KINDS = [Token, LinearChain]
PAIRS = [(teacher, student) for teacher in [*KINDS, Candidates] for student in KINDS]


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


@pytest.mark.parametrize("kind", KINDS)
def test_all_outputs_as_candidates_are_the_teacher(kind):
    rng = np.random.default_rng(9)
    teacher, student = random_structure(kind, rng), random_chain(rng)
    everything = Candidates.from_topk(teacher.topk(100), None, lengths=teacher.lengths)
    for found, expected in zip(
        gradients(project(everything, student)), gradients(project(teacher, student))
    ):
        np.testing.assert_allclose(found, expected, atol=1e-9)
    np.testing.assert_allclose(
        cross_entropy(everything, student), cross_entropy(teacher, student), atol=1e-9
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_counts_of_candidates_are_like_the_student(xp, kind, dtype):
    rng = np.random.default_rng(10)
    candidates = random_candidates(rng)
    student = random_structure(kind, rng)
    expected = gradients(project(candidates, kind))
    values = cross_entropy(candidates, student)
    arrays = [xp.asarray(array, dtype=dtype) for array in parameters(student)]
    found = gradients(project(candidates, kind(*arrays, student.lengths)))
    assert all(isinstance(array, xp.ndarray) and array.dtype == dtype for array in found)
    assert all(array.dtype == np.float64 for array in expected)
    for array, wanted in zip(found, expected):
        np.testing.assert_allclose(to_host(array), wanted, atol=1e-6)
    narrow = cross_entropy(candidates, kind(*arrays, student.lengths))
    assert isinstance(narrow, xp.ndarray) and narrow.dtype == dtype
    np.testing.assert_allclose(to_host(narrow), values, atol=1e-4)


@pytest.mark.parametrize("place", ["emission", "transition", "start", "end"])
def test_only_candidates_with_a_weight_make_the_cross_entropy_infinite(place):
    """The first sentence has the forbidden part in one candidate, the second in none."""
    rng = np.random.default_rng(11)
    student = random_chain(rng, lengths=[2, 1])
    array, index = {
        "emission": (student.emissions, (1, 1)),
        "transition": (student.transitions, (0, 1)),
        "start": (student.start, 0),
        "end": (student.end, 1),
    }[place]
    array[index] = -np.inf
    student = rebuilt(student)
    outputs = [[[0, 1], [2, 2]], [[2]]]
    barred = Candidates(outputs, [[-np.inf, 0.0], [0.0]])
    expected = -student.log_prob([[2, 2], [2]])
    np.testing.assert_allclose(cross_entropy(barred, student), expected, atol=1e-9)
    listed = cross_entropy(Candidates(outputs, [[-9.0, 0.0], [0.0]]), student)
    assert np.isinf(listed[0]) and listed[1] == pytest.approx(expected[1])


def test_one_forbidden_label_makes_the_cross_entropy_of_a_token_student_infinite():
    student = Token([[0.0, -np.inf], [0.0, 0.0]], [1, 1])
    candidates = Candidates([[[0], [1]], [[1]]], [[0.0, 0.0], [0.0]])
    values = cross_entropy(candidates, student)
    assert np.isinf(values[0]) and values[1] == pytest.approx(np.log(2))


@pytest.mark.parametrize("student_labels", [None, ["A", "B", "C"]])
def test_candidates_without_label_names(student_labels):
    """They need not use all of the student's labels, but may not use others."""
    student = random_chain(np.random.default_rng(12), lengths=[2], labels=student_labels)
    counts = project(Candidates([[[0, 1]]], [[0.0]]), student)
    assert counts.tokens.tolist() == [[1, 0, 0], [0, 1, 0]]
    assert counts.pairs.shape == (3, 3) and counts.pairs[0, 1] == counts.pairs.sum() == 1
    with pytest.raises(ValueError, match="candidates have 4 labels and the student 3"):
        project(Candidates([[[0, 3]]], [[0.0]]), student)
    with pytest.raises(ValueError, match="Only the teacher has: D"):
        project(
            Candidates([[[0, 1]]], [[0.0]], ["A", "B", "D"]),
            random_chain(np.random.default_rng(12), lengths=[2], labels=["A", "B", "C"]),
        )


def test_an_empty_batch():
    empty = Token(np.zeros((0, 3)), [])
    assert cross_entropy(empty, LinearChain.from_token(empty)).shape == (0,)
    assert project(empty, LinearChain).pairs.shape == (3, 3)
    nothing = Candidates([], [], ["A", "B", "C"])
    assert cross_entropy(nothing, LinearChain.from_token(empty)).shape == (0,)
    assert project(nothing, empty).shape == (0, 3)
    counts = project(nothing, LinearChain)
    assert counts.pairs.tolist() == np.zeros((3, 3)).tolist()
    assert counts.tokens.dtype == counts.pairs.dtype == np.float64
