"""Distributions over dependency trees with exactly one root (docs/math.md §2.4)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from .arborescence import is_tree
from .arc_layout import ArcLayout
from .arcs import ArcDistribution, flatten_heads
from .base import Bools1d, Floats1d, Floats2d, Ints1d, Scored, array_module, split_outputs, to_host
from .kbest import check_k
from .matrix_tree import MatrixTrees
from .projective_tree import ProjectiveTrees, best_projective_trees, is_projective
from .relations import Relations
from .tree_kbest import tree_kbest


class SpanningTree(ArcDistribution):
    """p(y) = exp(Σ_d scores[d, y_d]) / Z over the trees with one root.

    An output that is no such tree has no probability. Scores far below all others do as well as
    -inf, of any size, where there is a tree without their arcs; where every tree needs one, sums of
    them are rounded: marginals and entropy are then good for scores down to about -1e6.

    projective: only trees without crossing arcs, the root being before all tokens, have one. Other
        arguments: see `ArcDistribution`.

    Koo, Globerson, Carreras and Collins, 2007; for projective trees Eisner, 1996. Everything is
    computed in float64, whatever the dtype of the scores. Raises SentenceError, when asked for a
    result, for a sentence without a possible tree.
    """

    def __init__(
        self,
        arcs: Sequence[Floats2d] | Floats1d,
        projective: bool = False,
        *,
        relations: Relations | None = None,
        labels: Sequence[str] | None = None,
        lengths: Ints1d | Sequence[int] | None = None,
        layout: ArcLayout | None = None,
    ) -> None:
        super().__init__(arcs, relations=relations, labels=labels, lengths=lengths, layout=layout)
        self.projective = projective

    def log_partition(self) -> Floats1d:
        """log Z of every sentence, (B,)."""
        return self._cast(self._trees.log_z)

    def flat_marginals(self) -> Floats1d:
        """The probability of every arc, (Σ n(n + 1),): the gradient of log Z."""
        # A copy, because callers may write into what they get.
        return self._trees.marginals.astype(self.scores.dtype)

    def argmax(self, single_root: bool = True) -> list[Ints1d]:
        """The best dependency tree of every sentence, exactly.

        Head numbers, one int64 array a sentence, on the host. single_root: see `ArcDistribution`;
        ValueError for projective trees with several roots. Raises SentenceError for a sentence that
        has no tree.
        """
        if not self.projective:
            return super().argmax(single_root)
        if not single_root:
            raise ValueError(
                "The best projective tree has one root: several are possible only where trees "
                "need not be projective"
            )
        heads = best_projective_trees(self.scores, self.layout, self._greedy)
        return split_outputs(heads, self.token_offsets)

    def topk(self, k: int) -> list[Scored]:
        """The `k` best trees of every sentence, best first: head numbers with log-probabilities.

        Exact; fewer where there are fewer trees. Runs on the host.
        """
        check_k(k)
        self._peaks  # noqa: B018
        log_z = to_host(self._trees.log_z).tolist()
        scores = to_host(self.scores).astype(np.float64)
        found = tree_kbest(scores, ArcLayout(self.lengths), k, self.projective)
        return [
            [(heads.tolist(), score - norm) for heads, score in trees]
            for trees, norm in zip(found, log_z)
        ]

    def log_prob(self, outputs: Sequence[Any] | Ints1d) -> Floats1d:
        """The log-probability of one output a sentence, (B,).

        -inf for what is no tree with one root or, if these are projective trees, has arcs that
        cross.
        """
        xp = array_module(self.scores)
        log_probs = self._score(outputs) - self._trees.log_z
        possible = xp.asarray(self._is_output(outputs))
        return self._cast(xp.where(possible, log_probs, -np.inf))

    def entropy(self) -> Floats1d:
        """The entropy of every sentence's distribution in nats, (B,)."""
        xp, trees = array_module(self.scores), self._trees
        # Relative to the best scores, so that large numbers do not drown the difference.
        peaks = self._peaks.astype(np.float64)
        shifted = self.scores - self.layout.spread(peaks)
        expected = trees.marginals * xp.where(trees.marginals > 0, shifted, 0)
        log_z = trees.log_z - self.packing.sum(peaks)
        return self._cast((log_z - self.packing.sum(self.layout.row_sum(expected))).clip(0, None))

    @cached_property
    def _trees(self) -> MatrixTrees | ProjectiveTrees:
        """The sums over trees, once every token is known to have a possible head."""
        self._peaks  # noqa: B018
        trees = ProjectiveTrees if self.projective else MatrixTrees
        return trees(self.scores, self.layout)

    def _is_output(self, outputs: Sequence[Any] | Ints1d) -> Bools1d:
        """Whether one output a sentence is a tree of this kind, (B,)."""
        heads = flatten_heads(outputs, self.layout)
        good = is_tree(heads, self.lengths)
        return good & is_projective(heads, self.layout) if self.projective else good

    def _options(self) -> dict[str, Any]:
        return {"projective": self.projective}
