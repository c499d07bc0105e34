"""Scores of labels, token by token: the MaxEnt model's distribution (docs/math.md §2.1)."""

from collections.abc import Callable
from typing import Any

from thinc.api import Model
from thinc.types import Floats2d, Ragged

from ..structures import Token


def token_scores(nO: int | None = None) -> Model[Ragged, Token]:
    """Read (N, L) scores as independent distributions over the labels of each token.

    Has no parameters. The backward pass takes the gradient in the form of the distribution's parts,
    (N, L), and hands it on.
    """
    return Model("token_scores", forward, dims={"nO": nO}, attrs={"labels": [], "biluo": False})


def forward(
    model: Model[Ragged, Token], X: Ragged, is_train: bool
) -> tuple[Token, Callable[[Floats2d], Ragged]]:
    def backprop(d_scores: Floats2d) -> Ragged:
        return Ragged(d_scores, X.lengths)

    scores: Any = X.dataXd
    lengths: Any = X.lengths
    return Token(scores, lengths, labels=model.attrs["labels"] or None), backprop
