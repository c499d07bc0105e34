"""The table that compares pipelines."""

import json

import numpy as np
import pytest
import spacy
import typer
from spacy.cli._util import app
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span
from typer.testing import CliRunner

from spacy_skd.cli.compare import compare, predict, read_gold, scores


@pytest.fixture
def test_set(tmp_path):
    nlp = spacy.blank("en")
    docs = [nlp("Ada lives in Leeds ."), nlp("Nobody came .")]
    docs[0].ents = [Span(docs[0], 0, 1, "PER"), Span(docs[0], 3, 4, "LOC")]
    docs[1].ents = []
    DocBin(docs=docs).to_disk(tmp_path / "test.spacy")
    return tmp_path / "test.spacy"


def ruler(path, patterns):
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns(
        [{"label": label, "pattern": text} for text, label in patterns]
    )
    nlp.to_disk(path)
    return path


def test_scores_agreement_speed_and_size(tmp_path, test_set):
    teacher = ruler(tmp_path / "teacher", [("Ada", "PER"), ("Leeds", "LOC")])
    student = ruler(tmp_path / "student", [("Ada", "PER"), ("Nobody", "PER")])
    output = tmp_path / "metrics"
    compare(
        test_set,
        model=[f"teacher={teacher}", f"student={student}"],
        output=output,
        rounds=1,
        min_words=10,
    )
    rows = json.loads((output / "table.json").read_text())
    assert rows["teacher"]["ents_f"] == rows["teacher"]["agreement"] == 100
    assert rows["student"]["ents_p"] == rows["student"]["ents_r"] == 50
    assert rows["student"]["agreement"] == 50
    assert all(row["words_per_second"] > 0 and row["megabytes"] > 0 for row in rows.values())
    table = (output / "table.md").read_text().splitlines()
    assert table[0].startswith("| pipeline | F1 | precision") and "| student | 50.0 |" in table[3]


def test_entity_scores_without_any_entity():
    nlp = spacy.blank("en")
    gold, predicted = nlp("a"), nlp("a")
    gold.ents = predicted.ents = []
    assert scores([predicted], [gold]) == {"ents_f": 0, "ents_p": 0, "ents_r": 0}


def test_documents_without_annotation_cannot_be_scored(tmp_path):
    nlp = spacy.blank("en")
    DocBin(docs=[nlp("a")]).to_disk(tmp_path / "test.spacy")
    with pytest.raises(ValueError, match="neither entities nor dependency trees nor tags"):
        read_gold(tmp_path / "test.spacy", nlp)


def test_trees_are_scored():
    nlp = spacy.blank("en")

    def tree(heads, deps):
        return Doc(nlp.vocab, words=["She", "sees", "ships"], heads=heads, deps=deps)

    gold = tree([1, 1, 1], ["nsubj", "ROOT", "obj"])
    found = scores([tree([1, 1, 0], ["nsubj", "ROOT", "nsubj"])], [gold])
    assert found == {"dep_uas": pytest.approx(200 / 3), "dep_las": pytest.approx(200 / 3)}
    found = scores([tree([1, 1, 1], ["nsubj", "ROOT", "nsubj"])], [gold])
    assert found == {"dep_uas": 100, "dep_las": pytest.approx(200 / 3)}


def test_tags_are_scored():
    nlp = spacy.blank("en")

    def tagged(tags, morphs):
        words = ["She", "sees", "ships"]
        return Doc(nlp.vocab, words=words, tags=tags, pos=["X"] * 3, morphs=morphs)

    gold = tagged(["A", "B", "C"], ["Number=Sing", "Number=Sing", ""])
    found = scores([tagged(["A", "B", "B"], ["Number=Sing", "Number=Plur", ""])], [gold])
    assert found == {
        "tag_acc": pytest.approx(200 / 3),
        "pos_acc": 100,
        "morph_acc": pytest.approx(200 / 3),
    }


def test_what_a_pipeline_does_not_predict_is_not_scored(tmp_path, test_set):
    nlp = spacy.blank("en")
    gold = Doc(nlp.vocab, words=["Ada"], tags=["NN"], ents=["B-PER"])
    predicted = Doc(nlp.vocab, words=["Ada"], tags=["NN"])
    assert scores([predicted], [gold]) == {"tag_acc": 100}
    nlp.to_disk(tmp_path / "blank")
    rules = ruler(tmp_path / "ruler", [("Ada", "PER")])
    models = [f"blank={tmp_path / 'blank'}", f"ruler={rules}"]
    compare(test_set, model=models, output=tmp_path, rounds=1, min_words=1)
    table = (tmp_path / "table.md").read_text().splitlines()
    assert table[2].startswith("| blank | – |") and not table[3].startswith("| ruler | – |")
    with pytest.raises(typer.Exit):
        compare(test_set, model=models[:1], output=tmp_path, rounds=1, min_words=1)


def test_a_model_needs_a_name(tmp_path, test_set):
    with pytest.raises(typer.BadParameter, match="name=pipeline"):
        compare(test_set, model=["just-a-folder"], output=tmp_path)


def test_an_installed_package_has_a_size(tmp_path, test_set, monkeypatch):
    ruler(tmp_path / "a_packaged_ruler", [("Ada", "PER")])
    (tmp_path / "a_packaged_ruler" / "__init__.py").write_text(
        "from pathlib import Path\nfrom spacy.util import load_model_from_path\n"
        "def load(**overrides):\n"
        "    return load_model_from_path(Path(__file__).parent, **overrides)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("spacy.util.is_package", lambda name: name == "a_packaged_ruler")
    compare(test_set, model=["a=a_packaged_ruler"], output=tmp_path, rounds=1, min_words=1)
    assert json.loads((tmp_path / "table.json").read_text())["a"]["megabytes"] > 0


def test_only_entities_are_kept():
    nlp = spacy.blank("en")

    @Language.component("heavy")
    def heavy(doc):
        doc.ents = [Span(doc, 0, 1, "PER")]
        doc.tensor = np.ones((len(doc), 3))
        doc.user_data["tensor"] = doc.tensor
        return doc

    nlp.add_pipe("heavy")
    [doc] = predict(nlp, [nlp.make_doc("Ada left .")])
    assert [(ent.text, ent.label_) for ent in doc.ents] == [("Ada", "PER")]
    assert doc.text == "Ada left ." and not doc.tensor.size and not doc.user_data


@pytest.mark.parametrize(
    "pipeline, content, fault",
    [("no_such_pipeline", None, "no_such_pipeline"), ("ruler", b"x", "test.spacy cannot be read")],
)
def test_errors_are_clear(tmp_path, test_set, pipeline, content, fault):
    ruler(tmp_path / "ruler", [])
    if content:
        test_set.write_bytes(content)
    model = tmp_path / pipeline if pipeline == "ruler" else pipeline
    command = ["skd", "compare", test_set, "--model", f"a={model}", "--output", tmp_path]
    result = CliRunner().invoke(app, [str(word) for word in command])
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert fault in result.output
