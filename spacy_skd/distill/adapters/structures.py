"""Components of this package, and others whose `predict` gives a structure."""

from collections.abc import Sequence
from typing import Any, get_args

from spacy.language import Language
from spacy.pipeline import TrainablePipe
from spacy.tokens import Doc

from ...structures import Sentences
from ..parts import AnyTeacher
from .base import Readable, Reader, check_trained


class StructureReader(Reader):
    """Reads what a component predicts as it is."""

    def read(self, docs: Sequence[Doc], prediction: Readable) -> dict[str, Readable]:
        return {self.name: prediction}


def structure_reader(nlp: Language, name: str, component: Any) -> Reader | None:
    """A component of this package, or of anyone's that is asked for nothing and gives a structure.

    Components of this package are known by their objective and their columns.
    """
    own = hasattr(component, "objective") and hasattr(component, "column_labels")
    if own and isinstance(component, TrainablePipe):
        check_trained(component)
        return StructureReader(name, component, "its own distribution")
    try:
        nothing = component.predict([])
    except Exception:  # whatever else its predict may be for
        return None
    if not isinstance(nothing, (*get_args(AnyTeacher), Sentences)):
        return None
    return StructureReader(name, component, "its own distribution")
