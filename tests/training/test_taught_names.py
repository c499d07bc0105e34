"""Components of several names, in one pipeline or in several, teach one of the student's."""

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc

from spacy_skd.cli.annotate import annotate
from spacy_skd.distill.attached import get_targets
from spacy_skd.training.corpus import DistillCorpus
from spacy_skd.training.taught_names import TaughtNames

from ..pipeline.tiny import entities_of, model, train
from ..toy import toy_pipeline

TEXTS = ["Ada sees Oslo .", "Bob left Rome .", "Ada met Bob .", "Oslo is old ."]
PERSONS = {"Ada": "PER", "Bob": "PER"}
PLACES = {"Oslo": "LOC", "Rome": "LOC"}


def rules(**labels: dict[str, str]) -> Language:
    """A pipeline with a rule component for each, that knows some names."""
    nlp = spacy.blank("xx", meta={"name": "_".join(labels)})
    for name, of_words in labels.items():
        ruler = nlp.add_pipe("span_ruler", name=name, config={"spans_key": name})
        ruler.add_patterns([{"label": label, "pattern": word} for word, label in of_words.items()])
    return nlp


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(TEXTS))
    return path


def student() -> Language:
    nlp = spacy.blank("xx")
    nlp.add_pipe("skd_ner", name="ner", config={"model": model()})
    return nlp


def learnt(corpus: DistillCorpus) -> list[list[tuple]]:
    """The entities that a student finds that has learnt from a corpus."""
    nlp = student()
    train(nlp, list(corpus(nlp)), steps=60, learn_rate=0.01)
    return [entities_of(nlp(text)) for text in TEXTS]


WANTED = [
    [(0, 1, "PER"), (2, 3, "LOC")],
    [(0, 1, "PER"), (2, 3, "LOC")],
    [(0, 1, "PER"), (2, 3, "PER")],
    [(0, 1, "LOC")],
]
BOTH = {"ner": ["ner", "ner_two"]}


def test_two_components_of_one_pipeline_teach_one(tmp_path, texts):
    annotate(rules(ner=PERSONS, ner_two=PLACES), [texts], tmp_path / "store")
    corpus = DistillCorpus(None, texts, tmp_path / "store", components=BOTH)
    [targets, *_] = [get_targets(x.reference, "ner") for x in corpus(student())]
    assert [target.teacher.labels for target in targets] == [("PER",), ("LOC",)]
    assert learnt(corpus) == WANTED


def test_components_of_two_pipelines_teach_one(tmp_path, texts):
    annotate(rules(ner=PERSONS), [texts], tmp_path / "stores" / "persons")
    annotate(rules(ner_two=PLACES), [texts], tmp_path / "stores" / "places")
    settings = {"ensemble": True, "components": BOTH}
    assert learnt(DistillCorpus(None, texts, tmp_path / "stores", **settings)) == WANTED
    with pytest.raises(ValueError, match="targets of 'ner' from several teachers"):
        list(DistillCorpus(None, texts, tmp_path / "stores", components=BOTH)(student()))


def test_labels_are_renamed_by_the_names_in_the_stores(tmp_path, texts):
    annotate(rules(ner=PERSONS, ner_two=PLACES), [texts], tmp_path / "store")
    names = {"ner": {"PER": "PERSON"}, "ner_two": {"LOC": "PLACE"}}
    corpus = DistillCorpus(None, texts, tmp_path / "store", components=BOTH, label_map=names)
    [targets, *_] = [get_targets(x.reference, "ner") for x in corpus(student())]
    assert [target.teacher.labels for target in targets] == [("PERSON",), ("PLACE",)]
    fixed = student()
    fixed.get_pipe("ner").add_label("PERSON")
    with pytest.raises(ValueError, match="labels of 'ner' onto PLACE"):
        list(corpus(fixed))


def test_documents_of_a_teacher_share_its_records(tmp_path, texts):
    (tmp_path / "more.txt").write_text("Something else .")
    for path in (texts, tmp_path / "more.txt"):
        annotate(toy_pipeline(name="a"), [path], tmp_path / "stores" / path.stem)
    paths = [texts, tmp_path / "more.txt"]
    corpus = DistillCorpus(None, paths, tmp_path / "stores", components={"ner": ["a"]})
    found = [get_targets(example.reference, "ner") for example in corpus(student())]
    assert len({id(target.teacher) for targets in found for target in targets}) == 1
    assert found[0][0].teacher.component == "ner"
    assert all(np.isfinite(target.scores).all() for [target] in found)


def test_a_name_that_another_component_has_is_not_its_own():
    names = TaughtNames({"ner": ["a", "b"], "other": ["ner"]})
    assert [names.learner(name) for name in ("a", "b", "ner", "other", "tagger")] == [
        "ner",
        "ner",
        "other",
        None,
        "tagger",
    ]
    assert names.sources("ner") == ("a", "b") and names.sources("a") == ()
    assert names.sources("tagger") == ("tagger",)


@pytest.mark.parametrize(
    "names, fault",
    [
        ({"ner": []}, "has to list names in the stores for 'ner'"),
        ({"ner": "ner"}, "has to list names in the stores for 'ner'"),
        ({"a": ["ner"], "b": ["ner"]}, "lists 'ner' for 'a' and for 'b'"),
        ({"ner": ["nerr"]}, "lists nerr, but the stores have targets of ner"),
    ],
)
def test_names_that_do_not_fit(tmp_path, texts, names, fault):
    annotate(toy_pipeline(), [texts], tmp_path / "store")
    with pytest.raises(ValueError, match=fault):
        list(DistillCorpus(None, texts, tmp_path / "store", components=names)(student()))


def test_without_stores_nothing_is_checked(tmp_path):
    nlp = student()
    spacy.tokens.DocBin(docs=[Doc(nlp.vocab, words=["a"])]).to_disk(tmp_path / "gold.spacy")
    assert len(list(DistillCorpus(tmp_path / "gold.spacy", components=BOTH)(nlp))) == 1
