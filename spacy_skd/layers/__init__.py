"""Thinc layers with parameters: token vectors in, distributions over structures out."""

from .chain_potentials import chain_potentials
from .labels import get_labels, set_labels
from .token_scores import token_scores

__all__ = ["chain_potentials", "get_labels", "set_labels", "token_scores"]
