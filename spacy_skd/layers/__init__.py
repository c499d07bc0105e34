"""Thinc layers with parameters: token vectors in, distributions over structures out."""

from .chain_potentials import chain_potentials
from .labels import get_labels, set_labels
from .light_recurrence import light_recurrence
from .lstm import two_way_lstm
from .span_scores import span_scores
from .span_structure import span_structure
from .token_scores import token_scores

__all__ = [
    "chain_potentials",
    "get_labels",
    "light_recurrence",
    "set_labels",
    "span_scores",
    "span_structure",
    "token_scores",
    "two_way_lstm",
]
