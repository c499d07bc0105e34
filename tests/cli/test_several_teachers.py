"""Several teachers from the command line: who reads what, and a student of all of them."""

import json

import pytest
import spacy
from spacy.tokens import Doc

from spacy_skd.distill.attached import get_targets
from spacy_skd.distill.store import TargetStore
from spacy_skd.training.corpus import DistillCorpus
from spacy_skd.training.documents import read_sources
from spacy_skd.training.routes import Routes

from ..toy import sentences, toy_pipeline, write_docs
from .distill_cases import CONFIG, message, with_component
from .several_cases import ENGLISH, GERMAN, run


def texts_in(store, texts):
    nlp = spacy.blank("xx")
    found = TargetStore(store)
    return [text for text in texts if found.get(nlp.make_doc(text))], len(found)


def test_each_teacher_reads_the_documents_of_its_language(bilingual):
    result = run(bilingual, "annotate", bilingual / "texts")
    assert result.exit_code == 0, result.output
    out = bilingual / "out"
    assert texts_in(out / "de", GERMAN + ENGLISH) == (GERMAN, 2)
    assert texts_in(out / "en", GERMAN + ENGLISH) == (ENGLISH, 2)
    assert TargetStore(out / "de").teacher != TargetStore(out / "en").teacher
    (bilingual / "texts" / "more.en.txt").write_text("Something new .")
    result = run(bilingual, "annotate", bilingual / "texts")
    assert "0 new documents" in message(result) and "1 new documents" in message(result)


def test_a_text_of_two_teachers_is_named_before_they_read(bilingual):
    assert "text of one of another" not in message(run(bilingual, "annotate", bilingual / "texts"))
    path = bilingual / "texts" / "same.en.spacy"
    write_docs(path, [spacy.blank("en").make_doc(text) for text in ["New .", GERMAN[0]]])
    path = bilingual / "texts" / "twice.en.txt"
    path.write_text("\n".join(ENGLISH))  # of one teacher: no matter
    said = message(run(bilingual, "annotate", bilingual / "texts"))
    assert "1 documents have the text of one of another teacher's" in said
    assert "same.en.spacy, document 2)" in said and "ensemble = true" in said
    assert "2 new documents of 6 tokens" in said


def test_an_ensemble_reads_everything(bilingual):
    result = run(bilingual, "annotate", bilingual / "texts", "--ensemble")
    assert result.exit_code == 0, result.output
    for name in ("de", "en"):
        assert texts_in(bilingual / "out" / name, GERMAN + ENGLISH) == (GERMAN + ENGLISH, 4)


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


def test_a_document_of_no_teacher(bilingual):
    (bilingual / "texts" / "more.jsonl").write_text('{"text": "Bonjour", "lang": "fr"}\n')
    result = run(bilingual, "annotate", bilingual / "texts")
    assert result.exit_code == 1
    assert "more.jsonl, line 1, has the lang 'fr', and no teacher has that name" in message(result)
    assert "de, en" in message(result) and not (bilingual / "out").exists()
    (bilingual / "texts" / "notes.txt").write_text("Hm .")
    result = run(bilingual, "annotate", bilingual / "texts" / "notes.txt")
    assert "notes.txt, line 1, does not say which teacher is to read it" in message(result)
    result = run(bilingual, "annotate", bilingual / "texts", "--skip-unknown")
    assert result.exit_code == 0, result.output
    assert "2 documents are of no teacher" in message(result)


def test_another_tokenizer(bilingual):
    (bilingual / "texts" / "news.de.txt").write_text("Don't!")
    result = run(bilingual, "annotate", bilingual / "texts", "--tokenizer", "en")
    assert result.exit_code == 0, result.output
    store = TargetStore(bilingual / "out" / "de")
    assert store.get(spacy.blank("en").make_doc("Don't!"))
    assert not store.get(spacy.blank("xx").make_doc("Don't!"))
    result = run(bilingual, "annotate", bilingual / "texts", "--tokenizer", "nobody")
    assert "no language and no pipeline 'nobody'" in message(result)


def test_a_folder_named_like_a_language(bilingual, monkeypatch):
    (bilingual / "en").mkdir()
    monkeypatch.chdir(bilingual)
    result = run(bilingual, "annotate", bilingual / "texts", "--tokenizer", "en")
    assert result.exit_code == 0, result.output
    result = run(bilingual, "annotate", bilingual / "texts", "--tokenizer", "texts")
    assert "no language and no pipeline 'texts'" in message(result)


# --- texts of two teachers


@pytest.fixture
def shared(bilingual):
    """A German text that is among the English ones, too."""
    (bilingual / "texts" / "same.en.txt").write_text("\n".join([GERMAN[0], "New ."]))
    return bilingual / "texts"


@pytest.mark.parametrize(
    "option, german, english, said",
    [
        ("both", 2, 4, "let one teacher read them with --shared first"),
        ("first", 1, 4, "the first one's teacher reads such texts"),
        ("skip", 1, 3, "nobody reads such texts"),
    ],
)
def test_who_reads_a_text_of_two_teachers(bilingual, shared, option, german, english, said):
    # en_news.txt, news.de.txt, same.en.txt: the first of the two is the German one.
    german += option == "first"
    english -= option == "first"
    result = run(bilingual, "annotate", shared, "--shared", option)
    assert result.exit_code == 0, result.output
    assert "1 documents have the text" in message(result) and said in message(result)
    assert texts_in(bilingual / "out" / "de", GERMAN)[1] == german
    assert texts_in(bilingual / "out" / "en", ENGLISH)[1] == english


