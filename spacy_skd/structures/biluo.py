"""The BILUO scheme: entities as one label a token, and which labels may follow which.

Labels are "O" and, for each entity label X, B-X (begin), I-X (inside), L-X (last) and U-X (unit).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from .base import Bools1d, Bools2d, Floats1d, Floats2d, Ints1d

OUTSIDE = "O"
PREFIXES = ("B", "I", "L", "U")


def biluo_labels(entity_labels: Iterable[str]) -> list[str]:
    """The labels of the scheme, "O" first, then B-, I-, L- and U- for each entity label in turn."""
    return [OUTSIDE, *(f"{prefix}-{label}" for label in entity_labels for prefix in PREFIXES)]


def entity_labels(labels: Iterable[str]) -> list[str]:
    """The entity labels of BILUO labels, in order of appearance: the inverse of `biluo_labels`."""
    return list(dict.fromkeys(label for _, label in map(split_label, labels) if label))


def split_label(label: str) -> tuple[str, str]:
    """Prefix and entity label: "B-PER" is ("B", "PER") and "O" is ("O", "").

    Raises ValueError for a name that is not of the scheme.
    """
    prefix, dash, entity = label.partition("-")
    if label == OUTSIDE or (prefix in PREFIXES and dash and entity):
        return prefix, entity
    raise ValueError(_not_biluo([label]))


def legal_moves(labels: Sequence[str]) -> tuple[Bools2d, Bools1d, Bools1d]:
    """Which transitions (L, L), [from, to], starts (L,) and ends (L,) are legal, as masks.

    Raises ValueError naming the labels that are not of the scheme.
    """
    wrong = [label for label in labels if not is_biluo(label)]
    if wrong:
        raise ValueError(_not_biluo(wrong))
    split = [split_label(label) for label in labels]
    prefixes = np.array([prefix for prefix, _ in split])
    entities = np.array([entity for _, entity in split])
    closes = np.isin(prefixes, ["O", "L", "U"])
    opens = np.isin(prefixes, ["O", "B", "U"])
    same = entities[:, None] == entities
    inside = ~closes[:, None] & ~opens & same
    return (closes[:, None] & opens) | inside, opens, closes


@lru_cache(maxsize=64)
def legal_potentials(labels: tuple[str, ...]) -> tuple[Floats2d, Floats1d, Floats1d]:
    """`legal_moves` as log-potentials in float32, to add to others. Not to be written to."""
    transitions, start, end = map(as_potentials, legal_moves(labels))
    return transitions, start, end


def is_biluo(label: str) -> bool:
    """Whether a label name is of the scheme."""
    try:
        split_label(label)
    except ValueError:
        return False
    return True


def as_potentials(legal: Any, dtype: Any = np.float32) -> Floats2d:
    """A mask of any shape as log-potentials: 0 where it is true, -inf where it is not."""
    return np.where(legal, 0.0, -np.inf).astype(dtype)


def spans_of(indices: Sequence[int] | Ints1d, labels: Sequence[str]) -> list[tuple[int, int, str]]:
    """The entities of a legal label sequence as (first token, last token, entity label).

    indices: (n,) into `labels`. Raises ValueError for a sequence that is not legal.
    """
    spans = []
    begun: tuple[int, str] | None = None
    names = [labels[index] for index in indices]
    for token, name in enumerate(names):
        prefix, entity = split_label(name)
        continues = prefix in ("I", "L")
        if continues != (begun is not None) or (begun and begun[1] != entity):
            raise ValueError(f"{name} at token {token} is not legal in the labels {names}")
        if prefix == "U":
            spans.append((token, token, entity))
        elif prefix == "B":
            begun = (token, entity)
        elif prefix == "L" and begun:
            spans.append((begun[0], token, entity))
            begun = None
    if begun:
        raise ValueError(f"The entity begun at token {begun[0]} has no end in the labels {names}")
    return spans


def indices_of(spans: Iterable[tuple[int, int, str]], length: int, labels: Sequence[str]) -> Ints1d:
    """Entities (first token, last token, entity label) as a label sequence, (length,).

    The sequence is of indices into `labels`. Raises ValueError for spans that overlap or stick
    out, and for an entity label that has no labels.
    """
    columns = {label: column for column, label in enumerate(labels)}
    names = [OUTSIDE] * length
    for first, last, entity in spans:
        if not 0 <= first <= last < length:
            raise ValueError(f"The span {(first, last, entity)} is not within {length} tokens")
        if any(name != OUTSIDE for name in names[first : last + 1]):
            raise ValueError(f"The span {(first, last, entity)} overlaps with another one")
        if first == last:
            names[first] = f"U-{entity}"
        else:
            inner = [f"I-{entity}"] * (last - first - 1)
            names[first : last + 1] = [f"B-{entity}", *inner, f"L-{entity}"]
    unknown = sorted(set(names) - set(columns))
    if unknown:
        raise ValueError(f"There are no labels {', '.join(unknown)} among {', '.join(labels)}")
    return np.array([columns[name] for name in names], dtype=np.int64)


def _not_biluo(labels: Sequence[str]) -> str:
    return (
        f"Not labels of the BILUO scheme: {', '.join(map(repr, labels))}. They should be 'O' or "
        f"one of B-, I-, L- and U- before an entity label"
    )
