"""A component's life: labels, saving and loading, training on, and its place in a config."""

import copy
import pickle

import pytest
import spacy
import srsly
from spacy.tokens import Doc, DocBin
from spacy.training import Example
from spacy.training.initialize import init_nlp
from spacy.training.loop import train as spacy_train
from spacy.util import load_config_from_str, load_model_from_config
from thinc.api import Config

from .tiny import (
    ENTITIES,
    TOK2VEC,
    blank,
    entities_of,
    entity_example,
    entity_examples,
    model,
    predictions,
    tag_examples,
    train,
)

GOLD = [entities for _, entities in ENTITIES]


# --- labels


def test_labels_are_found_in_the_documents():
    nlp = blank()
    train(nlp, entity_examples(nlp), steps=1)
    component = nlp.get_pipe("ner")
    assert component.labels == component.label_data == ("LOC", "PER")
    assert component.predict([]).labels == tuple(component.column_labels())
    assert component.column_labels()[:5] == ["O", "B-LOC", "I-LOC", "L-LOC", "U-LOC"]


def test_labels_that_were_added_come_first():
    nlp = blank()
    component = nlp.get_pipe("ner")
    assert [component.add_label(label) for label in ("PER", "ORG", "PER")] == [1, 1, 0]
    train(nlp, entity_examples(nlp), steps=1)
    assert component.labels == ("PER", "ORG", "LOC")


def test_labels_suffice_to_initialise():
    nlp = blank()
    nlp.get_pipe("ner").add_label("PER")
    nlp.initialize()
    assert nlp.get_pipe("ner").predict([nlp.make_doc("Ada lives")]).n_labels == 5


def test_labels_of_a_file(tmp_path):
    """As `spacy init labels` writes them and [initialize.components.ner.labels] reads them."""
    nlp = blank()
    train(nlp, entity_examples(nlp), steps=1)
    srsly.write_json(tmp_path / "ner.json", nlp.get_pipe("ner").label_data)
    other = blank()
    other.config["initialize"]["components"]["ner"] = {
        "labels": {"@readers": "spacy.read_labels.v1", "path": str(tmp_path / "ner.json")}
    }
    other.initialize()
    assert other.get_pipe("ner").labels == nlp.get_pipe("ner").labels


def test_given_labels_are_not_searched_for():
    nlp = blank()
    examples = entity_examples(nlp)
    nlp.config["initialize"]["components"]["ner"] = {"labels": ["PER", "ORG", "LOC"]}
    nlp.initialize(lambda: examples)
    assert nlp.get_pipe("ner").labels == ("PER", "ORG", "LOC")


def test_no_labels():
    nlp = blank()
    raw = [Example(nlp.make_doc("Ada"), nlp.make_doc("Ada"))]
    with pytest.raises(ValueError, match=r"'ner' found no labels.*initialize.components.ner"):
        nlp.initialize(lambda: raw)


def test_what_is_no_label():
    for label in ("", None, 3):
        with pytest.raises(ValueError, match="'ner' has to be a non-empty string"):
            blank().get_pipe("ner").add_label(label)


def test_initialised_again_it_starts_anew(ner):
    before = ner.get_pipe("ner").model.get_ref("output_layer").get_param("W").copy()
    examples = entity_examples(ner)
    ner.initialize(lambda: examples)
    assert ner.get_pipe("ner").labels == ("LOC", "PER")
    assert (ner.get_pipe("ner").model.get_ref("output_layer").get_param("W") != before).any()
    more = [entity_example(ner, "Hooli hires Ada", [(0, 1, "ORG")])]
    train(ner, [*examples, *more], steps=60)
    assert ner.get_pipe("ner").labels == ("LOC", "PER", "ORG")
    assert predictions(ner, ["Hooli hires Ada", "Bob met Ada"])[0][0] == (0, 1, "ORG")


# --- saving and loading


def test_bytes_and_disk(ner, architecture, tmp_path):
    component = ner.get_pipe("ner")
    component.to_disk(tmp_path / "ner")
    from_disk, from_bytes = blank(architecture=architecture), blank(architecture=architecture)
    from_disk.get_pipe("ner").from_disk(tmp_path / "ner")
    from_bytes.get_pipe("ner").from_bytes(component.to_bytes())
    for loaded in (from_disk, from_bytes):
        assert loaded.get_pipe("ner").labels == component.labels
        assert predictions(loaded) == predictions(ner) == GOLD


def test_a_saved_pipeline(ner, tmp_path):
    ner.to_disk(tmp_path / "pipeline")
    loaded = spacy.load(tmp_path / "pipeline")
    assert predictions(loaded) == GOLD
    loaded.to_disk(tmp_path / "again")
    assert predictions(spacy.load(tmp_path / "again")) == GOLD


def test_a_pipeline_that_was_not_trained_is_saved_and_loaded(tmp_path):
    nlp = blank()
    nlp.get_pipe("ner").add_label("PER")
    nlp.to_disk(tmp_path)
    assert spacy.load(tmp_path).get_pipe("ner").labels == ("PER",)


def test_the_spans_key_is_saved(tmp_path):
    nlp = blank(spans_key="sc")
    train(nlp, entity_examples(nlp, "sc"), steps=1)
    nlp.to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    assert "sc" in loaded("Ada lives").spans
    assert loaded.config["components"]["ner"]["spans_key"] == "sc"


