"""What every reader of a teacher's component is, and the errors of components that have none."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from spacy.language import Language
from spacy.tokens import Doc

from ...structures import Sentences
from ..parts import AnyTeacher

Readable: TypeAlias = AnyTeacher | Sentences
"""What is read of a batch of documents: distributions with labels, one a document unless they say
otherwise."""


class CannotTeach(ValueError):
    """A component of a known kind that nothing can be read from; the message says why, of "it"."""


def check_trained(component: Any) -> None:
    """Raise CannotTeach for a component with a model that has no weights yet, or no labels."""
    layers = (layer for layer in component.model.walk() if layer.param_names)
    # Of an earlier version's layer, weights may be missing that it can do without.
    has_weights = (any(map(layer.has_param, layer.param_names)) for layer in layers)
    if not component.labels or not all(has_weights):
        raise CannotTeach("it has not been trained")


class Reader:
    """How a component of a teacher is read: what it says of documents, as distributions.

    name: of the component. component: the component itself.
    summary: what is read, for whoever runs the command ("softmax over 50 tags").
    targets: names of what it teaches, which are the names of the components that learn it; by
        default the component's own name alone.
    on_request: of these, those that are only taught to who asks for them.
    """

    def __init__(
        self,
        name: str,
        component: Any,
        summary: str,
        targets: Sequence[str] | None = None,
        on_request: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.component = component
        self.summary = summary
        self.targets = tuple(targets or (name,))
        self.on_request = tuple(on_request)

    def predict(self, docs: Sequence[Doc]) -> Any:
        """What the component says of documents, in whatever form; the documents stay as they are.

        Has to work for no documents.
        """
        return self.component.predict(docs)

    def read(self, docs: Sequence[Doc], prediction: Any) -> Mapping[str, Readable]:
        """The distributions in a prediction, by the names of the targets.

        Labels and kinds of structure are the same for all documents, and known without any.
        """
        raise NotImplementedError

    def annotate(self, docs: Sequence[Doc], prediction: Any) -> None:
        """Set the prediction on the documents, for components that come later."""
        self.component.set_annotations(docs, prediction)


Adapter: TypeAlias = Callable[[Language, str, Any], Reader | None]
"""From a pipeline, the name of a component and the component to its reader, or to None if it is of
a kind that the adapter does not know. May raise CannotTeach."""
