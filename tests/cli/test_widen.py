"""`skd widen`: which component gets labels, and the pipeline that is saved."""

import pytest
import spacy
from typer.testing import CliRunner

from spacy_skd.cli import app

from ..pipeline.tiny import blank, entity_examples, model, predictions, tag_examples, train


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """A folder with a trained pipeline of a tagger and a recogniser of LOC and PER."""
    nlp = blank()
    settings = {"model": model("MaxEnt") | {"nO": 4}}
    nlp.add_pipe("skd_tagger", name="tagger", config=settings, first=True)
    examples = [*entity_examples(nlp), *tag_examples(nlp)]
    train(nlp, examples, steps=30)
    path = tmp_path_factory.mktemp("widen") / "old"
    nlp.to_disk(path)
    return path


def widen(*words):
    return CliRunner().invoke(app, ["widen", *map(str, words)])


def test_labels_of_a_component(old, tmp_path):
    output = tmp_path / "new" / "wide"
    labels = ("--label", "ORG", "-l", "DRUG")
    result = widen(old, "--component", "ner", *labels, "--output", output)
    assert result.exit_code == 0, result.output
    assert "Labels of 'ner': LOC, PER, ORG, DRUG" in " ".join(result.output.split())
    wide = spacy.load(output)
    assert wide.get_pipe("ner").labels == ("LOC", "PER", "ORG", "DRUG")
    assert spacy.load(old).get_pipe("ner").labels == ("LOC", "PER")
    assert predictions(wide) == predictions(spacy.load(old))
    again = widen(old, "--component", "ner", *labels, "--output", output)
    assert again.exit_code == 1 and "is not an empty folder" in again.output


def test_a_config_that_fixes_the_number_of_labels(old, tmp_path):
    result = widen(old, "--component", "tagger", "--label", "RB", "--output", tmp_path / "wide")
    assert result.exit_code == 0, result.output
    assert "RB" in spacy.load(tmp_path / "wide").get_pipe("tagger").labels


def test_the_only_component(old, tmp_path):
    nlp = spacy.load(old, exclude=["tagger"])
    nlp.to_disk(tmp_path / "entities")
    result = widen(tmp_path / "entities", "--label", "ORG", "--output", tmp_path / "wide")
    assert result.exit_code == 0, result.output
    assert spacy.load(tmp_path / "wide").get_pipe("ner").labels == ("LOC", "PER", "ORG")


@pytest.mark.parametrize(
    "options, message",
    [
        ((), "the pipeline has several: tagger, ner. Name the component (--component)"),
        (("--component", "parser"), "'parser' is no skd_ner or skd_tagger of the pipeline (it has"),
        (("--component", "ner", "--label", "LOC"), "'ner' has the label 'LOC' already"),
    ],
)
def test_what_cannot_be(old, tmp_path, options, message):
    result = widen(old, "--label", "ORG", "--output", tmp_path / "wide", *options)
    assert result.exit_code == 1
    assert message in result.output
    assert not (tmp_path / "wide").exists()
