"""Scores of single tokens compared as distributions, transitions left aside (docs/math.md §3.1).

The baseline that Wang et al. 2020 call emission (between CRFs) and token (between MaxEnt models).
"""

from collections.abc import Sequence
from typing import Any

from ...structures.base import Floats1d
from ..parts import Distribution, Parts, accumulate, expected_parts, scale
from ..targets import Target
from ..temperature import check_temperature, temper
from .base import cross_entropy_to, label_sequences, lessons, token_parts, without_transitions


class TokenScores:
    """−Σ_i Σ_y softmax(e_t)_i(y) log softmax(e_s)_i(y), emissions or scores e of both models.

    temperature: T divides both models' scores, and the loss is multiplied by T².
    """

    def __init__(self, *, temperature: float = 1.0) -> None:
        check_temperature(temperature)
        self.temperature = temperature

    def __call__(
        self, student: Distribution, targets: Sequence[Target | None], weights: Floats1d
    ) -> tuple[float, Parts]:
        temperature = self.temperature
        label_sequences(student, "TokenKD")
        wanted: Any = None
        for lesson in lessons(student, targets, temperature):
            shares = lesson.of_sentences(weights)
            tokens = expected_parts(
                without_transitions(label_sequences(lesson.teacher, "TokenKD")), shares
            )
            wanted = accumulate(wanted, lesson.spread(tokens))
        alone = temper(without_transitions(student), temperature)
        loss, gradient = cross_entropy_to(wanted, alone, weights)
        return temperature**2 * loss, token_parts(scale(gradient, temperature), student)
