"""Several teachers that do not fit together or with the options: what is said, before one reads."""

import pytest
import spacy
from spacy.cli._util import app
from spacy.language import Language
from spacy.tokens import Span
from typer.testing import CliRunner

from spacy_skd.distill.store import TargetStore

from ..toy import toy_pipeline
from .distill_cases import message
from .several_cases import GERMAN, run


@pytest.mark.parametrize(
    "teachers, fault",
    [
        (["german"], "is given as NAME=PATH"),
        (["a/b=german"], "is given as NAME=PATH"),
        (["de=german", "de=english"], "two teachers of the name 'de'"),
        (["de=german", "en=nobody"], "Can't find the teacher 'en'"),
        (["de=german", "en=english", "fr=german"], "No document is for the teacher fr"),
    ],
)
def test_teachers_that_cannot_be(bilingual, teachers, fault):
    options = [word for teacher in teachers for word in ("--teacher", teacher)]
    command = ["skd", "annotate", str(bilingual / "texts"), "--output", str(bilingual / "out")]
    words = [word.replace("=", f"={bilingual}/") for word in options]
    result = CliRunner().invoke(app, command + words)
    assert result.exit_code == 1 and fault in message(result)
    assert not (bilingual / "out").exists()


def test_the_store_of_one_teacher_is_none_of_several(bilingual):
    given = [bilingual / "german", bilingual / "texts"]
    assert run(bilingual, "annotate", *given, teachers=[]).exit_code == 0
    result = run(bilingual, "annotate", bilingual / "texts")
    assert result.exit_code == 1
    assert "is the store of one teacher" in message(result)


def test_all_teachers_are_checked_before_one_reads(bilingual):
    toy_pipeline(name="entities").to_disk(bilingual / "other")
    teachers = ["de=german", "en=other"]
    given = [bilingual / "texts", "--component", "ner"]
    result = run(bilingual, "annotate", *given, teachers=teachers)
    assert result.exit_code == 1
    assert "The teacher 'en'" in message(result) and "no component 'ner'" in message(result)
    assert not (bilingual / "out").exists()
    run(bilingual, "annotate", bilingual / "texts")
    (bilingual / "texts" / "more.de.txt").write_text("Noch einer .")
    result = run(bilingual, "annotate", bilingual / "texts", teachers=teachers)
    assert result.exit_code == 1 and "but the teacher is now" in message(result)
    assert len(TargetStore(bilingual / "out" / "de")) == 2
    result = run(bilingual, "annotate", bilingual / "texts", "--force", teachers=teachers)
    assert result.exit_code == 0, result.output
    assert len(TargetStore(bilingual / "out" / "de")) == 3


@pytest.mark.parametrize("command", ["annotate", "distill"])
def test_a_beam_that_a_teacher_cannot_have(bilingual, distilled, command):
    given = [bilingual / "texts"]
    if command == "distill":
        texts = ["--raw", bilingual / "texts", "--dev", bilingual / "dev.spacy"]
        given = [bilingual / "student.cfg", *texts]
    result = run(bilingual, command, *given, "--beam-width", 4)
    assert result.exit_code == 1
    assert "The teacher 'de'" in message(result) and "has neither" in message(result)


@pytest.mark.parametrize(
    "options, teachers, fault",
    [
        (["--ensemble"], [], "--ensemble is for several teachers"),
        (["--by", "lang"], [], "--by is for several teachers"),
        (["--skip-unknown"], [], "--skip-unknown is for several teachers"),
        (["--by", "lang", "--ensemble"], ["de=german", "en=english"], "--by divides documents"),
        (["--skip-unknown", "--ensemble"], ["de=german"], "--skip-unknown divides documents"),
        (["--shared", "skip"], [], "--shared is for several teachers"),
        (["--shared", "skip", "--ensemble"], ["de=german"], "--shared divides documents"),
    ],
)
def test_options_that_would_do_nothing(bilingual, options, teachers, fault):
    given = [bilingual / "texts"] if teachers else [bilingual / "german", bilingual / "texts"]
    result = run(bilingual, "annotate", *given, *options, teachers=teachers)
    assert result.exit_code == 1 and fault in message(result)
    given = ["student.cfg"] if teachers else ["german", "student.cfg"]
    result = run(bilingual, "distill", *given, *options, teachers=teachers)
    assert result.exit_code == 1 and fault in message(result)


# --- teachers of an ensemble


