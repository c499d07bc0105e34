"""What layers make of their weights to predict with, kept from one prediction to the next."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from operator import is_
from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")

N_PROBES = 31
"""About so many numbers of an array are compared, at odd distances: of many rows and columns."""


class Remembered(Generic[T]):
    """What one layer remembers of numpy arrays; an attribute of its model that is neither saved nor
    copied.

    It is made anew when other arrays take the place of the weights (an update, averages, weights
    that are loaded). Between a pass that trains and its update there is nothing to remember. So
    weights may not be changed in place in other ways than by training; `Model.set_param` is right.
    """

    def __init__(self) -> None:
        self.kept: _Kept | None = None
        self.trained: list[tuple[weakref.ref[Any], bytes]] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> Remembered[T]:
        return type(self)()

    def __reduce__(self) -> tuple[type[Remembered[T]], tuple[()]]:
        return type(self), ()

    def of(self, weights: tuple[Any, ...], make: Callable[..., T]) -> T | None:
        """`make(*weights)`; None if the weights wait for an update."""
        if self.trained and self._wait_for_update(weights):
            return None
        kept = self.kept  # one object, for threads
        if kept is None or not kept.is_of(weights):
            self.kept = kept = _Kept(weights, _contents(weights), make(*weights))
        return kept.made

    def await_update(self, *weights: Any) -> None:
        """The weights will be updated, and their averages with them: in place, perhaps."""
        self.trained = list(zip(map(weakref.ref, weights), _contents(weights)))
        self.kept = None

    def _wait_for_update(self, weights: tuple[Any, ...]) -> bool:
        return any(
            array is waiting() and _content(array) == content
            for waiting, content in self.trained
            for array in weights
        )


class _Kept(NamedTuple):
    weights: tuple[Any, ...]
    contents: list[bytes]
    made: Any

    def is_of(self, weights: tuple[Any, ...]) -> bool:
        """The same arrays with the same content, as far as some of it tells: an optimiser changes
        averages in place."""
        return all(map(is_, weights, self.weights)) and _contents(weights) == self.contents


def _contents(arrays: tuple[Any, ...]) -> list[bytes]:
    return [_content(array) for array in arrays]


def _content(array: Any) -> bytes:
    return array.reshape(-1)[:: array.size // N_PROBES | 1].tobytes()
