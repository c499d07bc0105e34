"""Distributions over dependency trees with any number of roots (docs/math.md §2.4)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from .arc_layout import ArcLayout
from .arcs import ArcDistribution, flatten_heads
from .base import Floats1d, Ints1d, Scored, array_module
from .tree import SpanningTree


class SpanningForest(ArcDistribution):
    """p(y) = exp(Σ_d scores[d, y_d]) / Z over the trees with at least one root.

    An output in which heads go in a circle has no probability.

    Give the sentence one more token, before all others, that alone may have the root as head, and
    let what were roots depend on it: then these are the trees with one root, and all results are
    those of `SpanningTree`. Arguments: see `ArcDistribution`. Raises SentenceError, when asked for
    a result, for a sentence without a possible tree.
    """

    def log_partition(self) -> Floats1d:
        """log Z of every sentence, (B,)."""
        return self._wider.log_partition()

    def flat_marginals(self) -> Floats1d:
        """The probability of every arc, (Σ n(n + 1),): the gradient of log Z."""
        flat = array_module(self.scores).empty(self.scores.shape, dtype=self.scores.dtype)
        for block, wider in zip(self.layout.blocks(flat), self._wider.marginals()):
            block[:] = wider[1:, 1:]
        return flat

    def argmax(self, single_root: bool = False) -> list[Ints1d]:
        """The best dependency tree of every sentence, exactly; see `ArcDistribution`."""
        return super().argmax(single_root)

    def topk(self, k: int) -> list[Scored]:
        """The `k` best trees of every sentence, best first: head numbers with log-probabilities.

        Exact; fewer where there are fewer trees. Runs on the host.
        """
        return [
            [([head - 1 for head in heads[1:]], log_prob) for heads, log_prob in trees]
            for trees in self._wider.topk(k)
        ]

    def log_prob(self, outputs: Sequence[Any] | Ints1d) -> Floats1d:
        """The log-probability of one output a sentence, (B,); -inf for what is no tree."""
        heads = flatten_heads(outputs, self.layout)
        return self._wider.log_prob(np.insert(heads + 1, self.token_offsets[:-1], 0))

    def entropy(self) -> Floats1d:
        """The entropy of every sentence's distribution in nats, (B,)."""
        return self._wider.entropy()

    @cached_property
    def _wider(self) -> SpanningTree:
        """The sentences with one more token each."""
        self.argmax()  # says which sentence has no tree, by its own length
        xp = array_module(self.scores)
        layout = ArcLayout(self.lengths + 1, xp)
        scores = xp.full(layout.n_cells, -np.inf, dtype=self.scores.dtype)
        for wider, block in zip(layout.blocks(scores), self.arcs):
            wider[0, 0] = 0
            wider[1:, 1:] = block
        return SpanningTree(scores, layout=layout)
