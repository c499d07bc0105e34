"""`spacy-skd.BiaffineParser.v1`: dependency parsing by scores of arcs (Dozat and Manning 2017)."""

from typing import Literal

from spacy.tokens import Doc
from thinc.api import Maxout, Model, chain, with_array
from thinc.types import Floats2d

from ..layers import arc_relations, arc_scores, arc_structure, by_sentence, lean
from ..layers.settings import check_at_least
from ..structures import ArcDistribution
from .assembly import HIDDEN_PIECES


def build_biaffine_parser(
    tok2vec: Model[list[Doc], list[Floats2d]],
    structure: Literal["heads", "tree"] = "heads",
    projective: bool = False,
    arc_width: int = 128,
    relation_width: int = 64,
    distances: bool = True,
    max_length: int = 200,
    sentences: Literal["set", "roots"] = "set",
    nO: int | None = None,
) -> Model[list[Doc], ArcDistribution]:
    """Build a parser: encoder, a maxout layer for what tokens are as heads and as dependents,
    biaffine scores of arcs and of their relations.

    tok2vec: encoder of the documents, for instance a tok2vec or a transformer listener.
    structure: what the scores are trained as: "heads" for each token's head on its own, "tree" for
        a distribution over trees. Both predict trees.
    projective: with structure = "tree", only trees whose arcs do not cross.
    arc_width, relation_width: widths of what represents a token as a head, and as a dependent, for
        the scores of arcs and of relations.
    distances: score on which side of a dependent a head is, and how far away. A transformer may do
        without.
    max_length: longer sentences are split.
    sentences: "set" for those that documents have when they come in, "roots" to find them: each
        root is one.
    nO: number of relations; inferred from the data if None.

    The model has the references "tok2vec", "output_layer" (the relations) and "structure". Raises
    ValueError for settings that there are not, or that do not fit together.
    """
    check_at_least(1, arc_width=arc_width, relation_width=relation_width)
    relations = arc_relations(nO, 2 * relation_width, distances)
    arcs = arc_structure(
        arc_scores(2 * arc_width, distances),
        relations,
        structure=structure,
        projective=projective,
        max_length=max_length,
        sentences=sentences,
        nO=nO,
    )
    return parser_model(tok2vec, relations, arcs)


def parser_model(
    tok2vec: Model[list[Doc], list[Floats2d]], relations: Model, structure: Model
) -> Model[list[Doc], ArcDistribution]:
    """Encoder → one hidden layer for all that the structure is made of → the structure.

    The model has the references "tok2vec", "output_layer" (the relations) and "structure".
    """
    n_hidden = sum(layer.get_dim("nI") for layer in structure.layers)
    # One layer for all: one matrix product instead of two for every scorer.
    hidden = Maxout(n_hidden, tok2vec.maybe_get_dim("nO"), nP=HIDDEN_PIECES, dropout=0.0)
    read = by_sentence(tok2vec, structure.attrs["max_length"], structure.attrs["sentences"])
    model: Model[list[Doc], ArcDistribution] = chain(read, with_array(hidden), structure)
    model.set_ref("tok2vec", tok2vec)
    model.set_ref("output_layer", relations)
    model.set_ref("structure", structure)
    return lean(model)
