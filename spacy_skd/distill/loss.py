"""How far a student is from wanted parts, and the gradient, expected parts minus wanted ones
(docs/math.md §1)."""

from typing import Any

import numpy as np

from ..structures import ArcParts, LabelTrees, RelationParts, Token
from ..structures.base import Floats1d, Ints1d, array_module, expectation
from .parts import ARCS, Arcs, Distribution, Parts, expected_parts, inner, subtract


def cross_entropy_to(
    wanted: Parts, student: Distribution, weights: Floats1d, score: float | None = None
) -> tuple[float, Parts]:
    """Σ_b weights_b log Z_b − ⟨wanted, s⟩ and its gradient, expected parts minus wanted ones.

    wanted: the teacher's marginals over the student's parts, each sentence times its weight. Of
        relations, which are distributions given an arc, the loss is their cross-entropy by itself.
        Tokens of labels that mean arcs are left out where nothing is wanted.
    weights: (B,). score: what stands for ⟨wanted, s⟩ without relations, if it is something else.
    """
    score = inner(wanted, student) if score is None else score
    loss = float((student.log_partition() * weights).sum()) - score
    if isinstance(student, ARCS):
        arcs = expected_parts(student, weights).arcs - wanted.arcs
        loss_of_relations, relations = _relations_to(wanted.relations, student)
        return loss + loss_of_relations, ArcParts(arcs, relations)
    gradient = subtract(expected_parts(student, weights), wanted)
    if isinstance(student, LabelTrees):
        tokens = untaught(wanted, student, weights)
        loss -= float((log_partition_of(tokens, student) * weights).sum())
        gradient[tokens] = 0
    return loss, gradient


def _relations_to(
    wanted: RelationParts | None, student: Arcs
) -> tuple[float, RelationParts | None]:
    """−Σ wanted log p(relation | arc) and its gradient, Σ wanted p(relation | arc) − wanted."""
    if wanted is None or student.relations is None or not len(wanted.tokens):
        return 0.0, None
    log_probs = student.relation_log_probs(wanted.tokens, wanted.heads)
    loss = -float(expectation(wanted.values, log_probs).sum())
    masses = wanted.values.sum(axis=1, keepdims=True)
    gradient = masses * array_module(log_probs).exp(log_probs) - wanted.values
    return loss, RelationParts(wanted.tokens, wanted.heads, gradient)


def untaught(wanted: Any, student: LabelTrees, weights: Floats1d) -> Ints1d:
    """The tokens of sentences with a weight at which nothing is wanted."""
    taught = wanted.sum(axis=1) != 0
    return array_module(wanted).flatnonzero(~taught & (weights != 0)[student.packing.sentences])


def log_partition_of(tokens: Ints1d, student: LabelTrees) -> Floats1d:
    """log Z of some tokens, summed by sentence, (B,) in float64."""
    xp = array_module(student.scores)
    sums = xp.zeros(len(student.lengths), dtype=np.float64)
    if len(tokens):
        alone = Token(student.scores[tokens], np.ones(len(tokens), dtype=np.int64))
        sentences = student.packing.sentences[tokens]
        sums += xp.bincount(sentences, weights=alone.log_partition(), minlength=len(sums))
    return sums
