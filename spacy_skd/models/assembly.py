"""How encoder, scoring layer and structure become one model."""

from spacy.tokens import Doc
from thinc.api import Linear, Maxout, Model, chain, list2ragged, with_array
from thinc.types import Floats2d

from ..layers import lean

HIDDEN_PIECES = 2


def token_model(
    tok2vec: Model[list[Doc], list[Floats2d]],
    structure: Model,
    nO: int | None,
    hidden_width: int | None = None,
) -> Model[list[Doc], object]:
    """Encoder → (hidden layer →) one score a label → the structure that reads the scores.

    The model has the references "tok2vec", "output_layer" (the scores) and "structure".
    """
    width = tok2vec.maybe_get_dim("nO")
    output_layer = Linear(nO, hidden_width or width)
    scores: Model = output_layer
    if hidden_width:
        scores = chain(Maxout(hidden_width, width, nP=HIDDEN_PIECES, dropout=0.0), output_layer)
    model: Model[list[Doc], object] = chain(tok2vec, list2ragged(), with_array(scores), structure)
    model.set_ref("tok2vec", tok2vec)
    model.set_ref("output_layer", output_layer)
    model.set_ref("structure", structure)
    return lean(model)
