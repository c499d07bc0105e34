"""Arcs as they are stored: the likeliest heads of each token with their likeliest relations
(docs/math.md §4).

What is kept are probabilities, p(head, relation | token): the marginals, whatever distribution over
trees the teacher has. Heads are dropped as long as all that are dropped of a token have a
probability of at most half of `MAX_LOSS`, and pairs of head and relation up to the other half;
there are `MAX_HEADS` heads of a token at most.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..structures import ArcLayout, HeadSelection, ListedRelations
from ..structures.base import Floats1d, Ints1d, array_module, to_host
from .arcs import TreeMarginals, arcs_at
from .parts import Arcs

ARC = np.dtype(
    [("token", "<u4"), ("head", "<i2"), ("relation", "<u2"), ("prob", "<f2"), ("opens", "?")]
)
"""A head and relation of a token that are kept: the token in the document, its head relative to it
(0: the root), column of the relation, their probability, whether the token begins a sentence.
Sorted by token, head and relation."""
MAX_LOSS = 1e-3  # probability, at each token, of what is not kept, at most
MAX_HEADS = 8  # of a token that are kept, even if more is lost
LEAST = 1e-8  # probability below which nothing is kept


def stored_arcs(structure: Arcs, n_sentences: Ints1d) -> tuple[list[np.ndarray], Floats1d]:
    """What is stored of each document, `ARC` arrays, and the probability (N,) of what is not.

    n_sentences: (D,) how many sentences of the structure each document has.
    """
    layout = ArcLayout(to_host(structure.lengths))
    arcs = to_host(structure.flat_marginals()).astype(np.float64)
    cells, dropped = _best_heads(arcs, layout)
    tokens, heads = arcs_at(cells, layout)
    values = np.exp(to_host(structure.relation_log_probs(tokens, heads)).astype(np.float64))
    values *= arcs[cells][:, None]
    rows, columns, lost = _best_relations(values, tokens)
    dropped += np.bincount(tokens, weights=lost, minlength=layout.n_tokens)
    kept = np.bincount(rows, weights=values[rows, columns], minlength=len(cells))

    opens = np.zeros(layout.n_tokens, dtype=bool)
    opens[layout.token_offsets[:-1][layout.lengths > 0]] = True
    records = np.empty(len(rows), dtype=ARC)
    records["token"], records["relation"] = tokens[rows], columns
    numbers = layout.positions[tokens] + 1
    records["head"] = np.where(heads == 0, 0, heads - numbers)[rows]
    # A relation's part goes to the others of the same arc, whose probability stays.
    records["prob"] = values[rows, columns] * (arcs[cells] / kept)[rows]
    records["opens"] = opens[tokens[rows]]
    records = records[records["prob"] != 0]  # what float16 knows; a NaN is none
    return _by_document(records, layout, n_sentences), dropped


def _best_heads(arcs: Floats1d, layout: ArcLayout) -> tuple[Ints1d, Floats1d]:
    """The cells of the heads to keep, in ascending order, and what is lost of each token (N,)."""
    cells = np.flatnonzero(arcs > LEAST)
    tokens, _ = arcs_at(cells, layout)
    order = np.lexsort((-arcs[cells], tokens))
    probs, counts = arcs[cells[order]], np.bincount(tokens, minlength=layout.n_tokens)
    firsts = np.repeat(np.cumsum(counts) - counts, counts)
    before = np.concatenate([[0.0], np.cumsum(probs)])[:-1]
    before -= before[firsts]
    ranks = np.arange(len(cells)) - firsts
    totals = layout.row_sum(arcs)
    left = totals[tokens] - before
    chosen = (ranks == 0) | ((left > MAX_LOSS / 2) & (ranks < MAX_HEADS))
    kept = np.bincount(tokens[chosen], weights=probs[chosen], minlength=layout.n_tokens)
    return np.sort(cells[order[chosen]]), (totals - kept).clip(0, None)


def _best_relations(values: Any, tokens: Ints1d) -> tuple[Ints1d, Ints1d, Floats1d]:
    """Rows and columns of the relations to keep of arcs (P, R), and what is lost of each arc (P,).

    The best of each arc stays.
    """
    lost = np.zeros(len(values))
    if not len(values):
        nothing = np.zeros(0, dtype=np.int64)
        return nothing, nothing, lost
    best = np.zeros(values.shape, dtype=bool)
    best[np.arange(len(values)), values.argmax(axis=1)] = True
    rows, columns = np.nonzero(~best & (values > LEAST))
    probs = values[rows, columns]
    order = np.lexsort((probs, tokens[rows]))
    counts = np.bincount(tokens[rows])
    firsts = np.repeat(np.cumsum(counts) - counts, counts)
    sums = np.concatenate([[0.0], np.cumsum(probs[order])])
    keep = np.zeros(len(rows), dtype=bool)
    keep[order] = sums[1:] - sums[firsts] > MAX_LOSS / 2
    chosen = best
    chosen[rows[keep], columns[keep]] = True
    lost = np.where(chosen, 0, values).sum(axis=1)
    return (*np.nonzero(chosen), lost)


def _by_document(records: np.ndarray, layout: ArcLayout, n_sentences: Ints1d) -> list[np.ndarray]:
    ends = layout.token_offsets[np.cumsum(n_sentences)]
    starts = np.append(0, ends[:-1])
    bounds = np.searchsorted(records["token"], ends).tolist()
    pieces = np.split(records, bounds[:-1]) if len(bounds) else []
    for piece, start in zip(pieces, starts.tolist()):
        piece["token"] -= start
    return pieces


def with_relations(records: np.ndarray, columns: Ints1d) -> np.ndarray:
    """The same arcs with their relations in other columns; those that get the same one are summed.

    columns: (R,) the new column of each relation.
    """
    as_before = np.ones(len(records), dtype=bool)
    for name in ("token", "head"):
        as_before[1:] &= records[name][1:] == records[name][:-1]
    arcs, relations = np.cumsum(~as_before), columns[records["relation"]]
    _, firsts, groups = np.unique(
        arcs * len(columns) + relations, return_index=True, return_inverse=True
    )
    found = records[firsts]
    found["relation"] = relations[firsts]
    found["prob"] = np.bincount(groups, weights=records["prob"], minlength=len(firsts))
    return found


def slice_arcs(records: np.ndarray, start: int, end: int) -> np.ndarray:
    """Those of the tokens start..end-1 whose sentences are there as a whole."""
    pieces = [piece for low, high, piece in sentences_of(records) if start <= low and high <= end]
    found = np.concatenate(pieces) if pieces else records[:0].copy()
    found["token"] -= start
    return found


def sentences_of(records: np.ndarray) -> list[tuple[int, int, np.ndarray]]:
    """The sentences that a document has: first token, last token + 1, records."""
    starts = np.flatnonzero(_is_first(records) & records["opens"])
    pieces = np.split(records, starts)[1:]
    return [(int(p["token"][0]), int(p["token"][-1]) + 1, p) for p in pieces]


def _is_first(records: np.ndarray) -> np.ndarray:
    """Whether a record is the first of its token."""
    first = np.ones(len(records), dtype=bool)
    first[1:] = records["token"][1:] != records["token"][:-1]
    return first


def read_arcs(
    targets: Sequence[np.ndarray],
    lengths: Ints1d,
    labels: Sequence[str],
    like: Any,
    trees: str | None = None,
) -> HeadSelection:
    """The distributions of sentences from what is stored of them.

    trees: "trees" or "projective trees" if they are the marginals of those.
    like: an array of the wanted kind and dtype.
    """
    xp, layout = array_module(like), ArcLayout(np.asarray(lengths, dtype=np.int64))
    records = np.concatenate([*targets, np.empty(0, dtype=ARC)])
    sizes = [len(target) for target in targets]
    tokens = records["token"] + np.repeat(layout.token_offsets[:-1], sizes)
    numbers = layout.positions[tokens] + 1
    heads = np.where(records["head"] == 0, 0, numbers + records["head"])
    cells = layout.row_starts[tokens] + heads
    first = np.ones(len(cells), dtype=bool)
    first[1:] = cells[1:] != cells[:-1]
    arcs = np.cumsum(first) - 1
    probs = records["prob"].astype(np.float64)
    joint = np.zeros((int(first.sum()), len(labels)))
    joint[arcs, records["relation"]] = probs
    of_arcs = joint.sum(axis=1)
    totals = np.bincount(tokens[first], weights=of_arcs, minlength=layout.n_tokens)
    with np.errstate(divide="ignore"):
        relations = np.log(joint / of_arcs[:, None])
    scores = np.full(layout.n_cells, -np.inf)
    scores[cells[first]] = np.log(of_arcs / totals[tokens[first]])
    rest: dict[str, Any] = {
        "lengths": lengths,
        "labels": labels,
        "relations": ListedRelations(
            tokens[first], heads[first], xp.asarray(relations, dtype=like.dtype), lengths
        ),
    }
    if trees is None:
        return HeadSelection(xp.asarray(scores, dtype=like.dtype), **rest)
    projective = trees == "projective trees"
    return TreeMarginals(xp.asarray(scores, dtype=like.dtype), projective=projective, **rest)
