import shutil

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc

from spacy_skd.distill.teachers import TeacherReader, find_teachers, fingerprint

from ..toy import sentences, toy_pipeline
from .stock import stock_pipeline


@pytest.fixture
def pipeline():
    nlp = toy_pipeline()
    nlp.add_pipe("sentencizer", first=True)
    nlp.add_pipe("toy_teacher", name="tagger", config={"kind": "token"})
    return nlp


def read(nlp, components, texts, batch_size=2):
    reader = TeacherReader(nlp, components, batch_size)
    docs = ((nlp.make_doc(text), f"line {line}") for line, text in enumerate(texts, start=1))
    return reader, list(reader.read(docs))


def test_all_that_can_teach_are_found(pipeline):
    assert find_teachers(pipeline) == ["sentencizer", "ner", "tagger"]
    assert find_teachers(pipeline, ["tagger"]) == ["tagger"]
    assert find_teachers(pipeline, ["tagger", "ner"]) == ["ner", "tagger"]


def test_components_that_cannot_teach(pipeline):
    with pytest.raises(ValueError, match=r"no component 'parser'.*sentencizer, ner, tagger"):
        find_teachers(pipeline, ["parser"])
    pipeline.add_pipe("doc_cleaner")
    with pytest.raises(ValueError, match="'doc_cleaner' of the teacher cannot teach"):
        find_teachers(pipeline, ["doc_cleaner"])
    with pytest.raises(ValueError, match=r"No component .* components: doc_cleaner"):
        nlp = spacy.blank("xx")
        nlp.add_pipe("doc_cleaner")
        find_teachers(nlp)


def test_components_that_teach_by_the_same_name():
    nlp = stock_pipeline("morphologizer", "tagger")
    nlp.rename_pipe("tagger", "morphologizer_pos")
    fault = "'morphologizer' and 'morphologizer_pos' .* both teach 'morphologizer_pos'"
    for names in (None, ["morphologizer_pos"]):
        with pytest.raises(ValueError, match=fault):
            find_teachers(nlp, names)
    with pytest.raises(ValueError, match=fault):
        TeacherReader(nlp, ["morphologizer", "morphologizer_pos"], 1)
    assert find_teachers(nlp, ["morphologizer"]) == ["morphologizer"]
    nlp.rename_pipe("morphologizer_pos", "tagger")
    assert find_teachers(nlp) == ["morphologizer", "morphologizer_pos", "tagger"]


def test_spacys_own_components_are_asked_without_harm():
    nlp = toy_pipeline()
    for name in ("tagger", "parser", "textcat", "spancat", "tok2vec"):
        nlp.add_pipe(name)
    assert find_teachers(nlp) == ["ner"]


def test_every_component_is_read(pipeline):
    texts = sentences(5)
    reader, read_docs = read(pipeline, ["ner", "tagger"], texts)
    assert [place for _, place, _ in read_docs] == [f"line {n}" for n in range(1, 6)]
    for doc, _, scores in read_docs:
        assert {name: len(rows) for name, rows in scores.items()} == {
            "ner": len(doc),
            "tagger": len(doc),
        }
        assert doc.has_annotation("SENT_START")
    assert {name: teacher.kind for name, teacher in reader.teachers.items()} == {
        "ner": "chain",
        "tagger": "token",
    }


def test_records_do_not_need_documents(pipeline):
    reader, _ = read(pipeline, ["ner", "tagger"], sentences(2))
    described = TeacherReader(pipeline, ["ner", "tagger"], 1).describe()
    for name, teacher in reader.teachers.items():
        assert (described[name].kind, described[name].labels) == (teacher.kind, teacher.labels)
        assert described[name].tables.keys() == teacher.tables.keys()
        for table, values in teacher.tables.items():
            np.testing.assert_array_equal(described[name].tables[table], values)


def test_components_after_the_last_teacher_do_not_run(pipeline):
    pipeline.get_pipe("tagger").fail_after = 0
    _, read_docs = read(pipeline, ["ner"], sentences(3))
    assert len(read_docs) == 3


def test_components_between_teachers_run(pipeline):
    seen = []

    @Language.component("spy")
    def spy(doc):
        seen.append(doc.text)
        return doc

    pipeline.add_pipe("spy", after="ner")
    read(pipeline, ["ner", "tagger"], sentences(3))
    assert seen == sentences(3)


@pytest.mark.parametrize("kind", ["chain", "token"])
def test_nan_names_component_and_document(kind):
    nlp = toy_pipeline(kind=kind)
    nlp.get_pipe("ner").broken_word = "bad"
    texts = ["fine", "good", f"a bad word {'x' * 100}", "fine"]
    with pytest.raises(ValueError, match=r"'ner' .*line 3 \('a bad word x{49}'\).*train") as error:
        read(nlp, ["ner"], texts)
    assert "x" * 50 not in str(error.value)


def test_nan_in_transitions_names_component(pipeline, monkeypatch):
    component = pipeline.get_pipe("ner")
    predict = component.predict

    def broken(docs):
        structure = predict(docs)
        structure.transitions[1, 1] = float("nan")
        return structure

    monkeypatch.setattr(component, "predict", broken)
    with pytest.raises(ValueError, match="'ner', transitions holds values that are not numbers"):
        read(pipeline, ["ner"], sentences(1))


def test_a_component_that_merges_tokens_is_refused(pipeline):
    @Language.component("merge_first_two")
    def merge(doc: Doc) -> Doc:
        with doc.retokenize() as retokenizer:
            retokenizer.merge(doc[:2])
        return doc

    pipeline.add_pipe("merge_first_two", first=True)
    with pytest.raises(ValueError, match=r"changes the tokens of line 1: it had 3, now 2"):
        read(pipeline, ["ner"], ["one two three"])


def test_the_fingerprint_is_that_of_the_content(tmp_path):
    toy_pipeline().to_disk(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "moved" / "b")
    first = fingerprint(spacy.load(tmp_path / "a"))
    assert first == fingerprint(spacy.load(tmp_path / "moved" / "b"))
    assert (first.name, first.version, len(first.hash)) == ("xx_toy", "1.0.0", 64)
    toy_pipeline(seed=1).to_disk(tmp_path / "c")
    assert fingerprint(spacy.load(tmp_path / "c")).hash != first.hash
    hidden = tmp_path / "__pycache__" / ".cache" / "b"  # only names within the folder count
    shutil.copytree(tmp_path / "a", hidden)
    (hidden / ".hidden").write_text("left by an editor")
    assert fingerprint(spacy.load(hidden)) == first
    (hidden / "more").write_text("of the pipeline")
    assert fingerprint(spacy.load(hidden)) != first
    assert fingerprint(toy_pipeline()) == fingerprint(toy_pipeline())
    assert fingerprint(toy_pipeline()) != fingerprint(toy_pipeline(seed=1))
