import hashlib
import json
import zipfile

import numpy as np
import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.tokens import Doc

from spacy_skd.distill import store as store_module
from spacy_skd.distill.keys import KeyIndex, KeySet, document_keys, stack_keys, token_key
from spacy_skd.distill.shards import map_arrays, write_arrays
from spacy_skd.distill.store import StoreWriter, TargetStore, TeacherInfo
from spacy_skd.distill.targets import SPAN, Teacher

from ..toy import files_of, sentences

LABELS = ("O", "X")
INFO = TeacherInfo("en_big", "1.2.0", "0123456789abcdef" * 4)
TABLES = {"transitions": np.eye(2, dtype="f4"), "start": np.zeros(2, "f4"), "end": np.ones(2, "f4")}
TEACHERS = {
    "ner": Teacher("ner", "chain", LABELS, TABLES),
    "spans": Teacher("spans", "spans", ("X", "Y"), {"max_width": np.asarray([3])}),
    "tagger": Teacher("tagger", "token", ("N", "V", "é")),
}


@pytest.fixture(scope="module")
def nlp():
    return spacy.blank("xx")


def scores_for(doc, teacher):
    if teacher.kind == "spans":  # none, one or many
        spans = np.zeros(len(doc) * (len(doc.text) % 3), dtype=SPAN)
        spans["token"] = np.arange(len(spans)) % len(doc)
        spans["score"] = len(doc.text)
        return spans
    first = np.arange(len(doc) * len(teacher.labels), dtype="f2").reshape(len(doc), -1)
    return first - len(doc.text)


def fill(writer, docs):
    with writer:
        for doc in docs:
            keys = writer.claim(doc)
            if keys:
                scores = {name: scores_for(doc, t) for name, t in TEACHERS.items()}
                writer.add(keys, scores, len(doc))
            if writer.full:
                writer.describe(TEACHERS)
                writer.end_shard()
        writer.describe(TEACHERS)
        writer.end_shard()


@pytest.fixture
def docs(nlp):
    return [nlp.make_doc(text) for text in sentences(10)]


@pytest.fixture
def folder(tmp_path, docs):
    """A store of ten documents in three shards."""
    fill(StoreWriter.open(tmp_path / "store", INFO, list(TEACHERS), shard_size=4), docs)
    return tmp_path / "store"


def test_what_was_written_is_read(folder, docs):
    store = TargetStore(folder)
    assert len(store) == 10
    assert store.n_tokens == sum(map(len, docs))
    assert store.teacher == INFO
    assert store.teachers["ner"].labels == LABELS
    assert store.teachers["tagger"].labels == ("N", "V", "é")
    for name, table in TABLES.items():
        np.testing.assert_array_equal(store.teachers["ner"].tables[name], table)
    for doc in reversed(docs):
        targets = store.get(doc)
        assert set(targets) == {"ner", "spans", "tagger"}
        for name, target in targets.items():
            assert target.teacher is store.teachers[name]
            assert target.scores.dtype == (SPAN if name == "spans" else np.float16)
            assert len(target) == len(doc)
            np.testing.assert_array_equal(target.scores, scores_for(doc, TEACHERS[name]))


def test_present_tokenised_otherwise_absent(folder, docs, nlp):
    store = TargetStore(folder)
    words = list(docs[3].text)
    otherwise = Doc(nlp.vocab, words=words, spaces=[False] * len(words))
    assert otherwise.text == docs[3].text
    assert store.get(otherwise) is None
    assert store.has_text(otherwise)
    absent = nlp.make_doc("This is not there .")
    assert store.get(absent) is None
    assert not store.has_text(absent)


def test_keys_depend_on_words_and_spaces_alone(nlp):
    doc = Doc(nlp.vocab, words=["a", "b", "c"], spaces=[True, False, False])
    same = Doc(spacy.blank("de").vocab, words=["a", "b", "c"], spaces=[True, False, False])
    same[0].tag_ = "X"
    assert document_keys(doc) == document_keys(same)
    assert token_key(doc) == document_keys(doc).tokens
    for words, spaces in [
        (["a", "bc"], [True, False]),
        (["a", "b", "c"], [True, True, False]),
        (["a", "b", "c"], [True, False, True]),
        (["a", " ", "b", "c"], [False] * 4),
    ]:
        other = Doc(nlp.vocab, words=words, spaces=spaces)
        assert document_keys(other).tokens != document_keys(doc).tokens


def test_the_format_is_plain_numpy_and_json(folder):
    manifest = json.loads((folder / "manifest.json").read_text("utf8"))
    assert manifest["format"] == 1
    assert manifest["teacher"] == {"name": "en_big", "version": "1.2.0", "hash": INFO.hash}
    assert [shard["documents"] for shard in manifest["shards"]] == [4, 4, 2]
    with np.load(folder / "shard-00000.npz", allow_pickle=False) as shard:
        assert set(shard.files) == {
            "text_keys", "token_keys", "offsets", "scores/ner", "scores/tagger",
            "offsets/spans", "scores/spans",
        }  # fmt: skip
        assert len(shard["scores/spans"]) == shard["offsets/spans"][-1]
        assert shard["scores/ner"].shape == (shard["offsets"][-1], 2)


