"""Biaffine scores of the relations of arcs, computed for the arcs that are asked for (docs/math.md
§2.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from thinc.api import Model, Ops
from thinc.types import Ragged

from ..structures import ArcLayout, RelationParts
from ..structures.base import Floats1d, Floats2d, Ints1d, to_host
from ..structures.rectangles import HeadRows
from .arc_scores import half_width, random_root
from .distances import N_BUCKETS, buckets_of_arcs

WEIGHTS = ("bilinear", "heads", "dependents", "b")
CHUNK_ITEMS = 1 << 18
"""How many numbers are made at once of what tokens ask of heads: few enough for the caches."""
CHUNK_ITEMS_ON_GPU = 1 << 22
"""16 MiB an array."""


def arc_relations(
    nO: int | None = None, nI: int | None = None, distances: bool = True
) -> Model[Ragged, BiaffineRelations]:
    """Score the relations of arcs: (N, nI) → `BiaffineRelations`.

        score_r(h → d) = u_hᵀ W_r v_d / √w + w_r · u_h + x_r · v_d + b_r + c_kr,   w = nI / 2

    The first half of a token's vector is u, its part as a head; the other half is v, its part as a
    dependent. k says where h is, as for `arc_scores`; without `distances` there is no c. The
    root's u is a parameter; the others begin as zeros. The backward pass takes the gradient as
    `RelationParts`, None for none. (Dozat and Manning, 2017, arXiv 1611.01734; for the scale see
    `arc_scores`.)
    """
    params = [*WEIGHTS, "root", *(["distances"] if distances else ())]
    return Model(
        "arc_relations",
        forward,
        init=init,
        dims={"nO": nO, "nI": nI},
        params=dict.fromkeys(params),
        attrs={"distances": distances},
    )


def forward(
    model: Model[Ragged, BiaffineRelations], X: Ragged, is_train: bool
) -> tuple[BiaffineRelations, Callable[[RelationParts | None], Ragged]]:
    vectors: Any = X.dataXd
    half = model.get_dim("nI") // 2
    layout = ArcLayout(to_host(X.lengths).astype(np.int64), model.ops.xp)
    rows = HeadRows(layout)
    weights: Any = {name: model.get_param(name) for name in WEIGHTS}
    weights["distances"] = model.maybe_get_param("distances")
    root: Any = model.get_param("root")
    heads = rows.join(vectors[:, :half], root)
    # A copy: whoever keeps the relations keeps no more than they need.
    dependents = model.ops.xp.ascontiguousarray(vectors[:, half:])
    relations = BiaffineRelations(heads, dependents, Weights(**weights), layout, model.ops)

    def backprop(d_relations: RelationParts | None) -> Ragged:
        if d_relations is None:
            return Ragged(model.ops.xp.zeros_like(vectors), X.lengths)
        d_heads, d_dependents, d_weights = relations.gradients(d_relations)
        d_vectors, d_root = rows.split(d_heads)
        for name, gradient in (*d_weights.given(), ("root", d_root)):
            model.inc_grad(name, gradient)
        return Ragged(model.ops.xp.hstack([d_vectors, d_dependents]), X.lengths)

    return relations, backprop


def init(model: Model[Ragged, BiaffineRelations], X: Ragged | None = None, Y: Any = None) -> None:
    if X is not None:
        vectors: Any = X.dataXd
        model.set_dim("nI", vectors.shape[1])
    half, n_labels = half_width(model), model.get_dim("nO")
    model.set_param("bilinear", model.ops.alloc2f(half, n_labels * half))
    model.set_param("heads", model.ops.alloc2f(n_labels, half))
    model.set_param("dependents", model.ops.alloc2f(n_labels, half))
    model.set_param("b", model.ops.alloc1f(n_labels))
    model.set_param("root", random_root(model, half))
    if "distances" in model.param_names:
        model.set_param("distances", model.ops.alloc2f(N_BUCKETS, n_labels))


@dataclass(frozen=True, eq=False)
class Weights:
    """Parameters, or their gradients.

    bilinear: (d, R * d), the matrices W_rᵀ side by side, dependents by heads. heads, dependents:
    (R, d). b: (R,). distances: (buckets, R), or None.
    """

    bilinear: Floats2d
    heads: Floats2d
    dependents: Floats2d
    b: Floats1d
    distances: Floats2d | None = None

    def given(self) -> list[tuple[str, Any]]:
        return [(name, weights) for name, weights in vars(self).items() if weights is not None]


class BiaffineRelations:
    """Scores of R relations for the arcs that are asked for (the protocol `Relations`).

    heads: (N + B, d) what represents the root and the tokens of each sentence as heads.
    dependents: (N, d) what represents tokens as dependents.

    A token's question to all heads, W_rᵀ v for every r, is the dear part: the arcs of one token
    share it, and arcs are done by chunks, so that what is in memory has a bound.
    """

    def __init__(
        self,
        heads: Floats2d,
        dependents: Floats2d,
        weights: Weights,
        layout: ArcLayout,
        ops: Ops,
    ) -> None:
        self.heads, self.dependents = heads, dependents
        self.weights = weights
        self.layout = layout
        self.rows = HeadRows(layout)
        self.ops = ops
        self.n_labels: int = weights.heads.shape[0]
        self._scale = weights.heads.shape[1] ** -0.5

    def scores_at(self, tokens: Ints1d, heads: Ints1d) -> Floats2d:
        """Log-potentials of the relations of P arcs, (P, R).

        tokens: (P,) dependents, numbers in the whole batch. heads: (P,) head numbers in their
        sentences.
        """
        xp, weights = self.ops.xp, self.weights
        scores: Any = xp.empty((len(tokens), self.n_labels), dtype=self.dependents.dtype)
        buckets = self._buckets(tokens, heads)
        for chunk in self._chunks(tokens, heads):
            answers = self._answers(chunk)
            found = (self._questions(chunk) @ answers[:, :, None])[:, :, 0]
            found += answers @ weights.heads.T
            linear = self.dependents.take(chunk.tokens, axis=0) @ weights.dependents.T + weights.b
            found += chunk.spread(linear)
            if weights.distances is not None:
                found += weights.distances.take(buckets[chunk.arcs], axis=0)
            scores[chunk.arcs] = found
        return scores

    def gradients(self, d_scores: RelationParts) -> tuple[Floats2d, Floats2d, Weights]:
        """The gradients of heads, dependents and weights from that of the scores of some arcs."""
        xp, weights = self.ops.xp, self.weights
        d_heads, d_dependents = xp.zeros_like(self.heads), xp.zeros_like(self.dependents)
        d_weights = Weights(**{name: xp.zeros_like(w) for name, w in weights.given()})
        buckets = self._buckets(d_scores.tokens, d_scores.heads)
        for chunk in self._chunks(d_scores.tokens, d_scores.heads):
            d_arcs = xp.asarray(d_scores.values, dtype=d_heads.dtype)[chunk.arcs]
            d_answers = (d_arcs[:, None] @ self._questions(chunk))[:, 0]
            d_answers += d_arcs @ weights.heads
            self._add(d_heads, chunk.heads, d_answers)

            d_questions = d_arcs[:, :, None] * self._answers(chunk)[:, None]
            by_token = self._sum(chunk, d_questions.reshape(len(d_arcs), -1))
            of_tokens = self._sum(chunk, d_arcs)
            vectors = self.dependents.take(chunk.tokens, axis=0)
            d_vectors = by_token @ weights.bilinear.T * self._scale
            d_vectors += of_tokens @ weights.dependents
            d_dependents[chunk.tokens] += d_vectors
            d_weights.bilinear[...] += (vectors.T * self._scale) @ by_token
            d_weights.heads[...] += by_token.sum(axis=0).reshape(weights.heads.shape)
            d_weights.dependents[...] += of_tokens.T @ vectors
            d_weights.b[...] += of_tokens.sum(axis=0)
            if d_weights.distances is not None:
                self._add(d_weights.distances, buckets[chunk.arcs], d_arcs)
        return d_heads, d_dependents, d_weights

    def select(self, sentences: Ints1d | Sequence[int]) -> BiaffineRelations:
        """Only the given sentences of the batch, in the given order."""
        tokens, lengths = self.layout.packing.select(sentences)
        layout = ArcLayout(lengths, self.layout.xp)
        chosen = to_host(sentences).astype(np.int64, copy=False)
        first_rows = self.layout.token_offsets[chosen] + chosen
        ends = np.cumsum(lengths + 1)
        rows = np.arange(int(ends[-1]) if len(ends) else 0)
        rows += np.repeat(first_rows - (ends - lengths - 1), lengths + 1)
        return BiaffineRelations(
            self.heads.take(self.ops.xp.asarray(rows), axis=0),
            self.dependents.take(tokens, axis=0),
            self.weights,
            layout,
            self.ops,
        )

    def _chunks(self, tokens: Any, heads: Any) -> Iterator[_Chunk]:
        """All arcs in chunks, those of a token one after another."""
        xp = self.ops.xp
        tokens, heads = (
            to_host(numbers).astype(np.int64, copy=False) for numbers in (tokens, heads)
        )
        rows = self.rows.of_arcs(tokens, heads)
        n_items = CHUNK_ITEMS if xp is np else CHUNK_ITEMS_ON_GPU
        size = max(1, n_items // max(1, self.weights.bilinear.shape[1]))
        if 0 < len(tokens) <= size and (tokens[1:] > tokens[:-1]).all():
            everything = slice(0, len(tokens))
            yield _Chunk(everything, xp.asarray(rows.astype(np.int32)), xp.asarray(tokens), None)
            return
        order = None
        if (tokens[1:] < tokens[:-1]).any():
            order = np.argsort(tokens, kind="stable")
            tokens, rows = tokens[order], rows[order]
        is_new = np.ones(len(tokens), dtype=bool)
        is_new[1:] = tokens[1:] != tokens[:-1]
        for start in range(0, len(tokens), size):
            part = slice(start, start + size)
            new = is_new[part].copy()
            new[0] = True
            yield _Chunk(
                arcs=part if order is None else xp.asarray(order[part]),
                heads=xp.asarray(rows[part].astype(np.int32)),
                tokens=xp.asarray(tokens[part][new]),
                questions=None if new.all() else xp.asarray(np.cumsum(new) - 1),
            )

    def _questions(self, chunk: _Chunk) -> Any:
        """What the tokens of arcs ask of heads, (A, R, d)."""
        asked = self.dependents.take(chunk.tokens, axis=0) * self._scale @ self.weights.bilinear
        return chunk.spread(asked.reshape(-1, *self.weights.heads.shape))

    def _buckets(self, tokens: Any, heads: Any) -> Any:
        """Of all arcs, if distances count."""
        if self.weights.distances is None:
            return None
        xp = self.ops.xp
        arcs = (xp.asarray(numbers, dtype=np.int64) for numbers in (tokens, heads))
        return buckets_of_arcs(self.layout, *arcs).astype(np.int32, copy=False)

    def _answers(self, chunk: _Chunk) -> Any:
        return self.heads.take(chunk.heads, axis=0)

    def _sum(self, chunk: _Chunk, values: Floats2d) -> Floats2d:
        """Values of arcs (A, ...) summed by token, (T, ...)."""
        if chunk.questions is None:
            return values
        sums: Any = self.ops.xp.zeros((len(chunk.tokens), values.shape[1]), dtype=values.dtype)
        self._add(sums, chunk.questions.astype(np.int32), values)
        return sums

    def _add(self, table: Any, rows: Any, values: Any) -> None:
        self.ops.scatter_add(table, rows, self.ops.xp.ascontiguousarray(values))


@dataclass(frozen=True, eq=False)
class _Chunk:
    """A arcs of T tokens.

    arcs: which they are of those asked for. heads: (A,) rows of heads. tokens: (T,), each once.
    questions: (A,) which of the T tokens each arc has; None if A = T.
    """

    arcs: slice | Any
    heads: Any
    tokens: Any
    questions: Any

    def spread(self, values: Any) -> Any:
        """Values of tokens (T, ...) as those of arcs, (A, ...)."""
        return values if self.questions is None else values.take(self.questions, axis=0)
