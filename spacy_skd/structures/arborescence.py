"""Maximum spanning arborescences: the best dependency tree of a sentence (docs/math.md §2.4).

The best head of every token by itself is the answer where it gives a tree, which is checked for all
sentences of a batch at once; the others are done one by one on the host, in float64, by the
algorithm of Chu and Liu (1965) and Edmonds (1967): O(n²) a sentence, as in Tarjan (1977).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .arc_layout import ArcLayout
from .base import (
    Bools1d,
    Floats1d,
    Floats2d,
    Ints1d,
    SentenceError,
    as_integers,
    as_lengths,
    as_scores,
    to_host,
)


def maximum_arborescence(scores: Floats2d, single_root: bool = True) -> Ints1d:
    """The best dependency tree of one sentence, exactly: head numbers (n,).

    scores: (n, n + 1); [d, h]: token d has the head number h, 0 for the root, k for token k - 1.
        -inf forbids an arc; [d, d + 1] is ignored.
    single_root: one token has the head number 0; else at least one.

    Raises ValueError for another shape, NaN and +inf, and where there is no tree.
    """
    n_tokens = len(scores)
    if not n_tokens:
        return np.zeros(0, dtype=np.int64)
    scores = as_scores(to_host(scores), "scores", (n_tokens, n_tokens + 1)).astype(np.float64)
    scores.ravel()[1 :: n_tokens + 2] = -np.inf
    if not float(scores.max()) < np.inf:
        raise ValueError("scores must be numbers or -inf, but there is a NaN or +inf in them")
    heads = None if (scores.max(axis=1) == -np.inf).any() else _best_tree(scores, single_root)
    if heads is None:
        raise ValueError(f"There is {_no_tree(single_root)}")
    return heads


def best_trees(
    scores: Floats1d, layout: ArcLayout, greedy: Ints1d, single_root: bool = True
) -> Ints1d:
    """The best tree of every sentence of a batch, head numbers (N,) on the host.

    scores: (Σ n(n + 1),), -inf where tokens are their own heads. greedy: (N,) the best head of
    every token, which has to be possible. Raises SentenceError for a sentence that has no tree.
    """
    if layout.packing.is_alone:
        wrong = [] if is_one_tree(greedy.tolist(), single_root) else [0]
    else:
        wrong = np.flatnonzero(~is_tree(greedy, layout.lengths, single_root)).tolist()
    if not wrong:
        return greedy
    heads = greedy.copy()
    tokens, cells = layout.token_offsets.tolist(), layout.arc_offsets.tolist()
    for sentence in wrong:
        first, last = tokens[sentence], tokens[sentence + 1]
        block = to_host(scores[cells[sentence] : cells[sentence + 1]]).astype(np.float64)
        found = _best_tree(block.reshape(last - first, -1), single_root)
        if found is None:
            raise SentenceError(f"({last - first} tokens) has {_no_tree(single_root)}", sentence)
        heads[first:last] = found
    return heads


def is_tree(
    heads: Ints1d | Sequence[Any], lengths: Ints1d | None = None, single_root: bool = True
) -> Bools1d:
    """Whether the heads of each sentence are a dependency tree, (B,).

    heads: head numbers, a sequence for each sentence; with `lengths`, (B,), all of them in one
        array (N,). Numbers that no token of the sentence has make it no tree.
    single_root: exactly one token has the head number 0; else at least one. A sentence without
        tokens is a tree.

    Raises ValueError for what are no heads of sentences.
    """
    if lengths is None:
        if any(np.ndim(sentence) != 1 for sentence in heads):
            raise ValueError(
                "heads should be a sequence of head numbers for each sentence, as [[2, 0], [0]], "
                "or one array of all with lengths"
            )
        lengths = np.asarray([len(sentence) for sentence in heads], dtype=np.int64)
        arrays = [to_host(sentence) for sentence in heads if len(sentence)]
        heads = np.concatenate(arrays or [np.zeros(0)])
    flat = as_integers(heads, "Head numbers")
    lengths = as_lengths(lengths, len(flat))
    n_tokens, n_sentences = len(flat), len(lengths)
    sentences = np.arange(n_sentences).repeat(lengths)
    # The root is a token after all others that is its own head.
    above = np.full(n_tokens + 1, n_tokens, dtype=np.int64)
    of_tokens = above[:-1]
    np.add(flat, (lengths.cumsum() - lengths - 1)[sentences], out=of_tokens)
    is_root = flat == 0
    of_tokens[is_root] = n_tokens
    outside = (flat < 0) | (flat > lengths[sentences])
    if outside.any():
        of_tokens[outside] = np.flatnonzero(outside)
    for _ in range(int(lengths.max(initial=1)).bit_length()):
        above = above.take(above)
    good = np.ones(n_sentences, dtype=bool)
    good[sentences[above[:-1] != n_tokens]] = False
    if single_root:
        good &= np.bincount(sentences[is_root], minlength=n_sentences) <= 1
    return good


def is_one_tree(heads: list[int], single_root: bool) -> bool:
    """`is_tree` of one sentence, which someone waits for: arrays pay for more than one."""
    if single_root and heads.count(0) > 1:
        return False
    met_by = [0] * (len(heads) + 1)  # the token from which each was met first
    met_by[0] = -1
    for first in range(1, len(heads) + 1):
        token = first
        while not met_by[token]:
            met_by[token] = first
            token = heads[token - 1]
        if met_by[token] == first:
            return False
    return True


def _best_tree(scores: Floats2d, single_root: bool) -> Ints1d | None:
    """The best tree; None if there is none.

    scores: (n, n + 1) in float64; -inf where tokens are their own heads; every token has a
    possible head.
    """
    heads = scores.argmax(axis=1)
    # What the root gets greedily it keeps: with two such tokens there is no need to try.
    if not single_root or _n_roots(heads) < 2:
        found = _Nodes(scores, heads).tree()
        if found is None or not single_root or _n_roots(found) < 2:
            return found
    heads = scores[:, 1:].argmax(axis=1) + 1
    best = scores[np.arange(len(heads)), heads]
    gains = scores[:, 0] - best
    # A price on roots at which one token alone still takes it. What is the best tree at some price
    # is, if it has one root, the best of those with one.
    price = np.partition(gains, -2)[-2]
    if np.isfinite(price):
        priced, greedy = scores.copy(), heads.copy()
        priced[:, 0] -= price
        greedy[gains.argmax()] = 0
        found = _Nodes(priced, greedy).tree()
        if found is not None and _n_roots(found) < 2:
            return found
    # The root last: as if its arcs cost more than anything else, so there are as few as can be.
    heads[best == -np.inf] = 0
    found = _Nodes(scores, heads, root_last=True).tree()
    return found if found is not None and _n_roots(found) < 2 else None


def _n_roots(heads: Ints1d) -> int:
    return int(np.count_nonzero(heads == 0))


class _Nodes:
    """The tokens of a sentence, merged until the best heads of all nodes are a tree.

    Heads are followed from every token until the root, or a node seen before, is reached. A cycle
    becomes one node: its arcs are the best that each head has to one of the cycle's parts, relative
    to the arc that this part has in the cycle.

    scores: (n, n + 1) as in `_best_tree`. greedy: (n,) the best heads. root_last: only what has no
    other head gets the root.
    """

    def __init__(self, scores: Floats2d, greedy: Ints1d, root_last: bool = False) -> None:
        n_tokens = len(greedy)
        self.greedy = greedy
        self.first_head = int(root_last)
        # A node is named after the token whose row it uses.
        self.scores = scores - scores[np.arange(n_tokens), greedy][:, None]
        self.heads: list[int] = greedy.tolist()
        self.tokens = [[token] for token in range(n_tokens)]
        self.node_of = list(range(n_tokens))
        # Parts are tokens and, from n on, cycles in the order in which they are found: of each, its
        # parts, which of them each head's best arc enters, and its best head.
        self.part_of = list(range(n_tokens))
        self.cycles: list[tuple[list[int], Any, int]] = []

    def tree(self) -> Ints1d | None:
        """The head of every token; None if a node has no possible head."""
        heads, node_of = self.heads, self.node_of
        walk_of = [-1] * len(heads)
        for start in range(len(heads)):
            node = node_of[start]
            path: list[int] = []
            while walk_of[node] < 0:
                walk_of[node] = start
                path.append(node)
                if not heads[node]:
                    break
                node = node_of[heads[node] - 1]
                if walk_of[node] != start:
                    continue
                cycle = [path.pop()]
                while cycle[-1] != node:
                    cycle.append(path.pop())
                node = self._merge(cycle)
                if node < 0:
                    return None
                walk_of[node] = -1
        return self._expanded()

    def _merge(self, cycle: list[int]) -> int:
        """Make a cycle one node, and return it; -1 if it has no possible head."""
        rows = self.scores[cycle]
        entered = rows.argmax(axis=0)
        row = rows.max(axis=0)
        parts = [self.part_of[one] for one in cycle]
        node = max(cycle, key=lambda one: len(self.tokens[one]))
        inner = self.tokens[node]
        for one in cycle:
            if one != node:
                inner += self.tokens[one]
                for token in self.tokens[one]:
                    self.node_of[token] = node
        row[[token + 1 for token in inner]] = -np.inf
        best = int(row[self.first_head :].argmax()) + self.first_head
        if row[best] == -np.inf:
            best = 0
            if row[0] == -np.inf:
                return -1
        np.subtract(row, row[best], out=self.scores[node])
        self.heads[node] = best
        self.part_of[node] = len(self.node_of) + len(self.cycles)
        self.cycles.append((parts, entered, best))
        return node

    def _expanded(self) -> Ints1d:
        """The heads of the tokens.

        From the outermost cycles inwards: the part that a cycle's arc enters takes this arc, the
        others keep those they have in the cycle.
        """
        n_tokens = len(self.greedy)
        heads = self.greedy.copy()
        has_arc = [False] * (n_tokens + len(self.cycles))
        for part in range(len(has_arc) - 1, n_tokens - 1, -1):
            if has_arc[part]:
                continue
            best = self.cycles[part - n_tokens][2]
            while part >= n_tokens:
                parts, entered, _ = self.cycles[part - n_tokens]
                part = parts[entered.item(best)]
                has_arc[part] = True
            heads[part] = best
        return heads


def _no_tree(single_root: bool) -> str:
    roots = "one root" if single_root else "at least one root"
    return (
        f"no possible dependency tree with {roots}: in every tree there is an arc whose score is "
        f"-inf"
    )
