"""Sums and maxima over projective dependency trees with one root (docs/math.md §2.4).

Eisner's charts, 1996: a complete span (i, j) is a head i with all that is below it up to j; an
incomplete one has an arc from i to j and is complete up to where the two meet. Spans whose head is
at the right are those of the mirrored sentence, so every array has two directions. All spans of
the same width, of all sentences of a bucket, are done at once, in float64.

The way back gives each span its part in the trees: for sums its probability, which for an
incomplete span is that of the arc; for maxima the score of the best tree that has it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from .arborescence import is_tree
from .arc_layout import ArcLayout
from .arc_weights import ArcWeights
from .base import Bools1d, Floats1d, Floats3d, Ints1d, SentenceError, array_module, to_host
from .tree_buckets import Bucket, tree_buckets

CELLS = 50_000
MIN_FILL = 0.6  # spans that only longer sentences have are no use to a shorter one


class ProjectiveTrees:
    """log Z and the probabilities of arcs, over all projective trees with one root.

    scores: (Σ n(n + 1),), -inf where tokens are their own heads.

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
        for bucket, _, totals in self._charts:
            log_z[xp.asarray(bucket.sentences)] = totals
        return log_z

    @cached_property
    def marginals(self) -> Floats1d:
        """The probability of every arc, (cells,)."""
        flat = array_module(self.scores).zeros(self.layout.n_cells)
        for bucket, charts, _ in self._charts:
            bucket.scatter(charts.arcs(), flat)
        return flat

    @cached_property
    def _charts(self) -> list[tuple[Bucket, Charts, Floats1d]]:
        """Charts and log Z: of all sentences by weights, then of the hard ones by logarithms."""
        xp, easy, hard = array_module(self.scores), [], []
        for bucket in tree_buckets(self.layout, CELLS, MIN_FILL):
            weights = ArcWeights(bucket.gather(self.scores), bucket)
            charts = Charts(weights.values, bucket, PRODUCTS)
            with np.errstate(all="ignore"):
                log_weights = xp.log(charts.totals)
            log_z = log_weights + weights.log_scale
            rows = weights.too_small(log_weights)
            if len(rows) < len(log_z):
                easy.append((bucket, charts, log_z))
            if len(rows):
                bucket = bucket.select(rows)
                charts = Charts(bucket.gather(self.scores), bucket, LOGS)
                charts.check()
                hard.append((bucket, charts, charts.totals))
        return easy + hard


def best_projective_trees(scores: Floats1d, layout: ArcLayout, greedy: Ints1d) -> Ints1d:
    """The best projective tree with one root of every sentence, head numbers (N,) on the host.

    scores: (Σ n(n + 1),), -inf where tokens are their own heads. greedy: (N,) the best head of
    every token, which has to be possible. Raises SentenceError for a sentence that has no tree.
    """
    good = is_tree(greedy, layout.lengths) & is_projective(greedy, layout)
    if good.all():
        return greedy
    wrong = np.flatnonzero(~good)
    cells, lengths = layout.select(wrong)
    part = ArcLayout(lengths, layout.xp)
    scores, heads = scores.take(cells), greedy.copy()
    for bucket in tree_buckets(part, CELLS, MIN_FILL):
        charts = Charts(bucket.gather(scores), bucket, MAXIMA)
        try:
            charts.check()
        except SentenceError as error:
            raise SentenceError(error.message, int(wrong[error.sentence])) from None
        for sentence, best in zip(bucket.sentences.tolist(), charts.best()):
            start = layout.token_offsets[wrong[sentence]]
            heads[start : start + len(best)] = best
    return heads


def is_projective(heads: Ints1d, layout: ArcLayout) -> Bools1d:
    """Whether no arcs of a sentence cross, (B,), the root being before all tokens.

    heads: (N,) head numbers on the host. Of trees with one root this makes the projective ones.
    """
    numbers = layout.positions + 1
    low, high = np.minimum(heads, numbers), np.maximum(heads, numbers)
    # Every cell of the layout is a pair of tokens; the cells of the root pair tokens with
    # themselves.
    tokens = np.repeat(np.arange(layout.n_tokens), layout.widths)
    columns = np.arange(layout.n_cells) - layout.row_starts[tokens]
    others = np.where(columns == 0, tokens, tokens - numbers[tokens] + columns)
    between = (low[tokens] < low[others]) & (low[others] < high[tokens])
    crossing = tokens[between & (high[tokens] < high[others])]
    good = np.ones(layout.n_sentences, dtype=bool)
    good[layout.sentences[crossing]] = False
    return good


