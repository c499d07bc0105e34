"""One student of several teachers, and of an older self: what each knows is learnt."""

import logging

import pytest
from spacy.tokens import DocBin
from spacy.training import Example

from spacy_skd.cli.annotate import annotate
from spacy_skd.distill.attached import add_target
from spacy_skd.distill.targets import Target, describe, stored_scores
from spacy_skd.training.corpus import DistillCorpus

from ..toy import write_docs
from .tiny import ENTITIES, TAGGED, blank, entity_example, model, predictions, tag_examples, train

TEXTS = [text for text, _ in ENTITIES]
GOLD = [entities for _, entities in ENTITIES]
SPANS = {
    "@architectures": "spacy-skd.SpanBiaffine.v1",
    "nO": None,
    "tok2vec": model()["tok2vec"],
    "max_width": 4,
}
STUDENTS = {
    "crf": (model(), 0.02),
    "maxent": (model("MaxEnt"), 0.02),
    "spans": ({**SPANS, "loss": "exact"}, 0.005),
    "local": ({**SPANS, "loss": "local"}, 0.005),
}
"""Models, and rates at which they learn without going astray."""


def only(label):
    """The sentences with the entities of one label."""
    return [(text, [e for e in entities if e[2] == label]) for text, entities in ENTITIES]


def teacher_of(label, architecture="LinearChainCRF"):
    nlp = blank(architecture=architecture)
    train(nlp, [entity_example(nlp, *row) for row in only(label)], steps=60)
    assert predictions(nlp) == [entities for _, entities in only(label)]
    return nlp


def attach(nlp, docs, name="ner"):
    structure = nlp.get_pipe(name).predict([nlp.make_doc(doc.text) for doc in docs])
    record = describe(structure, name)
    for doc, scores in zip(docs, stored_scores(structure)):
        add_target(doc, Target(record, scores, len(doc)))


@pytest.mark.parametrize("kind", STUDENTS)
def test_teachers_of_different_labels_make_one_student(kind, caplog):
    student_model, learn_rate = STUDENTS[kind]
    student = blank(model=student_model)
    docs = [student.make_doc(text) for text in TEXTS]
    attach(teacher_of("PER"), docs)
    attach(teacher_of("LOC", "MaxEnt"), docs)
    examples = [Example(student.make_doc(doc.text), doc) for doc in docs]
    with caplog.at_level(logging.INFO, logger="spacy"):
        train(student, examples, steps=100, learn_rate=learn_rate)
    assert student.get_pipe("ner").labels == ("LOC", "PER")
    assert predictions(student) == GOLD
    told = [r.message for r in caplog.records if "does not know all labels" in r.message]
    assert sorted(message.split(": ")[1].split(", ")[0] for message in told) == [
        "it teaches LOC",
        "it teaches PER",
    ]


def test_new_labels_without_forgetting_the_old_ones(tmp_path, caplog):
    """The old student teaches the new one, and gold annotation has the new label alone."""
    old = teacher_of("PER")
    docs = [entity_example(old, *row).reference for row in only("LOC")]
    write_docs(tmp_path / "new.spacy", docs)
    annotate(old, [tmp_path / "new.spacy"], tmp_path / "store")

    def trained(**settings):
        student = blank()
        student.config["training"]["max_steps"] = 80
        train(student, list(DistillCorpus(tmp_path / "new.spacy", **settings)(student)), steps=80)
        return predictions(student)

    with caplog.at_level(logging.INFO, logger="spacy"):
        kept = trained(targets=tmp_path / "store", gold_labels={"ner": ["LOC"]})
    assert kept == GOLD
    assert [r.message for r in caplog.records if "it teaches" in r.message][1:] == []
    assert trained() == [entities for _, entities in only("LOC")]


def test_a_teacher_of_some_tags():
    teacher = blank("skd_tagger", "MaxEnt")
    known = tag_examples(teacher)
    for example in known:
        for token in example.reference:
            if token.tag_ == "JJ":
                token.tag_ = ""
    train(teacher, known, steps=60)
    assert "JJ" not in teacher.get_pipe("tagger").labels
    student = blank("skd_tagger")
    examples = tag_examples(student)[:1]  # gold has all tags, in one sentence
    docs = [student.make_doc(text) for text, _ in TAGGED[1:2]]
    attach(teacher, docs, "tagger")
    examples += [Example(student.make_doc(doc.text), doc) for doc in docs]
    train(student, examples, steps=60)
    for text, tags in TAGGED[:2]:
        assert [token.tag_ for token in student(text)] == tags


def test_labels_of_the_store_renamed(tmp_path):
    teacher = blank()
    train(teacher, [entity_example(teacher, *row) for row in ENTITIES], steps=60)
    DocBin(docs=[teacher.make_doc(text) for text in TEXTS]).to_disk(tmp_path / "raw.spacy")
    annotate(teacher, [tmp_path / "raw.spacy"], tmp_path / "store")

    def learnt(names):
        student = blank()
        corpus = DistillCorpus(
            None, tmp_path / "raw.spacy", tmp_path / "store", label_map={"ner": names}
        )
        student.config["training"]["max_steps"] = 80
        train(student, list(corpus(student)), steps=80)
        return predictions(student)

    def renamed(names):
        return [[(i, j, names[label]) for i, j, label in ents if names[label]] for ents in GOLD]

    for names in ({"PER": "PERSON"}, {"PER": "NAME", "LOC": "NAME"}, {"LOC": ""}, {"LOC": None}):
        assert learnt(names) == renamed({"PER": "PER", "LOC": "LOC"} | names)


@pytest.mark.parametrize(
    "names, gold, level",
    [
        ({"PER": "PERSN"}, True, "WARNING"),
        ({"PER": "PERSN"}, False, "INFO"),
        ({"PER": "LOC"}, True, None),
        ({"PER": ""}, True, None),
    ],
)
def test_a_label_that_only_the_map_has(tmp_path, caplog, names, gold, level):
    teacher = blank()
    teacher.initialize(lambda: [entity_example(teacher, *row) for row in ENTITIES])
    documents = [entity_example(teacher, *row).reference for row in only("LOC")]
    write_docs(tmp_path / "docs.spacy", documents)
    annotate(teacher, [tmp_path / "docs.spacy"], tmp_path / "store")
    paths = [tmp_path / "docs.spacy", None] if gold else [None, tmp_path / "docs.spacy"]
    corpus = DistillCorpus(*paths, tmp_path / "store", label_map={"ner": names})
    student = blank()
    with caplog.at_level(logging.INFO, logger="spacy"):
        student.initialize(lambda: list(corpus(student)))
    found = [r for r in caplog.records if "the new label" in r.message]
    assert [r.levelname for r in found] == [level] * (level is not None)
    assert all("'ner' the new label PERSN:" in r.message for r in found)
