from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_skd.structures import Candidates, LinearChain, SentenceError, Structure, Token

LENGTHS = [3, 0, 1, 4]


def random_candidates(rng, lengths=LENGTHS, n_labels=3, most=6):
    """Outputs with repetitions among them, as arrays, and their log-weights."""
    counts = rng.integers(1, most + 1, size=len(lengths))
    outputs = [rng.integers(n_labels, size=(k, n)) for k, n in zip(counts, lengths)]
    return outputs, [rng.normal(size=k) * 3 for k in counts]


def listed(outputs, log_weights):
    """The distribution of each sentence as a table of outputs."""
    tables = []
    for candidates, logs in zip(outputs, log_weights):
        table = Counter()
        for output, weight in zip(candidates, np.exp(logs)):
            table[tuple(output)] += weight
        total = sum(table.values())
        tables.append({output: weight / total for output, weight in table.items()})
    return tables


def close(found, expected, tolerance=1e-9):
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("as_lists", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_against_tables(seed, as_lists):
    rng = np.random.default_rng(seed)
    outputs, log_weights = random_candidates(rng)
    given_outputs = [rows.tolist() for rows in outputs] if as_lists else outputs
    candidates = Candidates(given_outputs, log_weights)
    assert isinstance(candidates, Structure)
    tables = listed(outputs, log_weights)
    assert candidates.lengths.tolist() == LENGTHS
    close(candidates.log_partition(), [np.log(np.exp(logs).sum()) for logs in log_weights])
    for weights, logs in zip(candidates.marginals(), log_weights):
        close(weights, np.exp(logs) / np.exp(logs).sum())
    close(
        candidates.entropy(),
        [-sum(p * np.log(p) for p in table.values()) for table in tables],
    )
    for best, found, table in zip(candidates.argmax(), candidates.topk(3), tables):
        expected = sorted(table.items(), key=lambda item: -item[1])[:3]
        assert tuple(best) == expected[0][0]
        assert [tuple(output) for output, _ in found] == [output for output, _ in expected]
        assert all(isinstance(output, list) for output, _ in found)
        close([np.exp(log_prob) for _, log_prob in found], [p for _, p in expected])
    for number in range(2):
        asked = [rows[number % len(rows)] for rows in outputs]
        expected = [np.log(table[tuple(y)]) for table, y in zip(tables, asked)]
        close(candidates.log_prob(asked), expected)
        close(candidates.log_prob([y.tolist() for y in asked]), expected)
        close(candidates.log_prob(np.concatenate(asked)), expected)


def test_what_is_not_listed_has_no_probability():
    candidates = Candidates([[[0, 1], [1, 1]], [[2]]], [[0.0, 0.0], [5.0]])
    close(candidates.log_prob([[1, 0], [2]]), [-np.inf, 0.0])
    parts = candidates.parts_of([[1, 0], [2]])
    assert [part.tolist() for part in parts] == [[0.0, 0.0], [1.0]]


def test_equal_candidates_are_one_output():
    """Three votes for one output against two for the one that is listed first."""
    votes = [[1, 0], [0, 0], [1, 0], [0, 0], [0, 0]]
    candidates = Candidates([votes], [np.zeros(5)])
    assert candidates.argmax() == [[0, 0]]
    (best, first), (other, second) = candidates.topk(5)[0]
    assert (best, other) == ([0, 0], [1, 0])
    close(np.exp([first, second]), [0.6, 0.4])
    close(np.exp(candidates.log_prob([(1, 0)])), [0.4])
    close(candidates.entropy(), [-0.6 * np.log(0.6) - 0.4 * np.log(0.4)])
    close(candidates.marginals()[0], np.full(5, 0.2))
    assert candidates.parts_of([[0, 0]])[0].tolist() == [0, 1, 0, 0, 0]


def test_ties_keep_the_order_of_the_list():
    candidates = Candidates([[[2], [0], [1]]], [[0.0, 1.0, 0.0]])
    assert [output for output, _ in candidates.topk(3)[0]] == [[0], [2], [1]]


def test_barred_candidates_are_not_found():
    candidates = Candidates([[[0], [1]]], [[-np.inf, -1000.0]])
    assert candidates.topk(2) == [[([1], 0.0)]]
    assert candidates.marginals()[0].tolist() == [0.0, 1.0]
    close(candidates.log_prob([[0]]), [-np.inf])
    assert candidates.entropy().tolist() == [0.0]


def test_log_weights_of_any_size():
    candidates = Candidates([[[0], [1]]] * 2, [[1e4, 1e4], [-1e4, -1e4 - 1000]])
    close(candidates.log_partition(), [1e4 + np.log(2), -1e4])
    close(candidates.log_prob([[0], [1]]), [-np.log(2), -1000])


@pytest.mark.parametrize("kind", [Token, LinearChain])
def test_all_outputs_of_another_structure(kind):
    """Listing everything a structure can be leaves its distribution as it is."""
    rng = np.random.default_rng(2)
    structure = Token(rng.normal(size=(8, 3)), LENGTHS, ["a", "b", "c"])
    if kind is LinearChain:
        structure = LinearChain.from_token(structure, rng.normal(size=(3, 3)))
    everything = structure.topk(81)
    candidates = Candidates.from_topk(everything, structure.labels, lengths=structure.lengths)
    assert candidates.labels == structure.labels and candidates.n_labels == 3
    close(candidates.log_partition(), np.zeros(4))
    close(candidates.entropy(), structure.entropy())
    assert candidates.argmax() == [y.tolist() for y in structure.argmax()]
    for found, expected in zip(candidates.topk(5), structure.topk(5)):
        assert [y for y, _ in found] == [y for y, _ in expected]
        close([p for _, p in found], [p for _, p in expected])
    alike = Candidates.from_topk(
        structure.topk(2), structure.labels, lengths=structure.lengths, uniform=True
    )
    assert [weights.tolist() for weights in alike.marginals()] == [
        [0.5] * 2,
        [1.0],
        *[[0.5] * 2] * 2,
    ]


@pytest.mark.parametrize(
    "outputs",
    [
        [[{(0, 1, "PER")}, {(0, 0, "PER"), (1, 1, "LOC")}, set()]],  # sets of spans
        [[[(2, "nsubj"), (0, "root")], [(0, "root"), (1, "obj")], [(2, "obj"), (0, "root")]]],
        [["one", "two", "three"]],
    ],
)
def test_outputs_of_any_kind(outputs):
    candidates = Candidates(outputs, [[0.0, 2.0, 1.0]], lengths=[2])
    assert candidates.argmax() == [outputs[0][1]]
    assert [y for y, _ in candidates.topk(2)[0]] == outputs[0][1:]
    close(np.exp(candidates.log_prob([outputs[0][0]])), candidates.marginals()[0][:1])
    assert candidates.select([0, 0]).lengths.tolist() == [2, 2]
    with pytest.raises(SentenceError, match="not sequences of 2 label indices"):
        candidates.tokens  # noqa: B018


@pytest.mark.parametrize("dtype", ["int16", "uint8", "int64", None])
def test_tokens_of_all_candidates(dtype):
    rng = np.random.default_rng(4)
    outputs, log_weights = random_candidates(rng)
    if dtype is None:
        candidates = Candidates([rows.tolist() for rows in outputs], log_weights)
    else:
        candidates = Candidates([rows.astype(dtype) for rows in outputs], log_weights)
    expected = []
    offsets = np.cumsum([0, *LENGTHS])
    for rows, weights, offset in zip(outputs, candidates.marginals(), offsets):
        for row, weight in zip(rows, weights):
            expected += [(y, weight, offset + i, i > 0) for i, y in enumerate(row)]
    labels, weights, tokens, inner = zip(*expected)
    found = candidates.tokens
    assert found.labels.tolist() == list(labels)
    assert found.weights.tolist() == list(weights)
    assert found.tokens.tolist() == list(tokens)
    assert found.inner.tolist() == np.flatnonzero(inner).tolist()
    assert candidates.n_labels == 1 + max(labels)


def test_relabel():
    candidates = Candidates([[[0, 2], [1, 1]], [[]], [[2]]], [[1.0, 0.0], [0.0], [0.0]])
    renamed = candidates.relabel([3, 1, 0], ["a", "b", "c", "d"])
    assert [y for found in renamed.topk(2) for y, _ in found] == [[3, 0], [1, 1], [], [0]]
    assert renamed.labels == ("a", "b", "c", "d") and renamed.n_labels == 4
    close(renamed.log_partition(), candidates.log_partition())


def test_select():
    outputs, log_weights = random_candidates(np.random.default_rng(6))
    candidates = Candidates(outputs, log_weights, ["a", "b", "c"])
    chosen = candidates.select(np.array([3, 0, 0]))
    assert chosen.lengths.tolist() == [4, 3, 3] and chosen.labels == ("a", "b", "c")
    close(chosen.log_partition(), candidates.log_partition()[[3, 0, 0]])
    assert chosen.topk(9) == [candidates.topk(9)[number] for number in (3, 0, 0)]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 4), max_size=5), st.integers(1, 4), st.booleans())
