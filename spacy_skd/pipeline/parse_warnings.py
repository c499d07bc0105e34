"""What a parser says when it cannot learn all that it is given."""

import warnings
from collections.abc import Callable, Iterable

from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example

from .structured_pipe import name_of

BOUNDARIES = {"token.is_sent_start", "doc.sents"}


def warn_of_sentences(
    nlp: Language, name: str, get_examples: Callable[[], Iterable[Example]]
) -> None:
    """Say so if documents have sentences that nothing will find when the pipeline is used."""
    names = nlp.pipe_names[: nlp.pipe_names.index(name)] if nlp.has_pipe(name) else []
    if BOUNDARIES & {attr for other in names for attr in nlp.get_pipe_meta(other).assigns}:
        return
    for example in get_examples():
        doc = example.reference
        if doc.has_annotation("SENT_START") and len(list(doc.sents)) > 1:
            warnings.warn(
                f"The training documents of component '{name}' have several sentences, for "
                f"instance {name_of(doc)}, but no component before it sets their boundaries: what "
                "is predicted will be one tree a document. Put a 'senter' or a 'sentencizer' "
                'before it, or set sentences = "roots" in its model.',
                stacklevel=4,
            )
            return


def warn_of_crossing_arcs(name: str, n_dropped: int, n_known: int) -> None:
    """Say how many gold arcs a projective model does not learn, if any."""
    if n_dropped:
        warnings.warn(
            f"The component '{name}' predicts projective trees, but {n_dropped:,} of the "
            f"{n_known:,} arcs in the training documents cross others. It does not learn these: "
            "their tokens count as not annotated. Set projective = false in its model to include "
            "them.",
            stacklevel=3,
        )


def warn_of_other_sentences(name: str, doc: Doc, n_lost: int, n_sentences: int) -> None:
    """Say that a document's targets are of other sentences than the student's."""
    warnings.warn(
        f"Component '{name}' cannot use the teacher's trees for {n_lost} of the {n_sentences} "
        f"sentences of {name_of(doc)}, nor perhaps of other documents: the teacher saw other "
        "sentences. Annotate documents that have the same boundaries, by the same senter or "
        "sentencizer, and with the same max_length. (This is said once.)",
        stacklevel=4,
    )
