"""Linear chains against enumeration."""

from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_skd.structures import (
    LinearChain,
    SentenceError,
    Structure,
    Token,
    as_potentials,
    biluo_labels,
    legal_moves,
)
from spacy_skd.structures.base import to_host

from .brute_force import chain_score
from .chain_cases import CASES, LENGTHS, chain_of, close, enumerate_all, make

METHODS = ["log_partition", "marginals", "argmax", "entropy", "pair_marginals"]


@CASES
def test_against_enumeration(xp, seed, n_labels, forbidden):
    rng = np.random.default_rng(seed)
    potentials = make(rng, n_labels=n_labels, forbidden=forbidden)
    chain, expected = chain_of(xp, potentials), enumerate_all(potentials)
    close(chain.log_partition(), [e.log_z for e in expected])
    close(chain.entropy(), [e.entropy for e in expected])
    weights = rng.random(len(LENGTHS))
    marginals = chain.marginals(xp.asarray(weights))
    tokens = [e.tokens() for e in expected]
    close(marginals.tokens, np.concatenate(tokens))
    close(marginals.pairs, sum(w * e.pairs().sum(axis=0) for w, e in zip(weights, expected)))
    close(marginals.starts, sum(w * t[0] for w, t in zip(weights, tokens) if len(t)))
    close(marginals.ends, sum(w * t[-1] for w, t in zip(weights, tokens) if len(t)))
    close(chain.pair_marginals(), np.concatenate([e.pairs() for e in expected]))
    close(chain.marginals().pairs, sum(e.pairs().sum(axis=0) for e in expected))
    for output, enumeration in zip(chain.argmax(), expected):
        assert tuple(output) == enumeration.best(1)[0][1]
        assert output.dtype == np.int64


@CASES
@pytest.mark.parametrize("k", [1, 2, 10, 2000])
def test_topk(xp, seed, n_labels, forbidden, k):
    potentials = make(np.random.default_rng(seed), n_labels=n_labels, forbidden=forbidden)
    for found, enumeration in zip(chain_of(xp, potentials).topk(k), enumerate_all(potentials)):
        expected = enumeration.best(k)
        assert [tuple(output) for output, _ in found] == [output for _, output in expected]
        close([log_prob for _, log_prob in found], [log_prob for log_prob, _ in expected])


@pytest.mark.parametrize("k", [5, 32, 100])
def test_topk_with_ties_lists_every_output_once(k):
    """Scores 0 and 1 only: among equals any order, but the right ones and none twice."""
    rng = np.random.default_rng(0)
    potentials = [rng.integers(2, size=p.shape).astype(float) for p in make(rng, [5], 2)]
    found = chain_of(np, potentials, [5]).topk(k)[0]
    enumeration = enumerate_all(potentials, [5])[0]
    assert len({tuple(output) for output, _ in found}) == len(found) == min(k, 32)
    close([p for _, p in found], np.sort(enumeration.log_probs)[::-1][:k])
    for output, log_prob in found:
        close(chain_score(output, *potentials) - enumeration.log_z, log_prob)


def test_log_prob_and_score(xp, rng):
    potentials = make(rng, forbidden=0.3)
    chain, expected = chain_of(xp, potentials), enumerate_all(potentials)
    for choice in (0, -1, 5):
        outputs = [e.outputs[choice % len(e.outputs)] for e in expected]
        scores = [e.scores[choice % len(e.outputs)] for e in expected]
        close(chain.score(outputs), scores)
        close(chain.score(np.concatenate(outputs).astype(np.int64)), scores)
        close(chain.log_prob(outputs), scores - np.array([e.log_z for e in expected]))


@pytest.mark.parametrize("weights", [None, np.array([0.5, 2.0, 0.0, 1.0, 3.0])])
def test_parts_are_the_gradient_of_the_score(xp, rng, weights):
    potentials = make(rng)
    chain = chain_of(xp, potentials)
    outputs = [rng.integers(3, size=n) for n in LENGTHS]
    parts = chain.parts_of(outputs, weights)
    each = [1.0] * len(LENGTHS) if weights is None else weights
    tokens = to_host(parts.tokens)
    assert tokens.argmax(axis=1).tolist() == np.concatenate(outputs).tolist()
    assert tokens.sum() == sum(LENGTHS)
    pairs = np.zeros((3, 3))
    for output, weight in zip(outputs, each):
        np.add.at(pairs, (output[:-1], output[1:]), weight)
    close(parts.pairs, pairs)
    ends = [(output, weight) for output, weight in zip(outputs, each) if len(output)]
    close(parts.starts, np.bincount([y[0] for y, _ in ends], [w for _, w in ends], 3))
    close(parts.ends, np.bincount([y[-1] for y, _ in ends], [w for _, w in ends], 3))