def test_shapes(lengths, n_labels, with_lengths):
    rng = np.random.default_rng(len(lengths))
    outputs, log_weights = random_candidates(rng, lengths, n_labels)
    candidates = Candidates(outputs, log_weights, lengths=lengths if with_lengths else None)
    best = candidates.argmax()
    assert [len(output) for output in best] == lengths
    for values in (candidates.log_partition(), candidates.entropy(), candidates.log_prob(best)):
        assert values.shape == (len(lengths),) and values.dtype == np.float64
        assert np.isfinite(values).all()
    for parts in (candidates.marginals(), candidates.parts_of(best)):
        assert [part.shape for part in parts] == [logs.shape for logs in log_weights]
        close([part.sum() for part in parts], np.ones(len(lengths)))
    found = candidates.tokens
    assert len(found.labels) == len(found.weights) == len(found.tokens)
    assert len(found.labels) == sum(rows.size for rows in outputs)


def test_results_can_be_changed_in_place():
    candidates = Candidates([[[0, 1], [1, 1]]], [[0.0, 1.0]])
    before = [candidates.log_partition().tolist(), candidates.marginals()[0].tolist()]
    for array in (candidates.log_partition(), *candidates.marginals()):
        array -= 1.0
    assert [candidates.log_partition().tolist(), candidates.marginals()[0].tolist()] == before


