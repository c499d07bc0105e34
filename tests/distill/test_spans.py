"""Every way between spans, chains and tokens, against listing all sets of spans."""

from itertools import combinations, pairwise

import numpy as np
import pytest

from spacy_skd.distill import cross_entropy, project
from spacy_skd.distill.annotation import gold_parts
from spacy_skd.distill.objectives import (
    make_posterior_kd,
    make_structural_kd,
    make_substructure_kd,
    make_token_kd,
)
from spacy_skd.distill.targets import MAX_LOSS, Target, collate, describe, stored_scores
from spacy_skd.structures import (
    Candidates,
    ChainMarginals,
    FlatSpans,
    LinearChain,
    LocalSpans,
    SentenceError,
    Token,
    as_potentials,
    biluo_labels,
    indices_of,
    legal_moves,
)

LENGTHS = [3, 0, 1, 4, 2]
BOUNDS = np.concatenate([[0], np.cumsum(LENGTHS)])
ENTITIES = ("PER", "LOC")
LABELS = tuple(biluo_labels(ENTITIES))
WIDTH = 3
NOTHING = np.full(sum(LENGTHS), -1)


def random_scores(rng):
    return rng.normal(size=(sum(LENGTHS), WIDTH, len(ENTITIES))) * 1.5


def random_spans(rng, kind=FlatSpans):
    return kind(random_scores(rng), np.asarray(LENGTHS), labels=ENTITIES)


def random_local_spans(rng):
    return random_spans(rng, LocalSpans)


def random_token(rng):
    return Token(rng.normal(size=(sum(LENGTHS), len(LABELS))), LENGTHS, labels=LABELS)


def random_chain(rng):
    transitions, start, end = (as_potentials(mask, "float64") for mask in legal_moves(LABELS))
    noise = rng.normal(size=transitions.shape)
    scores = rng.normal(size=(sum(LENGTHS), len(LABELS)))
    return LinearChain(scores, transitions + noise, start, end, LENGTHS, labels=LABELS)


def flat_sets(length, max_width=WIDTH):
    """All sets of spans that do not overlap."""
    spans = [
        (first, last, label)
        for first in range(length)
        for last in range(first, min(length, first + max_width))
        for label in range(len(ENTITIES))
    ]
    for size in range(length + 1):
        for chosen in combinations(spans, size):
            tokens = [t for first, last, _ in chosen for t in range(first, last + 1)]
            if len(tokens) == len(set(tokens)):
                yield frozenset(chosen)


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


def path_of(spans, length):
    return indices_of(((i, j, ENTITIES[r]) for i, j, r in spans), length, LABELS)


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


# --- projections


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


# --- gold annotation


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_gold_annotation_of_flat_spans(missing):
    rng = np.random.default_rng(38)
    student, weights = random_spans(rng), rng.uniform(0.5, 1, size=len(LENGTHS))
    annotation = NOTHING.copy()
    for low, high in pairwise(BOUNDS):
        sets = list(flat_sets(high - low))
        annotation[low:high] = path_of(sets[rng.integers(len(sets))], high - low)
    annotation[rng.uniform(size=len(annotation)) < missing] = -1
    wanted, log_weight = np.zeros(student.scores.shape), 0.0
    for number, (low, high) in enumerate(pairwise(BOUNDS)):
        gold = annotation[low:high]
        agree = [
            (spans, student.select([number]).score([spans])[0])
            for spans in flat_sets(high - low)
            if all(g in (-1, y) for g, y in zip(gold, path_of(spans, high - low)))
        ]
        total = np.logaddexp.reduce([score for _, score in agree])
        log_weight += weights[number] * total
        for spans, score in agree:
            for first, last, label in spans:
                share = weights[number] * np.exp(score - total)
                wanted[low + first, last - first, label] += share
    parts, found = gold_parts(student, annotation, weights)
    assert found == pytest.approx(log_weight, abs=1e-9)
    np.testing.assert_allclose(parts, wanted, atol=1e-9)


