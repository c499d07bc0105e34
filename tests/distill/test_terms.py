"""Every objective against its definition, and its gradient against central differences."""

from itertools import pairwise

import numpy as np
import pytest

from spacy_skd.distill.objectives import (
    make_posterior_kd,
    make_structural_kd,
    make_substructure_kd,
    make_sum_kd,
    make_token_kd,
)
from spacy_skd.distill.temperature import temper
from spacy_skd.distill.terms.posterior import FLOOR
from spacy_skd.structures import LinearChain, Token

from .random_structures import enumerations, gradients, parameters, rebuilt
from .term_cases import BOUNDS, KINDS, NOTHING, PAIRS, check_gradient, loss_of, random_pair

LOCAL = [
    (*pair, transitions)
    for pair in PAIRS
    for transitions in ((False, True) if pair[1] is LinearChain else (False,))
]


def listed_marginals(structure):
    """Token marginals (n, L) of each sentence from its list of outputs."""
    return np.concatenate([listed.tokens() for listed in enumerations(structure)])


def softmax(scores):
    exps = np.exp(scores - scores.max())
    return exps / exps.sum()


@pytest.mark.parametrize("take", ["top_k", "top_wk", "top_1"])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("teacher_kind, student_kind", PAIRS)
def test_the_teachers_best_outputs(teacher_kind, student_kind, temperature, take):
    targets, teacher, student = random_pair(teacher_kind, student_kind)
    k = 1 if take == "top_1" else 4
    expected = 0.0
    tempered = zip(
        enumerations(temper(teacher, temperature)), enumerations(temper(student, temperature))
    )
    for theirs, ours in tempered:
        best = np.argsort(-theirs.probs)[:k]
        weights = theirs.probs[best] if take == "top_wk" else np.ones(len(best))
        expected -= (weights / weights.sum()) @ ours.log_probs[best]
    objective = make_structural_kd(take=take, k=4, temperature=temperature)
    found = loss_of(objective, student, targets)
    assert found == pytest.approx(temperature**2 * expected, abs=1e-9)
    assert loss_of(objective, student, targets) == found  # with the outputs that were kept
    check_gradient(objective, student, targets)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("teacher_kind, student_kind", PAIRS)
def test_posterior(teacher_kind, student_kind, temperature):
    targets, teacher, student = random_pair(teacher_kind, student_kind)
    theirs = listed_marginals(temper(teacher, temperature))
    ours = listed_marginals(temper(student, temperature))
    objective = make_posterior_kd(temperature=temperature)
    expected = -(temperature**2) * (theirs * np.log(ours)).sum()
    assert loss_of(objective, student, targets) == pytest.approx(expected, abs=1e-9)
    check_gradient(objective, student, targets)


def test_posterior_stays_finite_where_the_student_is_certain():
    targets, _, student = random_pair(LinearChain, LinearChain)
    student.emissions[:, 0] += 40  # the other labels are far below the floor
    student = rebuilt(student)
    assert listed_marginals(student).min() < FLOOR / 1e3
    value, gradient = make_posterior_kd()(student, NOTHING, targets)
    assert np.isfinite(value) and value > 5
    assert all(np.isfinite(array).all() for array in gradients(gradient))
    check_gradient(make_posterior_kd(), student, targets)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("teacher_kind, student_kind", PAIRS)
def test_token(teacher_kind, student_kind, temperature):
    targets, teacher, student = random_pair(teacher_kind, student_kind)
    expected = 0.0
    for theirs, ours in zip(parameters(teacher)[0], parameters(student)[0]):
        expected -= softmax(theirs / temperature) @ np.log(softmax(ours / temperature))
    objective = make_token_kd(temperature=temperature)
    found = loss_of(objective, student, targets)
    assert found == pytest.approx(temperature**2 * expected, abs=1e-9)
    check_gradient(objective, student, targets)


def listed_positions(structure, transitions):
    """The scores of a structure's local parts, a flat array for each position of each sentence."""
    if not transitions:
        return list(parameters(structure)[0])
    if isinstance(structure, Token):
        structure = LinearChain.from_token(structure)
    positions = []
    for low, high in pairwise(BOUNDS):
        for token in range(low, high):
            before = structure.transitions if token > low else structure.start[None]
            positions.append((structure.emissions[token] + before).ravel())
        if high > low:
            positions.append(structure.end)
    return positions


@pytest.mark.parametrize("barred", [False, True])
@pytest.mark.parametrize("teacher_kind, student_kind, transitions", LOCAL)
def test_squares(teacher_kind, student_kind, transitions, barred):
    targets, teacher, student = random_pair(teacher_kind, student_kind)
    if barred and student_kind is LinearChain:
        student.transitions[0, 2] = student.transitions[1, 1] = student.start[0] = -np.inf
        student = rebuilt(student)
    expected = 0.0
    both = zip(listed_positions(teacher, transitions), listed_positions(student, transitions))
    for theirs, ours in both:
        legal = np.isfinite(ours)
        difference = (ours - theirs)[legal]
        expected += ((difference - difference.mean()) ** 2).mean()
    objective = make_substructure_kd(transitions=transitions)
    assert loss_of(objective, student, targets) == pytest.approx(expected, abs=1e-9)
    check_gradient(objective, student, targets)


