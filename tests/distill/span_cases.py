"""What the tests of spans share: teachers and students of every kind, all sets of spans."""

from itertools import combinations

import numpy as np

from spacy_skd.distill.targets import Target, describe, stored_scores
from spacy_skd.structures import (
    FlatSpans,
    LinearChain,
    LocalSpans,
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


def path_of(spans, length):
    return indices_of(((i, j, ENTITIES[r]) for i, j, r in spans), length, LABELS)


def targets_of(teacher):
    record = describe(teacher, "ner")
    return [
        Target(record, scores, int(length))
        for scores, length in zip(stored_scores(teacher), teacher.lengths)
    ]
