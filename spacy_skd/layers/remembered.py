"""What layers make of their weights to predict with, kept from one prediction to the next."""

from __future__ import annotations

from collections.abc import Callable
from operator import is_
from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")

N_PROBES = 31
"""So many numbers of an array are compared: not a power of two, so that they are of different rows
and columns."""


class Remembered(Generic[T]):
    """What one layer remembers; an attribute of its model that is neither saved nor copied.

    It is made anew when other arrays take the place of the weights (an update, averages, weights
    that are loaded). Between a pass that trains and its update there is nothing to remember. So
    weights may not be changed in place in other ways than by training.
    """

    def __init__(self) -> None:
        self.kept: _Kept | None = None
        self.trained: tuple[Any, ...] = ()

    def __deepcopy__(self, memo: dict[int, Any]) -> Remembered[T]:
        return type(self)()

    def __reduce__(self) -> tuple[type[Remembered[T]], tuple[()]]:
        return type(self), ()

    def of(self, weights: tuple[Any, ...], make: Callable[..., T]) -> T | None:
        """`make(*weights)`; None if the weights wait for an update."""
        if any(one is other for one in weights for other in self.trained):
            return None
        kept = self.kept  # one object, for threads
        if kept is None or not kept.is_of(weights):
            self.kept = kept = _Kept(weights, _probe(weights[0]).copy(), make(*weights))
        return kept.made

    def await_update(self, *weights: Any) -> None:
        """The weights will be updated, and their averages with them: in place, perhaps."""
        self.trained = weights
        self.kept = None


class _Kept(NamedTuple):
    weights: tuple[Any, ...]
    probe: Any
    made: Any

    def is_of(self, weights: tuple[Any, ...]) -> bool:
        """The same arrays, and the first with the same content, as far as some of it tells: an
        optimiser changes averages in place."""
        is_same = all(map(is_, weights, self.weights))
        return is_same and bool((_probe(weights[0]) == self.probe).all())


def _probe(array: Any) -> Any:
    return array.reshape(-1)[:: array.size // N_PROBES | 1]
