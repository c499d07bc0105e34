"""From distributions to entities: the best ones, given what is known already."""

import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from spacy.tokens import Doc, Span

from ..distill.annotation import MISSING, allowed_spans, spans_within
from ..distill.parts import scores_of
from ..distill.spans import as_flat, legal_chain
from ..structures import FlatSpans, LinearChain, LocalSpans, Token
from ..structures.base import array_module, to_host
from ..structures.span_decoding import decode_nested, without_overlaps
from ..structures.span_probabilities import likely_spans

EntityDistribution: TypeAlias = Token | LinearChain | FlatSpans | LocalSpans

LEAST_THRESHOLD = 1e-3
"""Of less probable entities there are too many to be listed."""


class Entities(NamedTuple):
    """Entities of a batch, in the order of documents and tokens.

    documents, firsts, lasts, labels: (K,) each; tokens are numbered within the document.
    scores: (K,) their probabilities, where they are wanted and the distribution is one over spans.
    """

    documents: np.ndarray
    firsts: np.ndarray
    lasts: np.ndarray
    labels: np.ndarray
    scores: np.ndarray | None


def best_entities(distribution: EntityDistribution, *, with_scores: bool = False) -> Entities:
    """The best entities that do not overlap, exactly."""
    if isinstance(distribution, (FlatSpans, LocalSpans)):
        return _best_spans(as_flat(distribution), with_scores)
    return _best_labels(legal_chain(distribution))


def nested_entities(distribution: LocalSpans, threshold: float) -> Entities:
    """The entities above a probability: the most probable ones, of those that cross each other."""
    marginals = to_host(distribution.marginals())
    found = decode_nested(marginals, distribution.lengths, threshold)
    rows = [
        (number, first, last, label, score)
        for number, spans in enumerate(found)
        for first, last, label, score in sorted(spans)
    ]
    scores = np.asarray([score for *_, score in rows], "float32")
    return _as_entities([row[:4] for row in rows], scores)


def warn_of_flat_threshold(name: str, cfg: Mapping[str, Any]) -> None:
    """Warn if a component whose entities may be nested has a threshold for those that may not.

    name: of the component. cfg: its settings.
    """
    if cfg.get("flat_threshold") is not None:
        warnings.warn(
            f"flat_threshold = {cfg['flat_threshold']} of component '{name}' changes nothing: the "
            f"entities of its model may be nested, and it predicts those above threshold = "
            f"{cfg['threshold']}. Set that one.",
            stacklevel=2,
        )


def likely_entities(
    distribution: EntityDistribution, threshold: float, *, may_overlap: bool
) -> Entities:
    """The entities whose probability is at least the threshold; of those that overlap the most
    probable ones, unless they may. Below `LEAST_THRESHOLD` it counts as that."""
    if isinstance(distribution, (FlatSpans, LocalSpans)):
        structure: FlatSpans | LinearChain = as_flat(distribution)
    else:
        structure = legal_chain(distribution)
    firsts, lasts, labels, scores = likely_spans(structure, max(threshold, LEAST_THRESHOLD))
    offsets = structure.packing.offsets
    documents = np.searchsorted(offsets, firsts, side="right") - 1
    shifts = offsets[documents]
    kept: np.ndarray | slice = slice(None)
    if not may_overlap:
        kept = without_overlaps(documents, firsts, lasts, scores)
    columns = (documents, firsts - shifts, lasts - shifts, labels, scores.astype("float32"))
    return Entities(*(column[kept] for column in columns))


def _best_spans(spans: FlatSpans, with_scores: bool) -> Entities:
    rows = [
        (number, first, last, label)
        for number, best in enumerate(spans.argmax())
        for first, last, label in sorted(best)
    ]
    entities = _as_entities(rows, None)
    if not with_scores:
        return entities
    documents, firsts, lasts, labels, _ = entities
    cells = spans.packing.offsets[documents] + firsts, lasts - firsts, labels
    return entities._replace(scores=to_host(spans.marginals())[cells])