def test_marginals_are_the_gradient_of_log_z(rng):
    potentials = make(rng, n_labels=2)
    marginals = astuple(chain_of(np, potentials).marginals())
    for number, (potential, gradient) in enumerate(zip(potentials, marginals)):
        for index in np.ndindex(potential.shape):
            values = []
            for step in (1e-5, -1e-5):
                shifted = [p.copy() for p in potentials]
                shifted[number][index] += step
                values.append(chain_of(np, shifted).log_partition().sum())
            close((values[0] - values[1]) / 2e-5, gradient[index], 1e-6)


def test_expected_pairs_and_scores(xp, rng):
    potentials, others = make(rng, forbidden=0.4), make(rng)
    chain, other = chain_of(xp, potentials), chain_of(xp, others)
    expected = enumerate_all(potentials)
    table = others[1]
    close(
        chain.expected_pairs(xp.asarray(table)),
        [(e.pairs() * table).sum() for e in expected],
    )
    bounds = np.cumsum([0, *LENGTHS])
    values = [
        e.expected(lambda y, low=low, high=high: chain_score(y, others[0][low:high], *others[1:]))
        for e, low, high in zip(expected, bounds, bounds[1:])
    ]
    close(chain.expected_score(other), values)


def test_expected_pairs_of_a_table_that_forbids(xp, rng):
    """What is impossible anyway counts nothing; what is possible makes the sum -inf."""
    potentials = make(rng)
    potentials[1][0, 1] = -np.inf
    chain = chain_of(xp, potentials)
    close(
        chain.expected_pairs(xp.asarray(potentials[1])),
        [
            (e.pairs() * np.where(np.isneginf(potentials[1]), 0, potentials[1])).sum()
            for e in enumerate_all(potentials)
        ],
    )
    table = potentials[1].copy()
    table[1, 2] = -np.inf
    assert to_host(chain.expected_pairs(xp.asarray(table))).tolist()[0] == -np.inf
    assert np.isfinite(to_host(chain.expected_pairs(xp.asarray(table)))[[1, 2]]).all()


def test_restrict_sums_over_what_agrees_with_the_annotation(xp, rng):
    potentials = make(rng)
    allowed = rng.random(potentials[0].shape) < 0.5
    allowed[:, 2] = True
    chain = chain_of(xp, potentials, labels=["a", "b", "c"])
    restricted = chain.restrict(xp.asarray(allowed))
    assert restricted.packing is chain.packing
    assert restricted.labels == ("a", "b", "c")
    bounds = np.cumsum([0, *LENGTHS])
    for found, enumeration, low, high in zip(
        to_host(restricted.log_partition()), enumerate_all(potentials), bounds, bounds[1:]
    ):
        compatible = [
            score
            for output, score in zip(enumeration.outputs, enumeration.scores)
            if all(allowed[low + token, label] for token, label in enumerate(output))
        ]
        assert len(compatible) < len(enumeration.outputs) or high - low < 2
        close(found, np.logaddexp.reduce(compatible))


def test_select_and_batches_agree_with_single_sentences(xp, rng):
    chain = chain_of(xp, make(rng, forbidden=0.3))
    tokens = np.split(to_host(chain.marginals().tokens), np.cumsum(LENGTHS)[:-1])
    for b in range(len(LENGTHS)):
        single = chain.select([b])
        close(single.log_partition(), to_host(chain.log_partition())[[b]])
        close(single.marginals().tokens, tokens[b])
        assert single.argmax()[0].tolist() == chain.argmax()[b].tolist()
    chosen = chain.select(np.array([3, 2, 2]))
    assert chosen.lengths.tolist() == [5, 1, 1]
    close(chosen.log_partition(), to_host(chain.log_partition())[[3, 2, 2]])


