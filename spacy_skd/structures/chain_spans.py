"""Entities as parts of a chain over BILUO labels: the probability of every span (docs/math.md §4).

Given that the label at a token is I-X, what follows does not depend on what was before. So an
entity's probability is that of its first pair of labels times those of each later label given the
one before it: nothing but numbers between 0 and 1, whatever space the passes are in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .base import Floats2d, Floats3d, Ints1d, array_module
from .biluo import biluo_labels, entity_labels, is_biluo


class SpanColumns(NamedTuple):
    """The columns of the labels B-X, I-X, L-X and U-X, (R,) each."""

    begin: Ints1d
    inside: Ints1d
    last: Ints1d
    unit: Ints1d


def biluo_columns(n_labels: int) -> SpanColumns:
    """The columns of `biluo_labels` of so many entity labels."""
    first = 1 + 4 * np.arange(n_labels)
    return SpanColumns(first, first + 1, first + 2, first + 3)


def span_columns(labels: Sequence[str] | None, max_width: int) -> SpanColumns:
    """The columns of a chain's labels. Raises ValueError if it has no spans."""
    if max_width < 1:
        raise ValueError(f"max_width should be at least 1, but it is {max_width}")
    if labels is None:
        raise ValueError("A chain without label names has no spans: give it BILUO labels")
    entities = entity_labels(filter(is_biluo, labels))
    if list(labels) != biluo_labels(entities):
        raise ValueError(
            f"The labels of a chain have to be BILUO labels in the order of `biluo_labels` for it "
            f"to have spans, but they are {', '.join(labels)}"
        )
    return biluo_columns(len(entities))


def span_pairs(columns: SpanColumns) -> tuple[Ints1d, Ints1d]:
    """The pairs of labels within entities: B and I, B and L, I and I, I and L, (4R,) each."""
    begin, inside, last, _ = columns
    return (
        np.concatenate([begin, begin, inside, inside]),
        np.concatenate([inside, last, inside, last]),
    )


def span_marginals(
    tokens: Floats2d, pairs: Floats2d, columns: SpanColumns, max_width: int
) -> Floats3d:
    """(N, W, R) from the marginals of the labels (N, L) and of `span_pairs` (N, 4R).

    The pair of a token is that with the one before it, 0 at a sentence's first token: so what
    sticks out has the probability 0.
    """
    xp = array_module(tokens)
    n_tokens, n_labels = len(tokens), len(columns.begin)
    # Tokens last: "the token w further on" is then a shift of long rows.
    begun, both, onwards, closed = xp.ascontiguousarray(pairs.T).reshape(4, n_labels, n_tokens)
    inside = xp.zeros_like(begun)
    inside[:, 1:] = tokens[:-1, xp.asarray(columns.inside)].T
    inside[inside == 0] = 1
    onwards, closed = onwards / inside, closed / inside

    spans = xp.zeros((max_width, n_labels, n_tokens), dtype=tokens.dtype)
    spans[0] = tokens[:, xp.asarray(columns.unit)].T
    if max_width > 1:
        spans[1, :, :-1] = both[:, 1:]
    open_until = begun[:, 1:]
    for width in range(2, min(max_width, n_tokens)):
        # The tokens from `width - 1` on: their labels are I-X in an entity begun so many before.
        open_until = open_until[:, : n_tokens - width]
        spans[width, :, : n_tokens - width] = open_until * closed[:, width:]
        open_until = open_until * onwards[:, width:]
    return xp.ascontiguousarray(spans.transpose(2, 0, 1))
