"""Which bucket an arc is in, for all arcs of a batch and for some of them."""

import numpy as np
import pytest

from spacy_skd.layers.distances import BOUNDS, N_BUCKETS, ROOT, buckets_of_arcs, buckets_of_cells
from spacy_skd.structures import ArcLayout


def bucket(offset: int) -> int:
    """Of a head that is so many tokens after its dependent, or before if it is negative."""
    before = offset < 0
    return sum(abs(offset) >= bound for bound in BOUNDS) + before * (len(BOUNDS) + 1)


def test_buckets():
    right = [bucket(offset) for offset in range(1, 9)]
    left = [bucket(-offset) for offset in range(1, 9)]
    assert right == [0, 1, 2, 3, 4, 5, 6, 7] and left == [14, 15, 16, 17, 18, 19, 20, 21]
    assert [bucket(offset) for offset in (9, 11, 12, 47, 48, 500)] == [8, 8, 9, 12, 13, 13]
    assert {bucket(o) for o in range(-99, 100) if o} == set(range(ROOT)) and ROOT + 1 == N_BUCKETS


@pytest.mark.parametrize("lengths", [[3, 0, 1, 70, 5], [1], [4], [256], [257], [300], [], [0]])
def test_arcs_of_a_batch(xp, lengths):
    layout = ArcLayout(np.asarray(lengths, dtype="int64"), xp)
    found = buckets_of_cells(layout)
    tokens = np.repeat(np.arange(layout.n_tokens), layout.widths)
    heads = np.arange(layout.n_cells) - np.repeat(layout.row_starts, layout.widths)
    offsets = heads - 1 - layout.positions[tokens]
    wanted = [bucket(offset) if head else ROOT for offset, head in zip(offsets, heads)]
    arcs = np.flatnonzero(offsets)
    assert found[xp.asarray(arcs)].tolist() == [wanted[arc] for arc in arcs]
    order = np.random.default_rng(0).permutation(arcs)
    some = buckets_of_arcs(layout, *(xp.asarray(values[order]) for values in (tokens, heads)))
    assert some.tolist() == [wanted[arc] for arc in order]
