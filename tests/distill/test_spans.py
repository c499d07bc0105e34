"""Every way between spans, chains and tokens, against listing all sets of spans."""

from itertools import pairwise

import numpy as np
import pytest

from spacy_skd.distill import cross_entropy, project
from spacy_skd.distill.targets import MAX_LOSS, collate
from spacy_skd.structures import (
    Candidates,
    ChainMarginals,
    FlatSpans,
    LinearChain,
    LocalSpans,
    Token,
)

from .span_cases import (
    BOUNDS,
    ENTITIES,
    LABELS,
    LENGTHS,
    WIDTH,
    flat_sets,
    path_of,
    random_chain,
    random_scores,
    random_spans,
    random_token,
    targets_of,
)


def listed(structure):
    """For each sentence, the sets of spans with their probabilities."""
    found = []
    for (low, high), length in zip(pairwise(BOUNDS), LENGTHS):
        width = length if isinstance(structure, (Token, LinearChain)) else structure.max_width
        sets = list(flat_sets(length, max(width, 1)))
        if isinstance(structure, (FlatSpans, LocalSpans)):
            scores = [sum(structure.scores[low + i, j - i, r] for i, j, r in s) for s in sets]
        else:
            scores = [_sequence_score(structure, s, low, high) for s in sets]
        probs = np.exp(np.asarray(scores) - np.logaddexp.reduce(scores))
        found.append(list(zip(sets, probs)))
    return found


def _sequence_score(structure, spans, low, high):
    path = path_of(spans, high - low)
    if isinstance(structure, Token):
        return structure.scores[np.arange(low, high), path].sum()
    score = structure.emissions[np.arange(low, high), path].sum()
    if len(path):
        score += structure.start[path[0]] + structure.end[path[-1]]
    return score + sum(structure.transitions[a, b] for a, b in pairwise(path))


def listed_chain_parts(structure, weights):
    tokens = np.zeros((sum(LENGTHS), len(LABELS)))
    pairs = np.zeros((len(LABELS),) * 2)
    starts, ends = np.zeros(len(LABELS)), np.zeros(len(LABELS))
    for low, length, weight, outputs in zip(BOUNDS, LENGTHS, weights, listed(structure)):
        for spans, prob in outputs:
            path = path_of(spans, length)
            tokens[low + np.arange(length), path] += weight * prob
            for before, after in pairwise(path):
                pairs[before, after] += weight * prob
            if length:
                starts[path[0]] += weight * prob
                ends[path[-1]] += weight * prob
    return ChainMarginals(tokens, pairs, starts, ends)


def listed_span_parts(structure, max_width, weights):
    parts = np.zeros((sum(LENGTHS), max_width, len(ENTITIES)))
    for low, weight, outputs in zip(BOUNDS, weights, listed(structure)):
        for spans, prob in outputs:
            for first, last, label in spans:
                if last - first < max_width:
                    parts[low + first, last - first, label] += weight * prob
    return parts


def assert_parts_equal(found, wanted):
    if isinstance(wanted, ChainMarginals):
        for name in ("tokens", "pairs", "starts", "ends"):
            np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), atol=1e-9)
    else:
        np.testing.assert_allclose(found, wanted, atol=1e-9)


@pytest.mark.parametrize("kind", [FlatSpans, LocalSpans])
def test_spans_onto_label_sequences(kind):
    rng = np.random.default_rng(31)
    teacher, weights = random_spans(rng, kind), rng.uniform(size=len(LENGTHS))
    wanted = listed_chain_parts(teacher, weights)
    assert_parts_equal(project(teacher, random_chain(rng), weights), wanted)
    assert_parts_equal(project(teacher, LinearChain, weights), wanted)
    assert_parts_equal(project(teacher, random_token(rng), weights), wanted.tokens)
    assert_parts_equal(project(teacher, Token, weights), wanted.tokens)


def test_columns_follow_the_students_labels():
    rng = np.random.default_rng(32)
    teacher = random_spans(rng)
    order = rng.permutation(len(LABELS))
    shuffled = [LABELS[number] for number in order]
    student = Token(rng.normal(size=(sum(LENGTHS), len(LABELS))), LENGTHS, labels=shuffled)
    wanted = listed_chain_parts(teacher, np.ones(len(LENGTHS))).tokens[:, order]
    assert_parts_equal(project(teacher, student), wanted)
    swapped = FlatSpans(teacher.scores[..., ::-1], LENGTHS, labels=ENTITIES[::-1])
    assert_parts_equal(project(swapped, student), wanted)


@pytest.mark.parametrize("max_width", [1, 2, 3, 6])
@pytest.mark.parametrize("student_kind", [FlatSpans, LocalSpans])
@pytest.mark.parametrize("make", [random_token, random_chain, random_spans])
def test_everything_onto_spans(make, student_kind, max_width):
    rng = np.random.default_rng(33)
    teacher, weights = make(rng), rng.uniform(size=len(LENGTHS))
    scores = np.zeros((sum(LENGTHS), max_width, len(ENTITIES)))
    student = student_kind(scores, LENGTHS, labels=ENTITIES)
    wanted = listed_span_parts(teacher, max_width, weights)
    assert_parts_equal(project(teacher, student, weights), wanted)