def test_gold_annotation_of_independent_spans():
    rng = np.random.default_rng(39)
    student, weights = random_spans(rng, LocalSpans), rng.uniform(0.5, 1, size=len(LENGTHS))
    annotation = rng.integers(-1, 3, size=(sum(LENGTHS), WIDTH))
    for (low, high), width in ((b, w) for b in pairwise(BOUNDS) for w in range(WIDTH)):
        annotation[max(low, high - width) : high, width] = 0  # these stick out
    parts, log_weight = gold_parts(student, annotation, weights)
    shares = np.repeat(weights, LENGTHS)
    wanted, expected = np.zeros(student.scores.shape), 0.0
    marginals = student.marginals()
    for token in range(len(annotation)):
        for width in range(WIDTH):
            number, scores = annotation[token, width], student.scores[token, width]
            if number > 0:
                wanted[token, width, number - 1] = shares[token]
                expected += shares[token] * scores[number - 1]
            elif number < 0:
                wanted[token, width] = shares[token] * marginals[token, width]
                expected += shares[token] * np.log1p(np.exp(scores).sum())
    np.testing.assert_allclose(parts, wanted, atol=1e-9)
    assert log_weight == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    "gold", [["B-PER", "O"], ["B-PER", "L-LOC"], ["O", "I-PER"], ["L-LOC", "O"], ["O", "B-LOC"]]
)
def test_a_complete_annotation_that_is_impossible(gold):
    student = random_spans(np.random.default_rng(47))
    annotation = np.zeros(sum(LENGTHS), dtype=int)
    annotation[8:10] = [LABELS.index(label) for label in gold]
    with pytest.raises(SentenceError) as error:
        gold_parts(student, annotation, np.ones(len(LENGTHS)))
    assert error.value.sentence == 4
    annotation = np.zeros(sum(LENGTHS), dtype=int)
    annotation[4:8] = [LABELS.index(label) for label in ("B-PER", "I-PER", "I-PER", "L-PER")]
    with pytest.raises(SentenceError, match="wider span"):
        gold_parts(student, annotation, np.ones(len(LENGTHS)))


def test_an_impossible_annotation_names_its_sentence():
    student = random_spans(np.random.default_rng(40))
    annotation = NOTHING.copy()
    annotation[4:6] = [LABELS.index("B-PER"), LABELS.index("O")]  # in the fourth sentence
    with pytest.raises(SentenceError) as error:
        gold_parts(student, annotation, np.ones(len(LENGTHS)))
    assert error.value.sentence == 3


# --- targets


def targets_of(teacher):
    record = describe(teacher, "ner")
    return [
        Target(record, scores, int(length))
        for scores, length in zip(stored_scores(teacher), teacher.lengths)
    ]


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


# --- the objective


@pytest.mark.parametrize("take", ["marginals", "top_k", "top_wk"])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize(
    "make_student", [random_token, random_chain, random_spans, random_local_spans]
)
@pytest.mark.parametrize(
    "make_teacher", [random_token, random_chain, random_spans, random_local_spans]
)
def test_every_kind_teaches_every_other(make_teacher, make_student, temperature, take):
    rng = np.random.default_rng(43)
    targets, student = targets_of(make_teacher(rng)), make_student(rng)
    annotation = NOTHING.copy()
    annotation[:3] = 0
    if make_student is random_local_spans:
        annotation = np.repeat(annotation[:, None], WIDTH, axis=1)
    targets[4] = None
    objective = make_structural_kd(take, k=4, temperature=temperature, teacher_weight=0.3)
    value, gradient = objective(student, annotation, targets)
    assert np.isfinite(value)
    found = gradient if not isinstance(gradient, ChainMarginals) else gradient.tokens
    scores = student.emissions if isinstance(student, LinearChain) else student.scores
    for index in [(0, 0), (2, 1), (5, 0)] if scores.ndim == 2 else [(0, 0, 0), (5, 1, 1)]:
        ends = []
        for step in (1e-5, -1e-5):
            moved = scores.copy()
            moved[index] += step
            ends.append(objective(with_scores(student, moved), annotation, targets)[0])
        assert found[index] == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-6)


def with_scores(structure, scores):
    if isinstance(structure, LinearChain):
        rest = structure.transitions, structure.start, structure.end
        return LinearChain(scores, *rest, structure.lengths, labels=structure.labels)
    return type(structure)(scores, structure.lengths, labels=structure.labels)


def test_a_student_of_spans_that_equals_its_teacher_has_no_gradient():
    teacher = random_spans(np.random.default_rng(44))
    _, gradient = make_structural_kd()(teacher, NOTHING, targets_of(teacher))
    np.testing.assert_allclose(gradient, 0, atol=MAX_LOSS)


def test_local_temperature_is_not_for_spans():
    rng = np.random.default_rng(46)
    objective = make_structural_kd(temperature=2.0, temperature_scope="local")
    for teacher, student in (
        (random_chain(rng), random_spans(rng)),
        (random_spans(rng), random_chain(rng)),
    ):
        with pytest.raises(ValueError, match="temperature_scope = 'global'"):
            objective(student, NOTHING, targets_of(teacher))
    assert objective(random_token(rng), NOTHING, targets_of(random_spans(rng)))[0] > 0


def test_objectives_of_tokens_say_so():
    rng = np.random.default_rng(45)
    targets, student = targets_of(random_spans(rng)), random_spans(rng)
    for make in (make_posterior_kd, make_token_kd, make_substructure_kd):
        with pytest.raises(ValueError, match=r"StructuralKD\.v1, which serves all"):
            make()(student, NOTHING, targets)
    value, _ = make_posterior_kd()(random_chain(rng), NOTHING, targets)
    assert np.isfinite(value)
