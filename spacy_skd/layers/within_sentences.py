"""Tokens that are embedded by document and encoded by sentence."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from spacy.attrs import SENT_START
from spacy.tokens import Doc
from thinc.api import Model
from thinc.types import Floats2d

from .sentence_bounds import sentence_lengths

Vectors: TypeAlias = list[Floats2d]


def within_sentences(
    embed: Model[list[Doc], Vectors], encode: Model[Vectors, Vectors]
) -> Model[list[Doc], Vectors]:
    """Encode the sentences of documents as if each were a document: (tokens, nO) for each document.

    Sentences are those that the documents have when they come in. One without boundaries is encoded
    as a whole. The model has the references "embed" and "encode".
    """
    model: Model[list[Doc], Vectors] = Model(
        f"within_sentences({embed.name}, {encode.name})",
        forward,
        init=init,
        layers=[embed, encode],
        dims={"nO": encode.maybe_get_dim("nO")},
    )
    model.set_ref("embed", embed)
    model.set_ref("encode", encode)
    return model


def forward(
    model: Model[list[Doc], Vectors], docs: list[Doc], is_train: bool
) -> tuple[Vectors, Callable[[Vectors], Any]]:
    embed, encode = model.layers
    of_documents: Any = np.fromiter(map(len, docs), dtype="i", count=len(docs))
    of_sentences = None
    if any(_has_several(doc) for doc in docs):
        of_sentences = sentence_lengths(docs, int(of_documents.max()))[0]

    def regroup(vectors: Vectors, lengths: Any) -> Vectors:
        if of_sentences is None:
            return vectors
        return model.ops.unflatten(model.ops.flatten(vectors), lengths)

    vectors, backprop_embed = embed(docs, is_train)
    encoded, backprop_encode = encode(regroup(vectors, of_sentences), is_train)

    def backprop(d_encoded: Vectors) -> Any:
        d_vectors = backprop_encode(regroup(d_encoded, of_sentences))
        return backprop_embed(regroup(d_vectors, of_documents))

    return regroup(encoded, of_documents), backprop


def init(
    model: Model[list[Doc], Vectors], X: list[Doc] | None = None, Y: Vectors | None = None
) -> None:
    embed, encode = model.layers
    embed.initialize(X=X)
    encode.initialize(X=None if X is None else embed.predict(X), Y=Y)
    model.set_dim("nO", encode.get_dim("nO"))


def _has_several(doc: Doc) -> bool:
    """Whether a sentence begins after the first token."""
    return bool(np.count_nonzero(doc.to_array(SENT_START)[1:] == 1))
