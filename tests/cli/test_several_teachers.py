"""Several teachers from the command line: who reads what, and a student of all of them."""

import json

import pytest
import spacy
from spacy.cli._util import app
from spacy.language import Language
from spacy.tokens import Doc, Span
from typer.testing import CliRunner

from spacy_skd.cli import distill as cli
from spacy_skd.distill.attached import get_targets
from spacy_skd.distill.store import TargetStore
from spacy_skd.training.corpus import DistillCorpus
from spacy_skd.training.documents import read_sources
from spacy_skd.training.routes import Routes

from ..toy import sentences, toy_pipeline, write_docs
from .test_distill import CONFIG, message, with_component

GERMAN = ["Das alte Haus .", "Noch ein Satz ."]
ENGLISH = ["The old house .", "One more sentence ."]


@pytest.fixture
def folder(tmp_path):
    """Two teachers, and a text file of each language."""
    toy_pipeline().to_disk(tmp_path / "german")
    toy_pipeline(seed=1).to_disk(tmp_path / "english")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "news.de.txt").write_text("\n".join(GERMAN))
    (tmp_path / "texts" / "en_news.txt").write_text("\n".join(ENGLISH))
    return tmp_path


def run(folder, command, *arguments, teachers=("de=german", "en=english")):
    options = []
    for teacher in teachers:
        name, _, path = teacher.partition("=")
        options += ["--teacher", f"{name}={folder / path}"]
    words = ["skd", command, *map(str, arguments), *options, "--output", str(folder / "out")]
    return CliRunner().invoke(app, words)


def texts_in(store, texts):
    nlp = spacy.blank("xx")
    found = TargetStore(store)
    return [text for text in texts if found.get(nlp.make_doc(text))], len(found)


def test_each_teacher_reads_the_documents_of_its_language(folder):
    result = run(folder, "annotate", folder / "texts")
    assert result.exit_code == 0, result.output
    assert texts_in(folder / "out" / "de", GERMAN + ENGLISH) == (GERMAN, 2)
    assert texts_in(folder / "out" / "en", GERMAN + ENGLISH) == (ENGLISH, 2)
    assert TargetStore(folder / "out" / "de").teacher != TargetStore(folder / "out" / "en").teacher
    (folder / "texts" / "more.en.txt").write_text("Something new .")
    result = run(folder, "annotate", folder / "texts")
    assert "0 new documents" in message(result) and "1 new documents" in message(result)


def test_a_text_of_two_teachers_is_named_before_they_read(folder):
    assert "text of one of another" not in message(run(folder, "annotate", folder / "texts"))
    path = folder / "texts" / "same.en.spacy"
    write_docs(path, [spacy.blank("en").make_doc(text) for text in ["New .", GERMAN[0]]])
    (folder / "texts" / "twice.en.txt").write_text("\n".join(ENGLISH))  # of one teacher: no matter
    said = message(run(folder, "annotate", folder / "texts"))
    assert "1 documents have the text of one of another teacher's" in said
    assert "same.en.spacy, document 2)" in said and "ensemble = true" in said
    assert "2 new documents of 6 tokens" in said


def test_an_ensemble_reads_everything(folder):
    result = run(folder, "annotate", folder / "texts", "--ensemble")
    assert result.exit_code == 0, result.output
    for name in ("de", "en"):
        assert texts_in(folder / "out" / name, GERMAN + ENGLISH) == (GERMAN + ENGLISH, 4)


def routed(paths, **settings):
    routes = Routes(["de", "en"], paths, **settings)
    return [routes.teacher_of(source) for source in read_sources(routes.files, routes.by)]


def test_what_a_document_says(tmp_path):
    lines = [{"text": "a", "lang": "de"}, {"text": "b", "meta": {"lang": "en"}}, {"text": "c"}]
    (tmp_path / "en.jsonl").write_text("\n".join(map(json.dumps, lines)))
    Doc.set_extension("lang", default=None, force=True)
    nlp = spacy.blank("xx")
    docs = [nlp.make_doc(text) for text in "def"]
    docs[0].user_data["lang"] = "en"
    docs[1]._.lang = "de"
    write_docs(tmp_path / "docs.de.spacy", docs)
    Doc.remove_extension("lang")
    assert routed([tmp_path / "en.jsonl"]) == ["de", "en", "en"]
    assert routed([tmp_path / "docs.de.spacy"]) == ["en", "de", "de"]


