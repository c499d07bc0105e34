"""Transition potentials on top of emissions: the linear-chain CRF's distribution
(docs/math.md §2.2)."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from thinc.api import Model
from thinc.types import Ragged

from ..structures import ChainMarginals, LinearChain, legal_moves


def chain_potentials(nO: int | None = None) -> Model[Ragged, LinearChain]:
    """Join (N, L) emissions with learned transition, start and end potentials to a chain.

    Where its labels are BILUO labels (`set_labels`), moves that are not legal have potential -inf.

    The backward pass takes the gradient in the form of the chain's parts (`ChainMarginals`), keeps
    the part of the potentials and hands the part of the emissions on.
    """
    return Model(
        "chain_potentials",
        forward,
        init=init,
        dims={"nO": nO},
        params={"transitions": None, "start": None, "end": None},
        attrs={"labels": [], "biluo": False},
    )


def forward(
    model: Model[Ragged, LinearChain], X: Ragged, is_train: bool
) -> tuple[LinearChain, Callable[[ChainMarginals], Ragged]]:
    labels = tuple(model.attrs["labels"])
    names = ("transitions", "start", "end")
    potentials: dict[str, Any] = {name: model.get_param(name) for name in names}
    legal = dict(zip(names, _legal(labels))) if model.attrs["biluo"] else {}
    xp = model.ops.xp
    if legal:
        legal = {name: xp.asarray(mask) for name, mask in legal.items()}
        potentials = {
            name: xp.where(legal[name], potential, -xp.inf).astype(potential.dtype)
            for name, potential in potentials.items()
        }

    def backprop(d_parts: ChainMarginals) -> Ragged:
        gradients: dict[str, Any] = {
            "transitions": d_parts.pairs,
            "start": d_parts.starts,
            "end": d_parts.ends,
        }
        for name, gradient in gradients.items():
            model.inc_grad(name, gradient * legal[name] if legal else gradient)
        d_emissions: Any = d_parts.tokens
        return Ragged(d_emissions, X.lengths)

    emissions: Any = X.dataXd
    lengths: Any = X.lengths
    return LinearChain(emissions, **potentials, lengths=lengths, labels=labels or None), backprop


def init(
    model: Model[Ragged, LinearChain], X: Ragged | None = None, Y: LinearChain | None = None
) -> None:
    n_labels = model.get_dim("nO")
    model.set_param("transitions", model.ops.alloc2f(n_labels, n_labels))
    model.set_param("start", model.ops.alloc1f(n_labels))
    model.set_param("end", model.ops.alloc1f(n_labels))


@lru_cache(maxsize=64)
def _legal(labels: tuple[str, ...]):
    return legal_moves(labels)
