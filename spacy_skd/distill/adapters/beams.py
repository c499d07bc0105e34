"""What the beam of a transition-based component has found."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...structures import SentenceError

ScoredParses = list[tuple[float, list[Any]]]


def has_beam(component: Any) -> bool:
    """Whether a transition-based component keeps several analyses of a document."""
    return component.cfg["beam_width"] > 1


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