@pytest.mark.parametrize(
    "file, given, expected",
    [
        ("de.txt", "de.txt", "de"),
        ("train-de.txt", ".", "de"),
        ("en/train.txt", ".", "en"),
        ("en/train.txt", "en/train.txt", "en"),
        ("en/deeper/train.txt", "en", "en"),
        ("en/deeper/train.txt", "en/deeper", None),
        ("en/deeper/de.txt", ".", "de"),
        ("de-en.txt", ".", None),
        ("index.txt", ".", None),
    ],
)
def test_what_a_file_is_named_after(tmp_path, file, given, expected):
    path = tmp_path / "corpus" / file
    path.parent.mkdir(parents=True)
    path.write_text("text")
    assert routed([tmp_path / "corpus" / given], skip_unknown=True) == [expected]


def test_a_document_of_no_teacher(folder):
    (folder / "texts" / "more.jsonl").write_text('{"text": "Bonjour", "lang": "fr"}\n')
    result = run(folder, "annotate", folder / "texts")
    assert result.exit_code == 1
    assert "more.jsonl, line 1, has the lang 'fr', and no teacher has that name" in message(result)
    assert "de, en" in message(result) and not (folder / "out").exists()
    (folder / "texts" / "notes.txt").write_text("Hm .")
    result = run(folder, "annotate", folder / "texts" / "notes.txt")
    assert "notes.txt, line 1, does not say which teacher is to read it" in message(result)
    result = run(folder, "annotate", folder / "texts", "--skip-unknown")
    assert result.exit_code == 0, result.output
    assert "2 documents are of no teacher" in message(result)


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
def test_teachers_that_cannot_be(folder, teachers, fault):
    options = [word for teacher in teachers for word in ("--teacher", teacher)]
    command = ["skd", "annotate", str(folder / "texts"), "--output", str(folder / "out")]
    words = [word.replace("=", f"={folder}/") for word in options]
    result = CliRunner().invoke(app, command + words)
    assert result.exit_code == 1 and fault in message(result)
    assert not (folder / "out").exists()


def test_the_store_of_one_teacher_is_none_of_several(folder):
    assert run(folder, "annotate", folder / "german", folder / "texts", teachers=[]).exit_code == 0
    result = run(folder, "annotate", folder / "texts")
    assert result.exit_code == 1
    assert "is the store of one teacher" in message(result)


def test_another_tokenizer(folder):
    (folder / "texts" / "news.de.txt").write_text("Don't!")
    result = run(folder, "annotate", folder / "texts", "--tokenizer", "en")
    assert result.exit_code == 0, result.output
    store = TargetStore(folder / "out" / "de")
    assert store.get(spacy.blank("en").make_doc("Don't!"))
    assert not store.get(spacy.blank("xx").make_doc("Don't!"))
    result = run(folder, "annotate", folder / "texts", "--tokenizer", "nobody")
    assert "no language and no pipeline 'nobody'" in message(result)


@pytest.mark.parametrize("ensemble", [False, True])
def test_a_student_of_two_teachers(folder, ensemble):
    (folder / "student.cfg").write_text(CONFIG)
    write_docs(folder / "dev.spacy", [spacy.blank("xx").make_doc(sentences(1)[0])])
    options = ["--raw", folder / "texts", "--dev", folder / "dev.spacy", "--training.max_steps", 2]
    options += ["--ensemble"] if ensemble else ["--skip-unknown"]
    if not ensemble:
        (folder / "texts" / "more.jsonl").write_text('{"text": "Bonjour", "lang": "fr"}\n')
    result = run(folder, "distill", folder / "student.cfg", *options)
    assert result.exit_code == 0, result.output
    student = spacy.load(folder / "out" / "model-last")
    assert student.get_pipe("ner").labels == ("A",)
    assert len(TargetStore(folder / "out" / "targets" / "en")) == (4 if ensemble else 2)


