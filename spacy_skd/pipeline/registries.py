"""Registries of functions that are asked for all they have at each document, in less time.

srsly asks two of catalogue's each time that it packs or unpacks anything: for a document that
another process sends, several times, and for longer than all the rest takes.
"""

from collections.abc import Callable
from typing import Any

from catalogue import REGISTRY, Registry


def quicken(registry: Registry) -> None:
    """Spare a registry the search for its functions, for as long as it has the same ones.

    It would go through all entry points of the environment, and all functions of all registries.
    Registries that have functions from other packages stay as they are.
    """
    if registry.entry_points and registry.get_entry_points():
        return
    registry.entry_points = False
    if not isinstance(registry.get_all, _Remembered):
        registry.get_all = _Remembered(registry.get_all, registry.namespace)


class _Remembered:
    """A registry's `get_all`, which looks again where a function of the registry was replaced, or
    there are more or fewer functions in all registries, or another one came last."""

    def __init__(self, get_all: Callable[[], dict[str, Any]], namespace: Any) -> None:
        self.get_all = get_all
        self.namespace = tuple(namespace)
        self.known: tuple[tuple[int, Any], dict[str, Any]] = _state(), get_all()

    def __call__(self) -> dict[str, Any]:
        state, functions = self.known  # together: another thread may replace them
        if state != _state() or any(
            REGISTRY.get((*self.namespace, name)) is not func for name, func in functions.items()
        ):
            state, functions = self.known = _state(), self.get_all()
        return functions.copy()


def _state() -> tuple[int, Any]:
    """Of all registries together: what is registered anew comes last."""
    return len(REGISTRY), next(reversed(REGISTRY), None)
