"""configs/student_new_labels.cfg, from the old student to one with a label more."""

from pathlib import Path

import pytest
import spacy
from spacy.cli.train import train as train_pipeline
from typer.testing import CliRunner

from spacy_skd.cli import app
from spacy_skd.cli.annotate import annotate

from ..pipeline.tiny import ENTITIES, TOK2VEC, blank, entity_example, model, predictions, train
from ..toy import write_docs

CONFIG = Path(__file__).parents[2] / "configs" / "student_new_labels.cfg"
OLD, NEW = "PER", "LOC"
LISTENER = {"@architectures": "spacy.Tok2VecListener.v1", "width": TOK2VEC["width"]}


def only(label):
    return [(text, [e for e in entities if e[2] == label]) for text, entities in ENTITIES]


def shared():
    """An old student whose `ner` listens to a shared encoder, of another language."""
    nlp = spacy.blank("de")
    nlp.add_pipe("tok2vec", config={"model": TOK2VEC})
    nlp.add_pipe("skd_ner", name="ner", config={"model": model(tok2vec=LISTENER)})
    return nlp


def prepare(old, folder):
    """What the old student says of texts that are annotated with a new label, and overrides."""
    train(old, [entity_example(old, *row) for row in only(OLD)], steps=60)
    old.to_disk(folder / "old")
    new, texts = folder / "new.spacy", folder / "texts.spacy"
    write_docs(new, [entity_example(old, *row).reference for row in only(NEW)])
    write_docs(texts, [old.make_doc(text) for text in ("Ada met Bob", "Bob Lovelace lives here")])
    annotate(old, [new, texts], folder / "targets")
    widening = ["widen", folder / "old", "--component", "ner", "--label", NEW]
    result = CliRunner().invoke(app, [*map(str, widening), "--output", str(folder / "wide")])
    assert result.exit_code == 0, result.output
    paths = {"train": new, "raw": texts, "dev": new}
    folders = {"targets": folder / "targets", "wide": folder / "wide"}
    return {f"paths.{name}": str(path) for name, path in (paths | folders).items()} | {
        "training.max_steps": 60,
        "training.eval_frequency": 60,
        "training.optimizer.learn_rate": 0.02,
    }


@pytest.mark.parametrize(
    "make, more",
    [
        (blank, {}),
        (shared, {"nlp.lang": "de", "components.ner.replace_listeners": ["model.tok2vec"]}),
    ],
    ids=["own encoder", "shared encoder"],
)
def test_the_new_label_is_learnt_and_the_old_one_kept(make, more, tmp_path):
    overrides = prepare(make(), tmp_path) | {"corpora.train.gold_labels.ner": [NEW]} | more
    train_pipeline(CONFIG, tmp_path / "student", overrides=overrides)
    nlp = spacy.load(tmp_path / "student" / "model-last")
    assert predictions(nlp) == [entities for _, entities in ENTITIES]
    assert nlp.pipe_names == ["ner"]
    saved = (tmp_path / "student" / "model-last" / "config.cfg").read_text(encoding="utf8")
    assert str(tmp_path) not in saved


def test_the_labels_have_to_be_named(tmp_path):
    overrides = prepare(blank(), tmp_path)
    with pytest.raises(ValueError, match="gold_labels of 'ner' lists no labels: name those"):
        train_pipeline(CONFIG, tmp_path / "student", overrides=overrides)
