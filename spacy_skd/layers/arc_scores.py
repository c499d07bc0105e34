"""Biaffine scores of arcs from what represents tokens as heads and as dependents (docs/math.md
§2.3)."""

from collections.abc import Callable
from typing import Any

import numpy as np
from thinc.api import Model
from thinc.types import Floats1d, Ragged

from ..structures import ArcLayout
from ..structures.base import to_host
from ..structures.rectangles import HeadRows, Rectangle, rectangles
from .distances import N_BUCKETS, buckets_of_cells

ROOT_SCALE = 0.5
"""About the standard deviation of what a maxout layer makes of normalised vectors."""


def arc_scores(nI: int | None = None, distances: bool = True) -> Model[Ragged, Floats1d]:
    """Score all arcs of every sentence: (N, nI) → (Σ n(n + 1),), in the layout of `ArcLayout`.

        score(h → d) = u_hᵀ W v_d / √w + bᵀ u_h + D_kᵀ v_d / √w + c_k,   w = nI / 2

    The first half of a token's vector is u, its part as a head; the other half is v, its part as a
    dependent. The root's u is a parameter. k says on which side of d, and how far from it, h is
    (`distances.py`); without `distances` the last two terms are left out. All but the root begins
    as zeros. What is at arcs from a token to itself means nothing, and its gradient is ignored.
    (Dozat and Manning, 2017, arXiv 1611.01734, but for the scale: without it, a step of an
    optimiser changes the scores of wide layers a lot. Distances: after Qi et al., 2018, arXiv
    1901.10457, who learn them from both words.)
    """
    params = ["W", "b", "root"]
    params += ["distances", "distance_bias"] if distances else []
    return Model(
        "arc_scores",
        forward,
        init=init,
        dims={"nI": nI},
        params=dict.fromkeys(params),
        attrs={"distances": distances},
    )


def forward(
    model: Model[Ragged, Floats1d], X: Ragged, is_train: bool
) -> tuple[Floats1d, Callable[[Floats1d], Ragged]]:
    xp = model.ops.xp
    half = model.get_dim("nI") // 2
    W: Any = model.get_param("W") * half**-0.5
    b: Any = model.get_param("b")
    root: Any = model.get_param("root")
    vectors: Any = X.dataXd
    layout = ArcLayout(to_host(X.lengths).astype(np.int64), xp)
    dependents = vectors[:, half:]
    rows = HeadRows(layout)
    heads = rows.join(vectors[:, :half], root)
    queries = dependents @ W + b

    def grouped() -> list[tuple[Rectangle, Any, Any]]:
        return [(r, r.tokens(queries), r.heads(heads)) for r in rectangles(layout)]

    groups = None
    if layout.n_sentences == 1:  # a sentence alone, which someone waits for
        scores = (queries @ heads.T).ravel()
    else:
        groups = grouped()
        scores = xp.empty(layout.n_cells, dtype=vectors.dtype)
        for rectangle, asked, answers in groups:
            rectangle.put_arcs(asked @ answers.swapaxes(1, 2), scores)
    add_distance_gradients = None
    if model.has_param("distances"):
        add_distance_gradients = add_distances(model, layout, dependents, scores)

    def backprop(d_scores: Floats1d) -> Ragged:
        d_arcs: Any = d_scores.copy()
        d_arcs[layout.self_cells] = 0
        d_queries, d_heads = xp.empty_like(queries), xp.zeros_like(heads)
        for rectangle, asked, answers in groups or grouped():
            d_block = rectangle.arcs(d_arcs)
            rectangle.put_tokens(d_block @ answers, d_queries)
            rectangle.put_heads(d_block.swapaxes(1, 2) @ asked, d_heads)
        d_vectors = xp.empty_like(vectors)
        d_root: Any
        d_vectors[:, :half], d_root = rows.split(d_heads)
        d_vectors[:, half:] = d_queries @ W.T
        if add_distance_gradients:
            add_distance_gradients(d_arcs, d_vectors[:, half:])
        model.inc_grad("W", dependents.T @ d_queries * half**-0.5)
        model.inc_grad("b", d_queries.sum(axis=0))
        model.inc_grad("root", d_root)
        return Ragged(d_vectors, X.lengths)

    return scores, backprop


def add_distances(
    model: Model, layout: ArcLayout, dependents: Any, scores: Any
) -> Callable[[Any, Any], None]:
    """Add to scores (cells,) what dependents (N, w) make of distances; returns what adds to the
    gradient of dependents, from that of the scores."""
    xp = layout.xp
    weights: Any = model.get_param("distances") * dependents.shape[1] ** -0.5
    bias: Any = model.get_param("distance_bias")
    by_bucket = dependents @ weights.T + bias
    places = layout.spread(xp.arange(0, by_bucket.size, N_BUCKETS))
    places += buckets_of_cells(layout)
    scores += by_bucket.take(places)

    def add_gradients(d_scores: Any, d_dependents: Any) -> None:
        sums = d_scores  # of no arcs, which cupy cannot count
        if sums.size:
            sums = xp.bincount(places, d_scores, minlength=by_bucket.size)
        d_by_bucket = sums.reshape(by_bucket.shape).astype(scores.dtype, copy=False)
        d_dependents += d_by_bucket @ weights
        d_weights = d_by_bucket.T @ dependents * dependents.shape[1] ** -0.5
        model.inc_grad("distances", d_weights)
        model.inc_grad("distance_bias", d_by_bucket.sum(axis=0))

    return add_gradients


def init(model: Model[Ragged, Floats1d], X: Ragged | None = None, Y: Any = None) -> None:
    if X is not None:
        vectors: Any = X.dataXd
        model.set_dim("nI", vectors.shape[1])
    half = half_width(model)
    model.set_param("W", model.ops.alloc2f(half, half))
    model.set_param("b", model.ops.alloc1f(half))
    model.set_param("root", random_root(model, half))
    if "distances" in model.param_names:
        model.set_param("distances", model.ops.alloc2f(N_BUCKETS, half))
        model.set_param("distance_bias", model.ops.alloc1f(N_BUCKETS))


def half_width(model: Model) -> int:
    """The width of what represents a token in one of its two parts.

    Raises ValueError for vectors that have no two halves.
    """
    width = model.get_dim("nI")
    if width % 2 or width < 2:
        raise ValueError(
            f"The vectors of {model.name} are a head and a dependent of the same width, but they "
            f"have the width {width}."
        )
    return width // 2


def random_root(model: Model, width: int) -> Any:
    """A vector that stands for the root before anything is learnt."""
    random: Any = np.random.normal(scale=ROOT_SCALE, size=width)
    return model.ops.asarray_f(random)
