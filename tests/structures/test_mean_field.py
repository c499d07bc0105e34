"""Second-order heads: against sums over all triples of words, and gradients by differences."""

import tracemalloc

import numpy as np
import pytest

from spacy_skd.structures import DenseRelations, Factor, HeadSelection, MeanField
from spacy_skd.structures.base import to_host
from spacy_skd.structures.rectangles import rectangles

from .arc_brute_force import random_arcs, without_own

LENGTHS = [3, 0, 1, 4, 2, 4, 9]
RANK = 3
KINDS = {"siblings": ["siblings"], "grandparents": ["grandparents"], "both": None, "neither": []}


def factors_of(rng, lengths, kinds=None, scale=0.7):
    """Random factors of a batch."""
    n_tokens, n_rows = sum(lengths), sum(lengths) + len(lengths)
    return {
        kind: Factor(
            *(rng.normal(size=(n, RANK), scale=scale) for n in (n_rows, n_tokens, n_tokens))
        )
        for kind in (["siblings", "grandparents"] if kinds is None else kinds)
    }


def of_sentence(factors, sentence, lengths):
    """One sentence's own factors."""
    first = sum(lengths[:sentence])
    tokens = slice(first, first + lengths[sentence])
    heads = slice(first + sentence, first + sentence + lengths[sentence] + 1)
    return {
        kind: Factor(factor.heads[heads], factor.middles[tokens], factor.lasts[tokens])
        for kind, factor in factors.items()
    }


def softmax(logits):
    values = np.exp(logits - logits.max(axis=1, keepdims=True))
    return values / values.sum(axis=1, keepdims=True)


def triples(factor):
    """The scores of all triples, (n + 1, n + 1, n + 1), by head number; none has the root as its
    second or third word."""
    U, V, W = factor
    scores = np.full((len(U),) * 3, np.nan)
    scores[:, 1:, 1:] = np.einsum("ar,br,cr->abc", U, V, W)
    return scores


def final_scores(arcs, iterations=3, siblings=None, grandparents=None):
    """What mean field makes of one sentence, arc by arc as in docs/math.md §2.5."""
    n = len(arcs)
    arcs = without_own(arcs)
    s_sib = None if siblings is None else triples(siblings)
    s_gp = None if grandparents is None else triples(grandparents)
    logits = arcs
    for _ in range(iterations):
        by_number = softmax(logits)

        def Q(head, dependent, by_number=by_number):
            return by_number[dependent - 1, head] if dependent else 0.0

        F = np.zeros_like(arcs)
        for j in range(1, n + 1):
            for i in range(n + 1):
                for k in range(n + 1):
                    if i == j or k in (i, j):
                        continue
                    if s_sib is not None and k:
                        F[j - 1, i] += Q(i, k) * s_sib[i, j, k]
                    if s_gp is not None and k:
                        F[j - 1, i] += Q(j, k) * s_gp[i, j, k]
                    if s_gp is not None and i:
                        F[j - 1, i] += Q(k, i) * s_gp[k, i, j]
        logits = arcs + F
    return logits


def put(xp, factors, dtype="float64"):
    return {
        kind: Factor(*(xp.asarray(array, dtype=dtype) for array in factor))
        for kind, factor in factors.items()
    }


@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize("iterations", [0, 1, 3])
@pytest.mark.parametrize("forbidden", [0.0, 0.4])
def test_against_sums_over_triples(xp, rng, kinds, iterations, forbidden):
    arcs = random_arcs(rng, LENGTHS, forbidden)
    factors = factors_of(rng, LENGTHS, KINDS[kinds])
    field = MeanField(
        [xp.asarray(block) for block in arcs], iterations=iterations, **put(xp, factors)
    )
    for sentence, (block, scores, found) in enumerate(zip(arcs, field.arcs, field.marginals())):
        expected = final_scores(block, iterations, **of_sentence(factors, sentence, LENGTHS))
        np.testing.assert_allclose(to_host(scores), expected, rtol=0, atol=1e-9)
        if len(block):
            np.testing.assert_allclose(to_host(found), softmax(expected), rtol=0, atol=1e-9)
    if kinds != "neither" and iterations:
        possible = field.scores > -np.inf
        assert abs(field.scores[possible] - field.first_order.scores[possible]).max() > 0.1


