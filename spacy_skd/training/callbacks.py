"""`spacy-skd.strip_distillation.v1`: what is saved does not point at files of this machine."""

import copy
import json
from collections.abc import Callable
from typing import Any

from spacy.language import Language

from .corpus import READER

LOGGER = "spacy-skd.DistillLogger.v1"
PLAIN_CORPUS: dict[str, Any] = {"@readers": "spacy.Corpus.v1", "path": None}
KEPT = ("max_length", "limit", "gold_preproc", "augmenter")


def make_strip_distillation() -> Callable[[Language], Language]:
    """Construct a callback for `[training.before_to_disk]`; see `strip_distillation`."""
    return strip_distillation


def strip_distillation(nlp: Language) -> Language:
    """The same pipeline with a config without paths of corpora, store of targets and log.

    The paths in [paths] become null, except those that components need to be loaded; corpora
    that read targets become `spacy.Corpus.v1`. The pipeline that is given keeps its config; the one
    returned shares all components with it, and is meant to be saved and forgotten.
    """
    stripped = copy.copy(nlp)
    config = nlp.config.copy()
    stripped.config = config
    needed = json.dumps([config["nlp"], config["components"]])
    paths = config.setdefault("paths", {})
    for name in paths:
        if f"${{paths.{name}}}" not in needed:
            paths[name] = None
    for name, corpus in config.get("corpora", {}).items():
        if isinstance(corpus, dict):
            _strip_corpus(name, corpus, paths)
    logger = config["training"].get("logger", {})
    if logger.get("@loggers") == LOGGER:
        logger["path"] = None
    return stripped


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