@pytest.fixture
def distilled(folder, monkeypatch):
    """Run `distill` up to the training of the student; returns what that would have been told."""
    (folder / "student.cfg").write_text(CONFIG)
    write_docs(folder / "dev.spacy", [spacy.blank("xx").make_doc(sentences(1)[0])])
    told = {}

    def train(config, output, *, use_gpu, overrides):
        told.update(overrides)

    monkeypatch.setattr(cli, "train_pipeline", train)

    def run_it(*options, **settings):
        told.clear()
        texts = ["--raw", folder / "texts", "--dev", folder / "dev.spacy"]
        result = run(folder, "distill", folder / "student.cfg", *texts, *options, **settings)
        assert result.exit_code == 0, result.output
        return dict(told)

    return run_it


def test_the_teachers_of_an_earlier_run_do_not_teach(folder, distilled):
    distilled("--ensemble", teachers=["a=german", "b=english"])
    told = distilled("--ensemble", "--force", teachers=["a=german", "c=english"])
    stores = [str(folder / "out" / "targets" / name) for name in "ac"]
    assert told["paths.targets"] == stores
    assert (folder / "out" / "targets" / "b").exists()
    [example, *_] = DistillCorpus(
        None, folder / "texts", stores, ensemble=True, target_weights={"c": 2}
    )(spacy.blank("xx"))
    assert [target.weight for target in get_targets(example.reference, "ner")] == [1, 2]


def test_raw_text_is_tokenised_as_by_the_student(folder, distilled):
    @spacy.registry.tokenizers("test_several_teachers.Characters.v1")
    def make_tokenizer():
        return lambda nlp: lambda text: Doc(nlp.vocab, words=list(text), spaces=[False] * len(text))

    (folder / "texts" / "news.de.txt").write_text("Nein !")
    distilled("--nlp.tokenizer", '{"@tokenizers":"test_several_teachers.Characters.v1"}')
    nlp = spacy.blank("xx")
    characters = Doc(nlp.vocab, words=list("Nein !"), spaces=[False] * 6)
    assert TargetStore(folder / "out" / "targets" / "de").get(characters)


def test_a_folder_named_like_a_language(folder, monkeypatch):
    (folder / "en").mkdir()
    monkeypatch.chdir(folder)
    result = run(folder, "annotate", folder / "texts", "--tokenizer", "en")
    assert result.exit_code == 0, result.output
    result = run(folder, "annotate", folder / "texts", "--tokenizer", "texts")
    assert "no language and no pipeline 'texts'" in message(result)


def test_all_teachers_are_checked_before_one_reads(folder):
    toy_pipeline(name="entities").to_disk(folder / "other")
    teachers = ["de=german", "en=other"]
    result = run(folder, "annotate", folder / "texts", "--component", "ner", teachers=teachers)
    assert result.exit_code == 1
    assert "The teacher 'en'" in message(result) and "no component 'ner'" in message(result)
    assert not (folder / "out").exists()
    run(folder, "annotate", folder / "texts")
    (folder / "texts" / "more.de.txt").write_text("Noch einer .")
    result = run(folder, "annotate", folder / "texts", teachers=teachers)
    assert result.exit_code == 1 and "but the teacher is now" in message(result)
    assert len(TargetStore(folder / "out" / "de")) == 2
    result = run(folder, "annotate", folder / "texts", "--force", teachers=teachers)
    assert result.exit_code == 0, result.output
    assert len(TargetStore(folder / "out" / "de")) == 3


@pytest.mark.parametrize("command", ["annotate", "distill"])
def test_a_beam_that_a_teacher_cannot_have(folder, distilled, command):
    given = [folder / "texts"]
    if command == "distill":
        given = [folder / "student.cfg", "--raw", folder / "texts", "--dev", folder / "dev.spacy"]
    result = run(folder, command, *given, "--beam-width", 4)
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
def test_options_that_would_do_nothing(folder, options, teachers, fault):
    given = [folder / "texts"] if teachers else [folder / "german", folder / "texts"]
    result = run(folder, "annotate", *given, *options, teachers=teachers)
    assert result.exit_code == 1 and fault in message(result)
    given = ["student.cfg"] if teachers else ["german", "student.cfg"]
    result = run(folder, "distill", *given, *options, teachers=teachers)
    assert result.exit_code == 1 and fault in message(result)


