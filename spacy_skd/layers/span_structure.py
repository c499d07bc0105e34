"""Scores of spans read as a distribution over sets of spans (docs/math.md §2.6)."""

from collections.abc import Callable
from typing import Any, Literal

from thinc.api import Model
from thinc.types import Floats3d, Ragged

from ..structures import FlatSpans, LocalSpans

STRUCTURES: dict[str, type[FlatSpans] | type[LocalSpans]] = {
    "exact": FlatSpans,
    "local": LocalSpans,
}


def span_structure(
    max_width: int, nO: int | None = None, loss: Literal["exact", "local"] = "exact"
) -> Model[Ragged, FlatSpans | LocalSpans]:
    """Read (N, W, R) scores as one distribution over the spans of each sentence.

    Has no parameters. The backward pass takes the gradient in the form of the distribution's parts,
    (N, W, R), and hands it on.

    max_width: W, the number of tokens of the longest span. nO: R, the number of labels.
    loss: "exact" for spans that do not overlap (`FlatSpans`), "local" for spans that do not know of
        each other and may be nested (`LocalSpans`); kept in `attrs["loss"]`.
    """
    if loss not in STRUCTURES:
        raise ValueError(f"The loss of a span model is one of {', '.join(STRUCTURES)}, not {loss}.")
    return Model(
        "span_structure",
        forward,
        dims={"nO": nO, "nW": max_width},
        attrs={"labels": [], "biluo": False, "loss": loss},
    )


def forward(
    model: Model[Ragged, FlatSpans | LocalSpans], X: Ragged, is_train: bool
) -> tuple[FlatSpans | LocalSpans, Callable[[Floats3d], Ragged]]:
    def backprop(d_scores: Floats3d) -> Ragged:
        return Ragged(d_scores, X.lengths)

    structure = STRUCTURES[model.attrs["loss"]]
    # A batch without tokens may come without the axis of widths.
    shape = (len(X.data), model.get_dim("nW"), model.get_dim("nO"))
    scores: Any = model.ops.reshape_f(X.data, shape)  # type: ignore[arg-type]
    lengths: Any = X.lengths
    return structure(scores, lengths, labels=model.attrs["labels"] or None), backprop
