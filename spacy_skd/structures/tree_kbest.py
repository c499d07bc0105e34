"""Exact k-best trees: the best tree splits what is left in two, again and again.

As in Camerini, Fratta and Maffioli, 1980. A part of all trees is given by arcs that they have to
have and arcs that they must not have. Of each part its best tree is known, and which arc of this
tree costs least to do without: the best tree that does so is the part's second one. When that is
the best of all that are left, the part is split into the trees that have the arc, whose best is the
same as before, and those that have not, whose best is the one that was found.

What is needed is the score of the best tree without each of a tree's arcs. Projective trees have it
from their charts. For the others, tokens are eliminated as in `matrix_tree`, with maxima in place
of sums. Runs on the host in float64.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from itertools import count
from typing import TypeAlias

import numpy as np

from .arborescence import best_trees
from .arc_layout import ArcLayout
from .base import Floats1d, Floats2d, Floats3d, Ints1d, Ints2d
from .projective_tree import MAXIMA, Charts, best_projective_trees
from .tree_buckets import Bucket, tree_buckets

Arc: TypeAlias = tuple[int, int]
ScoredTrees: TypeAlias = list[tuple[Ints1d, float]]
CELLS = 20_000
ALL_BUT_FORBIDDEN = -1e6
"""How much worse than a token's best head others are at most, to the search for further trees that
need not be projective. With larger numbers, what roots cost would hide the other scores."""


def tree_kbest(scores: Floats1d, layout: ArcLayout, k: int, projective: bool) -> list[ScoredTrees]:
    """The `k` best trees with one root of every sentence and their scores, best first.

    scores: (Σ n(n + 1),) in float64, -inf where tokens are their own heads; every token has a
    possible head. Raises SentenceError for a sentence that has no tree.
    """
    find = best_projective_trees if projective else best_trees
    best = layout.split(find(scores, layout, layout.row_argmax(scores)))
    blocks = layout.blocks(scores)
    if projective:
        bounded = blocks
    else:
        least = layout.spread(layout.row_max(scores) + ALL_BUT_FORBIDDEN)
        possible = scores > -np.inf
        bounded = layout.blocks(np.where(possible, np.maximum(scores, least), scores))
    searches = [_Search(*sentence) for sentence in zip(blocks, bounded, best)]
    for bucket in tree_buckets(layout, CELLS, min_fill=1):
        _search([searches[sentence] for sentence in bucket.sentences.tolist()], k, projective)
    return [search.found for search in searches]


@dataclass
class _Part:
    """Some of the trees of a sentence: those with and without certain arcs (token, head)."""

    heads: Ints1d  # of the best tree
    required: tuple[Arc, ...] = ()
    forbidden: tuple[Arc, ...] = ()

    def of(self, scores: Floats2d) -> Floats2d:
        """The scores of arcs, (n, n + 1), with -inf for what the trees do not have."""
        scores = scores.copy()
        for token, head in self.required:
            score = scores[token, head]
            scores[token] = -np.inf
            scores[token, head] = score
        for arc in self.forbidden:
            scores[arc] = -np.inf
        return scores


@dataclass
class _Search:
    """What is known of one sentence: the trees found, and parts by the scores of their second ones.

    scores: (n, n + 1). bounded: those to search by. best: (n,) the heads of the best tree.
    """

    scores: Floats2d
    bounded: Floats2d
    best: Ints1d
    heap: list[tuple[float, int, _Part, int]] = field(default_factory=list)
    found: ScoredTrees = field(default_factory=list)

    def __post_init__(self) -> None:
        self.add(self.best)

    def add(self, heads: Ints1d) -> None:
        self.found.append((heads, float(self.scores[np.arange(len(heads)), heads].sum())))


def _search(searches: list[_Search], k: int, projective: bool) -> None:
    """Find the `k` best trees of sentences of the same length, a tree of each in every round."""
    seconds = projective_seconds if projective else tree_seconds
    find = best_projective_trees if projective else best_trees
    numbers = count()
    parts = [(search, _Part(search.best)) for search in searches] if k > 1 else []
    while parts:
        scores = np.stack([part.of(search.bounded) for search, part in parts])
        without = seconds(scores, np.stack([part.heads for _, part in parts]))
        for (search, part), token, row in zip(parts, without.argmax(axis=1).tolist(), without):
            if row[token] > -np.inf:
                heapq.heappush(search.heap, (-float(row[token]), next(numbers), part, token))
        parts = []
        popped = [search for search in searches if search.heap and len(search.found) < k]
        for search in popped:
            _, _, part, token = heapq.heappop(search.heap)
            arc = token, int(part.heads[token])
            parts.append((search, _Part(part.heads, (*part.required, arc), part.forbidden)))
            parts.append((search, _Part(part.heads, part.required, (*part.forbidden, arc))))
        if not popped:
            return
        flat = np.concatenate([part.of(search.bounded).ravel() for search, part in parts[1::2]])
        layout = ArcLayout(np.full(len(popped), len(popped[0].best)))
        heads = layout.split(find(flat, layout, layout.row_argmax(flat)))
        for (search, part), best in zip(parts[1::2], heads):
            part.heads = best
            search.add(best)
    for search in searches:
        # Scores by charts are those of trees but for rounding.
        search.found.sort(key=lambda tree: -tree[1])


def projective_seconds(scores: Floats3d, heads: Ints2d) -> Floats2d:
    """The score of the best projective tree in which each token has another head, (P, n).

    scores: (P, n, n + 1), of sentences of n tokens. heads: (P, n), of their best trees.
    """
    n_problems, n_tokens = heads.shape
    layout = ArcLayout(np.full(n_problems, n_tokens))
    bucket = Bucket(layout, np.arange(n_problems), layout.lengths)
    arcs = Charts(scores, bucket, MAXIMA).arcs()
    np.put_along_axis(arcs, heads[:, :, None], -np.inf, axis=2)
    return arcs.max(axis=2)


def tree_seconds(scores: Floats3d, heads: Ints2d) -> Floats2d:
    """The score of the best tree with one root in which each token has another head, (P, n).

    scores: (P, n, n + 1), of sentences of n tokens, -inf where tokens are their own heads. heads:
    (P, n), of their best trees. -inf where there is no such tree.

    For each token all others have to be eliminated: half of them for one half of the tokens, the
    other half for the others, and so on. Beside the rows of tokens that are as they are there are
    those without the head of the best tree. They are not needed until their token is the last, so
    they change with the columns alone. O(n³) for all tokens together.
    """
    n_problems, n_tokens = heads.shape
    peaks = scores.max(axis=2)
    rows = np.stack([scores - peaks[:, :, None]] * 2, axis=1)
    # Arcs from the root cost more than anything else, so that there is as few of them as can be.
    lowest = np.where(rows[:, 0] > -np.inf, rows[:, 0], 0).min(axis=(1, 2))
    cost = 2 * (n_tokens + 1) * (1 - lowest)
    rows[:, :, :, 0] -= cost[:, None, None]
    np.put_along_axis(rows[:, 1], heads[:, :, None], -np.inf, axis=2)
    totals, tokens = np.zeros(n_problems), np.tile(np.arange(n_tokens), (n_problems, 1))
    while (size := tokens.shape[1]) > 1:
        if size % 2:
            rows, tokens = _with_one_more(rows, tokens, n_tokens)
            size += 1
        half = size // 2
        order = np.roll(np.arange(size), half)
        swapped = rows[:, :, order][:, :, :, np.concatenate([[0], order + 1])]
        rows = np.concatenate([rows, swapped])
        totals = np.concatenate([totals, totals])
        for last in range(size - 1, half - 1, -1):
            row = rows[:, 0, last, : last + 1]
            best = row.max(axis=1)
            totals += best
            ways = rows[:, :, :last, last + 1, None] + (row - best[:, None])[:, None, None]
            left = rows[:, :, :last, : last + 1]
            np.maximum(left, ways, out=left)
        rows = rows[:, :, :half, : half + 1]
        tokens = np.concatenate([tokens[:, :half], tokens[:, half:]])
    found = np.full((n_problems, n_tokens + 1), -np.inf)
    problems = np.arange(len(tokens)) % n_problems
    found[problems, tokens[:, 0]] = totals + rows[:, 1, 0, 0]
    found = found[:, :-1] + cost[:, None]
    # With two roots the cost is there once more.
    found[found < -cost[:, None] / 2] = -np.inf
    return found + peaks.sum(axis=1)[:, None]


def _with_one_more(rows: Floats3d, tokens: Ints2d, number: int) -> tuple[Floats3d, Ints2d]:
    """The same with one more token, under the root and with no other below it."""
    n_problems, _, size, _ = rows.shape
    more = np.full((n_problems, 2, size + 1, size + 2), -np.inf)
    more[:, :, :-1, :-1] = rows
    more[:, :, -1, 0] = 0
    return more, np.concatenate([tokens, np.full((n_problems, 1), number)], axis=1)