def test_independent_spans_onto_spans():
    rng = np.random.default_rng(34)
    teacher = random_spans(rng, LocalSpans)
    as_it_is = project(teacher, random_spans(rng, LocalSpans))
    assert_parts_equal(as_it_is, teacher.marginals())
    flat = project(teacher, random_spans(rng))
    assert_parts_equal(flat, listed_span_parts(teacher, WIDTH, np.ones(len(LENGTHS))))


def random_sets(rng):
    outputs = [
        [sets[number] for number in rng.integers(len(sets), size=3)]
        for sets in (list(flat_sets(length)) for length in LENGTHS)
    ]
    log_weights = [rng.normal(size=3) for _ in LENGTHS]
    return Candidates(outputs, log_weights, ENTITIES, lengths=LENGTHS)


def test_candidates_onto_all():
    rng = np.random.default_rng(35)
    sets, weights = random_sets(rng), rng.uniform(size=len(LENGTHS))
    sequences = Candidates(
        [
            [path_of(spans, length) for spans in outputs]
            for outputs, length in zip(sets.outputs, LENGTHS)
        ],
        [np.log(probs) for probs in sets.marginals()],
        LABELS,
    )
    spans_wanted = np.zeros((sum(LENGTHS), WIDTH, len(ENTITIES)))
    tokens_wanted = np.zeros((sum(LENGTHS), len(LABELS)))
    rows = zip(BOUNDS, LENGTHS, weights, sets.outputs, sets.marginals())
    for low, length, weight, outputs, probs in rows:
        for spans, prob in zip(outputs, probs):
            tokens_wanted[low + np.arange(length), path_of(spans, length)] += weight * prob
            for first, last, label in spans:
                spans_wanted[low + first, last - first, label] += weight * prob
    for candidates in (sets, sequences):
        assert_parts_equal(project(candidates, random_spans(rng), weights), spans_wanted)
        assert_parts_equal(project(candidates, random_token(rng), weights), tokens_wanted)
        chain_parts = project(candidates, random_chain(rng), weights)
        assert_parts_equal(chain_parts.tokens, tokens_wanted)
    swapped = FlatSpans(random_scores(rng), LENGTHS, labels=ENTITIES[::-1])
    assert_parts_equal(project(sets, swapped, weights), spans_wanted[..., ::-1])


@pytest.mark.parametrize("make_student", [random_token, random_chain, random_spans])
@pytest.mark.parametrize("make_teacher", [random_token, random_chain, random_spans])
def test_cross_entropy(make_teacher, make_student):
    rng = np.random.default_rng(36)
    teacher, student = make_teacher(rng), make_student(rng)
    if make_teacher is not random_spans and make_student is not random_spans:
        pytest.skip("of label sequences alone, in test_projection.py")
    if make_student is random_spans:  # without limits, so that no entity is impossible for it
        scores = rng.normal(size=(sum(LENGTHS), max(LENGTHS), len(ENTITIES)))
        student = FlatSpans(scores, LENGTHS, labels=ENTITIES)
    wanted = []
    for number, (ours, length) in enumerate(zip(listed(teacher), LENGTHS)):
        outputs = [
            spans if isinstance(student, FlatSpans) else path_of(spans, length) for spans, _ in ours
        ]
        alone = student.select([number])
        wanted.append(-sum(p * alone.log_prob([y])[0] for y, (_, p) in zip(outputs, ours)))
    np.testing.assert_allclose(cross_entropy(teacher, student), wanted, atol=1e-9)


def test_labels_that_differ():
    rng = np.random.default_rng(37)
    other = FlatSpans(random_scores(rng), LENGTHS, labels=["PER", "ORG"])
    for student in (random_token(rng), random_spans(rng)):
        with pytest.raises(ValueError, match="Only the teacher has: ORG"):
            project(other, student)
    nameless = FlatSpans(random_scores(rng), LENGTHS)
    with pytest.raises(ValueError, match="names of labels"):
        project(nameless, random_token(rng))


def test_what_is_stored_of_spans():
    rng = np.random.default_rng(41)
    teacher = FlatSpans(random_scores(rng) * 6, LENGTHS, labels=ENTITIES)
    targets = targets_of(teacher)
    back = collate(targets, np.zeros(1))
    assert np.isneginf(back.scores).any()  # something was left out
    marginals = teacher.marginals()
    dropped = np.where(np.isneginf(back.scores), marginals, 0)
    for low, high in pairwise(BOUNDS):
        assert dropped[low:high].sum() <= MAX_LOSS
    np.testing.assert_allclose(back.marginals(), marginals, atol=2 * MAX_LOSS)
    assert [len(target) for target in targets] == LENGTHS


def test_a_slice_of_spans():
    rng = np.random.default_rng(42)
    scores = rng.normal(size=(4, WIDTH, len(ENTITIES)))
    target = targets_of(FlatSpans(scores, [4], labels=ENTITIES))[0]
    piece = target.slice(1, 3)
    assert len(piece) == 2
    back = collate([piece], np.zeros(1))
    np.testing.assert_allclose(back.scores[0, :2], scores[1, :2], atol=1e-6)
    np.testing.assert_allclose(back.scores[1, 0], scores[2, 0], atol=1e-6)
    assert np.isneginf(back.scores[1, 1:]).all()
