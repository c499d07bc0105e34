"""Weights for single sentences, tried beside the exact structural loss (benchmarks/objectives.py).

certainty: exp(−H/n) of the teacher's distribution, entropy H over n tokens. agreement: the share of
a sentence's tokens whose annotation is the teacher's best label (1 without annotation). Either way
the weights of a batch are scaled to a mean of 1.
"""

from collections.abc import Callable, Sequence

import numpy as np
from spacy import registry

from spacy_skd.distill.objectives import Distillation, OfSentence
from spacy_skd.distill.parts import LabelSequences, Parts
from spacy_skd.distill.targets import Target
from spacy_skd.distill.terms.base import Lesson, lessons
from spacy_skd.distill.terms.structural import Structural

Weigh = Callable[[Lesson, np.ndarray], np.ndarray]


class SentenceWeighted(Distillation):
    """The exact structural objective with a weight for the teacher's word on each sentence."""

    def __init__(self, weigh: Weigh) -> None:
        super().__init__(self._weighted)
        self.weigh = weigh
        self.exact = Structural()
        self.annotation = np.zeros(0, dtype=int)

    def __call__(
        self, student: LabelSequences, annotation: np.ndarray, targets: Sequence[OfSentence]
    ) -> tuple[float, Parts]:
        self.annotation = annotation
        return super().__call__(student, annotation, targets)

    def _weighted(
        self, student: LabelSequences, targets: Sequence[Target | None], weights: np.ndarray
    ) -> tuple[float, Parts]:
        factors = np.zeros_like(weights)
        for lesson in lessons(student, targets):
            factors[lesson.numbers] = self.weigh(lesson, self.annotation)
        factors[factors > 0] /= factors[factors > 0].mean()
        return self.exact(student, targets, weights * factors)


def certainty(lesson: Lesson, annotation: np.ndarray) -> np.ndarray:
    return np.exp(-lesson.teacher.entropy() / np.maximum(lesson.teacher.lengths, 1))


def agreement(lesson: Lesson, annotation: np.ndarray) -> np.ndarray:
    packing = lesson.student.packing
    shares = []
    for number, best in zip(lesson.numbers, lesson.teacher.argmax()):
        gold = annotation[packing.offsets[number] : packing.offsets[number + 1]]
        known = gold >= 0
        shares.append((best == gold)[known].mean() if known.any() else 1.0)
    return np.maximum(shares, 1e-3)


@registry.losses("benchmark.CertaintyWeighted.v1")
def make_certainty_weighted() -> SentenceWeighted:
    return SentenceWeighted(certainty)


@registry.losses("benchmark.AgreementWeighted.v1")
def make_agreement_weighted() -> SentenceWeighted:
    return SentenceWeighted(agreement)
