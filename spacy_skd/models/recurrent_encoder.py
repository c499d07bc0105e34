"""`spacy-skd.HashEmbedRecurrent.v1`: a torch-free encoder that reads the whole sentence."""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

from spacy.ml.models.tok2vec import MaxoutWindowEncoder, build_Tok2Vec_model
from spacy.tokens import Doc
from thinc.api import Maxout, Model, Ragged, chain, clone, residual, with_array, with_ragged
from thinc.types import Floats2d

from ..layers import in_portions, lean, light_recurrence, two_way_lstm, within_sentences
from .hash_embedding import build_word_embedding

Vectors: TypeAlias = list[Floats2d]
RECURRENCES: dict[str, Callable[..., Model[Ragged, Ragged]]] = {
    "light": light_recurrence,
    "lstm": two_way_lstm,
}


def build_hash_embed_recurrent(
    width: int,
    depth: int = 2,
    embed_size: int = 5000,
    recurrent_width: int | None = None,
    recurrent_depth: int = 1,
    recurrence: Literal["light", "lstm"] = "light",
    window_size: int = 1,
    maxout_pieces: int = 3,
    subword_features: bool = True,
    pretrained_vectors: bool | None = False,
    sentences: Literal["set", "ignored"] = "set",
) -> Model[list[Doc], Vectors]:
    """Build hash embeddings, convolutions over windows and a recurrence in both directions.

    The embeddings and the convolutions are those of `spacy-skd.HashEmbedCNN.v1`, which sees
    `depth * window_size` tokens to either side; the recurrence sees the sentence, or the document
    where it has no boundaries. Each layer of it is followed by a maxout layer with layer
    normalisation, whose output is added to its input as in the convolutions. Runs on numpy and
    cupy, without torch.

    width: of the output and of all layers between embeddings and output.
    depth: number of convolutions below the recurrence; may be 0.
    embed_size: rows of the table of norms; prefixes, suffixes and shapes have half as many.
    recurrent_width: units of the recurrence in each direction; `width` if None.
    recurrent_depth: number of recurrent layers.
    recurrence: "light", whose gates depend on the input alone, or "lstm", whose gates also see the
        state: slower, above all for few documents at once.
    window_size: tokens to either side that one convolution sees.
    maxout_pieces: pieces of the maxout of convolutions and recurrent layers.
    subword_features: embed prefix, suffix and shape of a token too.
    pretrained_vectors: embed the static vectors of the vocabulary too.
    sentences: "set" to read each sentence of a document by itself, if its boundaries are set when
        it comes in; "ignored" to read it as a whole.

    The model has the references "embed" and "encode". Raises ValueError for a `recurrence` or
    `sentences` that there are not, or a `recurrent_depth` under 1.
    """
    if recurrence not in RECURRENCES:
        known = ", ".join(f'"{name}"' for name in RECURRENCES)
        raise ValueError(f'The recurrence of an encoder is one of {known}, not "{recurrence}".')
    if sentences not in ("set", "ignored"):
        raise ValueError(f'The sentences of an encoder are "set" or "ignored", not "{sentences}".')
    if recurrent_depth < 1:
        raise ValueError(
            f"recurrent_depth is {recurrent_depth}; without a recurrence the encoder is "
            "spacy-skd.HashEmbedCNN.v1."
        )
    embed = build_word_embedding(width, embed_size, subword_features, bool(pretrained_vectors))
    layer = _recurrent_layer(recurrence, width, recurrent_width or width, maxout_pieces)
    encode = _over_documents(clone(layer, recurrent_depth), width)
    if depth:
        encode = chain(MaxoutWindowEncoder(width, window_size, maxout_pieces, depth), encode)
    build = within_sentences if sentences == "set" else build_Tok2Vec_model
    return in_portions(lean(build(embed, encode)))


def _recurrent_layer(
    recurrence: str, width: int, recurrent_width: int, maxout_pieces: int
) -> Model[Ragged, Ragged]:
    read = RECURRENCES[recurrence](2 * recurrent_width, width)
    mix: Model[Ragged, Ragged] = with_array(
        Maxout(width, 2 * recurrent_width, nP=maxout_pieces, normalize=True, dropout=0.0)
    )
    return residual(chain(read, mix))


def _over_documents(layer: Model[Ragged, Ragged], width: int) -> Model[Vectors, Vectors]:
    """Join the documents, split what the layer makes of them; no tokens are no work for it."""
    return Model(
        f"over_documents({layer.name})",
        _forward,
        init=_init,
        layers=[with_ragged(layer)],
        dims={"nO": width, "nI": width},
    )


def _forward(
    model: Model[Vectors, Vectors], X: Vectors, is_train: bool
) -> tuple[Vectors, Callable[[Vectors], Vectors]]:
    if not any(map(len, X)):
        return X, lambda dY: dY
    return model.layers[0](X, is_train)


def _init(model: Model[Vectors, Vectors], X: Vectors | None = None, Y: Any = None) -> None:
    model.layers[0].initialize(X if X and any(map(len, X)) else None)
