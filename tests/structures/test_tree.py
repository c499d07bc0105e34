import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_skd.structures import (
    DenseRelations,
    HeadSelection,
    SentenceError,
    SpanningTree,
    Structure,
    arc_weights,
)
from spacy_skd.structures.arborescence import is_tree
from spacy_skd.structures.base import to_host

from .arc_brute_force import assignments, random_arcs, scored, without_own
from .trees import all_trees

LENGTHS = [3, 0, 1, 4, 2]
NAMES = ("nsubj", "obj", "det")
KINDS = pytest.mark.parametrize("projective", [False, True], ids=["all", "projective"])
CASES = pytest.mark.parametrize(
    "seed, lengths, forbidden",
    [(0, LENGTHS, 0.0), (1, LENGTHS, 0.3), (2, [3, 3], 0.3), (3, [5], 0.4), (4, [5, 1, 0], 0.0)],
)


@pytest.fixture(params=["weights", "logarithms"])
def numbers(request, monkeypatch):
    """Sums by products of weights, and by logarithms, as if every sentence needed them."""
    if request.param == "logarithms":
        monkeypatch.setattr(arc_weights, "LEAST_LOG_PART", np.inf)


def trees_of(xp, arcs, projective, dtype="float64", **options):
    return SpanningTree([xp.asarray(block, dtype=dtype) for block in arcs], projective, **options)


def enumerate_all(arcs, projective):
    return [scored(all_trees(len(block), projective), without_own(block)) for block in arcs]


def possible_arcs(rng, lengths, forbidden, projective, scale=2.0):
    """Random scores of which every sentence has a tree."""
    found = []
    for n in lengths:
        while True:
            arcs = random_arcs(rng, [n], forbidden, scale)
            if enumerate_all(arcs, projective)[0].log_z > -np.inf:
                break
        found += arcs
    return found


def close(found, expected, tolerance=1e-9):
    np.testing.assert_allclose(to_host(found), expected, rtol=0, atol=tolerance)


@KINDS
@CASES
def test_against_enumeration(xp, numbers, seed, lengths, forbidden, projective):
    arcs = possible_arcs(np.random.default_rng(seed), lengths, forbidden, projective)
    trees, expected = trees_of(xp, arcs, projective), enumerate_all(arcs, projective)
    close(trees.log_partition(), [e.log_z for e in expected])
    close(trees.entropy(), [e.entropy for e in expected])
    for found, enumeration in zip(trees.marginals(), expected):
        close(found, enumeration.tokens())
    close(trees.flat_marginals(), np.concatenate([e.tokens().ravel() for e in expected]))
    for output, enumeration in zip(trees.argmax(), expected):
        assert tuple(output) == enumeration.best(1)[0][1]
        assert output.dtype == np.int64


@KINDS
@CASES
@pytest.mark.parametrize("k", [1, 3, 1000])
def test_topk(xp, seed, lengths, forbidden, projective, k):
    arcs = possible_arcs(np.random.default_rng(seed), lengths, forbidden, projective)
    expected = enumerate_all(arcs, projective)
    for found, enumeration in zip(trees_of(xp, arcs, projective).topk(k), expected):
        best = enumeration.best(k)
        assert [tuple(output) for output, _ in found] == [output for _, output in best]
        close([log_prob for _, log_prob in found], [log_prob for log_prob, _ in best])


@KINDS
@CASES
def test_log_prob_of_all_assignments(xp, seed, lengths, forbidden, projective):
    """Trees have a probability; what is none, or not of the kind, has none."""
    arcs = possible_arcs(np.random.default_rng(seed), lengths, forbidden, projective)
    for block, enumeration in zip(arcs, enumerate_all(arcs, projective)):
        outputs = assignments(len(block))[:2000]
        trees = trees_of(xp, [block] * len(outputs), projective)
        known = dict(zip(enumeration.outputs, enumeration.log_probs))
        expected = np.array([known.get(output, -np.inf) for output in outputs])
        found = to_host(trees.log_prob(outputs))
        assert (np.isneginf(found) == np.isneginf(expected)).all()
        possible = expected > -np.inf
        close(found[possible], expected[possible])


def test_score_and_parts(xp, rng):
    arcs = random_arcs(rng, LENGTHS)
    trees, outputs = trees_of(xp, arcs, False), [[2, 3, 0], [], [0], [2, 1, 4, 3], [2, 0]]
    expected = [
        sum(block[token, head] for token, head in enumerate(output))
        for block, output in zip(arcs, outputs)
    ]
    close(trees.score(outputs), expected)
    for parts, output in zip(trees.parts_of(outputs), outputs):
        assert to_host(parts).tolist() == np.eye(len(output) + 1)[output].tolist()


