"""Distributions over structures: pure array mathematics on numpy or cupy (docs/math.md §2)."""

from .arborescence import is_tree, maximum_arborescence
from .arc_layout import ArcLayout
from .arc_parts import ArcParts, RelationParts
from .arcs import ArcDistribution
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
from .forest import SpanningForest
from .heads import HeadSelection
from .label_trees import LabelTrees
from .local_spans import LocalSpans
from .mean_field import Factor, MeanField
from .relations import DenseRelations, ListedRelations, Relations
from .sentences import Sentences
from .spans import FlatSpans
from .token import Token
from .tree import SpanningTree

__all__ = [
    "ArcDistribution",
    "ArcLayout",
    "ArcParts",
    "CandidateTokens",
    "Candidates",
    "ChainMarginals",
    "DenseRelations",
    "Factor",
    "FlatSpans",
    "HeadSelection",
    "LabelTrees",
    "LinearChain",
    "ListedRelations",
    "LocalSpans",
    "MeanField",
    "RelationParts",
    "Relations",
    "SentenceError",
    "Sentences",
    "SpanningForest",
    "SpanningTree",
    "Structure",
    "Token",
    "as_potentials",
    "biluo_labels",
    "entity_labels",
    "indices_of",
    "is_tree",
    "legal_moves",
    "maximum_arborescence",
    "spans_of",
    "split_label",
]
