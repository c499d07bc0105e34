"""Between spans and label sequences: what one kind says about the parts of the other
(docs/math.md §4).

Labels of spans are bare ("PER"), those of sequences BILUO labels ("B-PER"); they are matched by the
entity label.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from ..structures import (
    Candidates,
    ChainMarginals,
    FlatSpans,
    LinearChain,
    LocalSpans,
    SentenceError,
    Token,
    biluo_labels,
    entity_labels,
    spans_of,
)
from ..structures.base import Floats3d, array_module
from ..structures.biluo import legal_potentials
from .parts import Parts


def as_flat(spans: FlatSpans | LocalSpans) -> FlatSpans:
    """Spans that do not overlap; of spans that are independent, their distribution given that."""
    if isinstance(spans, FlatSpans):
        return spans
    return FlatSpans(spans.scores, spans.lengths, spans.labels, packing=spans.packing)


def legal_chain(sequence: Token | LinearChain) -> LinearChain:
    """The distribution over well-formed entities. Raises ValueError unless labels are BILUO's."""
    if isinstance(sequence, LinearChain):
        return sequence
    if sequence.labels is None:
        raise ValueError("Entities need the names of the labels, which are BILUO labels.")
    xp = array_module(sequence.scores)
    return LinearChain.from_token(sequence, *map(xp.asarray, legal_potentials(sequence.labels)))


def sequence_onto_spans(teacher: Token | LinearChain, student: FlatSpans | LocalSpans) -> Floats3d:
    """The probability of every span, (N, W, R): of a token model, given that entities are
    well-formed. Spans wider than the student's are left out."""
    return legal_chain(teacher).span_marginals(student.max_width)


def spans_onto_spans(teacher: FlatSpans | LocalSpans, student: FlatSpans | LocalSpans) -> Floats3d:
    """The probability of every span, cut or filled up to the student's widths."""
    if isinstance(student, FlatSpans):
        teacher = as_flat(teacher)
    return fit_width(teacher.marginals(), student.max_width)


def fit_width(parts: Floats3d, max_width: int) -> Floats3d:
    """Parts (N, W, R) with another number of widths, new ones filled with zeros."""
    xp = array_module(parts)
    missing = max_width - parts.shape[1]
    if missing <= 0:
        return parts[:, :max_width]
    return xp.pad(parts, ((0, 0), (0, missing), (0, 0)))


def spans_onto_chain(teacher: FlatSpans | LocalSpans, weights: Any) -> ChainMarginals:
    """Case 4: marginals over BILUO labels and their pairs, in the order of `biluo_labels`."""
    marginals = as_flat(teacher).biluo_marginals(weights)
    return replace(marginals, tokens=marginals.tokens * weights[teacher.packing.sentences][:, None])


def spans_onto_token(teacher: FlatSpans | LocalSpans, weights: Any) -> Any:
    """Case 4: marginals over BILUO labels, in the order of `biluo_labels`."""
    return spans_onto_chain(teacher, weights).tokens


def candidates_onto_spans(teacher: Candidates, student: FlatSpans | LocalSpans) -> Floats3d:
    """How often each span occurs, every candidate times its weight, (N, W, R) in float64.

    Raises SentenceError for candidates that a student of spans that do not overlap cannot give.
    """
    if isinstance(student, FlatSpans):
        check_flat(teacher)
    counts = np.zeros((teacher.packing.n_tokens, student.max_width, student.n_labels))
    offsets = teacher.packing.offsets.tolist()
    for offset, outputs, weights in zip(offsets, teacher.outputs, teacher.marginals()):
        for output, weight in zip(outputs, weights.tolist()):
            for first, last, label in output:
                if last - first < student.max_width:
                    counts[offset + first, last - first, label] += weight
    return array_module(student.scores).asarray(counts)


def check_flat(candidates: Candidates) -> None:
    """Raise SentenceError for the first sentence with a candidate whose spans overlap."""
    for sentence, sets in enumerate(candidates.outputs):
        for spans in sets:
            ends = [(first, last) for first, last, _ in sorted(spans)]
            if any(last >= first for (_, last), (first, _) in pairwise(ends)):
                raise SentenceError(
                    "has spans of the teacher's that overlap, and a student that predicts spans "
                    "that do not. Give it the architecture spacy-skd.SpanBiaffine.v1 with "
                    'loss = "local", which learns overlapping spans',
                    sentence,
                )


def as_spans(candidates: Candidates) -> Candidates:
    """Candidates that are BILUO label sequences as candidates that are sets of spans."""
    labels = candidates.labels or ()
    entities = entity_labels(labels)
    number = {label: position for position, label in enumerate(entities)}
    outputs = [
        [
            frozenset((first, last, number[label]) for first, last, label in spans_of(path, labels))
            for path in paths
        ]
        for paths in candidates.outputs
    ]
    return candidates.with_outputs(outputs, entities)


def relabelled(candidates: Candidates, columns: np.ndarray, labels: Sequence[str]) -> Candidates:
    """Sets of spans with label i called `columns[i]`, an index into `labels`."""
    number = columns.tolist()
    outputs = [
        [frozenset((i, j, number[label]) for i, j, label in spans) for spans in sets]
        for sets in candidates.outputs
    ]
    return candidates.with_outputs(outputs, labels)


def as_sequences(candidates: Candidates) -> Candidates:
    """Candidates that are sets of spans as candidates that are BILUO label sequences.

    Raises SentenceError for spans that overlap.
    """
    check_flat(candidates)
    outputs = []
    for length, sets in zip(candidates.lengths.tolist(), candidates.outputs):
        paths = np.zeros((len(sets), length), dtype=np.int64)
        for path, spans in zip(paths, sets):
            for first, last, label in spans:
                path[first : last + 1] = 4 * label + 2  # I; B comes before it, L and U follow
                path[first], path[last] = 4 * label + 1, 4 * label + 3
                if first == last:
                    path[first] = 4 * label + 4
        outputs.append(paths)
    return candidates.with_outputs(outputs, biluo_labels(candidates.labels or ()))


def permuted(parts: Parts, order: np.ndarray) -> Parts:
    """Parts of label sequences with their columns in another order."""
    if not isinstance(parts, ChainMarginals):
        return parts[:, order]
    return ChainMarginals(
        tokens=parts.tokens[:, order],
        pairs=parts.pairs[order][:, order],
        starts=parts.starts[order],
        ends=parts.ends[order],
    )
