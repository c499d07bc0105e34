"""Scores matched part by part, without a dynamic program (docs/math.md §3.2).

Lin, Wang, Dong 2022, "Efficient Sub-structured Knowledge Distillation". In closed form: a sentence
of n tokens and L labels costs O(nL + L²), though with transitions n L² parts are compared.
"""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from ...structures import ChainMarginals, HeadSelection, LinearChain, Token
from ...structures.base import Floats1d, Floats2d, array_module
from ..arcs import without_tree
from ..parts import ARCS, Distribution, Parts, accumulate, per_token, scale, scores_of
from ..targets import LOWEST, Target
from ..temperature import check_temperature, temper
from .arc_scores import arc_divergence, arc_squares
from .base import Lesson, label_sequences, lessons, token_parts

Match: TypeAlias = Literal["squares", "kl"]
CERTAIN = (
    "The teacher is certain: its scores cannot be matched, use spacy-skd.StructuralKD.v1. (It "
    'gives some labels no probability at all, as rules do. match = "kl" can be had of it, too.)'
)
NEVER = -1e30
"""A score that is impossible, but a number."""
MATCHES: tuple[Match, ...] = ("squares", "kl")


class Substructure:
    """How far the student's local scores are from the teacher's, summed over a sentence's tokens.

    transitions: False compares the emissions e_i(y) of a token; True its scores together with the
        transition from the label before, e_i(y) + A(y', y) (at the first token: with the start;
        the end potentials count as one further token). For students with transitions.
    match: "squares", the mean over a token's labels (or pairs of labels) of the squared difference;
        "kl", the Kullback-Leibler divergence of the teacher's softmax over them from the student's.
    temperature: for "kl": T divides both models' scores, and the loss is multiplied by T².

    A constant added to all scores of a token changes no distribution, and is not stored of a
    teacher either; so "squares" takes the differences about their mean. Forbidden pairs do not
    count, and a teacher that gives a label no probability at all, so that there is no score to
    match, is a ValueError. Of arcs, the labels of a token are its heads, and the relations of each
    head count as much as the teacher gives it (`arc_scores`).
    """

    def __init__(
        self, *, transitions: bool = False, match: Match = "squares", temperature: float = 1.0
    ) -> None:
        check_temperature(temperature)
        if match not in MATCHES:
            raise ValueError(f"What can be matched is {', '.join(MATCHES)}, not '{match}'.")
        if match == "squares" and temperature != 1.0:
            raise ValueError("A temperature needs match = 'kl': squares are of the scores alone.")
        self.transitions = transitions
        self.match = match
        self.temperature = temperature

    def __call__(
        self, student: Distribution, targets: Sequence[Target | None], weights: Floats1d
    ) -> tuple[float, Parts]:
        if not isinstance(student, ARCS):
            label_sequences(student, "SubstructureKD")
        if self.transitions and not isinstance(student, LinearChain):
            raise ValueError(
                "The student has no transitions to match: set transitions = false, or give it the "
                "architecture spacy-skd.LinearChainCRF.v1."
            )
        temperature = self.temperature
        student = temper(without_tree(student), temperature)
        loss = 0.0
        gradient: Any = None
        for lesson in lessons(student, targets, temperature):
            value, parts = self._compare(lesson, lesson.of_sentences(weights))
            loss += value
            gradient = accumulate(gradient, lesson.spread(parts))
        return temperature**2 * loss, scale(gradient, temperature)

    def _compare(self, lesson: Lesson, weights: Floats1d) -> tuple[float, Parts]:
        if isinstance(lesson.teacher, HeadSelection):
            return self._compare_arcs(lesson.teacher, lesson.part, weights)
        compare = _squares if self.match == "squares" else _divergence
        teacher = label_sequences(lesson.teacher, "SubstructureKD")
        student = lesson.part
        theirs, ours = scores_of(teacher), scores_of(student)
        xp = array_module(ours)
        if self.match == "squares" and theirs.size and float(theirs.min()) <= LOWEST:
            raise ValueError(CERTAIN)
        token_weights = per_token(weights, student)[:, 0]
        if not (self.transitions and isinstance(student, LinearChain)):
            nothing = xp.zeros((1, student.n_labels), dtype=ours.dtype)
            value, tokens, _ = compare(theirs, ours, nothing, nothing, token_weights)
            return value, token_parts(tokens, student)

        if isinstance(teacher, Token):
            teacher = LinearChain.from_token(teacher)
        inner, first = student.packing.inner_tokens, student.packing.first_tokens
        last = student.packing.last_tokens
        tokens = xp.empty_like(ours)
        pair_value, tokens[inner], pairs = compare(
            theirs[inner],
            ours[inner],
            teacher.transitions,
            student.transitions,
            token_weights[inner],
        )
        start_value, tokens[first], starts = compare(
            theirs[first],
            ours[first],
            teacher.start[None],
            student.start[None],
            token_weights[first],
        )
        nothing = xp.zeros((len(last), student.n_labels), dtype=ours.dtype)
        end_value, _, ends = compare(
            nothing, nothing, teacher.end[None], student.end[None], token_weights[last]
        )
        value = pair_value + start_value + end_value
        return value, ChainMarginals(tokens=tokens, pairs=pairs, starts=starts[0], ends=ends[0])

    def _compare_arcs(
        self, teacher: HeadSelection, student: Distribution, weights: Floats1d
    ) -> tuple[float, Parts]:
        if not isinstance(student, HeadSelection):
            raise ValueError(
                "SubstructureKD compares scores of the same parts, and a teacher of arcs has none "
                "of labels. Use spacy-skd.StructuralKD.v1, which serves all structures."
            )
        compare = arc_squares if self.match == "squares" else arc_divergence
        return compare(teacher, student, weights)


