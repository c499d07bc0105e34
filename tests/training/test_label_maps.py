"""What teachers' labels are to the student: a mapping for all stores, and one for each."""

import json

import pytest
import spacy
from spacy.tokens import Doc
from spacy.util import registry

from spacy_skd.cli.annotate import annotate
from spacy_skd.distill.arc_targets import best_arcs
from spacy_skd.distill.attached import get_target, get_targets
from spacy_skd.distill.targets import Teacher
from spacy_skd.training.corpus import DistillCorpus

from ..distill.test_arc_targets import make_docs, toy
from ..pipeline.tiny import TOK2VEC
from ..toy import sentences, toy_pipeline, write_docs


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(sentences(3)))
    return path


@pytest.fixture
def stores(tmp_path, texts):
    """A folder with the stores of two teachers that call all entities A."""
    for seed, name in enumerate(("first", "second")):
        annotate(toy_pipeline(seed), [texts], tmp_path / "stores" / name)
    return tmp_path / "stores"


def entities(texts, stores, **settings):
    """What entities are called by the teachers of every document."""
    corpus = DistillCorpus(None, texts, stores, ensemble=True, **settings)
    nlp = spacy.blank("xx")
    nlp.add_pipe("skd_ner", name="ner")
    found = [get_targets(example.reference, "ner") for example in corpus(nlp)]
    assert len({tuple(id(target.teacher) for target in targets) for targets in found}) == 1
    return [target.teacher.meant[1].partition("-")[2] for target in found[0]]


def test_teachers_that_call_one_thing_by_different_names(texts, stores):
    by_store = {"second": {"ner": {"A": "PERSON"}}}
    assert entities(texts, stores, label_map_by_store=by_store) == ["A", "PERSON"]
    of_all = {"ner": {"A": "NAME"}}
    assert entities(texts, stores, label_map=of_all) == ["NAME", "NAME"]
    found = entities(texts, stores, label_map=of_all, label_map_by_store=by_store)
    assert found == ["NAME", "PERSON"]


def test_a_label_that_one_teacher_drops(texts, stores):
    by_store = {"first": {"ner": {"A": None}}, "second": {"ner": {"A": "PERSON"}}}
    corpus = DistillCorpus(None, texts, stores, ensemble=True, label_map_by_store=by_store)
    [first, second] = get_targets(next(iter(corpus(spacy.blank("xx")))).reference, "ner")
    assert (first.teacher.meant, first.teacher.labels[1]) == (("O",), "B-A")
    assert second.teacher.labels[1] == "B-PERSON" and second.teacher.mapped == {"PERSON"}


def test_stores_of_one_teacher_that_are_renamed_alike_stay_together(tmp_path, texts):
    (tmp_path / "more.txt").write_text("Something else .")
    for name, path in (("first", texts), ("second", tmp_path / "more.txt")):
        annotate(toy_pipeline(), [path], tmp_path / "stores" / name)

    def n_teachers(**settings):
        paths = [texts, tmp_path / "more.txt"]
        corpus = DistillCorpus(None, paths, tmp_path / "stores", **settings)
        examples = corpus(spacy.blank("xx"))
        return len({id(get_target(example.reference, "ner").teacher) for example in examples})

    assert n_teachers() == n_teachers(label_map={"ner": {"A": "B"}}) == 1
    alike = {name: {"ner": {"A": "B"}} for name in ("first", "second")}
    assert n_teachers(label_map_by_store=alike) == 1
    assert n_teachers(label_map_by_store={"first": alike["first"]}) == 2


