"""Scores of single tokens compared as distributions, transitions left aside (docs/math.md §3.1).

The baseline that Wang et al. 2020 call emission (between CRFs) and token (between MaxEnt models).
"""

from collections.abc import Sequence
from typing import Any

from ...structures import Token
from ...structures.base import Floats1d
from ..parts import LabelSequences, Parts, accumulate, expected_parts, scale, scores_of
from ..targets import Target
from ..temperature import check_temperature, temper
from .base import cross_entropy_to, lessons, token_parts


class TokenScores:
    """−Σ_i Σ_y softmax(e_t)_i(y) log softmax(e_s)_i(y), emissions or scores e of both models.

    temperature: T divides both models' scores, and the loss is multiplied by T².
    """

    def __init__(self, *, temperature: float = 1.0) -> None:
        check_temperature(temperature)
        self.temperature = temperature

    def __call__(
        self, student: LabelSequences, targets: Sequence[Target | None], weights: Floats1d
    ) -> tuple[float, Parts]:
        temperature = self.temperature
        wanted: Any = None
        for lesson in lessons(student, targets, temperature):
            shares = lesson.of_sentences(weights)
            tokens = expected_parts(without_transitions(lesson.teacher), shares)
            wanted = accumulate(wanted, lesson.spread(tokens))
        alone = temper(without_transitions(student), temperature)
        loss, gradient = cross_entropy_to(wanted, alone, weights)
        return temperature**2 * loss, token_parts(scale(gradient, temperature), student)


def without_transitions(structure: LabelSequences) -> Token:
    """The scores of single tokens as a distribution of their own."""
    return Token(
        scores_of(structure), structure.lengths, structure.labels, packing=structure.packing
    )
