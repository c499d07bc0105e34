"""Exact k-best by sidetracks: pop the best output from a heap, push its single deviations.

An output is read from its end to its start. It is a deviation of another one at a position, where
it takes another label; to the right it copies it, to the left it follows the best way. So every
output is the deviation of exactly one other, and the costs of all deviations of an output to the
left of its own come from one chart: O(nL² + knL) for a chain, O(nL + nk²) for independent labels.
Runs on the host in float64.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

import numpy as np

from .base import Floats1d, Floats2d, Ints1d, Scored

Sidetracks = Callable[[list[int], int], Floats2d]
Follow = Callable[[list[int], int, int], list[int]]


def check_k(k: int) -> None:
    """Raise ValueError for a number of outputs that is not positive."""
    if k < 1:
        raise ValueError(f"k should be at least 1, but it is {k}")


def token_kbest(scores: Floats2d, k: int, log_prob: float) -> Scored:
    """The `k` best label sequences of one sentence with independent labels.

    scores: (n, L) in float64. log_prob: the log-probability of the best sequence.
    """
    n_tokens, n_labels = scores.shape
    # No output among the k best has a label that is not among the k best of its token.
    width = min(k, n_labels)
    labels = np.argsort(-scores, axis=1, kind="stable")[:, :width]
    costs = np.take_along_axis(scores, labels, axis=1)
    costs = costs[:, :1] - costs
    costs[:, 0] = np.inf

    def sidetracks(path: list[int], limit: int) -> Floats2d:
        return costs[:limit]

    def follow(path: list[int], position: int, rank: int) -> list[int]:
        return [0] * position + [rank] + path[position + 1 :]

    tokens = np.arange(n_tokens)
    return [
        (labels[tokens, ranks].tolist(), log_prob - cost)
        for ranks, cost in _best_first(k, [0] * n_tokens, sidetracks, follow)
    ]


def chain_kbest(
    chart: Floats2d,
    incoming: Floats2d,
    end: Floats1d,
    best: Ints1d,
    k: int,
    log_prob: float,
) -> Scored:
    """The `k` best label sequences of one sentence of a linear chain.

    chart: (n, L) the score of the best way to every label of every token, up to a constant a token.
    incoming: (L, L) transition scores, [to, from]. end: (L,). best: (n,) the best sequence, and
    log_prob its log-probability. All in float64.
    """
    n_tokens = len(chart)

    def sidetracks(path: list[int], limit: int) -> Floats2d:
        ways = chart[:limit].copy()
        if limit == n_tokens:
            ways[:-1] += incoming[path[1:]]
            ways[-1] += end
        else:
            ways += incoming[path[1 : limit + 1]]
        taken = (np.arange(limit), path[:limit])
        costs = ways[taken][:, None] - ways
        costs[taken] = np.inf
        return costs

    def follow(path: list[int], position: int, label: int) -> list[int]:
        path = path.copy()
        path[position] = label
        while position > 0:
            position -= 1
            label = int((chart[position] + incoming[label]).argmax())
            if path[position] == label:
                break
            path[position] = label
        return path

    return [
        (path, log_prob - cost) for path, cost in _best_first(k, best.tolist(), sidetracks, follow)
    ]


def _best_first(
    k: int, best: list[int], sidetracks: Sidetracks, follow: Follow
) -> list[tuple[list[int], float]]:
    """The `k` cheapest outputs and what each costs more than the best, cheapest first.

    `sidetracks(path, limit)` gives the extra costs (limit, L) of other labels at the positions
    before `limit`, +inf where there is none; `follow(path, position, label)` is the output that
    takes one.
    """
    found: list[tuple[list[int], float]] = []
    heap: list[tuple[float, int, list[int], int, int]] = [(0.0, 0, best, len(best), -1)]
    n_pushed = 1
    while heap:
        cost, _, path, limit, label = heapq.heappop(heap)
        if label >= 0:
            path = follow(path, limit, label)
        found.append((path, cost))
        n_wanted = k - len(found)
        if n_wanted == 0:
            break
        if limit == 0:
            continue
        extra = sidetracks(path, limit)
        flat = extra.ravel()
        if len(flat) > n_wanted:
            chosen = np.argpartition(flat, n_wanted - 1)[:n_wanted]
        else:
            chosen = np.arange(len(flat))
        width = extra.shape[1]
        for index, added in zip(chosen.tolist(), flat[chosen].tolist()):
            if added < np.inf:
                position, label = divmod(index, width)
                heapq.heappush(heap, (cost + added, n_pushed, path, position, label))
                n_pushed += 1
    return found
