"""`spacy-skd.LabelParser.v1`: dependency parsing as labelling (Strzyz et al. 2019)."""

from typing import Literal

from spacy.tokens import Doc
from thinc.api import Linear, Maxout, Model, chain, with_array
from thinc.types import Floats2d, Ragged

from ..layers import by_sentence, label_trees, lean
from ..layers.settings import check_at_least
from ..structures import LabelTrees
from .assembly import HIDDEN_PIECES


def build_label_parser(
    tok2vec: Model[list[Doc], list[Floats2d]],
    codes: Literal["position", "tag"] = "position",
    hidden_width: int = 128,
    max_length: int = 200,
    nO: int | None = None,
) -> Model[list[Doc], LabelTrees]:
    """Build a parser that gives each token one label: where its head is, and the relation.

    tok2vec: encoder of the documents, for instance a tok2vec or a transformer listener.
    codes: a head is told by its relative "position", or by counting words of its part of speech
        ("tag"), which a component before the parser has to set.
    hidden_width: width of a maxout layer between encoder and scores.
    max_length: longer sentences are split.
    nO: number of labels; inferred from the data if None.

    The model has the references "tok2vec", "output_layer" (the scores) and "structure". Raises
    ValueError for settings that there are not.
    """
    check_at_least(1, hidden_width=hidden_width)
    hidden = Maxout(hidden_width, tok2vec.maybe_get_dim("nO"), nP=HIDDEN_PIECES, dropout=0.0)
    output_layer = Linear(nO, hidden_width)
    scorer: Model[list[Doc], Ragged] = chain(
        by_sentence(tok2vec, max_length), with_array(chain(hidden, output_layer))
    )
    model = label_trees(scorer, codes, nO)
    model.set_ref("tok2vec", tok2vec)
    model.set_ref("output_layer", output_layer)
    model.set_ref("structure", model)
    return lean(model)