def test_reopening_closes_the_first_files(folder, docs, monkeypatch):
    monkeypatch.setattr(store_module, "MAX_OPEN", 1)
    store = TargetStore(folder)
    for doc in docs + docs[::-1]:
        np.testing.assert_array_equal(
            store.get(doc)["ner"].scores, scores_for(doc, TEACHERS["ner"])
        )
    assert len(store._open) == 1


def test_a_shard_also_ends_by_its_tokens(tmp_path, nlp, monkeypatch):
    monkeypatch.setattr(store_module, "MEAN_TOKENS", 5)
    docs = [nlp.make_doc(f"{number} " + "a " * 14) for number in range(6)]
    fill(StoreWriter.open(tmp_path / "store", INFO, list(TEACHERS), shard_size=6), docs)
    assert len(TargetStore(tmp_path / "store")) == 6
    assert len(list((tmp_path / "store").glob("shard-*"))) == 3


def test_not_a_store(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"not a store.*spacy skd annotate"):
        TargetStore(tmp_path)
    with pytest.raises(FileNotFoundError, match="not a store"):
        TargetStore(tmp_path / "nowhere")
    (tmp_path / "manifest.json").write_text("[1, 2]")
    with pytest.raises(ValueError, match=r"manifest.json is not the manifest of a store"):
        TargetStore(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": 1}')
    with pytest.raises(ValueError, match=r"manifest.json is damaged: it lacks 'teacher'"):
        TargetStore(tmp_path)


def test_a_newer_format(folder):
    manifest = json.loads((folder / "manifest.json").read_text("utf8"))
    manifest["format"] = 2
    manifest["package"] = "spacy-skd 9.9"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    message = r"store has the format 2, written by spacy-skd 9\.9.*Upgrade"
    with pytest.raises(ValueError, match=message):
        TargetStore(folder)
    with pytest.raises(ValueError, match=message + r".* --force"):
        StoreWriter.open(folder, INFO, list(TEACHERS))


@pytest.mark.parametrize(
    "content", ["", "[1, 2]", '{"format": 2}', '{"format": 1}', '{"format": 1, "teacher": 3}']
)
def test_an_unreadable_manifest_is_replaced_by_force(folder, docs, content):
    before = files_of(folder)
    (folder / "manifest.json").write_text(content)
    with pytest.raises(ValueError, match="--force"):
        StoreWriter.open(folder, INFO, list(TEACHERS))
    (folder / "notes.txt").write_text("not of a store")
    with pytest.raises(ValueError, match=r"it holds notes\.txt"):
        StoreWriter.open(folder, INFO, list(TEACHERS), replace=True)
    (folder / "notes.txt").unlink()
    fill(StoreWriter.open(folder, INFO, list(TEACHERS), shard_size=4, replace=True), docs)
    assert files_of(folder) == before


def test_a_missing_shard(folder):
    (folder / "shard-00001.npz").unlink()
    with pytest.raises(FileNotFoundError, match=r"shard-00001\.npz is missing.*annotate"):
        TargetStore(folder)


def test_a_truncated_shard(folder):
    path = folder / "shard-00001.npz"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"shard-00001\.npz has \d+ bytes.*annotate"):
        TargetStore(folder)


def test_a_corrupted_shard_wherever_the_byte_is(folder, docs):
    path = folder / "shard-00001.npz"
    content = path.read_bytes()
    for position in range(0, len(content), 53):
        damaged = bytearray(content)
        damaged[position] ^= 16
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"shard-00001\.npz.*damaged"):
            TargetStore(folder).get(docs[5])


