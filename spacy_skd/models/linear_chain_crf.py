"""`spacy-skd.LinearChainCRF.v1`: a label sequence as a whole."""

from spacy.tokens import Doc
from thinc.api import Model
from thinc.types import Floats2d

from ..layers import chain_potentials
from ..structures import LinearChain
from .assembly import token_model


def build_linear_chain_crf(
    tok2vec: Model[list[Doc], list[Floats2d]],
    nO: int | None = None,
    hidden_width: int | None = None,
) -> Model[list[Doc], LinearChain]:
    """Build a linear-chain CRF tagger: encoder, linear emissions, learned transitions.

    The potentials are thinc parameters and the gradients closed forms, so it trains with parameter
    averages, serialises, and runs on a CPU without torch.

    tok2vec: encoder of the documents, for instance a tok2vec or a transformer listener.
    nO: number of labels; inferred from the data if None.
    hidden_width: width of a maxout layer between encoder and scores, which helps a small encoder
        with little data; None for linear scores.
    """
    return token_model(tok2vec, chain_potentials(nO), nO, hidden_width)  # type: ignore[return-value]