# --- comparisons of the scores e_i(y) + A(y', y) of some tokens: e (n, L), A (P, L) with P labels
# before, 1 where there is no choice; weights (n,). Value, gradients for the student's e and A.


def _squares(
    theirs: Floats2d,
    ours: Floats2d,
    their_table: Floats2d,
    our_table: Floats2d,
    weights: Floats1d,
) -> tuple[float, Floats2d, Floats2d]:
    xp = array_module(ours)
    legal = xp.isfinite(their_table) & xp.isfinite(our_table)
    ways = legal.sum(axis=0).astype(ours.dtype)  # to each label
    n_pairs = max(1.0, float(ways.sum()))
    table = xp.where(legal, our_table, 0) - xp.where(legal, their_table, 0)
    table -= legal * (table.sum() / n_pairs)
    scores = ours - theirs
    scores -= (scores @ ways / n_pairs)[:, None]
    by_label = table.sum(axis=0)
    squares = (scores**2) @ ways + 2 * (scores @ by_label) + (table**2).sum()
    token_gradient = (2 / n_pairs) * weights[:, None] * (ways * scores + by_label)
    table_gradient = legal * ((2 / n_pairs) * (weights @ scores + weights.sum() * table))
    return float(xp.vdot(weights, squares)) / n_pairs, token_gradient, table_gradient


def _divergence(
    theirs: Floats2d,
    ours: Floats2d,
    their_table: Floats2d,
    our_table: Floats2d,
    weights: Floats1d,
) -> tuple[float, Floats2d, Floats2d]:
    # The softmax over pairs is one over labels, of e + log Σ_y' exp A, times one over the labels
    # before, of A, which is the same for every token.
    xp = array_module(ours)
    legal = xp.isfinite(their_table) & xp.isfinite(our_table)
    their_ways, their_before = _normalised(xp.where(legal, their_table, NEVER), axis=0)
    our_ways, our_before = _normalised(xp.where(legal, our_table, NEVER), axis=0)
    _, wanted_logs = _normalised(theirs + their_ways, axis=1)
    _, found_logs = _normalised(ours + our_ways, axis=1)
    wanted, found = xp.exp(wanted_logs), xp.exp(found_logs)
    wanted_before, found_before = xp.exp(their_before), xp.exp(our_before)
    before = (wanted_before * (their_before - our_before)).sum(axis=0)
    divergence = (wanted * (wanted_logs - found_logs)).sum(axis=1) + wanted @ before
    token_gradient = weights[:, None] * (found - wanted)
    table_gradient = (weights @ found) * found_before - (weights @ wanted) * wanted_before
    return float(xp.vdot(weights, divergence)), token_gradient, table_gradient


def _normalised(scores: Floats2d, axis: int) -> tuple[Floats2d, Floats2d]:
    """log Σ exp along an axis, which stays with the size 1, and the scores minus it."""
    xp = array_module(scores)
    peaks = scores.max(axis=axis, keepdims=True)
    log_sums = peaks + xp.log(xp.exp(scores - peaks).sum(axis=axis, keepdims=True))
    return log_sums, scores - log_sums
