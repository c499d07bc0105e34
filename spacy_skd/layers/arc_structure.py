"""Scores of arcs read as a distribution over heads or trees (docs/math.md §2.3 to §2.5)."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from thinc.api import Model
from thinc.types import Floats1d, Ragged

from ..structures import ArcDistribution, ArcParts, HeadSelection, MeanField, SpanningTree
from ..structures.mean_field import Factor
from .arc_relations import BiaffineRelations
from .settings import check_at_least


def arc_structure(
    arcs: Model[Ragged, Floats1d],
    relations: Model[Ragged, BiaffineRelations],
    *,
    structure: Literal["heads", "tree"] = "heads",
    projective: bool = False,
    siblings: Model[Ragged, Factor] | None = None,
    grandparents: Model[Ragged, Factor] | None = None,
    iterations: int = 3,
    max_length: int = 200,
    sentences: Literal["set", "roots"] = "set",
    nO: int | None = None,
) -> Model[Ragged, ArcDistribution]:
    """Read what represents the tokens of sentences, (N, nI), as distributions over their trees.

    A token's vector is what each of the given layers takes, side by side: of arcs, relations,
    siblings, grandparents. The backward pass takes the gradient in the form of `ArcParts`.

    structure: "heads" for a head of each token on its own (`HeadSelection`), "tree" for trees with
        one root (`SpanningTree`), which are all or the `projective` ones.
    siblings, grandparents: with any of them, "heads" are of the second order (`MeanField`, with so
        many iterations).
    max_length, sentences: of the sentences that the vectors come in; kept for the component.
    nO: R, the number of relations.

    Raises ValueError for settings that do not fit together.
    """
    factors = {"siblings": siblings, "grandparents": grandparents}
    given = {name: layer for name, layer in factors.items() if layer is not None}
    if structure not in ("heads", "tree"):
        raise ValueError(f"The structure of a parser is 'heads' or 'tree', not '{structure}'.")
    if projective and structure != "tree":
        raise ValueError(
            'Only trees are projective: set structure = "tree" for that, or projective = false.'
        )
    if structure == "tree" and sentences == "roots":
        raise ValueError(
            'Trees have one root, so structure = "tree" cannot find sentences = "roots": set the '
            'sentences before the parser, or take structure = "heads".'
        )
    if given and structure != "heads":
        raise ValueError('Factors of the second order are for structure = "heads" alone.')
    check_at_least(0, iterations=iterations)
    return Model(
        "arc_structure",
        forward,
        init=init,
        layers=[arcs, relations, *given.values()],
        dims={"nO": nO},
        attrs={
            "labels": [],
            "biluo": False,
            "structure": structure,
            "projective": projective,
            "factors": list(given),
            "iterations": iterations,
            "max_length": max_length,
            "sentences": sentences,
        },
    )


def forward(
    model: Model[Ragged, ArcDistribution], X: Ragged, is_train: bool
) -> tuple[ArcDistribution, Callable[[ArcParts], Ragged]]:
    widths = [layer.get_dim("nI") for layer in model.layers]
    # A batch without tokens may come in any width.
    vectors: Any = X.dataXd
    if not len(vectors):
        vectors = vectors.reshape(0, sum(widths))
    columns = [slice(*bounds) for bounds in pairwise(np.cumsum([0, *widths]).tolist())]
    outputs, backprops = [], []
    for layer, own in zip(model.layers, columns):
        output, backprop_layer = layer(Ragged(vectors[:, own], X.lengths), is_train)
        outputs.append(output)
        backprops.append(backprop_layer)
    structure = make_structure(model, outputs)

    def backprop(d_parts: ArcParts) -> Ragged:
        d_outputs: list[Any] = [d_parts.arcs, d_parts.relations]
        if isinstance(structure, MeanField):
            gradients = structure.backprop(d_parts.arcs)
            factors = [getattr(gradients, name) for name in model.attrs["factors"]]
            d_outputs = [gradients.arcs, d_parts.relations, *factors]
        d_vectors = [back(d_output).dataXd for back, d_output in zip(backprops, d_outputs)]
        return Ragged(model.ops.xp.hstack(d_vectors), X.lengths)

    return structure, backprop


def make_structure(model: Model, outputs: list[Any]) -> ArcDistribution:
    """The distributions that the outputs of a model's layers stand for."""
    arcs, relations, *factors = outputs
    labels = model.attrs["labels"] or None
    options = {"relations": relations, "labels": labels, "layout": relations.layout}
    if model.attrs["structure"] == "tree":
        return SpanningTree(arcs, projective=model.attrs["projective"], **options)
    if not factors:
        return HeadSelection(arcs, **options)
    options |= dict(zip(model.attrs["factors"], factors))
    return MeanField(arcs, iterations=model.attrs["iterations"], **options)


def init(model: Model[Ragged, ArcDistribution], X: Ragged | None = None, Y: Any = None) -> None:
    for layer in model.layers:
        layer.initialize()
