"""Several terms at once, weighted (docs/math.md §3.1: posterior and top-WK)."""

from collections.abc import Sequence
from typing import Any

from ...structures.base import Floats1d
from ..parts import Distribution, Parts, accumulate, scale
from ..targets import Target
from .base import TeacherTerm


class Sum:
    """Σ_m weight_m L_m. The student's forward-backward is shared by all terms."""

    def __init__(self, terms: Sequence[tuple[float, TeacherTerm]]) -> None:
        self.terms = terms

    def __call__(
        self, student: Distribution, targets: Sequence[Target | None], weights: Floats1d
    ) -> tuple[float, Parts]:
        loss = 0.0
        gradient: Any = None
        for weight, term in self.terms:
            value, parts = term(student, targets, weights)
            loss += weight * value
            gradient = accumulate(gradient, scale(parts, weight))
        return loss, gradient
