"""Documents in examples and in messages."""

from collections.abc import Sequence

from spacy.tokens import Doc
from spacy.training import Example


def same_tokens(example: Example) -> bool:
    """Whether predicted and reference document have the very same tokens."""
    predicted, reference = example.predicted, example.reference
    return len(predicted) == len(reference) and bool(
        (predicted.to_array("ORTH") == reference.to_array("ORTH")).all()
    )


def name_of(doc: Doc) -> str:
    """How an error message refers to a document."""
    text = doc.text[:60]
    return f"document '{text}…'" if len(doc.text) > 60 else f"document '{text}'"


def some_of(names: Sequence[str], n_shown: int = 20) -> str:
    """Names for a message: the first ones, where there are many."""
    shown = ", ".join(names[:n_shown])
    return f"{shown} and {len(names) - n_shown:,} more" if len(names) > n_shown else shown
