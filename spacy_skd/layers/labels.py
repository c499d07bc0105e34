"""The labels of a model's output: set once by the component, saved with the model.

The last layer of every model of this package keeps the names of its columns in `attrs["labels"]`,
so that a structure always knows what its columns mean.
"""

from collections.abc import Sequence

from thinc.api import Model


def set_labels(model: Model, labels: Sequence[str], *, biluo: bool = False) -> None:
    """Give an uninitialised model its output labels, in the order of the columns.

    model: a model with a reference "output_layer" (the scoring layer) and "structure" (the layer
        that makes the distribution).
    biluo: the labels are BILUO labels, so a chain is to forbid the moves that are not legal.
    """
    structure = model.get_ref("structure")
    structure.attrs["labels"] = list(labels)
    structure.attrs["biluo"] = biluo
    for layer in (model.get_ref("output_layer"), structure):
        layer.set_dim("nO", len(labels))


def get_labels(model: Model) -> tuple[str, ...]:
    """The output labels of a model; empty before `set_labels`."""
    return tuple(model.get_ref("structure").attrs["labels"])
