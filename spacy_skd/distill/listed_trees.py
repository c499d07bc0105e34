"""Lists of trees with weights, as a beam leaves them, read as the marginals of their arcs
(docs/math.md §2.7)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..structures import ArcLayout, Candidates, ListedRelations, Sentences
from ..structures.base import Floats1d, Ints1d
from .arcs import TreeMarginals, trees_onto_arcs

ScoredTrees = tuple[Ints1d, Floats1d]
"""The trees of a document, token numbers of heads (a root's its own) and relations (k, 2, n), best
first, and their probabilities (k,)."""


def tree_marginals(candidates: Candidates, *, projective: bool = False) -> TreeMarginals:
    """The probabilities of arcs and relations in candidates that are trees.

    candidates: head numbers and relations, (k, 2, n) a sentence, with the names of the relations.
    projective: whether all of them are.
    """
    layout, labels = ArcLayout(candidates.lengths), candidates.labels or ()
    parts = trees_onto_arcs(candidates, np.ones(len(candidates.lengths)))
    known = parts.relations
    tokens, heads, values = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, len(labels)))
    if known is not None:
        tokens, heads, values = known.tokens, known.heads, known.values
    cells = layout.cells(tokens, heads)
    with np.errstate(divide="ignore"):
        scores = np.log(parts.arcs)
        relations = np.log(values / parts.arcs[cells][:, None])
    return TreeMarginals(
        scores,
        projective=projective,
        lengths=candidates.lengths,
        labels=labels,
        relations=ListedRelations(tokens, heads, relations, candidates.lengths),
    )


def in_sentences(
    documents: Sequence[ScoredTrees],
    starts: Sequence[Ints1d | None],
    labels: Sequence[str],
    *,
    projective: bool = False,
) -> Sentences:
    """The trees of documents as distributions over the trees of their sentences.

    documents: at least one tree each. starts: first tokens of each document's sentences; None for
    those of its best tree, where every root has a sentence. Sentences that an arc of the best tree
    joins are one.

    A sentence's trees are those of the document, as far as they have it as a sentence: no arc joins
    it with others, and it has as many roots as in the best one. Their probabilities are normalised
    again.
    """
    outputs, log_weights, lengths, n_sentences = [], [], [], []
    for (trees, probs), first_tokens in zip(documents, starts):
        heads, n_tokens = trees[:, 0], trees.shape[2]
        possible = (probs > 0) | (np.arange(len(probs)) == 0)
        free = _free_boundaries(heads)
        is_start = free[0, :-1]
        if first_tokens is not None:
            is_start = is_start & np.isin(np.arange(n_tokens), [0, *first_tokens])
        bounds = np.append(np.flatnonzero(is_start), n_tokens)
        n_sentences.append(len(bounds) - 1)
        for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist()):
            inside = heads[:, start:end] - start
            roots = inside == np.arange(end - start)
            fits = possible & free[:, start] & free[:, end]
            fits &= roots.sum(axis=1) == roots[0].sum()
            numbers = np.where(roots, 0, inside + 1)[fits]
            outputs.append(np.stack([numbers, trees[fits, 1, start:end]], axis=1))
            with np.errstate(divide="ignore"):
                log_weights.append(np.log(probs[fits]))
            lengths.append(end - start)
    candidates = Candidates(
        outputs, log_weights, labels, lengths=np.asarray(lengths, dtype=np.int64)
    )
    marginals = tree_marginals(candidates, projective=projective)
    return Sentences(marginals, np.asarray(n_sentences, dtype=np.int64))


def _free_boundaries(heads: Ints1d) -> Any:
    """Whether no arc of each tree (k, n) is on both sides of the boundary before each token, and of
    the end, (k, n + 1)."""
    n_trees, n_tokens = heads.shape
    here = np.arange(n_tokens)
    rows = np.arange(n_trees)[:, None]
    # The boundary before token i is crossed by the arcs with low < i <= high.
    steps = np.zeros((n_trees, n_tokens + 2), dtype=np.int64)
    np.add.at(steps, (rows, np.minimum(here, heads) + 1), 1)
    np.add.at(steps, (rows, np.maximum(here, heads) + 1), -1)
    return np.cumsum(steps, axis=1)[:, : n_tokens + 1] == 0