# --- texts of two teachers


@pytest.fixture
def shared(folder):
    """A German text that is among the English ones, too."""
    (folder / "texts" / "same.en.txt").write_text("\n".join([GERMAN[0], "New ."]))
    return folder / "texts"


@pytest.mark.parametrize(
    "option, german, english, said",
    [
        ("both", 2, 4, "let one teacher read them with --shared first"),
        ("first", 1, 4, "the first one's teacher reads such texts"),
        ("skip", 1, 3, "nobody reads such texts"),
    ],
)
def test_who_reads_a_text_of_two_teachers(folder, shared, option, german, english, said):
    # en_news.txt, news.de.txt, same.en.txt: the first of the two is the German one.
    german += option == "first"
    english -= option == "first"
    result = run(folder, "annotate", shared, "--shared", option)
    assert result.exit_code == 0, result.output
    assert "1 documents have the text" in message(result) and said in message(result)
    assert texts_in(folder / "out" / "de", GERMAN)[1] == german
    assert texts_in(folder / "out" / "en", ENGLISH)[1] == english


def test_a_teacher_whose_texts_are_all_of_another_one(folder):
    (folder / "texts" / "news.de.txt").write_text(ENGLISH[0])
    for option in ("first", "skip"):
        result = run(folder, "annotate", folder / "texts", "--shared", option)
        assert result.exit_code == 1 and "No document is for the teacher de" in message(result)


def test_a_student_does_without_texts_of_two_teachers(folder, shared, distilled):
    texts = ["--raw", shared, "--dev", folder / "dev.spacy"]
    result = run(folder, "distill", folder / "student.cfg", *texts)
    assert result.exit_code == 1 and "same.en.txt, line 1. The student would" in message(result)
    assert not (folder / "out").exists()
    assert "corpora.train.require_targets" not in distilled("--shared", "first")
    assert len(list(corpus_of(folder)(spacy.blank("xx")))) == 6
    told = distilled("--shared", "skip", "--force")
    assert told["corpora.train.require_targets"] is False


def corpus_of(folder, **settings):
    return DistillCorpus(None, folder / "texts", folder / "out" / "targets", **settings)


# --- teachers of an ensemble


def test_teachers_that_cut_up_texts_in_different_ways(folder):
    nlp = spacy.blank("en", meta={"name": "toy"})
    nlp.add_pipe("toy_teacher", name="ner")
    nlp.to_disk(folder / "english")
    (folder / "texts" / "one.txt").write_text("All as one .\nI don't go , Ada .")
    texts = [folder / "texts" / "one.txt", "--ensemble"]
    result = run(folder, "annotate", *texts)
    assert result.exit_code == 1
    assert (
        "one.txt, line 2, 'de' has the tokens “don't | go | , | Ada …”, 'en' “do | n't | go | , …”"
    ) in message(result)
    assert "--tokenizer" in message(result) and not (folder / "out").exists()
    result = run(folder, "annotate", *texts, "--tokenizer", "xx")
    assert result.exit_code == 0, result.output
    (folder / "texts" / "one.txt").write_text("All as one .")
    result = run(folder, "annotate", *texts)
    assert result.exit_code == 0, result.output


def test_teachers_that_divide_documents_may_have_two_tokenizers(folder):
    nlp = spacy.blank("en", meta={"name": "toy"})
    nlp.add_pipe("toy_teacher", name="ner")
    nlp.to_disk(folder / "english")
    (folder / "texts" / "more.en.txt").write_text("I don't .")
    result = run(folder, "annotate", folder / "texts")
    assert result.exit_code == 0, result.output
    assert "A student has one tokenizer" in message(result)


def test_one_pipeline_under_two_names(folder):
    teachers = ["a=german", "b=german"]
    result = run(folder, "annotate", folder / "texts", "--ensemble", teachers=teachers)
    assert result.exit_code == 1
    assert "The teachers 'a' and 'b' are the same pipeline, xx_toy" in message(result)
    teachers = ["de=german", "en=german"]  # it knows both languages
    result = run(folder, "annotate", folder / "texts", teachers=teachers)
    assert result.exit_code == 0, result.output


