import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_skd.structures import (
    DenseRelations,
    HeadSelection,
    ListedRelations,
    Relations,
    SentenceError,
    Structure,
)
from spacy_skd.structures.base import to_host

from .arc_brute_force import assignments, random_arcs, scored, without_own

LENGTHS = [3, 0, 1, 4, 2]
NAMES = ("nsubj", "obj", "det")


def heads_of(xp, arcs, dtype="float64", **options):
    return HeadSelection([xp.asarray(block, dtype=dtype) for block in arcs], **options)


def enumerate_all(arcs):
    return [scored(assignments(len(block)), block) for block in arcs]


def close(found, expected, tolerance=1e-9):
    np.testing.assert_allclose(to_host(found), expected, rtol=0, atol=tolerance)


def relations_of(rng, lengths, n_labels=3):
    return [rng.normal(size=(n, n + 1, n_labels)) for n in lengths]


CASES = pytest.mark.parametrize(
    "seed, lengths, forbidden",
    [(0, LENGTHS, 0.0), (1, LENGTHS, 0.4), (2, [3, 3], 0.3), (3, [5], 0.6), (4, [1, 1, 0], 0.5)],
)


@CASES
def test_against_enumeration(xp, seed, lengths, forbidden):
    arcs = random_arcs(np.random.default_rng(seed), lengths, forbidden)
    heads, expected = heads_of(xp, arcs), enumerate_all(arcs)
    close(heads.log_partition(), [e.log_z for e in expected])
    close(heads.entropy(), [e.entropy for e in expected])
    for found, enumeration in zip(heads.marginals(), expected):
        close(found, enumeration.tokens())
    close(heads.flat_marginals(), np.concatenate([e.tokens().ravel() for e in expected]))
    for output, enumeration in zip(heads.greedy(), expected):
        assert tuple(output) == enumeration.best(1)[0][1]
        assert output.dtype == np.int64


@CASES
@pytest.mark.parametrize("k", [1, 3, 1000])
def test_topk(xp, seed, lengths, forbidden, k):
    arcs = random_arcs(np.random.default_rng(seed), lengths, forbidden)
    for found, enumeration in zip(heads_of(xp, arcs).topk(k), enumerate_all(arcs)):
        expected = enumeration.best(k)
        assert [tuple(output) for output, _ in found] == [output for _, output in expected]
        close([log_prob for _, log_prob in found], [log_prob for log_prob, _ in expected])


@CASES
def test_score_log_prob_and_parts(xp, seed, lengths, forbidden):
    arcs = random_arcs(np.random.default_rng(seed), lengths, forbidden)
    heads, expected = heads_of(xp, arcs), enumerate_all(arcs)
    for choice in (0, -1, 7):
        number = [choice % len(e.outputs) for e in expected]
        outputs = [e.outputs[i] for e, i in zip(expected, number)]
        close(heads.score(outputs), [e.scores[i] for e, i in zip(expected, number)])
        close(heads.log_prob(outputs), [e.log_probs[i] for e, i in zip(expected, number)])
        flat = np.concatenate([*outputs, []]).astype(np.int64)
        close(heads.log_prob(flat), to_host(heads.log_prob(outputs)), 0)
        for parts, output in zip(heads.parts_of(outputs), outputs):
            assert to_host(parts).tolist() == np.eye(len(output) + 1)[list(output)].tolist()


def test_marginals_are_the_gradient_of_log_z(rng):
    heads = heads_of(np, random_arcs(rng, LENGTHS))
    gradient = heads.flat_marginals()
    for cell in np.flatnonzero(heads.scores > -np.inf):
        shift = np.zeros_like(heads.scores)
        shift[cell] = 1e-5
        above, below = (
            heads.with_scores(heads.scores + sign * shift).log_partition() for sign in (1, -1)
        )
        close((above - below).sum() / 2e-5, gradient[cell], 1e-6)


