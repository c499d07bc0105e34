"""What a parser says when it cannot learn all that it is given."""

import warnings
from collections.abc import Callable, Iterable, Sequence

from spacy.language import Language
from spacy.symbols import DEP
from spacy.tokens import Doc
from spacy.training import Example

from ..distill.annotation import MISSING
from ..distill.matching import alike
from ..structures.base import Ints1d
from .documents import name_of
from .parse_annotation import within_sentences, without_crossing

BOUNDARIES = {"token.is_sent_start", "doc.sents"}


def warn_of_sentences(
    nlp: Language, name: str, get_examples: Callable[[], Iterable[Example]]
) -> None:
    """Say so if documents have sentences that nothing will find when the pipeline is used."""
    names = nlp.pipe_names[: nlp.pipe_names.index(name)] if nlp.has_pipe(name) else []
    if any(_sets_sentences(nlp, other) for other in names):
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


def _sets_sentences(nlp: Language, name: str) -> bool:
    settings = getattr(nlp.get_pipe(name), "cfg", {})
    return bool(
        BOUNDARIES.intersection(nlp.get_pipe_meta(name).assigns)
        or settings.get("attribute") == "sent_start"
    )


def warn_of_names(name: str, relations: Sequence[str]) -> None:
    """Say so if two relations are probably one under two names."""
    for upper, lower in alike(sorted(relations), sorted(relations)):
        warnings.warn(
            f"The component '{name}' has the relations '{upper}' and '{lower}', whose names differ "
            "in case alone: it will take them for two. If one is the teacher's and one the "
            f"annotation's, rename the teacher's in [corpora.train.label_map.{name}], for "
            f'instance {upper} = "{lower}".',
            stacklevel=4,
        )


def warn_of_crossing_arcs(name: str, trees: Iterable[tuple[Ints1d, Ints1d]]) -> None:
    """Say how many gold arcs a projective model does not learn, if any.

    trees: of each document the token numbers of heads and the lengths of its sentences.
    """
    n_dropped = n_known = 0
    for of_document, lengths in trees:
        heads = within_sentences(of_document, lengths)
        n_dropped += int((heads != without_crossing(heads, lengths)).sum())
        n_known += int((heads != MISSING).sum())
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


def unknown_relation(
    component: str, relation: int, examples: Sequence[Example], labels: Sequence[str]
) -> ValueError:
    """The error of a gold relation, the number of a string, that a component does not know."""
    example = next(e for e in examples if relation in e.reference.to_array([DEP]))
    label = example.reference.vocab.strings[relation]
    hint = "".join(
        f" If '{other}' is a teacher's name for it, rename that in the reader's label_map."
        for _, other in alike([label], labels)
    )
    return ValueError(
        f"A token of {name_of(example.reference)} has the relation '{label}', which component "
        f"'{component}' does not know (it knows {', '.join(labels)}). Remove it from the data, or "
        f"train a new component on all the relations.{hint}"
    )
