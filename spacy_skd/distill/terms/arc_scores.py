"""Scores of arcs matched one by one, heads first, then their relations (docs/math.md §3.2).

A teacher's scores are the logarithms of the probabilities that were kept of it; what was not kept
has no score. So squares are those of the heads and relations that were kept, while the
Kullback-Leibler divergence is that of softmaxes over all of them.
"""

from typing import Any

import numpy as np

from ...structures import ArcParts, HeadSelection, RelationParts
from ...structures.base import Floats1d, Floats2d, array_module
from ..arcs import arcs_onto_arcs
from ..loss import cross_entropy_to
from ..parts import per_token


def arc_squares(
    teacher: HeadSelection, student: HeadSelection, weights: Floats1d
) -> tuple[float, ArcParts]:
    """Squared differences of scores about their mean, each a mean over what the teacher kept: of a
    token's heads, and of the relations of each head times its probability.

    weights: (B,). Value and gradient.
    """
    xp, layout = array_module(student.scores), student.layout
    kept = xp.isfinite(teacher.scores) & xp.isfinite(student.scores)
    differences = xp.where(kept, student.scores, 0) - xp.where(kept, teacher.scores, 0)
    counts = xp.maximum(layout.row_sum(kept.astype(differences.dtype)), 1)
    differences -= kept * layout.spread(layout.row_sum(differences) / counts)
    shares = per_token(weights, student) / layout.spread(counts)
    value = float(xp.vdot(shares, differences**2))
    gradient = ArcParts(2 * shares * differences)
    wanted = arcs_onto_arcs(teacher, weights).relations
    if wanted is None or student.relations is None or not len(wanted.tokens):
        return value, gradient
    theirs = teacher.relation_log_probs(wanted.tokens, wanted.heads)[:, : student.n_labels]
    ours = student.relations.scores_at(wanted.tokens, wanted.heads)
    of_relations, values = _squares(theirs, ours, wanted.values.sum(axis=1))
    relations = RelationParts(wanted.tokens, wanted.heads, values)
    return value + of_relations, ArcParts(gradient.arcs, relations)


def _squares(theirs: Floats2d, ours: Floats2d, weights: Floats1d) -> tuple[float, Floats2d]:
    """Weighted mean squares of rows (P, R) about their means, and the gradient for `ours`."""
    xp = array_module(ours)
    kept = xp.isfinite(theirs) & xp.isfinite(ours)
    counts = xp.maximum(kept.sum(axis=1, keepdims=True), 1).astype(ours.dtype)
    differences = xp.where(kept, ours, 0) - xp.where(kept, theirs, 0)
    differences -= kept * (differences.sum(axis=1, keepdims=True) / counts)
    shares = weights[:, None] / counts
    return float((shares * differences**2).sum()), 2 * shares * differences


def arc_divergence(
    teacher: HeadSelection, student: HeadSelection, weights: Floats1d
) -> tuple[float, ArcParts]:
    """KL of the teacher's softmax over heads, and of those over the relations of each head times
    its probability, from the student's. weights: (B,). Value and gradient."""
    xp = array_module(student.scores)
    wanted = arcs_onto_arcs(teacher, weights)
    if not student.n_labels:
        wanted = ArcParts(wanted.arcs)
    loss, gradient = cross_entropy_to(wanted, student, weights)
    entropies = float(xp.vdot(teacher.entropy(), weights))
    if wanted.relations is not None:
        values = wanted.relations.values
        masses = values.sum(axis=1, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            logs: Any = xp.where(values > 0, xp.log(values / masses), 0)
        entropies -= float(xp.vdot(values, logs))
    return loss - entropies, gradient
