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
from spacy_skd.distill.targets import Target, collate, describe, stored_scores
from spacy_skd.distill.temperature import temper
from spacy_skd.distill.terms.posterior import FLOOR
from spacy_skd.structures import LinearChain, Token

from .random_structures import (
    LENGTHS,
    enumerations,
    gradients,
    numeric_gradients,
    parameters,
    random_structure,
    rebuilt,
)

LABELS = ["A", "B", "C"]
KINDS = [Token, LinearChain]
PAIRS = [(teacher, student) for teacher in KINDS for student in KINDS]
LOCAL = [
    (*pair, transitions)
    for pair in PAIRS
    for transitions in ((False, True) if pair[1] is LinearChain else (False,))
]
NOTHING = np.full(sum(LENGTHS), -1)
BOUNDS = np.concatenate([[0], np.cumsum(LENGTHS)])

OBJECTIVES = {
    "marginals": lambda **o: make_structural_kd(**o),
    "top_k": lambda **o: make_structural_kd(take="top_k", k=3, **o),
    "top_wk": lambda **o: make_structural_kd(take="top_wk", k=3, **o),
    "top_1": lambda **o: make_structural_kd(take="top_1", **o),
    "posterior": lambda **o: make_posterior_kd(**o),
    "token": lambda **o: make_token_kd(**o),
    "emissions, squares": lambda **o: make_substructure_kd(**o),
    "emissions, kl": lambda **o: make_substructure_kd(match="kl", **o),
    "transitions, squares": lambda **o: make_substructure_kd(transitions=True, **o),
    "transitions, kl": lambda **o: make_substructure_kd(transitions=True, match="kl", **o),
    "sum": lambda **o: make_sum_kd(
        {"posterior": make_posterior_kd(), "best": make_structural_kd(take="top_wk", k=2)}, **o
    ),
}
TEMPERED = ["marginals", "posterior", "token", "emissions, kl", "transitions, kl"]


def random_targets(teacher):
    """Targets in float64, and the teacher as they give it back."""
    record = describe(teacher, "ner")
    scores = parameters(teacher)[0]
    targets = [Target(record, part) for part in np.split(scores, BOUNDS[1:-1])]
    return targets, collate(targets, np.zeros(1))


def random_pair(teacher_kind, student_kind, seed=21):
    rng = np.random.default_rng(seed)
    targets, teacher = random_targets(random_structure(teacher_kind, rng, labels=LABELS))
    return targets, teacher, random_structure(student_kind, rng, labels=LABELS)


def loss_of(objective, student, targets):
    return objective(student, NOTHING, targets)[0] * len(LENGTHS)


def check_gradient(objective, student, targets):
    _, gradient = objective(student, NOTHING, targets)
    numeric = numeric_gradients(student, lambda s: objective(s, NOTHING, targets)[0])
    for found, wanted in zip(gradients(gradient), numeric):
        np.testing.assert_allclose(found, wanted, atol=1e-6)


def listed_marginals(structure):
    """Token marginals (n, L) of each sentence from its list of outputs."""
    return np.concatenate([listed.tokens() for listed in enumerations(structure)])


def softmax(scores):
    exps = np.exp(scores - scores.max())
    return exps / exps.sum()


# --- values


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


# --- what all have in common


# Of a few outputs alone no teacher is the copy: those objectives are tested with all outputs.
COPIES = [
    (name, kind, temperature)
    for name in OBJECTIVES
    for kind in KINDS
    for temperature in (1.0, 2.0)
    if not name.startswith("top") and name != "sum"
    if kind is LinearChain or not name.startswith("transitions")
    if temperature == 1.0 or name in TEMPERED
]


