"""Scores of labels read as distributions over dependency trees (docs/math.md §4)."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from spacy.parts_of_speech import IDS as POS_IDS
from spacy.symbols import POS
from spacy.tokens import Doc
from thinc.api import Model
from thinc.types import Floats2d, Ragged

from ..structures import LabelTrees
from ..structures.base import Ints1d, to_host
from ..structures.dependency_codes import Words, label_columns, meant_heads

Codes = Literal["position", "tag"]


def label_trees(
    scorer: Model[list[Doc], Ragged],
    codes: Codes = "position",
    nO: int | None = None,
) -> Model[list[Doc], LabelTrees]:
    """Read a scorer's (N, L) scores as distributions over labels that mean a head and a relation.

    Has no parameters of its own. The backward pass takes the gradient in the form of the
    distribution's parts, (N, L), and hands it on.

    scorer: documents to the scores of their tokens, sentence by sentence.
    codes: how a label says where the head is: by its relative "position", or by counting words of
        the head's part of speech ("tag"), which the documents have to have.
    """
    if codes not in ("position", "tag"):
        raise ValueError(f"The codes of a label parser are 'position' or 'tag', not '{codes}'.")
    return Model(
        "label_trees",
        forward,
        init=init,
        layers=[scorer],
        dims={"nO": nO},
        attrs={"labels": [], "biluo": False, "codes": codes},
    )


def forward(
    model: Model[list[Doc], LabelTrees], docs: list[Doc], is_train: bool
) -> tuple[LabelTrees, Callable[[Floats2d], list[Doc]]]:
    labels = tuple(model.attrs["labels"])
    if not any(map(len, docs)):
        lengths: Any = np.zeros(0, dtype=np.int64)
        scores = Ragged(model.ops.alloc2f(0, len(labels)), lengths)
    else:
        scores, backprop_scores = model.layers[0](docs, is_train)
        lengths = to_host(scores.lengths)

    def backprop(d_scores: Floats2d) -> list[Doc]:
        return backprop_scores(Ragged(d_scores, scores.lengths))

    meaning = label_columns(labels)
    tags = tags_of(docs) if model.attrs["codes"] == "tag" else None
    of_labels: Any = scores.dataXd
    structure = LabelTrees(
        of_labels,
        lengths,
        labels or None,
        heads=meant_heads(labels, Words(lengths, tags), POS_IDS),
        codes=meaning.code_of,
        relations=meaning.relation_of,
        relation_labels=meaning.relation_names,
    )
    return structure, backprop


def init(model: Model[list[Doc], LabelTrees], X: Any = None, Y: Any = None) -> None:
    model.layers[0].initialize(X=X)


def tags_of(docs: Sequence[Doc]) -> Ints1d:
    """Ids of the parts of speech of all tokens, (N,).

    Raises ValueError, naming the document, where they are not set.
    """
    for doc in docs:
        if len(doc) and not doc.has_annotation("POS"):
            raise ValueError(
                f"The labels of this parser count parts of speech, but the document "
                f"'{doc.text[:60]}' has none: put a tagger or morphologizer that sets them before "
                "the parser (and, in training, under annotating_components), or train the parser "
                'with codes = "position".'
            )
    return np.concatenate([doc.to_array([POS]) for doc in docs] or [np.zeros(0)]).astype(np.int64)
