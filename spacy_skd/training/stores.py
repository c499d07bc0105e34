"""The stores that a corpus reader takes its targets from: which teachers, with which weights and
labels, teach a document."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from spacy.tokens import Doc

from ..distill.arc_records import with_relations
from ..distill.attached import add_target
from ..distill.manifest import MANIFEST, TeacherInfo
from ..distill.store import TargetStore
from ..distill.targets import Target, Teacher
from .documents import Source
from .label_maps import LabelMap, LabelMaps, Labels
from .taught_names import ComponentNames, TaughtNames

Weights: TypeAlias = Sequence[float] | Mapping[str, float] | None

_Found: TypeAlias = dict[str, dict[tuple[TeacherInfo, str], tuple[TargetStore, Target]]]
"""By component of the student, and by teacher and name in its store, a document's targets."""

GOLD = "gold"  # how weights call gold annotation of some labels
N_WORDS = 8  # of a document in an error


class Stores:
    """Targets of one teacher, of several that have divided the documents, or of an ensemble.

    paths: stores, or folders of stores.
    ensemble: whether several teachers may teach one component the same document.
    weights: of the stores in an ensemble, one a path, or by the names of the stores' folders (1 for
        those that are not named). How much of the sum of those that have a document counts.
    label_map, label_map_by_store: see `label_maps.Labels`.
    components: see `taught_names.TaughtNames`. Several components of one teacher that teach one of
        the student's are no ensemble: all of them teach it.
    gold: whether gold annotation is a target beside theirs, with a weight of its own.

    Raises FileNotFoundError or ValueError for what is no store, and ValueError for weights and
    labels that do not fit the stores.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        ensemble: bool = False,
        weights: Weights = None,
        label_map: LabelMap | None = None,
        label_map_by_store: LabelMaps | None = None,
        components: ComponentNames | None = None,
        gold: bool = False,
    ) -> None:
        self.ensemble = ensemble
        self.names = TaughtNames(components)
        self.labels = Labels(label_map, label_map_by_store)
        self.stores = open_stores(store for path in paths for store in stores_in(path))
        self._weights = _weights_of(self.stores, paths, weights, gold=gold)
        self.names.check({name for store in self.stores for name in store.teachers})
        self._relations = self.labels.rename(self.stores)
        _give_learners(self.stores, self.names)

    @property
    def components(self) -> set[str]:
        """The components of the student that are taught."""
        return {learner for store in self.stores for learner in _learners(store)}

    def attach(self, source: Source, doc: Doc, *, required: bool) -> bool:
        """Attach a document's targets, and say whether it has any.

        Raises ValueError if it has none for one of the components, where they are required or where
        a store has its text with other tokens, and if different teachers have read it, unless they
        are an ensemble.
        """
        found: _Found = {}
        for store in self.stores:
            for name, target in (store.get(doc) or {}).items():
                if (columns := self._relations.get((store.path, name))) is not None:
                    target = replace(target, scores=with_relations(target.scores, columns))
                of_component = found.setdefault(target.teacher.component, {})
                of_component.setdefault((store.teacher, name), (store, target))
        for component, by_name in found.items():
            by_teacher = {store.teacher: store for store, _ in by_name.values()}
            if len(by_teacher) > 1 and not self.ensemble:
                raise ValueError(_too_many(component, list(by_teacher.values()), source, doc))
            for store, target in by_name.values():
                add_target(doc, replace(target, weight=self._weights[store.path]))
        self._check_found(found, source, doc, required=required)
        return bool(found)

    def _check_found(
        self,
        found: _Found,
        source: Source,
        doc: Doc,
        *,
        required: bool,
    ) -> None:
        """Raise ValueError if a component gets nothing from any store, where that is required or
        because the text was cut up in another way, and if teachers of an ensemble have cut it up in
        different ways."""
        for component in sorted(self.components):
            teachers = {teacher for teacher, _ in found.get(component, {})}
            without = [
                store
                for store in self.stores
                if component in _learners(store) and store.teacher not in teachers
            ]
            missing = required and not teachers
            alone = self.ensemble or not teachers
            if missing or (alone and any(store.has_text(doc) for store in without)):
                raise ValueError(_explain(without, source, doc, several=len(self.stores) > 1))


def stores_in(path: Path) -> list[Path]:
    """A store, or the stores in a folder that is none itself; what else it holds is left alone."""
    if (path / MANIFEST).exists() or not path.is_dir():
        return [path]
    inner = [folder for folder in sorted(path.iterdir()) if (folder / MANIFEST).exists()]
    return [folder for folder in inner if not folder.name.startswith(".")] or [path]


def open_stores(paths: Iterable[Path]) -> list[TargetStore]:
    """Stores to read from. Those of one teacher share its records, so that targets batch well."""
    stores = [TargetStore(path) for path in paths]
    records: dict[tuple[TeacherInfo, str], Teacher] = {}
    for store in stores:
        store.teachers = {
            name: records.setdefault((store.teacher, name), teacher)
            for name, teacher in store.teachers.items()
        }
    return stores


def _give_learners(stores: Sequence[TargetStore], names: TaughtNames) -> None:
    """Let the records of stores say which component of the student they teach; those of names that
    teach none are left aside. Those that were one record stay one."""
    given: dict[int, Teacher] = {}
    for store in stores:
        teachers = {}
        for name, teacher in store.teachers.items():
            learner = names.learner(name)
            if learner is not None:
                new = given.setdefault(id(teacher), replace(teacher, component=learner))
                teachers[name] = new
        store.teachers = teachers


def _learners(store: TargetStore) -> set[str]:
    """The components of the student that a store teaches."""
    return {teacher.component for teacher in store.teachers.values()}


def check_weight(name: object, weight: float) -> float:
    """A weight of a teacher; ValueError unless it is a number above 0."""
    if not 0 < weight < float("inf"):
        raise ValueError(f"The target_weight of {name} has to be a number above 0, not {weight}.")
    return float(weight)


def _weights_of(
    stores: Sequence[TargetStore], paths: Sequence[Path], weights: Weights, *, gold: bool
) -> dict[Path, float]:
    """The weight of each store."""
    if isinstance(weights, Mapping):
        names = {store.path.name for store in stores}
        if GOLD in weights and gold and GOLD in names:
            raise ValueError(
                f"The weight '{GOLD}' of target_weights is that of gold_labels, but there is a "
                "store of that name, too: give the teacher, and the folder of its store, another."
            )
        if GOLD in weights and not gold and GOLD not in names:
            raise ValueError(
                f"target_weights has a weight of '{GOLD}', that of gold_labels, but there are no "
                "gold_labels. Set these, or leave it out: objectives weigh other annotation by "
                "their teacher_weight."
            )
        unknown = sorted(set(weights) - names - {GOLD})
        if stores and unknown:
            raise ValueError(
                f"target_weights names {', '.join(unknown)}, but the stores are "
                f"{', '.join(sorted(names)) or 'none'}."
            )
        by_path = {store.path: weights.get(store.path.name, 1.0) for store in stores}
    elif weights is not None and paths:
        if len(weights) != len(paths):
            raise ValueError(
                f"There are {len(weights)} target_weights for {len(paths)} targets: give one each, "
                "or weights by the names of the stores' folders."
            )
        by_path = {s: weight for path, weight in zip(paths, weights) for s in stores_in(path)}
    else:
        by_path = {store.path: 1.0 for store in stores}
    return {path: check_weight(path, weight) for path, weight in by_path.items()}


def _too_many(name: str, stores: Sequence[TargetStore], source: Source, doc: Doc) -> str:
    return (
        f"{source} ({_beginning(doc)!r}) has targets of '{name}' from several teachers: "
        f"{_named(stores)}. Set ensemble = true if all of them are to teach it, or leave it out of "
        "the documents of all but one."
    )


def _explain(stores: Sequence[TargetStore], source: Source, doc: Doc, *, several: bool) -> str:
    """Why a document has no targets in any of some stores, and what to do."""
    words = _beginning(doc)
    with_text = [store for store in stores if store.has_text(doc)]
    named = _named(with_text or stores) if several else str(stores[0].path)
    if with_text:
        return (
            f"{source} ({words!r}) is in the store {named} with other tokens. Annotate this file "
            "itself, or let one tokenizer make the documents of teacher and student: the teacher's "
            "tokenizer, or any that `spacy skd annotate --tokenizer` names."
        )
    where = f"the store {named}" if len(stores) == 1 else f"any of the stores {named}"
    made = "which was" if len(stores) == 1 else "which were"
    return (
        f"{source} ({words!r}) is not in {where}, {made} made from other text. "
        f"Run `python -m spacy skd annotate` on {source.path} with the same --output to add it, or "
        "set require_targets = false to train on it without the teacher."
    )


def _named(stores: Sequence[TargetStore]) -> str:
    """Stores and their teachers."""
    return ", ".join(f"{store.path} (teacher {store.teacher})" for store in stores)


def _beginning(doc: Doc) -> str:
    words = " ".join(token.text for token in doc[:N_WORDS])
    return f"{words} …" if len(doc) > N_WORDS else words