class Semiring(NamedTuple):
    """How spans are put together, and how what a span has is shared by the ways to it.

    A way joins two parts. one: a part with nothing in it. impossible: a part that cannot be.
    total: parts and parts, both (..., K), to the total of their K ways (...). share: parts and
    parts, the total of the ways and what it has, to what each way has. nothing: what a span has at
    first; add: adds to it, in place. all: what the total of a sentence has.
    """

    join: Any
    one: float
    impossible: float
    total: Callable[[Any, Any], Any]
    share: Callable[[Any, Any, Any, Any], Any]
    nothing: float
    add: Callable[[Any, Any], Any]
    all: Callable[[Any], Any]


def _log_sum(one: Any, other: Any) -> Any:
    ways = one + other
    xp = array_module(ways)
    peaks = _finite(ways.max(axis=-1))
    ways -= peaks[..., None]
    xp.exp(ways, out=ways)
    return xp.log(ways.sum(axis=-1)) + peaks


def _share_of_log_sum(one: Any, other: Any, total: Any, has: Any) -> Any:
    ways = one + other
    ways -= _finite(total)[..., None]
    array_module(ways).exp(ways, out=ways)
    ways *= has[..., None]
    return ways


def _dot(one: Any, other: Any) -> Any:
    return array_module(one).einsum("...k,...k->...", one, other)


def _share_of_dot(one: Any, other: Any, total: Any, has: Any) -> Any:
    ways = one * other
    ways *= (has / array_module(ways).where(total > 0, total, 1))[..., None]
    return ways


def _share_of_max(one: Any, other: Any, total: Any, has: Any) -> Any:
    ways = one + other
    ways += (has - _finite(total))[..., None]
    return ways


def _finite(values: Any) -> Any:
    """The same with 0 for -inf: what it is subtracted from is -inf, and stays it."""
    return array_module(values).where(values > -np.inf, values, 0)


def _keep_larger(target: Any, values: Any) -> None:
    array_module(target).maximum(target, values, out=target)


def _ones(totals: Any) -> Any:
    return array_module(totals).ones(totals.shape)


# Of weights, fast; of their logarithms, for any scores; and of the best alone.
PRODUCTS = Semiring(operator.mul, 1.0, 0.0, _dot, _share_of_dot, 0.0, operator.iadd, _ones)
LOGS = Semiring(operator.add, 0.0, -np.inf, _log_sum, _share_of_log_sum, 0.0, operator.iadd, _ones)
MAXIMA = Semiring(
    operator.add,
    0.0,
    -np.inf,
    lambda one, other: (one + other).max(axis=-1),
    _share_of_max,
    -np.inf,
    _keep_larger,
    lambda totals: totals,
)


