"""What the tests of `skd distill` share: the config of a student, and the command."""

import json

from spacy.cli._util import app
from typer.testing import CliRunner

CONFIG = """
[paths]
train = null
dev = null
raw = null
targets = null

[nlp]
lang = "xx"
pipeline = ["ner"]

[components]

[components.ner]
factory = "skd_ner"

[components.ner.model]
@architectures = "spacy-skd.LinearChainCRF.v1"

[components.ner.model.tok2vec]
@architectures = "spacy.HashEmbedCNN.v2"
pretrained_vectors = null
width = 16
depth = 1
embed_size = 200
window_size = 1
maxout_pieces = 2
subword_features = true

[corpora]

[corpora.train]
@readers = "spacy-skd.DistillCorpus.v1"
path = ${paths.train}
raw = ${paths.raw}
targets = ${paths.targets}

[corpora.dev]
@readers = "spacy.Corpus.v1"
path = ${paths.dev}
gold_preproc = false
max_length = 0
limit = 0
augmenter = null

[training]
seed = 0
gpu_allocator = null
train_corpus = "corpora.train"
dev_corpus = "corpora.dev"
max_steps = 6
eval_frequency = 3

[training.before_to_disk]
@callbacks = "spacy-skd.strip_distillation.v1"

[training.logger]
@loggers = "spacy-skd.DistillLogger.v1"
path = null
"""


def with_component(name, factory="skd_tagger", **settings):
    """The config with one more component in the student."""
    block = f'[components.{name}]\nfactory = "{factory}"\n'
    block += "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
    config = CONFIG.replace('pipeline = ["ner"]', f'pipeline = ["ner", "{name}"]')
    return config.replace("[corpora]\n", f"{block}\n[corpora]\n", 1)


def distill(
    folder, *arguments, teacher="teacher", train="gold.spacy", raw="raw.txt", dev="gold.spacy"
):
    command = ["skd", "distill", folder / teacher, folder / "student.cfg"]
    command += ["--output", folder / "out"]
    command += ["--dev", folder / dev] if dev else []
    command += ["--train", folder / train] if train else []
    command += ["--raw", folder / raw] if raw else []
    return CliRunner().invoke(app, [str(word) for word in (*command, *arguments)])


def message(result):
    return " ".join(result.output.split())
