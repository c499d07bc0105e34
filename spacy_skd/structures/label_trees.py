"""Labels of tokens that mean an arc and its relation (docs/math.md §4, cases 1b and 2b)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from .arborescence import best_trees, is_tree
from .arc_layout import ArcLayout
from .base import (
    Bools2d,
    Floats1d,
    Floats2d,
    Ints1d,
    Ints2d,
    array_module,
    split_outputs,
    to_host,
)
from .packing import Packing
from .token import Token

LEAST = 1e-12  # the probability of arcs that no label means, so that there is always a tree
FARTHER = 1e-2  # what they lose, as a logarithm, for every token that the head is farther away


class LabelTrees(Token):
    """Independent labels, one distribution a token, each of which means a head and a relation.

    A `Token` in everything; in addition its labels can be read as trees.

    scores, lengths, labels, packing: as for `Token`.
    heads: (N, C) the head number that each code means at each token; -1 where it means none, such
        as a head outside the sentence.
    codes: (L,) the code of each label, a column of `heads`; None: every label is its own code.
    relations: (L,) the relation of each label, an index into `relation_labels`.

    Strzyz, Vilares and Gómez-Rodríguez, 2019, arXiv 1902.10505. Raises what `Token` raises, and
    ValueError for heads and relations of another shape or that do not exist.
    """

    def __init__(
        self,
        scores: Floats2d,
        lengths: Ints1d | Sequence[int],
        labels: Sequence[str] | None = None,
        *,
        heads: Ints2d,
        codes: Ints1d | Sequence[int] | None = None,
        relations: Ints1d | Sequence[int],
        relation_labels: Sequence[str],
        packing: Packing | None = None,
    ) -> None:
        super().__init__(scores, lengths, labels, packing=packing)
        self.heads = to_host(heads)
        self.codes = np.arange(self.n_labels) if codes is None else to_host(codes)
        self.relations = to_host(relations)
        self.relation_labels = tuple(relation_labels)
        self._check_meanings()

    def arc_probabilities(self) -> Floats1d:
        """The probability of every arc, summed over the labels that mean it, (Σ n(n + 1),).

        In the layout of `ArcLayout`. What a token has at labels that mean no arc is missing.
        """
        xp, layout, dtype = array_module(self.scores), self.layout, self.scores.dtype
        if not self.scores.size:
            return xp.zeros(layout.n_cells, dtype=dtype)
        of_code = np.zeros((self.n_labels, self.heads.shape[1]), dtype=dtype)
        of_code[np.arange(self.n_labels), self.codes] = 1
        weights = self._softmax[0] @ xp.asarray(of_code)
        nowhere = layout.n_cells
        cells = np.where(self.heads < 0, nowhere, self.heads + layout.row_starts[:, None])
        sums = xp.bincount(
            xp.asarray(cells.ravel()), weights=weights.ravel(), minlength=nowhere + 1
        )
        return sums[:nowhere].astype(dtype)

    def trees(self, single_root: bool = True) -> tuple[list[Ints1d], list[Ints1d]]:
        """A dependency tree of every sentence: head numbers, and indices of relations.

        The best labels, where they are a tree; else the maximum spanning arborescence over the
        logarithms of arc probabilities, with the best of the labels that mean the chosen arc. An
        arc that no label means gets the relation that is likeliest at its token.

        single_root: one token has the head number 0; else at least one. One int64 array a sentence,
        on the host.
        """
        best = np.concatenate([*self.argmax(), np.zeros(0, dtype=np.int64)])
        tokens = np.arange(len(best))
        heads = self.heads[tokens, self.codes[best]].astype(np.int64)
        relations = self.relations[best].astype(np.int64)
        bad = np.flatnonzero(~is_tree(heads, self.lengths, single_root))
        if len(bad):
            chosen = to_host(self.packing.select(bad)[0])
            heads[chosen], relations[chosen] = self.select(bad)._repaired(single_root)
        offsets = self.packing.offsets
        return split_outputs(heads, offsets), split_outputs(relations, offsets)

    def relations_of(self, heads: Ints1d) -> Ints1d:
        """The relation of each token's arc, (N,): that of the best label that means the arc, or
        else the likeliest one at the token. heads: (N,) head numbers."""
        probabilities = to_host(self._softmax[0])
        meant = probabilities * self._labels_of(self.heads == heads[:, None])
        best = meant.argmax(axis=1)
        relations = self.relations[best].astype(np.int64)
        lost = np.flatnonzero(meant[np.arange(len(best)), best] == 0)
        if len(lost):
            relations[lost] = self._likeliest(probabilities[lost], self._alike(lost, heads[lost]))
        return relations

    def restrict(self, allowed: Bools2d) -> LabelTrees:
        """The same scores with only the labels of `allowed`, (N, L), possible."""
        return self._like(super().restrict(allowed), self.heads)

    def select(self, sentences: Ints1d | Sequence[int]) -> LabelTrees:
        """Only the given sentences of the batch, in the given order."""
        tokens = to_host(self.packing.select(sentences)[0])
        return self._like(super().select(sentences), self.heads[tokens])

    @cached_property
    def layout(self) -> ArcLayout:
        """Where arcs are in `arc_probabilities`."""
        return ArcLayout(self.lengths, array_module(self.scores))

    def _like(self, tokens: Token, heads: Ints2d) -> LabelTrees:
        return LabelTrees(
            tokens.scores,
            tokens.lengths,
            tokens.labels,
            heads=heads,
            codes=self.codes,
            relations=self.relations,
            relation_labels=self.relation_labels,
            packing=tokens.packing,
        )

    def _repaired(self, single_root: bool) -> tuple[Ints1d, Ints1d]:
        """The best trees over the arc probabilities: heads and relations, both (N,)."""
        layout = ArcLayout(self.lengths)
        arcs = to_host(self.arc_probabilities()).astype(np.float64)
        arcs = np.where(arcs > LEAST, np.log(arcs.clip(LEAST)), _of_chance(layout))
        arcs[layout.self_cells] = -np.inf
        heads = best_trees(arcs, layout, layout.row_argmax(arcs), single_root)
        return heads, self.relations_of(heads)

    def _alike(self, tokens: Ints1d, heads: Ints1d) -> Bools2d:
        """Which labels mean a root at roots and no root at other tokens, (K, L)."""
        return self._labels_of((self.heads[tokens] == 0) == (heads == 0)[:, None])

    def _labels_of(self, codes: Bools2d) -> Bools2d:
        """The labels (K, L) that have one of the chosen codes, (K, C)."""
        return codes.take(self.codes, axis=1)

    def _likeliest(self, probabilities: Floats2d, alike: Bools2d) -> Ints1d:
        """The likeliest relation by all labels of tokens, (K,); by those `alike` if there are."""
        chosen = np.where(alike, probabilities, 0)
        empty = np.flatnonzero(chosen.max(axis=1) == 0)
        chosen[empty] = probabilities[empty]
        of_relation = np.zeros((self.n_labels, len(self.relation_labels)))
        of_relation[np.arange(self.n_labels), self.relations] = 1
        return (chosen @ of_relation).argmax(axis=1)

    def _check_meanings(self) -> None:
        heads, relations, n_relations = self.heads, self.relations, len(self.relation_labels)
        if self.codes.shape != (self.n_labels,):
            raise ValueError(
                f"codes should be one column of heads for each of the {self.n_labels} labels, but "
                f"they have the shape {self.codes.shape}"
            )
        if self.codes.min(initial=0) < 0:
            raise ValueError(
                f"codes should be columns of heads, but they are from {self.codes.min()} to "
                f"{self.codes.max()}"
            )
        n_codes = int(self.codes.max(initial=-1)) + 1
        if heads.ndim != 2 or len(heads) != len(self.scores) or heads.shape[1] < n_codes:
            raise ValueError(
                f"heads should have a row for each of the {len(self.scores)} tokens and a column "
                f"for each of the {n_codes} codes, but they have the shape {heads.shape}"
            )
        if relations.shape != (self.n_labels,):
            raise ValueError(
                f"relations should be one index for each of the {self.n_labels} labels, but they "
                f"have the shape {relations.shape}"
            )
        if relations.min() < 0 or relations.max() >= n_relations:
            raise ValueError(
                f"relations should be from 0 to {n_relations - 1}, there are {n_relations} names, "
                f"but they are from {relations.min()} to {relations.max()}"
            )
        if heads.size and (heads.min() < -1 or (heads > self._n_tokens[:, None]).any()):
            raise ValueError(
                "heads should be -1 or a head number in the sentence of the token, but there are "
                f"others, from {heads.min()} to {heads.max()}"
            )

    @property
    def _n_tokens(self) -> Ints1d:
        """The length of every token's sentence, (N,)."""
        return np.repeat(self.lengths, self.lengths)


def _of_chance(layout: ArcLayout) -> Floats1d:
    """Log-probabilities of arcs that no label means: near heads rather than far, the root last."""
    heads = np.arange(layout.n_cells) - layout.spread(layout.row_starts)
    distances = np.abs(heads - layout.spread(layout.positions + 1))
    distances[layout.row_starts] = layout.widths
    return np.log(LEAST) - FARTHER * distances
