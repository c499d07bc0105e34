"""`spacy-skd.MaxEnt.v1`: every token's label on its own."""

from spacy.tokens import Doc
from thinc.api import Model
from thinc.types import Floats2d

from ..layers import token_scores
from ..structures import Token
from .assembly import token_model


def build_maxent(
    tok2vec: Model[list[Doc], list[Floats2d]],
    nO: int | None = None,
    hidden_width: int | None = None,
) -> Model[list[Doc], Token]:
    """Build a maximum-entropy tagger: encoder, linear scores, an independent softmax a token.

    For entities the component decodes the best legal BILUO sequence, so the output is well formed
    although the model knows no transitions.

    tok2vec: encoder of the documents, for instance a tok2vec or a transformer listener.
    nO: number of labels; inferred from the data if None.
    hidden_width: width of a maxout layer between encoder and scores, which helps a small encoder
        with little data; None for linear scores.
    """
    return token_model(tok2vec, token_scores(nO), nO, hidden_width)  # type: ignore[return-value]
