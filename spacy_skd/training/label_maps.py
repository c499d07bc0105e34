"""What teachers' labels are to the student: those of all stores, and of some by their names."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from spacy.language import Language

from ..distill.meaning import labels_of, relabelled, relation_columns
from ..distill.store import TargetStore
from ..distill.targets import Teacher
from ..structures.base import Ints1d
from .taught_names import TaughtNames

LabelMap: TypeAlias = Mapping[str, Mapping[str, str | None]]
"""By component, as the stores name it, the student's labels for labels of the teachers, "" or None
for none."""
LabelMaps: TypeAlias = Mapping[str, LabelMap]
"""The same by the names of the stores' folders."""

OF_ALL, BY_STORE = "label_map", "label_map_by_store"  # as the reader's settings are called


class Labels:
    """Gives the teachers of stores the student's labels.

    of_all: of all stores. by_store: of those in folders of some names; of these it goes before what
        is said of all, label by label.
    """

    def __init__(self, of_all: LabelMap | None = None, by_store: LabelMaps | None = None) -> None:
        self.of_all = _without_none(of_all)
        self.by_store = {name: _without_none(names) for name, names in (by_store or {}).items()}

    def rename(self, stores: Sequence[TargetStore]) -> dict[tuple[Path, str], Ints1d]:
        """Give the teachers of stores their labels. Those that were one record stay one, if they
        are renamed alike.

        Returns the new columns of relations by store and component, where stored arcs have to be
        given these. Raises ValueError for labels that no teacher has, and for names of no store.
        """
        self._check(stores)
        renamed: dict[tuple[int, frozenset], Teacher] = {}
        columns = {}
        for store in stores:
            teachers = dict(store.teachers)
            for component, teacher in store.teachers.items():
                names = self._names(store, component)
                if not names:
                    continue
                key = id(teacher), frozenset(names.items())
                new = renamed.setdefault(key, relabelled(teacher, names))
                teachers[component] = new
                moved = relation_columns(teacher, names, new) if teacher.has_arcs else None
                if moved is not None:
                    columns[store.path, component] = moved
            store.teachers = teachers
        return columns

    def check_student(self, nlp: Language, taught: TaughtNames) -> None:
        """Raise ValueError if labels are mapped onto some that a component does not have, as far as
        it has its labels already. taught: which component learns from a name in the stores."""
        for setting, name_in_store, names in self._all():
            name = taught.learner(name_in_store) or name_in_store
            known = getattr(nlp.get_pipe(name), "labels", ()) if name in nlp.component_names else ()
            unknown = sorted(set(names.values()) - {""} - set(known))
            if known and unknown:
                raise ValueError(
                    f"{setting} maps labels of '{name}' onto {', '.join(unknown)}, but the "
                    f"component has only {', '.join(known)}. Map them onto these, or give it the "
                    f"labels in [initialize.components.{name}]."
                )

    def _names(self, store: TargetStore, component: str) -> dict[str, str]:
        """The student's labels for those that the teacher of a store has."""
        own = self.by_store.get(store.path.name, {})
        names = self.of_all.get(component, {}) | own.get(component, {})
        theirs = labels_of(store.teachers[component].labels)
        return {label: names[label] for label in theirs if label in names}

    def _all(self) -> Iterator[tuple[str, str, dict[str, str]]]:
        """Which setting says how labels of which component are called."""
        for component, names in self.of_all.items():
            yield OF_ALL, component, names
        for store, of_store in self.by_store.items():
            for component, names in of_store.items():
                yield f"{BY_STORE} of '{store}'", component, names

    def _check(self, stores: Sequence[TargetStore]) -> None:
        if not stores:
            return  # the same config trains the student from annotation alone
        by_name: dict[str, list[TargetStore]] = {}
        for store in stores:
            by_name.setdefault(store.path.name, []).append(store)
        unknown = sorted(set(self.by_store) - set(by_name))
        if unknown:
            raise ValueError(
                f"{BY_STORE} names {', '.join(unknown)}, but the stores are "
                f"{', '.join(sorted(by_name)) or 'none'}."
            )
        for component, names in self.of_all.items():
            _check_known(OF_ALL, names, component, stores)
        for name, of_store in self.by_store.items():
            for component, names in of_store.items():
                _check_known(f"{BY_STORE} of '{name}'", names, component, by_name[name])


def _check_known(
    setting: str, names: Mapping[str, str], component: str, stores: Sequence[TargetStore]
) -> None:
    """Raise ValueError for a component that is in none of some stores, and for labels that no
    teacher of it has."""
    teachers = [store.teachers[component] for store in stores if component in store.teachers]
    if not teachers:
        existing = sorted({name for store in stores for name in store.teachers})
        raise ValueError(
            f"{setting} renames labels of '{component}', but the stores have targets of "
            f"{', '.join(existing) or 'nothing'}."
        )
    theirs = sorted({label for teacher in teachers for label in labels_of(teacher.labels)})
    unknown = sorted(set(names) - set(theirs))
    if unknown:
        raise ValueError(
            f"{setting} renames {', '.join(unknown)} of '{component}', which no teacher "
            f"knows. Labels of the teachers: {', '.join(theirs) or 'none'}."
        )


def _without_none(names: LabelMap | None) -> dict[str, dict[str, str]]:
    return {
        component: {theirs: ours or "" for theirs, ours in of_component.items()}
        for component, of_component in (names or {}).items()
    }
