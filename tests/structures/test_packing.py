import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_skd.structures.packing import Packing

LENGTHS = st.lists(st.integers(0, 7), max_size=8).map(lambda x: np.array(x, dtype=np.int64))


@given(LENGTHS)
def test_rows_of_a_step_are_the_sentences_alive_longest_first(lengths):
    packing = Packing(lengths)
    tokens = [(b, i) for b, n in enumerate(lengths) for i in range(n)]
    order = sorted(range(len(lengths)), key=lambda b: -lengths[b])
    expected = [(b, i) for i in range(max(lengths, default=0)) for b in order if lengths[b] > i]
    assert [tokens[token] for token in packing.rows] == expected
    assert (packing.rows[packing.back] == np.arange(len(tokens))).all()
    assert packing.order.tolist() == [b for b in order if lengths[b]]
    assert [expected[row] for row in packing.last] == [
        (b, lengths[b] - 1) for b in order if lengths[b]
    ]
    assert packing.packed_sentences.tolist() == [b for b, _ in expected]


@given(LENGTHS)
def test_steps_and_previous_lead_to_the_token_before(lengths):
    packing = Packing(lengths)
    previous = packing.rows[packing.previous]
    now = packing.rows[packing.n_alive :]
    assert (previous + 1 == now).all()
    assert sorted(now.tolist()) == packing.inner_tokens.tolist()
    by_step = [
        (a, b)
        for before, after in packing.steps
        for a, b in zip(packing.rows[before], packing.rows[after])
    ]
    assert by_step == list(zip(previous, now))


@given(LENGTHS)
def test_sums_by_sentence(lengths):
    packing = Packing(lengths)
    values = np.arange(lengths.sum(), dtype=float)
    expected = [part.sum() for part in np.split(values, packing.offsets[1:-1])][: len(lengths)]
    assert packing.sum(values).tolist() == expected
    assert packing.sum_packed(values[packing.rows]).tolist() == expected


@given(LENGTHS, st.data())
def test_select(lengths, data):
    packing = Packing(lengths)
    indices = st.integers(0, max(0, len(lengths) - 1))
    chosen = data.draw(st.lists(indices, max_size=5)) if len(lengths) else []
    tokens, selected = packing.select(chosen)
    assert selected.tolist() == [lengths[b] for b in chosen]
    starts = packing.offsets
    assert tokens.tolist() == [i for b in chosen for i in range(starts[b], starts[b + 1])]


def test_an_infinite_value_stays_in_its_sentence():
    packing = Packing(np.array([1, 2, 0, 1]))
    sums = packing.sum(np.array([1.0, -np.inf, 2.0, 3.0]))
    assert sums.tolist() == [1.0, -np.inf, 0.0, 3.0]


@pytest.mark.parametrize("lengths", [[], [0], [0, 0]])
def test_no_tokens(lengths):
    packing = Packing(np.array(lengths, dtype=np.int64))
    assert packing.steps == []
    assert packing.n_alive == 0
    assert packing.sum(np.zeros(0)).tolist() == [0.0] * len(lengths)
