"""Factors of pairs of arcs, trilinear and of low rank (docs/math.md §2.5)."""

from collections.abc import Callable
from typing import Any

import numpy as np
from thinc.api import Model
from thinc.types import Ragged

from ..structures import ArcLayout
from ..structures.base import to_host
from ..structures.mean_field import Factor
from ..structures.rectangles import HeadRows
from .arc_scores import random_root
from .settings import check_at_least

N_ROLES = 3


def trilinear(rank: int, nI: int | None = None, alike: bool = False) -> Model[Ragged, Factor]:
    """Make the factors of three words from what represents them in each role: (N, nI) → `Factor`.

        score(a, b, c) = Σ_l (U a + u)_l (V b + v)_l (W c + w)_l / √rank,   l = 1..rank

    A token's vector is a, b and c side by side: its parts as the head of all (which may be the
    root, of which a is a parameter), and as the other two words. U and u begin as zeros, so all
    scores do.

    alike: the other two have one role, so b is c, V is W, and a token's vector is a and b: for
        siblings, whose score does not depend on which of them comes first.

    Raises ValueError for a rank below 1.
    """
    check_at_least(1, rank=rank)
    return Model(
        "trilinear",
        forward,
        init=init,
        dims={"nI": nI},
        params={"W": None, "b": None, "root": None},
        attrs={"rank": rank, "alike": alike},
    )


def forward(
    model: Model[Ragged, Factor], X: Ragged, is_train: bool
) -> tuple[Factor, Callable[[Factor], Ragged]]:
    W: Any = model.get_param("W")
    b: Any = model.get_param("b")
    root: Any = model.get_param("root")
    vectors: Any = X.dataXd
    n_tokens, (n_roles, _, width) = len(vectors), W.shape
    rows = HeadRows(ArcLayout(to_host(X.lengths).astype(np.int64), model.ops.xp))
    roles = vectors.reshape(n_tokens, n_roles, width).swapaxes(0, 1)
    found = roles @ W.swapaxes(1, 2)
    found += b[:, None]
    scale = model.attrs["rank"] ** -0.5
    heads = rows.join(found[0] * scale, (W[0] @ root + b[0]) * scale)

    def backprop(d_factor: Factor) -> Ragged:
        d_found = model.ops.xp.empty_like(found)
        d_found[0], d_root = rows.split(d_factor.heads * scale)
        if n_roles == N_ROLES:
            d_found[1], d_found[2] = d_factor.middles, d_factor.lasts
        else:
            d_found[1] = d_factor.middles + d_factor.lasts
        d_b = d_found.sum(axis=1)
        d_b[0] += d_root
        d_W = d_found.swapaxes(1, 2) @ roles
        d_W[0] += d_root[:, None] * root
        model.inc_grad("W", d_W)
        model.inc_grad("b", d_b)
        model.inc_grad("root", d_root @ W[0])
        d_roles = d_found @ W
        return Ragged(d_roles.swapaxes(0, 1).reshape(vectors.shape), X.lengths)

    return Factor(heads, found[1], found[-1]), backprop


def init(model: Model[Ragged, Factor], X: Ragged | None = None, Y: Any = None) -> None:
    if X is not None:
        vectors: Any = X.dataXd
        model.set_dim("nI", vectors.shape[1])
    rank, n_roles = model.attrs["rank"], N_ROLES - int(model.attrs["alike"])
    width, rest = divmod(model.get_dim("nI"), n_roles)
    if rest or not width:
        raise ValueError(
            f"The vectors of trilinear are {n_roles} roles of the same width, but they have the "
            f"width {model.get_dim('nI')}."
        )
    weights: Any = np.random.normal(scale=width**-0.5, size=(n_roles, rank, width))
    weights[0] = 0
    model.set_param("W", model.ops.asarray_f(weights))
    model.set_param("b", model.ops.alloc2f(n_roles, rank))
    model.set_param("root", random_root(model, width))
