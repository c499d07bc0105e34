"""What a pipeline can teach, by names, without the pipeline itself."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple


class Offer(NamedTuple):
    """What can be learnt from a pipeline.

    components: the names of all its components, in its order.
    by_component: of those that can teach, the names of what they teach (`Reader.targets`).
    refusals: why the others cannot, "it has no labels".
    on_request: of the names that components teach, those that are chosen by name alone.
    """

    components: Sequence[str]
    by_component: Mapping[str, Sequence[str]]
    refusals: Mapping[str, str]
    on_request: Collection[str] = ()

    @property
    def targets(self) -> list[str]:
        """The names of all that is taught, in the order of the pipeline."""
        return [target for targets in self.by_component.values() for target in targets]

    def targets_of(self, name: str) -> list[str]:
        """The target of a name, or what the component of a name teaches unasked."""
        if name in self.targets:
            return [name]
        return [t for t in self.by_component.get(name, ()) if t not in self.on_request]

    def choose(self, names: Sequence[str] | None = None) -> list[str]:
        """The targets of some names (`targets_of`), or all that are taught unasked, in the order of
        the pipeline.

        Raises ValueError for a name that is not in the pipeline or cannot teach, if nothing can,
        and if two components teach by the same name.
        """
        for name in names or ():
            self._check_known(name)
        if not self.by_component:
            reasons = "; ".join(f"'{name}': {reason}" for name, reason in self.refusals.items())
            raise ValueError(
                f"No component of the teacher can teach. Its components: {listed(self.components)}"
                + (f" ({reasons})." if reasons else ".")
            )
        wanted = {target for name in names or () for target in self.targets_of(name)}
        unasked = set(self.targets).difference(self.on_request)
        chosen = [target for target in self.targets if target in (wanted if names else unasked)]
        for target in chosen:
            self._check_single(target)
        return chosen

    def _check_known(self, name: str) -> None:
        able = listed(list(self.by_component))
        if name in self.refusals:
            raise ValueError(
                f"The component '{name}' of the teacher cannot teach: {self.refusals[name]}. "
                f"Components that can: {able}."
            )
        if not self.targets_of(name):
            raise ValueError(
                f"The teacher has no component '{name}'. Its components: {listed(self.components)}."
            )

    def _check_single(self, target: str) -> None:
        """Raise ValueError if the targets of two components would be one in a store."""
        owners = [name for name, targets in self.by_component.items() if target in targets]
        if len(owners) > 1:
            raise ValueError(
                f"The components {' and '.join(map(repr, owners))} of the teacher both teach "
                f"'{target}', and a store holds one target of a name. Give one of them another "
                f"name (nlp.rename_pipe('{target}', …)) and save the teacher, or name components "
                "that do not clash with --component."
            )


def listed(names: Sequence[str]) -> str:
    """Names for a message."""
    return ", ".join(names) or "none"
