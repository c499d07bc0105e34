"""Thinc layers with parameters: token vectors in, distributions over structures out."""

from .arc_relations import BiaffineRelations, arc_relations
from .arc_scores import arc_scores
from .arc_structure import arc_structure
from .by_sentence import by_sentence
from .chain_potentials import chain_potentials
from .folded_embedding import folded_embedding
from .label_trees import label_trees, tags_of
from .labels import get_labels, set_labels
from .lean import lean
from .light_recurrence import light_recurrence
from .lstm import two_way_lstm
from .portions import in_portions, portions
from .sentence_bounds import sentence_counts, sentence_lengths
from .span_scores import span_scores
from .span_structure import span_structure
from .token_scores import token_scores
from .trilinear import trilinear
from .within_sentences import within_sentences

__all__ = [
    "BiaffineRelations",
    "arc_relations",
    "arc_scores",
    "arc_structure",
    "by_sentence",
    "chain_potentials",
    "folded_embedding",
    "get_labels",
    "in_portions",
    "label_trees",
    "lean",
    "light_recurrence",
    "portions",
    "sentence_counts",
    "sentence_lengths",
    "set_labels",
    "span_scores",
    "span_structure",
    "tags_of",
    "token_scores",
    "trilinear",
    "two_way_lstm",
    "within_sentences",
]
