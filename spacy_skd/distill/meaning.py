"""What a teacher's labels say to a student that has others (docs/math.md §3.4).

Whatever a teacher knows, and however its labels are called, what it says of a token is that the
student's label is one of some: a claim. Labels of the student that the teacher does not know are
missing from what it says, never denied.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..structures import LabelTrees, biluo_labels, entity_labels
from ..structures.base import Bools2d, Ints1d
from ..structures.biluo import OUTSIDE, PREFIXES, is_biluo, split_label
from .arc_annotation import MISSING
from .arcs import UNKNOWN
from .matching import check_known_labels
from .parts import ARCS, SPANS, Distribution
from .targets import Teacher


class Meaning(NamedTuple):
    """How a teacher's label sequences are to be read by a student.

    names: of the teacher's columns; BILUO labels if it knows entities.
    columns: (L_t,) the student's column that each of them means, MISSING where it says nothing.
    allowed: (L_s + 1, L_s) for each column of the student the columns that agree with a claim of
        it; last, at the index MISSING, for no claim: all. Outside of what a teacher of entities
        names, an entity of any label may be that it does not know.
    """

    names: tuple[str, ...]
    columns: Ints1d
    allowed: Bools2d


def knows_all(teacher: Teacher, student: Distribution) -> bool:
    """Whether teacher and student have the same labels, or labels that are not for this module to
    compare; if not, the student has more, or labels of the teacher mean others."""
    if student.labels is None or teacher.has_arcs or isinstance(student, (*ARCS, LabelTrees)):
        return True
    if teacher.means is not None or teacher.is_annotation:
        return False
    theirs = names_of(teacher, student)
    return not set(theirs) < set(columns_of(student))


def columns_of(student: Distribution) -> tuple[str, ...]:
    """A student's labels as those of label sequences; of spans in the order of `biluo_labels`."""
    labels = student.labels or ()
    return tuple(biluo_labels(labels)) if isinstance(student, SPANS) else tuple(labels)


def has_entities(student: Distribution) -> bool:
    """Whether a student's labels are those of entities."""
    return isinstance(student, SPANS) or is_scheme(student.labels or ())


def is_scheme(labels: Sequence[str]) -> bool:
    """Whether these are the BILUO labels of some entity labels, complete."""
    if not labels or not all(map(is_biluo, labels)):
        return False
    return set(labels) == set(biluo_labels(entity_labels(labels)))


def names_of(teacher: Teacher, student: Distribution) -> tuple[str, ...]:
    """A teacher's labels as those of label sequences, as for `columns_of`."""
    return _as_columns(teacher.labels, teacher.labels, student)


def meaning_of(teacher: Teacher, student: Distribution) -> Meaning:
    """How a student of label sequences or of spans reads a teacher.

    Raises ValueError for a teacher with labels that the student does not have.
    """
    names = names_of(teacher, student)
    meant = _as_columns(teacher.labels, teacher.means or teacher.labels, student)
    ours = columns_of(student)
    check_known_labels(filter(None, meant), ours)
    number = {label: column for column, label in enumerate(ours)} | {"": MISSING}
    allowed = np.eye(len(ours) + 1, len(ours), dtype=bool)
    if has_entities(student):
        known = set(meant) - {OUTSIDE}
        allowed[number[OUTSIDE]] = [label not in known for label in ours]
    allowed[MISSING] = True
    return Meaning(names, np.asarray([number[label] for label in meant]), allowed)


def _as_columns(
    labels: Sequence[str], means: Sequence[str], student: Distribution
) -> tuple[str, ...]:
    """The meanings of labels, a column of label sequences each."""
    if not has_entities(student) or is_scheme(labels):
        return tuple(means)
    columns = (f"{prefix}-{label}" if label else OUTSIDE for label in means for prefix in PREFIXES)
    return (OUTSIDE, *columns)


def labels_of(columns: Sequence[str]) -> list[str]:
    """The labels that a teacher of some columns gives to what it finds: entity labels, tags or
    relations."""
    return entity_labels(columns) if is_scheme(columns) else list(columns)


def relabelled(teacher: Teacher, names: Mapping[str, str]) -> Teacher:
    """A teacher whose labels are called, or mean, others.

    names: the student's label for labels of the teacher, "" for none: entities are then no entities
        of the student's, and nothing is known of a token with this tag, or of an arc but that it is
        there. Other labels stay.

    Where no two labels become one and none is dropped, its distribution is as it was. Otherwise
    `Teacher.means` says what they mean. Relations have their new names, each once, and last
    `arcs.UNKNOWN` for those that are dropped: stored arcs have to be given the columns of these
    (`relation_columns`, `arc_records.with_relations`).
    """
    scheme = is_scheme(teacher.labels)

    def name(label: str) -> str:
        if not scheme:
            return names.get(label, label)
        prefix, entity = split_label(label)
        renamed = names.get(entity, entity)
        return f"{prefix}-{renamed}" if renamed else OUTSIDE

    means = tuple(map(name, teacher.labels))
    own = {label for label in labels_of(teacher.labels) if names.get(label, label) == label}
    mapped = frozenset(names.values()) - own - {""}
    if len(set(means)) == len(means) and "" not in means:
        return replace(teacher, labels=means, mapped=mapped)
    if teacher.has_arcs:
        dropped = (UNKNOWN,) if "" in means else ()
        kept = tuple(filter(None, dict.fromkeys(means)))
        return replace(teacher, labels=(*kept, *dropped), mapped=mapped)
    return replace(teacher, means=means, mapped=mapped)


def relation_columns(teacher: Teacher, names: Mapping[str, str], renamed: Teacher) -> Ints1d | None:
    """The column of each of a teacher's relations in what `relabelled` made of it, None if all have
    kept their places."""
    column = {label: number for number, label in enumerate(renamed.labels)}
    columns = np.asarray([column[names.get(label, label)] for label in teacher.labels], dtype=int)
    return None if (columns == np.arange(len(columns))).all() else columns
