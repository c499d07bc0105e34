"""What is read of spaCy's span categorisers."""

import numpy as np
from spacy.tokens import Doc

from spacy_skd.distill.adapters import find_reader
from spacy_skd.distill.adapters.spans import LEAST, MAX_WIDTH

from .stock import docs_of, read, stock_pipeline


def test_independent_labels_of_a_span_keep_their_odds():
    nlp = stock_pipeline("spancat")
    docs = docs_of(nlp)
    spans, scores = nlp.get_pipe("spancat").predict(docs)
    structure = read(nlp, "spancat", docs)
    assert (structure.max_width, structure.labels) == (3, nlp.get_pipe("spancat").labels)
    for doc, spans_of_doc, probs in zip(
        range(len(docs)), spans, np.split(scores, np.cumsum(spans.lengths)[:-1])
    ):
        marginals = structure.select([doc]).marginals()
        nothing = 1 - marginals.sum(axis=2)
        for (start, end), wanted in zip(spans_of_doc.dataXd.tolist(), probs):
            cell = start, end - start - 1
            odds = marginals[cell] / nothing[cell]
            np.testing.assert_allclose(odds, wanted / (1 - wanted), rtol=1e-2)
    assert (scores > 0.5).any()


def test_a_span_categoriser_with_a_label_for_none_keeps_its_probabilities():
    nlp = stock_pipeline("single")
    docs = docs_of(nlp)[:1]
    spans, scores = nlp.get_pipe("single").predict(docs)
    marginals = read(nlp, "single", docs).marginals()
    first, last = spans.dataXd.T
    np.testing.assert_allclose(marginals[first, last - first - 1], scores[:, :-1], atol=10 * LEAST)
    marginals[first, last - first - 1] = 0
    assert not marginals.any()


def test_suggesters_that_do_not_tell_their_sizes():
    nlp = stock_pipeline("spancat")
    component = nlp.get_pipe("spancat")
    suggester = component.suggester
    component.suggester = lambda docs, *, ops=None: suggester(docs, sizes=[1, 20], ops=ops)
    structure = read(nlp, "spancat", [Doc(nlp.vocab, words=["ship"] * 21)])
    assert structure.max_width == MAX_WIDTH
    marginals = structure.marginals()
    assert marginals[:, 0].any() and not marginals[:, 1:].any()
    assert find_reader(nlp, "spancat").read([], None)["spancat"].max_width == MAX_WIDTH
