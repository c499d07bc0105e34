"""What the meta.json of a student says of its teachers, its data and its licence."""

import logging

import pytest
import spacy
from spacy.cli.package import get_third_party_dependencies
from spacy.schemas import ModelMetaSchema, validate

from spacy_skd.cli.annotate import annotate
from spacy_skd.distill.teachers import fingerprint
from spacy_skd.training.callbacks import make_strip_distillation
from spacy_skd.training.student_meta import student_meta
from spacy_skd.training.version_check import requirement

from ..pipeline.tiny import blank
from ..toy import toy_pipeline


@pytest.fixture
def corpus(texts, tmp_path):
    """The training corpus of a student of two teachers, whose stores lie in one folder."""
    for seed, name in enumerate(("one", "two")):
        annotate(toy_pipeline(seed), [texts], tmp_path / "stores" / name)
    return {
        "@readers": "spacy-skd.DistillCorpus.v1",
        "path": str(tmp_path / "gold.spacy"),
        "raw": [str(texts), str(tmp_path / "more.jsonl")],
        "targets": str(tmp_path / "stores"),
    }


def student(corpus, **meta):
    nlp = spacy.blank("xx", meta=meta)
    nlp.config["corpora"]["train"] = corpus
    return nlp


def test_teachers_and_files_are_those_of_the_training_corpus(corpus, tmp_path):
    teachers = [fingerprint(toy_pipeline(seed)) for seed in (0, 1)]
    nlp = student(corpus, name="mine")
    before = dict(nlp.meta)
    meta = make_strip_distillation()(nlp).meta
    assert meta["distillation"] == {
        "teachers": [{"name": "xx_toy", "version": "1.0.0", "hash": t.hash} for t in teachers],
        "gold": ["gold.spacy"],
        "raw": ["texts.txt", "more.jsonl"],
    }
    for teacher in teachers:
        assert str(teacher) in meta["notes"]
    assert str(tmp_path) not in str(meta)
    assert meta["name"] == "mine" and nlp.meta == before


def test_data_licence_and_notes(corpus):
    strip = make_strip_distillation("Harbour News", "CC BY 4.0", "Made by hand.")
    stripped = strip(student(corpus))
    meta = stripped.meta
    assert meta["sources"] == [{"name": "Harbour News"}]
    assert meta["license"] == "CC BY 4.0"
    assert meta["notes"].startswith("Made by hand.\n\nDistilled from xx_toy 1.0.0 (")
    assert not validate(ModelMetaSchema, meta)
    # what is saved again, for instance by `skd calibrate`, keeps what it says
    assert make_strip_distillation()(stripped).meta == meta


def test_several_sources():
    letters = {"name": "Letters", "url": "https://example.org", "license": "MIT"}
    sources = ["Harbour News", letters, "/home/me/train.conllu", "assets/more.conllu"]
    meta = student_meta(spacy.blank("xx"), data=sources)
    assert [source["name"] for source in meta["sources"]] == [
        "Harbour News",
        "Letters",
        "train.conllu",
        "assets/more.conllu",
    ]
    assert meta["sources"][1] == letters
    assert not validate(ModelMetaSchema, meta)


def test_nothing_is_made_up():
    nlp = spacy.blank("xx", meta={"license": "MIT", "notes": "Mine.", "requirements": ["other"]})
    meta = student_meta(nlp, data="", license="", notes="")
    assert meta["license"] == "MIT" and meta["notes"] == "Mine."
    assert meta["requirements"] == ["other", requirement()]
    assert "distillation" not in meta and "sources" not in meta


def test_the_requirement_is_that_of_the_version_that_trained_last():
    nlp = spacy.blank("xx", meta={"requirements": ["spacy_skd>=0.0.1,<0.1.0", "spacy-skd-more"]})
    assert student_meta(nlp)["requirements"] == ["spacy-skd-more", requirement()]


def test_spacy_finds_the_same_requirement_by_itself():
    """`spacy package` asks for the package of every registered name, so a student that was saved
    without the callback has the requirement too."""
    assert get_third_party_dependencies(blank().config) == [requirement()]


def test_a_store_that_is_gone_costs_no_student(corpus, caplog):
    corpus["targets"] = [corpus["targets"], "no/such/store"]
    logging.getLogger("spacy").propagate = True
    meta = make_strip_distillation()(student(corpus)).meta
    assert len(meta["distillation"]["teachers"]) == 2
    assert "no/such/store" in caplog.text
