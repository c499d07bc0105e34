"""`spacy-skd.start_from_teacher.v1`: a compact transformer student begins with its teacher's
weights (docs/gpu.md)."""

import logging
from collections.abc import Callable
from typing import Any

from spacy.language import Language
from spacy.util import load_model
from thinc.api import Model

from ..models.compact_transformer import compact_transformer

LOGGER = logging.getLogger("spacy")  # what `spacy train` shows


def make_start_from_teacher(
    teacher: str | None = None,
    layers: list[int] | None = None,
    component: str | None = None,
) -> Callable[[Language], Language]:
    """Construct a callback for `[initialize.before_init]`.

    teacher: the teacher's pipeline, a folder or an installed package. None: the transformer starts
        from its pretrained weights, as it would without the callback.
    layers: numbers of the teacher's layers that the student keeps, from 0; None for evenly spaced
        ones, as many as `num_hidden_layers` in the `transformer_config` of the student's model.
    component: the teacher's component with the transformer; None for the only one that has one.

    The student's transformer gets the teacher's tokenizer and configuration, less the other layers,
    so nothing is read from where the pretrained transformer came from. One that has its weights
    already keeps them, as spaCy's transformer does when it is initialised again.

    The callback raises FileNotFoundError if the teacher cannot be loaded, and ValueError if teacher
    or student have no transformer, or layers and shapes do not fit.
    """

    def start_from_teacher(nlp: Language) -> Language:
        if teacher is None:
            LOGGER.info("No teacher to start from: the transformer begins with pretrained weights")
            return nlp
        own = find_transformer(nlp, None, "student")
        if own.attrs["has_transformer"]:
            return nlp
        try:
            source = load_model(teacher)
        except OSError as error:
            raise FileNotFoundError(
                f"The teacher '{teacher}' of [initialize.before_init] cannot be loaded: {error}"
            ) from error
        taken = start(own, find_transformer(source, component, f"teacher '{teacher}'"), layers)
        LOGGER.info(
            "The transformer begins with layers %s of %s", ", ".join(map(str, taken)), teacher
        )
        return nlp

    return start_from_teacher


def start(student: Model, teacher: Model, layers: list[int] | None) -> list[int]:
    """Give a student's transformer model that has no weights yet those of the teacher's chosen
    layers. Returns their numbers."""
    from spacy_transformers.data_classes import HFObjects
    from thinc.api import get_torch_default_device

    ours: Any = student.layers[0].shims[0]
    theirs: Any = teacher.layers[0].shims[0]
    settings = ours._hfmodel._init_transformer_config
    compact, taken = compact_transformer(theirs._model, settings, layers)
    compact.to(get_torch_default_device())
    vocabulary = theirs._hfmodel.vocab_file_contents
    tokenizer = theirs._hfmodel.tokenizer
    student.attrs["set_transformer"](student, HFObjects(tokenizer, compact, vocabulary, {}, {}))
    return taken


def find_transformer(nlp: Language, component: str | None, role: str) -> Model:
    """The transformer model of spacy-transformers in a pipeline, or in one of its components.

    Raises ValueError, which names the pipeline by its role, if there is none or several.
    """
    found = {
        name: node
        for name, pipe in nlp.pipeline
        if component in (None, name) and isinstance(getattr(pipe, "model", None), Model)
        for node in pipe.model.walk()  # type: ignore[attr-defined]
        if "set_transformer" in node.attrs
    }
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        hint = f"Several of its components have one: {', '.join(found)}."
    elif component is None:
        hint = f"Its components are: {', '.join(nlp.pipe_names) or 'none'}."
    else:
        hint = f"Its component '{component}' has none, or there is no such component."
    raise ValueError(
        f"[initialize.before_init] needs one transformer of spacy-transformers in the {role}. "
        f"{hint} Name the teacher's with 'component'; a student may have one alone."
    )
