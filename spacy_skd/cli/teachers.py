"""What the commands take for teachers and tokenizers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import spacy
import srsly
from spacy.language import Language
from spacy.util import is_package, load_model, load_model_from_config
from thinc.api import Config

from ..distill.adapters.annotations import tell_labels
from ..distill.adapters.beams import set_beams
from ..training.routes import Routes, Shared

TEACHER_HELP = "One of several teachers, as NAME=PATH, for instance de=teachers/german"
BY = "lang"
BY_HELP = f"Attribute of a document whose value is the name of its teacher (default: {BY})"
ENSEMBLE_HELP = "Every teacher reads every document"
SKIP_HELP = "Leave out documents that are of no teacher"
BEAM_HELP = "Analyses that the teacher's 'ner' and 'parser' keep (default: as they were saved)"
SHARED_HELP = (
    "Who reads a text that is in the documents of two teachers: both, the first one's teacher, or "
    "none (skip)"
)
LABELS_HELP = (
    "Labels of a component that sets annotation and does not tell them, as COMPONENT=LABEL,LABEL "
    "or COMPONENT=FILE.json"
)
TOKENIZER_HELP = "Language or pipeline that tokenises raw text (default: the teacher's own)"


def named_teachers(options: Sequence[str]) -> dict[str, str]:
    """Teachers by name, from options NAME=PATH.

    Raises ValueError for what has another form, for a name that is no name of a folder or is given
    twice, and for a path where there is no pipeline.
    """
    teachers: dict[str, str] = {}
    for option in options:
        name, equals, path = option.partition("=")
        if not equals or not path or not name or Path(name).name != name or name == "..":
            raise ValueError(
                f"A teacher is given as NAME=PATH, for instance de=teachers/german, not "
                f"'{option}'. The name is that of a folder for its targets."
            )
        if name in teachers:
            raise ValueError(f"There are two teachers of the name '{name}': give each its own.")
        teachers[name] = path
    for name, path in teachers.items():
        if not _is_pipeline(path):
            raise ValueError(
                f"Can't find the teacher '{name}': {path} is no installed package and no folder of "
                "a pipeline."
            )
    return teachers


def check_options(
    teachers: Mapping[str, str],
    by: str | None,
    shared: Shared | None,
    *,
    skip_unknown: bool,
    ensemble: bool,
) -> None:
    """Raise ValueError for options of several teachers that would do nothing."""
    routing = {
        "--by": by is not None,
        "--skip-unknown": skip_unknown,
        "--shared": shared is not None,
    }
    for option, given in {"--ensemble": ensemble, **routing}.items():
        if given and not teachers:
            raise ValueError(
                f"{option} is for several teachers: name each with --teacher NAME=PATH."
            )
    for option, given in routing.items():
        if given and ensemble:
            raise ValueError(
                f"{option} divides documents among teachers, and with --ensemble every teacher "
                "reads all of them: leave out one of the two."
            )


def divided(
    teachers: Mapping[str, str],
    paths: Sequence[Path | str],
    by: str | None,
    shared: Shared | None,
    *,
    skip_unknown: bool,
    ensemble: bool,
) -> Sequence[Path | str] | Routes:
    """Files and folders as several teachers read them: an ensemble all of them, others those that
    an attribute of a document says."""
    if ensemble:
        return paths
    shared = shared or Shared.both
    return Routes(teachers, paths, by or BY, skip_unknown=skip_unknown, shared=shared)


def named_labels(options: Sequence[str]) -> dict[str, list[str]]:
    """Labels by component, from options COMPONENT=LABEL,LABEL or COMPONENT=FILE.json, of which one
    component may have several.

    Raises ValueError for what has another form and for a file that is no list of labels.
    """
    found: dict[str, list[str]] = {}
    for option in options:
        name, _, given = option.partition("=")
        labels: object = [label.strip() for label in given.split(",")]
        if given.endswith(".json"):
            labels = srsly.read_json(given)
        if not name or not isinstance(labels, list) or not all(map(_is_label, labels)):
            raise ValueError(
                "Labels are given as COMPONENT=LABEL,LABEL or COMPONENT=FILE.json, a file with a "
                f"list of labels, not as '{option}'."
            )
        found.setdefault(name, []).extend(labels)
    return found


def _is_label(label: object) -> bool:
    return isinstance(label, str) and bool(label)


def load_teacher(
    path: str, beam_width: int | None = None, labels: Mapping[str, Sequence[str]] | None = None
) -> Language:
    """A teacher, its transition-based components with a beam of that width if one is given.

    labels: of components that do not tell them (`tell_labels`).

    Raises ValueError if a beam is given and there are no such components.
    """
    nlp = load_model(path)
    if beam_width is not None:
        set_beams(nlp, beam_width)
    tell_labels(nlp, labels or {})
    return nlp


def check_labelled(labels: Mapping[str, Sequence[str]], components: Sequence[str]) -> None:
    """Raise ValueError for labels of components that no teacher has."""
    unknown = sorted(set(labels) - set(components))
    if unknown:
        raise ValueError(
            f"--labels names {', '.join(unknown)}, but the components of the teacher are "
            f"{', '.join(components) or 'none'}."
        )


def load_tokenizer(name: str | None) -> Language | None:
    """The pipeline whose tokenizer is named by a language or by a pipeline, None if none is named.

    Raises ValueError if there is neither.
    """
    if name is None:
        return None
    if _is_pipeline(name):
        return load_model(name)
    try:
        return spacy.blank(name)
    except ImportError as error:
        raise ValueError(
            f"There is no language and no pipeline '{name}' to tokenise by."
        ) from error


def tokenizer_of(config: Config) -> Language:
    """A pipeline without components that tokenises as the one of a config will.

    It is what [nlp] says; what [initialize] changes later is not known here. Raises ValueError for
    a config without a language.
    """
    block = {"lang": None, **config.get("nlp", {}), "pipeline": [], "disabled": []}
    block.pop("after_pipeline_creation", None)  # it may want the components
    return load_model_from_config(Config({"nlp": block}), auto_fill=True)


def _is_pipeline(name: str) -> bool:
    """Whether there is an installed pipeline of this name, or a folder of one."""
    return is_package(name) or (Path(name) / "config.cfg").is_file()
