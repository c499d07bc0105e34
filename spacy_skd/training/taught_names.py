"""From which names in the stores a component of the student learns, where that is not its own."""

from collections.abc import Collection, Mapping, Sequence
from typing import TypeAlias

ComponentNames: TypeAlias = Mapping[str, Sequence[str]]
"""By component of the student, the names in the stores that it learns from."""


class TaughtNames:
    """Which component of the student learns from a name in the stores: the one that lists it, or
    the one of that name.

    names: see `ComponentNames`; components that are not there learn from their own name. Raises
    ValueError for a name that two components list, and for a component without names.
    """

    def __init__(self, names: ComponentNames | None = None) -> None:
        self.listed = {component: tuple(of_one) for component, of_one in (names or {}).items()}
        self._learners: dict[str, str] = {}
        for component, of_one in self.listed.items():
            if not of_one or isinstance((names or {})[component], str):
                raise ValueError(
                    f"components of the reader has to list names in the stores for '{component}', "
                    f'for instance {{"{component}": ["{component}", "other"]}}.'
                )
            for name in of_one:
                other = self._learners.setdefault(name, component)
                if other != component:
                    raise ValueError(
                        f"components of the reader lists '{name}' for '{other}' and for "
                        f"'{component}': what a store has of one name teaches one component."
                    )

    def learner(self, name: str) -> str | None:
        """The component that learns from a name in the stores, None if the component of this name
        learns from others."""
        own = None if name in self.listed else name
        return self._learners.get(name, own)

    def sources(self, component: str) -> tuple[str, ...]:
        """The names in the stores that a component learns from, if there are any."""
        own = (component,) if self.learner(component) == component else ()
        return self.listed.get(component, own)

    def check(self, names: Collection[str]) -> None:
        """Raise ValueError for listed names that are not among those in the stores."""
        unknown = sorted(set(self._learners) - set(names))
        if names and unknown:
            raise ValueError(
                f"components of the reader lists {', '.join(unknown)}, but the stores have targets "
                f"of {', '.join(sorted(names))}."
            )