@KINDS
def test_marginals_are_the_gradient_of_log_z(rng, numbers, projective):
    trees = trees_of(np, random_arcs(rng, [4, 0, 1, 5, 2]), projective)
    gradient = trees.flat_marginals()
    for cell in np.flatnonzero(trees.scores > -np.inf):
        shift = np.zeros_like(trees.scores)
        shift[cell] = 1e-5
        above, below = (
            trees.with_scores(trees.scores + sign * shift).log_partition() for sign in (1, -1)
        )
        close((above - below).sum() / 2e-5, gradient[cell], 1e-6)


@KINDS
def test_a_batch_is_its_sentences(xp, rng, projective):
    arcs = random_arcs(rng, [4, 7, 1, 30, 0, 7, 29, 12, 18, 41, 2, 7], 0.1)
    together = trees_of(xp, arcs, projective)
    for number, block in enumerate(arcs):
        alone = trees_of(xp, [block], projective)
        for method in ("log_partition", "entropy", "argmax", "marginals", "topk"):
            arguments = [3] if method == "topk" else []
            one = getattr(alone, method)(*arguments)[0]
            other = getattr(together, method)(*arguments)[number]
            if method == "topk":
                assert [output for output, _ in one] == [output for output, _ in other]
            else:
                close(one, to_host(other), 1e-11)


@KINDS
@pytest.mark.parametrize("n_tokens", [1, 2, 7, 50, 200])
def test_all_trees_are_alike(n_tokens, projective, numbers):
    """There are n^(n-1) trees with one root, C(3n - 2, n - 1) / n of them projective."""
    trees = trees_of(np, [np.zeros((n_tokens, n_tokens + 1))], projective)
    n_trees = n_tokens ** (n_tokens - 1)
    if projective:
        n_trees = math.comb(3 * n_tokens - 2, n_tokens - 1) // n_tokens
    expected = math.log(n_trees)
    np.testing.assert_allclose(trees.log_partition(), [expected], rtol=1e-12)
    np.testing.assert_allclose(trees.entropy(), [expected], rtol=1e-12)
    close(trees.marginals()[0].sum(axis=1), np.ones(n_tokens))
    close(trees.marginals()[0][:, 0].sum(), 1)


@KINDS
def test_restrict(xp, rng, numbers, projective):
    arcs = random_arcs(rng, LENGTHS)
    allowed = [rng.random(block.shape) < 0.6 for block in arcs]
    for block in allowed:
        block[np.arange(len(block)), np.arange(len(block))] = True  # a chain from the first token
    restricted = trees_of(xp, arcs, projective).restrict(
        np.concatenate([block.ravel() for block in allowed])
    )
    expected = enumerate_all(
        [np.where(keep, block, -np.inf) for keep, block in zip(allowed, arcs)], projective
    )
    close(restricted.log_partition(), [e.log_z for e in expected])
    for found, enumeration in zip(restricted.marginals(), expected):
        close(found, enumeration.tokens())


@KINDS
def test_restricted_to_one_tree(xp, rng, numbers, projective):
    """Where every head is known, nothing else is possible; the root may be any token."""
    arcs = random_arcs(rng, [5] * 12 + [25] * 3)
    trees = trees_of(xp, arcs, projective)
    outputs = [list(heads) for heads in all_trees(5, True)[::13]] + [
        list(range(25)),
        [*range(2, 26), 0],
        [13] * 12 + [0] + [13] * 12,
    ]
    outputs = (outputs[:-3] * 2)[:12] + outputs[-3:]
    one = trees.restrict(trees.flat_parts_of(outputs) > 0)
    close(one.log_partition(), to_host(trees.score(outputs)))
    close(one.entropy(), np.zeros(15))
    close(one.flat_marginals(), to_host(trees.flat_parts_of(outputs)))
    assert [output.tolist() for output in one.argmax()] == outputs
    assert [[heads for heads, _ in found] for found in one.topk(2)] == [[o] for o in outputs]
    assert [len(found) for found in one.topk(5)] == [1] * 15


