"""Transition potentials on top of emissions: the linear-chain CRF's distribution
(docs/math.md §2.2)."""

from collections.abc import Callable
from typing import Any

from thinc.api import Model
from thinc.types import Ragged

from ..structures import ChainMarginals, LinearChain
from ..structures.biluo import legal_potentials

NAMES = ("transitions", "start", "end")


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
    potentials: dict[str, Any] = {name: model.get_param(name) for name in NAMES}
    bars: dict[str, Any] = {}
    if model.attrs["biluo"]:
        bars = dict(zip(NAMES, map(model.ops.xp.asarray, legal_potentials(labels))))
        potentials = {name: potentials[name] + bar for name, bar in bars.items()}

    def backprop(d_parts: ChainMarginals) -> Ragged:
        gradients: dict[str, Any] = {
            "transitions": d_parts.pairs,
            "start": d_parts.starts,
            "end": d_parts.ends,
        }
        for name, gradient in gradients.items():
            model.inc_grad(name, gradient * (bars[name] == 0) if bars else gradient)
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