def test_flat_arcs_are_those_of_the_list(xp, rng):
    arcs = random_arcs(rng, LENGTHS, 0.2)
    listed = heads_of(xp, arcs)
    given = xp.asarray(np.concatenate([block.ravel() for block in arcs]))
    before = to_host(given).copy()
    flat = HeadSelection(given, lengths=LENGTHS)
    assert to_host(flat.scores).tolist() == to_host(listed.scores).tolist()
    assert np.array_equal(to_host(given), before, equal_nan=True)
    assert flat.lengths.tolist() == LENGTHS and flat.lengths.dtype == np.int64
    assert flat.arc_offsets.tolist() == [0, 12, 12, 14, 34, 40]
    assert flat.token_offsets.tolist() == [0, 3, 3, 4, 8, 10]
    for view, block in zip(flat.arcs, arcs):
        assert to_host(view).tolist() == without_own(block).tolist()
    flat.scores[0] = 5
    assert float(flat.arcs[0][0, 0]) == 5


def test_a_batch_is_its_sentences(xp, rng):
    arcs = random_arcs(rng, [4, 7, 1, 30, 7], 0.2)
    together = heads_of(xp, arcs)
    for number, block in enumerate(arcs):
        alone = heads_of(xp, [block])
        for method in ("log_partition", "entropy", "greedy", "argmax", "marginals", "topk"):
            arguments = [3] if method == "topk" else []
            one = getattr(alone, method)(*arguments)[0]
            other = getattr(together, method)(*arguments)[number]
            if method == "topk":
                assert [output for output, _ in one] == [output for output, _ in other]
            else:
                close(one, to_host(other), 1e-12)


def test_restrict(xp, rng):
    arcs = random_arcs(rng, LENGTHS)
    allowed = [rng.random(block.shape) < 0.6 for block in arcs]
    for block in allowed:
        block[:, 0] = True
    restricted = heads_of(xp, arcs).restrict(np.concatenate([a.ravel() for a in allowed]))
    expected = enumerate_all([np.where(a, b, -np.inf) for a, b in zip(allowed, arcs)])
    close(restricted.log_partition(), [e.log_z for e in expected])
    with pytest.raises(ValueError, match=r"shape \(40,\), but it has \(3,\)"):
        restricted.restrict(np.ones(3, dtype=bool))


def test_select(xp, rng):
    arcs, chosen = random_arcs(rng, LENGTHS, 0.2), [3, 1, 0, 3]
    relations = DenseRelations([xp.asarray(block) for block in relations_of(rng, LENGTHS)])
    heads = heads_of(xp, arcs, relations=relations, labels=NAMES)
    some = heads.select(chosen)
    close(some.log_partition(), to_host(heads.log_partition())[chosen])
    assert some.lengths.tolist() == [4, 0, 3, 4] and some.labels == NAMES
    numbers = np.concatenate([np.arange(4, 8), np.arange(3), np.arange(4, 8)])
    ones = np.zeros(11, dtype=int)
    close(
        some.relation_log_probs(np.arange(11), ones),
        to_host(heads.relation_log_probs(numbers, ones)),
        0,
    )
    none = heads.select([])
    assert none.log_partition().shape == (0,) and none.n_labels == 3


def test_with_scores_keeps_relations(rng):
    arcs = random_arcs(rng, LENGTHS)
    relations = DenseRelations(relations_of(rng, LENGTHS))
    heads = heads_of(np, arcs, relations=relations, labels=NAMES)
    tempered = heads.with_scores(heads.scores / 2)
    assert tempered.relations is relations and tempered.labels == NAMES
    expected = enumerate_all([block / 2 for block in arcs])
    close(tempered.log_partition(), [e.log_z for e in expected])
    others = DenseRelations(relations_of(rng, LENGTHS))
    assert heads.with_scores(heads.scores, others).relations is others


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 6), max_size=6),
    st.sampled_from(["float16", "float32", "float64", "int32"]),
)
def test_shapes_and_dtypes(lengths, dtype):
    rng = np.random.default_rng(1)
    arcs = [rng.normal(size=(n, n + 1), scale=3).astype(dtype) for n in lengths]
    wanted = {"float16": "float32", "int32": "float64"}.get(dtype, dtype)
    flat = np.concatenate([np.zeros(0, dtype), *(block.ravel() for block in arcs)])
    heads = HeadSelection(flat, lengths=lengths)
    assert isinstance(heads, Structure)
    for outputs in (heads.argmax(), heads.argmax(single_root=False), heads.greedy()):
        assert [len(output) for output in outputs] == lengths
        for values in (
            heads.log_partition(),
            heads.entropy(),
            heads.log_prob(outputs),
            heads.score(outputs),
        ):
            assert values.shape == (len(lengths),) and values.dtype == wanted
    for parts in (heads.marginals(), heads.parts_of(outputs)):
        assert [part.shape for part in parts] == [(n, n + 1) for n in lengths]
        assert all(part.dtype == wanted for part in parts)


