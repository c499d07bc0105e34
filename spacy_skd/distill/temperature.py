"""Temperature: a teacher made less sure of itself (docs/math.md §3.3).

Global: all scores are divided by T, and the structure is normalised again; what comes out is a
distribution, and the cross-entropy to it stays exact. Local: the teacher's marginals are raised to
the power 1/T and normalised again at each position; for a chain, these need not be the marginals
of any distribution.
"""

from functools import singledispatch
from typing import Any, Literal, TypeAlias

from ..structures import (
    Candidates,
    FlatSpans,
    HeadSelection,
    LabelTrees,
    LinearChain,
    LocalSpans,
    SpanningTree,
    Token,
)
from ..structures.base import Floats2d, Floats3d, array_module
from .arcs import recast

Scope: TypeAlias = Literal["global", "local"]
SCOPES: tuple[Scope, ...] = ("global", "local")


def check_temperature(temperature: float, scope: str = "global") -> None:
    """Raise ValueError for a temperature or a scope that makes no sense."""
    if not temperature > 0:
        raise ValueError(f"The temperature has to be above 0, not {temperature}.")
    if scope not in SCOPES:
        raise ValueError(f"The temperature_scope is one of {', '.join(SCOPES)}, not '{scope}'.")


def temper(structure: Any, temperature: float) -> Any:
    """The distribution (`AnyTeacher`) whose scores are divided by a temperature.

    Of arcs with relations, both are: the heads, and the relations given the heads. Of candidates,
    the logarithms of their weights.
    """
    return structure if temperature == 1.0 else _tempered(structure, temperature)


@singledispatch
def _tempered(structure: Any, temperature: float) -> Any:
    raise TypeError(f"A {type(structure).__name__} has no scores to be divided.")


@_tempered.register(Token)
@_tempered.register(LocalSpans)
def _tempered_scores(structure: Token | LocalSpans, temperature: float) -> Token | LocalSpans:
    return type(structure)(structure.scores / temperature, **_rest(structure))


@_tempered.register
def _tempered_labels(structure: LabelTrees, temperature: float) -> LabelTrees:
    return LabelTrees(
        structure.scores / temperature,
        heads=structure.heads,
        codes=structure.codes,
        relations=structure.relations,
        relation_labels=structure.relation_labels,
        **_rest(structure),
    )


@_tempered.register
def _tempered_chain(structure: LinearChain, temperature: float) -> LinearChain:
    return LinearChain(
        structure.emissions / temperature,
        structure.transitions / temperature,
        structure.start / temperature,
        structure.end / temperature,
        **_rest(structure),
    )


@_tempered.register
def _tempered_spans(structure: FlatSpans, temperature: float) -> FlatSpans:
    outside = None if structure.outside is None else structure.outside / temperature
    return FlatSpans(structure.scores / temperature, outside=outside, **_rest(structure))


@_tempered.register
def _tempered_heads(structure: HeadSelection, temperature: float) -> HeadSelection:
    return HeadSelection(structure.scores / temperature, **_relations(structure, temperature))


@_tempered.register
def _tempered_trees(structure: SpanningTree, temperature: float) -> SpanningTree:
    rest = _relations(structure, temperature)
    return SpanningTree(structure.scores / temperature, structure.projective, **rest)


@_tempered.register
def _tempered_candidates(structure: Candidates, temperature: float) -> Candidates:
    return structure.with_log_weights(structure.log_weights / temperature)


def _rest(structure: Any) -> dict[str, Any]:
    return {
        "lengths": structure.lengths,
        "labels": structure.labels,
        "packing": structure.packing,
    }


def _relations(structure: Any, temperature: float) -> dict[str, Any]:
    return {
        "relations": recast(structure.relations, temperature=temperature),
        "labels": structure.labels,
        "layout": structure.layout,
    }


def temper_marginals(marginals: Any, temperature: float) -> Any:
    """Probabilities (N, ...) to the power 1/T, each row normalised again; rows of zeros stay."""
    if temperature == 1.0:
        return marginals
    tempered = marginals ** (1 / temperature)
    axes = tuple(range(1, tempered.ndim))
    total = tempered.sum(axis=axes, keepdims=True)
    return tempered / array_module(tempered).where(total > 0, total, 1)


def temper_pairs(
    teacher: LinearChain | Candidates, temperature: float
) -> tuple[Floats2d, Floats3d]:
    """A chain's marginals of tokens (N, L) and of pairs (N, L, L), tempered at each position.

    A token's are the sums of its pair's with the token before; only a sentence's first token, which
    has none, is tempered by itself.
    """
    if isinstance(teacher, Candidates):
        raise ValueError(
            "A local temperature needs pairs of labels position by position for a CRF, which a "
            "teacher of candidates does not give. Set temperature_scope = 'global'."
        )
    pairs = temper_marginals(teacher.pair_marginals(), temperature)
    tokens = pairs.sum(axis=1)
    first = teacher.packing.first_tokens
    tokens[first] = temper_marginals(teacher.marginals().tokens[first], temperature)
    return tokens, pairs
