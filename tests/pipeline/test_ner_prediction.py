"""`skd_ner` writes what it predicts: any documents, and around what is set already."""

import pickle
import sys

import numpy as np
import pytest
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_skd.structures import legal_moves

from .tiny import (
    ENTITIES,
    blank,
    entities_of,
    entity_examples,
    predictions,
    spans_of,
    train,
)

GOLD = [entities for _, entities in ENTITIES]
TEXT = "Bob met Ada Lovelace in Oslo"
ODD_TEXTS = ["", " ", "\n\n \t", "Ada", "Oslo", TEXT, "", "Ada lives in New York City\n\n"]


def predict(nlp, doc: Doc) -> Doc:
    return nlp.get_pipe("ner")(doc)


def test_learns_its_documents(ner):
    assert predictions(ner) == GOLD


def test_batches_give_what_single_documents_give(ner):
    texts = [*ODD_TEXTS, *(text for text, _ in ENTITIES)]
    alone = [entities_of(ner(text)) for text in texts]
    for batch_size in (1, 3, 100):
        docs = list(ner.pipe(texts, batch_size=batch_size))
        assert [doc.text for doc in docs] == texts
        assert [entities_of(doc) for doc in docs] == alone
    assert alone[5] == GOLD[1]


def test_batches_of_many_words_are_predicted_in_portions(ner, monkeypatch):
    monkeypatch.setattr(sys.modules["spacy_skd.layers.portions"], "MOST_WORDS", 3)
    sizes, component = [], ner.get_pipe("ner")
    predict_portion = component.predict
    monkeypatch.setattr(
        component, "predict", lambda docs: sizes.append(len(docs)) or predict_portion(docs)
    )
    texts = [*ODD_TEXTS, *(text for text, _ in ENTITIES)]
    expected = [entities_of(ner(text)) for text in texts]
    sizes.clear()
    assert [entities_of(doc) for doc in ner.pipe(texts, batch_size=5)] == expected
    assert max(sizes) < 5 < len(sizes) and sum(sizes) == len(texts)


def test_documents_without_tokens(ner):
    assert list(ner.pipe([])) == []
    assert [len(doc.ents) for doc in ner.pipe(["", ""])] == [0, 0]
    assert not Doc(ner.vocab).ents
    structure = ner.get_pipe("ner").predict([Doc(ner.vocab), Doc(ner.vocab)])
    assert structure.log_partition().tolist() == [0, 0]


def test_every_token_of_a_predicted_document_is_annotated(ner):
    for doc in ner.pipe(ODD_TEXTS):
        assert (doc.to_array("ENT_IOB") != 0).all()


def test_a_long_document(ner):
    doc = ner.make_doc(" ".join([TEXT] * 334))
    assert len(doc) > 2000
    predict(ner, doc)
    assert entities_of(doc)[:3] == GOLD[1]
    assert len(doc.ents) >= 3 * 300


def test_predict_leaves_the_document_alone(ner):
    doc = ner.make_doc(TEXT)
    ner.get_pipe("ner").predict([doc])
    assert not doc.has_annotation("ENT_IOB")


def test_maxent_decodes_the_best_legal_sequence():
    """Where the best label of each token would be illegal, the best legal sequence is written."""
    nlp = blank(architecture="MaxEnt")
    nlp.initialize(lambda: entity_examples(nlp))
    component = nlp.get_pipe("ner")
    legal, starts, ends = legal_moves(component.column_labels())
    rng = np.random.default_rng(0)
    output_layer = component.model.get_ref("output_layer")
    illegal = 0
    for _ in range(20):
        weights = output_layer.get_param("W")
        weights[:] = rng.normal(size=weights.shape) * 3
        doc = nlp.make_doc(TEXT)
        structure = component.predict([doc])
        component.set_annotations([doc], structure)
        independent = structure.argmax()[0]
        illegal += not legal[independent[:-1], independent[1:]].all()
        columns = component.get_annotation(Example(nlp.make_doc(TEXT), doc))
        assert legal[columns[:-1], columns[1:]].all() and starts[columns[0]] and ends[columns[-1]]
        assert structure.score([columns]) == pytest.approx(
            best_legal(structure.scores, legal, starts, ends), rel=1e-4
        )
    assert illegal > 5


