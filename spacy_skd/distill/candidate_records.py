"""Weighted sets of spans as they are stored: the distinct outputs of a list, best first
(docs/math.md §2.7)."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..structures import Candidates
from ..structures.base import Floats1d

CANDIDATE = np.dtype(
    [
        ("candidate", "<u2"),
        ("token", "<u4"),
        ("width", "<u2"),
        ("label", "<u2"),
        ("log_weight", "<f4"),
    ]
)
"""A span of a candidate: the candidate's number in the document, the span's first token, tokens
after it, column, log-probability of the candidate. A candidate without spans has one record, with
the label `NOTHING`."""
NOTHING = 2**16 - 1
ScoredSets = list[tuple[frozenset[tuple[int, int, int]], float]]


def stored_candidates(candidates: Candidates) -> list[np.ndarray]:
    """What is stored of each document, `CANDIDATE` arrays; equal candidates are one.

    Raises ValueError for candidates that are no sets of spans.
    """
    if not len(candidates.outputs):
        return []
    if not candidates.are_sets():
        raise ValueError(
            "Candidates are stored if they are sets of spans. Give label sequences as a Token or a "
            "LinearChain, and trees as their marginals (distill.listed_trees.tree_marginals)."
        )
    found = candidates.topk(int(candidates.counts.max()))
    return [records_of([(frozenset(spans), weight) for spans, weight in best]) for best in found]


def records_of(scored: ScoredSets) -> np.ndarray:
    """Distinct sets of spans (first, last, label) with their log-weights as `CANDIDATE` records."""
    rows = [
        (number, first, last - first, label, log_weight)
        for number, (spans, log_weight) in enumerate(scored)
        for first, last, label in sorted(spans) or [(0, 0, NOTHING)]
    ]
    return np.array(rows, dtype=CANDIDATE)


def sets_of(records: np.ndarray) -> tuple[list[frozenset[tuple[int, int, int]]], Floats1d]:
    """The candidates of a document, sets of spans, and their log-weights (k,)."""
    starts = np.flatnonzero(np.diff(records["candidate"], prepend=-1))
    real = records["label"] != NOTHING
    first = records["token"].astype(np.int64)
    columns = (first, first + records["width"], records["label"].astype(np.int64))
    spans = list(zip(*(column.tolist() for column in columns)))
    bounds = [*starts.tolist(), len(records)]
    sets = [
        frozenset(spans[start:end]) if real[start] else frozenset()
        for start, end in pairwise(bounds)
    ]
    return sets, records["log_weight"][starts].astype(np.float64)


def slice_candidates(records: np.ndarray, start: int, end: int) -> np.ndarray:
    """The candidates without the spans that are not within the tokens start..end-1; those that
    become equal are one."""
    log_weights: dict[Any, float] = {}
    for spans, log_weight in zip(*sets_of(records)):
        inside = frozenset(
            (first - start, last - start, label)
            for first, last, label in spans
            if start <= first and last < end
        )
        log_weights[inside] = float(np.logaddexp(log_weights.get(inside, -np.inf), log_weight))
    scored = log_weights.items()
    return records_of(sorted(scored, key=lambda candidate: -candidate[1]))


def read_candidates(
    found: Sequence[tuple[Sequence[Any], Floats1d]], lengths: Any, labels: Sequence[str]
) -> Candidates:
    """The distributions of documents from what `sets_of` found of each."""
    sets = [outputs for outputs, _ in found]
    weights = [log_weights for _, log_weights in found]
    return Candidates(sets, weights, labels, lengths=lengths)
