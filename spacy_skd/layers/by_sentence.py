"""Vectors of tokens, document by document, seen sentence by sentence."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from spacy.tokens import Doc
from thinc.api import Model
from thinc.types import Floats2d, Ragged

from .sentence_bounds import sentence_lengths


def by_sentence(
    tok2vec: Model[list[Doc], list[Floats2d]],
    max_length: int = 200,
    sentences: Literal["set", "roots"] = "set",
) -> Model[list[Doc], Ragged]:
    """Read the documents, and give all token vectors (N, nO) with the lengths of sentences (B,).

    The encoder gets whole documents. The lengths stay on the host. The vectors of one document are
    the encoder's own array, not to be changed in place.

    sentences: "set" for those that the document has (see `sentence_lengths`); "roots" if sentences
        are what the layers above find: then a document is one as far as `max_length` lets it.

    Raises ValueError for other sentences, or a `max_length` under 1.
    """
    if sentences not in ("set", "roots"):
        raise ValueError(f"The sentences of a parser are 'set' or 'roots', not '{sentences}'.")
    if max_length < 1:
        raise ValueError(f"Sentences have at least one token, but max_length is {max_length}.")
    return Model(
        f"by_sentence({tok2vec.name})",
        forward,
        init=init,
        layers=[tok2vec],
        dims={"nO": tok2vec.maybe_get_dim("nO")},
        attrs={"max_length": max_length, "sentences": sentences},
    )


def forward(
    model: Model[list[Doc], Ragged], docs: list[Doc], is_train: bool
) -> tuple[Ragged, Callable[[Ragged], list[Doc]]]:
    vectors, backprop_vectors = model.layers[0](docs, is_train)
    use_boundaries = model.attrs["sentences"] == "set"
    lengths: Any = sentence_lengths(docs, model.attrs["max_length"], use_boundaries)[0]

    def backprop(d_vectors: Ragged) -> list[Doc]:
        bounds = np.cumsum([len(doc) for doc in docs])
        return backprop_vectors(model.ops.xp.split(d_vectors.dataXd, bounds)[:-1])

    joined = vectors[0] if len(vectors) == 1 else model.ops.flatten(vectors)
    return Ragged(joined, lengths), backprop


def init(model: Model[list[Doc], Ragged], X: list[Doc] | None = None, Y: Any = None) -> None:
    model.layers[0].initialize(X=X)
    width = model.layers[0].maybe_get_dim("nO")
    if width is not None:
        model.set_dim("nO", width)
