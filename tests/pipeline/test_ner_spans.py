"""`skd_ner` with a span model: flat entities, nested spans, and what it refuses."""

import warnings

import numpy as np
import pytest
import spacy
from spacy import displacy
from spacy.scorer import Scorer
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_skd.distill.attached import set_target
from spacy_skd.distill.targets import Target, describe, stored_scores

from .tiny import ENTITIES, TOK2VEC, blank, entity_example, model, train

SPANS = {"max_width": 4, "hidden_width": 16}
NESTED = [
    ("the University of Oslo opened", [(1, 4, "ORG"), (3, 4, "LOC")]),
    ("Ada likes the Oslo Opera", [(0, 1, "PER"), (2, 5, "ORG"), (3, 4, "LOC")]),
    ("nothing opened", []),
]


def span_model(**options):
    return {
        "@architectures": "spacy-skd.SpanBiaffine.v1",
        "tok2vec": TOK2VEC,
        **SPANS,
        **options,
    }


def trained(entities=ENTITIES, spans_key=None, n_steps=60, **options):
    nlp = blank(model=span_model(**options), spans_key=spans_key)
    examples = [entity_example(nlp, *row, spans_key=spans_key) for row in entities]
    train(nlp, examples, steps=n_steps)
    return nlp, examples


def found(doc, spans_key=None):
    spans = doc.ents if spans_key is None else doc.spans[spans_key]
    return sorted((span.start, span.end, span.label_) for span in spans)


@pytest.mark.parametrize("loss", ["exact", "local"])
def test_flat_entities_are_learnt_saved_and_loaded(loss, tmp_path):
    nlp, _ = trained(loss=loss)
    for text, entities in ENTITIES:
        assert found(nlp(text)) == sorted(entities)
    nlp.to_disk(tmp_path)
    again = spacy.load(tmp_path)
    texts = [text for text, _ in ENTITIES]
    assert [found(doc) for doc in again.pipe(texts)] == [found(nlp(text)) for text in texts]
    assert found(again("")) == []


def test_nested_spans_with_their_probabilities():
    nlp, examples = trained(NESTED, spans_key="sc", loss="local", n_steps=100)
    for text, entities in NESTED:
        doc = nlp(text)
        assert found(doc, "sc") == sorted(entities)
        scores = doc.spans["sc"].attrs["scores"]
        assert len(scores) == len(entities) and (np.asarray(scores) > 0.5).all()
    assert nlp.evaluate(examples)["spans_sc_f"] == 1.0
    doc = nlp(NESTED[1][0])
    assert "Opera" in displacy.render(doc, style="span", jupyter=False)
    nlp.get_pipe("ner").cfg["threshold"] = 1.01  # what `spacy find-threshold` changes
    assert found(nlp(NESTED[1][0]), "sc") == []


def test_flat_spans_of_a_key_have_their_probabilities():
    nlp, _ = trained(spans_key="sc")
    for text, entities in ENTITIES:
        doc = nlp(text)
        assert found(doc, "sc") == sorted(entities)
        assert len(doc.spans["sc"].attrs["scores"]) == len(entities)


def test_overlapping_gold_for_a_flat_model_says_what_to_do():
    nlp = blank(model=span_model(), spans_key="sc")
    examples = [entity_example(nlp, *row, spans_key="sc") for row in NESTED]
    nlp.initialize(lambda: examples)
    with pytest.raises(ValueError, match=r"University of Oslo.*overlap.*'Oslo'.*loss = \"local\""):
        nlp.update(examples)


def test_wide_entities_are_reported_and_count_as_missing():
    nlp = blank(model=span_model(max_width=2))
    rows = [*ENTITIES, ("a b c d e", [(0, 5, "LOC")])]
    examples = [entity_example(nlp, *row) for row in rows]
    with pytest.warns(UserWarning, match=r"up to 2 tokens, but 2 of the 8 .* widest of 5 tokens"):
        nlp.initialize(lambda: examples)
    annotation = nlp.get_pipe("ner").get_annotation(examples[-1])
    assert (annotation == -1).all()
    losses = nlp.update([examples[-1]])
    assert losses["ner"] == pytest.approx(0, abs=1e-5)  # nothing is known: nothing is learnt


def test_no_warning_where_all_fit():
    nlp = blank(model=span_model(max_width=3))
    examples = [entity_example(nlp, *row) for row in ENTITIES]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nlp.initialize(lambda: examples)