def test_from_token(xp, rng):
    token = Token(xp.asarray(rng.normal(size=(sum(LENGTHS), 3))), LENGTHS, ["a", "b", "c"])
    chain = LinearChain.from_token(token)
    assert chain.labels == token.labels
    close(chain.log_partition(), to_host(token.log_partition()))
    close(chain.marginals().tokens, to_host(token.marginals()))
    close(chain.entropy(), to_host(token.entropy()))
    forbidden = xp.asarray(np.where(np.eye(3) > 0, -np.inf, 0.0))
    outputs = LinearChain.from_token(token, forbidden).argmax()
    assert all((np.diff(output) != 0).all() for output in outputs)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 6), max_size=6),
    st.integers(1, 6),
    st.sampled_from(["float32", "float64"]),
    st.sampled_from([0.0, 0.5, 0.9]),
)
def test_shapes_and_dtypes(lengths, n_labels, dtype, forbidden):
    potentials = make(np.random.default_rng(1), lengths, n_labels, forbidden)
    chain = chain_of(np, potentials, lengths, dtype)
    assert isinstance(chain, Structure)
    outputs, n_tokens = chain.argmax(), sum(lengths)
    assert [len(output) for output in outputs] == lengths
    for values in (
        chain.log_partition(),
        chain.entropy(),
        chain.log_prob(outputs),
        chain.score(outputs),
        chain.expected_pairs(np.zeros((n_labels, n_labels))),
    ):
        assert values.shape == (len(lengths),) and values.dtype == dtype
        assert np.isfinite(values).all()
    for parts in (
        chain.marginals(),
        chain.parts_of(outputs),
        chain.marginals([1.0] * len(lengths)),
    ):
        assert all(part.dtype == dtype for part in astuple(parts))
        assert parts.tokens.shape == (n_tokens, n_labels)
        assert parts.pairs.shape == (n_labels, n_labels)
        assert parts.starts.shape == parts.ends.shape == (n_labels,)
        assert parts.pairs.sum() == pytest.approx(sum(n - 1 for n in lengths if n), abs=1e-4)
    assert chain.pair_marginals().shape == (n_tokens, n_labels, n_labels)
    for found, output in zip(chain.topk(2), outputs):
        assert found[0][0] == output.tolist()


def test_arrays_in_any_memory_order(rng):
    """Potentials that are views, transposed or not contiguous, give the same."""
    emissions, transitions, start, end = make(rng)
    chain = chain_of(np, (emissions, transitions, start, end))
    doubled = np.repeat(start, 2)
    view = LinearChain(
        np.asfortranarray(emissions), transitions.T.copy().T, doubled[::2], end, LENGTHS
    )
    outputs = chain.argmax()
    assert [y.tolist() for y in view.argmax()] == [y.tolist() for y in outputs]
    close(view.log_prob(outputs), chain.log_prob(outputs))
    for found, expected in zip(
        (*astuple(view.marginals()), *astuple(view.parts_of(outputs))),
        (*astuple(chain.marginals()), *astuple(chain.parts_of(outputs))),
    ):
        close(found, expected)


def test_float16_is_computed_in_float32(rng):
    emissions, *shared = make(rng)
    chain = LinearChain(emissions.astype("float16"), *shared, LENGTHS)
    assert chain.log_partition().dtype == chain.transitions.dtype == np.float32


def test_a_sentence_without_tokens_has_one_output():
    empty = LinearChain(np.zeros((0, 2)), np.zeros((2, 2)), np.zeros(2), np.zeros(2), [0])
    assert empty.topk(3) == [[([], 0.0)]]
    assert empty.argmax()[0].tolist() == []
    assert empty.log_partition().tolist() == empty.entropy().tolist() == [0.0]
    assert empty.marginals().pairs.sum() == empty.marginals().starts.sum() == 0.0


@pytest.mark.parametrize("n_labels", [1, 2, 3, 6])
@pytest.mark.parametrize("forbidden", [0.0, 0.3, 0.7, 0.9])
def test_argmax_of_any_mask_is_that_of_plain_viterbi(xp, n_labels, forbidden):
    """Masks of every density put labels among those with few predecessors, many, or none."""
    for seed in range(10):
        rng = np.random.default_rng(seed)
        lengths = rng.integers(0, 40, size=8)
        potentials = make(rng, lengths, n_labels, forbidden)
        outputs = chain_of(xp, potentials, lengths).argmax()
        bounds = np.cumsum([0, *lengths])
        for output, low, high in zip(outputs, bounds, bounds[1:]):
            assert output.tolist() == plain_viterbi(potentials[0][low:high], *potentials[1:])


