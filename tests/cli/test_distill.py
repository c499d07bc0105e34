"""`skd distill`: students of every source of documents, and targets that are there already."""

import json

import numpy as np
import pytest
import spacy
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example

from spacy_skd.cli.annotate import annotate
from spacy_skd.distill.store import TargetStore
from spacy_skd.distill.targets import collate
from spacy_skd.distill.teachers import fingerprint

from ..toy import files_of, toy_pipeline, write_docs
from .distill_cases import CONFIG, distill, message


@pytest.mark.parametrize("kind", ["token", "chain"])
def test_a_student_comes_out(folder, kind):
    toy_pipeline(kind=kind).to_disk(folder / "teacher")
    result = distill(folder, "--training.max_steps", "4", "--training.logger.path", folder / "log")
    assert result.exit_code == 0, result.output
    assert len(TargetStore(folder / "out" / "targets")) == 22
    student = spacy.load(folder / "out" / "model-best")
    assert student.get_pipe("ner").labels == ("A",)
    assert student.config["training"]["max_steps"] == 4
    assert isinstance(student("An old Volvo")[0:1], Span)
    log = [json.loads(line) for line in (folder / "log").read_text().splitlines()]
    assert [line["step"] for line in log] == [0, 3]
    assert log[1]["losses"]["ner"] > 0
    assert "ents_f" in log[1]["scores"]


def test_what_is_saved_knows_no_path_of_this_machine(folder):
    result = distill(folder)
    assert result.exit_code == 0, result.output
    for name in ("model-best", "model-last"):
        saved = (folder / "out" / name / "config.cfg").read_text()
        assert str(folder) not in saved
        assert 'readers = "spacy.Corpus.v1"' in saved
        assert "DistillCorpus" not in saved


def test_raw_documents_alone(folder):
    labels = folder / "labels.json"
    labels.write_text('["A"]')
    block = f'''
[initialize]

[initialize.components]

[initialize.components.ner]

[initialize.components.ner.labels]
@readers = "spacy.read_labels.v1"
path = "{labels}"
'''
    (folder / "student.cfg").write_text(CONFIG + block)
    result = distill(folder, train=None)
    assert result.exit_code == 0, result.output
    assert spacy.load(folder / "out" / "model-last").get_pipe("ner").labels == ("A",)


def test_streamed(folder):
    result = distill(folder, "--training.max_epochs", "-1")
    assert result.exit_code == 0, result.output


def test_several_raw_files(folder):
    (folder / "more.jsonl").write_text('{"text": "Something else ."}\n')
    result = distill(folder, "--raw", folder / "more.jsonl")
    assert result.exit_code == 0, result.output
    assert len(TargetStore(folder / "out" / "targets")) == 23


def test_components_of_this_package_from_end_to_end(folder):
    nlp = spacy.blank("xx", meta={"name": "teacher"})
    nlp.add_pipe("skd_ner", name="ner")
    gold = list(DocBin().from_disk(folder / "gold.spacy").get_docs(nlp.vocab))
    nlp.initialize(lambda: [Example(nlp.make_doc(doc.text), doc) for doc in gold])
    nlp.to_disk(folder / "teacher")
    result = distill(folder)
    assert result.exit_code == 0, result.output
    store = TargetStore(folder / "out" / "targets")
    assert store.teachers["ner"].labels == ("O", "B-A", "I-A", "L-A", "U-A")
    structure = nlp.get_pipe("ner").predict(gold)
    stored = collate([store.get(doc)["ner"] for doc in gold], structure.emissions)
    expected = structure.marginals().tokens
    np.testing.assert_allclose(stored.marginals().tokens, expected, atol=1e-3)


@pytest.mark.parametrize("given, expected", [((), "teacher"), (("--paths.teacher", "x"), "x")])
def test_a_config_that_starts_from_its_teacher_is_told_it(folder, monkeypatch, given, expected):
    config = CONFIG.replace("targets = null\n", "targets = null\nteacher = null\n", 1)
    (folder / "student.cfg").write_text(config)
    told = []
    monkeypatch.setattr(
        "spacy_skd.cli.distill.train_pipeline",
        lambda *_, overrides, **__: told.append(overrides.get("paths.teacher")),
    )
    result = distill(folder, *given)
    assert result.exit_code == 0, result.output
    assert told == [str(folder / "teacher") if expected == "teacher" else expected]


def test_a_config_that_names_the_teacher_it_starts_from_keeps_it(folder, monkeypatch):
    config = CONFIG.replace("targets = null\n", 'targets = null\nteacher = "other"\n', 1)
    (folder / "student.cfg").write_text(config)
    told = []
    monkeypatch.setattr(
        "spacy_skd.cli.distill.train_pipeline",
        lambda *_, overrides, **__: told.append(overrides),
    )
    result = distill(folder)
    assert result.exit_code == 0, result.output
    assert "paths.teacher" not in told[0]


def test_a_student_is_replaced_only_by_force(folder):
    (folder / "out" / "model-best").mkdir(parents=True)
    result = distill(folder)
    assert result.exit_code == 1
    assert "holds a trained pipeline already (model-best)" in message(result)
    assert "--force" in result.output
    result = distill(folder, "--force")
    assert result.exit_code == 0, result.output
    assert (folder / "out" / "model-best" / "meta.json").exists()


def test_targets_that_are_there_are_used(folder):
    assert distill(folder).exit_code == 0
    before = files_of(folder / "out" / "targets")
    result = distill(folder, "--force")
    assert result.exit_code == 0, result.output
    assert "0 new documents" in message(result)
    assert files_of(folder / "out" / "targets") == before


def test_targets_of_another_teacher_are_refused(folder):
    annotate(toy_pipeline(), [folder / "raw.txt"], folder / "out" / "targets")
    toy_pipeline(seed=1).to_disk(folder / "teacher")
    result = distill(folder)
    assert result.exit_code == 1
    assert "holds targets of the teacher xx_toy 1.0.0" in message(result)
    assert "--force" in message(result)
    result = distill(folder, "--force")
    assert result.exit_code == 0, result.output
    store = TargetStore(folder / "out" / "targets")
    assert store.teacher == fingerprint(spacy.load(folder / "teacher"))
    assert len(store) == 22


def test_development_documents_that_the_config_names(folder):
    config = CONFIG.replace("dev = null", f'dev = "{folder / "gold.spacy"}"')
    (folder / "student.cfg").write_text(config)
    result = distill(folder, dev=None)
    assert result.exit_code == 0, result.output


def test_documents_of_zero_tokens_and_whitespace(folder):
    nlp = spacy.blank("xx")
    docs = [Doc(nlp.vocab), Doc(nlp.vocab, words=["\n"], spaces=[False])]
    write_docs(folder / "odd.spacy", docs)
    result = distill(folder, "--raw", folder / "odd.spacy")
    assert result.exit_code == 0, result.output
    assert len(TargetStore(folder / "out" / "targets")) == 23


def test_only_what_the_student_learns_is_annotated(folder):
    nlp = toy_pipeline()
    nlp.add_pipe("toy_teacher", name="tagger", config={"kind": "token"})
    nlp.to_disk(folder / "teacher")
    result = distill(folder)
    assert result.exit_code == 0, result.output
    assert list(TargetStore(folder / "out" / "targets").teachers) == ["ner"]
    assert "'tagger'" not in message(result)
