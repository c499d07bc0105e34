"""What all of the teacher's terms share."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ...structures import ChainMarginals, HeadSelection, LinearChain, Token
from ...structures.base import Floats1d, Floats2d, array_module
from ..arcs import without_tree
from ..attached import group_by_teacher
from ..parts import ARCS, Distribution, Parts, scores_of, spread
from ..projection import condition, match_labels
from ..targets import Target, collate
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

    student: the batch. part: the student's distributions over the lesson's sentences. teacher: the
    teacher's, with the student's columns. targets: what they were made of. numbers: which sentences
    they are, (B',) on the host.
    """

    student: Distribution
    part: Distribution
    teacher: Distribution
    targets: list[Target]
    numbers: np.ndarray

    def of_sentences(self, values: Floats1d) -> Floats1d:
        """Values of all sentences (B,) cut down to those of the lesson (B',)."""
        return values[array_module(values).asarray(self.numbers)]

    def spread(self, parts: Parts) -> Parts:
        """Parts of the lesson's sentences as parts of the whole batch."""
        return spread(parts, self.student, self.numbers)


def lessons(
    student: Distribution, targets: Sequence[Target | None], temperature: float = 1.0
) -> Iterator[Lesson]:
    """What the teachers of a batch say at a temperature, teacher by teacher.

    A token teacher of a student with forbidden moves is conditioned on the legal sequences, one of
    heads that teaches trees on being one.
    """
    like = scores_of(student)
    for numbers, members in group_by_teacher(targets):
        everything = len(members) == len(student.lengths)
        part = student if everything else student.select(numbers)
        teacher = match_labels(collate(members, like, part.packing), part)
        teacher = condition(temper(teacher, temperature), part)
        yield Lesson(student, part, teacher, members, numbers)


def label_sequences(structure: Distribution, objective: str) -> Token | LinearChain:
    """The structure, if its outputs are label sequences; ValueError if not."""
    if isinstance(structure, (Token, LinearChain)):
        return structure
    raise ValueError(
        f"{objective} compares the labels of tokens, and {type(structure).__name__} has none. Use "
        "spacy-skd.StructuralKD.v1, which serves all structures."
    )


def without_structure(structure: Distribution, objective: str) -> Token | HeadSelection:
    """The scores of single tokens as a distribution of their own; of arcs, those of single heads.

    Raises ValueError for spans.
    """
    if isinstance(structure, ARCS):
        return without_tree(structure)
    return without_transitions(label_sequences(structure, objective))


def without_transitions(structure: Token | LinearChain) -> Token:
    """The scores of single tokens as a distribution of their own."""
    if isinstance(structure, Token):
        return structure
    return Token(
        structure.emissions, structure.lengths, structure.labels, packing=structure.packing
    )


def token_parts(tokens: Floats2d, student: Distribution) -> Parts:
    """Parts of which only those of single tokens (N, L) are not zero."""
    if not isinstance(student, LinearChain):
        return tokens
    zeros = array_module(tokens).zeros_like(student.transitions)
    return ChainMarginals(tokens=tokens, pairs=zeros, starts=zeros[0], ends=zeros[0])
