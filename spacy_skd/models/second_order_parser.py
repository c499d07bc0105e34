"""`spacy-skd.SecondOrderParser.v1`: arcs that know of each other, by mean field (Wang and Tu
2020)."""

from typing import Literal

from spacy.tokens import Doc
from thinc.api import Model
from thinc.types import Floats2d

from ..layers import arc_relations, arc_scores, arc_structure, trilinear
from ..layers.settings import check_at_least
from ..structures import ArcDistribution
from .biaffine_parser import parser_model


def build_second_order_parser(
    tok2vec: Model[list[Doc], list[Floats2d]],
    arc_width: int = 128,
    relation_width: int = 64,
    factor_width: int = 64,
    rank: int = 48,
    siblings: bool = True,
    grandparents: bool = True,
    iterations: int = 3,
    distances: bool = True,
    max_length: int = 200,
    sentences: Literal["set", "roots"] = "set",
    nO: int | None = None,
) -> Model[list[Doc], ArcDistribution]:
    """Build a parser that scores pairs of arcs, too: two dependents of one head (siblings), and a
    dependent's own dependent (grandparents).

    Beyond the layers of spacy-skd.BiaffineParser.v1 it has trilinear factors of low rank, which
    begin as zeros; the distribution is what mean field makes of all scores.

    factor_width: width of what represents a token in each role of a factor.
    rank: rank of the factors.
    siblings, grandparents: which factors there are.
    iterations: of mean field.

    For the other arguments and the references see spacy-skd.BiaffineParser.v1. Raises ValueError
    for what it raises it for, and without any factor.
    """
    if not (siblings or grandparents):
        raise ValueError(
            "A parser of the second order needs siblings, grandparents or both; without them it is "
            "spacy-skd.BiaffineParser.v1."
        )
    check_at_least(1, arc_width=arc_width, relation_width=relation_width, factor_width=factor_width)
    relations = arc_relations(nO, 2 * relation_width, distances)
    structure = arc_structure(
        arc_scores(2 * arc_width, distances),
        relations,
        siblings=trilinear(rank, 2 * factor_width, alike=True) if siblings else None,
        grandparents=trilinear(rank, 3 * factor_width) if grandparents else None,
        iterations=iterations,
        max_length=max_length,
        sentences=sentences,
        nO=nO,
    )
    return parser_model(tok2vec, relations, structure)
