"""The teacher's label distribution at each token, learnt by the student's own (docs/math.md §3.1).

Wang et al. 2020, "Structure-Level Knowledge Distillation For Multilingual Sequence Labeling".
"""

from collections.abc import Sequence
from typing import Any

from ...structures import HeadSelection, LabelTrees, LinearChain
from ...structures.base import Floats1d, Floats2d, array_module
from ..loss import cross_entropy_to
from ..parts import ARCS, Distribution, Parts, accumulate, per_token, scale
from ..projection import project
from ..targets import Target
from ..temperature import Scope, check_temperature, temper, temper_marginals
from .base import label_sequences, lessons, without_transitions
from .structural import Structural

FLOOR = 1e-6
"""The student's probability below which its logarithm goes on as a straight line."""


class Posterior:
    """−Σ_i Σ_y q_i(y) log μ_i(y), token marginals q of the teacher and μ of the student.

    Differentiated exactly: for a chain, through the student's forward-backward by one tangent pass
    that reaches emissions and transitions alike. Below μ = 1e-6 the logarithm goes on as its
    tangent, so that loss and gradient stay finite. For students whose tokens choose by themselves,
    a label or a head, it is `Structural`; students of trees are not served.

    temperature, temperature_scope: docs/math.md §3.3. Global: T divides both models' scores and
        the loss is multiplied by T². Local: it tempers the teacher's marginals alone.
    """

    def __init__(self, *, temperature: float = 1.0, temperature_scope: Scope = "global") -> None:
        check_temperature(temperature, temperature_scope)
        self.temperature = temperature if temperature_scope == "global" else 1.0
        self.local_temperature = temperature if temperature_scope == "local" else 1.0
        self._structural = Structural(temperature=temperature, temperature_scope=temperature_scope)

    def __call__(
        self, student: Distribution, targets: Sequence[Target | None], weights: Floats1d
    ) -> tuple[float, Parts]:
        if isinstance(student, (HeadSelection, LabelTrees)):
            return self._structural(student, targets, weights)
        if isinstance(student, ARCS):
            raise ValueError(
                "PosteriorKD does not serve students of trees. Use spacy-skd.StructuralKD.v1, "
                "which is exact for them, or spacy-skd.TokenKD.v1, which compares single heads."
            )
        temperature = self.temperature
        student = temper(label_sequences(student, "PosteriorKD"), temperature)
        posteriors: Any = None
        for lesson in lessons(student, targets, temperature):
            part = without_transitions(label_sequences(lesson.part, "PosteriorKD"))
            marginals = project(lesson.teacher, part)
            marginals = temper_marginals(marginals, self.local_temperature)
            marginals = marginals * per_token(lesson.of_sentences(weights), part)
            posteriors = accumulate(posteriors, lesson.spread(marginals))
        if isinstance(student, LinearChain):
            loss, gradient = chain_cross_entropy(posteriors, student)
        else:
            loss, gradient = cross_entropy_to(posteriors, student, weights)
        if temperature == 1.0:
            return loss, gradient
        return temperature**2 * loss, scale(gradient, temperature)


def chain_cross_entropy(posteriors: Floats2d, student: LinearChain) -> tuple[float, Parts]:
    """−Σ q ℓ(μ), and its gradient; ℓ is the logarithm, below the floor its tangent there."""
    xp = array_module(posteriors)
    marginals = student.marginals().tokens
    safe = xp.maximum(marginals, FLOOR)
    logarithms = xp.log(safe) + xp.minimum(marginals / FLOOR, 1) - 1
    covariance = student.covariance(posteriors / safe)
    return -float(xp.vdot(posteriors, logarithms)), scale(covariance, -1)