def test_components_of_different_names(folder):
    toy_pipeline(seed=1, name="other_ner").to_disk(folder / "english")
    options = [folder / "texts", "--ensemble", "--component", "ner", "--component"]
    result = run(folder, "annotate", *options, "nerr")
    assert result.exit_code == 1
    assert "No teacher teaches 'nerr'. They teach de: ner; en: other_ner" in message(result)
    result = run(folder, "annotate", *options, "other_ner")
    assert result.exit_code == 0, result.output
    assert list(TargetStore(folder / "out" / "en").teachers) == ["other_ner"]


def test_a_student_of_components_of_different_names(folder, distilled):
    toy_pipeline(seed=1, name="other_ner").to_disk(folder / "english")
    texts = ["--raw", folder / "texts", "--dev", folder / "dev.spacy"]
    result = run(folder, "distill", folder / "student.cfg", *texts)
    assert result.exit_code == 1
    assert "'en' teaches nothing that the student learns: this has 'ner'" in message(result)
    both = ("--corpora.train.components", '{"ner": ["ner", "other_ner"]}')
    told = distilled(*both)
    corpus = corpus_of(folder, components=told["corpora.train.components"])
    nlp = spacy.blank("xx")
    nlp.add_pipe("skd_ner", name="ner")
    found = [get_targets(example.reference, "ner") for example in corpus(nlp)]
    assert [len(targets) for targets in found] == [1, 1, 1, 1]


def test_a_teacher_of_fewer_components(folder, distilled):
    nlp = toy_pipeline()
    nlp.add_pipe("toy_teacher", name="tagger", config={"kind": "token"})
    nlp.to_disk(folder / "german")
    (folder / "student.cfg").write_text(with_component("tagger"))
    texts = ["--raw", folder / "texts", "--dev", folder / "dev.spacy"]
    result = run(folder, "distill", folder / "student.cfg", *texts)
    assert result.exit_code == 1
    assert "'en' does not teach 'tagger', which other teachers do" in message(result)
    distilled("--corpora.train.require_targets", "false")
    assert list(TargetStore(folder / "out" / "targets" / "en").teachers) == ["ner"]
    assert list(TargetStore(folder / "out" / "targets" / "de").teachers) == ["ner", "tagger"]


# --- components that do not tell their labels


@Language.component("several_teachers_finder", assigns=["doc.ents"])
def find_houses(doc):
    doc.ents = [Span(doc, t.i, t.i + 1, "HOUSE") for t in doc if t.lower_ in ("haus", "house")]
    return doc


def test_labels_of_a_function_are_named(folder):
    nlp = spacy.blank("xx", meta={"name": "rules"})
    nlp.add_pipe("several_teachers_finder", name="finder")
    nlp.to_disk(folder / "rules")
    teachers = ["en=english", "rules=rules"]
    options = [folder / "texts", "--ensemble"]
    result = run(folder, "annotate", *options, teachers=teachers)
    assert result.exit_code == 1 and "'rules'" in message(result)
    assert "does not tell its labels" in message(result) and "--labels" in message(result)
    result = run(folder, "annotate", *options, "--labels", "findr=HOUSE", teachers=teachers)
    assert "--labels names findr, but the components of the teacher are ner, finder" in message(
        result
    )
    (folder / "labels.json").write_text('["HOUSE"]')
    for given in ("finder=HOUSE", f"finder={folder / 'labels.json'}"):
        result = run(folder, "annotate", *options, "--labels", given, teachers=teachers)
        assert result.exit_code == 0, result.output
    store = TargetStore(folder / "out" / "rules")
    assert store.teachers["finder"].labels == ("HOUSE",)
    target = store.get(nlp.make_doc(GERMAN[0]))["finder"]
    assert target.scores[["token", "label"]].tolist() == [(2, 0)]


@pytest.mark.parametrize("given", ["HOUSE", "=HOUSE", "finder=", "finder=A,,B"])
def test_labels_in_another_form(folder, given):
    result = run(folder, "annotate", folder / "texts", "--labels", given)
    assert result.exit_code == 1 and "Labels are given as COMPONENT=LABEL" in message(result)
