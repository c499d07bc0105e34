"""What is read of rules and functions, which have no scores, is what they annotate."""

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc, Span

from spacy_skd.distill.adapters import CannotTeach, find_reader
from spacy_skd.distill.adapters.annotations import tell_labels
from spacy_skd.distill.targets import stored_scores
from spacy_skd.distill.teachers import TeacherReader, find_teachers, survey

from .stock import docs_of, read, stock_pipeline


def pipeline_with_rules() -> Language:
    nlp = spacy.blank("en")
    patterns = [
        {"label": "LOC", "pattern": "New York"},
        {"label": "PER", "pattern": [{"ORTH": {"IN": ["Ada", "Bob"]}}]},
        {"label": "CITY", "pattern": [{"ORTH": "York"}]},
    ]
    nlp.add_pipe("entity_ruler").add_patterns(patterns)
    nlp.add_pipe("span_ruler", config={"spans_key": "found"}).add_patterns(patterns)
    nlp.add_pipe("future_entity_ruler", config={"overwrite_ents": True}).add_patterns(patterns[:2])
    return nlp


def test_rules_are_their_only_candidate():
    nlp = pipeline_with_rules()
    found = survey(nlp)
    assert not found.offer.refusals
    wanted = {
        "entity_ruler": [(0, 0, "PER"), (2, 3, "LOC")],
        "span_ruler": [(0, 0, "PER"), (2, 3, "LOC"), (3, 3, "CITY")],
        "future_entity_ruler": [(0, 0, "PER"), (2, 3, "LOC")],
    }
    for name, spans in wanted.items():
        structure = read(nlp, name, docs_of(nlp)[1:2])
        assert structure.labels == tuple(sorted(nlp.get_pipe(name).labels))
        (output,) = structure.argmax()
        assert sorted((f, x, structure.labels[r]) for f, x, r in output) == spans
    assert found.readers["span_ruler"].summary == "the spans that it sets in doc.spans['found']"


class Shouter:
    """Tags words in capitals, and only those."""

    labels = ("LOUD", "_")

    def __call__(self, doc: Doc) -> Doc:
        for token in doc:
            if token.is_upper:
                token.tag_ = "LOUD"
        return doc


@Language.factory("shouter", assigns=["token.tag"])
def make_shouter(nlp, name):
    return Shouter()


def test_tags_that_are_set_are_certain_and_others_open():
    nlp = spacy.blank("en")
    nlp.add_pipe("shouter")
    structure = read(nlp, "shouter", [Doc(nlp.vocab, words=["OLD", "ships"])])
    np.testing.assert_allclose(structure.marginals(), [[1, 0], [0.5, 0.5]])
    (stored,) = stored_scores(structure)
    assert np.isfinite(stored).all()


@Language.component("finder", assigns=["doc.ents"])
def find_ships(doc: Doc) -> Doc:
    doc.ents = [Span(doc, t.i, t.i + 1, "SHIP") for t in doc if t.text == "ships"]
    return doc


def test_a_function_has_its_labels_told():
    nlp = spacy.blank("en")
    nlp.add_pipe("finder")
    doc = Doc(nlp.vocab, words=["old", "ships"])
    with pytest.raises(CannotTeach, match=r"does not tell its labels, .* with --labels"):
        find_reader(nlp, "finder")
    tell_labels(nlp, {"finder": ["SHIP", "PORT"]})
    structure = read(nlp, "finder", [doc])
    assert structure.labels == ("PORT", "SHIP")
    assert structure.topk(2) == [[(frozenset({(1, 1, 1)}), pytest.approx(0))]]
    tell_labels(nlp, {"finder": ["PORT"]})  # others do not count
    assert read(nlp, "finder", [doc]).topk(1) == [[(frozenset(), pytest.approx(0))]]
    assert not doc.ents


def test_trained_components_know_their_labels():
    with pytest.raises(ValueError, match=r"'tagger' .* has the labels that it was trained with"):
        tell_labels(stock_pipeline("tagger"), {"tagger": ["NN"]})


@Language.component("rule_parser", assigns=["token.head", "token.dep"])
@Language.component("rule_tagger", assigns=["token.tag", "token.pos"])
@Language.component("keyless", assigns=["doc.spans"])
def nothing(doc: Doc) -> Doc:
    return doc


@pytest.mark.parametrize(
    "factory, reason",
    [
        ("rule_parser", "it assigns token.head and token.dep, and trees are read of spaCy's par"),
        ("rule_tagger", "it assigns token.tag and token.pos, and one of them can be read"),
        ("keyless", "it does not tell the key of the spans"),
        ("span_finder", "the spans that it finds have no labels"),
        ("merge_entities", "it does not say what it assigns"),
        ("entity_linker", "it assigns token.ent_kb_id, which no student learns"),
    ],
)
def test_why_others_cannot_teach(factory, reason):
    nlp = spacy.blank("en")
    nlp.add_pipe(factory)
    with pytest.raises(CannotTeach, match=reason):
        find_reader(nlp, factory)


def test_an_attribute_ruler_teaches_what_its_patterns_set():
    nlp = stock_pipeline("tagger")
    ruler = nlp.add_pipe("attribute_ruler")
    ruler.load_from_tag_map(
        {
            "NNP": {"POS": "PROPN", "Number": "Sing"},
            "VBZ": {"POS": "VERB"},
            "JJ": {"POS": "ADJ"},
        }
    )
    ruler.add([[{"ORTH": "old"}]], {"LEMMA": "old"})
    names = ["attribute_ruler", "attribute_ruler_pos"]
    assert find_teachers(nlp) == ["tagger", *names]
    reader = TeacherReader(nlp, names, batch_size=4)
    assert reader.survey.readers["attribute_ruler"].summary == (
        "the token.morph of its patterns ('attribute_ruler') and the token.pos of its patterns "
        "('attribute_ruler_pos')"
    )
    [(_, _, scores)] = reader.read([(docs_of(nlp)[0], "line 1")])
    morph, pos = (reader.teachers[name].labels for name in names)
    assert (morph, pos) == (("Number=Sing", "_"), ("ADJ", "PROPN", "VERB"))
    found = scores["attribute_ruler_pos"]
    assert [pos[column] for column in found[:3].argmax(axis=1)] == ["PROPN", "VERB", "ADJ"]
    assert (found[:3].min(axis=1) < -1e4).all() and not found[3].any()
    assert [morph[column] for column in scores["attribute_ruler"][:3].argmax(1)] == [
        "Number=Sing",
        "_",
        "_",
    ]


def test_reading_rules_changes_no_document():
    nlp = pipeline_with_rules()
    for name in nlp.pipe_names:
        docs = docs_of(nlp)
        docs[0].user_data["anything"] = object()
        user_data = docs[0].user_data
        read(nlp, name, docs)
        assert not any(doc.ents or doc.spans for doc in docs)
        assert docs[0].user_data is user_data
