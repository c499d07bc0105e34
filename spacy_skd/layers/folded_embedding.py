"""Hash embeddings whose mixing layer is multiplied into their tables where they predict.

An embedding is a sum of rows of a table, and the layer that mixes the embeddings of a token begins
with a product by its weights. The product of a sum is the sum of the products, so the rows can be
multiplied beforehand: what is left for each token is a sum of rows of a wider table.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from spacy.tokens import Doc
from thinc.api import Model, NumpyOps
from thinc.layers.chain import forward as chain_forward
from thinc.types import Floats2d

from .remembered import Remembered

LAYERS = ("extract_features", "list2ragged", "with_array", "with_array", "ragged2list")
"""How the names of the layers begin that `spacy.MultiHashEmbed` is a chain of."""
CHUNK = 2048
"""Tokens at a time: what is made of them stays in the processor's cache."""
MANY_TOKENS = 256
"""Of so many, those that are alike are embedded once."""
FACTOR = np.uint64(0x9E3779B97F4A7C15)
"""A number without pattern: features times its powers tell tokens apart by their sum."""
FOLDED = "folded"  # the model's attribute

DocsToVectors = Model[list[Doc], list[Floats2d]]


def folded_embedding(embed: DocsToVectors) -> DocsToVectors:
    """The layers and weights of `spacy.MultiHashEmbed`, and its results but for rounding: (tokens,
    width) for each document, predicted in less time on a CPU, with more memory.

    A row is multiplied when it is needed for the first time; in the end there are (rows of all
    tables, width * pieces) more floats. It starts anew when other arrays take the place of the
    weights (an update, averages, weights that are loaded), and does nothing between a pass that
    trains and its update. So weights may not be changed in place in other ways than by training,
    and a prediction cannot be followed by a backward pass.

    Embeddings that are mixed with static vectors are returned as they are.
    """
    names = [layer.name for layer in embed.layers]
    if len(names) != len(LAYERS) or not all(map(str.startswith, names, LAYERS)):
        return embed
    return Model(
        embed.name,
        forward,
        init=embed.init,
        dims={name: embed.maybe_get_dim(name) for name in embed.dim_names},
        layers=embed.layers,
        attrs={FOLDED: Folded()},
    )


def forward(
    model: DocsToVectors, docs: list[Doc], is_train: bool
) -> tuple[list[Floats2d], Callable[[list[Floats2d]], Any]]:
    if not isinstance(model.ops, NumpyOps):
        return chain_forward(model, docs, is_train)
    folded: Folded = model.attrs[FOLDED]
    layers = folded.layers_of(model)
    mixer: Any = layers.maxout.get_param("W")
    table = None
    if is_train:
        folded.await_update(mixer)
    else:
        tables = (layer.get_param("E") for layer in layers.embeddings)
        table = folded.of((mixer, *tables), Table)
    if table is None or not any(map(len, docs)):
        return chain_forward(model, docs, is_train)
    features = layers.extract.predict(docs)
    tokens = np.concatenate(features) if len(features) > 1 else features[0]
    parts = [tokens[start : start + CHUNK] for start in range(0, len(tokens), CHUNK)]
    vectors = [_vectors(part, table, layers) for part in parts]
    if len(docs) == 1 == len(vectors):  # which someone waits for
        return vectors, _no_backprop
    lengths: Any = np.fromiter(map(len, features), "i", len(features))
    joined: Any = np.concatenate(vectors) if len(vectors) > 1 else vectors[0]
    return model.ops.unflatten(joined, lengths), _no_backprop


def _vectors(tokens: Any, table: Table, layers: Layers) -> Any:
    """The vectors (N, width) of features (N, features)."""
    if len(tokens) < MANY_TOKENS:
        return _mixed(tokens, table, layers)
    factors = FACTOR ** np.arange(tokens.shape[1], dtype=tokens.dtype)
    _, firsts, kinds = np.unique(tokens @ factors, return_index=True, return_inverse=True)
    different = tokens[firsts]
    if not (different[kinds] == tokens).all():  # two sums that are the same by chance
        return _mixed(tokens, table, layers)
    return _mixed(different, table, layers)[kinds]