@pytest.mark.parametrize("content", [b"", b"xxxx"])
def test_damaged_tables(folder, content):
    (folder / "teacher.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"teacher\.npz is missing or damaged.*annotate"):
        TargetStore(folder)
    before = files_of(folder)
    with StoreWriter.open(folder, INFO, list(TEACHERS)) as writer:
        assert writer.damaged == ["teacher.npz"]
        writer.describe(TEACHERS)
    assert set(files_of(folder)) == set(before)
    np.testing.assert_array_equal(TargetStore(folder).teachers["ner"].tables["end"], TABLES["end"])


def test_another_teacher(folder):
    newer = TeacherInfo("en_big", "1.3.0", "f" * 64)
    message = r"en_big 1\.2\.0 \(0123456789ab\), but the teacher is now en_big 1\.3\.0 \(f{12}\)"
    with pytest.raises(ValueError, match=message):
        StoreWriter.open(folder, newer, list(TEACHERS))


def test_other_labels(folder):
    teachers = {**TEACHERS, "ner": Teacher("ner", "chain", ("O", "Y"), TABLES)}
    message = r"'ner' with the labels 'O', 'X', but .* 'O', 'Y'"
    with (
        StoreWriter.open(folder, INFO, list(TEACHERS)) as writer,
        pytest.raises(ValueError, match=message),
    ):
        writer.describe(teachers)


def test_stale_temporary_files_are_removed(folder, docs):
    before = files_of(folder)
    (folder / "shard-00003.npz.tmp").write_bytes(b"half a shard")
    (folder / "shard-00003.npz").write_bytes(b"a shard that the manifest does not know")
    with StoreWriter.open(folder, INFO, list(TEACHERS)) as writer:
        writer.end_shard()
    assert set(files_of(folder)) == {*before, "shard-00003.npz"}
    fill(StoreWriter.open(folder, INFO, list(TEACHERS)), docs)
    assert {**files_of(folder), "shard-00003.npz": None} == {**before, "shard-00003.npz": None}


def test_one_writer_at_a_time(folder, docs):
    before = files_of(folder)
    with StoreWriter.open(folder, INFO, list(TEACHERS)):
        (folder / "shard-00003.npz.tmp").write_bytes(b"what the first is writing")
        with pytest.raises(BlockingIOError, match=rf"{folder.name} is being written by another"):
            StoreWriter.open(folder, INFO, list(TEACHERS), replace=True)
        assert (folder / "shard-00003.npz.tmp").exists()
        assert len(TargetStore(folder)) == 10
        assert TargetStore(folder).get(docs[9])
    (folder / "shard-00003.npz.tmp").unlink()
    assert files_of(folder) == before


def test_a_writer_that_fails_lets_others_write(folder, docs):
    before = files_of(folder)
    with pytest.raises(ValueError, match="teacher is now"):
        StoreWriter.open(folder, TeacherInfo("en_big", "1.3.0", "f" * 64), list(TEACHERS))
    with pytest.raises(KeyboardInterrupt), StoreWriter.open(folder, INFO, list(TEACHERS)):
        raise KeyboardInterrupt
    fill(StoreWriter.open(folder, INFO, list(TEACHERS)), docs)
    assert files_of(folder) == before


def test_a_new_store_may_have_the_lock_of_a_run_that_died(tmp_path, docs):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / ".lock").write_text("process 1 on moon")
    fill(StoreWriter.open(tmp_path / "store", INFO, list(TEACHERS)), docs)
    assert sorted(files_of(tmp_path / "store")) == [
        "manifest.json", "shard-00000.npz", "teacher.npz",
    ]  # fmt: skip


def test_arrays_are_always_the_same_bytes(tmp_path):
    arrays = {"b": np.arange(7, dtype="f2"), "a/x": np.ones((3, 2)), "none": np.empty((0, 4))}
    write_arrays(tmp_path / "one.npz", arrays)
    write_arrays(tmp_path / "two.npz", dict(reversed(arrays.items())))
    content = (tmp_path / "one.npz").read_bytes()
    assert content == (tmp_path / "two.npz").read_bytes()
    # The digest stands for every machine and day: change it only with the format.
    digest = "b0d9d2a6be3621a23eeef3dd5c2dc369c033b0380e7ac30fa54560faf06c20d9"
    assert hashlib.sha256(content).hexdigest() == digest
    for name, array in map_arrays(tmp_path / "one.npz").items():
        np.testing.assert_array_equal(array, arrays[name])
        assert array.dtype == arrays[name].dtype
        assert not array.flags.writeable


def test_compressed_arrays_are_refused(tmp_path):
    np.savez_compressed(tmp_path / "arrays.npz", a=np.arange(3))
    with pytest.raises(ValueError, match="compressed"):
        map_arrays(tmp_path / "arrays.npz")


def test_an_interrupted_file_leaves_the_old_one(tmp_path):
    path = tmp_path / "arrays.npz"
    write_arrays(path, {"a": np.arange(3)})
    with pytest.raises(ValueError, match="Object arrays"):
        write_arrays(path, {"a": np.arange(4), "b": np.array([object()])})
    assert len(map_arrays(path)["a"]) == 3


keys = st.lists(st.binary(min_size=16, max_size=16), unique=True, max_size=20)


@given(keys, st.binary(min_size=16, max_size=16))
@settings(deadline=None)
def test_key_index_is_a_dictionary(present, other):
    present = [*present, bytes(15) + b"\1"] if bytes(15) + b"\1" not in present else present
    present += [key for key in (bytes(16), b"x" * 12 + bytes(4)) if key not in present]
    index = KeyIndex(stack_keys(present))
    assert [index.find(key) for key in present] == list(range(len(present)))
    assert (index.find(other) is not None) == (other in present)


@given(keys, keys)
@settings(deadline=None)
def test_key_set_is_a_set(first, more):
    grown = KeySet(stack_keys(first))
    grown.MAX_RECENT = 3
    for key in more:
        assert (key in grown) == (key in first)
        if key not in grown:
            grown.add(key)
    assert len(grown) == len({*first, *more})
    assert all(key in grown for key in (*first, *more))


def test_zip_members_are_dated_alike(folder):
    with zipfile.ZipFile(folder / "shard-00000.npz") as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