@pytest.mark.parametrize("barred", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("teacher_kind, student_kind, transitions", LOCAL)
def test_divergence(teacher_kind, student_kind, transitions, temperature, barred):
    targets, teacher, student = random_pair(teacher_kind, student_kind)
    if barred and student_kind is LinearChain:
        student.transitions[0, 2] = student.transitions[:, 1] = student.start[0] = -np.inf
        student = rebuilt(student)
    expected = 0.0
    both = zip(listed_positions(teacher, transitions), listed_positions(student, transitions))
    for theirs, ours in both:
        legal = np.isfinite(ours)
        p, q = softmax(theirs[legal] / temperature), softmax(ours[legal] / temperature)
        expected += p @ np.log(p / q)
    objective = make_substructure_kd(transitions=transitions, match="kl", temperature=temperature)
    found = loss_of(objective, student, targets)
    assert found == pytest.approx(temperature**2 * expected, abs=1e-9)
    check_gradient(objective, student, targets)


def test_a_sum_is_the_weighted_sum():
    targets, _, student = random_pair(LinearChain, LinearChain)
    parts = {"posterior": make_posterior_kd(), "structural": make_structural_kd(take="top_wk")}
    values = [loss_of(objective, student, targets) for objective in parts.values()]
    assert loss_of(make_sum_kd(parts), student, targets) == pytest.approx(np.mean(values))
    weights = {"structural": 2.0, "posterior": 0.5}
    found = loss_of(make_sum_kd(parts, weights=weights), student, targets)
    assert found == pytest.approx(0.5 * values[0] + 2 * values[1])
    check_gradient(make_sum_kd(parts, weights=weights), student, targets)


# --- temperature of the marginals


@pytest.mark.parametrize("make", [make_structural_kd, make_posterior_kd])
@pytest.mark.parametrize("teacher_kind", KINDS)
def test_local_temperature_of_token_marginals(teacher_kind, make):
    targets, teacher, student = random_pair(teacher_kind, Token)
    theirs = np.asarray([softmax(np.log(row) / 3) for row in listed_marginals(teacher)])
    expected = -(theirs * np.log(listed_marginals(student))).sum()
    objective = make(temperature=3.0, temperature_scope="local")
    assert loss_of(objective, student, targets) == pytest.approx(expected, abs=1e-9)
    check_gradient(objective, student, targets)


@pytest.mark.parametrize("teacher_kind", KINDS)
def test_local_temperature_of_pairs(teacher_kind):
    targets, teacher, student = random_pair(teacher_kind, LinearChain)
    chain = teacher if teacher_kind is LinearChain else LinearChain.from_token(teacher)
    expected = 0.0
    pairs, tokens = chain.pair_marginals(), chain.marginals().tokens
    for low, high, log_z in zip(BOUNDS, BOUNDS[1:], student.log_partition()):
        if low == high:
            continue
        first = softmax(np.log(tokens[low]) / 3)
        score, last = first @ (student.emissions[low] + student.start), first
        for token in range(low + 1, high):
            pair = softmax(np.log(pairs[token]) / 3)
            score += (pair * (student.emissions[token] + student.transitions)).sum()
            last = pair.sum(axis=0)
        expected += max(0.0, log_z - score - last @ student.end)
    objective = make_structural_kd(temperature=3.0, temperature_scope="local")
    assert loss_of(objective, student, targets) == pytest.approx(expected, abs=1e-9)
    check_gradient(objective, student, targets)


def test_a_loss_of_tempered_pairs_stops_at_zero():
    # Tempered pairs are no chain's marginals, so the loss has no lower bound of its own.
    targets, _, student = random_pair(LinearChain, LinearChain)
    objective = make_structural_kd(temperature=3.0, temperature_scope="local")
    for _ in range(3000):
        value, gradient = objective(student, NOTHING, targets)
        assert value >= 0
        for array, change in zip(parameters(student), gradients(gradient)):
            array -= 20 * change
        student = rebuilt(student)
    assert all(np.isfinite(array).all() for array in parameters(student))


@pytest.mark.parametrize("student_kind", KINDS)
def test_a_high_temperature_flattens_the_teacher(student_kind):
    targets, _, student = random_pair(LinearChain, student_kind)
    for array in parameters(student):
        array[:] = 0
    student = rebuilt(student)
    for scope in ("global", "local"):
        objective = make_structural_kd(temperature=1e6, temperature_scope=scope)
        _, gradient = objective(student, NOTHING, targets)
        scale = 1e6 if scope == "global" else 1  # T² over the student's scores / T
        for array in gradients(gradient):
            np.testing.assert_allclose(array / scale, 0, atol=1e-5)