@pytest.mark.parametrize(
    "outputs, log_weights, message",
    [
        ([[[0]], []], [[0.0], []], "Sentence 1 .*has no candidates"),
        ([[[0]], [[0, 1], [1]]], [[0.0], [0.0] * 2], "Sentence 1 .*of 1 and 2 tokens"),
        ([[[0]], [[1], [0]]], [[0.0], [0.0]], r"Sentence 1 .*2 candidates, but .*\(1,\)"),
        ([[[0]], [[1], [0]]], [[0.0], [0.0, np.nan]], "Sentence 1 .*log-weight of nan"),
        ([[[0]], [[1], [0]]], [[0.0], [np.inf, 0.0]], "Sentence 1 .*log-weight of inf"),
        ([[[0]], [[1], [0]]], [[0.0], [-np.inf] * 2], "Sentence 1 .*only candidates"),
    ],
)
def test_errors_name_the_sentence(outputs, log_weights, message):
    with pytest.raises(SentenceError, match=message) as caught:
        Candidates(outputs, log_weights)
    assert caught.value.sentence == 1


@pytest.mark.parametrize(
    "outputs, lengths, message",
    [
        ([[[0]], [[1, 2, 1]]], [1, 2], "Sentence 1 .*not sequences of 2 label indices"),
        ([[[0]], [[1, 2], [1]]], [1, 2], "Sentence 1 .*not sequences of 2 label indices"),
        ([[[0]], [[0.5, 1.0]]], [1, 2], "Sentence 1 .*not sequences of 2 label indices"),
        ([[[0]], [[1]]], [1, 0], "Sentence 1 .*not sequences of 0 label indices"),
        ([[[0]], [[1, 3]]], [1, 2], "Sentence 1 .*the label 3, but there are 3"),
        ([[[0]], [[-1, 2]]], [1, 2], "Sentence 1 .*the label -1, but there are 3"),
    ],
)
def test_candidates_that_are_no_label_sequences(outputs, lengths, message):
    candidates = Candidates(
        outputs, [[0.0] * len(rows) for rows in outputs], "abc", lengths=lengths
    )
    with pytest.raises(SentenceError, match=message) as caught:
        candidates.tokens  # noqa: B018
    assert caught.value.sentence == 1


def test_arguments_that_do_not_fit():
    with pytest.raises(ValueError, match="2 sentences, but log-weights for 1"):
        Candidates([[[0]], [[1]]], [[0.0]])
    with pytest.raises(ValueError, match="1 sentences, but the lengths of 2"):
        Candidates([[[0]]], [[0.0]], lengths=[1, 1])
    with pytest.raises(ValueError, match="scores for 3 labels, but 2 label names"):
        Candidates([[[0]]], [[0.0]], ["a", "b"], n_labels=3)
    candidates = Candidates([[[0, 1]]], [[0.0]])
    with pytest.raises(ValueError, match="1 sentences, but 2 outputs"):
        candidates.log_prob([[0, 1], [0, 1]])
    with pytest.raises(ValueError, match="2 tokens, but 3 labels"):
        candidates.log_prob(np.array([0, 1, 1]))
    with pytest.raises(ValueError, match="k should be"):
        candidates.topk(0)


def test_other_weights_for_the_same_outputs():
    candidates = Candidates([[[0], [1]], [[1]]], [[0.0, 1.0], [2.0]], ["A", "B"])
    found = candidates.with_log_weights(np.asarray([1.0, 0.0, 5.0]))
    assert found.outputs == candidates.outputs and found.labels == candidates.labels
    np.testing.assert_allclose(found.log_partition(), [np.logaddexp(1, 0), 5])
