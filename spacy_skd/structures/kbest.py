"""Exact k-best by sidetracks: pop the best output from a heap, push its single deviations.

An output is read from its end to its start. It is a deviation of another one at a position, where
it takes another label; to the right it copies it, to the left it follows the best way. So every
output is the deviation of exactly one other, and the costs of all deviations of an output to the
left of its own come from one chart: O(nL² + knL) for a chain, O(nL + nk²) for independent labels,
O(nWR + knWR) for spans.
Runs on the host in float64.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

import numpy as np

from .base import Floats2d, Ints1d, Scored
from .span_outputs import ScoredSpans, SpanSet

Sidetracks = Callable[[Ints1d, int], Floats2d]
Follow = Callable[[Ints1d, int, int], Ints1d]


def check_k(k: int) -> None:
    """Raise ValueError for a number of outputs that is not positive."""
    if k < 1:
        raise ValueError(f"k should be at least 1, but it is {k}")


def token_kbest(scores: Floats2d, k: int, log_prob: float) -> Scored:
    """The `k` best label sequences of one sentence with independent labels.

    scores: (n, L) in float64. log_prob: the log-probability of the best sequence.
    """
    n_tokens = len(scores)
    # No output among the k best has a label that is not among the k best of its token.
    labels = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    costs = np.take_along_axis(scores, labels, axis=1)
    costs = costs[:, :1] - costs
    costs[:, 0] = np.inf

    def sidetracks(ranks: Ints1d, limit: int) -> Floats2d:
        return costs[:limit]

    def follow(ranks: Ints1d, position: int, rank: int) -> Ints1d:
        ranks = ranks.copy()
        ranks[:position] = 0
        ranks[position] = rank
        return ranks

    best = np.zeros(n_tokens, dtype=np.int64)
    found = _best_first(k, best, n_tokens, sidetracks, follow)
    tokens = np.arange(n_tokens)
    return [(labels[tokens, ranks].tolist(), log_prob - cost) for ranks, cost in found]


def chain_kbest(
    chart: Floats2d, incoming: Floats2d, best: Ints1d, k: int, log_prob: float
) -> Scored:
    """The `k` best label sequences of one sentence of a linear chain.

    chart: (n, L) the score of the best way to every label of every token, up to a constant a token.
    incoming: (L + 1, L) transition scores, [to, from]; the last row is for the end of the sentence.
    best: (n,) the best sequence; log_prob: its log-probability. All in float64.
    """
    n_tokens, n_labels = chart.shape
    first_cell = np.arange(n_tokens) * n_labels

    def sidetracks(path: Ints1d, limit: int) -> Floats2d:
        ways = incoming.take(path[1 : limit + 1], axis=0)
        ways += chart[:limit]
        taken = first_cell[:limit] + path[:limit]
        costs = ways.take(taken)[:, None] - ways
        costs.ravel()[taken] = np.inf
        return costs

    def follow(path: Ints1d, position: int, label: int) -> Ints1d:
        path = path.copy()
        path[position] = label
        while position > 0:
            position -= 1
            label = int((chart[position] + incoming[label]).argmax())
            if path[position] == label:
                break
            path[position] = label
        return path

    path = np.append(best, n_labels)
    found = _best_first(k, path, n_tokens, sidetracks, follow)
    return [(path[:-1].tolist(), log_prob - cost) for path, cost in found]


def span_kbest(regrets: Floats2d, n_labels: int, k: int, log_prob: float) -> ScoredSpans:
    """The `k` best sets of non-overlapping spans of one sentence.

    regrets: (n, 1 + W·R) in float64, how much worse than the best way to the boundary after a token
    each way there is, +inf if it is not possible: the token outside and then, by width and label,
    the spans that end with it. log_prob: the log-probability of the best set.
    """
    n_tokens = len(regrets)
    best = regrets.argmin(axis=1)

    # A path has the last way of each step at the step's last token and -1 at its other tokens.
    def sidetracks(path: Ints1d, limit: int) -> Floats2d:
        reached = np.flatnonzero(path[:limit] >= 0)
        costs = np.full((limit, regrets.shape[1]), np.inf)
        costs[reached] = regrets[reached]
        costs[reached, path[reached]] = np.inf
        return costs

    def follow(path: Ints1d, last: int, way: int) -> Ints1d:
        path = path.copy()
        while True:
            first = last - _width(way, n_labels)
            path[last] = way
            path[first:last] = -1
            last = first - 1
            if last < 0 or path[last] >= 0:
                return path
            way = int(best[last])

    path = np.full(n_tokens, -1)
    if n_tokens:
        path = follow(path, n_tokens - 1, int(best[-1]))
    found = _best_first(k, path, n_tokens, sidetracks, follow)
    return [(_spans(path, n_labels), log_prob - cost) for path, cost in found]


def _width(way: int, n_labels: int) -> int:
    """How many tokens before its last one a way is over."""
    return max(way - 1, 0) // n_labels


def _spans(path: Ints1d, n_labels: int) -> SpanSet:
    lasts = np.flatnonzero(path > 0)
    widths, labels = np.divmod(path[lasts] - 1, n_labels)
    return frozenset(zip((lasts - widths).tolist(), lasts.tolist(), labels.tolist()))


def _best_first(
    k: int, best: Ints1d, n_tokens: int, sidetracks: Sidetracks, follow: Follow
) -> list[tuple[Ints1d, float]]:
    """The `k` cheapest outputs and what each costs more than the best, cheapest first.

    `sidetracks(path, limit)` gives the extra costs (limit, L) of other labels at the positions
    before `limit`, +inf where there is none; `follow(path, position, label)` is the output that
    takes one.
    """
    found: list[tuple[Ints1d, float]] = []
    heap: list[tuple[float, int, Ints1d, int, int]] = [(0.0, 0, best, n_tokens, -1)]
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
        width = extra.shape[1]
        flat = extra.ravel()
        if len(flat) > n_wanted:
            chosen = flat.argpartition(n_wanted - 1)[:n_wanted]
        else:
            chosen = np.arange(len(flat))
        for index, added in zip(chosen.tolist(), flat.take(chosen).tolist()):
            if added < np.inf:
                position, label = divmod(index, width)
                heapq.heappush(heap, (cost + added, n_pushed, path, position, label))
                n_pushed += 1
    return found
