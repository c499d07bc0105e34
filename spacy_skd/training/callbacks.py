"""`spacy-skd.strip_distillation.v1`: what is saved does not point at files of this machine, and
says where it comes from."""

import copy
import json
import re
import warnings
from collections.abc import Callable
from typing import Any

from spacy.language import Language

from .corpus import READER
from .local_paths import absolute_paths, without_folder
from .student_meta import student_meta

LOGGER = "spacy-skd.DistillLogger.v1"
START = "spacy-skd.start_from_teacher.v1"
VERSION_CHECK = "spacy-skd.version_check.v1"
TRANSFORMER = "spacy-transformers.TransformerModel."
PLAIN_CORPUS: dict[str, Any] = {"@readers": "spacy.Corpus.v1", "path": None}
VARIABLE = re.compile(r"\$\{([^}:]+)")
KEPT = ("max_length", "limit", "gold_preproc", "augmenter")


def make_strip_distillation(
    data: str | list[str | dict[str, str]] | None = None,
    license: str | None = None,
    notes: str | None = None,
) -> Callable[[Language], Language]:
    """Construct a callback for `[training.before_to_disk]`; see `strip_distillation`.

    data: what the student was trained on, for "sources" of meta.json: a name, or a list of names
        and of blocks with "name", "url", "author" and "license". Of an absolute path, the file's
        name is taken.
    license: the student's licence, for "license" of meta.json.
    notes: any other text, for "notes" of meta.json and the README of the package.
    """

    def before_to_disk(nlp: Language) -> Language:
        stripped = strip_distillation(nlp)
        stripped.meta = student_meta(nlp, data=data, license=license, notes=notes)
        return stripped

    return before_to_disk


def strip_distillation(nlp: Language) -> Language:
    """The same pipeline with a config without paths of corpora, store of targets, teacher and log.

    The paths in [paths] become null, except those that components need to be loaded; so does every
    absolute path outside [nlp] and [components]. Corpora that read targets become
    `spacy.Corpus.v1`. Of a pretrained transformer's folder, which is not needed any more, the name
    is left. `spacy-skd.version_check.v1` is set as [nlp.after_creation] where there is no other.
    Warns of a path of this machine that is left in a component's settings.

    The pipeline that is given keeps its config; the one returned shares all components with it, and
    is meant to be saved and forgotten.
    """
    stripped = copy.copy(nlp)
    config = nlp.config.copy()
    stripped.config = config
    _strip_transformers(nlp, config)
    needed = _variables_of(config, json.dumps([config["nlp"], config["components"]]))
    paths = config.setdefault("paths", {})
    for name in paths:
        if not _is_in(f"paths.{name}", needed):
            paths[name] = None
    for name, corpus in config.get("corpora", {}).items():
        if isinstance(corpus, dict):
            _strip_corpus(name, corpus, paths)
    logger = config["training"].get("logger", {})
    if logger.get("@loggers") == LOGGER:
        logger["path"] = None
    start = config.get("initialize", {}).get("before_init") or {}
    if start.get("@callbacks") == START:
        start["teacher"] = None
    for block, key, place in absolute_paths(config):
        if place.startswith(("nlp.", "components.")) or _is_in(place, needed):
            _warn_of_path(place, block[key])
        else:
            block[key] = None
    if config["nlp"].get("after_creation") is None:
        config["nlp"]["after_creation"] = {"@callbacks": VERSION_CHECK}
    return stripped


def _variables_of(config: dict[str, Any], text: str) -> set[str]:
    """The settings that a part of the config refers to, by themselves or through others."""
    found: set[str] = set()
    waiting = set(VARIABLE.findall(text))
    while waiting:
        place = waiting.pop()
        found.add(place)
        value: Any = config
        for key in place.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        waiting |= set(VARIABLE.findall(json.dumps(value, default=str))) - found
    return found


def _is_in(place: str, places: set[str]) -> bool:
    """Whether a setting is among some, by itself or with its block."""
    return any(place == other or place.startswith(f"{other}.") for other in places)


def _strip_corpus(name: str, corpus: dict[str, Any], paths: dict[str, Any]) -> None:
    """Let a corpus read from [paths], and by spaCy's own reader if it was read by ours."""
    path = corpus.get("path")
    if path is not None and not str(path).startswith("${"):
        paths.setdefault(name, None)
        path = f"${{paths.{name}}}"
    if corpus.get("@readers") == READER:
        kept = {name: value for name, value in corpus.items() if name in KEPT}
        corpus.clear()
        corpus.update(**PLAIN_CORPUS, **kept)
    if path is not None:
        corpus["path"] = path


def _strip_transformers(nlp: Language, config: dict[str, Any]) -> None:
    """Forget the folders that transformers were started from, in the components too: what is saved
    of them is whole.

    A name in the component's own block cannot be changed here (spaCy writes what the component was
    made from), only a variable of another block, as in the configs of this package.
    """
    for name, block in config["components"].items():
        setting: Any = block.get("model", {})
        if not isinstance(setting, dict):  # a variable for the whole block
            continue
        if not str(setting.get("@architectures", "")).startswith(TRANSFORMER):
            continue
        while isinstance(setting, dict):
            setting = setting.get("name")
        section, _, key = str(setting).removeprefix("${").removesuffix("}").rpartition(".")
        value = config.get(section, {}).get(key) if str(setting).startswith("${") else None
        if value is not None:
            config[section][key] = without_folder(value)
        model = nlp.get_pipe(name).model  # type: ignore[attr-defined]
        if model.attrs["has_transformer"]:  # the name will not be read again
            model.attrs["name"] = without_folder(model.attrs["name"])
            settings = model.transformer.config
            settings._name_or_path = without_folder(settings._name_or_path)


def _warn_of_path(place: str, value: Any) -> None:
    warnings.warn(
        f"The student's setting {place} = {value!r} is a path of this machine. It is saved with "
        "the config, because a component is made from it: where there is no such file, the student "
        "may not load.",
        stacklevel=3,
    )
