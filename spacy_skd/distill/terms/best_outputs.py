"""A teacher's k best outputs, found once for each sentence and kept beside its target.

Training meets a sentence in every epoch; the search (exact, docs/math.md §2.2) costs about as much
as a tenth of a training step. Kept label sequences take 2 k bytes a token; sets of spans are kept
as Python sets, a few hundred bytes each.
"""

from typing import Any

import numpy as np

from ...structures import Candidates
from ..parts import SPANS
from .base import Lesson

MAX_K = 50


def best_outputs(lesson: Lesson, k: int, *, temperature: float, uniform: bool) -> Candidates:
    """The k best outputs of the lesson's teacher as candidates, fewer where there are fewer.

    temperature: at which the teacher's distributions are. uniform: weigh all k alike, instead of
    by their probabilities.
    """
    targets, teacher = lesson.targets, lesson.teacher
    key = ("best outputs", k, temperature, type(teacher).__name__, teacher.labels)
    unknown = [number for number, target in enumerate(targets) if key not in target.kept]
    if unknown:
        asked: Any = teacher if len(unknown) == len(targets) else teacher.select(unknown)
        for number, scored in zip(unknown, asked.topk(k)):
            outputs: Any = [output for output, _ in scored]
            if not isinstance(teacher, SPANS):
                outputs = np.asarray(outputs, dtype="int16")
            log_probs = np.asarray([log_prob for _, log_prob in scored])
            targets[number].kept[key] = outputs, log_probs
    kept = [target.kept[key] for target in targets]
    return Candidates(
        [outputs for outputs, _ in kept],
        [np.zeros(len(log_probs)) if uniform else log_probs for _, log_probs in kept],
        labels=teacher.labels,
        lengths=teacher.lengths,
    )