def best_legal(scores, legal, starts, ends) -> float:
    """Score of the best legal sequence by a plain dynamic program."""
    best = np.where(starts, scores[0], -np.inf)
    for row in scores[1:]:
        best = np.where(legal, best[:, None], -np.inf).max(0) + row
    return best[ends].max()


def test_no_entity_begins_or_ends_with_whitespace(ner):
    component = ner.get_pipe("ner")
    bias = component.model.get_ref("output_layer").get_param("b")
    bias[0] -= 100  # never outside
    doc = predict(ner, ner.make_doc("Ada \n\n lives  in\n"))
    assert [token.is_space for token in doc] == [False, True, False, True, False, True]
    assert doc.ents and not any(entity[0].is_space or entity[-1].is_space for entity in doc.ents)
    assert not predict(ner, ner.make_doc("  \n ")).ents


# --- what is set already


def test_entities_that_are_set_are_kept(ner):
    doc = ner.make_doc(TEXT)
    doc.ents = [Span(doc, 4, 6, label="LOC", kb_id="Q585", span_id="city")]
    predict(ner, doc)
    assert entities_of(doc) == [(0, 1, "PER"), (2, 4, "PER"), (4, 6, "LOC")]
    assert [(entity.kb_id_, entity.ent_id_) for entity in doc.ents][2] == ("Q585", "city")


def test_set_entities_split_what_the_model_would_join(ner):
    doc = ner.make_doc(TEXT)
    doc.ents = [Span(doc, 3, 4, label="LOC")]
    predict(ner, doc)
    assert (3, 4, "LOC") in entities_of(doc)
    assert not any(start < 3 < end for start, end, label in entities_of(doc) if label == "PER")


def test_a_set_entity_with_a_label_unknown_to_the_model_is_kept(ner):
    doc = ner.make_doc(TEXT)
    doc.ents = [Span(doc, 2, 4, label="PIONEER")]
    predict(ner, doc)
    assert entities_of(doc) == [(0, 1, "PER"), (2, 4, "PIONEER"), (5, 6, "LOC")]


def test_blocked_tokens_stay_outside(ner):
    doc = ner.make_doc(TEXT)
    doc.set_ents([], blocked=[doc[2:4]], default="missing")
    predict(ner, doc)
    assert entities_of(doc) == [(0, 1, "PER"), (5, 6, "LOC")]
    assert [(token.ent_iob, token.ent_type) for token in doc[2:4]] == [(3, 0)] * 2, "still blocked"


def test_outside_stays_outside_where_others_are_missing(ner):
    doc = ner.make_doc(TEXT)
    doc.set_ents([], outside=[doc[0:1]], default="missing")
    predict(ner, doc)
    assert entities_of(doc) == GOLD[1][1:]


def test_a_document_without_entities_is_no_reason_to_predict_none(ner):
    """`doc.ents = []` marks every token as outside, as an entity ruler without a match does."""
    doc = ner.make_doc(TEXT)
    doc.ents = []
    assert entities_of(predict(ner, doc)) == GOLD[1]


def test_an_entity_ruler_before_it(ner):
    ruler = ner.add_pipe("entity_ruler", before="ner")
    ruler.add_patterns([{"label": "CITY", "pattern": "Oslo", "id": "oslo"}])
    matched, unmatched = ner.pipe([TEXT, ENTITIES[0][0]])
    assert entities_of(matched) == [*GOLD[1][:2], (5, 6, "CITY")]
    assert matched.ents[2].ent_id_ == "oslo"
    assert entities_of(unmatched) == GOLD[0]


