"""Losses of a student: what it learns from gold annotation and from a teacher.

An objective is called once a training step with the student's distributions of the batch, the
annotation and the teacher's targets; it returns the loss and the loss's gradient with respect to
the student's scores, in the form of the student's parts.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np

from ..structures import LinearChain, Token
from ..structures.base import array_module
from .annotation import annotated_sentences, gold_parts, spread
from .parts import LabelSequences, Parts, add, expected_parts, inner, scale, scores_of, subtract
from .projection import condition, match_labels, project
from .targets import Target, collate, group_by_teacher


class Objective(Protocol):
    """What a component needs of a loss."""

    @property
    def started(self) -> bool:
        """Whether the length of the run is known."""

    def start(self, total_steps: int) -> None:
        """Begin a run of so many steps (0: not known)."""

    def finish_step(self) -> None:
        """Go on to the next optimiser step: schedules advance."""

    def __call__(
        self, student: LabelSequences, annotation: np.ndarray, targets: Sequence[Target | None]
    ) -> tuple[float, Parts]:
        """Loss and gradient of a batch, both a mean over its sentences.

        student: the student's distributions of B sentences of N tokens in all.
        annotation: (N,) gold label indices, −1 where nothing is known.
        targets: what the teacher left for each sentence, if anything.
        """


def make_structural_kd(
    temperature: float = 1.0, teacher_weight: float | Iterable[float] | None = None
) -> Objective:
    """Construct the `spacy-skd.StructuralKD.v1` objective; see `StructuralKD`."""
    return StructuralKD(temperature=temperature, teacher_weight=teacher_weight)


class StructuralKD:
    """Exact structural knowledge distillation (Wang et al. 2021; docs/math.md §1).

    L = λ L_KD + (1 − λ) L_gold with L_KD = −Σ_y p_t(y) log p_s(y); the gradient is
    μ_s − (λ μ_t + (1 − λ) μ_gold), one forward-backward of the student whatever the mixture.
    A sentence without a target has only the gold term, one without annotation only the teacher's,
    each with weight 1; a sentence with neither does not count.

    temperature: T of both models' scores; the teacher's term is multiplied by T². With T ≠ 1 the
        teacher's term needs a forward-backward of its own.
    teacher_weight: λ, a number in [0, 1] or a schedule with one value a step. None: linear from
        1 to 0 over the run (`training.max_steps`).
    """

    def __init__(
        self, *, temperature: float = 1.0, teacher_weight: float | Iterable[float] | None = None
    ) -> None:
        if not temperature > 0:
            raise ValueError(f"The temperature has to be above 0, not {temperature}.")
        self.temperature = temperature
        self.weight = TeacherWeight(teacher_weight)

    @property
    def started(self) -> bool:
        return self.weight.total_steps > 0

    def start(self, total_steps: int) -> None:
        self.weight.start(total_steps)

    def finish_step(self) -> None:
        self.weight.advance()

    def __call__(
        self, student: LabelSequences, annotation: np.ndarray, targets: Sequence[Target | None]
    ) -> tuple[float, Parts]:
        taught = np.asarray([target is not None and len(target) > 0 for target in targets])
        annotated = annotated_sentences(annotation, student)
        teacher_share, gold_share = self.weight.shares(taught, annotated)
        like = scores_of(student)
        dtype, xp = like.dtype, array_module(like)
        teacher_share, gold_share = teacher_share.astype(dtype), gold_share.astype(dtype)

        wanted, log_weight = gold_parts(student, annotation, gold_share)
        loss = -log_weight
        student_share = gold_share
        if taught.any() and self.temperature == 1.0:
            expected = teacher_parts(student, targets, teacher_share)
            loss -= inner(expected, student)
            wanted = add(wanted, expected)
            student_share = gold_share + teacher_share
        share = xp.asarray(student_share)
        loss += float((student.log_partition() * share).sum())
        gradient = subtract(expected_parts(student, share), wanted)
        if taught.any() and self.temperature != 1.0:
            kd_loss, kd_gradient = self._tempered(student, targets, xp.asarray(teacher_share))
            loss += kd_loss
            gradient = add(gradient, kd_gradient)
        n_sentences = max(1, len(student.lengths))
        return loss / n_sentences, scale(gradient, 1 / n_sentences)

    def _tempered(
        self, student: LabelSequences, targets: Sequence[Target | None], share: Any
    ) -> tuple[float, Parts]:
        """The teacher's term at temperature T, times T²: value and gradient."""
        temperature = self.temperature
        tempered = temper(student, temperature)
        expected = teacher_parts(tempered, targets, share, temperature)
        loss = float((tempered.log_partition() * share).sum()) - inner(expected, tempered)
        gradient = subtract(expected_parts(tempered, share), expected)
        return temperature**2 * loss, scale(gradient, temperature)


