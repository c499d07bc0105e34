"""Layers that keep nothing of a batch while they predict."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from thinc.api import Model, NumpyOps, Ragged
from thinc.layers.chain import forward as thinc_chain
from thinc.layers.layernorm import forward as thinc_layer_norm
from thinc.layers.maxout import forward as thinc_maxout
from thinc.layers.with_array import forward as thinc_with_array
from thinc.layers.with_ragged import forward as thinc_with_ragged

from .remembered import Remembered

ModelT = TypeVar("ModelT", bound=Model)
Backprop = Callable[[Any], Any]

EPSILON = np.float32(1e-8)  # added to variances, as in thinc
BY_PIECE = "by_piece"  # an attribute of models
MANY_ROWS = 128
"""For fewer, blis takes as long for the product of one piece as for that of all, and numpy less in
one call for all pieces than in one for each."""
SMALL_PRODUCT, N_SLICES = 1 << 18, 8
"""Multiplications of one product that OpenBLAS does by itself, whatever threads it has; and in how
many such products, with two rows at least, numpy is faster than blis is in one."""


def lean(model: ModelT) -> ModelT:
    """Let all chains in the model forget, when they predict, what each layer keeps for a backward
    pass: a batch then takes the memory of its largest layer, not that of all. Layer normalisation
    and maxout take less time, and so does what joins and splits documents where there is only one.
    In place.

    A backward pass after a prediction runs the layers again. Weights may not be changed in place in
    other ways than by training (`Remembered`).
    """
    for layer in model.walk():
        layer._func = LEAN.get(layer._func, layer._func)
        if layer._func is maxout:
            layer.attrs[BY_PIECE] = Remembered()
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
    if not isinstance(model.ops, NumpyOps):
        return thinc_maxout(model, X, is_train)
    remembered: Remembered[tuple[Any, Any]] = model.attrs[BY_PIECE]
    weights: Any = model.get_param("W")
    bias: Any = model.get_param("b")
    n_rows = SMALL_PRODUCT // weights[:, 0].size
    is_few, by_blis = len(X) < MANY_ROWS, model.ops.use_blis
    by_piece = None
    if is_train:
        remembered.await_update(weights, bias)
    elif not (is_few and by_blis) or (n_rows > 1 and len(X) <= N_SLICES * n_rows):
        by_piece = remembered.of((weights, bias), _by_piece)
    if by_piece is None:
        return thinc_maxout(model, X, is_train)
    if is_few:
        Y = _largest_of_few(X, *by_piece, n_rows if by_blis else MANY_ROWS)
    else:
        Y = _largest(X, *by_piece, model.ops)
    return Y, lambda dY: maxout(model, X, True)[1](dY)


def _by_piece(weights: Any, bias: Any) -> tuple[Any, Any]:
    """Weights (nO, nP, nI) as columns of each piece (nP, nI, nO), the bias (nO, nP) as (nP, 1,
    nO)."""
    return weights.transpose(1, 2, 0).copy(), bias.T[:, None].copy()


def _largest(X: Any, columns: Any, bias: Any, ops: NumpyOps) -> Any:
    """The largest piece of each unit, (N, nO), for vectors (N, nI)."""
    Y: Any = None
    for weights, shifts in zip(columns, bias):
        piece: Any = ops.gemm(X, weights)
        piece += shifts
        Y = piece if Y is None else np.maximum(Y, piece, out=Y)
    return Y


def _largest_of_few(X: Any, columns: Any, bias: Any, n_rows: int) -> Any:
    """The same of few vectors, some rows at a time, by numpy."""
    Y: Any = np.empty((len(X), columns.shape[2]), dtype=X.dtype)
    for start in range(0, len(X), n_rows):
        rows = slice(start, start + n_rows)
        pieces: Any = np.matmul(X[rows], columns)
        pieces += bias
        pieces.max(axis=0, out=Y[rows])
    return Y


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
