"""An LSTM over whole documents, in both directions: all directions and documents in one step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from thinc.api import Model, Ragged

from ..structures.base import Floats2d, Floats3d, array_module
from ..structures.packing import Packing
from .two_way import TwoWay, memory_biases


def two_way_lstm(nO: int | None = None, nI: int | None = None) -> Model[Ragged, Ragged]:
    """Read sequences forwards and backwards: (N, nI) → (N, nO), nO / 2 for each direction.

        [o_t; i_t; f_t] = σ(W x_t + U y_{t−1} + b)    g_t = tanh(W_g x_t + U_g y_{t−1} + b_g)
        c_t = f_t ∘ c_{t−1} + i_t ∘ g_t    y_t = o_t ∘ tanh(c_t)    c_0 = y_0 = 0

    (Hochreiter and Schmidhuber, 1997, with the forget gates of Gers et al., 2000.) `LSTM.v1` of
    thinc 8.3 is not used: its backward pass leaves out the first step of each direction, and adds
    the weights to their gradients.

    Raises ValueError if nO is odd.
    """
    if nO is not None and nO % 2:
        raise ValueError(f"Half of nO is for each direction, so it should be even, not {nO}.")
    return Model(
        "two_way_lstm",
        forward,
        init=init,
        dims={"nO": nO, "nI": nI},
        params={"W": None, "U": None, "b": None},
    )


def forward(
    model: Model[Ragged, Ragged], X: Ragged, is_train: bool
) -> tuple[Ragged, Callable[[Ragged], Ragged]]:
    W: Any = model.get_param("W")
    U: Any = model.get_param("U")
    b: Any = model.get_param("b")
    vectors: Any = X.dataXd
    layout = TwoWay(X.lengths, model.ops.xp)
    outputs, memory = read(vectors, W, U, b, layout)

    def backprop(d_output: Ragged) -> Ragged:
        d_outputs: Any = d_output.dataXd
        d_vectors, gradients = read_gradients(d_outputs, W, U, memory, layout)
        for name, gradient in gradients.items():
            model.inc_grad(name, gradient)
        return Ragged(d_vectors, X.lengths)

    return Ragged(outputs, X.lengths), backprop


def init(model: Model[Ragged, Ragged], X: Ragged | None = None, Y: Ragged | None = None) -> None:
    """Glorot's uniform weights, orthogonal ones from states; memories of one token to many.

    What is kept for long is written slowly: the biases of the input gates are the opposite.
    """
    if X is not None:
        vectors: Any = X.dataXd
        model.set_dim("nI", vectors.shape[1])
    width, n_in = model.get_dim("nO") // 2, model.get_dim("nI")
    scale = (6 / (n_in + width)) ** 0.5
    random = np.random.normal(size=(2, 4, width, width))
    orthogonal: Any = np.linalg.qr(random)[0].reshape(2, 4 * width, width)
    bias: Any = np.zeros((2, 4, width))
    bias[:, 2] = memory_biases(width)
    bias[:, 1] = -bias[:, 2]
    weights: Any = np.random.uniform(-scale, scale, (2, 4 * width, n_in))
    model.set_param("W", model.ops.asarray_f(weights))
    model.set_param("U", model.ops.asarray_f(orthogonal))
    model.set_param("b", model.ops.asarray_f(bias.reshape(2, -1)))


class Memory(NamedTuple):
    """What the backward pass needs: packed arrays of both directions."""

    vectors: Floats3d
    gates: Floats3d
    cells: Floats3d
    squashed: Floats3d
    outputs: Floats3d


def read(
    vectors: Floats2d, W: Floats3d, U: Floats3d, b: Floats2d, layout: TwoWay
) -> tuple[Any, Memory]:
    """The outputs (N, nO) for vectors (N, nI) in flat order.

    W: (2, 4H, nI), U: (2, 4H, H) and b: (2, 4H), nO = 2H: of both directions, and in each of the
        gates o, i, f and g.
    """
    xp = array_module(vectors)
    packing, width = layout.packing, U.shape[-1]
    # σ(a) = (tanh(a / 2) + 1) / 2: one tanh does for all gates.
    halves = xp.ones((4 * width, 1), dtype=U.dtype)
    halves[: 3 * width] = 0.5
    packed = layout.gather(vectors)
    gates = xp.matmul(packed, (W * halves).swapaxes(1, 2))
    gates += (b * halves[:, 0])[:, None]
    recurrent = (U * halves).swapaxes(1, 2)
    o, i, f, g = (gates[..., n * width : (n + 1) * width] for n in range(4))
    sigmoids = gates[..., : 3 * width]
    cells, squashed, outputs = xp.empty((3, 2, packing.n_tokens, width), dtype=gates.dtype)
    from_state = xp.empty_like(gates[:, : packing.n_alive])
    kept = xp.empty_like(cells[:, : packing.n_alive])

    for before, now in _steps(packing):
        rows = slice(0, now.stop - now.start)
        gate, cell = gates[:, now], cells[:, now]
        if before is not None:
            xp.matmul(outputs[:, before], recurrent, out=from_state[:, rows])
            gate += from_state[:, rows]
        xp.tanh(gate, out=gate)
        sigmoid = sigmoids[:, now]
        sigmoid *= 0.5
        sigmoid += 0.5
        xp.multiply(i[:, now], g[:, now], out=cell)
        if before is not None:
            xp.multiply(f[:, now], cells[:, before], out=kept[:, rows])
            cell += kept[:, rows]
        xp.tanh(cell, out=squashed[:, now])
        xp.multiply(o[:, now], squashed[:, now], out=outputs[:, now])
    return layout.unpack(outputs), Memory(packed, gates, cells, squashed, outputs)


def read_gradients(
    d_outputs: Floats2d, W: Floats3d, U: Floats3d, memory: Memory, layout: TwoWay
) -> tuple[Any, dict[str, Any]]:
    """The gradients of vectors, W, U and b from that of what `read` gives."""
    xp = array_module(U)
    vectors, gates, cells, squashed, outputs = memory
    packing, width = layout.packing, U.shape[-1]
    by_gate = gates.reshape(2, -1, 4, width)
    o, i, f, g = by_gate.transpose(2, 0, 1, 3)
    # How the output (o) and the cell (i, f, g) change with what goes into the gates. The loop
    # makes gradients of them in place.
    slopes = by_gate * (1 - by_gate)
    slopes[:, :, 0] *= squashed
    slopes[:, :, 1] *= g
    slopes[:, :, 2] *= layout.previous(cells)
    slopes[:, :, 3] = (1 - g * g) * i
    d_gates = slopes.reshape(2, -1, 4 * width)
    d_outputs = layout.pack(d_outputs)
    output_slopes = (1 - squashed * squashed) * o
    d_cells = xp.zeros_like(cells)
    for before, now in reversed(_steps(packing)):
        d_cell = d_cells[:, now]
        d_cell += d_outputs[:, now] * output_slopes[:, now]
        slope = slopes[:, now]
        slope[:, :, 0] *= d_outputs[:, now]
        slope[:, :, 1:] *= d_cell[:, :, None]
        if before is not None:
            d_outputs[:, before] += xp.matmul(d_gates[:, now], U)
            d_cells[:, before] += d_cell * f[:, now]
    d_gates_by_column = d_gates.swapaxes(1, 2)
    d_vectors = layout.scatter(xp.matmul(d_gates, W))
    dW = xp.matmul(d_gates_by_column, vectors)
    dU = xp.matmul(d_gates_by_column, layout.previous(outputs))
    return d_vectors, {"W": dW, "U": dU, "b": d_gates.sum(axis=1)}


def _steps(packing: Packing) -> list[tuple[slice | None, slice]]:
    """The rows one step ago, None for the first, and now."""
    return [(None, slice(0, packing.n_alive)), *packing.steps]
