"""A teacher's labels in the order of the student's: matched by name, never by position."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..structures import (
    Candidates,
    FlatSpans,
    LabelTrees,
    LinearChain,
    Token,
    biluo_labels,
    entity_labels,
)
from . import arcs, spans
from .parts import ARCS, SPANS, AnyTeacher, Arcs, Distribution, Parts, scores_of


def match_labels(teacher: AnyTeacher, student: Distribution) -> Any:
    """The teacher with its columns in the order of the student's labels.

    Between spans and label sequences, whose labels are BILUO labels, entity labels are matched. Of
    arcs, the labels are relations, which need not be all that a student of labels that mean arcs
    has.

    Raises ValueError, naming the labels that only one of them has, if the sets differ.
    """
    if isinstance(student, ARCS):
        return _match_relations(teacher, student)
    if isinstance(teacher, ARCS) or (isinstance(student, LabelTrees) and arcs.are_trees(teacher)):
        return teacher
    if isinstance(teacher, LabelTrees):
        teacher = Token(teacher.scores, teacher.lengths, teacher.labels, packing=teacher.packing)
    wanted = student.labels
    if isinstance(teacher, Candidates):
        teacher = _same_kind_of_outputs(teacher, student)
    elif isinstance(teacher, SPANS) != isinstance(student, SPANS):
        if wanted is None or teacher.labels is None:
            raise ValueError("Between spans and label sequences, both need the names of labels.")
        to_spans = isinstance(student, SPANS)
        wanted = tuple(biluo_labels(wanted) if to_spans else entity_labels(wanted))
    return _reordered(teacher, wanted, student)


def _match_relations(teacher: AnyTeacher, student: Arcs) -> AnyTeacher:
    """A teacher of a student of arcs, with its relations in the order of the student's."""
    if isinstance(teacher, LabelTrees):
        teacher = arcs.as_heads(teacher)
    knows = teacher.n_labels if isinstance(teacher, ARCS) else arcs.are_trees(teacher)
    if not knows or not student.n_labels:
        return teacher
    theirs, ours = teacher.labels, student.labels
    if theirs is None or ours is None:
        if isinstance(teacher, ARCS) and teacher.n_labels != student.n_labels:
            raise _not_as_many(teacher.n_labels, student.n_labels)
        return teacher
    if theirs == ours:
        return teacher
    n_known = arcs.n_known(teacher)
    check_same_labels(theirs[:n_known], ours)
    wanted = (*ours, *theirs[n_known:])
    column = {label: number for number, label in enumerate(theirs)}
    return arcs.in_order(teacher, np.asarray([column[label] for label in wanted]), wanted)


def _not_as_many(n_theirs: int, n_ours: int) -> ValueError:
    return ValueError(
        f"The teacher has {n_theirs} labels and the student {n_ours}; they have to be the same. "
        "Give both structures their labels to see which differ."
    )


def _reordered(
    teacher: AnyTeacher, wanted: Sequence[str] | None, student: Distribution
) -> AnyTeacher:
    """The teacher with the labels that are wanted, in their order."""
    theirs = teacher.labels
    if wanted is None or theirs is None:
        if isinstance(teacher, Candidates):
            return _match_numbers(teacher, student)
        n_theirs, n_ours = (scores_of(structure).shape[-1] for structure in (teacher, student))
        if n_theirs != n_ours:
            raise _not_as_many(n_theirs, n_ours)
        return teacher
    if tuple(wanted) == tuple(theirs):
        return teacher
    check_same_labels(theirs, wanted)
    column = {label: number for number, label in enumerate(theirs)}
    order = np.asarray([column[label] for label in wanted])
    if isinstance(teacher, Candidates):
        if isinstance(student, SPANS):
            return spans.relabelled(teacher, np.argsort(order), wanted)
        return teacher.relabel(np.argsort(order), wanted)
    if isinstance(teacher, LinearChain):
        return LinearChain(
            teacher.emissions[:, order],
            teacher.transitions[order][:, order],
            teacher.start[order],
            teacher.end[order],
            teacher.lengths,
            labels=wanted,
        )
    if isinstance(teacher, FlatSpans):
        scores = teacher.scores[..., order]
        return FlatSpans(scores, teacher.lengths, labels=wanted, outside=teacher.outside)
    kind: Any = type(teacher)
    return kind(teacher.scores[..., order], teacher.lengths, labels=wanted)


