"""What the beam of a transition-based component has found."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from spacy.language import Language
from spacy.pipeline.transition_parser import Parser

from ...structures import SentenceError

ScoredParses = list[tuple[float, list[Any]]]


def has_beam(component: Any) -> bool:
    """Whether a transition-based component keeps several analyses of a document."""
    return component.cfg["beam_width"] > 1


def set_beams(nlp: Language, width: int) -> None:
    """Let a pipeline's transition-based components keep so many analyses of a document, 1 for the
    greedy one alone, whatever they were trained with.

    Raises ValueError for a pipeline that has none.
    """
    components = list(beams_of(nlp).values())
    if not components:
        raise ValueError(
            "A beam is for spaCy's 'ner' and 'parser', and the teacher has neither. Its "
            f"components: {', '.join(nlp.pipe_names) or 'none'}."
        )
    for component in components:
        component.cfg.update(beam_width=width, beam_density=0.0)


def beams_of(nlp: Language) -> dict[str, Any]:
    """A pipeline's transition-based components by their names."""
    return {name: pipe for name, pipe in nlp.pipeline if isinstance(pipe, Parser)}


def parses_of(component: Any, beams: Sequence[Any]) -> list[ScoredParses]:
    """Probabilities and analyses in the beam of each document, best first, in the form of spaCy's
    `get_beam_parses`. Raises SentenceError for probabilities that are not numbers."""
    found = []
    for number, beam in enumerate(beams):
        parses = component.moves.get_beam_parses(beam)
        if np.isnan([prob for prob, _ in parses]).any():
            raise SentenceError("has a beam with scores that are not numbers", number)
        found.append(sorted(parses, key=lambda parse: -parse[0]))
    return found
