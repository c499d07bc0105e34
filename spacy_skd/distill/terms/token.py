"""Scores of single tokens compared as distributions, the structure left aside (docs/math.md §3.1).

The baseline that Wang et al. 2020 call emission (between CRFs) and token (between MaxEnt models).
"""

from collections.abc import Sequence
from typing import Any

from ...structures.base import Floats1d
from ..loss import cross_entropy_to
from ..parts import Distribution, Parts, accumulate, scale
from ..projection import project
from ..targets import Target
from ..temperature import check_temperature, temper
from .base import lessons, token_parts, without_structure


class TokenScores:
    """−Σ_i Σ_y softmax(e_t)_i(y) log softmax(e_s)_i(y), emissions or scores e of both models.

    Of arcs, y are the heads of a token, whether or not they are a tree, and relations given a head
    are learnt as well.

    temperature: T divides both models' scores, and the loss is multiplied by T².
    """

    def __init__(self, *, temperature: float = 1.0) -> None:
        check_temperature(temperature)
        self.temperature = temperature

    def __call__(
        self, student: Distribution, targets: Sequence[Target | None], weights: Floats1d
    ) -> tuple[float, Parts]:
        temperature = self.temperature
        alone = temper(without_structure(student, "TokenKD"), temperature)
        wanted: Any = None
        for lesson in lessons(alone, targets, temperature):
            teacher = without_structure(lesson.teacher, "TokenKD")
            parts = project(teacher, lesson.part, lesson.of_sentences(weights))
            wanted = accumulate(wanted, lesson.spread(parts))
        loss, gradient = cross_entropy_to(wanted, alone, weights)
        return temperature**2 * loss, token_parts(scale(gradient, temperature), student)
