"""Several teachers, and teachers of some labels, against enumeration and central differences."""

from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest

from spacy_skd.distill.meaning import meaning_of, relabelled
from spacy_skd.distill.objectives import make_posterior_kd, make_structural_kd, make_token_kd
from spacy_skd.distill.targets import Target, Teacher, describe, stored_scores
from spacy_skd.distill.terms.by_labels import ByLabels
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
    indices_of,
    legal_moves,
    spans_of,
)

from .random_structures import gradients, numeric_gradients, random_structure

LENGTHS = [3, 0, 1, 4]
BOUNDS = np.concatenate([[0], np.cumsum(LENGTHS)])
N = sum(LENGTHS)
NOTHING = np.full(N, -1)
ONES = np.ones(len(LENGTHS))
WIDTH = 4  # of the widest span of spans' students: that of the longest sentence


def make(kind, rng, entities, scale=1.5):
    """Random distributions of a kind; the entities are bare labels."""
    labels = biluo_labels(entities)
    if kind is Token:
        return Token(rng.normal(size=(N, len(labels))) * scale, LENGTHS, labels)
    if kind is LinearChain:
        moves = [as_potentials(mask, "float64") for mask in legal_moves(labels)]
        moves = [move + rng.normal(size=move.shape) for move in moves]
        return LinearChain(rng.normal(size=(N, len(labels))) * scale, *moves, LENGTHS, labels)
    return kind(rng.normal(size=(N, WIDTH, len(entities))) * scale, LENGTHS, entities)


def targets_of(teacher, weight=1.0):
    """Of label sequences, in float64."""
    record, scores = describe(teacher, "ner"), scores_arrays(teacher)
    if isinstance(teacher, LinearChain):
        record = replace(record, tables=dict(zip(("transitions", "start", "end"), scores[1:])))
    return [Target(record, rows, weight=weight) for rows in np.split(scores[0], BOUNDS[1:-1])]


def scores_arrays(student):
    if isinstance(student, LinearChain):
        return [student.emissions, student.transitions, student.start, student.end]
    return [student.scores]


def again(student):
    """The same from the present values of its arrays."""
    if isinstance(student, LinearChain):
        return LinearChain(*scores_arrays(student), student.lengths, labels=student.labels)
    return type(student)(student.scores, student.lengths, labels=student.labels)


def check_gradient(value_and_gradient, student):
    _, gradient = value_and_gradient(student)
    for array, found in zip(scores_arrays(student), gradients(gradient)):
        for index in np.ndindex(array.shape):
            if not np.isfinite(array[index]):
                continue
            before = array[index]
            values = []
            for step in (1e-5, -1e-5):
                array[index] = before + step
                values.append(value_and_gradient(again(student))[0])
            array[index] = before
            assert found[index] == pytest.approx((values[0] - values[1]) / 2e-5, abs=1e-6)


def listed(structure, sentence):
    """All sets of entities (first, last, label) of a sentence with their probabilities; of a token
    model, of all label sequences."""
    low, high = BOUNDS[sentence : sentence + 2]
    alone = structure.select([sentence])
    if isinstance(structure, (Token, LinearChain)):
        for path in product(range(structure.n_labels), repeat=high - low):
            yield path, float(np.exp(alone.log_prob([np.asarray(path, dtype=int)])[0]))
    else:
        for spans, log_prob in alone.topk(100_000)[0]:
            yield spans, np.exp(log_prob)


def sets_of(structure, sentence):
    """The same as sets, of well-formed sequences alone."""
    for output, prob in listed(structure, sentence):
        if isinstance(structure, (Token, LinearChain)):
            try:
                yield frozenset(spans_of(output, structure.labels)), prob
            except ValueError:
                assert isinstance(structure, Token) or prob == 0
        else:
            yield frozenset((i, j, structure.labels[r]) for i, j, r in output), prob


def best_sets(teacher, sentence, k):
    """The k best with their probabilities, normalised."""
    best = sorted(sets_of(teacher, sentence), key=lambda scored: -scored[1])
    best = [(spans, prob) for spans, prob in best if prob > 0][:k]
    total = sum(prob for _, prob in best)
    return [(spans, prob / total) for spans, prob in best]


