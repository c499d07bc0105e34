"""Temperature: a teacher made less sure of itself (docs/math.md §3.3).

Global: all scores are divided by T, and the structure is normalised again; what comes out is a
distribution, and the cross-entropy to it stays exact. Local: the teacher's marginals are raised to
the power 1/T and normalised again at each position; for a chain, these need not be the marginals
of any distribution.
"""

from typing import Any, Literal, TypeAlias

from ..structures import FlatSpans, LinearChain, LocalSpans, Token
from ..structures.base import Floats2d, Floats3d, array_module
from .parts import Distribution

Scope: TypeAlias = Literal["global", "local"]
SCOPES: tuple[Scope, ...] = ("global", "local")


def check_temperature(temperature: float, scope: str = "global") -> None:
    """Raise ValueError for a temperature or a scope that makes no sense."""
    if not temperature > 0:
        raise ValueError(f"The temperature has to be above 0, not {temperature}.")
    if scope not in SCOPES:
        raise ValueError(f"The temperature_scope is one of {', '.join(SCOPES)}, not '{scope}'.")


def temper(structure: Distribution, temperature: float) -> Distribution:
    """The distribution whose scores are divided by a temperature."""
    if temperature == 1.0:
        return structure
    rest: dict[str, Any] = {
        "lengths": structure.lengths,
        "labels": structure.labels,
        "packing": structure.packing,
    }
    if isinstance(structure, Token):
        return Token(structure.scores / temperature, **rest)
    if isinstance(structure, LinearChain):
        return LinearChain(
            structure.emissions / temperature,
            structure.transitions / temperature,
            structure.start / temperature,
            structure.end / temperature,
            **rest,
        )
    if isinstance(structure, FlatSpans):
        outside = None if structure.outside is None else structure.outside / temperature
        return FlatSpans(structure.scores / temperature, outside=outside, **rest)
    return LocalSpans(structure.scores / temperature, **rest)


def temper_marginals(marginals: Any, temperature: float) -> Any:
    """Probabilities (N, ...) to the power 1/T, each row normalised again; rows of zeros stay."""
    if temperature == 1.0:
        return marginals
    tempered = marginals ** (1 / temperature)
    axes = tuple(range(1, tempered.ndim))
    total = tempered.sum(axis=axes, keepdims=True)
    return tempered / array_module(tempered).where(total > 0, total, 1)


def temper_pairs(teacher: LinearChain, temperature: float) -> tuple[Floats2d, Floats3d]:
    """A chain's marginals of tokens (N, L) and of pairs (N, L, L), tempered at each position.

    A token's are the sums of its pair's with the token before; only a sentence's first token, which
    has none, is tempered by itself.
    """
    pairs = temper_marginals(teacher.pair_marginals(), temperature)
    tokens = pairs.sum(axis=1)
    first = teacher.packing.first_tokens
    tokens[first] = temper_marginals(teacher.marginals().tokens[first], temperature)
    return tokens, pairs
