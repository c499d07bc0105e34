"""Splitting documents without losing annotation or targets."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from spacy.attrs import SENT_START
from spacy.tokens import Doc, DocBin, Span

from ..distill.arc_targets import opening_tokens
from ..distill.attached import all_targets, slice_targets
from ..structures.base import Bools1d

ATTRIBUTES: list[int | str] = list(DocBin().attrs)  # all annotation of tokens


def split_doc(doc: Doc, max_length: int) -> list[Doc]:
    """Pieces of at most `max_length` tokens, or the document itself if it is short enough.

    A piece ends at the last end of a sentence that fits, if sentences are annotated or a teacher of
    trees saw some, else at the last token that is not within an entity or a span of doc.spans. Only
    an entity that is longer than that makes a longer piece.
    """
    if len(doc) <= max_length:
        return [doc]
    return list(_pieces(doc, _cuts(doc, max_length)))


def split_sentences(doc: Doc) -> list[Doc]:
    """The document's sentences, or the document itself if they are not annotated."""
    if not doc.has_annotation("SENT_START"):
        return [doc]
    starts = [sentence.start for sentence in doc.sents]
    return [doc] if len(starts) == 1 else list(_pieces(doc, starts[1:]))


def _cuts(doc: Doc, max_length: int) -> Iterator[int]:
    """The tokens at which new pieces begin."""
    legal = np.ones(len(doc) + 1, dtype=bool)
    spans = [span for group in doc.spans.values() for span in group]
    for span in (*doc.ents, *spans):
        legal[span.start + 1 : span.end] = False
    sentence_starts = legal & _sentence_starts(doc)
    start = 0
    while len(doc) - start > max_length:
        window = slice(start + 1, start + max_length + 1)
        if sentence_starts[window].any():
            start += 1 + int(np.flatnonzero(sentence_starts[window])[-1])
        elif legal[window].any():
            start += 1 + int(np.flatnonzero(legal[window])[-1])
        else:
            start += 1 + int(legal[start + 1 :].argmax())
        if start < len(doc):
            yield start


def _sentence_starts(doc: Doc) -> Bools1d:
    """Which tokens begin sentences (n + 1,): those of the document, or of a teacher of trees."""
    starts = np.zeros(len(doc) + 1, dtype=bool)
    if doc.has_annotation("SENT_START"):
        starts[:-1] = doc.to_array(SENT_START) == 1
        return starts
    for target in all_targets(doc):
        if target.teacher.has_arcs:
            starts[opening_tokens(target)] = True
    return starts


def _pieces(doc: Doc, starts: Iterator[int] | list[int]) -> Iterator[Doc]:
    """The document cut before each of the given tokens."""
    annotation = doc.to_array(ATTRIBUTES)
    bounds = [0, *starts, len(doc)]
    for start, end in pairwise(bounds):
        span: Any = doc[start:end]  # spaCy's stubs do not know the arguments of as_doc
        piece = span.as_doc(array_head=ATTRIBUTES, array=annotation)
        for key, group in doc.spans.items():
            piece.spans[key] = [
                Span(piece, s.start - start, s.end - start, s.label, kb_id=s.kb_id, span_id=s.id)
                for s in group
                if start <= s.start and s.end <= end
            ]
        slice_targets(doc, start, end, piece)
        yield piece
