"""What one must not ask documents for, and what is said then."""

import numpy as np
import pytest

from spacy_skd.structures import LocalSpans, Token

from .test_confidence_of_entities import (
    annotated,
    component,
    lengths_of,
    sequence_scores,
    span_component,
    span_scores,
)


@pytest.mark.parametrize("k", [0, -1, 2.0, "3", None])
def test_a_number_of_alternatives_that_is_none(k):
    nlp, _ = component()
    (doc, *_) = annotated(nlp, sequence_scores("chain", lengths_of(nlp)))
    with pytest.raises(ValueError, match=f"whole number of at least 1, but it is {k!r}"):
        doc._.alternatives(k)
    assert len(doc._.alternatives(np.int64(2))) == 2


@pytest.mark.parametrize("threshold", [0, -0.5, float("nan"), "x", None])
def test_a_threshold_that_is_none(threshold):
    nlp, _ = component()
    (doc, *_) = annotated(nlp, sequence_scores("chain", lengths_of(nlp)))
    for _ in range(2):  # before and after there is an answer to another
        with pytest.raises(ValueError, match=f"number above 0, but it is {threshold!r}"):
            doc._.entities_above(threshold)
        assert len(doc._.entities_above(np.float32(0.01)))


def test_entities_of_a_document_that_only_a_tagger_has_annotated():
    nlp, ner = component()
    tagger = nlp.add_pipe("skd_tagger", name="tagger")
    tagger.add_label("A")
    doc = nlp.make_doc("Ada sees Oslo")
    tagger.set_annotations([doc], Token(np.zeros((3, 1)), [3], ["A"]))
    for name in (None, "tagger"):
        with pytest.raises(ValueError, match=r"no component \(skd_ner\) has annotated it"):
            doc._.entities_above(0.5, component=name)
    ner.set_annotations([doc], sequence_scores("chain", [3], seed=3))
    assert doc._.entities_above(0.01).name == "ner"
    with pytest.raises(ValueError, match="has entities by 'ner' and not by 'tagger'"):
        doc._.entities_above(0.5, component="tagger")


def test_a_threshold_that_a_nested_model_does_not_look_at():
    nlp, _ = span_component(spans_key="sc", flat_threshold=0.4, options={"loss": "local"})
    structure = span_scores(LocalSpans, lengths_of(nlp))
    with pytest.warns(
        UserWarning, match=r"flat_threshold = 0\.4 of component 'ner' changes nothing"
    ):
        annotated(nlp, structure)
