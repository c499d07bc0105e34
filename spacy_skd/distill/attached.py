"""Targets on documents: several teachers may have left one each for the same component."""

from collections.abc import Iterable

import numpy as np
from spacy.tokens import Doc

from .targets import Target

USER_DATA_KEY = "spacy_skd.targets"


def set_target(doc: Doc, target: Target) -> None:
    """Attach a target to a document, where the component of the same name will look for it, in
    place of all others that it has for this component."""
    doc.user_data.setdefault(USER_DATA_KEY, {})[target.teacher.component] = [target]


def add_target(doc: Doc, target: Target) -> None:
    """Attach a target beside others of the same component."""
    targets = doc.user_data.setdefault(USER_DATA_KEY, {})
    targets.setdefault(target.teacher.component, []).append(target)


def get_targets(doc: Doc, component: str) -> list[Target]:
    """The targets of a component in the order in which they were attached."""
    return doc.user_data.get(USER_DATA_KEY, {}).get(component, [])


def get_target(doc: Doc, component: str) -> Target | None:
    """The first target of a component, if it has any."""
    return next(iter(get_targets(doc, component)), None)


def all_targets(doc: Doc) -> list[Target]:
    """The targets of all components."""
    attached = doc.user_data.get(USER_DATA_KEY, {})
    return [target for targets in attached.values() for target in targets]


def copy_targets(doc: Doc, other: Doc) -> None:
    """Attach a document's targets to another one of the same tokens."""
    if USER_DATA_KEY in doc.user_data:
        other.user_data[USER_DATA_KEY] = doc.user_data[USER_DATA_KEY]


def slice_targets(doc: Doc, start: int, end: int, piece: Doc) -> None:
    """Attach to a piece of a document the targets of its tokens, start..end-1."""
    for target in all_targets(doc):
        add_target(piece, target.slice(start, end))


def group_by_teacher(targets: Iterable[Target | None]) -> list[tuple[np.ndarray, list[Target]]]:
    """Sentence numbers and targets of each teacher that occurs."""
    groups: dict[int, tuple[list[int], list[Target]]] = {}
    for number, target in enumerate(targets):
        if target is not None:
            numbers, members = groups.setdefault(id(target.teacher), ([], []))
            numbers.append(number)
            members.append(target)
    return [(np.asarray(numbers), members) for numbers, members in groups.values()]
