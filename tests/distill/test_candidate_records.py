"""Lists of entities from the moment they are stored until a student has learnt from them."""

import numpy as np
import pytest

from spacy_skd.distill.attached import group_by_teacher
from spacy_skd.distill.candidate_records import CANDIDATE, NOTHING
from spacy_skd.distill.objectives import (
    make_posterior_kd,
    make_structural_kd,
    make_substructure_kd,
    make_token_kd,
)
from spacy_skd.distill.projection import condition, match_labels, project
from spacy_skd.distill.targets import (
    Target,
    collate,
    describe,
    document_lengths,
    kept_scores,
    stored_scores,
)
from spacy_skd.distill.temperature import temper
from spacy_skd.structures import (
    Candidates,
    FlatSpans,
    LinearChain,
    LocalSpans,
    SentenceError,
    Token,
    as_potentials,
    biluo_labels,
    legal_moves,
)

LABELS = ("PER", "LOC")
LENGTHS = [4, 2, 0]
# The second output of the first sentence is listed twice, one is barred.
SETS = [
    [{(0, 1, 0), (3, 3, 1)}, {(0, 0, 1)}, {(0, 0, 1)}, {(2, 2, 0)}],
    [set(), {(0, 1, 1)}],
    [set()],
]
WEIGHTS = [[0.5, 0.2, 0.2, 0.0], [0.3, 0.7], [1.0]]


def candidates(sets=SETS, weights=WEIGHTS, lengths=LENGTHS) -> Candidates:
    with np.errstate(divide="ignore"):
        log_weights = [np.log(row) for row in weights]
    outputs = [[frozenset(spans) for spans in row] for row in sets]
    return Candidates(outputs, log_weights, LABELS, lengths=lengths)


def targets_of(structure) -> list[Target]:
    teacher = describe(structure, "ner")
    lengths = document_lengths(structure).tolist()
    return [
        Target(teacher, scores, length) for scores, length in zip(stored_scores(structure), lengths)
    ]


def distribution(structure, sentence) -> dict:
    """Distinct outputs with their probabilities."""
    return {output: np.exp(value) for output, value in structure.topk(50)[sentence]}


def test_what_is_stored():
    stored, dropped = kept_scores(candidates())
    assert dropped is None and [scores.dtype for scores in stored] == [CANDIDATE] * 3
    first, second, third = (scores[["candidate", "token", "width", "label"]] for scores in stored)
    assert first.tolist() == [(0, 0, 1, 0), (0, 3, 0, 1), (1, 0, 0, 1)]
    assert second.tolist() == [(0, 0, 1, 1), (1, 0, 0, NOTHING)]
    assert third.tolist() == [(0, 0, 0, NOTHING)]
    teacher = describe(candidates(), "ner")
    assert (teacher.kind, teacher.labels, dict(teacher.tables)) == ("candidates", LABELS, {})
    assert teacher.record == CANDIDATE
    assert stored_scores(candidates([], [], [])) == []


def test_they_come_back():
    found = collate(targets_of(candidates()), np.zeros(1))
    assert found.labels == LABELS and found.lengths.tolist() == LENGTHS
    for sentence in range(3):
        wanted = distribution(candidates(), sentence)
        assert distribution(found, sentence) == pytest.approx(wanted, abs=1e-6)


def test_candidates_that_are_no_spans_cannot_be_stored():
    structure = Candidates([[[0, 1]]], [[0.0]], LABELS)
    with pytest.raises(ValueError, match="stored if they are sets of spans"):
        kept_scores(structure)


def test_a_piece_of_a_document():
    (target, *_) = targets_of(
        candidates(
            [[{(0, 1, 0), (2, 2, 1)}, {(1, 2, 0)}, {(2, 2, 1)}, set()]],
            [[0.4, 0.3, 0.2, 0.1]],
            [4],
        )
    )
    piece = target.slice(1, 4)
    assert (len(piece), piece.teacher) == (3, target.teacher)
    found = collate([piece], np.zeros(1))
    wanted = {frozenset({(1, 1, 1)}): 0.6, frozenset({(0, 1, 0)}): 0.3, frozenset(): 0.1}
    assert distribution(found, 0) == pytest.approx(wanted, abs=1e-6)
    assert found.topk(1)[0][0][0] == found.outputs[0][0]  # best first
    nothing = target.slice(3, 3)
    assert len(nothing) == 0 and len(nothing.scores) == 1
    assert distribution(collate([nothing], np.zeros(1)), 0) == {frozenset(): pytest.approx(1.0)}


def test_temperature_divides_the_logarithms_of_the_weights():
    structure = collate(targets_of(candidates()), np.zeros(1))
    found = distribution(temper(structure, 2.0), 0)
    wanted = np.sqrt([5 / 9, 4 / 9])
    assert list(found.values()) == pytest.approx(list(wanted / wanted.sum()), abs=1e-6)


# --- learnt by students

COLUMNS = tuple(biluo_labels(["LOC", "PER"]))  # in another order than the teacher's


def random_student(kind, rng):
    n_tokens, columns = sum(LENGTHS), len(COLUMNS)
    if kind is Token:
        return Token(rng.normal(size=(n_tokens, columns)), LENGTHS, labels=COLUMNS)
    if kind is LinearChain:
        masks = [as_potentials(legal) for legal in legal_moves(COLUMNS)]
        return LinearChain(
            rng.normal(size=(n_tokens, columns)), *masks, lengths=LENGTHS, labels=COLUMNS
        )
    return kind(rng.normal(size=(n_tokens, 3, 2)), LENGTHS, labels=("LOC", "PER"))