@pytest.mark.parametrize(
    "by_store, fault",
    [
        ({"third": {"ner": {"A": "B"}}}, "names third, but the stores are first, second"),
        ({"first": {"ner": {"B": "A"}}}, "of 'first' renames B of 'ner', which no teacher .*: A"),
        (
            {"first": {"nerr": {"A": "B"}}},
            "of 'first' renames labels of 'nerr', but the stores have targets of ner",
        ),
        ({"first": {"ner": {"A": "C"}}}, "of 'first' maps labels of 'ner' onto C, .* has only A"),
    ],
)
def test_maps_that_do_not_fit(texts, stores, by_store, fault):
    nlp = spacy.blank("xx")
    nlp.add_pipe("skd_ner", name="ner").add_label("A")
    corpus = DistillCorpus(None, texts, stores, ensemble=True, label_map_by_store=by_store)
    with pytest.raises(ValueError, match=f"label_map_by_store {fault}"):
        list(corpus(nlp))


def test_from_a_config(texts, stores):
    block = f"""
    [train]
    @readers = "spacy-skd.DistillCorpus.v1"
    path = null
    raw = {json.dumps(str(texts))}
    targets = {json.dumps(str(stores))}
    ensemble = true

    [train.label_map_by_store]

    [train.label_map_by_store.second]

    [train.label_map_by_store.second.ner]
    A = "PERSON"
    """
    config = spacy.util.Config().from_str(block)
    corpus = registry.resolve(config)["train"]
    targets = get_targets(next(iter(corpus(spacy.blank("xx")))).reference, "ner")
    assert [target.teacher.labels[1] for target in targets] == ["B-A", "B-PERSON"]


# --- relations


def relations(tmp_path, names) -> tuple[Teacher, list[str]]:
    """The teacher and its best relations of a document, by a map and by way of a store."""
    tmp_path.mkdir()
    nlp = toy()
    docs = make_docs(nlp)
    write_docs(tmp_path / "docs.spacy", docs)
    annotate(nlp, [tmp_path / "docs.spacy"], tmp_path / "store")
    corpus = DistillCorpus(
        tmp_path / "docs.spacy", None, tmp_path / "store", label_map={"parser": names}
    )
    [target] = [
        get_target(example.reference, "parser")
        for example in corpus(spacy.blank("xx"))
        if len(example.reference) == 7
    ]
    return target.teacher, [target.teacher.labels[column] for column in best_arcs(target)[1]]


def test_relations_that_become_one_or_none(tmp_path):
    before, found = relations(tmp_path / "before", {})
    assert before.labels == ("amod", "nsubj", "obj") and set(found) == set(before.labels)
    teacher, renamed = relations(tmp_path / "renamed", {"obj": "dobj"})
    assert teacher.labels == ("amod", "nsubj", "dobj")
    assert renamed == [label.replace("obj", "dobj") for label in found]
    teacher, merged = relations(tmp_path / "merged", {"amod": "nsubj"})
    assert teacher.labels == teacher.meant == ("nsubj", "obj")
    sure = [number for number, label in enumerate(found) if label == "nsubj"]
    assert sure and all(merged[number] == "nsubj" for number in sure)
    teacher, dropped = relations(tmp_path / "dropped", {"amod": ""})
    assert teacher.labels == ("nsubj", "obj", "") and teacher.meant == ("nsubj", "obj")
    assert dropped == [label.replace("amod", "") for label in found]


def test_a_parser_of_labels_has_none_for_a_dropped_relation(tmp_path):
    nlp = toy()
    write_docs(tmp_path / "docs.spacy", [Doc(nlp.vocab, words=doc) for doc in ("abcd", "efgh")])
    annotate(nlp, [tmp_path / "docs.spacy"], tmp_path / "store")
    student = spacy.blank("xx")
    model = {"@architectures": "spacy-skd.LabelParser.v1", "tok2vec": TOK2VEC}
    student.add_pipe("skd_parser", name="parser", config={"model": model})

    def labels(names):
        corpus = DistillCorpus(
            None, tmp_path / "docs.spacy", tmp_path / "store", label_map={"parser": names}
        )
        student.get_pipe("parser").cfg["labels"] = []
        return {
            label
            for example in corpus(student)
            for label in student.get_pipe("parser").labels_of(example.reference)
        }

    every = labels({})
    assert any("amod" in label for label in every)
    kept = labels({"amod": None})
    assert kept == {label for label in every if "amod" not in label} and kept
