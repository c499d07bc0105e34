"""More labels for a model that is trained already: its predictions stay as they were.

A new column begins as a mixture of the old ones, less a lead that they have over it, so whatever
the text, no output with a new label is ever the best one:

- tags: the mean of all old columns. A sequence with a new label scores the mean of what sequences
  with old labels in its place score, less the lead, and no mean is above all of what it is of.
- BILUO labels: "O", which may stand wherever a label of an entity does.
- spans: what no span scores, which is 0.

A token (a span) then has a new label with a probability of at most about exp(-`LEAD`), and all
others lose as much. The transitions of a chain are mixed in the same way.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from thinc.api import Model

from ..structures.biluo import OUTSIDE
from .labels import get_labels, set_labels

LEAD = 12.0
"""Nats: exp(-12) is 6e-6, about what scores in float32 are rounded by, and a label that is learnt
makes up for it in some hundred steps."""


def widen_labels(model: Model, labels: Sequence[str]) -> None:
    """Give a trained model more output labels.

    labels: the old ones, in their order, and the new ones after them; of BILUO labels if those of
        the model are.

    The layers that have a column a label are replaced by wider ones, for which an optimiser that
    has seen the model begins anew. Their gradients that have not been applied are lost.

    Raises ValueError for a model without labels, whose first ones are others, or whose layers
    cannot be widened: those of parsers, or of other packages.
    """
    old = get_labels(model)
    if not old or tuple(labels[: len(old)]) != old:
        raise ValueError(f"The labels have to begin with those of the model: {', '.join(old)}.")
    output_layer, structure = model.get_ref("output_layer"), model.get_ref("structure")
    if output_layer.name not in WIDENED or structure.name not in WIDENED:
        raise ValueError(
            f"The layers '{output_layer.name}' and '{structure.name}' cannot be given more labels "
            f"(those that can are {', '.join(WIDENED)})."
        )
    mixture = _mixture(old, structure)
    for layer in (output_layer, structure):
        _replace(model, layer, _wider(layer, mixture, len(labels)))
    for layer in _with_same_output(model):
        layer.set_dim("nO", len(labels), force=True)
    set_labels(model, labels, biluo=structure.attrs["biluo"])


def _wider(layer: Model, mixture: np.ndarray, n_labels: int) -> Model:
    """The same layer with so many labels."""
    widened = WIDENED[layer.name](layer, mixture, n_labels - len(mixture))
    params: dict[str, Any] = {
        name: layer.ops.asarray(values, dtype="float32") for name, values in widened.items()
    }
    return Model(
        layer.name,
        layer._func,
        init=layer.init,
        dims={name: layer.maybe_get_dim(name) for name in layer.dim_names} | {"nO": n_labels},
        params=params,
        attrs=dict(layer.attrs),
        ops=layer.ops,
    )


def _replace(model: Model, old: Model, new: Model) -> None:
    """Put a layer into the place of another one, wherever the model has that."""
    for node in list(model.walk()):
        for place, layer in enumerate(node.layers):
            if layer is old:
                node.layers[place] = new
    for node in model.walk():
        for name in node.ref_names:
            if node.maybe_get_ref(name) is old:
                node.set_ref(name, new)


def _mixture(labels: Sequence[str], structure: Model) -> np.ndarray:
    """How much of each old column a new one begins with, (L,)."""
    if structure.name == "span_structure":
        return np.zeros(len(labels), dtype="float32")
    if structure.attrs["biluo"]:
        return np.asarray([label == OUTSIDE for label in labels], dtype="float32")
    return np.full(len(labels), 1 / len(labels), dtype="float32")


def _with_same_output(model: Model) -> Iterator[Model]:
    """The layers, those around others too, whose output has a column a label."""
    last = (model.get_ref("output_layer"), model.get_ref("structure"))
    for layer in model.walk():
        inner = layer
        while inner not in last and inner.layers:
            inner = inner.layers[-1]
        if inner in last and layer.has_dim("nO"):
            yield layer


def _linear(layer: Model, mixture: np.ndarray, n_new: int) -> dict[str, Any]:
    W, b = _host(layer, "W"), _host(layer, "b")
    return {
        "W": np.concatenate([W, np.tile(mixture @ W, (n_new, 1))]),
        "b": np.concatenate([b, np.full(n_new, mixture @ b - LEAD)]),
    }


def _chain_potentials(layer: Model, mixture: np.ndarray, n_new: int) -> dict[str, Any]:
    # (L_old + n_new, L_old): old columns as they are, each new one as the mixture.
    mix = np.concatenate([np.eye(len(mixture)), np.tile(mixture, (n_new, 1))])
    return {
        "transitions": mix @ _host(layer, "transitions") @ mix.T,
        "start": mix @ _host(layer, "start"),
        "end": mix @ _host(layer, "end"),
    }


def _span_scores(layer: Model, mixture: np.ndarray, n_new: int) -> dict[str, Any]:
    """Zeros, as a new model begins with, but for the lead."""
    half = layer.get_dim("nI") // 2
    width, more = layer.get_dim("nW"), np.zeros((n_new, half))
    return {
        "bilinear": np.concatenate([_host(layer, "bilinear"), np.zeros((half, n_new * half))], 1),
        "starts": np.concatenate([_host(layer, "starts"), more]),
        "ends": np.concatenate([_host(layer, "ends"), more]),
        "widths": np.concatenate([_host(layer, "widths"), np.zeros((width, n_new))], axis=1),
        "b": np.concatenate([_host(layer, "b"), np.full(n_new, -LEAD)]),
    }


def _nothing(layer: Model, mixture: np.ndarray, n_new: int) -> dict[str, Any]:
    return {}


def _host(layer: Model, name: str) -> Any:
    """A parameter as a numpy array."""
    return layer.ops.to_numpy(layer.get_param(name))


# By the layer's name: its parameters with so many more labels, which begin as a mixture.
WIDENED: dict[str, Callable[[Model, np.ndarray, int], dict[str, Any]]] = {
    "linear": _linear,
    "span_scores": _span_scores,
    "chain_potentials": _chain_potentials,
    "token_scores": _nothing,
    "span_structure": _nothing,
}
