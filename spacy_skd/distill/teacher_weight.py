"""λ, how much the teacher counts against gold annotation as training goes on."""

from collections.abc import Iterable
from typing import Any

import numpy as np


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
    def is_default(self) -> bool:
        """Whether it is the linear fall that holds where nothing is said."""
        return self._linear

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
