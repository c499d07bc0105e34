from pathlib import Path

import numpy as np
import pytest
import spacy
from spacy.util import load_config, load_model_from_config
from thinc.api import Adam, Config

from spacy_skd.training.callbacks import make_strip_distillation

from ..tiny_transformer import write_transformer

CONFIG = """
[paths]
train = "/home/me/train.spacy"
dev = "/home/me/dev.spacy"
targets = "/home/me/targets"
transformer = "/home/me/transformer"

[nlp]
lang = "xx"
pipeline = ["sentencizer"]

[components]

[components.sentencizer]
factory = "sentencizer"
punct_chars = ["${paths.transformer}"]

[corpora]

[corpora.train]
@readers = "spacy-skd.DistillCorpus.v1"
path = ${paths.train}
raw = "/home/me/raw.txt"
targets = ${paths.targets}
max_length = 100
buffer_size = 5

[corpora.dev]
@readers = "spacy.Corpus.v1"
path = "/home/me/other.spacy"

[training]

[training.logger]
@loggers = "spacy-skd.DistillLogger.v1"
path = "/home/me/log.jsonl"
"""


@pytest.fixture
def nlp():
    return spacy.util.load_model_from_config(
        Config().from_str(CONFIG, interpolate=False), auto_fill=True
    )


@pytest.mark.filterwarnings("ignore:The student's setting paths.transformer")
def test_paths_are_gone(nlp, tmp_path):
    stripped = make_strip_distillation()(nlp)
    config = stripped.config
    assert config["paths"] == {
        "train": None,
        "dev": None,
        "targets": None,
        "transformer": "/home/me/transformer",
        **{name: None for name in config["paths"] if name in ("vectors", "init_tok2vec")},
    }
    assert config["corpora"]["train"] == {
        "@readers": "spacy.Corpus.v1", "path": "${paths.train}", "max_length": 100,
        **{k: v for k, v in config["corpora"]["train"].items() if k in ("limit", "augmenter")},
        "gold_preproc": False,
    }  # fmt: skip
    assert config["corpora"]["dev"]["path"] == "${paths.dev}"
    assert config["training"]["logger"]["path"] is None
    stripped.to_disk(tmp_path)
    assert "/home/me/t" not in (tmp_path / "config.cfg").read_text().replace("me/transformer", "")
    assert config["nlp"]["after_creation"] == {"@callbacks": "spacy-skd.version_check.v1"}
    assert spacy.load(tmp_path).pipe_names == ["sentencizer"]


def test_a_config_without_paths(nlp):
    del nlp.config["paths"]
    nlp.config["corpora"]["train"].update(path="/home/me/train.spacy", targets="/home/me/targets")
    config = make_strip_distillation()(nlp).config
    assert config["paths"]["train"] is None
    assert config["corpora"]["train"]["path"] == "${paths.train}"


@pytest.mark.filterwarnings("ignore:The student's setting paths.transformer")
def test_the_pipeline_in_training_keeps_its_config(nlp):
    before = nlp.config.to_str(interpolate=False)
    stripped = make_strip_distillation()(nlp)
    assert nlp.config.to_str(interpolate=False) == before
    assert stripped is not nlp
    assert stripped.get_pipe("sentencizer") is nlp.get_pipe("sentencizer")
    again = make_strip_distillation()(stripped)
    assert again.config == stripped.config


MORE = """
[initialize]
vectors = "/home/me/vectors"
init_tok2vec = "C:\\\\me\\\\tok2vec.bin"

[initialize.before_init]
@callbacks = "spacy-skd.start_from_teacher.v1"
teacher = "training/teacher"

[initialize.components]

[initialize.components.ner]

[initialize.components.ner.labels]
@readers = "spacy.read_labels.v1"
path = "file:///home/me/labels.json"

[mine]
files = ["/home/me/one", "two"]
pattern = "/"
text = "and/or"
"""


@pytest.mark.filterwarnings("ignore:The student's setting paths.transformer")
def test_absolute_paths_are_gone_wherever_they_are(nlp):
    nlp.config = nlp.config.merge(Config().from_str(MORE, interpolate=False))
    assert "C:\\me" in nlp.config["initialize"]["init_tok2vec"]
    config = make_strip_distillation()(nlp).config
    initialize = config["initialize"]
    assert initialize["vectors"] is initialize["init_tok2vec"] is None
    assert initialize["before_init"]["teacher"] is None
    assert initialize["components"]["ner"]["labels"]["path"] is None
    assert config["mine"] == {"files": None, "pattern": "/", "text": "and/or"}


def test_a_component_that_is_made_from_a_path_is_told(nlp):
    with pytest.warns(UserWarning, match="setting paths.transformer = '/home/me/transformer'"):
        make_strip_distillation()(nlp)
    own = spacy.blank("xx")
    own.add_pipe("sentencizer", config={"punct_chars": ["/home/me/marks"]})
    with pytest.warns(UserWarning, match="setting components.sentencizer.punct_chars"):
        make_strip_distillation()(own)


@pytest.mark.filterwarnings("ignore:The student's setting paths.transformer")
def test_a_callback_of_the_user_stays(nlp):
    nlp.config["nlp"]["after_creation"] = {"@callbacks": "mine.v1"}
    assert make_strip_distillation()(nlp).config["nlp"]["after_creation"]["@callbacks"] == "mine.v1"


def test_the_folder_of_a_transformer_is_forgotten(tmp_path):
    """What is saved of it is whole: neither the config nor the weights know where it came from."""
    pytest.importorskip("spacy_transformers")
    name = write_transformer(tmp_path / "pretrained" / "tiny")
    path = Path(__file__).parents[2] / "configs" / "teacher.cfg"
    config = load_config(path, overrides={"transformer.name": name})
    nlp = load_model_from_config(config, auto_fill=True)
    nlp.get_pipe("ner").add_label("A")
    nlp.initialize(sgd=Adam(0.001))
    stripped = make_strip_distillation()(nlp)
    assert stripped.config["transformer"]["name"] == "tiny"
    stripped.to_disk(tmp_path / "saved")
    for file in (tmp_path / "saved").rglob("*"):
        assert file.is_dir() or str(tmp_path).encode() not in file.read_bytes(), file
    loaded, text = spacy.load(tmp_path / "saved"), "some text"
    encoded = [n(text)._.trf_data.model_output.last_hidden_state for n in (nlp, loaded)]
    np.testing.assert_allclose(*encoded, atol=1e-6)


VARIABLES = """
[vars]
folder = "/home/me"
unused = "/home/me"

[paths]
marks = ${vars.folder}

[tagger_model]
@architectures = "spacy.Tagger.v2"

[tagger_model.tok2vec]
@architectures = "spacy.HashEmbedCNN.v2"
pretrained_vectors = null
width = 8
depth = 1
embed_size = 10
window_size = 1
maxout_pieces = 2
subword_features = true

[nlp]
lang = "xx"
pipeline = ["entity_ruler","tagger"]

[components]

[components.entity_ruler]
factory = "entity_ruler"
ent_id_sep = ${paths.marks}

[components.tagger]
factory = "tagger"
model = ${tagger_model}
"""


def test_what_components_need_through_other_variables_stays():
    nlp = load_model_from_config(Config().from_str(VARIABLES, interpolate=False), auto_fill=True)
    with pytest.warns(UserWarning, match="setting vars.folder = '/home/me'"):
        config = make_strip_distillation()(nlp).config
    assert config["paths"]["marks"] == "${vars.folder}"
    assert config["vars"] == {"folder": "/home/me", "unused": None}
    assert config["components"]["tagger"]["model"] == "${tagger_model}"
