"""A term for teachers of arcs that do not know all of the student's relations (math.md §3.4)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...structures import ArcParts
from ...structures.base import Floats1d, Ints1d, array_module
from ..arcs import in_order
from ..matching import check_known_labels
from ..parts import ARCS, Arcs, Distribution, Parts, accumulate
from ..targets import Target, Teacher
from .base import TeacherTerm


class ByRelations:
    """A term for the student as it is and, of teachers that know only some of its relations, for
    the student given that its relations are among these.

    What a teacher does not know is missing from what it says, never denied: scores of relations
    that it does not know have no gradient. Students of other structures get the term as it is.
    """

    def __init__(self, term: TeacherTerm) -> None:
        self.term = term

    def __call__(
        self, student: Distribution, targets: Sequence[Target | None], weights: Floats1d
    ) -> tuple[float, Parts]:
        if not isinstance(student, ARCS) or not student.labels:
            return self.term(student, targets, weights)
        teachers = {id(target.teacher): target.teacher for target in targets if target is not None}
        known = {key: _known_columns(teacher, student) for key, teacher in teachers.items()}
        loss, gradient = 0.0, None
        for columns in dict.fromkeys(known.values()):
            members = [
                target if target is not None and known[id(target.teacher)] == columns else None
                for target in targets
            ]
            there = np.asarray([target is not None for target in members], dtype=weights.dtype)
            shares = weights * array_module(weights).asarray(there)
            value, parts = self._among(np.asarray(columns, dtype=int), student, members, shares)
            loss += value
            gradient = accumulate(gradient, parts)
        return loss, gradient

    def _among(
        self,
        columns: Ints1d,
        student: Arcs,
        targets: Sequence[Target | None],
        weights: Floats1d,
    ) -> tuple[float, Parts]:
        """The term for a student given that its relations are among those of some columns."""
        if len(columns) == student.n_labels:
            return self.term(student, targets, weights)
        labels = [(student.labels or ())[column] for column in columns]
        loss, parts = self.term(in_order(student, columns, labels), targets, weights)
        return loss, _with_all_columns(parts, columns, student.n_labels)


def _known_columns(teacher: Teacher, student: Arcs) -> tuple[int, ...]:
    """The student's columns of the relations that a teacher knows; all if it has none.

    Raises ValueError for relations that the student does not have.
    """
    ours = student.labels or ()
    if not teacher.labels:
        return tuple(range(len(ours)))
    known = set(teacher.meant)
    check_known_labels(known, ours)
    return tuple(column for column, label in enumerate(ours) if label in known)


def _with_all_columns(parts: ArcParts, columns: Ints1d, n_columns: int) -> ArcParts:
    """Relations of some columns as relations of all, zero elsewhere."""
    relations = parts.relations
    if relations is None:
        return parts
    values: Any = relations.values
    xp = array_module(values)
    whole = xp.zeros((len(values), n_columns), dtype=values.dtype)
    whole[:, xp.asarray(columns)] = values
    return replace(parts, relations=replace(relations, values=whole))
