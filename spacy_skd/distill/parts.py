"""Arithmetic on the parts of a structure: marginals, indicators and gradients alike.

The parts of a token model are one array (N, L), of spans one (N, W, R); those of a chain are a
`ChainMarginals`. All are linear in the weights of a batch's sentences; everything here uses that.
"""

from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeAlias

from ..structures import ChainMarginals, FlatSpans, LinearChain, LocalSpans, Token
from ..structures.base import array_module

LabelSequences: TypeAlias = Token | LinearChain
"""The structures whose outputs are label sequences."""

Distribution: TypeAlias = Token | LinearChain | FlatSpans | LocalSpans
"""The structures that a model can give."""

SPANS = (FlatSpans, LocalSpans)
"""Those whose outputs are sets of spans."""

Parts: TypeAlias = Any
"""An array or a ChainMarginals."""


def combine(function: Callable[..., Any], *parts: Parts) -> Parts:
    """Apply a function of arrays to each field of parts of the same kind."""
    first = parts[0]
    if not isinstance(first, ChainMarginals):
        return function(*parts)
    return ChainMarginals(
        **{
            field.name: function(*(getattr(part, field.name) for part in parts))
            for field in fields(ChainMarginals)
        }
    )


def add(left: Parts, right: Parts) -> Parts:
    return combine(lambda a, b: a + b, left, right)


def accumulate(total: Parts | None, parts: Parts) -> Parts:
    """The sum so far, None before the first, with further parts."""
    return parts if total is None else add(total, parts)


def subtract(left: Parts, right: Parts) -> Parts:
    return combine(lambda a, b: a - b, left, right)


def scale(parts: Parts, factor: float) -> Parts:
    return combine(lambda array: array * factor, parts)


def scores_of(structure: Distribution) -> Any:
    """The scores (N, L) of a structure's tokens, emissions for a chain; (N, W, R) of its spans."""
    return structure.emissions if isinstance(structure, LinearChain) else structure.scores


def per_token(weights: Any, structure: Distribution) -> Any:
    """Weights of sentences (B,) as weights of their tokens (N, 1); of spans (N, 1, 1)."""
    by_token = weights[structure.packing.sentences][:, None]
    return by_token[:, None] if isinstance(structure, SPANS) else by_token


def expected_parts(structure: Distribution, weights: Any) -> Parts:
    """The marginals of a batch, each sentence times its weight (B,)."""
    token_weights = per_token(weights, structure)
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
    """⟨parts, scores⟩ summed over a batch, where 0 · −∞ is 0."""
    if not isinstance(structure, LinearChain):
        return _inner(parts, structure.scores)
    return (
        _inner(parts.tokens, structure.emissions)
        + _inner(parts.pairs, structure.transitions)
        + _inner(parts.starts, structure.start)
        + _inner(parts.ends, structure.end)
    )


def _inner(parts: Any, scores: Any) -> float:
    xp = array_module(scores)
    with_mass = parts != 0
    return float(xp.vdot(parts, xp.where(with_mass, scores, 0)))