class Charts:
    """All spans of the sentences of a bucket, (2, P, n, n): direction, sentence, start, width.

    In direction 0 heads are at the left; direction 1 is the same for the mirrored bucket, of which
    its starts are. Complete spans are there by their starts and by their ends, so that all that is
    put together are slices.

    scores: (P, n, n + 1) in float64, those of the semiring.
    """

    def __init__(self, scores: Floats3d, bucket: Bucket, semiring: Semiring) -> None:
        self.scores = scores
        self.bucket = bucket
        self.semiring = semiring
        n_tokens, xp = bucket.width, array_module(scores)
        shape = (2, len(scores), n_tokens, n_tokens)
        self.starts, self.ends, self.open = (xp.full(shape, semiring.impossible) for _ in range(3))
        self.starts[..., 0] = self.ends[..., 0] = semiring.one
        # By width, (P, n - width): the totals of what incomplete spans have inside.
        self.inner: list[Any] = [None]
        with np.errstate(all="ignore"):
            self._fill()
            self.totals = semiring.total(*self._root_parts())

    def arcs(self) -> Floats3d:
        """What each arc has, (P, n, n + 1): its probability, or the score of its best tree."""
        with np.errstate(all="ignore"):
            return self._arcs()

    def check(self) -> None:
        """Raise a SentenceError for a sentence that has no tree."""
        possible = to_host(self.totals > self.semiring.impossible)
        if not possible.all():
            row = int(possible.argmin())
            raise SentenceError(
                f"({self.bucket.lengths[row]} tokens) has no possible projective dependency tree "
                f"with one root: in every such tree there is an arc whose score is -inf",
                int(self.bucket.sentences[row]),
            )

    def best(self) -> list[Ints1d]:
        """The heads of the best tree of each sentence; the charts have to be those of maxima."""
        one, other = self._root_parts()
        roots = to_host((one + other).argmax(axis=1)).tolist()
        charts = [to_host(chart) for chart in (self.starts, self.ends, self.open)]
        return [
            _follow([chart[:, row] for chart in charts], root, length)
            for row, (root, length) in enumerate(zip(roots, self.bucket.lengths.tolist()))
        ]

    def _fill(self) -> None:
        total, join = self.semiring.total, self.semiring.join
        n_tokens, arcs = self.bucket.width, self.scores[:, :, 1:]
        for width in range(1, n_tokens):
            alive, first = self.bucket.alive[width], n_tokens - width
            inner = total(*self._inner_parts(width))
            right, left = arcs[:alive].diagonal(-width, 1, 2), arcs[:alive].diagonal(width, 1, 2)
            self.open[0, :alive, :first, width] = join(inner, right)
            self.open[1, :alive, first - 1 :: -1, width] = join(inner, left)
            whole = total(*self._complete_parts(width))
            self.starts[:, :alive, :first, width] = whole
            self.ends[:, :alive, width:, width] = whole
            self.inner.append(inner)

    def _arcs(self) -> Floats3d:
        semiring, n_tokens = self.semiring, self.bucket.width
        share, add = semiring.share, semiring.add
        xp = array_module(self.scores)
        by_start, by_end, of_open = (xp.full(self.open.shape, semiring.nothing) for _ in range(3))
        arcs = xp.full(self.scores.shape, semiring.nothing)
        arcs[:, :, 0] = share(*self._root_parts(), self.totals, semiring.all(self.totals))
        for direction in (0, 1):
            by_start[self._below_root(direction)] = arcs[:, :, 0]
        for width in range(n_tokens - 1, 0, -1):
            alive, first = self.bucket.alive[width], n_tokens - width
            here = (slice(None), slice(alive), slice(first), width)
            whole = by_start[here]
            add(whole, by_end[:, :alive, width:, width])
            shares = share(*self._complete_parts(width), self.starts[here], whole)
            add(of_open[:, :alive, :first, 1 : width + 1], shares)
            add(by_end[:, :alive, width:, width - 1 :: -1], shares)
            right, left = of_open[0][here[1:]], of_open[1][here[1:]][:, ::-1]
            tokens = xp.arange(first)
            arcs[:alive, tokens + width, tokens + 1] = right
            arcs[:alive, tokens, tokens + width + 1] = left
            either = right.copy()
            add(either, left)
            shares = share(*self._inner_parts(width), self.inner[width], either)
            add(by_start[0, :alive, :first, :width], shares)
            add(by_start[1, :alive, first - 1 :: -1, width - 1 :: -1], shares)
        return arcs

    def _inner_parts(self, width: int) -> tuple[Any, Any]:
        """The complete spans inside incomplete ones, by where they meet: (P, n - width, width)."""
        alive, first = self.bucket.alive[width], self.bucket.width - width
        right = self.starts[0, :alive, :first, :width]
        return right, self.starts[1, :alive, first - 1 :: -1, width - 1 :: -1]

    def _complete_parts(self, width: int) -> tuple[Any, Any]:
        """The incomplete and the complete part of complete spans, by the width of the first:
        (2, P, n - width, width)."""
        alive, first = self.bucket.alive[width], self.bucket.width - width
        part = self.open[:, :alive, :first, 1 : width + 1]
        return part, self.ends[:, :alive, width:, width - 1 :: -1]

    def _root_parts(self) -> tuple[Any, Any]:
        """The arc from the root with what is at the left of its token, and what is at the right, by
        the token: (P, n)."""
        left, right = (self.starts[self._below_root(direction)] for direction in (1, 0))
        return self.semiring.join(self.scores[:, :, 0], left), right

    def _below_root(self, direction: int) -> tuple[Any, ...]:
        """Where the complete spans on one side of each token are, up to the sentence's end."""
        # For tokens after the end these are places that no span has.
        xp, n_tokens = array_module(self.scores), self.bucket.width
        sentences = xp.arange(len(self.scores))[:, None]
        tokens = xp.arange(n_tokens)
        if direction:
            return direction, sentences, n_tokens - 1 - tokens, tokens
        return direction, sentences, tokens, xp.asarray(self.bucket.lengths)[:, None] - 1 - tokens


def _follow(charts: list[Any], root: int, length: int) -> Ints1d:
    """The heads of the best tree of one sentence, given its charts (2, n, n) and its root."""
    starts, ends, opened = charts
    last = starts.shape[1] - 1
    heads = np.zeros(length, dtype=np.int64)
    complete = [(0, root, length - 1 - root), (1, last - root, root)]
    while complete:
        direction, start, width = complete.pop()
        if not width:
            continue
        ways = opened[direction, start, 1 : width + 1]
        ways = ways + ends[direction, start + width, width - 1 :: -1]
        part = int(ways.argmax()) + 1
        complete.append((direction, start + part, width - part))
        head, token = start, start + part
        if direction:
            head, token = last - head, last - token
        heads[token] = head + 1
        low = min(head, token)
        mirrored = last - low - part
        ways = starts[0, low, :part] + starts[1, mirrored, part - 1 :: -1]
        inner = int(ways.argmax())
        complete.append((0, low, inner))
        complete.append((1, mirrored, part - 1 - inner))
    return heads
