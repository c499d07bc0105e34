"""Layers that keep nothing while they predict."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from thinc.api import Model, NumpyOps, Ragged
from thinc.layers.chain import forward as thinc_chain
from thinc.layers.layernorm import forward as thinc_layer_norm
from thinc.layers.maxout import forward as thinc_maxout
from thinc.layers.with_array import forward as thinc_with_array
from thinc.layers.with_ragged import forward as thinc_with_ragged

ModelT = TypeVar("ModelT", bound=Model)
Backprop = Callable[[Any], Any]

EPSILON = np.float32(1e-8)  # added to variances, as in thinc
MANY_ROWS = 256
"""For so many it pays to put a layer's weights into another order."""
ROWS = 1024  # at a time: their pieces stay in the caches


def lean(model: ModelT) -> ModelT:
    """Let all chains in the model forget, when they predict, what each layer keeps for a backward
    pass: a batch then takes the memory of its largest layer, not that of all. Layer normalisation
    and maxout take less time, and so does what joins and splits documents where there is only one.
    In place.

    A backward pass after a prediction runs the layers again.
    """
    for layer in model.walk():
        layer._func = LEAN.get(layer._func, layer._func)
    return model


def chain(model: Model, X: Any, is_train: bool) -> tuple[Any, Backprop]:
    if is_train:
        return thinc_chain(model, X, is_train)
    Y = X
    for layer in model.layers:
        Y = layer.predict(Y)
    return Y, lambda dY: thinc_chain(model, X, is_train)[1](dY)


def layer_norm(model: Model, X: Any, is_train: bool) -> tuple[Any, Backprop]:
    if is_train or not isinstance(model.ops, NumpyOps):
        return thinc_layer_norm(model, X, is_train)
    share = X.dtype.type(1 / X.shape[1])
    Y = X - X.sum(axis=1, keepdims=True) * share
    deviations = np.einsum("ij,ij->i", Y, Y)
    deviations *= share
    deviations += EPSILON
    np.sqrt(deviations, out=deviations)
    Y /= deviations[:, None]
    Y *= model.get_param("G")
    Y += model.get_param("b")
    return Y, lambda dY: thinc_layer_norm(model, X, is_train)[1](dY)


def maxout(model: Model, X: Any, is_train: bool) -> tuple[Any, Backprop]:
    if is_train or len(X) < MANY_ROWS or not isinstance(model.ops, NumpyOps):
        return thinc_maxout(model, X, is_train)
    weights: Any = model.get_param("W")
    bias: Any = model.get_param("b")
    n_out, n_pieces, n_in = weights.shape
    by_piece = weights.swapaxes(0, 1).reshape(n_pieces * n_out, n_in)
    shifts = bias.T.reshape(-1)
    Y: Any = np.empty((len(X), n_out), dtype=X.dtype)
    for start in range(0, len(X), ROWS):
        rows = slice(start, start + ROWS)
        pieces: Any = model.ops.gemm(X[rows], by_piece, trans2=True)
        pieces += shifts
        largest_piece(pieces, n_pieces, out=Y[rows])
    return Y, lambda dY: thinc_maxout(model, X, is_train)[1](dY)


def largest_piece(pieces: Any, n_pieces: int, out: Any) -> None:
    """The largest of each unit's pieces (N, nP * nO), one piece after the other, to `out` (N, nO).

    Side by side they would be compared one unit at a time.
    """
    first, *others = np.split(pieces, n_pieces, axis=1)
    if not others:
        out[:] = first
    for other in others:
        np.maximum(first, other, out=out)
        first = out


def with_array(model: Model, X: Any, is_train: bool) -> tuple[Any, Backprop]:
    if is_train or not _is_one(X):
        return thinc_with_array(model, X, is_train)
    pad = model.attrs["pad"]
    Y = model.layers[0].predict(model.ops.flatten(X, pad=pad))
    return [Y[pad : pad + len(X[0])]], lambda dY: thinc_with_array(model, X, is_train)[1](dY)


def with_ragged(model: Model, X: Any, is_train: bool) -> tuple[Any, Backprop]:
    if is_train or not _is_one(X):
        return thinc_with_ragged(model, X, is_train)
    joined = Ragged(X[0], model.ops.asarray1i([len(X[0])]))
    Y = model.layers[0].predict(joined)
    split = [Y.data] if len(Y.lengths) == 1 else model.ops.unflatten(Y.data, Y.lengths)
    return split, lambda dY: thinc_with_ragged(model, X, is_train)[1](dY)


def _is_one(X: Any) -> bool:
    """Whether these are the vectors of a document alone, which someone may wait for: it need not be
    split from others."""
    return isinstance(X, list) and len(X) == 1 and len(X[0]) > 0


LEAN: dict[Callable[..., Any], Callable[..., Any]] = {
    thinc_chain: chain,
    thinc_layer_norm: layer_norm,
    thinc_maxout: maxout,
    thinc_with_array: with_array,
    thinc_with_ragged: with_ragged,
}
