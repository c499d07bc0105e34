import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_skd.structures import LabelTrees, SentenceError, Structure, Token, is_tree
from spacy_skd.structures.base import to_host
from spacy_skd.structures.dependency_codes import Words, label_columns, meant_heads, split_label

from .arc_brute_force import scored, trees

LABELS = ("0|ROOT", "-1|det", "+1|det", "+1|amod", "-2|obj", "+2|nsubj", "-1|obj", "+3|nsubj")
NAMES = ("ROOT", "amod", "det", "nsubj", "obj")
CODES = label_columns(LABELS).code_of
RELATIONS = [NAMES.index(split_label(label)[1]) for label in LABELS]
LENGTHS = [3, 0, 1, 4, 2]


def close(found, expected, tolerance=1e-9):
    np.testing.assert_allclose(to_host(found), expected, rtol=0, atol=tolerance)


def make(xp, scores, lengths=LENGTHS):
    return LabelTrees(
        xp.asarray(scores),
        lengths,
        LABELS,
        heads=meant_heads(LABELS, Words(np.array(lengths, dtype=int))),
        codes=CODES,
        relations=RELATIONS,
        relation_labels=NAMES,
    )


def random_scores(rng, lengths=LENGTHS, scale=2.0):
    return rng.normal(size=(sum(lengths), len(LABELS)), scale=scale)


def by_hand(probs, n_tokens):
    """Arc probabilities of a sentence from its labels' probabilities, (n, n + 1)."""
    arcs = np.zeros((n_tokens, n_tokens + 1))
    for token in range(n_tokens):
        for label, prob in zip(LABELS, probs[token]):
            code = int(label.split("|")[0])
            head = token + code + 1 if code else 0
            if code == 0 or 1 <= head <= n_tokens:
                arcs[token, head] += prob
    return arcs


def sentences(label_trees):
    """Labels' probabilities and arc probabilities of each sentence."""
    ends = np.cumsum(label_trees.lengths)[:-1]
    probs = np.split(to_host(label_trees.marginals()), ends)
    return [(p, by_hand(p, n)) for p, n in zip(probs, label_trees.lengths.tolist())]


def test_arc_probabilities(xp, rng):
    found = make(xp, random_scores(rng))
    expected = [arcs.ravel() for _, arcs in sentences(found)]
    close(found.arc_probabilities(), np.concatenate(expected))


def test_it_is_a_token_structure(xp, rng):
    scores = random_scores(rng)
    found, token = make(xp, scores), Token(xp.asarray(scores), LENGTHS, LABELS)
    assert isinstance(found, Structure)
    for method in ("log_partition", "marginals", "entropy"):
        close(getattr(found, method)(), to_host(getattr(token, method)()), 0)
    assert [one.tolist() for one in found.argmax()] == [one.tolist() for one in token.argmax()]
    assert found.topk(3) == token.topk(3)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("single_root", [True, False])
def test_trees(xp, seed, single_root):
    """The best labels where they are a tree, else the best tree over the arc probabilities."""
    found = make(xp, random_scores(np.random.default_rng(seed)))
    heads, relations = found.trees(single_root)
    n_greedy = 0
    for (probs, arcs), own, mine in zip(sentences(found), heads, relations):
        n = len(probs)
        assert own.dtype == mine.dtype == np.int64
        meant = meant_heads(LABELS, Words(np.array([n])))[:, CODES]
        best = probs.argmax(axis=1)
        greedy = meant[np.arange(n), best]
        assert is_tree([own], single_root=single_root)[0]
        if is_tree([greedy], single_root=single_root)[0]:
            n_greedy += 1
            assert own.tolist() == greedy.tolist()
            assert mine.tolist() == np.array(RELATIONS)[best].tolist()
            continue
        distances = np.abs(np.arange(n)[:, None] - np.arange(-1, n))
        distances[:, 0] = n + 1
        logs = np.where(arcs > 0, np.log(arcs.clip(1e-12)), np.log(1e-12) - 1e-2 * distances)
        close(scored([tuple(own)], logs).scores, scored(trees(n, single_root), logs).scores.max())
        for token in range(n):
            known = probs[token] * (meant[token] == own[token])
            if known.any():
                assert mine[token] == RELATIONS[known.argmax()]
    assert n_greedy < len(LENGTHS)


def one_hot(labels):
    scores = np.full((len(labels), len(LABELS)), -9.0)
    scores[np.arange(len(labels)), [LABELS.index(label) for label in labels]] = 0
    return scores


def names(relations):
    return [NAMES[number] for number in relations]


def test_repairs_a_cycle():
    scores = one_hot(["+1|det", "-1|obj", "0|ROOT"])
    scores[1, LABELS.index("+1|amod")] = -1
    heads, relations = make(np, scores, [3]).trees()
    assert heads[0].tolist() == [2, 3, 0] and names(relations[0]) == ["det", "amod", "ROOT"]


def test_repairs_two_roots_and_no_root():
    scores = one_hot(["0|ROOT", "0|ROOT", "-1|det"])
    scores[0, LABELS.index("+1|det")] = -1
    heads, relations = make(np, scores, [3]).trees()
    assert heads[0].tolist() == [2, 0, 2] and names(relations[0]) == ["det", "ROOT", "det"]
    assert make(np, scores, [3]).trees(single_root=False)[0][0].tolist() == [0, 0, 2]
    scores = one_hot(["+1|det", "+1|det", "-1|det"])
    scores[2, LABELS.index("0|ROOT")] = -1
    heads, relations = make(np, scores, [3]).trees()
    assert heads[0].tolist() == [2, 3, 0] and names(relations[0]) == ["det", "det", "ROOT"]


