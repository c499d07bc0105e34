"""Batches that are predicted in portions, which the processor's caches hold."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeAlias

from spacy.tokens import Doc
from thinc.api import Model, NumpyOps
from thinc.types import Floats2d

Vectors: TypeAlias = list[Floats2d]
Backprop: TypeAlias = Callable[[Vectors], Any]
Forward: TypeAlias = Callable[[Model, list[Doc], bool], tuple[Vectors, Backprop]]

MOST_WORDS = 2_000
"""Of a portion: few enough to stay in the caches, enough for calls to cost little."""


def portions(docs: Sequence[Doc], model: Model) -> Iterator[list[Doc]]:
    """The documents in order, `MOST_WORDS` tokens or one document at a time. On a GPU, which is
    fastest with large batches, all at once."""
    if not isinstance(model.ops, NumpyOps):
        yield list(docs)
        return
    portion: list[Doc] = []
    n_words = 0
    for doc in docs:
        n_words += len(doc)
        if portion and n_words > MOST_WORDS:
            yield portion
            portion, n_words = [], len(doc)
        portion.append(doc)
    if portion:
        yield portion


def in_portions(model: Model[list[Doc], Vectors]) -> Model[list[Doc], Vectors]:
    """Let an encoder predict large batches in portions, which no backward pass can follow. In
    place."""
    model._func = partial(forward, model._func)
    return model


def forward(
    whole: Forward, model: Model[list[Doc], Vectors], docs: list[Doc], is_train: bool
) -> tuple[Vectors, Backprop]:
    if is_train or sum(map(len, docs)) <= MOST_WORDS:
        return whole(model, docs, is_train)
    vectors = [vector for few in portions(docs, model) for vector in whole(model, few, False)[0]]
    return vectors, _no_backprop


def _no_backprop(d_vectors: Vectors) -> Any:
    raise ValueError("This batch was not read to be trained on: the pass was a prediction.")
