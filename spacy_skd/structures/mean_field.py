"""Heads that know of the arcs beside, above and below theirs, by mean field (docs/math.md §2.5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from .arc_layout import ArcLayout
from .base import Floats1d, Floats2d, Floats3d, Ints1d, array_module
from .heads import HeadSelection
from .rectangles import Rectangle, rectangles
from .relations import Relations


class Factor(NamedTuple):
    """Scores of two arcs that share a word, of rank r: s(a, b, c) = Σ_l U[a, l] V[b, l] W[c, l].

    Of siblings a is the head, b and c its dependents; of grandparents, a is the head of b, and b
    that of c. Also gradients of the same.

    heads: U, (N + B, r): a row for what can be a head, of each sentence first the root, then the
    tokens. middles, lasts: V and W, (N, r).
    """

    heads: Floats2d
    middles: Floats2d
    lasts: Floats2d


class MeanFieldGradients(NamedTuple):
    """Gradients of what a `MeanField` is made of; None for factors that it does not have."""

    arcs: Floats1d
    siblings: Factor | None
    grandparents: Factor | None


class MeanField(HeadSelection):
    """Second-order heads: a few steps of mean field, then independent heads.

        Q⁰ = softmax(s)    Q^{m+1} = softmax(s + F(Q^m))
        F(i→j) = Σ_{k≠i,j} Q(i→k) s_sib(i; j, k) + Q(j→k) s_gp(i, j, k) + Q(k→i) s_gp(k, i, j)

    As a distribution it is `HeadSelection` with the scores of the last step, `s + F(Q^{M-1})`: its
    marginals are Q^M, and `select`, `restrict` and `with_scores`, which start from these scores,
    give a plain `HeadSelection`. The root may be the i of the first two terms and the k of the
    last. Nothing has n³ numbers: with factors of low rank, sums over k are matrix products, minus
    the terms in which k = i or k = j.

    arcs: the first-order scores s; for these and the other arguments see `ArcDistribution`.
    siblings, grandparents: `Factor`s, or three arrays or lists; None for none. A score of siblings
        is meant to be the same for (j, k) and (k, j), but need not be.
    iterations: M; 0 for heads of the first order.

    Raises ValueError for shapes that do not fit.

    Wang and Tu, 2020, arXiv 2010.05003.
    """

    def __init__(
        self,
        arcs: Sequence[Floats2d] | Floats1d,
        *,
        siblings: Factor | tuple[Any, Any, Any] | None = None,
        grandparents: Factor | tuple[Any, Any, Any] | None = None,
        iterations: int = 3,
        relations: Relations | None = None,
        labels: Sequence[str] | None = None,
        lengths: Ints1d | Sequence[int] | None = None,
        layout: ArcLayout | None = None,
    ) -> None:
        if iterations < 0:
            raise ValueError(f"There are at least 0 iterations, not {iterations}")
        self.first_order = HeadSelection(arcs, lengths=lengths, layout=layout)
        self.layout = self.first_order.layout
        scores = self.first_order.scores
        self._factors: _Factors = {}
        if siblings is not None:
            self._factors[_Siblings] = _as_factor(siblings, "siblings", self.layout, scores)
        if grandparents is not None:
            self._factors[_Grandparents] = _as_factor(
                grandparents, "grandparents", self.layout, scores
            )
        final = array_module(scores).empty_like(scores)
        self._passes = [
            _Passes(rectangle, scores, self._factors, iterations)
            for rectangle in rectangles(self.layout)
        ]
        for passes in self._passes:
            passes.rectangle.put_arcs(passes.logits, final)
        super().__init__(final, relations=relations, labels=labels, layout=self.layout)

    def backprop(self, d_scores: Floats1d) -> MeanFieldGradients:
        """The gradients of first-order scores and factors from that of `scores`, in closed form.

        d_scores: (Σ n(n + 1),). What is at arcs that are forbidden is ignored.
        """
        xp = array_module(self.scores)
        d_scores = xp.where(self.scores > -xp.inf, d_scores, 0).astype(self.scores.dtype)
        d_arcs = xp.empty_like(d_scores)
        d_factors = {
            kind: Factor(*map(xp.zeros_like, factor)) for kind, factor in self._factors.items()
        }
        for passes in self._passes:
            rectangle = passes.rectangle
            d_first, gradients = passes.backprop(rectangle.arcs(d_scores))
            rectangle.put_arcs(d_first, d_arcs)
            for kind, (d_heads, d_middles, d_lasts) in gradients.items():
                rectangle.put_heads(d_heads, d_factors[kind].heads)
                rectangle.put_tokens(d_middles, d_factors[kind].middles)
                rectangle.put_tokens(d_lasts, d_factors[kind].lasts)
        return MeanFieldGradients(d_arcs, d_factors.get(_Siblings), d_factors.get(_Grandparents))

    def _like(self, scores: Floats1d, relations: Relations | None, layout: ArcLayout) -> Any:
        labels = None if relations is None else self.labels
        return HeadSelection(scores, relations=relations, labels=labels, layout=layout)


class _Siblings:
    """What arcs get from the other arcs of their heads, for the sentences of one rectangle.

    U: (P, n + 1, r); V, W: (P, n, r). Q and F are (P, n, n + 1): a row a dependent. Where k = i, Q
    is zero; `own` is what k = j has to be taken off for.
    """

    def __init__(self, U: Floats3d, V: Floats3d, W: Floats3d) -> None:
        self.U, self.V, self.W = U, V, W
        self.own = (V * W) @ _T(U)

    def message(self, Q: Floats3d) -> tuple[Floats3d, Any]:
        """F, and what its gradient needs besides Q."""
        beside = _T(Q) @ self.W
        F = self.V @ _T(beside * self.U)
        F -= Q * self.own
        return F, beside

    def message_gradient(self, d_F: Floats3d, Q: Floats3d, beside: Any, sums: _Sums) -> Floats3d:
        """The gradient of Q; those of the factor are added to `sums`."""
        d_weighted = _T(d_F) @ self.V
        d_beside = d_weighted * self.U
        sums.V += d_F @ (beside * self.U)
        sums.U += d_weighted * beside
        sums.W += Q @ d_beside
        sums.own -= d_F * Q
        d_Q = self.W @ _T(d_beside)
        d_Q -= d_F * self.own
        return d_Q

    def gradients(self, sums: _Sums) -> tuple[Floats3d, Floats3d, Floats3d]:
        """The gradients of U, V, W once all messages have been gone back through."""
        d_pairs = sums.own @ self.U
        sums.U += _T(sums.own) @ (self.V * self.W)
        return sums.U, sums.V + d_pairs * self.W, sums.W + d_pairs * self.V


class _Grandparents:
    """What arcs get from those below their dependents and from those above their heads.

    Arrays as in `_Siblings`. Where k = j below, or k = i above, Q is zero; `own` is what the other
    case, an arc and its reverse, has to be taken off for: below and above together.
    """

    def __init__(self, U: Floats3d, V: Floats3d, W: Floats3d) -> None:
        self.U, self.V, self.W = U, V, W
        returns = V @ _T(U[:, 1:] * W)
        self.own = returns + _T(returns)

    def message(self, Q: Floats3d) -> tuple[Floats3d, Any]:
        """F, and what its gradient needs besides Q."""
        by_tokens = Q[:, :, 1:]
        below, above = _T(by_tokens) @ self.W, Q @ self.U
        F = (self.V * below) @ _T(self.U)
        F[:, :, 1:] += self.W @ _T(self.V * above)
        F[:, :, 1:] -= _T(by_tokens) * self.own
        return F, (below, above)

    def message_gradient(self, d_F: Floats3d, Q: Floats3d, memory: Any, sums: _Sums) -> Floats3d:
        """The gradient of Q; those of the factor are added to `sums`."""
        below, above = memory
        by_tokens, d_from_tokens = Q[:, :, 1:], d_F[:, :, 1:]
        d_weighted_below, d_weighted_above = d_F @ self.U, _T(d_from_tokens) @ self.W
        d_below, d_above = d_weighted_below * self.V, d_weighted_above * self.V
        sums.V += d_weighted_below * below + d_weighted_above * above
        sums.U += _T(d_F) @ (self.V * below) + _T(Q) @ d_above
        sums.W += by_tokens @ d_below + d_from_tokens @ (self.V * above)
        sums.own -= d_from_tokens * _T(by_tokens)
        d_Q = d_above @ _T(self.U)
        d_Q[:, :, 1:] += self.W @ _T(d_below)
        d_Q[:, :, 1:] -= _T(d_from_tokens * self.own)
        return d_Q

    def gradients(self, sums: _Sums) -> tuple[Floats3d, Floats3d, Floats3d]:
        """The gradients of U, V, W once all messages have been gone back through."""
        d_returns = sums.own + _T(sums.own)
        d_ends = _T(d_returns) @ self.V
        tokens = self.U[:, 1:]
        sums.U[:, 1:] += d_ends * self.W
        return sums.U, sums.V + d_returns @ (tokens * self.W), sums.W + d_ends * tokens


class _Sums:
    """Gradients of one kind of factor, added up over the iterations."""

    def __init__(self, terms: _Siblings | _Grandparents) -> None:
        xp = array_module(terms.U)
        self.U, self.V, self.W, self.own = map(
            xp.zeros_like, (terms.U, terms.V, terms.W, terms.own)
        )


class _Passes:
    """The iterations over one rectangle of sentences; `logits` are the last scores."""

    def __init__(
        self, rectangle: Rectangle, scores: Floats1d, factors: _Factors, iterations: int
    ) -> None:
        self.rectangle = rectangle
        self.terms = {
            kind: kind(
                rectangle.heads(factor.heads),
                rectangle.tokens(factor.middles),
                rectangle.tokens(factor.lasts),
            )
            for kind, factor in factors.items()
        }
        first = rectangle.arcs(scores, -np.inf)
        self.logits = first
        self.steps: list[tuple[Floats3d, list[Any]]] = []
        for _ in range(iterations):
            Q = _softmax(self.logits)
            self.logits, memories = first.copy(), []
            for terms in self.terms.values():
                F, memory = terms.message(Q)
                self.logits += F
                memories.append(memory)
            self.steps.append((Q, memories))

    def backprop(self, d_logits: Floats3d) -> tuple[Floats3d, dict[_Kind, Any]]:
        """The gradients of the first-order scores, and of U, V, W of each kind of factor."""
        d_first = d_logits.copy()
        sums = {kind: _Sums(terms) for kind, terms in self.terms.items()}
        for Q, memories in reversed(self.steps):
            d_Q = array_module(Q).zeros_like(Q)
            for (kind, terms), memory in zip(self.terms.items(), memories):
                d_Q += terms.message_gradient(d_logits, Q, memory, sums[kind])
            d_Q *= Q
            d_logits = d_Q - Q * d_Q.sum(axis=2, keepdims=True)
            d_first += d_logits
        return d_first, {kind: terms.gradients(sums[kind]) for kind, terms in self.terms.items()}


_Kind: TypeAlias = type[_Siblings] | type[_Grandparents]
_Factors: TypeAlias = dict[_Kind, Factor]


def _T(matrices: Floats3d) -> Any:
    return matrices.swapaxes(1, 2)


def _softmax(logits: Floats3d) -> Floats3d:
    """Over the last axis; zeros where there is no possible head."""
    xp = array_module(logits)
    peaks = logits.max(axis=2, keepdims=True)
    peaks[peaks == -np.inf] = 0
    values = xp.exp(logits - peaks)
    norms = values.sum(axis=2, keepdims=True)
    norms[norms == 0] = 1
    values /= norms
    return values


def _as_factor(factor: Any, name: str, layout: ArcLayout, scores: Floats1d) -> Factor:
    """The factor in the dtype of the scores, its shapes checked."""
    if len(factor) != len(Factor._fields):
        raise ValueError(
            f"The factor of {name} has three arrays, {', '.join(Factor._fields)}, but there are "
            f"{len(factor)}"
        )
    xp = array_module(scores)
    found = Factor(*(xp.asarray(array, dtype=scores.dtype) for array in factor))
    n_tokens, rank = layout.n_tokens, found.heads.shape[-1] if found.heads.ndim else 0
    if not rank:
        raise ValueError(
            f"The heads of {name} should have a row for each possible head and at least one "
            f"column, but they have the shape {found.heads.shape}"
        )
    n_rows = n_tokens + layout.n_sentences
    for part, array, rows in zip(Factor._fields, found, (n_rows, n_tokens, n_tokens)):
        if array.shape != (rows, rank):
            raise ValueError(
                f"The {part} of {name} should have the shape ({rows}, {rank}), but they have "
                f"{array.shape}"
            )
    return found
