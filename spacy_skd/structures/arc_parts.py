"""The parts of arc structures: marginals, indicators and gradients of arcs and their relations."""

from __future__ import annotations

from dataclasses import dataclass

from .base import Floats1d, Floats2d, Ints1d


@dataclass(frozen=True, eq=False)
class RelationParts:
    """Values of the relations of some arcs; all others have none.

    tokens: (P,) dependents, numbers in the whole batch. heads: (P,) head numbers in the dependent's
    sentence, 0 for the root. values: (P, R). The same arc may occur more than once: values add up.
    """

    tokens: Ints1d
    heads: Ints1d
    values: Floats2d


@dataclass(frozen=True, eq=False)
class ArcParts:
    """Values of all arcs of a batch, (Σ n(n+1),) in the layout of `ArcLayout`, and of relations."""

    arcs: Floats1d
    relations: RelationParts | None = None
