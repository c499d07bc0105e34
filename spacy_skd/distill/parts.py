"""Arithmetic on the parts of a structure: marginals, indicators and gradients alike.

The parts of a token model are one array (N, L), of spans one (N, W, R); those of a chain are a
`ChainMarginals`, those of heads and trees `ArcParts`. All are linear in the weights of a batch's
sentences; everything here uses that.
"""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, TypeAlias

import numpy as np

from ..structures import (
    ArcParts,
    Candidates,
    ChainMarginals,
    FlatSpans,
    HeadSelection,
    LinearChain,
    LocalSpans,
    RelationParts,
    SpanningTree,
    Token,
)
from ..structures.base import Ints1d, array_module, to_host

LabelSequences: TypeAlias = Token | LinearChain
"""The structures whose outputs are label sequences."""

Arcs: TypeAlias = HeadSelection | SpanningTree
"""The structures whose outputs are heads."""

Distribution: TypeAlias = Token | LinearChain | FlatSpans | LocalSpans | Arcs
"""The structures that a model can give."""

AnyTeacher: TypeAlias = Distribution | Candidates
"""What can teach."""

SPANS = (FlatSpans, LocalSpans)
"""Those whose outputs are sets of spans."""

ARCS = (HeadSelection, SpanningTree)
"""Those whose outputs are heads."""

Parts: TypeAlias = Any
"""An array, a ChainMarginals or ArcParts."""


def combine(function: Callable[..., Any], *parts: Parts) -> Parts:
    """Apply a function of arrays to each field of parts of the same kind; to those of arcs, one at
    a time."""
    first = parts[0]
    if isinstance(first, ArcParts):
        return _map_arcs(function, *parts)
    if not isinstance(first, ChainMarginals):
        return function(*parts)
    return ChainMarginals(
        **{
            field.name: function(*(getattr(part, field.name) for part in parts))
            for field in fields(ChainMarginals)
        }
    )


def _map_arcs(function: Callable[[Any], Any], parts: ArcParts) -> ArcParts:
    relations = parts.relations
    if relations is not None:
        relations = RelationParts(relations.tokens, relations.heads, function(relations.values))
    return ArcParts(function(parts.arcs), relations)


def add(left: Parts, right: Parts) -> Parts:
    if isinstance(left, ArcParts):
        return ArcParts(left.arcs + right.arcs, join_relations(left.relations, right.relations))
    return combine(lambda a, b: a + b, left, right)


def join_relations(left: RelationParts | None, right: RelationParts | None) -> RelationParts | None:
    """The sum of the relations of two parts: their arcs one after another."""
    if left is None or right is None:
        return left if right is None else right
    xp = array_module(left.values)
    return RelationParts(
        np.concatenate([left.tokens, right.tokens]),
        np.concatenate([left.heads, right.heads]),
        xp.concatenate([left.values, right.values]),
    )


def accumulate(total: Parts | None, parts: Parts) -> Parts:
    """The sum so far, None before the first, with further parts."""
    return parts if total is None else add(total, parts)


def subtract(left: Parts, right: Parts) -> Parts:
    if isinstance(left, ArcParts):
        return add(left, scale(right, -1))
    return combine(lambda a, b: a - b, left, right)


def scale(parts: Parts, factor: float) -> Parts:
    return combine(lambda array: array * factor, parts)


def scores_of(structure: Distribution) -> Any:
    """The scores (N, L) of a structure's tokens, emissions for a chain; (N, W, R) of its spans,
    (Σ n(n + 1),) of its arcs."""
    return structure.emissions if isinstance(structure, LinearChain) else structure.scores


def per_token(weights: Any, structure: Distribution) -> Any:
    """Weights of sentences (B,) as weights of their tokens (N, 1); of spans (N, 1, 1), of arcs
    (Σ n(n + 1),)."""
    by_token = weights[structure.packing.sentences]
    if isinstance(structure, ARCS):
        return structure.layout.spread(by_token)
    return by_token[:, None, None] if isinstance(structure, SPANS) else by_token[:, None]


def expected_parts(structure: Distribution, weights: Any) -> Parts:
    """The marginals of a batch, each sentence times its weight (B,); of arcs without relations."""
    token_weights = per_token(weights, structure)
    if isinstance(structure, ARCS):
        return ArcParts(structure.flat_marginals() * token_weights)
    if not isinstance(structure, LinearChain):
        return structure.marginals() * token_weights
    marginals = structure.marginals(weights=weights)
    return ChainMarginals(
        tokens=marginals.tokens * token_weights,
        pairs=marginals.pairs,
        starts=marginals.starts,
        ends=marginals.ends,
    )


def inner(parts: Parts, structure: Distribution) -> float:
    """⟨parts, scores⟩ summed over a batch, where 0 · −∞ is 0; of arcs without relations."""
    if isinstance(structure, ARCS):
        return _inner(parts.arcs, structure.scores)
    if not isinstance(structure, LinearChain):
        return _inner(parts, structure.scores)
    return (
        _inner(parts.tokens, structure.emissions)
        + _inner(parts.pairs, structure.transitions)
        + _inner(parts.starts, structure.start)
        + _inner(parts.ends, structure.end)
    )


def spread(parts: Parts, structure: Distribution, sentences: Ints1d) -> Parts:
    """The parts of some sentences, in ascending order, as parts of the whole batch."""
    if len(sentences) == len(structure.lengths):
        return parts
    tokens = structure.packing.select(sentences)[0]
    if isinstance(parts, ArcParts) and isinstance(structure, ARCS):
        cells = structure.layout.select(sentences)[0]
        relations = parts.relations
        if relations is not None:
            relations = replace(relations, tokens=to_host(tokens)[relations.tokens])
        return ArcParts(_spread(parts.arcs, cells, structure.layout.n_cells), relations)
    if isinstance(parts, ChainMarginals):
        return replace(parts, tokens=_spread(parts.tokens, tokens, structure.packing.n_tokens))
    return _spread(parts, tokens, structure.packing.n_tokens)


def _spread(rows: Any, places: Any, n_rows: int) -> Any:
    whole = array_module(rows).zeros((n_rows, *rows.shape[1:]), dtype=rows.dtype)
    whole[places] = rows
    return whole


def _inner(parts: Any, scores: Any) -> float:
    xp = array_module(scores)
    with_mass = parts != 0
    return float(xp.vdot(parts, xp.where(with_mass, scores, 0)))
