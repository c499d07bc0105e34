"""The best label sequences of a linear chain: max-only forward pass, arg-max on the way back.

Where moves are forbidden (BILUO), labels are treated by what may precede them: those with at most
two legal predecessors look at just these, the others at the union of their predecessors. Columns
are put in an order in which all these sets are contiguous.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from .base import Bools2d, Floats1d, Floats2d, Ints1d, array_module, to_host
from .packing import Packing

FEW = 2
"""A label with at most so many legal predecessors has them looked up one by one."""
RENORMALISE_EVERY = 16
"""Steps after which the chart's rows are shifted to 0, to stay exact in float32."""
SMALL = 128
"""Sentences alive times labels up to which it is the fastest to look at all moves at once."""
BLOCK = 1 << 18
"""Numbers in the largest temporary array of a step: about the size of a second-level cache."""
FEW_MOVES = 1 << 12
"""Legal moves up to which a sentence alone looks at these one by one."""


class Pairs(NamedTuple):
    """All legal moves, one after another by their targets.

    sources, targets: (P,); a target without a predecessor has any. firsts: (L,) where each target's
    moves begin.
    """

    sources: Ints1d
    targets: Ints1d
    firsts: Ints1d


class Moves(NamedTuple):
    """Which labels may follow which, with the labels in an order made for the chart.

    order: (L,) the label of each column. identity: whether that is the labels' own order.
    n_dense: the columns before it are targets whose predecessors are among the columns `sources`.
    few: (2, L - n_dense) the predecessors of the other targets, padded with any.
    pairs: all legal moves, unless they are more than `FEW_MOVES`.
    """

    order: Ints1d
    identity: bool
    n_dense: int
    sources: slice
    few: Ints1d
    pairs: Pairs | None


class Chart(NamedTuple):
    """What the forward pass leaves, with the columns in the order of `moves`.

    best: (N, L) in packed rows, the score of the best way to each label of a token, up to a
    constant a row.
    """

    best: Floats2d
    moves: Moves
    transitions: Floats2d
    end: Floats1d


@lru_cache(maxsize=64)
def _plan(legal_bytes: bytes, n_labels: int) -> Moves:
    legal = np.frombuffer(legal_bytes, dtype=bool).reshape(n_labels, n_labels)
    dense = legal.sum(axis=0) > FEW
    source = legal[:, dense].any(axis=1)
    # dense only | dense and source | few and source | few only
    group = np.where(dense, source.astype(int), 3 - source.astype(int))
    order = np.argsort(group, kind="stable")
    sizes = np.bincount(group, minlength=4)
    n_dense = int(sizes[0] + sizes[1])
    legal = legal[order][:, order]
    few = np.zeros((FEW, n_labels - n_dense), dtype=np.int64)
    for column in range(n_dense, n_labels):
        predecessors = np.flatnonzero(legal[:, column])
        if len(predecessors):
            few[:, column - n_dense] = np.resize(predecessors, FEW)
    sources = slice(int(sizes[0]), int(sizes[0] + sizes[1] + sizes[2]))
    is_identity = bool((np.diff(order) > 0).all())
    return Moves(order, is_identity, n_dense, sources, few, _pairs(legal))


def _pairs(legal: Bools2d) -> Pairs | None:
    if np.count_nonzero(legal) > FEW_MOVES:
        return None
    legal = legal.copy()
    legal[0, ~legal.any(axis=0)] = True
    targets, sources = np.nonzero(legal.T)
    return Pairs(sources, targets, np.searchsorted(targets, np.arange(len(legal))))


def legal_moves_plan(transitions: Floats2d) -> Moves:
    """How the chart is laid out for transitions (L, L) of which -inf are forbidden."""
    return _plan((to_host(transitions) > -np.inf).tobytes(), len(transitions))


def forward(
    emissions: Floats2d,
    transitions: Floats2d,
    start: Floats1d,
    end: Floats1d,
    packing: Packing,
) -> Chart:
    """Fill the chart for all sentences; the arguments as in `LinearChain`."""
    xp = array_module(emissions)
    moves = legal_moves_plan(transitions)
    best = emissions.take(packing.rows, axis=0)
    if not moves.identity:
        order = xp.asarray(moves.order)
        best = best.take(order, axis=1)
        transitions = transitions[order[:, None], order]
        start, end = start.take(order), end.take(order)
    chart = Chart(best, moves, transitions, end)
    best[: packing.n_alive] += start
    if packing.is_alone and moves.pairs and xp is np:
        _fill_alone(chart, moves.pairs)
    elif packing.steps:
        _fill(chart, packing, xp)
    return chart