def test_spans_of_one_token():
    rows = [("Ada sees Oslo", [(0, 1, "PER"), (2, 3, "LOC")])]
    nlp, _ = trained(rows, max_width=1)
    assert found(nlp(rows[0][0])) == sorted(rows[0][1])


def test_no_entities_in_the_corpus():
    nlp = blank(model=span_model())
    with pytest.raises(ValueError, match="found no labels"):
        nlp.initialize(lambda: [entity_example(nlp, "nothing happens", [])])


def test_entities_that_are_set_are_kept():
    nlp, _ = trained()
    doc = nlp.make_doc("Ada lives in New York City")
    doc.set_ents([Span(doc, 4, 6, label="LOC")], default="missing")
    doc = nlp.get_pipe("ner")(doc)
    assert (4, 6, "LOC") in found(doc) and (3, 6, "LOC") not in found(doc)
    doc = nlp.make_doc("Ada lives in New York City")
    doc.set_ents([], outside=[doc[0:1]], default="missing")
    assert (0, 1, "PER") not in found(nlp.get_pipe("ner")(doc))


def test_half_annotated_documents():
    nlp = blank(model=span_model())
    text, entities = ENTITIES[0]
    reference = nlp.make_doc(text)
    reference.set_ents([Span(reference, *entities[0])], default="missing")
    full = [entity_example(nlp, *row) for row in ENTITIES[1:]]
    partial = Example(nlp.make_doc(text), reference)
    train(nlp, [*full, partial])
    assert entities[0] in found(nlp(text))


def test_two_labels_of_one_span():
    nlp = blank(model=span_model(loss="local"), spans_key="sc")
    rows = [("Oslo opened", [(0, 1, "LOC"), (0, 1, "ORG")])]
    examples = [entity_example(nlp, *row, spans_key="sc") for row in rows]
    nlp.initialize(lambda: examples)
    with pytest.raises(ValueError, match="'Oslo' of document 'Oslo opened' has two labels"):
        nlp.update(examples)


@pytest.mark.parametrize("loss", ["exact", "local"])
def test_a_raw_document_has_no_annotation(loss):
    nlp, _ = trained(loss=loss)
    ner = nlp.get_pipe("ner")
    text = "Ada lives in New York City"
    structure = ner.predict([nlp.make_doc(text)])
    reference = nlp.make_doc(text)
    example = Example(nlp.make_doc(text), reference)
    assert (ner.get_annotation(example) == -1).all()
    set_target(reference, Target(describe(structure, "ner"), stored_scores(structure)[0], 6))
    ner.objective.start(2)
    first = ner.get_loss([example], structure)[0]
    ner.objective.finish_step()  # the teacher's weight falls, but there is nothing beside it
    assert ner.get_loss([example], structure)[0] == pytest.approx(first)


def test_whitespace_ends_no_entity():
    nlp, _ = trained()
    doc = nlp(Doc(nlp.vocab, words=["\n", "Oslo", " ", "York", "\n"]))
    for start, end, _ in found(doc):
        assert not doc[start].is_space and not doc[end - 1].is_space


@pytest.mark.parametrize("architecture", ["MaxEnt", "LinearChainCRF", "SpanBiaffine"])
@pytest.mark.parametrize("teacher_loss", ["exact", "local"])
def test_a_teacher_of_spans_teaches_every_student(teacher_loss, architecture):
    teacher, _ = trained(loss=teacher_loss)
    docs = [teacher.make_doc(text) for text, _ in ENTITIES]
    structure = teacher.get_pipe("ner").predict(docs)
    record = describe(structure, "ner")
    is_span_model = architecture == "SpanBiaffine"
    student = blank(model=span_model() if is_span_model else model(architecture))
    examples = []
    for doc, scores in zip(docs, stored_scores(structure)):
        reference = student.make_doc(doc.text)
        set_target(reference, Target(record, scores, len(doc)))
        examples.append(Example(student.make_doc(doc.text), reference))
    train(student, examples, steps=60)
    for text, entities in ENTITIES:
        assert found(student(text)) == sorted(entities)


def test_scorer_sees_the_spans():
    nlp, examples = trained(NESTED, spans_key="sc", loss="local", n_steps=100)
    predicted = [Example(nlp(example.reference.text), example.reference) for example in examples]
    scores = Scorer.score_spans(
        predicted, "spans_sc", getter=lambda doc, _: doc.spans["sc"], allow_overlap=True
    )
    assert scores["spans_sc_f"] == 1.0