def test_repairs_heads_outside_the_sentence():
    heads, relations = make(np, one_hot(["0|ROOT", "-1|det", "+1|amod"]), [3]).trees()
    assert heads[0].tolist() == [0, 1, 2]
    assert names(relations[0])[:2] == ["ROOT", "det"]


def test_an_arc_that_no_label_means_gets_a_relation_that_is_no_root():
    """Two tokens that can only be roots: one of them is none, and is not called ROOT."""
    scores = np.full((2, len(LABELS)), -np.inf)
    scores[:, LABELS.index("0|ROOT")] = [3, 2]
    scores[:, LABELS.index("+3|nsubj")] = 0
    scores[:, LABELS.index("-2|obj")] = -1
    heads, relations = make(np, scores, [2]).trees()
    assert heads[0].tolist() == [0, 1] and names(relations[0]) == ["ROOT", "nsubj"]


def test_labels_that_mean_nothing_still_give_trees():
    scores = np.full((4, len(LABELS)), -np.inf)
    scores[:, LABELS.index("+3|nsubj")] = 0  # right for the first token alone
    heads, relations = make(np, scores, [4]).trees()
    assert is_tree(heads)[0] and heads[0][0] == 4
    assert names(relations[0]) == ["nsubj"] * 4


def test_a_batch_is_its_sentences(xp, rng):
    lengths = [5, 1, 0, 12, 5]
    scores = random_scores(rng, lengths)
    together = make(xp, scores, lengths)
    heads, relations = together.trees()
    for number, part in enumerate(np.split(scores, np.cumsum(lengths)[:-1])):
        alone = make(xp, part, lengths[number : number + 1])
        assert [one[0].tolist() for one in alone.trees()] == [
            heads[number].tolist(),
            relations[number].tolist(),
        ]
    some = together.select([3, 0])
    assert isinstance(some, LabelTrees) and some.relation_labels == NAMES
    assert [one.tolist() for one in some.trees()[0]] == [heads[3].tolist(), heads[0].tolist()]


def test_restrict(xp, rng):
    found = make(xp, random_scores(rng))
    allowed = rng.random((10, len(LABELS))) < 0.5
    allowed[:, 0] = True
    restricted = found.restrict(xp.asarray(allowed))
    assert isinstance(restricted, LabelTrees) and is_tree(restricted.trees()[0]).all()
    assert not to_host(restricted.marginals())[~allowed].any()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 7), max_size=5), st.sampled_from(["float32", "float64"]))
def test_shapes_and_dtypes(lengths, dtype):
    rng = np.random.default_rng(1)
    found = make(np, random_scores(rng, lengths, 9.0).astype(dtype), lengths)
    arcs = found.arc_probabilities()
    assert arcs.shape == (sum(n * (n + 1) for n in lengths),) and arcs.dtype == dtype
    heads, relations = found.trees()
    assert [len(one) for one in heads] == [len(one) for one in relations] == lengths
    assert is_tree(heads).all()


def test_float32_is_close_to_float64(rng):
    scores = rng.uniform(-50, 50, size=(225, len(LABELS))).astype("float32")
    single, double = make(np, scores, [200, 25]), make(np, scores.astype("f8"), [200, 25])
    close(single.arc_probabilities(), double.arc_probabilities(), 1e-5)
    scores = rng.normal(size=(225, len(LABELS)), scale=2).astype("float32")
    single, double = make(np, scores, [200, 25]), make(np, scores.astype("f8"), [200, 25])
    for one, other in zip(single.trees()[0], double.trees()[0]):
        assert one.tolist() == other.tolist()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"heads": np.zeros((3, 2), "i4")}, r"for each of the 8 codes, but .* \(3, 2\)"),
        ({"heads": np.zeros((2, 8), "i4")}, r"for each of the 3 tokens .* \(2, 8\)"),
        ({"codes": [0, 1]}, r"codes should be .* 8 labels, .* \(2,\)"),
        ({"codes": [0, 1, 2, 3, 4, 5, 6, -1]}, "codes should be columns of heads, .* from -1"),
        ({"heads": np.full((3, 8), 4)}, "there are others, from 4 to 4"),
        ({"heads": np.full((3, 8), -2)}, "there are others, from -2 to -2"),
        ({"relations": [0]}, r"each of the 8 labels, .* \(1,\)"),
        ({"relations": [5] * 8}, "from 0 to 4, there are 5 names"),
    ],
)
def test_wrong_meanings(change, message):
    arguments = {"heads": np.zeros((3, 8), "i4"), "relations": RELATIONS, **change}
    with pytest.raises(ValueError, match=message):
        LabelTrees(np.zeros((3, 8)), [3], relation_labels=NAMES, **arguments)


def test_a_token_without_labels_is_named(rng):
    scores = random_scores(rng)
    scores[5] = -np.inf
    with pytest.raises(SentenceError, match=r"Sentence 3 .* no possible label at its token 1"):
        make(np, scores).trees()