def agreement(student, sentence, claim, known):
    """log p_s(C) by enumeration: what the claim names is there, and no other of its labels."""
    total = 0.0
    if isinstance(student, Token):
        columns = indices_of(claim, LENGTHS[sentence], student.labels)
        for path, prob in listed(student, sentence):
            agrees = all(
                label == wanted
                or (wanted == 0 and student.labels[label].partition("-")[2] not in known)
                for label, wanted in zip(path, columns)
            )
            total += prob * agrees
    else:
        for spans, prob in sets_of(student, sentence):
            total += prob * ({span for span in spans if span[2] in known} == claim)
    return np.log(total)


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


# --- labels that mean others


def test_renaming_is_exact():
    rng = np.random.default_rng(9)
    student, teacher = (
        make(LinearChain, rng, ["LOC", "PERSON"]),
        make(LinearChain, rng, ["PER", "LOC"]),
    )
    targets = targets_of(teacher)
    record = relabelled(targets[0].teacher, {"PER": "PERSON"})
    assert record.labels == tuple(biluo_labels(["PERSON", "LOC"])) and record.means is None
    renamed = [Target(record, target.scores) for target in targets]
    as_named = LinearChain(*scores_arrays(teacher), LENGTHS, labels=biluo_labels(["PERSON", "LOC"]))
    objective = make_structural_kd(teacher_weight=1.0)
    assert (
        objective(student, NOTHING, renamed)[0]
        == objective(student, NOTHING, targets_of(as_named))[0]
    )


@pytest.mark.parametrize("kind", [Token, LinearChain, FlatSpans])
@pytest.mark.parametrize(
    "names, means",
    [({"PER": "ENT", "LOC": "ENT"}, {"PER": "ENT", "LOC": "ENT"}), ({"LOC": ""}, {"PER": "PER"})],
)
def test_labels_that_become_one_or_none(kind, names, means):
    rng = np.random.default_rng(10)
    student = make(kind, rng, sorted(set(means.values())))
    teacher = make(LinearChain, rng, ["LOC", "PER"])
    record = relabelled(targets_of(teacher)[0].teacher, names)
    assert record.labels == tuple(biluo_labels(["LOC", "PER"]))
    k = 1000 if kind is Token else 4  # a token model learns from all
    expected = 0.0
    for sentence in range(len(LENGTHS)):
        for claim, share in best_sets(teacher, sentence, k):
            meant = {(i, j, means[label]) for i, j, label in claim if label in means}
            expected -= share * agreement(student, sentence, meant, set(means.values()))
    targets = [Target(record, target.scores) for target in targets_of(teacher)]
    objective = make_structural_kd(teacher_weight=1.0)
    objective._by_labels.partial = Partial(4)
    value, _ = objective(student, NOTHING, targets)
    assert value * len(LENGTHS) == pytest.approx(expected, abs=1e-9)
    check_gradient(lambda s: objective(s, NOTHING, targets), student)


def test_labels_that_the_student_does_not_have():
    rng = np.random.default_rng(11)
    student, teacher = make(LinearChain, rng, ["LOC"]), make(LinearChain, rng, ["LOC", "PER"])
    record = relabelled(targets_of(teacher)[0].teacher, {"LOC": ""})
    targets = [Target(record, target.scores) for target in targets_of(teacher)]
    with pytest.raises(ValueError, match="the student does not have B-PER"):
        make_structural_kd(teacher_weight=1.0)(student, NOTHING, targets)
    with pytest.raises(ValueError, match="Only the teacher has: B-PER"):
        make_structural_kd(teacher_weight=1.0)(student, NOTHING, targets_of(teacher))


# --- tags


@pytest.mark.parametrize("kind", [Token, LinearChain])
@pytest.mark.parametrize("make_objective", [make_structural_kd, make_posterior_kd, make_token_kd])
def test_a_teacher_of_some_tags(kind, make_objective):
    """The student given that its tags are among the teacher's."""
    rng = np.random.default_rng(12)
    student = random_structure(kind, rng, lengths=LENGTHS, n_labels=3, labels=["A", "B", "C"])
    teacher = random_structure(kind, rng, lengths=LENGTHS, n_labels=2, labels=["C", "A"])
    targets = targets_of(teacher)
    objective = make_objective(teacher_weight=1.0)
    columns = [0, 2]
    if kind is Token:
        smaller = Token(student.scores[:, columns], LENGTHS, ["A", "C"])
    else:
        smaller = LinearChain(
            student.emissions[:, columns],
            student.transitions[np.ix_(columns, columns)],
            student.start[columns],
            student.end[columns],
            LENGTHS,
            ["A", "C"],
        )
    value, gradient = objective(student, NOTHING, targets)
    assert value == pytest.approx(objective(smaller, NOTHING, targets)[0], abs=1e-12)
    numeric = numeric_gradients(student, lambda s: objective(s, NOTHING, targets)[0])
    for found, wanted in zip(gradients(gradient), numeric):
        np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("kind", [Token, LinearChain])
