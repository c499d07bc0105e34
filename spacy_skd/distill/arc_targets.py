"""A document's stored arcs cut into sentences, and read as its best heads."""

from collections.abc import Sequence

import numpy as np

from ..structures.base import Ints1d
from .arc_records import sentences_of
from .targets import Target


def sentence_targets(
    target: Target, lengths: Sequence[int], *, joined: bool = False
) -> list[Target | None]:
    """A document's target as targets of the sentences that a student reads.

    lengths: of the student's sentences, which are the whole document. Those that are exactly
        sentences of the teacher get their piece, others None.
    joined: several sentences of the teacher that are one of the student's make a piece as well.

    The same pieces for the same lengths, so that what is kept beside them stays.
    """
    key = ("sentences", tuple(lengths), joined)
    if key not in target.kept:
        target.kept[key] = _cut(target, lengths, joined=joined)
    return list(target.kept[key])


def _cut(target: Target, lengths: Sequence[int], *, joined: bool) -> list[Target | None]:
    sentences = sentences_of(target.scores)
    by_start = {low: (high, records) for low, high, records in sentences}
    pieces: list[Target | None] = []
    start = 0
    for length in lengths:
        end, at = start + length, start
        found: list[np.ndarray] = []
        while at in by_start and (not found or joined) and by_start[at][0] <= end:
            at, records = by_start[at]
            found.append(records)
        if not found or at != end:
            pieces.append(None)
        else:
            scores = np.concatenate(found)
            scores["token"] -= start
            pieces.append(target.with_scores(scores, int(length)))
        start = end
    return pieces


def opening_tokens(target: Target) -> Ints1d:
    """The tokens of a document that begin sentences of the teacher."""
    starts = [low for low, _, _ in sentences_of(target.scores)]
    return np.asarray(starts, dtype=np.int64)


def best_arcs(target: Target) -> tuple[Ints1d, Ints1d]:
    """The best head of each token of a document by itself, as a token number, a root's its own, and
    the column of its best relation: both (n,), −1 where nothing is stored of a token."""
    heads = np.full(len(target), -1)
    columns = np.full(len(target), -1)
    records = target.scores
    if not len(records):
        return heads, columns
    tokens, probs = records["token"].astype(np.int64), records["prob"].astype(np.float64)
    first = np.ones(len(records), dtype=bool)
    first[1:] = (tokens[1:] != tokens[:-1]) | (records["head"][1:] != records["head"][:-1])
    arcs = np.cumsum(first) - 1
    of_arcs = np.bincount(arcs, weights=probs)
    # Last of each token: its best arc, and of that the best relation.
    order = np.lexsort((probs, of_arcs[arcs], tokens))
    last = np.append(tokens[order][1:] != tokens[order][:-1], True)
    best = order[last]
    heads[tokens[best]] = tokens[best] + records["head"][best]
    columns[tokens[best]] = records["relation"][best]
    return heads, columns
