"""How encoder, scoring layer and structure become one model."""

from spacy.tokens import Doc
from thinc.api import Linear, Model, chain, list2ragged, with_array
from thinc.types import Floats2d


def token_model(
    tok2vec: Model[list[Doc], list[Floats2d]], structure: Model, nO: int | None
) -> Model[list[Doc], object]:
    """Encoder → one score a label → the structure that reads the scores.

    The model has the references "tok2vec", "output_layer" (the scores) and "structure".
    """
    output_layer = Linear(nO, tok2vec.maybe_get_dim("nO"))
    model: Model[list[Doc], object] = chain(
        tok2vec, list2ragged(), with_array(output_layer), structure
    )
    model.set_ref("tok2vec", tok2vec)
    model.set_ref("output_layer", output_layer)
    model.set_ref("structure", structure)
    return model
