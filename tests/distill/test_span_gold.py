"""Gold entities as a teacher of spans, against listing."""

from itertools import pairwise

import numpy as np
import pytest

from spacy_skd.distill.annotation import gold_parts
from spacy_skd.structures import LocalSpans, SentenceError

from .span_cases import BOUNDS, LABELS, LENGTHS, NOTHING, WIDTH, flat_sets, path_of, random_spans


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
