"""Labels of teachers that mean others of the student, or none; tags; listed outputs."""

import numpy as np
import pytest

from spacy_skd.distill.meaning import meaning_of, relabelled
from spacy_skd.distill.objectives import make_posterior_kd, make_structural_kd, make_token_kd
from spacy_skd.distill.targets import Target, describe, stored_scores
from spacy_skd.distill.terms.by_labels import ByLabels
from spacy_skd.distill.terms.partial import Partial
from spacy_skd.distill.terms.structural import Structural
from spacy_skd.structures import (
    Candidates,
    FlatSpans,
    LinearChain,
    Token,
    biluo_labels,
)

from .random_structures import gradients, numeric_gradients, random_structure
from .several_cases import (
    LENGTHS,
    NOTHING,
    ONES,
    agreement,
    best_sets,
    check_gradient,
    listed,
    make,
    scores_arrays,
    targets_of,
)


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
