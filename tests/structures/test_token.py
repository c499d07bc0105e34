import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_skd.structures import SentenceError, Structure, Token
from spacy_skd.structures.base import to_host

from .brute_force import token_scores

LENGTHS = [3, 0, 1, 4, 2]


def make(rng, lengths=LENGTHS, n_labels=3, barred=0.2):
    scores = rng.normal(size=(sum(lengths), n_labels), scale=2)
    scores[rng.random(scores.shape) < barred] = -np.inf
    scores[:, 0] = np.where(np.isneginf(scores).all(axis=1), 0.5, scores[:, 0])
    return scores


def sentences(scores, lengths=LENGTHS):
    return [token_scores(part) for part in np.split(scores, np.cumsum(lengths)[:-1])]


def close(found, expected, tolerance=1e-9):
    np.testing.assert_allclose(to_host(found), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("seed", range(4))
def test_against_enumeration(xp, seed):
    scores = make(np.random.default_rng(seed))
    token = Token(xp.asarray(scores), LENGTHS)
    expected = sentences(scores)
    close(token.log_partition(), [e.log_z for e in expected])
    close(token.entropy(), [e.entropy for e in expected])
    close(token.marginals(), np.concatenate([e.tokens() for e in expected]))
    for output, enumeration in zip(token.argmax(), expected):
        assert tuple(output) == enumeration.best(1)[0][1]
        assert output.dtype == np.int64
    choice = [e.outputs[len(e.outputs) // 2] for e in expected]
    close(token.log_prob(choice), [e.log_probs[len(e.outputs) // 2] for e in expected])


@pytest.mark.parametrize("k", [1, 2, 7, 1000])
def test_topk(xp, rng, k):
    scores = make(rng)
    for found, enumeration in zip(Token(xp.asarray(scores), LENGTHS).topk(k), sentences(scores)):
        expected = enumeration.best(k)
        assert [tuple(output) for output, _ in found] == [output for _, output in expected]
        close([log_prob for _, log_prob in found], [log_prob for log_prob, _ in expected])


def test_topk_with_ties_lists_every_output_once():
    found = Token(np.zeros((3, 3)), [3]).topk(100)[0]
    assert len({tuple(output) for output, _ in found}) == 27
    close([log_prob for _, log_prob in found], np.full(27, -3 * np.log(3)))


def test_parts_are_the_gradient_of_the_score(xp, rng):
    scores = make(rng, barred=0)
    token = Token(xp.asarray(scores), LENGTHS)
    outputs = [rng.integers(3, size=n) for n in LENGTHS]
    parts = to_host(token.parts_of(outputs))
    close(token.score(outputs).sum(), (parts * scores).sum())
    assert parts.argmax(axis=1).tolist() == np.concatenate(outputs).tolist()
    assert parts.sum() == len(scores)


def test_marginals_are_the_gradient_of_log_z(rng):
    scores = make(rng, barred=0)
    marginals = Token(scores, LENGTHS).marginals()
    for index in np.ndindex(scores.shape):
        shift = np.zeros_like(scores)
        shift[index] = 1e-5
        above = Token(scores + shift, LENGTHS).log_partition().sum()
        below = Token(scores - shift, LENGTHS).log_partition().sum()
        close((above - below) / 2e-5, marginals[index], 1e-6)


def test_restrict(xp, rng):
    scores = make(rng, barred=0)
    allowed = rng.random(scores.shape) < 0.6
    allowed[:, 1] = True
    restricted = Token(xp.asarray(scores), LENGTHS, ["a", "b", "c"]).restrict(xp.asarray(allowed))
    expected = sentences(np.where(allowed, scores, -np.inf))
    close(restricted.log_partition(), [e.log_z for e in expected])
    assert restricted.labels == ("a", "b", "c")


def test_select(rng):
    scores = make(rng)
    token = Token(scores, LENGTHS)
    chosen = [3, 1, 0]
    close(token.select(chosen).log_partition(), token.log_partition()[chosen])
    assert [y.tolist() for y in token.select(chosen).argmax()] == [
        token.argmax()[b].tolist() for b in chosen
    ]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(0, 6), max_size=6),
    st.integers(1, 5),
    st.sampled_from(["float32", "float64"]),
)
def test_shapes_and_dtypes(lengths, n_labels, dtype):
    scores = np.random.default_rng(1).normal(size=(sum(lengths), n_labels)).astype(dtype)
    token = Token(scores, lengths)
    assert isinstance(token, Structure)
    outputs = token.argmax()
    assert [len(output) for output in outputs] == lengths
    for values in (
        token.log_partition(),
        token.entropy(),
        token.log_prob(outputs),
        token.score(outputs),
    ):
        assert values.shape == (len(lengths),) and values.dtype == dtype
    for parts in (token.marginals(), token.parts_of(outputs)):
        assert parts.shape == scores.shape and parts.dtype == dtype
    for found, output in zip(token.topk(2), outputs):
        assert found[0][0] == output.tolist()


def test_a_sentence_without_tokens_has_one_output():
    token = Token(np.zeros((0, 2)), [0])
    assert token.topk(3) == [[([], 0.0)]]
    assert token.log_partition().tolist() == token.entropy().tolist() == [0.0]
    assert Token(np.zeros((0, 2)), []).argmax() == []


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_score_that_is_no_number_names_the_sentence(rng, value):
    scores = make(rng)
    scores[5, 1] = value
    with pytest.raises(SentenceError, match=r"Sentence 3 .* token 1 .of 4.") as caught:
        Token(scores, LENGTHS)
    assert caught.value.sentence == 3


@pytest.mark.parametrize("method", ["log_partition", "marginals", "argmax", "entropy"])
def test_a_token_without_a_possible_label_names_the_sentence(rng, method):
    scores = make(rng)
    scores[3] = -np.inf
    with pytest.raises(SentenceError, match="no possible label at its token 0") as caught:
        getattr(Token(scores, LENGTHS), method)()
    assert caught.value.sentence == 2


@pytest.mark.parametrize(
    "scores, lengths, labels, message",
    [
        (np.zeros(3), [3], None, "shape"),
        (np.zeros((3, 0)), [3], None, "at least one label"),
        (np.zeros((3, 2)), [2], None, "sum to the number of tokens"),
        (np.zeros((3, 2)), [4, -1], None, "negative"),
        (np.zeros((3, 2)), [1.5, 1.5], None, "integer"),
        (np.zeros((3, 2)), [[3]], None, "integer"),
        (np.zeros((3, 2)), [3], ["a"], "2 labels, but 1"),
    ],
)
def test_arguments_that_do_not_fit(scores, lengths, labels, message):
    with pytest.raises(ValueError, match=message):
        Token(scores, np.array(lengths), labels)


def test_outputs_that_do_not_fit():
    token = Token(np.zeros((3, 2)), [1, 2])
    with pytest.raises(ValueError, match="2 sentences, but 1 outputs"):
        token.log_prob([[0]])
    with pytest.raises(SentenceError, match=r"Sentence 1 .* 2 tokens, but its output 1"):
        token.log_prob([[0], [0]])
    with pytest.raises(SentenceError, match=r"Sentence 1 .* label 2"):
        token.log_prob([[0], [0, 2]])
    with pytest.raises(ValueError, match="3 tokens, but 2 labels"):
        token.log_prob(np.array([0, 1]))
    with pytest.raises(ValueError, match="k should be"):
        token.topk(0)
