"""What the best trees of a parser's distributions become in documents: whitespace, and roots that
make sentences."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..structures import ArcDistribution, LabelTrees, maximum_arborescence
from ..structures.base import Bools1d, Floats2d, Ints1d, array_module, to_host

ROOT = "ROOT"


def best_trees(
    structure: Any, labels: Sequence[str], *, several_roots: bool
) -> tuple[Ints1d, Ints1d]:
    """Of all tokens of a batch, the token numbers of their heads in it, a root's its own, and the
    columns of their relations, both (N,).

    labels: names of the relations. several_roots: whether a sentence of the batch may have more
    than one.
    """
    lengths = to_host(structure.lengths)
    here = np.arange(int(lengths.sum()))
    if not len(here):
        return here, here
    if isinstance(structure, LabelTrees):
        trees, chosen = structure.trees()
        local, relations = np.concatenate(trees), np.concatenate(chosen)
    else:
        trees = trees_of_roots(structure) if several_roots else structure.argmax()
        local = np.concatenate(trees)
        relations = relation_scores(structure, local, labels).argmax(axis=1)
    starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
    return np.where(local == 0, here, starts + local - 1), relations


def relation_scores(structure: ArcDistribution, heads: Ints1d, labels: Sequence[str]) -> Floats2d:
    """log p(relation | arc) of the arc of each token, (N, R), up to a constant a token; spaCy's
    name of the root's relation, if the model knows it, is kept for roots.

    heads: (N,) head numbers within sentences.
    """
    relations: Any = structure.relations
    scores = to_host(relations.scores_at(np.arange(len(heads)), heads)).copy()
    if ROOT in labels and len(labels) > 1:
        column = labels.index(ROOT)
        scores[heads != 0, column] = -np.inf
        scores[heads == 0] = np.where(np.arange(len(labels)) == column, 0, -np.inf)
    return scores


def without_spaces(structure: ArcDistribution, spaces: Bools1d) -> ArcDistribution:
    """The distributions given that whitespace is no head and no root, where there is anything else.

    spaces: (N,) which tokens are whitespace.
    """
    layout = structure.layout
    n_words = np.bincount(layout.sentences[~spaces], minlength=layout.n_sentences)
    barred = spaces & (n_words > 0)[layout.sentences]
    if not barred.any():
        return structure
    allowed = np.ones(layout.n_cells, dtype=bool)
    allowed[layout.row_starts[barred]] = False
    for block, tokens in zip(layout.blocks(allowed), layout.split(barred)):
        block[:, 1:][:, tokens] = False
    return structure.restrict(array_module(structure.scores).asarray(allowed))


def attach_spaces(heads: Ints1d, spaces: Bools1d, lengths: Ints1d) -> Bools1d:
    """Make the word before whitespace its head, in place, or else the word after it, within the
    sentence; not where it has dependents of its own. Returns which tokens were attached.

    heads: (N,) token numbers in the batch, a root's its own. lengths: (B,) of the sentences.
    """
    here = np.arange(len(heads))
    has_dependents = np.zeros(len(heads), dtype=bool)
    has_dependents[heads[heads != here]] = True
    loose = spaces & ~has_dependents & (heads != here)
    words = np.flatnonzero(~spaces)
    if not loose.any() or not len(words):
        return np.zeros(len(heads), dtype=bool)
    ends = np.repeat(np.cumsum(lengths), lengths)
    starts = ends - np.repeat(lengths, lengths)
    place = np.searchsorted(words, here)
    before, after = words[(place - 1).clip(0)], words[place.clip(max=len(words) - 1)]
    has_before = (place > 0) & (before >= starts)
    has_after = (place < len(words)) & (after < ends)
    loose &= has_before | has_after
    heads[loose] = np.where(has_before, before, after)[loose]
    return loose


def trees_of_roots(structure: ArcDistribution) -> list[Ints1d]:
    """The best trees with any number of roots, each of which is a sentence: head numbers, one array
    for each of the batch's sentences.

    Where the tokens below one root are not next to each other, sentences begin at their first ones,
    and the best tree of each is looked for again.
    """
    trees: list[Any] = []
    for arcs, heads in zip(structure.arcs, structure.argmax(single_root=False)):
        if np.count_nonzero(heads == 0) < 2:
            trees.append(heads)
        else:
            trees.append(_in_sentences(heads, arcs))
    return trees


def sentence_starts(heads: Ints1d) -> tuple[Ints1d, bool]:
    """Where sentences begin if each root is one, (S,): at the first token below it. And whether the
    tokens below every root are next to each other.

    heads: (n,) head numbers of a tree with any number of roots.
    """
    root_of = np.where(heads == 0, np.arange(len(heads)), heads - 1)
    for _ in range(len(heads).bit_length()):
        root_of = root_of[root_of]
    starts = np.sort(np.unique(root_of, return_index=True)[1])
    return starts, bool(np.count_nonzero(np.diff(root_of)) < len(starts))


def _in_sentences(heads: Ints1d, arcs: Floats2d) -> Ints1d:
    if sentence_starts(heads)[1]:
        return heads
    scores = to_host(arcs)
    # What can be neither root nor head is whitespace: it will belong to a word beside it.
    possible = scores > -np.inf
    is_word = possible[:, 0] | possible[:, 1:].any(axis=0)
    words, numbers = np.flatnonzero(is_word), np.append(0, np.cumsum(is_word))
    starts, are_apart = sentence_starts(numbers[heads[words]])
    if are_apart:
        return heads
    bounds = [0, *words[starts[1:]].tolist(), len(heads)]
    found = heads.copy()
    for start, end in pairwise(bounds):
        columns = [0, *range(start + 1, end + 1)]
        tree = maximum_arborescence(scores[start:end, columns])
        found[start:end] = np.where(tree == 0, 0, tree + start)
    return found
