"""What a saved student says of itself in its meta.json: who taught it, on what, under which
licence, and which version of this package it needs."""

import logging
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

from spacy.language import Language
from spacy.util import dot_to_object
from thinc.api import ConfigValidationError

from .. import __version__
from ..distill.manifest import Manifest, TeacherInfo
from .local_paths import without_folder
from .stores import stores_in
from .version_check import OURS, requirement

LOGGER = logging.getLogger("spacy")  # what `spacy train` shows
Source: TypeAlias = str | dict[str, str]


def student_meta(
    nlp: Language,
    *,
    data: str | Sequence[Source] | None = None,
    license: str | None = None,
    notes: str | None = None,
) -> dict[str, Any]:
    """The meta of a pipeline that is being trained, with what its config tells of the training.

    data, license, notes: see `callbacks.make_strip_distillation`; what is None or empty stays as it
        was.

    Of the training corpus it says, under "distillation": "teachers" (name, version and hash, as the
    manifests of the stores say), and the names of the files of "gold" and "raw" documents. A
    pipeline whose config names no training corpus keeps what its meta says.
    """
    meta = deepcopy(nlp.meta)
    others = [entry for entry in meta.get("requirements", []) if not OURS.match(entry)]
    meta["requirements"] = [*others, requirement()]
    corpus = _training_corpus(nlp)
    teachers = _teachers(_listed(corpus.get("targets")))
    files = {
        key: [Path(path).name for path in _listed(corpus.get(setting))]
        for key, setting in (("gold", "path"), ("raw", "raw"))
    }
    if teachers or any(files.values()):
        meta["distillation"] = {"teachers": [asdict(teacher) for teacher in teachers], **files}
    if data:
        entries = [data] if isinstance(data, str) else data
        meta["sources"] = [
            {"name": without_folder(entry)} if isinstance(entry, str) else dict(entry)
            for entry in entries
        ]
    if license:
        meta["license"] = license
    taught = _taught_by(teachers)
    if notes or taught:
        meta["notes"] = "\n\n".join(text for text in (notes, taught) if text)
    return meta


def _training_corpus(nlp: Language) -> dict[str, Any]:
    """The block that [training] names as its train_corpus; empty if there is none."""
    try:
        config = nlp.config.interpolate()
        corpus = dot_to_object(config, config["training"]["train_corpus"])
    except (KeyError, ConfigValidationError):  # it is no config to train from
        return {}
    return corpus if isinstance(corpus, dict) else {}


def _teachers(paths: Sequence[str]) -> list[TeacherInfo]:
    """The teachers of stores. One that cannot be read is left out with a warning: a pipeline is
    saved after an error too, and must not be lost for its meta."""
    teachers = []
    for path in paths:
        for store in stores_in(Path(path)):
            try:
                teachers.append(Manifest.read(store).teacher)
            except (OSError, ValueError) as error:
                LOGGER.warning("The student's meta.json lacks a teacher. %s", error)
    return list(dict.fromkeys(teachers))


def _taught_by(teachers: Sequence[TeacherInfo]) -> str:
    if not teachers:
        return ""
    named = ", ".join(map(str, teachers))
    return f"Distilled from {named} with spacy-skd {__version__}."


def _listed(setting: Any) -> list[str]:
    """A path of a config, or a list of paths, or none, as a list."""
    entries = setting if isinstance(setting, list) else [setting]
    return [str(entry) for entry in entries if entry]
