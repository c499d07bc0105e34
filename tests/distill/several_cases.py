"""What the tests of several teachers share: distributions, and what enumeration says of them."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from spacy_skd.distill.targets import Target, describe
from spacy_skd.structures import (
    LinearChain,
    Token,
    as_potentials,
    biluo_labels,
    indices_of,
    legal_moves,
    spans_of,
)

from .random_structures import gradients

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
