"""What the commands take for teachers and tokenizers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import spacy
from spacy.language import Language
from spacy.util import is_package, load_model, load_model_from_config
from thinc.api import Config

from ..distill.adapters.beams import set_beams
from ..training.routes import Routes

TEACHER_HELP = "One of several teachers, as NAME=PATH, for instance de=teachers/german"
BY = "lang"
BY_HELP = f"Attribute of a document whose value is the name of its teacher (default: {BY})"
ENSEMBLE_HELP = "Every teacher reads every document"
SKIP_HELP = "Leave out documents that are of no teacher"
BEAM_HELP = "Analyses that the teacher's 'ner' and 'parser' keep (default: as they were saved)"
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
    teachers: Mapping[str, str], by: str | None, *, skip_unknown: bool, ensemble: bool
) -> None:
    """Raise ValueError for options of several teachers that would do nothing."""
    routing = {"--by": by is not None, "--skip-unknown": skip_unknown}
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
    *,
    skip_unknown: bool,
    ensemble: bool,
) -> Sequence[Path | str] | Routes:
    """Files and folders as several teachers read them: an ensemble all of them, others those that
    an attribute of a document says."""
    return paths if ensemble else Routes(teachers, paths, by or BY, skip_unknown=skip_unknown)


def load_teacher(path: str, beam_width: int | None = None) -> Language:
    """A teacher, its transition-based components with a beam of that width if one is given.

    Raises ValueError if it is given and there are none.
    """
    nlp = load_model(path)
    if beam_width is not None:
        set_beams(nlp, beam_width)
    return nlp


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