def teacher_parts(
    student: LabelSequences,
    targets: Sequence[Target | None],
    weights: Any,
    temperature: float = 1.0,
) -> Parts:
    """The teacher's marginals over the student's parts, each sentence times its weight (B,)."""
    like = scores_of(student)
    xp = array_module(like)
    weights = xp.asarray(weights)
    lengths = student.lengths
    total = None
    for numbers, members in group_by_teacher(targets):
        packing = student.packing if len(members) == len(lengths) else None
        taught = collate(members, like, packing)
        teacher = match_labels(temper(taught, temperature), student)
        teacher = condition(teacher, student)
        rows = np.repeat(np.isin(np.arange(len(lengths)), numbers), lengths)
        parts = spread(project(teacher, type(student), weights[xp.asarray(numbers)]), rows, xp)
        total = parts if total is None else add(total, parts)
    return total


def temper(structure: LabelSequences, temperature: float) -> LabelSequences:
    """The distribution whose scores are divided by a temperature."""
    if temperature == 1.0:
        return structure
    rest: dict[str, Any] = {
        "lengths": structure.lengths,
        "labels": structure.labels,
        "packing": structure.packing,
    }
    if isinstance(structure, Token):
        return Token(structure.scores / temperature, **rest)
    if isinstance(structure, LinearChain):
        return LinearChain(
            structure.emissions / temperature,
            structure.transitions / temperature,
            structure.start / temperature,
            structure.end / temperature,
            **rest,
        )
    raise TypeError(f"{type(structure).__name__} cannot be tempered.")


class TeacherWeight:
    """λ, the weight of the teacher against gold, step by step.

    A copy (pickle) keeps the present value of a schedule but not the schedule: it is made for
    processes that predict.
    """

    def __init__(self, weight: float | Iterable[float] | None) -> None:
        if isinstance(weight, (int, float)) and not 0 <= weight <= 1:
            raise ValueError(f"The teacher's weight has to be between 0 and 1, not {weight}.")
        self.total_steps = 0
        self._steps = 0
        self._linear = weight is None
        self._schedule = iter(weight) if isinstance(weight, Iterable) else None
        self._current = weight if isinstance(weight, (int, float)) else 1.0
        self._take()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_schedule": None}

    def start(self, total_steps: int) -> None:
        self._steps, self.total_steps = 0, total_steps

    def advance(self) -> None:
        self._steps += 1
        self._take()

    def _take(self) -> None:
        if self._schedule is not None:
            self._current = min(1.0, max(0.0, float(next(self._schedule, self._current))))

    @property
    def value(self) -> float:
        """λ of the present step. Raises ValueError where a run without a length needs one."""
        if not self._linear:
            return self._current
        if self.total_steps <= 0:
            raise ValueError(
                "The teacher's weight falls linearly over the run, but the length of the run is "
                "not known: set training.max_steps, or give the objective a teacher_weight (a "
                "number between 0 and 1, or a schedule)."
            )
        return max(0.0, 1.0 - self._steps / self.total_steps)

    def shares(self, taught: np.ndarray, annotated: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weights (B,) of the teacher's and of the gold term of each sentence."""
        both = taught & annotated
        weight = self.value if both.any() else 1.0
        teacher = np.where(both, weight, taught)
        gold = np.where(both, 1 - weight, annotated)
        return teacher, gold