@pytest.mark.parametrize("name, kind, temperature", COPIES)
def test_a_student_that_equals_its_teacher_has_no_gradient(name, kind, temperature):
    targets, teacher, _ = random_pair(kind, kind)
    options = {} if temperature == 1.0 else {"temperature": temperature}
    _, gradient = OBJECTIVES[name](**options)(rebuilt(teacher), NOTHING, targets)
    for array in gradients(gradient):
        np.testing.assert_allclose(array, 0, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_all_outputs_with_their_probabilities_are_the_whole_teacher(kind):
    targets, teacher, student = random_pair(kind, kind)
    short = [target if len(target) <= 3 else None for target in targets]  # at most 27 outputs
    listed, whole = make_structural_kd(take="top_wk", k=50), make_structural_kd()
    assert loss_of(listed, student, short) == pytest.approx(loss_of(whole, student, short))
    _, gradient = listed(rebuilt(teacher), NOTHING, short)
    for array in gradients(gradient):
        np.testing.assert_allclose(array, 0, atol=1e-9)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_sentences_without_a_target_do_not_count(name):
    targets, _, student = random_pair(LinearChain, LinearChain)
    objective = OBJECTIVES[name]()
    alone = [
        loss_of(objective, student, [t if n == i else None for n, t in enumerate(targets)])
        for i in range(len(targets))
    ]
    targets[3] = None
    assert loss_of(objective, student, targets) == pytest.approx(sum(alone) - alone[3], abs=1e-9)
    check_gradient(objective, student, targets)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_two_teachers_in_a_batch(name):
    targets, _, student = random_pair(LinearChain, LinearChain)
    others, _, _ = random_pair(Token, LinearChain, seed=22)
    objective = OBJECTIVES[name]()
    mixed = [others[0], targets[1], targets[2], others[3], targets[4]]
    first = loss_of(objective, student, [None, targets[1], targets[2], None, targets[4]])
    second = loss_of(objective, student, [others[0], None, None, others[3], None])
    assert loss_of(objective, student, mixed) == pytest.approx(first + second, abs=1e-9)
    check_gradient(objective, student, mixed)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_float32_agrees_with_float64(name):
    targets, _, student = random_pair(LinearChain, LinearChain)
    single = LinearChain(
        *(array.astype("f") for array in parameters(student)), student.lengths, labels=LABELS
    )
    objective = OBJECTIVES[name]()
    value, gradient = objective(student, NOTHING, targets)
    found, single_gradient = objective(single, NOTHING, targets)
    assert found == pytest.approx(value, rel=1e-5)
    for ours, theirs in zip(gradients(single_gradient), gradients(gradient)):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_gold_joins_every_objective(name):
    targets, _, student = random_pair(LinearChain, LinearChain)
    annotation = np.random.default_rng(23).integers(3, size=sum(LENGTHS))
    taught, _ = OBJECTIVES[name](teacher_weight=1.0)(student, annotation, targets)
    gold, _ = OBJECTIVES[name](teacher_weight=0.0)(student, annotation, targets)
    assert gold == pytest.approx(make_structural_kd()(student, annotation, [None] * 5)[0])
    both, _ = OBJECTIVES[name](teacher_weight=0.25)(student, annotation, targets)
    assert both == pytest.approx(0.25 * taught + 0.75 * gold, abs=1e-9)


# --- what makes no sense


def test_options_that_make_no_sense():
    for options, message in [
        ({"take": "everything"}, "marginals, top_k"),
        ({"take": "top_k", "k": 0}, "between 1 and 50"),
        ({"take": "top_k", "k": 51}, "between 1 and 50"),
        ({"temperature": -1.0}, "above 0"),
        ({"temperature_scope": "everywhere"}, "global, local"),
        ({"take": "top_k", "temperature_scope": "local"}, "take = 'marginals'"),
    ]:
        with pytest.raises(ValueError, match=message):
            make_structural_kd(**options)
    with pytest.raises(ValueError, match="squares, kl"):
        make_substructure_kd(match="cosine")
    with pytest.raises(ValueError, match="needs match = 'kl'"):
        make_substructure_kd(temperature=2.0)
    with pytest.raises(ValueError, match="at least one"):
        make_sum_kd({})
    with pytest.raises(ValueError, match="give each loss its weight"):
        make_sum_kd({"a": make_token_kd()}, weights={"b": 1.0})
    with pytest.raises(ValueError, match="give it to the sum"):
        make_sum_kd({"a": make_token_kd(teacher_weight=0.5)})
    with pytest.raises(ValueError, match="no objective"):
        make_sum_kd({"a": lambda *args: None})


def test_transitions_need_a_chain():
    targets, _, student = random_pair(LinearChain, Token)
    with pytest.raises(ValueError, match=r"LinearChainCRF\.v1"):
        make_substructure_kd(transitions=True)(student, NOTHING, targets)


@pytest.mark.parametrize("student_kind", [Token, LinearChain])
def test_scores_of_a_teacher_that_is_certain_cannot_be_matched(student_kind):
    rng = np.random.default_rng(4)
    length, labels = 3, ("A", "B")
    certain = Token(np.asarray([[0, -np.inf]] * length), [length], labels=labels)
    record = describe(certain, "rules")
    [scores] = stored_scores(certain)
    emissions = rng.normal(size=(length, 2))
    tables = [] if student_kind is Token else [np.zeros((2, 2)), np.zeros(2), np.zeros(2)]
    student = student_kind(emissions, *tables, [length], labels=labels)
    arguments = student, np.full(length, -1), [Target(record, scores)]
    with pytest.raises(ValueError, match="The teacher is certain: its scores cannot be matched"):
        make_substructure_kd()(*arguments)
    for objective in (make_substructure_kd(match="kl"), make_structural_kd()):
        assert objective(*arguments)[0] < 100
