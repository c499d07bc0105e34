"""What the commands take for teachers and tokenizers."""

from collections.abc import Sequence
from pathlib import Path

import spacy
from spacy.language import Language
from spacy.util import is_package, load_model

TEACHER_HELP = "One of several teachers, as NAME=PATH, for instance de=teachers/german"
BY_HELP = "Attribute of a document whose value is the name of its teacher"
ENSEMBLE_HELP = "Every teacher reads every document"
SKIP_HELP = "Leave out documents that are of no teacher"
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
        if not is_package(path) and not (Path(path) / "config.cfg").is_file():
            raise ValueError(
                f"Can't find the teacher '{name}': {path} is no installed package and no folder of "
                "a pipeline."
            )
    return teachers


def load_tokenizer(name: str | None) -> Language | None:
    """The pipeline whose tokenizer is named by a language or by a pipeline, None if none is named.

    Raises ValueError if there is neither.
    """
    if name is None:
        return None
    if is_package(name) or Path(name).is_dir():
        return load_model(name)
    try:
        return spacy.blank(name)
    except ImportError as error:
        raise ValueError(
            f"There is no language and no pipeline '{name}' to tokenise by."
        ) from error