@pytest.mark.parametrize("scale", [1.0, 50.0])
def test_float32_is_close_to_float64(rng, scale):
    arcs = [rng.uniform(-scale, scale, size=(n, n + 1)) for n in (200, 25, 1, 200)]
    arcs = [block.astype("float32") for block in arcs]
    single, double = heads_of(np, arcs, "float32"), heads_of(np, arcs, "float64")
    close(single.flat_marginals(), double.flat_marginals(), 1e-5)
    sums = np.concatenate([block.sum(axis=1) for block in single.marginals()])
    close(sums, np.ones(426), 1e-5)
    np.testing.assert_allclose(single.log_partition(), double.log_partition(), rtol=1e-6)
    np.testing.assert_allclose(single.entropy(), double.entropy(), rtol=1e-4)
    for one, other in zip(single.argmax(), double.argmax()):
        assert one.tolist() == other.tolist()


def test_marginals_are_a_copy(rng):
    heads = heads_of(np, random_arcs(rng, LENGTHS))
    heads.flat_marginals()[:] = 0
    close(sum(block.sum() for block in heads.marginals()), 10)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_bad_scores_name_sentence_and_token(value, rng):
    arcs = random_arcs(rng, LENGTHS)
    arcs[3][2, 1] = value
    message = f"Sentence 3 .* {value} from the head number 1 to its token 2 .of 4."
    with pytest.raises(SentenceError, match=message) as error:
        HeadSelection(arcs)
    assert error.value.sentence == 3


def test_a_token_without_heads_is_named(rng):
    arcs = random_arcs(rng, LENGTHS)
    arcs[4][1, [0, 1]] = -np.inf
    heads = HeadSelection(arcs)
    for method in ("log_partition", "marginals", "entropy", "greedy", "argmax"):
        with pytest.raises(SentenceError, match=r"4 .* no possible head for its token 1 .of 2."):
            getattr(heads, method)()


@pytest.mark.parametrize(
    "arcs, options, message",
    [
        ([np.zeros((2, 3)), np.zeros((2, 2))], {}, r"Sentence 1 .* shape \(2, 2\)"),
        ([np.zeros((2, 0))], {}, r"Sentence 0 .* shape \(2, 0\)"),
        (np.zeros(6), {}, "needs the lengths"),
        (np.zeros(5), {"lengths": [2]}, "have 6 arc scores, .* there are 5"),
        ([np.zeros((2, 3))], {"lengths": [3]}, r"lengths \[2\], not of \[3\]"),
        ([np.zeros((2, 3))], {"labels": ["nsubj"]}, "0 labels, but 1 label name"),
    ],
)
def test_wrong_shapes(arcs, options, message):
    with pytest.raises(ValueError, match=message):
        HeadSelection(arcs, **options)


@pytest.mark.parametrize(
    "outputs, message",
    [
        ([[0, 1], [0], [0]], "2 sentences, but 3 outputs"),
        ([[0, 1], [0, 0]], "1 of the batch has 1 tokens, but its output 2"),
        ([[0, 3], [0]], "has the head number 3 at its token 1 .of 2."),
        ([[-1, 0], [0]], "has the head number -1 at its token 0"),
        ([[0, 2], [0]], "has the head number 2 at its token 1 .* not the token itself"),
        (np.array([0, 1]), "3 tokens, but 2 heads"),
    ],
)
def test_wrong_outputs(outputs, message):
    heads = HeadSelection([np.zeros((2, 3)), np.zeros((1, 2))])
    for method in (heads.log_prob, heads.parts_of):
        with pytest.raises(ValueError, match=message):
            method(outputs)