def _as_entities(rows: Sequence[tuple[int, int, int, int]], scores: np.ndarray | None) -> Entities:
    documents, firsts, lasts, labels = np.asarray(rows, np.int64).reshape(-1, 4).T
    return Entities(documents, firsts, lasts, labels, scores)


def _best_labels(chain: LinearChain) -> Entities:
    best = chain.argmax()
    begins, ends, types = columns_of(tuple(chain.labels or ()))
    columns = np.concatenate([*best, np.empty(0, dtype=np.int64)])
    starts, lasts = begins[columns].nonzero()[0], ends[columns].nonzero()[0]
    offsets = chain.packing.offsets
    numbers = offsets.searchsorted(starts, side="right") - 1
    return Entities(
        numbers, starts - offsets[numbers], lasts - offsets[numbers], types[columns[starts]], None
    )


def as_spans(docs: Sequence[Doc], entities: Entities, labels: Sequence[str]) -> list[list[Span]]:
    """The entities of each document as spaCy's. labels: by their numbers."""
    spans: list[list[Span]] = [[] for _ in docs]
    if len(entities.documents):
        ids = [docs[0].vocab.strings.add(label) for label in labels]
        for number, first, last, label in zip(*(column.tolist() for column in entities[:4])):
            spans[number].append(Span(docs[number], first, last + 1, label=ids[label]))
    return spans


def constrain(
    distribution: EntityDistribution,
    known: np.ndarray,
    spaces: np.ndarray,
    barred: np.ndarray | None = None,
) -> EntityDistribution:
    """The distribution given what is known of tokens; no entity begins or ends with whitespace.

    known: (N,) columns of `biluo_labels`, −1 where nothing is known. spaces: (N,) which tokens are
    whitespace. barred: (N, R) in entities of which labels a token must not be, unless it is known
    to be; None for no such tokens.
    """
    if barred is not None:
        barred = barred & (known == MISSING)[:, None]
    if isinstance(distribution, (Token, LinearChain)):
        begins, ends, _ = columns_of(tuple(distribution.labels or ()))
        fits_space = ~spaces[:, None] | ~(begins | ends)
        at_hand = known[:, None] == np.arange(len(begins))
        allowed = np.where(known[:, None] == MISSING, fits_space, at_hand)
        if barred is not None:
            allowed[:, 1:] &= ~np.repeat(barred, 4, axis=1)
        return distribution.restrict(array_module(scores_of(distribution)).asarray(allowed))
    xp = array_module(distribution.scores)
    allowed, outside = allowed_spans(known, distribution)
    for width in range(min(distribution.max_width, len(spaces))):
        wrong = spaces[: len(spaces) - width] | spaces[width:]
        free = known[: len(spaces) - width] == MISSING
        allowed[: len(spaces) - width, width] &= ~(wrong & free)[:, None]
    if barred is not None:
        columns = np.ones((len(spaces), 1 + 4 * distribution.n_labels), dtype=bool)
        columns[:, 1:] = ~np.repeat(barred, 4, axis=1)
        allowed &= spans_within(columns, distribution.max_width)
    if isinstance(distribution, FlatSpans):
        return distribution.restrict(xp.asarray(allowed), xp.asarray(outside))
    scores = xp.where(xp.asarray(allowed), distribution.scores, -xp.inf)
    return LocalSpans(
        scores, distribution.lengths, distribution.labels, packing=distribution.packing
    )


def columns_of_span(length: int, number: int) -> list[int]:
    """BILUO columns of an entity of so many tokens whose label has this number."""
    first = 4 * number
    if length == 1:
        return [first + 4]
    return [first + 1, *[first + 2] * (length - 2), first + 3]


@lru_cache(maxsize=64)
def columns_of(labels: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each BILUO column: whether an entity begins with it, whether one ends, number of its
    label."""
    begins = np.asarray([label[0] in "BU" for label in labels])
    ends = np.asarray([label[0] in "LU" for label in labels])
    types = np.asarray([max(0, (column - 1) // 4) for column in range(len(labels))])
    return begins, ends, types
