"""Components whose `predict` gives a structure, as those of this package do."""

from collections.abc import Sequence
from typing import Any, get_args

from spacy.language import Language
from spacy.tokens import Doc

from ...structures import Sentences
from ..parts import AnyTeacher
from .base import Readable, Reader


class StructureReader(Reader):
    """Reads what a component predicts as it is."""

    def read(self, docs: Sequence[Doc], prediction: Readable) -> dict[str, Readable]:
        return {self.name: prediction}


def structure_reader(nlp: Language, name: str, component: Any) -> Reader | None:
    """A component of anyone's: it is asked for nothing, and what comes back decides."""
    try:
        nothing = component.predict([])
    except Exception:  # whatever else its predict may be for
        return None
    if not isinstance(nothing, (*get_args(AnyTeacher), Sentences)):
        return None
    return StructureReader(name, component, "its own distribution")
