"""The configs that ship with the project, as far as spaCy can read them without a teacher."""

from pathlib import Path

import pytest
from spacy.cli.init_config import fill_config
from spacy.util import load_config, load_model_from_config

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize("name", ["student", "student_spans"])
def test_the_student_is_built_from_its_config(name):
    config = load_config(CONFIGS / f"{name}.cfg")
    nlp = load_model_from_config(config, auto_fill=True)
    assert nlp.pipe_names == ["ner"]
    nlp.get_pipe("ner").add_label("PER")
    nlp.initialize()
    assert nlp("Ada lives in Oslo").has_annotation("ENT_IOB")
    assert nlp.get_pipe("ner").objective.weight.value == 1.0, "it begins with the teacher"


def test_the_length_of_the_run_may_be_a_variable():
    config = load_config(CONFIGS / "student.cfg")
    config["vars"] = {"steps": 10}
    config["training"]["max_steps"] = "${vars.steps}"
    nlp = load_model_from_config(config, auto_fill=True)
    component = nlp.get_pipe("ner")
    component.add_label("PER")
    nlp.initialize()
    component.objective.finish_step()
    assert component.objective.weight.value == pytest.approx(0.9)


@pytest.mark.parametrize("name, label", [("parser", "nsubj"), ("label_parser", "+1|nsubj")])
def test_the_parser_is_built_from_its_config(name, label):
    config = load_config(CONFIGS / f"student_{name}.cfg", interpolate=True)
    nlp = load_model_from_config(config, auto_fill=True)
    nlp.get_pipe("parser").add_label(label)
    nlp.initialize()
    doc = nlp("Ada lives in Oslo")
    assert doc.has_annotation("DEP") and len(list(doc.sents)) == 1


def test_the_whole_pipeline_is_built_from_its_config():
    config = load_config(CONFIGS / "student_pipeline.cfg", interpolate=True)
    nlp = load_model_from_config(config, auto_fill=True)
    labels = {
        "tagger": "NN",
        "morphologizer": "Number=Sing|POS=NOUN",
        "parser": "nsubj",
        "ner": "PER",
    }
    for name, label in labels.items():
        nlp.get_pipe(name).add_label(label)
    nlp.initialize()
    doc = nlp("Ada lives in Oslo")
    assert all(doc.has_annotation(layer) for layer in ("TAG", "POS", "MORPH", "DEP", "ENT_IOB"))
    weights = [nlp.get_pipe(name).objective.weight for name in nlp.pipe_names[1:]]
    assert len({id(weight) for weight in weights}) == 4, "each counts its own steps"
    assert {weight.value for weight in weights} == {1.0}


def test_a_teachers_weight_of_all_components():
    settings = {"distillation.teacher_weight": 0.7}
    config = load_config(CONFIGS / "student_pipeline.cfg", overrides=settings, interpolate=True)
    nlp = load_model_from_config(config, auto_fill=True)
    assert {nlp.get_pipe(name).objective.weight.value for name in nlp.pipe_names[1:]} == {0.7}


@pytest.mark.parametrize(
    "name",
    [
        "student",
        "student_spans",
        "student_parser",
        "student_label_parser",
        "student_pipeline",
        "student_gpu",
        "teacher",
        "teacher_spans",
        "teacher_parser",
        "teacher_pipeline",
    ],
)
def test_the_configs_are_complete(name, tmp_path):
    """`spacy init fill-config` has nothing to add but what stays at spaCy's defaults."""
    if name.startswith("teacher") or name == "student_gpu":
        pytest.importorskip("spacy_transformers")
    path = CONFIGS / f"{name}.cfg"
    written = load_config(path)
    _, filled = fill_config(tmp_path / "filled.cfg", path, silent=True)
    assert changed(written, filled) == []
    assert load_config(tmp_path / "filled.cfg") == filled


def changed(written, filled, place=()) -> list:
    """The places of values that are not the same, or not there, once the config is filled."""
    if not isinstance(written, dict) or not isinstance(filled, dict):
        return [] if written == filled else [place]
    return [
        found for key in written for found in changed(written[key], filled.get(key), (*place, key))
    ]