def test_dense_relations(xp, rng):
    scores = relations_of(rng, LENGTHS)
    scores[0][1, 2] = np.nan  # no arc
    relations = DenseRelations([xp.asarray(block) for block in scores])
    assert isinstance(relations, Relations) and relations.n_labels == 3
    heads = heads_of(xp, random_arcs(rng, LENGTHS), relations=relations, labels=NAMES)
    found = to_host(heads.relation_log_probs(np.array([9, 0, 4]), np.array([0, 3, 2])))
    for row, expected in zip(found, (scores[4][1, 0], scores[0][0, 3], scores[3][0, 2])):
        close(row, expected - np.logaddexp.reduce(expected))
    assert heads.n_labels == 3
    with pytest.raises(ValueError, match="but an arc from the head 3"):
        heads.relation_log_probs(np.array([9]), np.array([3]))
    with pytest.raises(ValueError, match="There are 10 tokens"):
        heads.relation_log_probs(np.array([10]), np.array([0]))


def test_wrong_relations(rng):
    with pytest.raises(SentenceError, match=r"1 .* shape \(2, 2, 4\)"):
        DenseRelations([np.zeros((1, 2, 4)), np.zeros((2, 2, 4))])
    with pytest.raises(ValueError, match=r"numbers of relations: \[3, 4\]"):
        DenseRelations([np.zeros((1, 2, 4)), np.zeros((2, 3, 3))])
    scores = relations_of(rng, LENGTHS)
    scores[3][2, 0, 1] = np.inf
    with pytest.raises(SentenceError, match=r"Sentence 3 .* NaN or \+inf"):
        DenseRelations(scores)
    arcs = random_arcs(rng, [2])
    with pytest.raises(ValueError, match="no relations"):
        HeadSelection(arcs).relation_log_probs(np.array([0]), np.array([0]))
    barred = HeadSelection(arcs, relations=DenseRelations([np.full((2, 3, 2), -np.inf)]))
    with pytest.raises(SentenceError, match="relation for the arc from the head number 1 to its"):
        barred.relation_log_probs(np.array([1]), np.array([1]))


def test_listed_relations(xp, rng):
    """Arcs that are listed have their scores, others none, in any selection of sentences."""
    arcs = {(4, 2): 0, (0, 3): 1, (9, 0): 2, (5, 0): 3, (4, 0): 4}
    tokens, heads = map(np.array, zip(*arcs))
    scores = rng.normal(size=(len(arcs), 3))
    listed = ListedRelations(tokens, heads, xp.asarray(scores), LENGTHS)
    assert isinstance(listed, Relations) and listed.n_labels == 3
    asked = [(0, 3), (7, 1), (4, 0), (9, 0), (9, 1), (0, 0), (4, 2), (4, 2)]
    found = to_host(listed.scores_at(*map(np.array, zip(*asked))))
    expected = [scores[arcs[arc]] if arc in arcs else np.zeros(3) for arc in asked]
    assert found.tolist() == np.array(expected).tolist()
    some = listed.select([4, 3, 1, 3])  # tokens 8, 9, 4, 5, 6, 7 and 4, 5, 6, 7 again
    asked = [(1, 0), (2, 2), (2, 0), (3, 0), (6, 2), (7, 0), (0, 0), (9, 0)]
    found = to_host(some.scores_at(*map(np.array, zip(*asked))))
    expected = [*scores[[2, 0, 4, 3, 0, 3]], np.zeros(3), np.zeros(3)]
    assert found.tolist() == np.array(expected).tolist()


def test_no_listed_relations():
    none = np.zeros(0, dtype=int)
    listed = ListedRelations(none, none, np.zeros((0, 2)), [3])
    assert listed.scores_at(np.array([0, 1]), np.array([2, 0])).tolist() == [[0, 0], [0, 0]]
    assert listed.select([0, 0]).scores_at(np.array([5]), np.array([0])).tolist() == [[0, 0]]


@pytest.mark.parametrize(
    "tokens, heads, message",
    [
        ([0, 0], [1, 1], "head 1 to the token 0 of the batch is listed twice"),
        ([0, 1], [1, 4], "has 3 tokens, but an arc from the head 4"),
        ([0, 3], [1, 0], "There are 3 tokens"),
        ([0], [1], "each of the 1 tokens"),
    ],
)
def test_wrong_listed_relations(tokens, heads, message):
    with pytest.raises(ValueError, match=message):
        ListedRelations(np.array(tokens), np.array(heads), np.zeros((2, 2)), [3])
