"""Every registered objective in a component: trained from targets, saved, loaded."""

import pytest
import spacy
from spacy.training import Example

from spacy_skd.distill.attached import set_target
from spacy_skd.distill.targets import Target, describe, stored_scores

from .tiny import ENTITIES, blank, entities_of, entity_examples, predictions, train

KD = "spacy-skd.{}KD.v1".format
OBJECTIVES = [
    {"@losses": KD("Structural")},
    {"@losses": KD("Structural"), "take": "top_k", "k": 3},
    {"@losses": KD("Structural"), "take": "top_wk", "k": 3},
    {"@losses": KD("Structural"), "temperature": 2.0, "temperature_scope": "local"},
    {"@losses": KD("Posterior")},
    {"@losses": KD("Token")},
    {"@losses": KD("Substructure")},
    {"@losses": KD("Substructure"), "transitions": True, "match": "kl", "temperature": 2.0},
    {
        "@losses": KD("Sum"),
        "losses": {"all": {"@losses": KD("Posterior")}, "best": {"@losses": KD("Structural")}},
        "weights": {"all": 0.5, "best": 0.5},
    },
]


@pytest.fixture(scope="module")
def teacher():
    nlp = blank()
    train(nlp, entity_examples(nlp))
    return nlp.get_pipe("ner")


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: " ".join(map(str, o.values()))[:60])
def test_a_student_learns_from_its_teacher_alone(objective, teacher, tmp_path):
    nlp = blank(objective=objective)
    docs = [nlp.make_doc(text) for text, _ in ENTITIES]
    structure = teacher.predict(docs)
    record = describe(structure, "ner")
    for doc, scores in zip(docs, stored_scores(structure)):
        set_target(doc, Target(record, scores))
    train(nlp, [Example(nlp.make_doc(doc.text), doc) for doc in docs], steps=80)
    for text, entities in ENTITIES:
        assert entities_of(nlp(text)) == entities
    nlp.to_disk(tmp_path)
    again = spacy.load(tmp_path)
    assert predictions(again) == predictions(nlp)
    assert again.get_pipe_config("ner")["objective"]["@losses"] == objective["@losses"]
