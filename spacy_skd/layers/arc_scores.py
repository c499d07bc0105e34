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

ROOT_SCALE = 0.5
"""About the standard deviation of what a maxout layer makes of normalised vectors."""


def arc_scores(nI: int | None = None) -> Model[Ragged, Floats1d]:
    """Score all arcs of every sentence: (N, nI) → (Σ n(n + 1),), in the layout of `ArcLayout`.

        score(h → d) = u_hᵀ W v_d / √w + bᵀ u_h,   w = nI / 2

    The first half of a token's vector is u, its part as a head; the other half is v, its part as a
    dependent. The root's u is a parameter. W and b begin as zeros. What is at arcs from a token to
    itself means nothing, and its gradient is ignored. (Dozat and Manning, 2017, arXiv 1611.01734,
    but for the scale: without it, a step of an optimiser changes the scores of wide layers a lot.)
    """
    return Model(
        "arc_scores",
        forward,
        init=init,
        dims={"nI": nI},
        params={"W": None, "b": None, "root": None},
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
        model.inc_grad("W", dependents.T @ d_queries * half**-0.5)
        model.inc_grad("b", d_queries.sum(axis=0))
        model.inc_grad("root", d_root)
        return Ragged(d_vectors, X.lengths)

    return scores, backprop


def init(model: Model[Ragged, Floats1d], X: Ragged | None = None, Y: Any = None) -> None:
    if X is not None:
        vectors: Any = X.dataXd
        model.set_dim("nI", vectors.shape[1])
    half = half_width(model)
    model.set_param("W", model.ops.alloc2f(half, half))
    model.set_param("b", model.ops.alloc1f(half))
    model.set_param("root", random_root(model, half))


def half_width(model: Model) -> int:
    """The width of what represents a token in one of its two parts.

    Raises ValueError for vectors that have no two halves.
    """
    width = model.get_dim("nI")
    if width % 2:
        raise ValueError(
            f"The vectors of {model.name} are a head and a dependent of the same width, but they "
            f"have the width {width}."
        )
    return width // 2


def random_root(model: Model, width: int) -> Any:
    """A vector that stands for the root before anything is learnt."""
    random: Any = np.random.normal(scale=ROOT_SCALE, size=width)
    return model.ops.asarray_f(random)
