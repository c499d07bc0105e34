"""Distributions over spans as marginals of BILUO labels and of pairs of them (docs/math.md §4)."""

from __future__ import annotations

import numpy as np

from .base import Floats1d, Floats2d, Floats3d, array_module
from .chain import ChainMarginals
from .chain_spans import biluo_columns
from .packing import Packing


def biluo_marginals(
    spans: Floats3d, outside: Floats1d, packing: Packing, weights: Floats1d | None
) -> ChainMarginals:
    """The marginals that a chain over `biluo_labels` would have.

    spans: (W, R, N) the probability of every span, 0 for what sticks out. outside: (N,) that of
    every token to be in none. weights: (B,) of the sentences in the sums.
    """
    xp = array_module(spans)
    if weights is None:
        weights = xp.ones(packing.n_sentences, dtype=spans.dtype)
    token_weights = weights[packing.sentences]
    tokens = _tokens(spans, outside)
    pairs = _pairs_within(spans @ token_weights)
    pairs += _pairs_between(tokens, token_weights, packing)
    sentence_weights = weights[packing.nonempty]
    return ChainMarginals(
        tokens,
        pairs,
        sentence_weights @ tokens[packing.first_tokens],
        sentence_weights @ tokens[packing.last_tokens],
    )


def _tokens(spans: Floats3d, outside: Floats1d) -> Floats2d:
    """The probability of every label at every token, (N, 1 + 4R)."""
    xp = array_module(spans)
    max_width, n_labels, n_tokens = spans.shape
    begin, inside, last = xp.zeros((3, n_labels, n_tokens), dtype=spans.dtype)
    # Widest first: `begin` is then the spans that go on beyond the token `width` after their first.
    for width in range(min(max_width, n_tokens) - 1, 0, -1):
        reached = slice(n_tokens - width)
        inside[:, width:] += begin[:, reached]
        last[:, width:] += spans[width, :, reached]
        begin += spans[width]
    tokens = xp.empty((n_tokens, 1 + 4 * n_labels), dtype=spans.dtype)
    tokens[:, 0] = outside
    for column, part in enumerate((begin, inside, last, spans[0]), start=1):
        tokens[:, column::4] = part.T
    return tokens


def _pairs_within(totals: Floats2d) -> Floats2d:
    """Σ of the pairs of neighbours in one span, (L, L), from the sum of every kind of span, (W, R).

    A span of three tokens or more has one pair (B, I) and one (I, L), and all others are (I, I).
    """
    xp = array_module(totals)
    max_width, n_labels = totals.shape
    begin, inside, last, _ = map(xp.asarray, biluo_columns(n_labels))
    pairs = xp.zeros((1 + 4 * n_labels,) * 2, dtype=totals.dtype)
    if max_width > 1:
        pairs[begin, last] = totals[1]
    long = totals[2:]
    pairs[begin, inside] = pairs[inside, last] = long.sum(axis=0)
    pairs[inside, inside] = xp.arange(len(long), dtype=totals.dtype) @ long
    return pairs


def _pairs_between(tokens: Floats2d, token_weights: Floats1d, packing: Packing) -> Floats2d:
    """Σ of the pairs of neighbours that are not in one span, (L, L).

    Given that no span covers both, what is left of a boundary is independent of what is right.
    """
    xp = array_module(tokens)
    n_labels = tokens.shape[1]
    outside = np.zeros(1, dtype=np.int64)
    begin, _, last, unit = biluo_columns(n_labels // 4)
    closing, opening = (xp.asarray(np.concatenate([outside, ends, unit])) for ends in (last, begin))
    after = packing.inner_tokens
    left = tokens[after - 1].take(closing, axis=1)
    right = tokens[after].take(opening, axis=1)
    totals = left.sum(axis=1)
    totals[totals == 0] = 1
    left *= (token_weights[after] / totals)[:, None]
    pairs = xp.zeros((n_labels, n_labels), dtype=tokens.dtype)
    pairs[closing[:, None], opening] = left.T @ right
    return pairs
