"""configs/student_new_labels.cfg, from the old student to one with a label more."""

from pathlib import Path

import pytest
import spacy
from spacy.cli.train import train as train_pipeline
from typer.testing import CliRunner

from spacy_skd.cli import app
from spacy_skd.cli.annotate import annotate

from ..pipeline.tiny import ENTITIES, blank, entity_example, predictions, train
from ..toy import write_docs

CONFIG = Path(__file__).parents[2] / "configs" / "student_new_labels.cfg"
OLD, NEW = "PER", "LOC"


def only(label):
    return [(text, [e for e in entities if e[2] == label]) for text, entities in ENTITIES]


@pytest.fixture
def settings(tmp_path):
    """An old student, what it says of texts that are annotated with a new label, and overrides."""
    old = blank()
    train(old, [entity_example(old, *row) for row in only(OLD)], steps=60)
    old.to_disk(tmp_path / "old")
    corpus = tmp_path / "new.spacy"
    write_docs(corpus, [entity_example(old, *row).reference for row in only(NEW)])
    annotate(old, [corpus], tmp_path / "targets")
    widening = ["widen", tmp_path / "old", "--label", NEW, "--output", tmp_path / "wide"]
    result = CliRunner().invoke(app, [*map(str, widening)])
    assert result.exit_code == 0, result.output
    paths = {"train": corpus, "raw": corpus, "dev": corpus}
    folders = {"targets": tmp_path / "targets", "wide": tmp_path / "wide"}
    return {f"paths.{name}": str(path) for name, path in (paths | folders).items()} | {
        "training.max_steps": 60,
        "training.eval_frequency": 60,
        "training.optimizer.learn_rate": 0.02,
    }


def test_the_new_label_is_learnt_and_the_old_one_kept(settings, tmp_path):
    gold = {"corpora.train.gold_labels.ner": [NEW]}
    train_pipeline(CONFIG, tmp_path / "student", overrides=settings | gold)
    nlp = spacy.load(tmp_path / "student" / "model-last")
    assert predictions(nlp) == [entities for _, entities in ENTITIES]
    saved = (tmp_path / "student" / "model-last" / "config.cfg").read_text(encoding="utf8")
    assert str(tmp_path) not in saved


def test_the_labels_have_to_be_named(settings, tmp_path):
    with pytest.raises(ValueError, match="gold_labels of 'ner' lists no labels: name those"):
        train_pipeline(CONFIG, tmp_path / "student", overrides=settings)
