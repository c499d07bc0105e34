import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_skd.structures import HeadSelection, SentenceError, is_tree, maximum_arborescence
from spacy_skd.structures.arborescence import is_one_tree
from spacy_skd.structures.base import to_host

from . import arc_brute_force
from .arc_brute_force import assignments, random_arcs, scored, trees, without_own

ROOTS = pytest.mark.parametrize("single_root", [True, False])


def value(heads, arcs):
    return float(np.asarray(arcs, "f8")[np.arange(len(arcs)), heads].sum())


def check(arcs, single_root):
    """Whether there is a tree; what is found must then be one of the best."""
    expected = scored(trees(len(arcs), single_root), arcs).scores.max()
    if expected == -np.inf:
        with pytest.raises(ValueError, match="There is no possible dependency tree"):
            maximum_arborescence(arcs, single_root)
        return False
    heads = maximum_arborescence(arcs, single_root)
    assert arc_brute_force.is_tree(heads.tolist(), single_root)
    assert value(heads, arcs) == pytest.approx(expected, abs=1e-9)
    return True


@ROOTS
@pytest.mark.parametrize("n_tokens", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("forbidden", [0.0, 0.3, 0.7])
def test_against_enumeration(single_root, n_tokens, forbidden):
    rng = np.random.default_rng(n_tokens)
    found = [
        check(random_arcs(rng, [n_tokens], forbidden)[0], single_root)
        for _ in range(60 if n_tokens < 5 else 25)
    ]
    assert forbidden > 0 or all(found)


@ROOTS
@pytest.mark.parametrize("bonus", [-50, -3, 3, 50])
def test_roots_that_are_cheap_or_dear(single_root, bonus, rng):
    """With dear roots there are cycles, with cheap ones too many roots."""
    for arcs in random_arcs(rng, [5] * 25 + [4] * 25):
        arcs[:, 0] += bonus
        check(arcs, single_root)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 4).flatmap(
        lambda n: st.lists(
            st.lists(
                st.sampled_from([-np.inf, -1e30, -1, 0, 1, 2]), min_size=n + 1, max_size=n + 1
            ),
            min_size=n,
            max_size=n,
        )
    ),
    st.booleans(),
)
def test_ties_forbidden_arcs_and_huge_penalties(arcs, single_root):
    check(np.array(arcs), single_root)


@pytest.mark.parametrize("low", [-1e9, -1e30, float(np.finfo("f4").min)])
def test_a_huge_penalty_costs_no_precision(low, rng):
    """Arcs barred by a large number instead of -inf: the others are told apart all the same."""
    for arcs in random_arcs(rng, [5] * 40):
        barred = rng.random(arcs.shape) < 0.2
        barred[:, 0] = False
        arcs[:, 0] += 3
        heads = maximum_arborescence(np.where(barred, low, arcs))
        assert heads.tolist() == maximum_arborescence(np.where(barred, -np.inf, arcs)).tolist()


@ROOTS
def test_a_batch_is_its_sentences(xp, single_root, rng):
    arcs = random_arcs(rng, [7, 0, 25, 1, 40, 7, 2], 0.2)
    for number in (2, 4):
        arcs[number][:, 0] += 8  # many roots
    batch = HeadSelection([xp.asarray(block) for block in arcs]).argmax(single_root)
    assert is_tree(batch, single_root=single_root).all()
    for heads, block in zip(batch, arcs):
        assert heads.dtype == np.int64
        assert heads.tolist() == maximum_arborescence(block, single_root).tolist()


def test_the_best_of_several_roots_may_be_none_of_the_greedy_ones():
    arcs = np.array([[3.0, 0, 0, 0], [3.0, 0, 0, -9], [2.9, -9, 0, 0]])
    arcs[0, 3], arcs[1, 3], arcs[0, 2], arcs[1, 1] = 2.95, 2.95, -9, -9
    assert maximum_arborescence(arcs).tolist() == [3, 3, 0]
    assert maximum_arborescence(arcs, single_root=False).tolist() == [0, 0, 0]


@ROOTS
@pytest.mark.parametrize("kind", ["random", "roots", "nested cycles", "long cycle", "float32"])
def test_long_sentences(single_root, kind, rng):
    n_tokens = 200
    arcs = rng.uniform(-50, 50, size=(n_tokens, n_tokens + 1))
    tokens = np.arange(n_tokens)
    if kind == "roots":
        arcs[:, 0] += 100
    elif kind == "nested cycles":  # every contraction adds one token to one cycle
        arcs[tokens[1:], tokens[:-1] + 1] = 200 + tokens[1:]
        arcs[tokens[:-1], tokens[1:] + 1] = 400 - tokens[1:]
        arcs[:, 0] = -500
    elif kind == "long cycle":
        arcs[tokens, np.roll(tokens, 1) + 1] = 1000
    elif kind == "float32":
        arcs = arcs.astype("float32")
    heads = maximum_arborescence(arcs, single_root)
    assert is_tree([heads], single_root=single_root)[0]
    dear = 1e5 * single_root * (np.arange(n_tokens + 1) == 0)
    expected = best_value(arcs - dear) + 1e5 * single_root
    assert value(heads, arcs) == pytest.approx(expected, rel=1e-9)


