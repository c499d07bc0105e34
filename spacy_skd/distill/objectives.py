"""Losses of a student: what it learns from gold annotation and from a teacher.

An objective is called once a training step with the student's distributions of the batch, the
annotation and the teacher's targets; it returns the loss and the loss's gradient with respect to
the student's scores, in the form of the student's parts. docs/objectives.md compares them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np

from ..structures.base import array_module
from .annotation import annotated_sentences, gold_parts
from .loss import cross_entropy_to
from .parts import Distribution, Parts, accumulate, scale, scores_of
from .targets import Target
from .teacher_weight import TeacherWeight
from .temperature import Scope
from .terms.base import TeacherTerm
from .terms.by_labels import ByLabels
from .terms.by_relations import ByRelations
from .terms.posterior import Posterior
from .terms.structural import Structural, Take
from .terms.substructure import Match, Substructure
from .terms.sum import Sum
from .terms.token import TokenScores

OfSentence: TypeAlias = Target | Sequence[Target] | None
"""What teachers left for a sentence: a target, several, or nothing."""


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
        self, student: Distribution, annotation: np.ndarray, targets: Sequence[OfSentence]
    ) -> tuple[float, Parts]:
        """Loss and gradient of a batch, both a mean over its sentences.

        student: the student's distributions of B sentences of N tokens in all.
        annotation: (N,) gold label indices, −1 where nothing is known; of arcs (N, 2), head numbers
            and relations (`annotation`).
        targets: what teachers left for each sentence: nothing, a target, or several with weights.
        """


class Distillation:
    """A mixture of what the teacher and what the annotation say (docs/math.md §1).

    L = λ L_teacher + (1 − λ) L_gold. A sentence without a target has only the gold term, one
    without annotation only the teacher's, each with weight 1; a sentence with neither does not
    count. Of several targets of a sentence, L_teacher is the mean by their weights. Teachers that
    do not know all of the student's labels are learnt from by what they know (`terms.by_labels`,
    `terms.by_relations`).

    term: what is learnt from the teacher.
    teacher_weight: λ, a number in [0, 1] or a schedule with one value a step. None: linear from
        1 to 0 over the run (`training.max_steps`).
    loss_weight: what L is multiplied by, against the losses of other components that learn on the
        same encoder. ValueError for one that is not above 0.
    """

    def __init__(
        self,
        term: TeacherTerm,
        *,
        teacher_weight: float | Iterable[float] | None = None,
        loss_weight: float = 1.0,
    ) -> None:
        if not 0 < loss_weight < float("inf"):
            raise ValueError(f"A loss_weight has to be a number above 0, not {loss_weight}.")
        self.term = term
        self.loss_weight = loss_weight
        self._by_labels = ByLabels(ByRelations(term))
        self.weight = TeacherWeight(teacher_weight)

    @property
    def started(self) -> bool:
        return self.weight.total_steps > 0

    def start(self, total_steps: int) -> None:
        self.weight.start(total_steps)

    def finish_step(self) -> None:
        self.weight.advance()

    def __call__(
        self, student: Distribution, annotation: np.ndarray, targets: Sequence[OfSentence]
    ) -> tuple[float, Parts]:
        of_sentences = [_as_list(found) for found in targets]
        taught = np.asarray([any(map(len, found)) for found in of_sentences])
        annotated = annotated_sentences(annotation, student)
        teacher_share, gold_share = self.weight.shares(taught, annotated)
        like = scores_of(student)
        xp = array_module(like)

        loss, gradient = 0.0, None
        if gold_share.any() or not taught.any():
            loss, gradient = gold_loss(student, annotation, gold_share.astype(like.dtype))
        if taught.any():
            for layer, weights in layers(of_sentences):
                shares = xp.asarray(teacher_share * weights, dtype=like.dtype)
                teacher_loss, teacher_gradient = self._by_labels(student, layer, shares)
                loss += teacher_loss
                gradient = accumulate(gradient, teacher_gradient)
        share = self.loss_weight / max(1, len(student.lengths))
        return loss * share, scale(gradient, share)


def layers(
    targets: Sequence[Sequence[Target]],
) -> Iterator[tuple[list[Target | None], np.ndarray]]:
    """The first target of each sentence, the second ones, and so on, each layer with the weights
    (B,) of its targets, which are 1 in sum over those of a sentence."""
    totals = [sum(target.weight for target in found) for found in targets]
    for number in range(max(map(len, targets), default=0)):
        layer = [found[number] if number < len(found) else None for found in targets]
        weights = [t.weight / total if t is not None else 0.0 for t, total in zip(layer, totals)]
        yield layer, np.asarray(weights)


def _as_list(found: OfSentence) -> Sequence[Target]:
    if found is None:
        return ()
    return (found,) if isinstance(found, Target) else found


def gold_loss(
    student: Distribution, annotation: np.ndarray, weights: np.ndarray
) -> tuple[float, Parts]:
    """Σ_b weights_b (log Z − log Z_C) and its gradient; weights (B,) on the host."""
    wanted, log_weight = gold_parts(student, annotation, weights)
    share = array_module(scores_of(student)).asarray(weights)
    return cross_entropy_to(wanted, student, share, log_weight)


# --- the registered losses


def make_structural_kd(
    take: Take = "marginals",
    k: int = 10,
    temperature: float = 1.0,
    temperature_scope: Scope = "global",
    teacher_weight: float | Iterable[float] | None = None,
    loss_weight: float = 1.0,
) -> Objective:
    """Construct `spacy-skd.StructuralKD.v1`; see `terms.structural.Structural`."""
    term = Structural(take=take, k=k, temperature=temperature, temperature_scope=temperature_scope)
    return Distillation(term, teacher_weight=teacher_weight, loss_weight=loss_weight)


def make_posterior_kd(
    temperature: float = 1.0,
    temperature_scope: Scope = "global",
    teacher_weight: float | Iterable[float] | None = None,
    loss_weight: float = 1.0,
) -> Objective:
    """Construct `spacy-skd.PosteriorKD.v1`; see `terms.posterior.Posterior`."""
    term = Posterior(temperature=temperature, temperature_scope=temperature_scope)
    return Distillation(term, teacher_weight=teacher_weight, loss_weight=loss_weight)


def make_token_kd(
    temperature: float = 1.0,
    teacher_weight: float | Iterable[float] | None = None,
    loss_weight: float = 1.0,
) -> Objective:
    """Construct `spacy-skd.TokenKD.v1`; see `terms.token.TokenScores`."""
    term = TokenScores(temperature=temperature)
    return Distillation(term, teacher_weight=teacher_weight, loss_weight=loss_weight)


def make_substructure_kd(
    transitions: bool = False,
    match: Match = "squares",
    temperature: float = 1.0,
    teacher_weight: float | Iterable[float] | None = None,
    loss_weight: float = 1.0,
) -> Objective:
    """Construct `spacy-skd.SubstructureKD.v1`; see `terms.substructure.Substructure`."""
    term = Substructure(transitions=transitions, match=match, temperature=temperature)
    return Distillation(term, teacher_weight=teacher_weight, loss_weight=loss_weight)


def make_sum_kd(
    # Any: while a config is only being filled, these are no objectives yet.
    losses: Mapping[str, Any],
    weights: Mapping[str, float] | None = None,
    teacher_weight: float | Iterable[float] | None = None,
    loss_weight: float = 1.0,
) -> Objective:
    """Construct `spacy-skd.SumKD.v1`: what several objectives take from the teacher, summed.

    losses: objectives by names of the user's. weights: by the same names; by default all alike,
        with the sum 1.

    Raises ValueError for weights that do not fit the losses.
    """
    if not losses:
        raise ValueError("A sum needs at least one of the objectives it sums under 'losses'.")
    weights = weights or {name: 1 / len(losses) for name in losses}
    if set(weights) != set(losses):
        raise ValueError(
            f"The sum has the losses {', '.join(sorted(losses))}, but weights for "
            f"{', '.join(sorted(weights))}: give each loss its weight."
        )
    terms = []
    for name, objective in losses.items():
        if not isinstance(objective, Distillation):
            raise ValueError(f"The loss '{name}' is no objective of spacy-skd that can be summed.")
        if not objective.weight.is_default:
            raise ValueError(
                f"The loss '{name}' has a teacher_weight of its own: a sum has one for all of "
                "its losses, so give it to the sum."
            )
        if objective.loss_weight != 1:
            raise ValueError(
                f"The loss '{name}' has a loss_weight: give it its weight in the sum's weights."
            )
        terms.append((float(weights[name]), objective.term))
    return Distillation(Sum(terms), teacher_weight=teacher_weight, loss_weight=loss_weight)
