"""Biaffine scores of spans from what represents their first and last tokens (docs/math.md §2.6)."""

from collections.abc import Callable
from typing import Any

from thinc.api import Model
from thinc.types import Floats2d, Floats3d, Ragged

from ..structures.base import to_host
from ..structures.local_spans import spans_inside


def span_scores(
    max_width: int, nO: int | None = None, nI: int | None = None
) -> Model[Ragged, Ragged]:
    """Score the spans of up to `max_width` tokens for every label: (N, nI) → (N, W, nO).

        score(i, w, r) = start_iᵀ U_r end_{i+w} + u_r · [start_i; end_{i+w}] + b_{w,r} + b_r

    The first half of a token's vector is `start`, its part as the first token of a span; the other
    half is `end`, its part as the last one. b_{w,r} is a table of widths. A span that sticks out of
    its sentence scores 0, and its gradient is ignored. (Yu, Bohnet and Poesio, 2020, arXiv
    2005.07150, with the widths.)
    """
    return Model(
        "span_scores",
        forward,
        init=init,
        dims={"nO": nO, "nI": nI, "nW": max_width},
        params={"bilinear": None, "starts": None, "ends": None, "widths": None, "b": None},
    )


def forward(
    model: Model[Ragged, Ragged], X: Ragged, is_train: bool
) -> tuple[Ragged, Callable[[Ragged], Ragged]]:
    n_widths, n_labels = model.get_dim("nW"), model.get_dim("nO")
    half = model.get_dim("nI") // 2
    xp = model.ops.xp
    # (half, nO * half): the matrices U_r side by side.
    bilinear: Any = model.get_param("bilinear")
    start_weights: Any = model.get_param("starts")
    end_weights: Any = model.get_param("ends")
    vectors: Any = X.dataXd
    n_tokens = len(vectors)
    starts, ends = vectors[:, :half], vectors[:, half:]
    inside = xp.asarray(spans_inside(to_host(X.lengths), n_widths))[:, :, None]

    # What a token as the start asks of an end, U_rᵀ start + u_r, (N, nO, half), meets the ends of
    # all widths in one product.
    queries = (starts @ bilinear + end_weights.ravel()).reshape(n_tokens, n_labels, half)
    windows = _windows(xp, ends, n_widths)
    scores = windows @ queries.transpose(0, 2, 1)
    scores += (starts @ start_weights.T + model.get_param("b"))[:, None]
    scores += model.get_param("widths")
    scores = xp.where(inside, scores, 0)

    def backprop(d_output: Ragged) -> Ragged:
        d_scores = xp.where(inside, d_output.dataXd, 0)
        d_widths = d_scores.sum(axis=0)
        model.inc_grad("widths", d_widths)
        model.inc_grad("b", d_widths.sum(axis=0))
        d_by_start = d_scores.sum(axis=1)
        model.inc_grad("starts", d_by_start.T @ starts)
        d_queries = (d_scores.transpose(0, 2, 1) @ windows).reshape(n_tokens, n_labels * half)
        model.inc_grad("ends", d_queries.sum(axis=0).reshape(n_labels, half))
        model.inc_grad("bilinear", starts.T @ d_queries)

        d_vectors = xp.empty_like(vectors)
        d_vectors[:, :half] = d_queries @ bilinear.T + d_by_start @ start_weights
        d_vectors[:, half:] = _sum_windows(xp, d_scores @ queries)
        return Ragged(d_vectors, X.lengths)

    return Ragged(scores, X.lengths), backprop


def init(model: Model[Ragged, Ragged], X: Ragged | None = None, Y: Ragged | None = None) -> None:
    """All parameters are zeros: random scores of so many spans would first have to be unlearned."""
    if X is not None:
        vectors: Any = X.dataXd
        model.set_dim("nI", vectors.shape[1])
    if model.get_dim("nI") % 2:
        raise ValueError(
            f"The vectors of span_scores are a start and an end of the same width, but they have "
            f"the width {model.get_dim('nI')}."
        )
    n_labels, half = model.get_dim("nO"), model.get_dim("nI") // 2
    model.set_param("bilinear", model.ops.alloc2f(half, n_labels * half))
    model.set_param("starts", model.ops.alloc2f(n_labels, half))
    model.set_param("ends", model.ops.alloc2f(n_labels, half))
    model.set_param("widths", model.ops.alloc2f(model.get_dim("nW"), n_labels))
    model.set_param("b", model.ops.alloc1f(n_labels))


def _windows(xp: Any, rows: Floats2d, n_widths: int) -> Floats3d:
    """The rows i..i+W-1 of every i, (N, W, H), zeros after the last row. A view: only read it."""
    n_rows, width = rows.shape
    padded = xp.zeros((n_rows + n_widths - 1, width), dtype=rows.dtype)
    padded[:n_rows] = rows
    step, item = padded.strides
    return xp.lib.stride_tricks.as_strided(padded, (n_rows, n_widths, width), (step, step, item))


def _sum_windows(xp: Any, d_windows: Floats3d) -> Floats2d:
    """The gradient of the rows from that of their windows."""
    n_rows, n_widths, width = d_windows.shape
    d_padded = xp.zeros((n_rows + n_widths - 1, width), dtype=d_windows.dtype)
    for w in range(n_widths):
        d_padded[w : w + n_rows] += d_windows[:, w]
    return d_padded[:n_rows]