@pytest.mark.parametrize("kinds", ["siblings", "grandparents", "both", "neither"])
@pytest.mark.parametrize("forbidden", [0.0, 0.4])
def test_gradients(rng, kinds, forbidden):
    """Of a random function of the final scores: first-order scores and every factor."""
    lengths = [3, 0, 1, 4, 2]
    scores = HeadSelection(random_arcs(rng, lengths, forbidden)).scores
    factors = factors_of(rng, lengths, KINDS[kinds])
    possible = scores > -np.inf
    weights = np.where(possible, rng.normal(size=scores.shape), np.nan)

    def total():
        found = MeanField(scores, lengths=lengths, **factors).scores
        return (found[possible] * weights[possible]).sum()

    found = MeanField(scores, lengths=lengths, **factors).backprop(weights)
    checked = [(scores, found.arcs, np.flatnonzero(possible))]
    assert not found.arcs[~possible].any()
    for kind, factor in factors.items():
        for array, gradient in zip(factor, getattr(found, kind)):
            checked.append((array, gradient, range(array.size)))
    assert {kind for kind in ("siblings", "grandparents") if getattr(found, kind)} == set(factors)
    for array, gradient, cells in checked:
        assert gradient.shape == array.shape
        for cell in cells:
            before = array.flat[cell]
            array.flat[cell] = before + 1e-5
            above = total()
            array.flat[cell] = before - 1e-5
            below = total()
            array.flat[cell] = before
            assert gradient.flat[cell] == pytest.approx((above - below) / 2e-5, abs=1e-6)


def test_cross_entropy_has_the_gradient_of_its_definition(rng):
    """The loss that is trained, log Z - ⟨μ, s⟩ over the final scores, through `backprop`."""
    lengths = [4, 2]
    scores = HeadSelection(random_arcs(rng, lengths)).scores
    factors = factors_of(rng, lengths)
    target = HeadSelection(random_arcs(rng, lengths)).flat_marginals()
    possible = scores > -np.inf

    def loss():
        field = MeanField(scores, lengths=lengths, **factors)
        return field.log_partition().sum() - (target[possible] * field.scores[possible]).sum()

    field = MeanField(scores, lengths=lengths, **factors)
    gradient = field.backprop(field.flat_marginals() - target).arcs
    for cell in np.flatnonzero(possible):
        before = scores[cell]
        scores[cell] = before + 1e-5
        above = loss()
        scores[cell] = before - 1e-5
        below = loss()
        scores[cell] = before
        assert gradient[cell] == pytest.approx((above - below) / 2e-5, abs=1e-6)


def test_a_batch_is_its_sentences(xp, rng):
    lengths = [4, 7, 1, 0, 30, 7, 29]
    arcs, factors = random_arcs(rng, lengths, 0.2), factors_of(rng, lengths)
    together = MeanField([xp.asarray(block) for block in arcs], **put(xp, factors))
    assert len(rectangles(together.layout)) < 5  # sentences are padded
    weights = rng.normal(size=together.scores.shape)
    gradients = together.backprop(xp.asarray(weights))
    for sentence, block in enumerate(arcs):
        own = of_sentence(factors, sentence, lengths)
        alone = MeanField([xp.asarray(block)], **put(xp, own))
        np.testing.assert_allclose(
            to_host(alone.scores), to_host(together.arcs[sentence]).ravel(), rtol=0, atol=1e-9
        )
        bounds = together.arc_offsets[sentence : sentence + 2]
        d_alone = alone.backprop(xp.asarray(weights[slice(*bounds)]))
        np.testing.assert_allclose(
            to_host(d_alone.arcs), to_host(gradients.arcs[slice(*bounds)]), rtol=0, atol=1e-9
        )
        d_own = of_sentence(
            {"siblings": gradients.siblings, "grandparents": gradients.grandparents},
            sentence,
            lengths,
        )
        for kind, factor in d_own.items():
            for found, expected in zip(getattr(d_alone, kind), factor):
                np.testing.assert_allclose(to_host(found), to_host(expected), rtol=0, atol=1e-9)


