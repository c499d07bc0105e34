"""The probabilities of a few spans, without those of all others (docs/math.md §5).

Spans are given by their first and last tokens, numbers in the whole batch, and label indices. What
is returned lives on the host.
"""

from __future__ import annotations

from functools import singledispatch
from typing import NamedTuple, TypeAlias

import numpy as np

from .base import Floats1d, Floats2d, Floats3d, Ints1d, to_host
from .chain import LinearChain
from .chain_spans import SpanColumns, span_columns, span_pairs
from .local_spans import LocalSpans
from .spans import FlatSpans

SpanDistribution: TypeAlias = LinearChain | FlatSpans | LocalSpans
BOTH, BEGUN, ONWARDS, CLOSED = 1, 0, 2, 3  # B and L, B and I, I and I, I and L: see `span_pairs`


class LikelySpans(NamedTuple):
    """Spans with their probabilities, (M,) each, ordered by first token, last token and label."""

    firsts: Ints1d
    lasts: Ints1d
    labels: Ints1d
    probabilities: Floats1d


@singledispatch
def span_probabilities(
    structure: SpanDistribution, firsts: Ints1d, lasts: Ints1d, labels: Ints1d
) -> Floats1d:
    """The probability that each span is in an output, (M,), in the dtype of the scores.

    structure: a `LinearChain` over BILUO labels, whose entity labels are numbered as in
    `biluo_labels`, or spans. Every span has to be within a sentence and, of spans, not wider than
    the widest that there are scores for.
    """
    raise TypeError(f"A {type(structure).__name__} is no distribution over spans.")


@singledispatch
def likely_spans(structure: SpanDistribution, threshold: float) -> LikelySpans:
    """All spans whose probability is at least the threshold, which has to be above 0 (ValueError).

    Of a chain O(N R / threshold): an entity that is begun is followed while it may still be one of
    them. For the arguments see `span_probabilities`.
    """
    raise TypeError(f"A {type(structure).__name__} is no distribution over spans.")


@span_probabilities.register
def _of_chain(chain: LinearChain, firsts: Ints1d, lasts: Ints1d, labels: Ints1d) -> Floats1d:
    if not len(firsts):  # as in most sentences, where a batch is one
        return np.zeros(0, dtype=chain.emissions.dtype)
    parts = _ChainParts.of(chain)
    widths = lasts - firsts
    found = parts.tokens[firsts, parts.columns.unit[labels]]
    two = np.flatnonzero(widths == 1)
    found[two] = parts.pairs[lasts[two], BOTH, labels[two]]
    wide = np.flatnonzero(widths > 1)
    if len(wide):
        begun = parts.pairs[firsts[wide] + 1, BEGUN, labels[wide]]
        for step in range(2, int(widths.max())):
            inner = np.flatnonzero(widths[wide] > step)
            begun[inner] *= parts.given(ONWARDS, firsts[wide[inner]] + step, labels[wide[inner]])
        found[wide] = begun * parts.given(CLOSED, lasts[wide], labels[wide])
    return found


@span_probabilities.register(FlatSpans)
@span_probabilities.register(LocalSpans)
def _of_spans(
    spans: FlatSpans | LocalSpans, firsts: Ints1d, lasts: Ints1d, labels: Ints1d
) -> Floats1d:
    if not len(firsts):
        return np.zeros(0, dtype=spans.scores.dtype)
    return to_host(spans.marginals())[firsts, lasts - firsts, labels]


@likely_spans.register
def _likely_of_chain(chain: LinearChain, threshold: float) -> LikelySpans:
    _check_threshold(threshold)
    parts = _ChainParts.of(chain)
    found = []

    def add(firsts: Ints1d, lasts: Ints1d, labels: Ints1d, probabilities: Floats1d) -> None:
        kept = probabilities >= threshold
        found.append([column[kept] for column in (firsts, lasts, labels, probabilities)])

    units = parts.tokens[:, parts.columns.unit]
    tokens, labels = np.nonzero(units >= threshold)
    add(tokens, tokens, labels, units[tokens, labels])
    tokens, labels = np.nonzero(parts.pairs[:, BOTH] >= threshold)
    add(tokens - 1, tokens, labels, parts.pairs[tokens, BOTH, labels])
    tokens, labels = np.nonzero(parts.pairs[:, BEGUN] >= threshold)
    firsts, begun = tokens - 1, parts.pairs[tokens, BEGUN, labels]
    while len(tokens):
        tokens = tokens + 1
        # At a sentence's first token all pairs have the probability 0: nothing goes beyond its end.
        alive = (tokens < len(parts.tokens)) & (begun >= threshold)
        firsts, tokens, labels, begun = firsts[alive], tokens[alive], labels[alive], begun[alive]
        add(firsts, tokens, labels, begun * parts.given(CLOSED, tokens, labels))
        begun = begun * parts.given(ONWARDS, tokens, labels)
    return _ordered(*map(np.concatenate, zip(*found)))


@likely_spans.register(FlatSpans)
@likely_spans.register(LocalSpans)
def _likely_of_spans(spans: FlatSpans | LocalSpans, threshold: float) -> LikelySpans:
    _check_threshold(threshold)
    marginals: Floats3d = to_host(spans.marginals())
    firsts, widths, labels = np.nonzero(marginals >= threshold)
    return _ordered(firsts, firsts + widths, labels, marginals[firsts, widths, labels])


class _ChainParts(NamedTuple):
    """What the probabilities of a chain's spans are made of, on the host.

    tokens: (N, L). pairs: (N, 4, R) those of `span_pairs` at a token and the one before it.
    """

    tokens: Floats2d
    pairs: Floats3d
    columns: SpanColumns

    @classmethod
    def of(cls, chain: LinearChain) -> _ChainParts:
        columns = span_columns(chain.labels, max_width=1)
        pairs = to_host(chain.marginals_of_pairs(*span_pairs(columns)))
        n_tokens, n_labels = len(pairs), len(columns.begin)
        return cls(to_host(chain.token_marginals()), pairs.reshape(n_tokens, 4, n_labels), columns)

    def given(self, pair: int, tokens: Ints1d, labels: Ints1d) -> Floats1d:
        """The probability of the pair given that the token before is inside the entity."""
        before = self.tokens[tokens - 1, self.columns.inside[labels]]
        before[before == 0] = 1  # then the pair's is 0, too
        return self.pairs[tokens, pair, labels] / before


def _ordered(firsts: Ints1d, lasts: Ints1d, labels: Ints1d, probabilities: Floats1d) -> LikelySpans:
    order = np.lexsort((labels, lasts, firsts))
    return LikelySpans(firsts[order], lasts[order], labels[order], probabilities[order])


def _check_threshold(threshold: float) -> None:
    if not threshold > 0:
        raise ValueError(f"The threshold has to be above 0, not {threshold}.")