STUDENTS = [Token, LinearChain, FlatSpans, LocalSpans]
NOTHING_KNOWN = np.full(sum(LENGTHS), -1)


def annotation_of(student):
    if isinstance(student, LocalSpans):
        return np.full((sum(LENGTHS), student.max_width), -1)
    return NOTHING_KNOWN


@pytest.mark.parametrize("kind", STUDENTS)
@pytest.mark.parametrize("take", ["marginals", "top_k", "top_wk", "top_1"])
def test_structural_distillation(kind, take, rng):
    """The loss is −Σ p log p_s over what is taken of the candidates."""
    student = random_student(kind, rng)
    targets = targets_of(candidates())
    objective = make_structural_kd(take=take, k=2)
    loss, _ = objective(student, annotation_of(student), targets)
    probs = {"marginals": [5 / 9, 4 / 9], "top_k": [0.5, 0.5], "top_1": [1.0]}
    of_first = probs.get(take, probs["marginals"])
    of_second = {"marginals": [0.7, 0.3], "top_wk": [0.7, 0.3]}.get(take, of_first)
    wanted = 0.0
    for sentence, (outputs, weights) in enumerate(
        [
            ([{(0, 1, 1), (3, 3, 0)}, {(0, 0, 0)}], of_first),
            ([{(0, 1, 0)}, set()], of_second),
        ]
    ):
        for output, weight in zip(outputs, weights):
            wanted -= weight * log_prob(student, sentence, output)
    assert loss * 3 == pytest.approx(wanted, abs=1e-5)


def log_prob(student, sentence, output):
    alone = student.select([sentence])
    if isinstance(student, (FlatSpans, LocalSpans)):
        return float(alone.log_prob([frozenset(output)])[0])
    path = [0] * int(alone.lengths[0])
    for first, last, label in output:
        name = ("LOC", "PER")[label]
        path[first : last + 1] = [COLUMNS.index(f"I-{name}")] * (last - first + 1)
        path[first] = COLUMNS.index(f"{'U' if first == last else 'B'}-{name}")
        if first != last:
            path[last] = COLUMNS.index(f"L-{name}")
    return float(alone.log_prob([path])[0])


@pytest.mark.parametrize("kind", STUDENTS)
def test_the_gradient_is_expected_parts_minus_wanted_ones(kind, rng):
    student = random_student(kind, rng)
    targets = targets_of(candidates())
    _, gradient = make_structural_kd()(student, annotation_of(student), targets)
    teacher = collate(targets, np.zeros(1))
    teacher = condition(match_labels(teacher, student), student)
    expected, wanted = project(student, student), project(teacher, student)
    if kind is LinearChain:
        gradient, expected, wanted = gradient.tokens, expected.tokens, wanted.tokens
    np.testing.assert_allclose(gradient * 3, expected - wanted, atol=1e-6)


@pytest.mark.parametrize("kind", [Token, LinearChain])
def test_posterior_distillation(kind, rng):
    student = random_student(kind, rng)
    targets = targets_of(candidates())
    loss, _ = make_posterior_kd(temperature=2.0)(student, NOTHING_KNOWN, targets)
    assert np.isfinite(loss)
    loss, _ = make_posterior_kd()(student, NOTHING_KNOWN, targets)
    marginals = student.marginals()
    ours = marginals.tokens if kind is LinearChain else marginals
    theirs = project(collate(targets, np.zeros(1)), student)
    theirs = theirs.tokens if kind is LinearChain else theirs
    assert loss * 3 == pytest.approx(-(theirs * np.log(np.maximum(ours, 1e-30))).sum(), abs=1e-4)


@pytest.mark.parametrize("kind", [Token, LinearChain])
@pytest.mark.parametrize("objective", [make_token_kd, make_substructure_kd])
def test_scores_of_tokens_are_not_known(kind, objective, rng):
    with pytest.raises(ValueError, match=r"Candidates has none. Use spacy-skd.StructuralKD.v1"):
        objective()(random_student(kind, rng), NOTHING_KNOWN, targets_of(candidates()))


def test_local_temperature(rng):
    objective = make_structural_kd(temperature=2.0, temperature_scope="local")
    targets = targets_of(candidates())
    assert np.isfinite(objective(random_student(Token, rng), NOTHING_KNOWN, targets)[0])
    with pytest.raises(ValueError, match=r"candidates does not give. .*scope = 'global'"):
        objective(random_student(LinearChain, rng), NOTHING_KNOWN, targets)


@pytest.mark.parametrize("kind", STUDENTS)
def test_nested_spans_need_a_student_that_has_them(kind, rng):
    nested = candidates([[set()], [{(0, 1, 0), (1, 1, 1)}], [set()]], [[1.0]] * 3)
    student = random_student(kind, rng)
    if kind is LocalSpans:
        found = project(collate(targets_of(nested), np.zeros(1)), student)
        assert found.sum() == 2
        return
    with pytest.raises(
        SentenceError, match=r'overlap.*SpanBiaffine.v1 with loss = "local"'
    ) as error:
        make_structural_kd()(student, annotation_of(student), targets_of(nested))
    assert error.value.sentence == 1


def test_targets_of_one_teacher_are_one_lesson():
    targets = targets_of(candidates())
    ((numbers, members),) = group_by_teacher(targets)
    assert numbers.tolist() == [0, 1, 2] and members == targets
