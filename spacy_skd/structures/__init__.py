"""Distributions over structures: pure array mathematics on numpy or cupy (docs/math.md §2)."""

from .base import SentenceError, Structure
from .biluo import (
    as_potentials,
    biluo_labels,
    entity_labels,
    indices_of,
    legal_moves,
    spans_of,
    split_label,
)
from .candidates import Candidates, CandidateTokens
from .chain import ChainMarginals, LinearChain
from .local_spans import LocalSpans
from .spans import FlatSpans
from .token import Token

__all__ = [
    "CandidateTokens",
    "Candidates",
    "ChainMarginals",
    "FlatSpans",
    "LinearChain",
    "LocalSpans",
    "SentenceError",
    "Structure",
    "Token",
    "as_potentials",
    "biluo_labels",
    "entity_labels",
    "indices_of",
    "legal_moves",
    "spans_of",
    "split_label",
]