def test_what_is_made_of_it_starts_from_the_final_scores(rng):
    arcs, relations = random_arcs(rng, LENGTHS), [rng.normal(size=(n, n + 1, 2)) for n in LENGTHS]
    field = MeanField(
        arcs,
        relations=DenseRelations(relations),
        labels=("nsubj", "obj"),
        **factors_of(rng, LENGTHS),
    )
    assert field.labels == ("nsubj", "obj") and field.n_labels == 2
    some = field.select([6, 0])
    assert type(some) is HeadSelection and some.labels == field.labels
    for found, sentence in zip(some.arcs, (6, 0)):
        np.testing.assert_array_equal(found, field.arcs[sentence])
    tokens, heads = np.array([0, 2]), np.array([2, 0])
    expected = field.relation_log_probs(tokens, heads)
    assert some.relation_log_probs(tokens + 9, heads).tolist() == expected.tolist()
    assert field.log_prob(field.argmax()) == pytest.approx(
        field.restrict(field.flat_parts_of(field.argmax()) > 0).log_partition()
        - field.log_partition()
    )


def test_zero_factors_change_nothing(rng):
    arcs = random_arcs(rng, LENGTHS, 0.3)
    factors = factors_of(rng, LENGTHS)
    for factor in factors.values():
        factor.heads[:] = 0
    field = MeanField(arcs, **factors)
    np.testing.assert_array_equal(field.scores, HeadSelection(arcs).scores)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_scores_and_long_sentences(rng, dtype):
    arcs = [block.astype(dtype) for block in random_arcs(rng, [200, 2], scale=50)]
    factors = put(np, factors_of(rng, [200, 2], scale=2.0), dtype)
    field = MeanField(arcs, **factors)
    marginals = field.flat_marginals()
    assert field.scores.dtype == marginals.dtype == dtype
    sums = field.layout.row_sum(marginals)
    np.testing.assert_allclose(sums, 1, atol=1e-5)
    gradients = field.backprop(marginals)
    assert gradients.arcs.dtype == gradients.siblings.heads.dtype == dtype
    assert all(np.isfinite(array).all() for array in (gradients.arcs, *gradients.grandparents))


def test_nothing_has_as_many_numbers_as_triples(rng):
    """Forward and backward: far less memory than an array (n, n, n) of float32 would take."""
    n_tokens = 200
    arcs = [block.astype("float32") for block in random_arcs(rng, [n_tokens])]
    factors = put(np, factors_of(rng, [n_tokens]), "float32")
    tracemalloc.start()
    field = MeanField(arcs, **factors)
    field.backprop(field.flat_marginals())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < n_tokens**3 * 4 / 4


@pytest.mark.parametrize("lengths", [[], [0], [0, 0]])
def test_no_tokens(rng, lengths):
    field = MeanField(np.zeros(0), lengths=lengths, **factors_of(rng, lengths))
    assert field.log_partition().tolist() == [0] * len(lengths)
    gradients = field.backprop(np.zeros(0))
    assert gradients.arcs.shape == (0,) and gradients.siblings.heads.shape == (len(lengths), RANK)


def test_a_token_without_a_head(rng):
    arcs = random_arcs(rng, [2, 3])
    arcs[1][1] = -np.inf
    with pytest.raises(
        ValueError, match=r"Sentence 1 .* no possible head for its token 1 \(of 3\)"
    ):
        MeanField(arcs, **factors_of(rng, [2, 3])).log_partition()


def test_wrong_arguments(rng):
    arcs, factors = random_arcs(rng, [2, 3]), factors_of(rng, [2, 3])
    with pytest.raises(ValueError, match="at least 0 iterations, not -1"):
        MeanField(arcs, iterations=-1)
    short = factors["siblings"]._replace(heads=factors["siblings"].middles)
    with pytest.raises(ValueError, match=r"heads of siblings .* \(7, 3\), but they have \(5, 3\)"):
        MeanField(arcs, siblings=short)
