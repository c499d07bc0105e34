"""What flat spans say of scores, outputs and arguments that are wrong."""

import numpy as np
import pytest

from spacy_skd.structures import FlatSpans, SentenceError

from .span_cases import make, spans_of

METHODS = ["log_partition", "marginals", "argmax", "entropy", "biluo_marginals"]


@pytest.mark.parametrize("method", METHODS)
def test_no_possible_output_names_the_sentence(xp, rng, method):
    scores, outside = make(rng)
    outside[6] = -np.inf
    scores[4:7] = -np.inf
    with pytest.raises(SentenceError, match=r"Sentence 3 .*5 tokens.* no possible") as caught:
        getattr(spans_of(xp, (scores, outside)), method)()
    assert caught.value.sentence == 3
    with pytest.raises(SentenceError, match="no possible"):
        spans_of(xp, (scores, outside)).topk(2)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_score_that_is_no_number(xp, rng, value):
    for number, what in enumerate(["a span score", "a score for no span"]):
        made = make(rng)
        made[number][7] = value
        with pytest.raises(SentenceError, match=f"Sentence 3 .*{what}.*token 3") as caught:
            spans_of(xp, made)
        assert caught.value.sentence == 3


@pytest.mark.parametrize(
    "output, message",
    [
        ({(0, 5, 0)}, r"\(0, 5, 0\), which is not within its 5 tokens"),
        ({(-1, 0, 0)}, "not within"),
        ({(3, 2, 0)}, "not within"),
        ({(0, 3, 0)}, "of 4 tokens, but there are scores only for spans of at most 3"),
        ({(0, 1, 2)}, r"\(0, 1, 2\), but there are only 2 labels"),
        ({(0, 1, -1)}, "only 2 labels"),
        ({(3, 4, 1), (1, 3, 0)}, r"\(3, 4, 1\), which overlaps with its span \(1, 3, 0\)"),
        ([(2, 2, 0), (2, 2, 0)], "overlaps"),
        ({(0, 1, 0), (0, 1, 1)}, "overlaps"),
        ({(0, 1, "PER")}, r"\(0, 1, 'PER'\), which is not \(first token, last token, label index"),
        ({(0, 1)}, "which is not"),
        ([3], "span 3, which is not"),
    ],
)
@pytest.mark.parametrize("method", ["parts_of", "score", "log_prob"])
def test_outputs_that_are_no_sets_of_spans(rng, output, message, method):
    outputs = [{(0, 2, 0)}, set(), set(), output, {(3, 3, 1)}]
    with pytest.raises(SentenceError, match=f"Sentence 3 .*{message}") as caught:
        getattr(spans_of(np, make(rng)), method)(outputs)
    assert caught.value.sentence == 3


def test_arguments_that_do_not_fit(rng):
    for shape, message in [
        ((4, 2, 1), "sum to the number of tokens"),
        ((3, 2), "scores should have the shape"),
        ((3, 2, 0), "at least one label"),
        ((3, 0, 2), "at least one width"),
    ]:
        with pytest.raises(ValueError, match=message):
            FlatSpans(np.zeros(shape), [2, 1])
    with pytest.raises(ValueError, match="outside should have the shape"):
        FlatSpans(np.zeros((3, 2, 1)), [2, 1], outside=np.zeros(2))
    with pytest.raises(ValueError, match="2 labels, but 1 label names"):
        FlatSpans(np.zeros((3, 2, 2)), [2, 1], ["a"])
    spans = spans_of(np, make(rng))
    with pytest.raises(ValueError, match="5 sentences, but 1 outputs"):
        spans.log_prob([set()])
    with pytest.raises(ValueError, match="one weight for each of the 5 sentences"):
        spans.biluo_marginals(np.ones(3))
    with pytest.raises(ValueError, match="k should be"):
        spans.topk(0)