def test_tags_that_become_one_or_say_nothing(kind):
    rng = np.random.default_rng(13)
    student = random_structure(kind, rng, lengths=LENGTHS, n_labels=3, labels=["N", "V", "X"])
    teacher = random_structure(
        kind, rng, lengths=LENGTHS, n_labels=4, labels=["NN", "NNS", "V", "?"]
    )
    record = relabelled(targets_of(teacher)[0].teacher, {"NN": "N", "NNS": "N", "?": ""})
    targets = [Target(record, target.scores) for target in targets_of(teacher)]
    assert record.means == ("N", "N", "V", "")
    assert meaning_of(record, student).columns.tolist() == [0, 0, 1, -1]
    term = ByLabels(Structural())

    def learn(student):
        return term(student, targets, ONES)

    check_gradient(learn, student)
    expected = 0.0
    for sentence in range(len(LENGTHS)):
        scored = sorted(listed(teacher, sentence), key=lambda output: -output[1])
        scored = scored if kind is Token else scored[:5]
        total = sum(share for _, share in scored)
        for path, share in scored:
            agree = known = 0.0
            for tags, prob in listed(student, sentence):
                fits = [(0, 0, 1, -1)[label] in (tag, -1) for label, tag in zip(path, tags)]
                known += prob * (2 not in tags)
                agree += prob * (2 not in tags and all(fits))
            expected -= share / total * np.log(agree / known)
    assert learn(student)[0] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("kind", [Token, LinearChain, FlatSpans])
def test_a_teacher_of_listed_outputs(kind):
    rng = np.random.default_rng(14)
    student = make(kind, rng, ["LOC", "PER"])
    listed_sets = [
        [frozenset({(0, 1, 0)}), frozenset({(2, 2, 0)}), frozenset()],
        [frozenset()],
        [frozenset({(0, 0, 0)})],
        [frozenset({(0, 0, 0), (2, 3, 0)}), frozenset({(1, 1, 0)})],
    ]
    shares = [[0.5, 0.3, 0.2], [1.0], [1.0], [0.75, 0.25]]
    teacher = Candidates(listed_sets, [np.log(s) for s in shares], ["PER"], lengths=LENGTHS)
    record = describe(teacher, "ner")
    targets = [
        Target(record, scores, length) for scores, length in zip(stored_scores(teacher), LENGTHS)
    ]
    expected = 0.0
    for sentence, (outputs, weights) in enumerate(zip(listed_sets, shares)):
        for output, weight in zip(outputs, weights):
            claim = {(i, j, "PER") for i, j, _ in output}
            expected -= weight * agreement(student, sentence, claim, {"PER"})
    found = make_structural_kd(teacher_weight=1.0)(student, NOTHING, targets)[0]
    assert found * len(LENGTHS) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", [LinearChain, FlatSpans])
def test_of_listed_outputs_the_best_are_learnt_from(kind):
    rng = np.random.default_rng(15)
    student = make(kind, rng, ["LOC", "PER"])
    ends = [[frozenset({(0, end, 0)}) for end in range(n)] + [frozenset()] for n in LENGTHS]
    shares = [rng.dirichlet(np.ones(len(outputs))) for outputs in ends]
    best = [np.argsort(-found)[:2] for found in shares]

    def targets(outputs, weights):
        listed = Candidates(outputs, list(map(np.log, weights)), ["PER"], lengths=LENGTHS)
        record = describe(listed, "ner")
        return [Target(record, s, length) for s, length in zip(stored_scores(listed), LENGTHS)]

    two = [[outputs[number] for number in chosen] for outputs, chosen in zip(ends, best)]
    of_two = [found[chosen] for found, chosen in zip(shares, best)]
    found = Partial(2)(student, targets(ends, shares), ONES)
    wanted = Partial(5)(student, targets(two, of_two), ONES)
    assert found[0] == pytest.approx(wanted[0], abs=1e-5)
