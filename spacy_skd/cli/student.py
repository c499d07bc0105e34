"""The student of a config, as far as it has to fit its teachers: what is known before they read."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from spacy.cli._util import show_validation_error
from spacy.language import Language
from spacy.util import load_config, load_model_from_config
from thinc.api import Config
from wasabi import msg

from ..distill.offer import Offer, listed
from ..training.documents import find_files, read_annotated
from ..training.taught_names import TaughtNames


class Student(NamedTuple):
    """What a student can be taught.

    learners: its components that can be taught, and the names in a store that each learns from.
    annotated: those of some components for which there is gold annotation.
    """

    learners: dict[str, tuple[str, ...]]
    annotated: Callable[[Iterable[str]], set[str]]

    def choose(
        self, offers: Mapping[str, Offer], names: Sequence[str] | None = None, *, by_all: bool
    ) -> dict[str, list[str]]:
        """The targets that each teacher is to write, by the teachers' names.

        offers: what the teachers can teach. names: of the targets, those that are wanted; None for
            all that the student learns from. by_all: whether each teacher has to teach all that is
            taught at all, because no other one reads its documents.

        Raises ValueError for a name that the student does not learn from or no teacher has, for a
        component that would learn nothing, and for a teacher that would teach nothing or, by_all,
        too little. Warns of components that learn from annotation alone.
        """
        known = {name for sources in self.learners.values() for name in sources}
        offered = {target for offer in offers.values() for target in offer.targets}
        for name in names or ():
            if name not in known:
                raise ValueError(
                    f"No component of the student learns from '{name}' (--component). It has "
                    f"{self._described()}."
                )
            if name not in offered:
                raise ValueError(f"No teacher teaches '{name}' (--component). {_said(offers)}")
        wanted = known.intersection(names or known, offered)
        taught = [name for name, sources in self.learners.items() if wanted.intersection(sources)]
        if not taught:
            raise ValueError(
                "The teacher teaches nothing that the student learns: this has "
                f"{self._described()}. {_said(offers)} Give the student's component the name of "
                "the teacher's, or list the teacher's names in `components` of the training corpus."
            )
        self._check_others([name for name in self.learners if name not in taught], offers)
        chosen = {}
        for teacher, offer in offers.items():
            of_teacher = [target for target in offer.targets if target in wanted]
            missing = [c for c in taught if not set(self.learners[c]).intersection(of_teacher)]
            if not of_teacher:
                raise ValueError(
                    f"The teacher '{teacher}' teaches nothing that the student learns: this has "
                    f"{self._described()}. {_said(offers)} Leave this teacher out, or list its "
                    "names in `components` of the training corpus."
                )
            if by_all and missing:
                raise ValueError(
                    f"The teacher '{teacher}' does not teach '{missing[0]}', which other teachers "
                    f"do. {_said(offers)} Leave it to annotation by naming the others with "
                    "--component, or set require_targets = false in the training corpus."
                )
            chosen[teacher] = offer.choose(of_teacher)
        return chosen

    def _described(self) -> str:
        """The components, and what they learn from if that is something else."""
        return listed(
            [
                f"'{name}'" + (f" (learns from {listed(found)})" if found != (name,) else "")
                for name, found in self.learners.items()
            ]
        )

    def _check_others(self, untaught: Sequence[str], offers: Mapping[str, Offer]) -> None:
        """Raise ValueError if one of the components that are not taught has no annotation either;
        warn of the others."""
        annotated = self.annotated(untaught) if untaught else set()
        for name in untaught:
            if name not in annotated:
                raise ValueError(
                    f"The student's component '{name}' would learn nothing: no document of the "
                    "training corpus is annotated for it, and it gets nothing of a teacher. "
                    f"{_said(offers)} Give it the name of what is to teach it, or remove it from "
                    "the config."
                )
            msg.warn(
                f"The student's component '{name}' learns from annotation alone. {_said(offers)}"
            )


def read_student(path: Path, overrides: Mapping[str, Any], corpus: Mapping[str, Any]) -> Student:
    """The student of a training config.

    corpus: the settings of its training corpus (`spacy-skd.DistillCorpus.v1`).

    Raises ValueError for a pipeline that cannot be made, for one without a component that can be
    taught, and for `components` of the corpus that no component learns from.
    """
    with show_validation_error(path):
        config = load_config(path, overrides=dict(overrides), interpolate=False)
        nlp = load_model_from_config(config, auto_fill=True)
    names = TaughtNames(corpus.get("components"))
    learners = {name: names.sources(name) for name in _learning(nlp)}
    if not learners:
        raise ValueError(
            f"No component of the student can be taught: {path} has {listed(nlp.pipe_names)}. "
            "Those that can are of skd_ner, skd_tagger and skd_parser, and not frozen."
        )
    unknown = sorted(set(names.listed) - set(learners))
    if unknown:
        raise ValueError(
            f"components of the training corpus in {path} names {', '.join(unknown)}, but the "
            f"components that can be taught are {listed(list(learners))}."
        )
    gold = corpus.get("path")
    return Student(learners, lambda of: _annotated(nlp, of, Path(gold) if gold else None))


def training_corpus(config: Config, name: str = "train_corpus") -> dict[str, Any]:
    """The block that [training] names as train_corpus or dev_corpus."""
    default = f"corpora.{name.removesuffix('_corpus')}"
    block: Any = config
    for part in config.get("training", {}).get(name, default).split("."):
        block = block.get(part, {}) if isinstance(block, dict) else {}
    return block


def _learning(nlp: Language) -> list[str]:
    """The components that can learn from targets."""
    frozen = nlp.config.interpolate()["training"]["frozen_components"]
    return [
        name
        for name, component in nlp.pipeline
        if hasattr(component, "objective") and name not in frozen
    ]


def _annotated(nlp: Language, names: Iterable[str], path: Path | None) -> set[str]:
    """Those of some components for which a document is annotated, as far as they can tell."""
    missing = {name for name in names if hasattr(nlp.get_pipe(name), "labels_of")}
    found = set(names) - missing
    for _, doc in read_annotated(find_files([path] if path else [], (".spacy",)), nlp.vocab):
        if not missing:
            break
        told = {name for name in missing if any(nlp.get_pipe(name).labels_of(doc))}  # type: ignore[attr-defined]
        missing -= told
        found |= told
    return found


def _said(offers: Mapping[str, Offer]) -> str:
    """What teachers teach, for a message."""
    if len(offers) == 1:
        (offer,) = offers.values()
        return f"The teacher teaches {listed(offer.targets)}."
    each = "; ".join(f"'{name}': {listed(offer.targets)}" for name, offer in offers.items())
    return f"The teachers teach {each}."