@pytest.mark.parametrize(
    "weight",
    [
        None,
        0.5,
        {
            "@schedules": "warmup_linear.v1",
            "initial_rate": 1.0,
            "warmup_steps": 0,
            "total_steps": 9,
        },
    ],
)
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_copied(duplicate, weight):
    """`nlp.pipe(n_process=2)` sends copies to processes that are not forked."""
    nlp = blank(objective={"@losses": "spacy-skd.StructuralKD.v1", "teacher_weight": weight})
    train(nlp, entity_examples(nlp))
    component = duplicate(nlp.get_pipe("ner"))
    [doc] = component.pipe([Doc(component.vocab, words=ENTITIES[1][0].split())])
    assert entities_of(doc) == GOLD[1]


# --- training on


def sourced_config(path) -> Config:
    return load_config_from_str(
        f"""
        [nlp]
        lang = "en"
        pipeline = ["ner"]

        [components]

        [components.ner]
        source = "{path}"

        [corpora]

        [corpora.train]
        @readers = "spacy.Corpus.v1"
        path = "{path}/train.spacy"

        [corpora.dev]
        @readers = "spacy.Corpus.v1"
        path = "{path}/train.spacy"

        [training]
        seed = 0
        gpu_allocator = null
        max_steps = 3
        eval_frequency = 3
        """
    )


def test_a_sourced_component_is_trained_on(crf, tmp_path):
    crf.to_disk(tmp_path)
    new = entity_example(crf, "Grace sails to Bergen", [(0, 1, "PER"), (3, 4, "LOC")])
    DocBin(docs=[new.reference]).to_disk(tmp_path / "train.spacy")
    nlp = init_nlp(sourced_config(tmp_path))
    assert predictions(nlp) == GOLD, "it starts where it was"
    before = nlp.get_pipe("ner").model.get_ref("output_layer").get_param("W").copy()
    spacy_train(nlp, tmp_path)
    trained = spacy.load(tmp_path / "model-last")
    assert (trained.get_pipe("ner").model.get_ref("output_layer").get_param("W") != before).any()
    assert trained.get_pipe("ner").labels == ("LOC", "PER")


def test_a_sourced_component_refuses_a_new_label(crf, tmp_path):
    crf.to_disk(tmp_path)
    new = entity_example(crf, "Hooli hires Ada", [(0, 1, "ORG"), (2, 3, "PER")])
    DocBin(docs=[new.reference]).to_disk(tmp_path / "train.spacy")
    nlp = init_nlp(sourced_config(tmp_path))
    with pytest.raises(ValueError, match=r"'Hooli hires Ada'.*'ORG'.*'ner'.*LOC, PER"):
        spacy_train(nlp, tmp_path)


def test_resumed(ner):
    examples = [entity_example(ner, "Grace sails to Bergen", [(0, 1, "PER"), (3, 4, "LOC")])]
    examples += entity_examples(ner)
    train(ner, examples, initialize=False)
    assert entities_of(ner("Grace sails to Bergen")) == [(0, 1, "PER"), (3, 4, "LOC")]
    assert predictions(ner) == GOLD


def test_rehearsal_is_no_error(ner):
    ner.rehearse(entity_examples(ner), sgd=ner.resume_training())
    assert predictions(ner) == GOLD


def test_components_that_share_an_encoder():
    nlp = spacy.blank("en")
    nlp.add_pipe("tok2vec", config={"model": TOK2VEC})
    listener = {"@architectures": "spacy.Tok2VecListener.v1", "width": 32, "upstream": "tok2vec"}
    nlp.add_pipe("skd_ner", name="ner", config={"model": model(tok2vec=listener)})
    nlp.add_pipe("skd_tagger", name="tagger", config={"model": model("MaxEnt", listener)})
    entities, tags = entity_examples(nlp), tag_examples(nlp)
    train(nlp, [*entities, *tags, Example(nlp.make_doc(""), nlp.make_doc(""))])
    assert predictions(nlp) == GOLD
    scores = nlp.evaluate(tags)
    assert scores["tag_acc"] == 1
    assert [len(doc) for doc in nlp.pipe(["", "Ada", ""])] == [0, 1, 0]


# --- configs


@pytest.mark.parametrize("factory", ["skd_ner", "skd_tagger"])
def test_a_component_added_by_name_has_its_defaults(factory):
    nlp = spacy.blank("en")
    nlp.add_pipe(factory)
    config = nlp.config.from_str(nlp.config.to_str())
    assert config == nlp.config
    again = load_model_from_config(config, auto_fill=False, validate=True)
    assert again.config == nlp.config
    assert again.get_pipe_config(factory)["objective"]["@losses"] == "spacy-skd.StructuralKD.v1"


def test_the_default_components_train():
    nlp = spacy.blank("en")
    nlp.add_pipe("skd_ner")
    nlp.add_pipe("skd_tagger")
    examples = [*entity_examples(nlp), *tag_examples(nlp)]
    optimizer = nlp.initialize(lambda: examples)
    losses = nlp.update(examples, sgd=optimizer)
    assert losses["skd_ner"] > 0 and losses["skd_tagger"] > 0


def test_what_spacy_wants_to_know_of_a_component():
    nlp = blank()
    component = nlp.get_pipe("ner")
    assert component.is_trainable and not component.is_resizable
    meta = nlp.get_pipe_meta("ner")
    assert "doc.ents" in meta.assigns
    assert set(meta.default_score_weights) == {"ents_f", "ents_p", "ents_r", "ents_per_type"}
    assert not nlp.analyze_pipes()["problems"]["ner"]