def best_value(arcs):
    """The score of the best tree, by contracting one cycle of greedy heads after another."""
    arcs = without_own(np.asarray(arcs, "f8"))
    heads = arcs.argmax(axis=1)
    cycle = cycle_of(heads.tolist())
    if not cycle:
        return float(arcs.max(axis=1).sum())
    others = np.setdiff1d(np.arange(len(arcs)), cycle)
    outside, inside = np.append(0, others + 1), np.array(cycle) + 1
    of_cycle = arcs[cycle, heads[cycle]]
    into = (arcs[np.ix_(cycle, outside)] - of_cycle[:, None]).max(axis=0)
    rest = np.column_stack([arcs[np.ix_(others, outside)], arcs[others][:, inside].max(axis=1)])
    return float(of_cycle.sum()) + best_value(np.vstack([rest, np.append(into, 0)]))


def cycle_of(heads):
    for token in range(len(heads)):
        path = []
        while token >= 0 and token not in path:
            path.append(token)
            token = heads[token] - 1
        if token >= 0:
            return path[path.index(token) :]
    return []


def test_float32_gives_the_tree_of_float64(rng):
    arcs = [block.astype("float32") for block in random_arcs(rng, [25] * 30 + [5] * 50)]
    single = HeadSelection(arcs).argmax()
    double = HeadSelection([block.astype("float64") for block in arcs]).argmax()
    assert [heads.tolist() for heads in single] == [heads.tolist() for heads in double]


@ROOTS
def test_sentences_without_a_tree_are_named(single_root, rng):
    arcs = random_arcs(rng, [4, 3, 3, 5])
    arcs[2][:, 0] = -np.inf
    with pytest.raises(SentenceError, match=r"Sentence 2 .*\(3 tokens\) has no possible .* root"):
        HeadSelection(arcs).argmax(single_root)
    assert HeadSelection(arcs).select([0, 1, 3]).argmax(single_root)


def test_two_tokens_that_can_only_be_roots(rng):
    arcs = random_arcs(rng, [4, 3])
    arcs[1][:2, 1:] = -np.inf
    heads = HeadSelection(arcs)
    assert heads.argmax(single_root=False)[1][:2].tolist() == [0, 0]
    with pytest.raises(SentenceError, match=r"Sentence 1 .* tree with one root"):
        heads.argmax()


@ROOTS
def test_small_sentences(xp, single_root):
    assert maximum_arborescence(np.zeros((0, 1)), single_root).tolist() == []
    assert maximum_arborescence(np.array([[-3.0, 9.0]]), single_root).tolist() == [0]
    assert HeadSelection([]).argmax(single_root) == []
    heads = HeadSelection([xp.zeros((0, 1)), xp.asarray([[-3.0, 9.0]])]).argmax(single_root)
    assert [to_host(one).tolist() for one in heads] == [[], [0]]


def test_scores_are_not_changed(rng):
    arcs = rng.normal(size=(9, 10))
    arcs[:, 0] += 5
    before = arcs.copy()
    maximum_arborescence(arcs)
    HeadSelection(arcs.ravel(), lengths=[9]).argmax()
    assert arcs.tolist() == before.tolist()


@pytest.mark.parametrize(
    "scores, message",
    [
        (np.zeros((3, 3)), r"shape \(3, 4\), but it has \(3, 3\)"),
        (np.zeros(3), r"shape \(3, 4\), but it has \(3,\)"),
        (np.full((2, 3), np.nan), "NaN"),
        (np.full((2, 3), np.inf), "inf"),
        (np.full((2, 3), -np.inf), "no possible dependency tree"),
    ],
)
def test_wrong_scores(scores, message):
    with pytest.raises(ValueError, match=message):
        maximum_arborescence(scores)


@ROOTS
def test_is_tree_of_all_assignments(single_root):
    outputs = [heads for n in range(5) for heads in assignments(n)]
    found = is_tree(outputs, single_root=single_root)
    assert found.tolist() == [arc_brute_force.is_tree(heads, single_root) for heads in outputs]
    assert [is_one_tree(list(heads), single_root) for heads in outputs] == found.tolist()
    lengths = [len(heads) for heads in outputs]
    flat = np.concatenate(outputs).astype("int32")
    assert is_tree(flat, lengths, single_root).tolist() == found.tolist()


@ROOTS
def test_is_tree_of_long_chains_and_strange_heads(single_root):
    chain = np.arange(200)
    loop = chain.copy()
    loop[0] = 200
    strange = [[0, -1], [0, 3], [0, 2], [-1, 1], [-7, 0], [0, 1]]
    found = is_tree([chain, loop, chain[:129], *strange, []], single_root=single_root)
    assert found.tolist() == [True, False, True, *[False] * 5, True, True]
    assert is_tree([], single_root=single_root).tolist() == []
