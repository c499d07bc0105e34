"""What all of the teacher's terms share."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ...structures import ChainMarginals, LinearChain, Token
from ...structures.base import Floats1d, Floats2d, array_module
from ..annotation import spread
from ..parts import Distribution, Parts, expected_parts, inner, scores_of, subtract
from ..projection import condition, match_labels
from ..targets import Target, collate, group_by_teacher
from ..temperature import temper


class TeacherTerm(Protocol):
    """The teacher's part of an objective."""

    def __call__(
        self, student: Distribution, targets: Sequence[Target | None], weights: Floats1d
    ) -> tuple[float, Parts]:
        """Σ_b weights_b L_b, and its gradient with respect to the student's scores.

        student: distributions of B sentences. targets: what the teacher left for each, at least
        one. weights: (B,) in the student's dtype and module, 0 for sentences without a target.
        """


@dataclass(frozen=True, eq=False)
class Lesson:
    """What one teacher says of some sentences of a batch.

    student: the batch. teacher: distributions over those sentences, with the student's columns.
    targets: what they were made of. numbers: which sentences they are, (B',) on the host.
    """

    student: Distribution
    teacher: Distribution
    targets: list[Target]
    numbers: np.ndarray

    def students(self) -> Distribution:
        """The student's distributions over the same sentences."""
        if len(self.numbers) == len(self.student.lengths):
            return self.student
        return self.student.select(self.numbers)

    def of_sentences(self, values: Floats1d) -> Floats1d:
        """Values of all sentences (B,) cut down to those of the lesson (B',)."""
        return values[array_module(values).asarray(self.numbers)]

    def spread(self, parts: Parts) -> Parts:
        """Parts of the lesson's sentences as parts of the whole batch."""
        lengths = self.student.lengths
        rows = np.repeat(np.isin(np.arange(len(lengths)), self.numbers), lengths)
        return spread(parts, rows, array_module(scores_of(self.student)))


def lessons(
    student: Distribution, targets: Sequence[Target | None], temperature: float = 1.0
) -> Iterator[Lesson]:
    """What the teachers of a batch say at a temperature, teacher by teacher.

    A token teacher of a student with forbidden moves is conditioned on the legal sequences.
    """
    like = scores_of(student)
    for numbers, members in group_by_teacher(targets):
        packing = student.packing if len(members) == len(student.lengths) else None
        teacher = match_labels(collate(members, like, packing), student)
        teacher = condition(temper(teacher, temperature), student)
        yield Lesson(student, teacher, members, numbers)


def label_sequences(structure: Distribution, objective: str) -> Token | LinearChain:
    """The structure, if its outputs are label sequences; ValueError if not."""
    if isinstance(structure, (Token, LinearChain)):
        return structure
    raise ValueError(
        f"{objective} compares the labels of tokens, and {type(structure).__name__} has none. Use "
        "spacy-skd.StructuralKD.v1, which serves all structures."
    )


def without_transitions(structure: Distribution) -> Token:
    """The scores of single tokens as a distribution of their own."""
    return Token(
        scores_of(structure), structure.lengths, structure.labels, packing=structure.packing
    )


def cross_entropy_to(
    wanted: Parts, student: Distribution, weights: Floats1d
) -> tuple[float, Parts]:
    """Σ_b weights_b log Z_b − ⟨wanted, s⟩ and its gradient, expected parts minus wanted ones.

    wanted: the teacher's marginals over the student's parts, each sentence times its weight.
    """
    loss = float((student.log_partition() * weights).sum()) - inner(wanted, student)
    return loss, subtract(expected_parts(student, weights), wanted)


def token_parts(tokens: Floats2d, student: Distribution) -> Parts:
    """Parts of which only those of single tokens (N, L) are not zero."""
    if not isinstance(student, LinearChain):
        return tokens
    zeros = array_module(tokens).zeros_like(student.transitions)
    return ChainMarginals(tokens=tokens, pairs=zeros, starts=zeros[0], ends=zeros[0])
