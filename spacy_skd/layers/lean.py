"""Chains of layers that keep nothing while they predict."""

from collections.abc import Callable
from typing import Any, TypeVar

from thinc.api import Model
from thinc.layers.chain import forward as keep_all

ModelT = TypeVar("ModelT", bound=Model)


def lean(model: ModelT) -> ModelT:
    """Let all chains in the model forget, when they predict, what each layer keeps for a backward
    pass: a batch then takes the memory of its largest layer, not that of all. In place.

    A backward pass after a prediction runs the chain again.
    """
    for layer in model.walk():
        if layer._func is keep_all:
            layer._func = forward
    return model


def forward(model: Model, X: Any, is_train: bool) -> tuple[Any, Callable[[Any], Any]]:
    if is_train:
        return keep_all(model, X, is_train)
    Y = X
    for layer in model.layers:
        Y = layer.predict(Y)

    def backprop(dY: Any) -> Any:
        return keep_all(model, X, is_train)[1](dY)

    return Y, backprop
