"""Sums over all dependency trees with one root, projective or not (docs/math.md §2.4).

The matrix-tree theorem makes the sum a determinant. Here it is not taken by subtracting rows, which
loses everything where tokens prefer each other as heads in a cycle, but by eliminating one token
after another. w(d, h) are the weights of the arcs from tokens d to heads h; without token k,

    w(d, h) += w(d, k) p(h),   p(h) = w(k, h) / s,   s = Σ w(k, h) over the tokens h that are left

and Z is the product of all s times the weight of the last token's arc to the root. All terms are
positive, so nothing cancels, whatever the scores are (Grassmann, Taksar and Heyman, 1985, for
Markov chains, which are the same matrices). The probability of an arc is its weight times the
derivative D of log Z, from the last token back to the first that was eliminated:

    D(d, k) = Σ_h D(d, h) p(h)      g(h) = Σ_d w(d, k) D(d, h)
    D(k, h) = (g(h) + 1 - Σ_h p(h) g(h)) / s      D(k, root) = g(root) / s

Koo, Globerson, Carreras and Collins, 2007; McDonald and Satta, 2007; Smith and Smith, 2007.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from .arborescence import best_trees
from .arc_layout import ArcLayout
from .arc_weights import ArcWeights
from .base import Floats1d, Floats2d, Floats3d, Ints1d, SentenceError, array_module, to_host
from .tree_buckets import Bucket, tree_buckets

# What fits into a fast cache, and is enough for the calls not to cost more than the numbers.
CELLS = 80_000
MAX_ERROR = 1e-9  # of the sum of a token's probabilities; else its sentence is done again


class MatrixTrees:
    """log Z and the probabilities of arcs, over all trees with one root.

    scores: (Σ n(n + 1),), -inf where tokens are their own heads; every token has a possible head.

    The work is done in float64 and when it is asked for; SentenceError is raised then for a
    sentence that has no tree.
    """

    def __init__(self, scores: Floats1d, layout: ArcLayout) -> None:
        self.scores = scores
        self.layout = layout

    @cached_property
    def log_z(self) -> Floats1d:
        """log Z of every sentence, (B,)."""
        xp = array_module(self.scores)
        log_z = xp.zeros(self.layout.n_sentences)
        for elimination in self._eliminations:
            log_z[xp.asarray(elimination.bucket.sentences)] = elimination.log_z
        for sentence, (value, _) in self._in_logs.items():
            log_z[sentence] = value
        return log_z

    @cached_property
    def marginals(self) -> Floats1d:
        """The probability of every arc, (cells,)."""
        self.log_z  # noqa: B018
        layout = self.layout
        flat = array_module(self.scores).zeros(layout.n_cells)
        for elimination in self._eliminations:
            elimination.bucket.scatter(elimination.marginals(), flat)
        del self._eliminations
        for sentence, (_, block) in self._in_logs.items():
            self._write(sentence, block, flat)
        errors = abs(layout.row_sum(flat) - 1)
        if layout.n_tokens and not float(errors.max()) < MAX_ERROR:
            wrong = layout.sentences[to_host(~(errors < MAX_ERROR))]
            for sentence in np.unique(wrong).tolist():
                self._write(sentence, self._sum_in_logs(sentence)[1], flat)
        return flat

    def _write(self, sentence: int, block: Floats2d, flat: Floats1d) -> None:
        start, stop = self.layout.arc_offsets[sentence : sentence + 2].tolist()
        flat[start:stop] = array_module(flat).asarray(block.ravel())

    @cached_property
    def _eliminations(self) -> list[_Elimination]:
        on_gpu = array_module(self.scores) is not np
        buckets = tree_buckets(self.layout, CELLS * 100 if on_gpu else CELLS)
        return [_Elimination(self.scores, bucket) for bucket in buckets]

    @cached_property
    def _in_logs(self) -> dict[int, tuple[float, Floats2d]]:
        """log Z and marginals of the sentences that float64 is not wide enough for."""
        hard = [
            sentence for elimination in self._eliminations for sentence in elimination.hard.tolist()
        ]
        return {sentence: self._sum_in_logs(sentence) for sentence in hard}

    def _sum_in_logs(self, sentence: int) -> tuple[float, Floats2d]:
        cells, lengths = self.layout.select([sentence])
        scores = to_host(self.scores.take(cells)).astype(np.float64)
        layout = ArcLayout(lengths)
        try:
            best = best_trees(scores, layout, layout.row_argmax(scores))
        except SentenceError as error:
            raise SentenceError(error.message, sentence) from None
        return sum_in_logs(layout.blocks(scores)[0], int((best == 0).argmax()))


class _Elimination:
    """The tokens of a bucket's sentences eliminated, the last ones first.

    The token that is likeliest to have the root as head is swapped with the first, so that it is
    the last one to go: if no other can have it, all lead to that one.
    """

    def __init__(self, scores: Floats1d, bucket: Bucket) -> None:
        self.bucket = bucket
        arcs = ArcWeights(bucket.gather(scores), bucket)
        self.weights = arcs.values
        self.lasts = self.weights[:, :, 0].argmax(axis=1)
        _swap(self.weights, self.lasts)
        # Rows of eliminated tokens are p; the other weights to them stay as they were then.
        self.left = self.weights.copy()
        xp = array_module(self.left)
        self.pivots = xp.ones(self.left.shape[:2])
        with np.errstate(all="ignore"):
            self._eliminate()
            log_weights = xp.log(self.pivots).sum(axis=1)
        self.log_z = log_weights + arcs.log_scale
        self.hard = bucket.sentences[arcs.too_small(log_weights)]

    def marginals(self) -> Floats3d:
        """The probabilities of arcs, (P, n, n + 1); of hard sentences not to be used."""
        with np.errstate(all="ignore"):
            slopes = self._slopes()
            slopes *= self.weights
        _swap(slopes, self.lasts)
        return slopes.clip(0, None, out=slopes)

    def _eliminate(self) -> None:
        for token in range(self.bucket.width - 1, 0, -1):
            alive = self.bucket.alive[token]
            left, pivots = self.left[:alive], self.pivots[:alive, token]
            row = left[:, token, : token + 1]
            row[:, 1:].sum(axis=1, out=pivots)
            row /= pivots[:, None]
            left[:, :token, : token + 1] += left[:, :token, token + 1, None] * row[:, None]
        self.pivots[:, 0] = self.left[:, 0, 0]

    def _slopes(self) -> Floats3d:
        """The derivatives of log Z with respect to the weights, (P, n, n + 1)."""
        xp = array_module(self.left)
        slopes = xp.zeros(self.left.shape)
        inverses = 1 / self.pivots
        slopes[:, 0, 0] = inverses[:, 0]
        for token in range(1, self.bucket.width):
            alive = self.bucket.alive[token]
            left = self.left[:alive]
            row = left[:, token, : token + 1]
            inner = slopes[:alive, :token, : token + 1]
            gains = (left[:, None, :token, token + 1] @ inner)[:, 0]
            slopes[:alive, :token, token + 1] = (inner @ row[:, :, None])[:, :, 0]
            rest = 1 - (gains * row).sum(axis=1)
            gains[:, 1:] += rest[:, None]
            slopes[:alive, token, : token + 1] = gains * inverses[:alive, token, None]
        return slopes


def _swap(arcs: Floats3d, tokens: Ints1d) -> None:
    """Swap one token of each sentence with its first one, in place. arcs: (P, n, n + 1)."""
    xp = array_module(arcs)
    pairs = xp.stack([xp.zeros_like(tokens), tokens], axis=1)
    sentences = xp.arange(len(tokens))[:, None]
    arcs[sentences, pairs] = arcs[sentences, pairs[:, ::-1]]
    arcs[sentences, :, pairs + 1] = arcs[sentences, :, pairs[:, ::-1] + 1]


def sum_in_logs(scores: Floats2d, root: int) -> tuple[float, Floats2d]:
    """log Z and the probabilities of the arcs of one sentence, for scores of any size.

    The same elimination on logarithms of weights: slower, but nothing is too small. scores: (n,
    n + 1) in float64. root: a token that has the head number 0 in a tree that is possible.
    """
    n_tokens = len(scores)
    order = np.arange(n_tokens)
    order[[0, root]] = root, 0
    columns = np.concatenate([[0], order + 1])
    scores = scores[order][:, columns]
    left, pivots = scores.copy(), np.zeros(n_tokens)
    with np.errstate(all="ignore"):
        for token in range(n_tokens - 1, 0, -1):
            row, inner = left[token, : token + 1], left[:token, : token + 1]
            pivots[token] = np.logaddexp.reduce(row[1:])
            row -= pivots[token]
            np.logaddexp(inner, left[:token, token + 1, None] + row, out=inner)
        pivots[0] = left[0, 0]
        slopes = np.full(left.shape, -np.inf)
        slopes[0, 0] = -pivots[0]
        for token in range(1, n_tokens):
            row, inner = left[token, : token + 1], slopes[:token, : token + 1]
            gains = np.logaddexp.reduce(inner + left[:token, token + 1, None], axis=0)
            slopes[:token, token + 1] = np.logaddexp.reduce(inner + row, axis=1)
            rest = 1 - np.exp(gains + row).sum()
            gains[1:] = _log_of_sum(gains[1:], rest)
            slopes[token, : token + 1] = gains - pivots[token]
        probabilities = np.exp(scores + slopes)
    return float(pivots.sum()), probabilities[order][:, columns]


def _log_of_sum(logs: Floats1d, number: float) -> Floats1d:
    """log(exp(logs) + number), where the number may be below zero but the sum is not."""
    small = np.log(np.maximum(np.exp(np.minimum(logs, 50)) + number, 0))
    return np.where(logs > 50, logs, small)
