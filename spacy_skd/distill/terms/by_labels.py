"""A term for several teachers at once, of which some do not know all of the student's labels."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...structures import ChainMarginals, LinearChain, Token
from ...structures.base import Floats1d, Ints1d, array_module
from ..matching import check_known_labels
from ..meaning import has_entities, knows_all, labels_of
from ..parts import Distribution, LabelSequences, Parts, accumulate, scores_of
from ..targets import Target, Teacher
from .base import TeacherTerm
from .partial import Partial

LOGGER = logging.getLogger("spacy")  # what `spacy train` shows


class ByLabels:
    """An objective's term where teachers know all labels of the student, and what stands for it
    where they do not.

    Of entities, that is `Partial`. Of tags, it is the term itself, for the student given that its
    tags are among those that the teacher knows.
    """

    def __init__(self, term: TeacherTerm) -> None:
        self.term = term
        self.partial = Partial()
        self._told: set[tuple[str, tuple[str, ...]]] = set()

    def __call__(
        self, student: Distribution, targets: Sequence[Target | None], weights: Floats1d
    ) -> tuple[float, Parts]:
        teachers = {id(target.teacher): target.teacher for target in targets if target is not None}
        whole = {key for key, teacher in teachers.items() if knows_all(teacher, student)}
        if len(whole) == len(teachers):
            return self.term(student, targets, weights)
        groups: list[tuple[set[int], Any]] = [(whole, self.term)] if whole else []
        others = teachers.keys() - whole
        for key in others:
            self._tell(teachers[key], student)
        if has_entities(student):
            groups.append((others, self.partial))
        else:
            groups += [({key}, self._of_tags(teachers[key])) for key in others]
        loss, gradient = 0.0, None
        for keys, term in groups:
            members = [t if t is not None and id(t.teacher) in keys else None for t in targets]
            there = np.asarray([target is not None for target in members], dtype=weights.dtype)
            value, parts = term(student, members, weights * array_module(weights).asarray(there))
            loss += value
            gradient = accumulate(gradient, parts)
        return loss, gradient

    def _of_tags(self, teacher: Teacher) -> TeacherTerm:
        """The term for a teacher of some of the student's tags."""
        term = self.term if teacher.means is None else self.partial

        def among_known(
            student: Any, targets: Sequence[Target | None], weights: Floats1d
        ) -> tuple[float, Parts]:
            known = set(teacher.meant)
            check_known_labels(known, student.labels)
            columns = np.flatnonzero([label in known for label in student.labels])
            loss, parts = term(with_columns(student, columns), targets, weights)
            return loss, _with_all_columns(parts, columns, student)

        return among_known

    def _tell(self, teacher: Teacher, student: Distribution) -> None:
        """Say once that a teacher, other than gold annotation, does not teach what the objective
        says."""
        told = teacher.component, teacher.meant
        if teacher.is_annotation or told in self._told:
            return
        self._told.add(told)
        how = "by its marginals or best outputs" if has_entities(student) else "given these"
        LOGGER.info(
            "A teacher of '%s' does not know all labels of the student, or means others: it "
            "teaches %s, %s, and says nothing of the others (docs/teachers.md, Several teachers).",
            teacher.component,
            ", ".join(labels_of(teacher.meant)),
            how,
        )


def with_columns(student: LabelSequences, columns: Ints1d) -> LabelSequences:
    """The student given that all labels are among those of some columns."""
    if len(columns) == student.n_labels:
        return student
    labels = [(student.labels or ())[column] for column in columns]
    if isinstance(student, Token):
        return Token(student.scores[:, columns], student.lengths, labels, packing=student.packing)
    return LinearChain(
        student.emissions[:, columns],
        student.transitions[columns][:, columns],
        student.start[columns],
        student.end[columns],
        student.lengths,
        labels,
        packing=student.packing,
    )


def _with_all_columns(parts: Parts, columns: Ints1d, student: LabelSequences) -> Parts:
    """Parts of some columns as parts of all, zero elsewhere."""
    if len(columns) == student.n_labels:
        return parts
    xp = array_module(scores_of(student))
    if not isinstance(parts, ChainMarginals):
        return _spread_columns(parts, columns, student.n_labels)
    pairs = xp.zeros((student.n_labels,) * 2, dtype=parts.pairs.dtype)
    pairs[np.ix_(columns, columns)] = parts.pairs
    return replace(
        parts,
        tokens=_spread_columns(parts.tokens, columns, student.n_labels),
        pairs=pairs,
        starts=_spread_columns(parts.starts, columns, student.n_labels),
        ends=_spread_columns(parts.ends, columns, student.n_labels),
    )


def _spread_columns(values: Any, columns: Ints1d, n_columns: int) -> Any:
    whole = array_module(values).zeros((*values.shape[:-1], n_columns), dtype=values.dtype)
    whole[..., columns] = values
    return whole