@KINDS
def test_known_heads_of_some_tokens(xp, rng, numbers, projective):
    """log Z given known arcs is that of the trees which have them."""
    arcs = random_arcs(rng, [5, 5, 5])
    known = [{0: 2}, {1: 0, 3: 5}, {0: 3, 2: 0, 4: 4}]
    allowed = [np.ones(block.shape, dtype=bool) for block in arcs]
    for block, heads in zip(allowed, known):
        for token, head in heads.items():
            block[token] = np.arange(6) == head
    flat = np.concatenate([block.ravel() for block in allowed])
    found = trees_of(xp, arcs, projective).restrict(flat).log_partition()
    for log_z, block, heads in zip(to_host(found), arcs, known):
        agreeing = [
            output
            for output in all_trees(5, projective)
            if all(output[token] == head for token, head in heads.items())
        ]
        close(log_z, scored(agreeing, without_own(block)).log_z)


@KINDS
def test_select_keeps_the_kind_and_relations(xp, rng, projective):
    arcs, chosen = random_arcs(rng, LENGTHS), [3, 1, 0, 3]
    relations = DenseRelations([xp.asarray(rng.normal(size=(n, n + 1, 3))) for n in LENGTHS])
    trees = trees_of(xp, arcs, projective, relations=relations, labels=NAMES)
    some = trees.select(chosen)
    close(some.log_partition(), to_host(trees.log_partition())[chosen])
    assert some.lengths.tolist() == [4, 0, 3, 4] and some.labels == NAMES
    assert some.projective == projective and isinstance(some, SpanningTree)
    other = trees.with_scores(trees.scores / 2)
    assert other.projective == projective and other.relations is relations
    expected = enumerate_all([block / 2 for block in arcs], projective)
    close(other.log_partition(), [e.log_z for e in expected])
    none = trees.select([])
    assert none.log_partition().shape == (0,) and none.n_labels == 3


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 6), max_size=6),
    st.sampled_from(["float16", "float32", "float64", "int32"]),
    st.booleans(),
)
def test_shapes_and_dtypes(lengths, dtype, projective):
    rng = np.random.default_rng(1)
    arcs = [rng.normal(size=(n, n + 1), scale=3).astype(dtype) for n in lengths]
    wanted = {"float16": "float32", "int32": "float64"}.get(dtype, dtype)
    flat = np.concatenate([np.zeros(0, dtype), *(block.ravel() for block in arcs)])
    trees = SpanningTree(flat, projective, lengths=lengths)
    assert isinstance(trees, Structure)
    outputs = trees.argmax()
    assert [len(output) for output in outputs] == lengths
    assert is_tree(outputs).all()
    for values in (
        trees.log_partition(),
        trees.entropy(),
        trees.log_prob(outputs),
        trees.score(outputs),
    ):
        assert values.shape == (len(lengths),) and values.dtype == wanted
    for parts in (trees.marginals(), trees.parts_of(outputs)):
        assert [part.shape for part in parts] == [(n, n + 1) for n in lengths]
        assert all(part.dtype == wanted for part in parts)
    for found, output in zip(trees.topk(2), outputs):
        assert found[0][0] == output.tolist()


@KINDS
@pytest.mark.parametrize("scale", [1.0, 50.0])
def test_float32_is_close_to_float64(rng, scale, projective):
    arcs = [rng.uniform(-scale, scale, size=(n, n + 1)) for n in (90, 25, 1)]
    arcs = [block.astype("float32") for block in arcs]
    single, double = (trees_of(np, arcs, projective, dtype) for dtype in ("float32", "float64"))
    close(single.flat_marginals(), double.flat_marginals(), 1e-6)
    np.testing.assert_allclose(single.log_partition(), double.log_partition(), rtol=1e-6)
    np.testing.assert_allclose(single.entropy(), double.entropy(), rtol=1e-5, atol=1e-6)
    for one, other in zip(single.argmax(), double.argmax()):
        assert one.tolist() == other.tolist()


@KINDS
def test_the_longest_sentences_with_large_scores(rng, projective):
    """200 tokens with scores of -50 to 50, the k best among them."""
    arcs = [rng.uniform(-50, 50, size=(200, 201)).astype("float32")]
    single, double = (trees_of(np, arcs, projective, dtype) for dtype in ("float32", "float64"))
    marginals = double.marginals()[0]
    close(marginals.sum(axis=1), np.ones(200))
    close(marginals[:, 0].sum(), 1)
    close(single.flat_marginals(), double.flat_marginals(), 1e-6)
    np.testing.assert_allclose(single.log_partition(), double.log_partition(), rtol=1e-6)
    best, other = double.topk(3)[0], single.topk(3)[0]
    assert [heads for heads, _ in best] == [heads for heads, _ in other]
    assert best[0][0] == double.argmax()[0].tolist()
    outputs = [np.asarray(heads) for heads, _ in best]
    assert is_tree(outputs).all() and len({tuple(heads) for heads, _ in best}) == 3
    log_probs = [double.log_prob([output])[0] for output in outputs]
    close([log_prob for _, log_prob in best], log_probs, 1e-8)
    assert log_probs == sorted(log_probs, reverse=True)


