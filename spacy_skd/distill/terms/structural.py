"""The exact cross-entropy between the distributions of teacher and student (docs/math.md §1)."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from ...structures import Candidates, ChainMarginals, LinearChain, Token
from ...structures.base import Floats1d, expectation
from ..arcs import without_tree
from ..loss import cross_entropy_to
from ..parts import (
    ARCS,
    SPANS,
    Distribution,
    Parts,
    accumulate,
    expected_parts,
    per_token,
    scale,
    subtract,
)
from ..projection import project
from ..targets import Target
from ..temperature import Scope, check_temperature, temper, temper_marginals, temper_pairs
from .base import Lesson, lessons
from .best_outputs import MAX_K, best_outputs

Take: TypeAlias = Literal["marginals", "top_k", "top_wk", "top_1"]
TAKES: tuple[Take, ...] = ("marginals", "top_k", "top_wk", "top_1")


class Structural:
    """−Σ_y q(y) log p_s(y), where q is what is taken from the teacher.

    take: "marginals", all of its distribution (Wang et al. 2021); "top_k", its k best outputs,
        alike; "top_wk", the same weighted by their probabilities; "top_1", its best output (Wang et
        al. 2020). Lists of outputs are candidates like any other teacher's: one loss for all.
    k: number of outputs, 1 to 50; fewer where a sentence has fewer.
    temperature, temperature_scope: docs/math.md §3.3. Global: T divides both models' scores and
        the loss is multiplied by T². Local: it tempers the teacher's marginals alone; where a chain
        learns tempered pairs, the loss of a sentence that would fall below 0 is taken as 0. Of
        arcs, local is global of the teacher alone: its heads and relations are tempered each.
    """

    def __init__(
        self,
        *,
        take: Take = "marginals",
        k: int = 10,
        temperature: float = 1.0,
        temperature_scope: Scope = "global",
    ) -> None:
        check_temperature(temperature, temperature_scope)
        if take not in TAKES:
            raise ValueError(f"What can be taken is {', '.join(TAKES)}, not '{take}'.")
        if not 1 <= k <= MAX_K:
            raise ValueError(f"k has to be between 1 and {MAX_K}, not {k}.")
        if take != "marginals" and temperature_scope == "local":
            raise ValueError(
                f"With take = '{take}' there are no marginals to temper locally: set "
                "temperature_scope = 'global' or take = 'marginals'."
            )
        self.take = take
        self.k = 1 if take == "top_1" else k
        self.temperature = temperature
        self.is_local = temperature_scope == "local" and temperature != 1.0

    def __call__(
        self, student: Distribution, targets: Sequence[Target | None], weights: Floats1d
    ) -> tuple[float, Parts]:
        if self.is_local and not isinstance(student, ARCS):
            return self._local(student, targets, weights)
        temperature = self.temperature
        if not self.is_local:
            student = temper(student, temperature)
        # Of heads that need not be trees, the best trees are looked for, whoever learns them.
        pupil = student if self.take == "marginals" else without_tree(student)
        projective = getattr(student, "projective", False)
        expected = None
        for lesson in lessons(pupil, targets, temperature):
            taken = self._taken(lesson, projective)
            parts = project(taken, lesson.part, lesson.of_sentences(weights))
            expected = accumulate(expected, lesson.spread(parts))
        loss, gradient = cross_entropy_to(expected, student, weights)
        if temperature == 1.0 or self.is_local:
            return loss, gradient
        return temperature**2 * loss, scale(gradient, temperature)

    def _taken(self, lesson: Lesson, projective: bool) -> Distribution | Candidates:
        if self.take == "marginals":
            return lesson.teacher
        return best_outputs(
            lesson,
            self.k,
            uniform=self.take == "top_k",
            temperature=self.temperature,
            projective=projective,
        )

    def _local(
        self, student: Distribution, targets: Sequence[Target | None], weights: Floats1d
    ) -> tuple[float, Parts]:
        loss, gradient = 0.0, None
        if isinstance(student, SPANS):
            raise ValueError(
                "Span marginals cannot be tempered one by one: that none begins at a token is not "
                "among them. Set temperature_scope = 'global'."
            )
        for lesson in lessons(student, targets):
            part, shares = lesson.part, lesson.of_sentences(weights)
            if isinstance(part, LinearChain):
                value, parts = self._tempered_pairs(lesson.teacher, part, shares)
            else:
                marginals = project(lesson.teacher, part)
                expected = temper_marginals(marginals, self.temperature) * per_token(shares, part)
                value, parts = cross_entropy_to(expected, part, shares)
            loss += value
            gradient = accumulate(gradient, lesson.spread(parts))
        return loss, gradient

    def _tempered_pairs(
        self, teacher: Distribution, student: LinearChain, weights: Floats1d
    ) -> tuple[float, Parts]:
        if isinstance(teacher, SPANS):
            raise ValueError(
                "A local temperature needs pairs of labels position by position for a CRF, which a "
                "teacher of spans does not give. Set temperature_scope = 'global'."
            )
        chain: Any = LinearChain.from_token(teacher) if isinstance(teacher, Token) else teacher
        tokens, pairs = temper_pairs(chain, self.temperature)
        packing = student.packing
        flat = pairs.reshape(len(pairs), -1)
        by_token = expectation(tokens, student.emissions)
        by_token += expectation(flat, student.transitions.ravel()[None])
        for ends, potential in (
            (packing.first_tokens, student.start),
            (packing.last_tokens, student.end),
        ):
            by_token[ends] += expectation(tokens[ends], potential[None])
        losses = student.log_partition() - packing.sum(by_token).astype(by_token.dtype)
        weights = weights * (losses > 0)
        weighted = tokens * per_token(weights, student)
        token_weights = per_token(weights, student)[:, 0]
        expected = ChainMarginals(
            tokens=weighted,
            pairs=(token_weights @ flat).reshape(student.transitions.shape),
            starts=weighted[packing.first_tokens].sum(0),
            ends=weighted[packing.last_tokens].sum(0),
        )
        loss = float((losses * weights).sum())
        return loss, subtract(expected_parts(student, weights), expected)