@pytest.mark.parametrize("n_types", [1, 4, 12])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_argmax_of_biluo_is_that_of_plain_viterbi(n_types, dtype):
    labels = biluo_labels(f"X{i}" for i in range(n_types))
    rng = np.random.default_rng(n_types)
    lengths = np.append(rng.integers(0, 60, size=70), 300)
    emissions, *shared = make(rng, lengths, len(labels))
    for potential, legal in zip(shared, legal_moves(labels)):
        potential += as_potentials(legal)
    potentials = [p.astype(dtype).astype(float) for p in (emissions, *shared)]
    outputs = chain_of(np, potentials, lengths, dtype).argmax()
    bounds = np.cumsum([0, *lengths])
    for output, low, high in zip(outputs, bounds, bounds[1:]):
        assert output.tolist() == plain_viterbi(potentials[0][low:high], *potentials[1:])


@pytest.mark.parametrize("labels", [biluo_labels("ABC"), [str(n) for n in range(70)]])
@pytest.mark.parametrize("n_ties", [0, 2])
def test_argmax_of_a_sentence_alone_is_that_in_a_batch(rng, labels, n_ties):
    """By the very same sums, in the same order: also of equally good outputs."""
    lengths = [1, 0, 40, 2, 19]
    potentials = make(rng, lengths, len(labels))
    if len(labels) == 13:
        for potential, legal in zip(potentials[1:], legal_moves(labels)):
            potential += as_potentials(legal)
    if n_ties:
        potentials = [potential.round() / n_ties for potential in potentials]
    batch = chain_of(np, potentials, lengths, "float32")
    for number, output in enumerate(batch.argmax()):
        assert batch.select([number]).argmax()[0].tolist() == output.tolist()


def plain_viterbi(emissions, transitions, start, end):
    if not len(emissions):
        return []
    score, back = emissions[0] + start, []
    for emission in emissions[1:]:
        ways = score[:, None] + transitions
        back.append(ways.argmax(axis=0))
        score = ways.max(axis=0) + emission
    path = [int((score + end).argmax())]
    for pointers in reversed(back):
        path.append(int(pointers[path[-1]]))
    return path[::-1]


@pytest.mark.parametrize("method", METHODS)
def test_no_legal_path_names_the_sentence(xp, rng, method):
    emissions, transitions, start, end = make(rng)
    transitions[:, 2] = -np.inf
    emissions[7, :2] = -np.inf
    with pytest.raises(SentenceError, match=r"Sentence 3 .*5 tokens.* no legal") as caught:
        getattr(chain_of(xp, (emissions, transitions, start, end)), method)()
    assert caught.value.sentence == 3


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("potential", [0, 1, 2, 3])
def test_all_forbidden_names_the_first_sentence_it_concerns(rng, method, potential):
    potentials = make(rng)
    potentials[potential][:] = -np.inf
    with pytest.raises(SentenceError, match="no legal") as caught:
        getattr(chain_of(np, potentials), method)()
    assert caught.value.sentence == 0
    with pytest.raises(SentenceError, match="no legal"):
        chain_of(np, potentials).topk(2)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_score_that_is_no_number(rng, value):
    for number in range(4):
        potentials = make(rng)
        potentials[number][-1] = value
        with pytest.raises(ValueError, match=r"Sentence 4 of the batch|NaN or"):
            chain_of(np, potentials)


@pytest.mark.parametrize(
    "shapes, message",
    [
        ([(4, 2), (2, 2), (2,), (2,)], "sum to the number of tokens"),
        ([(3, 2), (2, 3), (2,), (2,)], "transitions .*shape"),
        ([(3, 2), (2, 2), (3,), (2,)], "start .*shape"),
        ([(3, 2), (2, 2), (2,), (2, 1)], "end .*shape"),
        ([(3,), (2, 2), (2,), (2,)], "emissions .*shape"),
    ],
)
def test_arguments_that_do_not_fit(shapes, message):
    with pytest.raises(ValueError, match=message):
        LinearChain(*map(np.zeros, shapes), [2, 1])


def test_results_can_be_changed_in_place(rng):
    chain = chain_of(np, make(rng))
    before = [part.copy() for part in (chain.log_partition(), *astuple(chain.marginals()))]
    for part in (chain.log_partition(), *astuple(chain.marginals())):
        part -= 1.0
    for old, new in zip(before, (chain.log_partition(), *astuple(chain.marginals()))):
        assert (old == new).all()


def test_other_arguments_that_do_not_fit(rng):
    chain = chain_of(np, make(rng))
    with pytest.raises(ValueError, match="one weight for each of the 5 sentences"):
        chain.marginals(np.ones(3))
    with pytest.raises(ValueError, match="table should have the shape"):
        chain.expected_pairs(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="same sentences and labels"):
        chain.expected_score(chain.select([0]))
    with pytest.raises(ValueError, match="k should be"):
        chain.topk(0)
