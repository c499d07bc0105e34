"""`spacy-skd.SpanBiaffine.v1`: whole spans, scored by where they start and where they end."""

from typing import Literal

from spacy.tokens import Doc
from thinc.api import Maxout, Model, chain, list2ragged, with_array
from thinc.types import Floats2d

from ..layers import lean, span_scores, span_structure
from ..structures import FlatSpans, LocalSpans
from .assembly import HIDDEN_PIECES


def build_span_biaffine(
    tok2vec: Model[list[Doc], list[Floats2d]],
    max_width: int = 12,
    hidden_width: int = 64,
    loss: Literal["exact", "local"] = "exact",
    nO: int | None = None,
) -> Model[list[Doc], FlatSpans | LocalSpans]:
    """Build a span model: encoder, a maxout layer for starts and one for ends, biaffine scores.

    tok2vec: encoder of the documents, for instance a tok2vec or a transformer listener.
    max_width: tokens of the longest span that the model can predict.
    hidden_width: width of what represents a token as the first one of a span, and as the last one.
    loss: what the scores are trained as: "exact" for a distribution over spans that do not overlap,
        "local" for every span on its own, which nested spans need.
    nO: number of labels; inferred from the data if None.

    The model has the references "tok2vec", "output_layer" (the scores) and "structure".
    """
    # Starts and ends are the halves of one layer: one matrix product instead of two.
    hidden = Maxout(2 * hidden_width, tok2vec.maybe_get_dim("nO"), nP=HIDDEN_PIECES, dropout=0.0)
    output_layer = span_scores(max_width, nO, 2 * hidden_width)
    structure = span_structure(max_width, nO, loss)
    model: Model[list[Doc], FlatSpans | LocalSpans] = chain(
        tok2vec, list2ragged(), with_array(hidden), output_layer, structure
    )
    model.set_ref("tok2vec", tok2vec)
    model.set_ref("output_layer", output_layer)
    model.set_ref("structure", structure)
    return lean(model)
