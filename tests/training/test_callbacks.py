import pytest
import spacy
from thinc.api import Config

from spacy_skd.training.callbacks import make_strip_distillation

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
    assert spacy.load(tmp_path).pipe_names == ["sentencizer"]


def test_a_config_without_paths(nlp):
    del nlp.config["paths"]
    nlp.config["corpora"]["train"].update(path="/home/me/train.spacy", targets="/home/me/targets")
    config = make_strip_distillation()(nlp).config
    assert config["paths"]["train"] is None
    assert config["corpora"]["train"]["path"] == "${paths.train}"


def test_the_pipeline_in_training_keeps_its_config(nlp):
    before = nlp.config.to_str(interpolate=False)
    stripped = make_strip_distillation()(nlp)
    assert nlp.config.to_str(interpolate=False) == before
    assert stripped is not nlp
    assert stripped.get_pipe("sentencizer") is nlp.get_pipe("sentencizer")
    again = make_strip_distillation()(stripped)
    assert again.config == stripped.config
