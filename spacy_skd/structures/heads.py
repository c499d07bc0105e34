"""Heads that are chosen independently, one distribution a token (docs/math.md §2.3)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from .arcs import ArcDistribution
from .base import Floats1d, Ints1d, Scored, array_module, to_host
from .kbest import check_k, token_kbest


class HeadSelection(ArcDistribution):
    """p(y) = Π_d softmax_h(scores[d, h])[y_d]: heads that are independent given the sentence.

    The distribution is over all assignments of heads, of which most are no trees: `topk`,
    `log_prob`, `entropy` are about these. `argmax`, what a parser gives, is the best tree;
    `greedy` is the best assignment. For the arguments see `ArcDistribution`. Raises SentenceError,
    when asked for a result, for a token whose heads are all forbidden.

    Dozat and Manning, 2017, arXiv 1611.01734.
    """

    def log_partition(self) -> Floats1d:
        """log Z of every sentence, (B,)."""
        return self._cast(self._log_z)

    def flat_marginals(self) -> Floats1d:
        """The probability of every arc, (Σ n(n + 1),)."""
        return self._softmax[0].copy()

    def topk(self, k: int) -> list[Scored]:
        """The `k` best assignments of heads, not only trees, of every sentence, best first.

        Head numbers with log-probabilities. Exact; fewer where fewer have a probability above zero.
        """
        check_k(k)
        best = to_host(-self.packing.sum(self._softmax[1]))
        scores = to_host(self.scores).astype(np.float64)
        return [
            token_kbest(block, k, log_prob)
            for block, log_prob in zip(self.layout.blocks(scores), best.tolist())
        ]

    def log_prob(self, outputs: Sequence[Any] | Ints1d) -> Floats1d:
        """The log-probability of one assignment of heads a sentence, (B,)."""
        return self._cast(self._score(outputs) - self._log_z)

    def entropy(self) -> Floats1d:
        """The entropy of every sentence's distribution in nats, (B,)."""
        xp = array_module(self.scores)
        probabilities, log_norms = self._softmax
        shifted = self.scores - self.layout.spread(self._peaks)
        expected = self.layout.row_sum(probabilities * xp.where(probabilities > 0, shifted, 0))
        return self._cast(self.packing.sum(log_norms - expected).clip(0, None))

    @cached_property
    def _softmax(self) -> tuple[Floats1d, Floats1d]:
        """Probabilities, (cells,), and log Z minus the best score of every token, (N,)."""
        xp, layout = array_module(self.scores), self.layout
        probabilities = self.scores - layout.spread(self._peaks)
        xp.exp(probabilities, out=probabilities)
        norms = layout.row_sum(probabilities)
        probabilities /= layout.spread(norms)
        return probabilities, xp.log(norms)

    @cached_property
    def _log_z(self) -> Floats1d:
        """log Z in float64, (B,)."""
        log_norms = self._softmax[1].astype(np.float64)
        return self.packing.sum(log_norms + self._peaks)
