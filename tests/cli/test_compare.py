"""The table that compares pipelines."""

import json

import pytest
import spacy
import typer
from spacy.tokens import DocBin, Span

from spacy_skd.cli.compare import compare, entity_scores


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
    assert entity_scores([nlp("a")], [nlp("a")])["ents_f"] == 0


def test_a_model_needs_a_name(tmp_path, test_set):
    with pytest.raises(typer.BadParameter, match="name=folder"):
        compare(test_set, model=["just-a-folder"], output=tmp_path)