def test_documents_with_and_without_set_entities_in_one_batch(ner):
    docs = [ner.make_doc(text) for text, _ in ENTITIES] + [Doc(ner.vocab)]
    docs[1].ents = [Span(docs[1], 2, 4, label="LOC")]
    assert [entities_of(doc) for doc in ner.pipe(docs)] == [
        GOLD[0],
        [(0, 1, "PER"), (2, 4, "LOC"), (5, 6, "LOC")],
        *GOLD[2:],
        [],
    ]


# --- doc.spans


@pytest.fixture(scope="module")
def spans_pipeline():
    nlp = blank(spans_key="places")
    train(nlp, entity_examples(nlp, "places"))
    return nlp


def test_spans_are_learnt_written_and_scored(spans_pipeline):
    nlp = spans_pipeline
    docs = list(nlp.pipe(text for text, _ in ENTITIES))
    found = [[(span.start, span.end, span.label_) for span in doc.spans["places"]] for doc in docs]
    assert found == GOLD
    assert not any(doc.ents for doc in docs)
    scores = nlp.evaluate(entity_examples(nlp, "places"))
    assert scores["spans_places_f"] == scores["spans_places_p"] == scores["spans_places_r"] == 1
    assert set(scores["spans_places_per_type"]) == {"PER", "LOC"}


def test_spans_of_another_document_are_not_touched(spans_pipeline):
    doc = spans_pipeline.make_doc(TEXT)
    doc.spans["other"] = spans_of(doc, [(0, 2, "X")])
    doc.ents = spans_of(doc, [(0, 1, "LOC")])
    predict(spans_pipeline, doc)
    assert len(doc.spans["other"]) == 1 and entities_of(doc) == [(0, 1, "LOC")]
    assert len(doc.spans["places"]) == 3


# --- scores


def test_scores_are_those_of_spacy(ner):
    scores = ner.evaluate(entity_examples(ner))
    assert scores["ents_f"] == scores["ents_p"] == scores["ents_r"] == 1
    assert scores["ents_per_type"]["PER"]["f"] == 1
    wrong = entity_examples(ner)
    wrong[0].reference.set_ents(spans_of(wrong[0].reference, [(0, 1, "LOC")]))
    assert 0 < ner.evaluate(wrong)["ents_f"] < 1


def test_without_gold_annotation_there_is_no_score(ner):
    raw = [Example(ner.make_doc(TEXT), ner.make_doc(TEXT))]
    assert ner.evaluate(raw)["ents_f"] is None


# --- the pipeline around it


def test_processes(ner):
    assert [entities_of(doc) for doc in ner.pipe([TEXT] * 4, n_process=2)] == [GOLD[1]] * 4


def test_disabled(ner):
    with ner.select_pipes(disable=["ner"]):
        assert not ner(TEXT).ents
    assert ner(TEXT).ents


def test_pickled_documents(ner):
    doc = pickle.loads(pickle.dumps(ner(TEXT)))
    assert entities_of(doc) == GOLD[1]
    assert entities_of(predict(ner, pickle.loads(pickle.dumps(ner.make_doc(TEXT))))) == GOLD[1]


def test_a_failing_batch_goes_to_the_error_handler(ner):
    component = ner.get_pipe("ner")
    component.model.get_ref("output_layer").get_param("b")[:] = np.nan
    with pytest.raises(ValueError, match=r"Component 'ner', document '.*nan"):
        component(ner.make_doc(TEXT))
    failures = []
    ner.set_error_handler(lambda name, proc, docs, error: failures.append((name, docs, error)))
    texts = [TEXT, "Ada"]
    assert list(ner.pipe(texts)) == []
    [(name, docs, error)] = failures
    assert name == "ner" and [doc.text for doc in docs] == texts and "nan" in str(error)


def test_a_component_that_was_not_initialised_says_so():
    with pytest.raises(ValueError, match="initialize"):
        blank()(TEXT)
    with pytest.raises(ValueError, match=r"'ner'.*label"):
        blank().get_pipe("ner").predict([])
