"""Chains in float32: long sentences, extreme scores, and the guard that takes over."""

import numpy as np
import pytest

from spacy_skd.structures import biluo_labels, chain_scaled, legal_moves

from .chain_cases import chain_of, close, enumerate_all, make, underflowing


@pytest.mark.parametrize("lengths", [[2000], [2000, 3, 1, 400]])
@pytest.mark.parametrize("forbidden", [None, -1e4, -np.inf])
@pytest.mark.parametrize("scale", [1.0, 50.0])
def test_float32_on_long_sentences_and_extreme_scores(lengths, forbidden, scale):
    rng = np.random.default_rng(3)
    n_labels = 9
    emissions = rng.uniform(-scale, scale, size=(sum(lengths), n_labels))
    transitions = rng.uniform(-scale, scale, size=(n_labels, n_labels))
    start, end = rng.uniform(-scale, scale, size=(2, n_labels))
    if forbidden is not None:
        legal, legal_start, legal_end = legal_moves(biluo_labels(["A", "B"]))
        transitions[~legal], start[~legal_start], end[~legal_end] = (forbidden,) * 3
    potentials = [p.astype("float32") for p in (emissions, transitions, start, end)]
    single = chain_of(np, potentials, lengths, "float32")
    double = chain_of(np, potentials, lengths, "float64")
    np.testing.assert_allclose(single.log_partition(), double.log_partition(), rtol=1e-6)
    close(double.log_partition(), log_space_log_z(double), 1e-6)
    close(single.marginals().tokens, double.marginals().tokens, 1e-4)
    close(single.marginals().pairs, double.marginals().pairs, 1e-3 * sum(lengths) / 100)
    assert [y.tolist() for y in single.argmax()] == [y.tolist() for y in double.argmax()]


def log_space_log_z(chain):
    """log Z of every sentence by the textbook recursion."""
    values = []
    for emissions in np.split(chain.emissions, np.cumsum(chain.lengths)[:-1]):
        score = chain.start + emissions[0]
        for emission in emissions[1:]:
            score = np.logaddexp.reduce(score[:, None] + chain.transitions, axis=0) + emission
        values.append(np.logaddexp.reduce(score + chain.end))
    return values


@pytest.mark.parametrize("first", ["log_partition", "marginals"])
def test_the_guard_hands_over_what_leaves_the_range_of_float32(xp, rng, first):
    potentials = underflowing(rng)
    single = chain_of(xp, potentials, dtype="float32")
    getattr(single, first)()
    expected = enumerate_all(potentials)
    close(single.log_partition(), [e.log_z for e in expected], 1e-4)
    assert [part.sentences.tolist() for part in single._exact] == [[3]]
    weights = np.array([1.0, 1.0, 2.0, 3.0, 0.5])
    marginals = single.marginals(xp.asarray(weights))
    close(marginals.tokens, np.concatenate([e.tokens() for e in expected]), 1e-5)
    pairs = [e.pairs().sum(axis=0) for e in expected]
    close(marginals.pairs, sum(w * p for w, p in zip(weights, pairs)), 1e-4)
    close(single.marginals().pairs, sum(pairs), 1e-4)
    close(single.pair_marginals(), np.concatenate([e.pairs() for e in expected]), 1e-5)
    close(single.entropy(), [e.entropy for e in expected], 1e-4)
    table = rng.normal(size=(2, 2))
    close(
        single.expected_pairs(xp.asarray(table)),
        [(e.pairs() * table).sum() for e in expected],
        1e-4,
    )
    for found, enumeration in zip(single.topk(2), expected):
        best = enumeration.best(2)
        assert [tuple(output) for output, _ in found] == [output for _, output in best]
        close([log_prob for _, log_prob in found], [log_prob for log_prob, _ in best], 1e-4)


def test_ordinary_scores_never_need_the_guard(rng):
    chain = chain_of(np, make(rng, [50] * 40, 9, scale=5), [50] * 40, "float32")
    chain.marginals()
    assert chain._exact == []


def test_rounding_errors_of_a_very_long_sentence_do_not_need_the_guard(rng, monkeypatch):
    """They add up along it: with the labels of trained models to more than the sums may be off by,
    which is here as little as what these add up to."""
    monkeypatch.setitem(chain_scaled.SUM_TOLERANCE, "f", 1e-6)
    lengths = [20_000, 30]
    potentials = make(rng, lengths, 40, scale=2)
    single = chain_of(np, potentials, lengths, "float32")
    double = chain_of(np, potentials, lengths, "float64")
    found, expected = single.marginals(), double.marginals()
    assert single._exact == []
    np.testing.assert_allclose(found.tokens.sum(axis=1), 1, atol=1.1e-6)
    close(found.tokens, expected.tokens, 1e-4)
    close(single.pair_marginals(), double.pair_marginals(), 1e-4)
    close(single.entropy() / lengths, double.entropy() / lengths, 1e-4)
    close(single.log_partition() / lengths, double.log_partition() / lengths, 1e-4)