def test_teachers_that_cut_up_texts_in_different_ways(bilingual):
    nlp = spacy.blank("en", meta={"name": "toy"})
    nlp.add_pipe("toy_teacher", name="ner")
    nlp.to_disk(bilingual / "english")
    (bilingual / "texts" / "one.txt").write_text("All as one .\nI don't go , Ada .")
    texts = [bilingual / "texts" / "one.txt", "--ensemble"]
    result = run(bilingual, "annotate", *texts)
    assert result.exit_code == 1
    assert (
        "one.txt, line 2, 'de' has the tokens “don't | go | , | Ada …”, 'en' “do | n't | go | , …”"
    ) in message(result)
    assert "--tokenizer" in message(result) and not (bilingual / "out").exists()
    result = run(bilingual, "annotate", *texts, "--tokenizer", "xx")
    assert result.exit_code == 0, result.output
    (bilingual / "texts" / "one.txt").write_text("All as one .")
    result = run(bilingual, "annotate", *texts)
    assert result.exit_code == 0, result.output


def test_teachers_that_divide_documents_may_have_two_tokenizers(bilingual):
    nlp = spacy.blank("en", meta={"name": "toy"})
    nlp.add_pipe("toy_teacher", name="ner")
    nlp.to_disk(bilingual / "english")
    (bilingual / "texts" / "more.en.txt").write_text("I don't .")
    result = run(bilingual, "annotate", bilingual / "texts")
    assert result.exit_code == 0, result.output
    assert "A student has one tokenizer" in message(result)


def test_one_pipeline_under_two_names(bilingual):
    teachers = ["a=german", "b=german"]
    result = run(bilingual, "annotate", bilingual / "texts", "--ensemble", teachers=teachers)
    assert result.exit_code == 1
    assert "The teachers 'a' and 'b' are the same pipeline, xx_toy" in message(result)
    teachers = ["de=german", "en=german"]  # it knows both languages
    result = run(bilingual, "annotate", bilingual / "texts", teachers=teachers)
    assert result.exit_code == 0, result.output


def test_components_of_different_names(bilingual):
    toy_pipeline(seed=1, name="other_ner").to_disk(bilingual / "english")
    options = [bilingual / "texts", "--ensemble", "--component", "ner", "--component"]
    result = run(bilingual, "annotate", *options, "nerr")
    assert result.exit_code == 1
    assert "No teacher teaches 'nerr'. They teach de: ner; en: other_ner" in message(result)
    result = run(bilingual, "annotate", *options, "other_ner")
    assert result.exit_code == 0, result.output
    assert list(TargetStore(bilingual / "out" / "en").teachers) == ["other_ner"]


# --- components that do not tell their labels


@Language.component("several_teachers_finder", assigns=["doc.ents"])
def find_houses(doc):
    doc.ents = [Span(doc, t.i, t.i + 1, "HOUSE") for t in doc if t.lower_ in ("haus", "house")]
    return doc


def test_labels_of_a_function_are_named(bilingual):
    nlp = spacy.blank("xx", meta={"name": "rules"})
    nlp.add_pipe("several_teachers_finder", name="finder")
    nlp.to_disk(bilingual / "rules")
    teachers = ["en=english", "rules=rules"]
    options = [bilingual / "texts", "--ensemble"]
    result = run(bilingual, "annotate", *options, teachers=teachers)
    assert result.exit_code == 1 and "'rules'" in message(result)
    assert "does not tell its labels" in message(result) and "--labels" in message(result)
    result = run(bilingual, "annotate", *options, "--labels", "findr=HOUSE", teachers=teachers)
    assert "--labels names findr, but the components of the teacher are ner, finder" in message(
        result
    )
    (bilingual / "labels.json").write_text('["HOUSE"]')
    for given in ("finder=HOUSE", f"finder={bilingual / 'labels.json'}"):
        result = run(bilingual, "annotate", *options, "--labels", given, teachers=teachers)
        assert result.exit_code == 0, result.output
    store = TargetStore(bilingual / "out" / "rules")
    assert store.teachers["finder"].labels == ("HOUSE",)
    target = store.get(nlp.make_doc(GERMAN[0]))["finder"]
    assert target.scores[["token", "label"]].tolist() == [(2, 0)]


@pytest.mark.parametrize("given", ["HOUSE", "=HOUSE", "finder=", "finder=A,,B"])
def test_labels_in_another_form(bilingual, given):
    result = run(bilingual, "annotate", bilingual / "texts", "--labels", given)
    assert result.exit_code == 1 and "Labels are given as COMPONENT=LABEL" in message(result)
