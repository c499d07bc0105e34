import json

import numpy as np
import pytest
import spacy
from spacy.cli._util import app
from spacy.tokens import Doc, Span
from thinc.util import gpu_is_available
from typer.testing import CliRunner

from spacy_skd.cli.annotate import annotate
from spacy_skd.distill.store import StoreWriter, TargetStore
from spacy_skd.distill.teachers import fingerprint

from ..toy import files_of, sentences, toy_pipeline, write_docs

WITHOUT_GPU = pytest.mark.skipif(gpu_is_available(), reason="there is a GPU")
SMALL = {"shard_size": 8, "batch_size": 3}


def write_lines(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf8")
    return path


@pytest.mark.parametrize("kind", ["chain", "token"])
def test_the_store_holds_the_teachers_scores(tmp_path, texts, kind):
    nlp = toy_pipeline(kind=kind)
    annotate(nlp, [texts], tmp_path / "store")
    store = TargetStore(tmp_path / "store")
    assert len(store) == 10
    for text in sentences(10):
        doc = nlp.make_doc(text)
        target = store.get(doc)["ner"]
        expected = nlp.get_pipe("ner").scores(doc)
        expected -= expected.max(axis=1, keepdims=True)
        assert target.scores.dtype == np.float16
        np.testing.assert_allclose(target.scores, expected, atol=5e-3)
        assert target.teacher.kind == kind
    tables = store.teachers["ner"].tables
    if kind == "chain":
        structure = nlp.get_pipe("ner").predict([])
        for name in ("transitions", "start", "end"):
            np.testing.assert_array_equal(tables[name], getattr(structure, name))
    else:
        assert not tables


def test_two_runs_give_the_same_bytes(tmp_path, texts):
    for store in ("a", "b"):
        annotate(toy_pipeline(), [texts], tmp_path / store, **SMALL)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    assert sorted(files_of(tmp_path / "a")) == [
        "manifest.json", "shard-00000.npz", "shard-00001.npz", "teacher.npz",
    ]  # fmt: skip


@pytest.mark.parametrize("documents", [0, 2, 7, 8, 9, 15, 23, 26])
def test_an_interrupted_run_goes_on_to_the_same_bytes(tmp_path, documents):
    texts = write_lines(tmp_path / "texts.txt", sentences(27))
    annotate(toy_pipeline(), [texts], tmp_path / "whole", **SMALL)
    interrupted = toy_pipeline()
    interrupted.get_pipe("ner").fail_after = documents
    with pytest.raises(KeyboardInterrupt):
        annotate(interrupted, [texts], tmp_path / "store", **SMALL)
    resumed = toy_pipeline()
    annotate(resumed, [texts], tmp_path / "store", **SMALL)
    assert files_of(tmp_path / "store") == files_of(tmp_path / "whole")
    done = documents // 8 * 8
    assert len(resumed.get_pipe("ner").texts) == 27 - done


@pytest.mark.parametrize("written", ["shard-00001.npz", "manifest.json", "teacher.npz"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_interrupted_while_a_file_is_written(tmp_path, monkeypatch, written, moment):
    from spacy_skd.distill import shards

    texts = write_lines(tmp_path / "texts.txt", sentences(27))
    annotate(toy_pipeline(), [texts], tmp_path / "whole", **SMALL)
    replace = shards.os.replace

    def interrupted(source, target):
        if target.name == written:
            if moment == "after":
                replace(source, target)
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shards.os, "replace", interrupted)
        annotate(toy_pipeline(), [texts], tmp_path / "store", **SMALL)
    annotate(toy_pipeline(), [texts], tmp_path / "store", **SMALL)
    assert files_of(tmp_path / "store") == files_of(tmp_path / "whole")


@pytest.mark.parametrize("first", [1, 3, 8, 10, 11, 16])
def test_an_extended_run_gives_the_bytes_of_a_single_one(tmp_path, first):
    whole = write_lines(tmp_path / "whole.txt", sentences(27))
    part = write_lines(tmp_path / "part.txt", sentences(first))
    annotate(toy_pipeline(), [whole], tmp_path / "whole", **SMALL)
    annotate(toy_pipeline(), [part], tmp_path / "store", **SMALL)
    extended = toy_pipeline()
    annotate(extended, [whole], tmp_path / "store", **SMALL)
    assert files_of(tmp_path / "store") == files_of(tmp_path / "whole")
    # At most the last, incomplete batch is annotated again, with the batch it belongs to.
    assert len(extended.get_pipe("ner").texts) < 27 - first + SMALL["batch_size"]


def test_other_documents_alone_extend_a_store(tmp_path):
    first = write_lines(tmp_path / "first.txt", sentences(11))
    second = write_lines(tmp_path / "second.txt", sentences(9, start=11))
    nlp = toy_pipeline()
    annotate(nlp, [first], tmp_path / "store", **SMALL)
    writer = annotate(nlp, [second], tmp_path / "store", **SMALL)
    assert writer.n_documents == 9
    store = TargetStore(tmp_path / "store")
    assert len(store) == 20
    assert all(store.get(nlp.make_doc(text)) for text in sentences(20))
    assert nlp.get_pipe("ner").texts == sentences(20)


def test_a_complete_store_stays_as_it_is(tmp_path, texts):
    annotate(toy_pipeline(), [texts], tmp_path / "store", **SMALL)
    before = files_of(tmp_path / "store")
    writer = annotate(toy_pipeline(), [texts, texts], tmp_path / "store", **SMALL)
    assert writer.n_documents == 0
    assert files_of(tmp_path / "store") == before


def test_the_same_document_twice_is_stored_once(tmp_path):
    texts = write_lines(tmp_path / "texts.txt", ["One of two .", "One of two .", "Another ."])
    annotate(toy_pipeline(), [texts], tmp_path / "store")
    assert len(TargetStore(tmp_path / "store")) == 2


def test_a_damaged_or_missing_shard_is_written_again(tmp_path):
    texts = write_lines(tmp_path / "texts.txt", sentences(27))
    store = tmp_path / "store"
    annotate(toy_pipeline(), [texts], store, **SMALL)
    before = files_of(store)
    (store / "shard-00000.npz").unlink()
    damaged = bytearray(before["shard-00002.npz"])
    damaged[-300] ^= 1
    (store / "shard-00002.npz").write_bytes(damaged)
    (store / "teacher.npz").write_bytes(b"")
    nlp = toy_pipeline()
    writer = annotate(nlp, [texts], store, **SMALL)
    assert writer.damaged == ["teacher.npz", "shard-00000.npz", "shard-00002.npz"]
    assert files_of(store) == before
    assert len(nlp.get_pipe("ner").texts) == 16


@pytest.mark.parametrize("content", [None, b"xxxx"])
def test_damaged_tables_of_whole_shards_are_written_again(tmp_path, texts, content):
    store = tmp_path / "store"
    annotate(toy_pipeline(), [texts], store, shard_size=5, batch_size=5)
    before = files_of(store)
    (store / "teacher.npz").unlink()
    if content:
        (store / "teacher.npz").write_bytes(content)
    nlp = toy_pipeline()
    writer = annotate(nlp, [texts], store, shard_size=5, batch_size=5)
    assert writer.damaged == ["teacher.npz"]
    assert files_of(store) == before
    assert not nlp.get_pipe("ner").texts


def test_a_store_whose_manifest_is_unreadable_is_made_again_by_force(tmp_path, texts):
    store = tmp_path / "store"
    annotate(toy_pipeline(), [texts], store, **SMALL)
    before = files_of(store)
    (store / "manifest.json").write_text("")
    (store / "shard-00009.npz").write_bytes(b"a shard of the old store")
    with pytest.raises(ValueError, match=r"manifest\.json is not the manifest .* Add --force"):
        annotate(toy_pipeline(), [texts], store, **SMALL)
    annotate(toy_pipeline(), [texts], store, force=True, **SMALL)
    assert files_of(store) == before


def test_all_kinds_of_files_and_folders(tmp_path, teacher):
    folder = tmp_path / "documents"
    (folder / "deeper").mkdir(parents=True)
    write_lines(folder / "b.txt", ["From a text file .", "", "   ", "\ta\tb"])
    write_lines(folder / "deeper" / "c.jsonl", [json.dumps({"text": "From JSON .", "n": 1}), ""])
    doc = Doc(teacher.vocab, words=["From", "spaCy", "."], spaces=[True, False, False])
    doc.ents = [Span(doc, 1, 2, "PRODUCT")]
    write_docs(folder / "a.spacy", [doc, Doc(teacher.vocab)])
    (folder / "notes.md").write_text("not a document")
    annotate(teacher, [folder], tmp_path / "store")
    read = teacher.get_pipe("ner").texts
    assert read == ["From spaCy.", "From a text file .", "   ", "\ta\tb", "From JSON ."]
    store = TargetStore(tmp_path / "store")
    assert len(store) == 5
    assert len(store.get(doc)["ner"]) == 3


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("a.jsonl", b'{"text": "x"}\n{"txt": "y"}\n', r'a.jsonl, line 2, has no "text"'),
        ("a.jsonl", b'{"text": "x"\n', r"a.jsonl, line 1, is not JSON"),
        ("a.jsonl", b"[1]\n", r'a.jsonl, line 1, has no "text"'),
        ("a.jsonl", b'{"text": "x"}\n{"text": "\\ud800"}', r'a.jsonl, line 2, has a broken "text"'),
        ("a.txt", b"\n\r\n", r"There is no text in .*a.txt"),
        ("a.txt", b"x\n\xff\xfe\n", r"a.txt, line 2, is not UTF-8"),
        ("a.spacy", b"not a DocBin", r"a.spacy cannot be read as a .spacy file"),
        ("a.conllu", b"", r"a.conllu: known are .spacy, .txt, .jsonl"),
    ],
)
def test_unreadable_input(tmp_path, teacher, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        annotate(teacher, [tmp_path / name], tmp_path / "store")


def test_a_text_that_is_too_long_is_named(tmp_path, teacher):
    texts = write_lines(tmp_path / "texts.txt", ["short", "long " * 10])
    teacher.max_length = 20
    with pytest.raises(ValueError, match=r"texts\.txt, line 2, has 50 characters, more than .* 20"):
        annotate(teacher, [texts], tmp_path / "store")


def test_missing_input(tmp_path, teacher):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.txt"):
        annotate(teacher, [tmp_path / "nowhere.txt"], tmp_path / "store")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty holds no documents"):
        annotate(teacher, [tmp_path / "empty"], tmp_path / "store")


def test_another_version_of_the_teacher_is_refused(tmp_path, texts):
    annotate(toy_pipeline(), [texts], tmp_path / "store")
    other = toy_pipeline(seed=1)
    with pytest.raises(
        ValueError, match=r"teacher xx_toy 1\.0\.0 \(\w{12}\), but .* xx_toy 1\.0\.0"
    ):
        annotate(other, [texts], tmp_path / "store")


def test_other_components_are_refused(tmp_path, texts):
    nlp = toy_pipeline()
    nlp.add_pipe("toy_teacher", name="chunks", config={"kind": "token"})
    annotate(nlp, [texts], tmp_path / "store", components=["ner"])
    with pytest.raises(ValueError, match=r"holds targets of 'ner', but those of 'ner', 'chunks'"):
        annotate(nlp, [texts], tmp_path / "store")


def test_an_output_folder_with_something_else_is_refused(tmp_path, teacher, texts):
    with pytest.raises(ValueError, match=r"not a store of targets: it holds texts\.txt"):
        annotate(teacher, [texts], tmp_path)
    with pytest.raises(ValueError, match=r"texts\.txt is a file"):
        annotate(teacher, [texts], texts)


def test_scores_that_are_not_numbers_are_refused(tmp_path, texts):
    nlp = toy_pipeline(kind="token")
    nlp.get_pipe("ner").broken_word = "number6"
    with pytest.raises(ValueError, match=r"'ner' .*texts\.txt, line 7 \('.*number6'\)"):
        annotate(nlp, [texts], tmp_path / "store")


def test_the_vocabulary_does_not_grow(tmp_path, texts):
    nlp = toy_pipeline()
    before = len(nlp.vocab.strings)
    annotate(nlp, [texts], tmp_path / "store")
    assert len(nlp.vocab.strings) == before


def test_zones_and_shards_that_do_not_coincide(tmp_path, monkeypatch):
    texts = write_lines(tmp_path / "texts.txt", sentences(60))
    annotate(toy_pipeline(), [texts], tmp_path / "one", **SMALL)
    monkeypatch.setattr("spacy_skd.cli.annotating.ZONE_DOCUMENTS", 5)
    annotate(toy_pipeline(), [texts], tmp_path / "many", **SMALL)
    again = annotate(toy_pipeline(), [texts], tmp_path / "many", **SMALL)
    assert again.n_documents == 0
    assert files_of(tmp_path / "one") == files_of(tmp_path / "many")


def test_nothing_new_is_no_error(tmp_path, teacher, texts):
    annotate(teacher, [texts], tmp_path / "store")
    empty = write_lines(tmp_path / "empty.txt", [])
    assert annotate(teacher, [empty], tmp_path / "store").n_documents == 0


def run(*arguments):
    return CliRunner().invoke(app, ["skd", "annotate", *map(str, arguments)])


@pytest.mark.parametrize(
    "documents, options, message",
    [
        ("nowhere.txt", (), "There is no file or folder"),
        pytest.param("texts.txt", ("--gpu-id", "0"), "GPU", marks=WITHOUT_GPU),
        ("texts.txt", (), "Can't find model 'nobody'"),
    ],
)
def test_the_command_says_what_is_wrong(tmp_path, texts, documents, options, message):
    result = run("nobody", tmp_path / documents, "--output", tmp_path / "store", *options)
    assert result.exit_code == 1
    assert message in result.output
    assert not (tmp_path / "store").exists()


def test_a_component_that_the_teacher_does_not_have(tmp_path, texts):
    toy_pipeline().to_disk(tmp_path / "teacher")
    store = tmp_path / "store"
    result = run(tmp_path / "teacher", texts, "--output", store, "--component", "parser")
    assert result.exit_code == 1 and not store.exists()
    said = " ".join(result.output.split())
    assert "The teacher has no component 'parser'. Its components: ner." in said


def test_a_store_that_another_run_writes_is_refused(tmp_path, texts):
    nlp = toy_pipeline()
    nlp.to_disk(tmp_path / "teacher")
    annotate(nlp, [texts], tmp_path / "store", **SMALL)
    before = files_of(tmp_path / "store")
    more = write_lines(tmp_path / "more.txt", sentences(30))
    arguments = [tmp_path / "teacher", more, "--output", tmp_path / "store"]
    with StoreWriter.open(tmp_path / "store", fingerprint(nlp), ["ner"]):
        result = run(*arguments, "--force")
        assert result.exit_code == 1
        assert f"{tmp_path / 'store'} is being written by another run" in result.output
    assert files_of(tmp_path / "store") == before
    result = run(*arguments, "--force")
    assert result.exit_code == 0, result.output


def test_command(tmp_path, texts):
    toy_pipeline().to_disk(tmp_path / "teacher")
    arguments = [tmp_path / "teacher", texts, "--output", tmp_path / "store", "--component", "ner"]
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert "10 new documents" in result.output
    nlp = spacy.load(tmp_path / "teacher")
    assert TargetStore(tmp_path / "store").get(nlp.make_doc(sentences(1)[0]))
    arguments[-1] = "parser"
    result = run(*arguments)
    assert result.exit_code == 1
    assert "no component 'parser'. Its components: ner" in " ".join(result.output.split())