def _mixed(tokens: Any, table: Table, layers: Layers) -> Any:
    """The vectors (N, width) of features (N, features)."""
    ops = layers.maxout.ops
    bias: Any = layers.maxout.get_param("b")
    n_pieces = bias.shape[1]
    pieces: Any = ops.gather_add(table.rows, table.keys(tokens, layers))
    pieces += bias.T.reshape(-1)
    largest, *others = np.split(pieces, n_pieces, axis=1)
    for other in others:
        largest = np.maximum(largest, other)
    return layers.norm.predict(largest)


def _no_backprop(d_vectors: list[Floats2d]) -> Any:
    raise ValueError("These embeddings were not made to be trained: the pass was a prediction.")


class Layers(NamedTuple):
    """What the embedding is made of."""

    extract: Model[Any, Any]
    embeddings: list[Model[Any, Any]]  # one for each feature
    maxout: Model[Any, Any]
    norm: Model[Any, Any]


class Folded(Remembered["Table"]):
    """The table of one model, and where its layers are."""

    def __init__(self) -> None:
        super().__init__()
        self.layers: Layers | None = None

    def layers_of(self, model: DocsToVectors) -> Layers:
        if self.layers is None:
            extract, _, embed, mix, _ = model.layers
            embeddings = [layer for layer in embed.walk() if layer.name == "hashembed"]
            mixing = {layer.name: layer for layer in mix.walk()}
            self.layers = Layers(extract, embeddings, mixing["maxout"], mixing["layernorm"])
        return self.layers


class Table:
    """The rows of embeddings, times the weights that mix them.

    rows: (rows of all tables, pieces * width), those that were never needed undefined.
    """

    def __init__(self, mixer: Any, *tables: Any) -> None:
        self.tables = tables
        ends = np.cumsum([len(table) for table in tables])
        self.starts = [0, *ends[:-1].tolist()]
        n_out, n_pieces, _ = mixer.shape
        widths = np.cumsum([table.shape[1] for table in tables])[:-1]
        by_piece = mixer.swapaxes(0, 1).reshape(n_pieces * n_out, -1)
        parts = np.split(by_piece, widths, axis=1)
        self.weights = [np.ascontiguousarray(part.T) for part in parts]  # of each table
        self.rows: Any = _unwritten((int(ends[-1]), n_out * n_pieces), mixer.dtype)
        self.is_known = np.zeros(ends[-1], dtype=bool)

    def keys(self, tokens: Any, layers: Layers) -> Any:
        """(N, rows of a token) uint32 for features (N, features): rows that are known now."""
        ops: Any = layers.maxout.ops
        found = [
            ops.hash(np.ascontiguousarray(column), layer.attrs["seed"]) % len(table) + start
            for column, layer, table, start in zip(
                tokens.T, layers.embeddings, self.tables, self.starts
            )
        ]
        keys: Any = np.hstack(found).astype("uint32", copy=False)
        unknown = keys[~self.is_known[keys]]
        if unknown.size:
            self._multiply(unknown)
        return keys

    def _multiply(self, keys: Any) -> None:
        """Row by row: then a row does not depend on which are multiplied with it."""
        is_new = np.zeros(len(self.rows), dtype=bool)
        is_new[keys] = True
        keys = np.flatnonzero(is_new)
        bounds = np.searchsorted(keys, [*self.starts, len(self.rows)])
        for table, start, weights, low, high in zip(
            self.tables, self.starts, self.weights, bounds, bounds[1:]
        ):
            own = keys[low:high]
            self.rows[own] = (table[own - start, None] @ weights)[:, 0]
        self.is_known[keys] = True


def _unwritten(shape: tuple[int, int], dtype: Any) -> Any:
    """An array that takes memory where something is written, in small pages. Those of `np.empty`
    are large: the first few rows, which are all over the table, would have the system clear it
    all."""
    if not hasattr(mmap, "MAP_PRIVATE"):  # Windows
        return np.empty(shape, dtype)
    size = shape[0] * shape[1] * np.dtype(dtype).itemsize
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.frombuffer(pages, dtype).reshape(shape)
