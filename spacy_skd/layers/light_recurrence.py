"""A light recurrence over whole documents, in both directions: gates from the input alone.

The gates and candidates of all tokens are one matrix product each; what is left for the loop over
time is element-wise, f ∘ c + u, and linear in c, so that long documents can be cut into blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from thinc.api import Model, NumpyOps, Ragged

from ..structures.base import Floats2d, Floats3d, array_module
from ..structures.packing import Packing
from .remembered import Remembered
from .two_way import TwoWay, memory_biases

COLUMNS = "columns"  # an attribute of models


def light_recurrence(nO: int | None = None, nI: int | None = None) -> Model[Ragged, Ragged]:
    """Read sequences forwards and backwards: (N, nI) → (N, nO), nO / 2 for each direction.

        f_t = σ(F x_t + b_f)    z_t = Z x_t + b_z    o_t = σ(O x_t + b_o)
        c_t = f_t ∘ c_{t−1} + (1 − f_t) ∘ z_t        y_t = o_t ∘ c_t        c_0 = 0

    A state is a weighted mean of candidates, so it stays in their scale. (The family of Bradbury et
    al., 2017, arXiv 1611.01576, and Lei et al., 2018, arXiv 1709.02755; without their activation of
    the state: follow it by a layer that is not linear.)

    Raises ValueError if nO is odd.
    """
    if nO is not None and nO % 2:
        raise ValueError(f"Half of nO is for each direction, so it should be even, not {nO}.")
    return Model(
        "light_recurrence",
        forward,
        init=init,
        dims={"nO": nO, "nI": nI},
        params={"W": None, "b": None},
        attrs={COLUMNS: Remembered()},
    )


def forward(
    model: Model[Ragged, Ragged], X: Ragged, is_train: bool
) -> tuple[Ragged, Callable[[Ragged], Ragged]]:
    W: Any = model.get_param("W")
    b: Any = model.get_param("b")
    vectors: Any = X.dataXd
    layout = TwoWay.blocked(X.lengths, model.ops.xp)
    remembered: Remembered[Any] = model.attrs[COLUMNS]
    columns = None
    if isinstance(model.ops, NumpyOps):
        if is_train:
            remembered.await_update(W)
        else:
            columns = remembered.of((W,), _columns)
    outputs, memory = read(vectors, W, b, layout, keep=is_train, columns=columns)

    def backprop(d_output: Ragged) -> Ragged:
        if memory is None:
            return forward(model, X, True)[1](d_output)
        d_outputs: Any = d_output.dataXd
        d_vectors, gradients = read_gradients(d_outputs, W, memory, layout)
        for name, gradient in gradients.items():
            model.inc_grad(name, gradient)
        return Ragged(d_vectors, X.lengths)

    return Ragged(outputs, X.lengths), backprop


def init(model: Model[Ragged, Ragged], X: Ragged | None = None, Y: Ragged | None = None) -> None:
    """Glorot's uniform weights; units that remember from one token to many."""
    if X is not None:
        vectors: Any = X.dataXd
        model.set_dim("nI", vectors.shape[1])
    n_out, n_in = model.get_dim("nO"), model.get_dim("nI")
    scale = (6 / (n_in + n_out // 2)) ** 0.5
    weights: Any = np.random.uniform(-scale, scale, (3, n_out, n_in))
    bias: Any = np.zeros((3, n_out))
    bias[0] = np.tile(memory_biases(n_out // 2), 2)
    model.set_param("W", model.ops.asarray_f(weights))
    model.set_param("b", model.ops.asarray_f(bias))


class Memory(NamedTuple):
    """What the backward pass needs: packed arrays of both directions."""

    vectors: Floats3d
    forget: Floats3d
    candidates: Floats3d
    gates: Floats3d
    states: Floats3d


def read(
    vectors: Floats2d,
    weights: Floats3d,
    bias: Floats2d,
    layout: TwoWay,
    *,
    keep: bool = True,
    columns: Any = None,
) -> tuple[Any, Memory | None]:
    """The outputs (N, nO) for vectors (N, nI) in flat order.

    weights: (3, nO, nI) and bias: (3, nO), of the forget gates, the candidates and the output
        gates. The first half of nO reads forwards, the other backwards.
    keep: whether a backward pass follows. Without, the memory is None.
    columns: `_columns` of the weights, if they are known.
    """
    xp = array_module(vectors)
    packed: Any = layout.gather(vectors)
    if columns is None:
        columns = _by_direction(weights).swapaxes(2, 3)
    forget, candidates, gates = xp.matmul(packed, columns)
    if not keep:
        packed = None
    forget_bias, candidate_bias, gate_bias = bias.reshape(3, 2, 1, -1)
    forget += forget_bias
    candidates += candidate_bias
    gates += gate_bias
    _sigmoid(forget)
    _sigmoid(gates)
    states = forget * candidates
    xp.subtract(candidates, states, out=states)
    scan(forget, states, layout)
    if keep:
        return layout.unpack(states * gates), Memory(packed, forget, candidates, gates, states)
    states *= gates
    return layout.unpack(states), None


def read_gradients(
    d_outputs: Floats2d, weights: Floats3d, memory: Memory, layout: TwoWay
) -> tuple[Any, dict[str, Any]]:
    """The gradients of vectors, weights and bias from that of what `read` gives."""
    xp = array_module(weights)
    vectors, forget, candidates, gates, states = memory
    d_outputs = layout.pack(d_outputs)
    d_pre = xp.empty((3, *states.shape), dtype=states.dtype)
    d_forget, d_candidates, d_gates = d_pre

    xp.multiply(d_outputs, states, out=d_gates)
    d_gates *= gates
    d_gates *= 1 - gates
    d_outputs *= gates
    d_states = scan_gradient(forget, d_outputs, layout)
    xp.multiply(d_states, 1 - forget, out=d_candidates)
    xp.subtract(layout.previous(states), candidates, out=d_forget)
    d_forget *= d_candidates
    d_forget *= forget

    by_direction = _by_direction(weights)
    d_vectors = layout.scatter(xp.matmul(d_pre, by_direction).sum(axis=0))
    d_weights = xp.matmul(d_pre.swapaxes(2, 3), vectors).reshape(weights.shape)
    return d_vectors, {"W": d_weights, "b": d_pre.sum(axis=2).reshape(3, -1)}


def scan(forget: Floats3d, states: Floats3d, layout: TwoWay) -> None:
    """c_t = f_t ∘ c_{t−1} + u_t, in place: what comes in as `states` are the u.

    forget, states: (2, N, H), packed.
    """
    if layout.blocks is None:
        _scan(forget, states, layout.packing)
    else:
        _scan_blocks(forget, states, layout.packing, layout.blocks)


def scan_gradient(forget: Floats3d, d_states: Floats3d, layout: TwoWay) -> Floats3d:
    """d_t + f_{t+1} ∘ (d_{t+1} + f_{t+2} ∘ …): what later states add to a gradient of states.

    It is the same recurrence from the other end, with each gate one step later.
    """
    total = d_states.take(layout.reverse, axis=1)
    later = forget.take(layout.reverse[layout.before], axis=1)
    scan(later, total, layout)
    return total.take(layout.reverse, axis=1)


def _sigmoid(values: Any) -> None:
    """In place, and without overflow."""
    values *= 0.5
    array_module(values).tanh(values, out=values)
    values += 1
    values *= 0.5


def _by_direction(weights: Floats3d) -> Any:
    """(3, nO, nI) as (3, 2, nO / 2, nI)."""
    return weights.reshape(3, 2, -1, weights.shape[-1])


def _columns(weights: Floats3d) -> Any:
    """(3, nO, nI) as (3, 2, nI, nO / 2), in memory, too: a product of few rows then takes a third
    of the time."""
    return np.ascontiguousarray(_by_direction(weights).swapaxes(2, 3))


def _scan(forget: Any, states: Any, packing: Packing) -> None:
    xp = array_module(states)
    if packing.is_alone and xp is np:
        return _scan_alone(forget, states)
    carried = xp.empty_like(states[..., : packing.n_alive, :])
    for before, now in packing.steps:
        kept, state = carried[..., : now.stop - now.start, :], states[..., now, :]
        xp.multiply(forget[..., now, :], states[..., before, :], out=kept)
        xp.add(state, kept, out=state)


def _scan_alone(forget: Any, states: Any) -> None:
    """What `_scan` does for one sequence, in rows side by side: two of its directions are apart in
    memory, and a call costs more than its arithmetic."""
    *others, n_tokens, width = states.shape
    tokens_first = (len(others), *range(len(others)), len(others) + 1)
    gates, rows = (
        values.transpose(tokens_first).reshape(n_tokens, -1).copy()
        for values in (np.broadcast_to(forget, states.shape), states)
    )
    kept = np.empty_like(rows[0])
    for gate, before, now in zip(gates[1:], rows, rows[1:]):
        np.multiply(gate, before, out=kept)
        now += kept
    states.transpose(tokens_first)[...] = rows.reshape(n_tokens, *others, width)


def _scan_blocks(forget: Floats3d, states: Floats3d, packing: Packing, blocks: Packing) -> None:
    """Read every block as if nothing came before it, and add what does.

    That is the state before the block times the product of the gates since, and the states at the
    ends of blocks are the same recurrence again, a step a block.
    """
    xp = array_module(states)
    both = xp.zeros((2, *states.shape), dtype=states.dtype)
    alone, products = both
    alone[:] = states
    products[:, : packing.n_alive] = forget[:, : packing.n_alive]
    _scan(forget, both, packing)

    last_rows = xp.empty_like(packing.order)
    last_rows[packing.order] = packing.last
    last_rows = last_rows[blocks.rows]
    ends = alone.take(last_rows, axis=1)
    _scan(products.take(last_rows, axis=1), ends, blocks)

    inner = blocks.inner_tokens
    incoming = xp.zeros_like(ends)
    incoming[:, inner] = ends[:, blocks.back[inner - 1]]
    products *= incoming.take(packing.packed_sentences, axis=1)
    xp.add(alone, products, out=states)
