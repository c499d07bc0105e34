"""Entities that documents have before they are annotated: what they fix, and how they are kept."""

from collections.abc import Iterable, Sequence

import numpy as np
from spacy.symbols import ENT_IOB
from spacy.tokens import Doc, Span

from ..distill.annotation import MISSING

IN, OUT, BEGIN = 1, 2, 3  # spaCy's codes of Token.ent_iob; 0 is missing


def preset_tokens(doc: Doc) -> np.ndarray | None:
    """What a document says of its tokens before prediction: (n,), 0 (column of O) where a token has
    to stay outside or belongs to an entity already, −1 where it is free; None where all are free.

    `doc.ents = …` marks every other token as outside, so outside counts as said only where the
    document also has tokens whose entity is missing.
    """
    codes = doc.to_array(ENT_IOB)
    if not codes.any():
        return None
    fixed = (codes == IN) | (codes == BEGIN)
    if (codes == 0).any():
        fixed |= codes == OUT
    return np.where(fixed, 0, MISSING) if fixed.any() else None


def add_entities(doc: Doc, spans: Iterable[Span]) -> None:
    """Add the entities that do not begin in one that the document has; keep what it has."""
    kept = doc.ents
    taken = {token for entity in kept for token in range(entity.start, entity.end)}
    replace_entities(doc, [*kept, *(span for span in spans if span.start not in taken)])


def replace_entities(doc: Doc, spans: Sequence[Span]) -> None:
    """Set these entities in place of those that the document has. Tokens that are blocked, and in
    none of them, stay so."""
    codes, types = doc.to_array(["ENT_IOB", "ENT_TYPE"]).T
    blocked = (codes == BEGIN) & (types == 0)
    for span in spans if blocked.any() else ():
        blocked[span.start : span.end] = False
    numbers = np.flatnonzero(blocked).tolist()
    doc.set_ents(list(spans), blocked=[doc[token : token + 1] for token in numbers])