def test_a_teacher_whose_texts_are_all_of_another_one(bilingual):
    (bilingual / "texts" / "news.de.txt").write_text(ENGLISH[0])
    for option in ("first", "skip"):
        result = run(bilingual, "annotate", bilingual / "texts", "--shared", option)
        assert result.exit_code == 1 and "No document is for the teacher de" in message(result)


def test_a_student_does_without_texts_of_two_teachers(bilingual, shared, distilled):
    texts = ["--raw", shared, "--dev", bilingual / "dev.spacy"]
    result = run(bilingual, "distill", bilingual / "student.cfg", *texts)
    assert result.exit_code == 1 and "same.en.txt, line 1. The student would" in message(result)
    assert not (bilingual / "out").exists()
    assert "corpora.train.require_targets" not in distilled("--shared", "first")
    assert len(list(corpus_of(bilingual)(spacy.blank("xx")))) == 6
    told = distilled("--shared", "skip", "--force")
    assert told["corpora.train.require_targets"] is False


def corpus_of(folder, **settings):
    return DistillCorpus(None, folder / "texts", folder / "out" / "targets", **settings)


# --- a student of all of them


@pytest.mark.parametrize("ensemble", [False, True])
def test_a_student_of_two_teachers(bilingual, ensemble):
    (bilingual / "student.cfg").write_text(CONFIG)
    write_docs(bilingual / "dev.spacy", [spacy.blank("xx").make_doc(sentences(1)[0])])
    options = ["--raw", bilingual / "texts", "--dev", bilingual / "dev.spacy"]
    options += ["--training.max_steps", 2]
    options += ["--ensemble"] if ensemble else ["--skip-unknown"]
    if not ensemble:
        (bilingual / "texts" / "more.jsonl").write_text('{"text": "Bonjour", "lang": "fr"}\n')
    result = run(bilingual, "distill", bilingual / "student.cfg", *options)
    assert result.exit_code == 0, result.output
    student = spacy.load(bilingual / "out" / "model-last")
    assert student.get_pipe("ner").labels == ("A",)
    assert len(TargetStore(bilingual / "out" / "targets" / "en")) == (4 if ensemble else 2)


def test_the_teachers_of_an_earlier_run_do_not_teach(bilingual, distilled):
    distilled("--ensemble", teachers=["a=german", "b=english"])
    told = distilled("--ensemble", "--force", teachers=["a=german", "c=english"])
    stores = [str(bilingual / "out" / "targets" / name) for name in "ac"]
    assert told["paths.targets"] == stores
    assert (bilingual / "out" / "targets" / "b").exists()
    [example, *_] = DistillCorpus(
        None, bilingual / "texts", stores, ensemble=True, target_weights={"c": 2}
    )(spacy.blank("xx"))
    assert [target.weight for target in get_targets(example.reference, "ner")] == [1, 2]


def test_raw_text_is_tokenised_as_by_the_student(bilingual, distilled):
    @spacy.registry.tokenizers("test_several_teachers.Characters.v1")
    def make_tokenizer():
        return lambda nlp: lambda text: Doc(nlp.vocab, words=list(text), spaces=[False] * len(text))

    (bilingual / "texts" / "news.de.txt").write_text("Nein !")
    distilled("--nlp.tokenizer", '{"@tokenizers":"test_several_teachers.Characters.v1"}')
    nlp = spacy.blank("xx")
    characters = Doc(nlp.vocab, words=list("Nein !"), spaces=[False] * 6)
    assert TargetStore(bilingual / "out" / "targets" / "de").get(characters)


def test_a_student_of_components_of_different_names(bilingual, distilled):
    toy_pipeline(seed=1, name="other_ner").to_disk(bilingual / "english")
    texts = ["--raw", bilingual / "texts", "--dev", bilingual / "dev.spacy"]
    result = run(bilingual, "distill", bilingual / "student.cfg", *texts)
    assert result.exit_code == 1
    assert "'en' teaches nothing that the student learns: this has 'ner'" in message(result)
    both = ("--corpora.train.components", '{"ner": ["ner", "other_ner"]}')
    told = distilled(*both)
    corpus = corpus_of(bilingual, components=told["corpora.train.components"])
    nlp = spacy.blank("xx")
    nlp.add_pipe("skd_ner", name="ner")
    found = [get_targets(example.reference, "ner") for example in corpus(nlp)]
    assert [len(targets) for targets in found] == [1, 1, 1, 1]


def test_a_teacher_of_fewer_components(bilingual, distilled):
    nlp = toy_pipeline()
    nlp.add_pipe("toy_teacher", name="tagger", config={"kind": "token"})
    nlp.to_disk(bilingual / "german")
    (bilingual / "student.cfg").write_text(with_component("tagger"))
    texts = ["--raw", bilingual / "texts", "--dev", bilingual / "dev.spacy"]
    result = run(bilingual, "distill", bilingual / "student.cfg", *texts)
    assert result.exit_code == 1
    assert "'en' does not teach 'tagger', which other teachers do" in message(result)
    distilled("--corpora.train.require_targets", "false")
    assert list(TargetStore(bilingual / "out" / "targets" / "en").teachers) == ["ner"]
    assert list(TargetStore(bilingual / "out" / "targets" / "de").teachers) == ["ner", "tagger"]
