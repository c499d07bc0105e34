"""What a teacher leaves behind for a sentence: its potentials, small enough to store.

A teacher component has one `Teacher` record (its labels, its transition table) and one `Target` a
document (emissions in float16). Together they give the teacher's distribution back, at any
temperature, without asking the teacher again.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from spacy.tokens import Doc

from ..structures import LinearChain, Structure, Token
from ..structures.base import array_module, to_host
from ..structures.packing import Packing
from .parts import LabelSequences, scores_of

USER_DATA_KEY = "spacy_skd.targets"
LOWEST = -60_000.0  # the smallest potential that float16 keeps finite, with some room


@dataclass(frozen=True, eq=False)
class Teacher:
    """One component of a teacher pipeline, as far as its targets are concerned.

    component: name of the component whose distributions were stored.
    kind: kind of structure, "token" or "chain".
    labels: label names in the order of the columns.
    tables: arrays that all documents share; of a chain "transitions" (L, L), "start", "end" (L,).
    """

    component: str
    kind: str
    labels: tuple[str, ...]
    tables: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Target:
    """The teacher's scores for one document: (n, L) float16, each row relative to its maximum.

    kept: what was computed from them and will be wanted again, by what it is.
    """

    teacher: Teacher
    scores: np.ndarray
    kept: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.scores)

    def slice(self, start: int, end: int) -> "Target":
        """The target of tokens start..end-1."""
        return Target(self.teacher, self.scores[start:end])


def describe(structure: Structure, component: str) -> Teacher:
    """The record of a teacher component, read from one batch of its distributions."""
    labels = structure.labels
    if labels is None:
        raise ValueError(f"The teacher component '{component}' gives distributions without labels.")
    if isinstance(structure, LinearChain):
        tables = {
            name: to_host(getattr(structure, name)).astype("float32")
            for name in ("transitions", "start", "end")
        }
        return Teacher(component, "chain", tuple(labels), tables)
    if isinstance(structure, Token):
        return Teacher(component, "token", tuple(labels))
    raise ValueError(
        f"The teacher component '{component}' gives {type(structure).__name__} distributions, "
        "which cannot be stored; a token or chain model can."
    )


def stored_scores(structure: LabelSequences) -> list[np.ndarray]:
    """Each sentence's scores as they are stored: (n, L) float16, row maximum 0."""
    scores = to_host(scores_of(structure))
    if not scores.size:
        return [scores.astype("float16") for _ in structure.lengths]
    relative = np.maximum(scores - scores.max(axis=1, keepdims=True), LOWEST).astype("float16")
    return np.split(relative, np.cumsum(structure.lengths)[:-1])


def collate(
    targets: Sequence[Target], like: np.ndarray, packing: Packing | None = None
) -> LabelSequences:
    """The distributions of several targets of one teacher.

    like: an array of the wanted kind (numpy or cupy) and dtype.
    packing: layout of another structure over the same sentences, to share it.
    """
    teacher = targets[0].teacher
    xp = array_module(like)
    scores = xp.asarray(np.concatenate([target.scores for target in targets]), dtype=like.dtype)
    lengths = np.asarray([len(target) for target in targets], dtype="int32")
    if teacher.kind == "token":
        return Token(scores, lengths, labels=teacher.labels, packing=packing)
    tables = {name: xp.asarray(table, dtype=like.dtype) for name, table in teacher.tables.items()}
    return LinearChain(scores, **tables, lengths=lengths, labels=teacher.labels, packing=packing)


def set_target(doc: Doc, target: Target) -> None:
    """Attach a target to a document, where the component of the same name will look for it."""
    doc.user_data.setdefault(USER_DATA_KEY, {})[target.teacher.component] = target


def get_target(doc: Doc, component: str) -> Target | None:
    """The target of a component that `set_target` attached, if any."""
    return doc.user_data.get(USER_DATA_KEY, {}).get(component)


def group_by_teacher(targets: Iterable[Target | None]) -> list[tuple[np.ndarray, list[Target]]]:
    """Sentence numbers and targets of each teacher that occurs."""
    groups: dict[int, tuple[list[int], list[Target]]] = {}
    for number, target in enumerate(targets):
        if target is not None:
            numbers, members = groups.setdefault(id(target.teacher), ([], []))
            numbers.append(number)
            members.append(target)
    return [(np.asarray(numbers), members) for numbers, members in groups.values()]