def _same_kind_of_outputs(teacher: Candidates, student: Distribution) -> Candidates:
    """Label sequences for a student of label sequences, sets of spans for one of spans."""
    if isinstance(student, SPANS):
        return teacher if teacher.are_sets() else spans.as_spans(teacher)
    return spans.as_sequences(teacher) if teacher.are_sets() else teacher


def in_order_of(student: Distribution, parts: Parts) -> Parts:
    """Parts over `biluo_labels` with their columns in the order of the student's labels."""
    labels = student.labels or ()
    columns = biluo_labels(entity_labels(labels))
    if tuple(columns) == tuple(labels):
        return parts
    check_same_labels(columns, labels)
    return spans.permuted(parts, np.asarray([columns.index(label) for label in labels]))


def _match_numbers(teacher: Candidates, student: Distribution) -> Candidates:
    """Candidates whose labels, or the student's, have no names: their numbers are the student's."""
    n_ours, n_theirs = scores_of(student).shape[-1], teacher.n_labels
    if n_theirs == n_ours or isinstance(student, SPANS):
        return teacher
    if teacher.labels is not None or n_theirs > n_ours:
        raise ValueError(
            f"The candidates have {n_theirs} labels and the student {n_ours}; they have to be the "
            "same. Give both structures their labels to see which differ."
        )
    return teacher.relabel(np.arange(n_theirs), student.labels, n_ours)


def check_known_labels(
    teacher_labels: Iterable[str], student_labels: Iterable[str], component: str = ""
) -> None:
    """Raise ValueError, naming them, if a teacher has labels that the student does not have.

    Labels of the student that a teacher does not know are no fault: it says nothing of them.
    """
    unknown = sorted(set(teacher_labels) - set(student_labels))
    if unknown:
        where = f"of component '{component}' " if component else ""
        raise ValueError(
            f"The labels of teacher and student differ: the student {where}does not have "
            f"{', '.join(unknown)}; it has {', '.join(sorted(student_labels))}. Give it the labels "
            "in [initialize.components], or say in the reader's label_map which of the student's "
            'labels the teacher means (or "" for none).' + _hint(unknown, student_labels)
        )


def alike(labels: Iterable[str], others: Iterable[str]) -> list[tuple[str, str]]:
    """Labels that some of the others equal but for their case, with these."""
    folded = {other.casefold(): other for other in others}
    pairs = ((label, folded.get(label.casefold(), label)) for label in labels)
    return [(label, other) for label, other in pairs if label != other]


def _hint(unknown: Iterable[str], known: Iterable[str]) -> str:
    """A further sentence for an error, of labels that differ in case alone."""
    pairs = alike(unknown, known)
    return "".join(
        f" '{theirs}' and '{ours}' differ in case alone: a label_map of "
        f'{theirs} = "{ours}" makes them one.'
        for theirs, ours in pairs
    )


def check_same_labels(teacher_labels: Any, student_labels: Any, component: str = "") -> None:
    """Raise ValueError, naming the labels that only one side has, unless both have the same."""
    only_teacher = sorted(set(teacher_labels) - set(student_labels))
    only_student = sorted(set(student_labels) - set(teacher_labels))
    if not only_teacher and not only_student:
        return
    where = f"in component '{component}' " if component else ""
    raise ValueError(
        f"The labels of teacher and student {where}differ. Only the teacher has: "
        f"{', '.join(only_teacher) or 'none'}. Only the student has: "
        f"{', '.join(only_student) or 'none'}. Train both on the same labels: give the student the "
        "teacher's in [initialize.components], or train the teacher on data that has them all."
    )