@KINDS
def test_results_are_copies(rng, projective):
    trees = trees_of(np, random_arcs(rng, LENGTHS), projective)
    trees.flat_marginals()[:] = 0
    trees.log_partition()[:] = 0
    close(sum(block.sum() for block in trees.marginals()), 10)
    assert trees.log_partition().any()


def test_several_roots_are_for_trees_that_need_not_be_projective(rng):
    arcs = random_arcs(rng, LENGTHS)
    expected = HeadSelection(arcs).argmax(single_root=False)
    for found, heads in zip(SpanningTree(arcs).argmax(single_root=False), expected):
        assert found.tolist() == heads.tolist()
    with pytest.raises(ValueError, match="has one root"):
        SpanningTree(arcs, projective=True).argmax(single_root=False)


def forbid(n_tokens, *arcs):
    """Zeros, and -inf at (token, head)."""
    block = np.zeros((n_tokens, n_tokens + 1))
    for arc in arcs:
        block[arc] = -np.inf
    return block


def only(n_tokens, **heads):
    """Zeros, but a token t0, t1, ... can have only the given head."""
    block = np.zeros((n_tokens, n_tokens + 1))
    for name, head in heads.items():
        block[int(name[1:]), np.arange(n_tokens + 1) != head] = -np.inf
    return block


IMPOSSIBLE = {
    "no root": forbid(3, *((token, 0) for token in range(3))),
    "two roots": only(4, t0=0, t2=0),
    "a cycle": only(4, t1=4, t3=2),
    "a cycle that only two roots open": only(5, t0=0, t1=4, t3=2),
}


@KINDS
@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_a_sentence_without_a_tree_is_named(xp, rng, case, projective):
    arcs = random_arcs(rng, [3, 7, 4, 0, 4])
    arcs.insert(4, IMPOSSIBLE[case])
    trees = trees_of(xp, arcs, projective)
    for method in ("log_partition", "marginals", "entropy", "argmax", "topk"):
        with pytest.raises(SentenceError, match=r"Sentence 4 .* no possible .*tree") as error:
            getattr(trees, method)(*([2] if method == "topk" else []))
        assert error.value.sentence == 4


def test_a_sentence_whose_trees_all_cross_is_named(xp):
    arcs = [np.zeros((2, 3)), only(4, t0=3, t1=4, t2=0)]
    close(trees_of(xp, arcs, False).log_partition()[1], np.log(2))
    for method in ("log_partition", "marginals", "argmax"):
        with pytest.raises(SentenceError, match=r"1 .* no possible projective dependency tree"):
            getattr(trees_of(xp, arcs, True), method)()


def test_a_token_without_heads_is_named(rng):
    arcs = random_arcs(rng, LENGTHS)
    arcs[4][1, [0, 1]] = -np.inf
    trees = SpanningTree(arcs)
    for method in ("log_partition", "marginals", "entropy", "greedy", "argmax"):
        with pytest.raises(SentenceError, match=r"4 .* no possible head for its token 1 .of 2."):
            getattr(trees, method)()


@pytest.mark.parametrize(
    "outputs, message",
    [
        ([[0, 1], [0], [0]], "2 sentences, but 3 outputs"),
        ([[0, 3], [0]], "has the head number 3 at its token 1 .of 2."),
        ([[0, 2], [0]], "has the head number 2 at its token 1 .* not the token itself"),
        (np.array([0, 1]), "3 tokens, but 2 heads"),
    ],
)
def test_wrong_outputs(outputs, message):
    trees = SpanningTree([np.zeros((2, 3)), np.zeros((1, 2))])
    for method in (trees.log_prob, trees.parts_of):
        with pytest.raises(ValueError, match=message):
            method(outputs)


def test_wrong_k(rng):
    with pytest.raises(ValueError, match="at least 1"):
        SpanningTree(random_arcs(rng, [3])).topk(0)