def _fill_alone(chart: Chart, pairs: Pairs) -> None:
    """What `_fill` does, by the same sums, for a sentence that someone waits for: a step is a call
    or two, and what a call costs is nearly all."""
    rows = list(chart.best)
    potentials = chart.transitions[pairs.sources, pairs.targets]
    lowest = np.finfo(potentials.dtype).min
    for step, (previous, current) in enumerate(pairwise(rows), start=1):
        ways = previous.take(pairs.sources)
        ways += potentials
        current += np.maximum.reduceat(ways, pairs.firsts)
        if step % RENORMALISE_EVERY == 0:
            current -= max(current.max(), lowest)


def _fill(chart: Chart, packing: Packing, xp: Any) -> None:
    best, moves, transitions, _ = chart
    n_labels, n_dense = len(transitions), moves.n_dense
    n_few = n_labels - n_dense
    dense = xp.ascontiguousarray(transitions[moves.sources, :n_dense])
    few = xp.asarray(moves.few.ravel())
    few_moves = transitions[xp.asarray(moves.few), xp.arange(n_dense, n_labels)].ravel()
    scratch = xp.empty(min(packing.n_alive * n_labels**2, max(BLOCK, n_labels**2)), best.dtype)
    lowest = xp.finfo(best.dtype).min

    for step, (before, now) in enumerate(packing.steps, start=1):
        previous, current = best[before], best[now]
        if len(current) * n_labels <= SMALL:
            current += _arrivals(previous, transitions, scratch, xp)
        else:
            if n_dense:
                current[:, :n_dense] += _arrivals(previous[:, moves.sources], dense, scratch, xp)
            if n_few:
                ways = previous.take(few, axis=1)
                ways += few_moves
                current[:, n_dense:] += xp.maximum(ways[:, :n_few], ways[:, n_few:])
        if step % RENORMALISE_EVERY == 0:
            current -= xp.maximum(current.max(axis=1, keepdims=True), lowest)


def _arrivals(previous: Floats2d, transitions: Floats2d, scratch: Floats1d, xp: Any) -> Floats2d:
    """The best way from the scores `previous` (rows, from) over `transitions` (from, to)."""
    n_rows, size = len(previous), transitions.size
    block = max(1, len(scratch) // size)
    if n_rows > block:
        parts = [previous[low : low + block] for low in range(0, n_rows, block)]
        return xp.concatenate([_arrivals(part, transitions, scratch, xp) for part in parts])
    # [from, row, to]: the maximum over the first axis is a row of long vector operations.
    ways = scratch[: n_rows * size].reshape(len(transitions), n_rows, -1)
    xp.add(previous.T[:, :, None], transitions[:, None, :], out=ways)
    return ways.max(axis=0)


def backward(chart: Chart, packing: Packing) -> tuple[Ints1d, Floats1d]:
    """The best sequences in flat order, (N,), and what they score, up to a constant a sentence.

    The scores are those of the sentences in `packing.order`; -inf where no sequence is legal.
    """
    best, moves, transitions, end = chart
    xp = array_module(best)
    path = xp.empty(len(best), dtype=np.int64)
    final = best.take(packing.last, axis=0)
    final += end
    path[packing.last] = final.argmax(axis=1)
    incoming = xp.ascontiguousarray(transitions.T)
    if packing.is_alone and xp is np:  # in fewer calls, since someone waits for it
        path[:] = _way_back(best, incoming, int(path[-1]))
    else:
        for before, now in reversed(packing.steps):
            ways = incoming.take(path[now], axis=0)
            ways += best[before]
            ways.argmax(axis=1, out=path[before])
    if not moves.identity:
        path = xp.asarray(moves.order).take(path)
    return path.take(packing.back), final.max(axis=1)


def _way_back(best: Floats2d, incoming: Floats2d, last: int) -> list[int]:
    """The best sequence of one sentence that ends in a label."""
    ways_to = list(incoming)
    path = [last]
    for row in reversed(list(best[:-1])):
        path.append(int((ways_to[path[-1]] + row).argmax()))
    return path[::-1]
