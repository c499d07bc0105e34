"""What structures over arcs say of arguments that are wrong."""

import numpy as np
import pytest

from spacy_skd.structures import Factor, HeadSelection, MeanField, is_tree

ARCS = [np.zeros((1, 2))]
PART = [[1.0]]


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: is_tree([0, 1]), "a sequence of head numbers for each sentence"),
        (lambda: is_tree([[0.5, 1.0]]), "Head numbers should be integers"),
        (lambda: is_tree(np.array([0, 1]), np.array([1])), "sum to the number of tokens"),
        (lambda: HeadSelection(ARCS).log_prob([[0.5]]), "should be integers, .* float64"),
        (lambda: HeadSelection(ARCS).log_prob([np.array([0.0])]), "should be integers"),
        (lambda: HeadSelection(ARCS).select([5]), "sentences 0 to 0, but those from 5 to 5"),
        (lambda: HeadSelection(ARCS).select([-1]), "from -1 to -1"),
        (lambda: HeadSelection([]).select([0]), "has no sentences"),
        (lambda: HeadSelection(ARCS).select([True]), "of the type bool"),
        (lambda: MeanField(ARCS, siblings=(PART, PART)), "three arrays, .* but there are 2"),
        (lambda: MeanField(ARCS, siblings=(PART, PART, PART)), r"heads of siblings .* \(2, 1\)"),
        (lambda: MeanField(ARCS, grandparents=(1, 2, 3)), "heads of grandparents .* at least one"),
        (lambda: MeanField(ARCS, siblings=([[], []], [[]], [[]])), "at least one column"),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_factors_may_be_lists():
    parts = [[1.0], [2.0]], [[3.0]], [[4.0]]
    arrays = Factor(*map(np.asarray, parts))
    lists, same = MeanField(ARCS, siblings=parts), MeanField(ARCS, siblings=arrays)
    assert (lists.scores == same.scores).all()


def test_nothing_to_select():
    assert HeadSelection(ARCS).select([]).log_partition().shape == (0,)
