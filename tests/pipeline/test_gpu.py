"""Every kind of component on a GPU: the same predictions and the same learning as on the CPU.

What is compared was made on the CPU, saved, and loaded on the other device. The tests for cupy are
skipped where there is no GPU; those for numpy say that the comparison itself holds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.training import Example
from thinc.api import to_numpy, use_ops

from spacy_skd.cli.annotate import annotate
from spacy_skd.training.corpus import DistillCorpus

from ..conftest import cupy_or_skip
from ..tiny_transformer import write_transformer
from .tiny import (
    ENTITIES,
    TAGGED,
    TOK2VEC,
    TREES,
    entities_of,
    entity_examples,
    tag_examples,
    train,
    tree_examples,
    tree_of,
)

RECURRENT = {
    "@architectures": "spacy-skd.HashEmbedRecurrent.v1",
    "width": 32,
    "depth": 1,
    "embed_size": 200,
}
WINDOWS = {**TOK2VEC, "@architectures": "spacy-skd.HashEmbedCNN.v1"}
TOLERANCE = {"rtol": 1e-3, "atol": 1e-4}
STEPS = 20


def transformer(folder: Path) -> dict[str, Any]:
    """An encoder of two transformer layers, of a pretrained one that is written into a folder."""
    for library in ("torch", "spacy_transformers"):
        pytest.importorskip(library)
    settings = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return {
        "@architectures": "spacy-transformers.Tok2VecTransformer.v3",
        "name": write_transformer(folder / "pretrained", num_hidden_layers=2, **settings),
        "tokenizer_config": {"use_fast": True},
        "get_spans": {
            "@span_getters": "spacy-transformers.strided_spans.v1",
            "window": 128,
            "stride": 96,
        },
        "pooling": {"@layers": "reduce_mean.v1"},
    }


@dataclass(frozen=True)
class Kind:
    """A component: how it is made, what it learns from, and what it writes into documents.

    tok2vec: the block of its encoder, or a function that gives one and writes what it needs into a
        folder.
    """

    factory: str
    model: dict[str, Any]
    settings: tuple = ()
    tok2vec: Any = None

    def blank(self, folder: Path) -> Language:
        nlp = spacy.blank("en")
        encoder = self.tok2vec(folder) if callable(self.tok2vec) else self.tok2vec or TOK2VEC
        block = {**self.model, "tok2vec": encoder}
        nlp.add_pipe(self.factory, name=self.name, config={"model": block, **dict(self.settings)})
        return nlp

    @property
    def name(self) -> str:
        return self.factory.removeprefix("skd_")

    @property
    def task(self) -> tuple[Callable, list, Callable]:
        return {
            "ner": (entity_examples, ENTITIES, entities_of),
            "tagger": (tag_examples, TAGGED, lambda doc: [token.tag_ for token in doc]),
            "parser": (tree_examples, TREES, tree_of),
        }[self.name]

    @property
    def texts(self) -> list[str]:
        return [text for text, *_ in self.task[1]]

    def examples(self, nlp: Language) -> list[Example]:
        # Nested spans are read from doc.spans, all others from the usual places.
        key = dict(self.settings).get("spans_key")
        return entity_examples(nlp, key) if key else self.task[0](nlp)

    def predictions(self, nlp: Language) -> list:
        key = dict(self.settings).get("spans_key")
        docs = nlp.pipe(self.texts)
        if key:
            return [[(s.start, s.end, s.label_) for s in doc.spans[key]] for doc in docs]
        return [self.task[2](doc) for doc in docs]


def architecture(name: str, **settings: Any) -> dict[str, Any]:
    return {"@architectures": f"spacy-skd.{name}.v1", **settings}


SPANS = {"max_width": 4, "hidden_width": 16}
KINDS = {
    "ner, chain": Kind("skd_ner", architecture("LinearChainCRF")),
    "ner, tokens": Kind("skd_ner", architecture("MaxEnt")),
    "ner, spans": Kind("skd_ner", architecture("SpanBiaffine", **SPANS)),
    "ner, nested spans": Kind(
        "skd_ner", architecture("SpanBiaffine", loss="local", **SPANS), (("spans_key", "sc"),)
    ),
    "tagger, chain": Kind("skd_tagger", architecture("LinearChainCRF")),
    "tagger, tokens": Kind("skd_tagger", architecture("MaxEnt"), tok2vec=WINDOWS),
    "parser, heads": Kind("skd_parser", architecture("BiaffineParser", structure="heads")),
    "parser, tree": Kind("skd_parser", architecture("BiaffineParser", structure="tree")),
    "parser, projective": Kind(
        "skd_parser", architecture("BiaffineParser", structure="tree", projective=True)
    ),
    "parser, second order": Kind("skd_parser", architecture("SecondOrderParser")),
    "parser, labels": Kind("skd_parser", architecture("LabelParser")),
    "parser, recurrent": Kind(
        "skd_parser", architecture("BiaffineParser", structure="heads"), tok2vec=RECURRENT
    ),
    "ner, LSTM": Kind(
        "skd_ner", architecture("LinearChainCRF"), tok2vec={**RECURRENT, "recurrence": "lstm"}
    ),
    "ner, compact transformer": Kind(
        "skd_ner", architecture("LinearChainCRF"), tok2vec=transformer
    ),
}
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of trees that cross


@pytest.fixture(params=["numpy", "cupy"])
def device(request):
    """A context in which pipelines are made and run on the CPU, or on a GPU where there is one."""
    if request.param == "cupy":
        cupy_or_skip()
    return lambda: use_ops(request.param)


@pytest.fixture(scope="module", params=list(KINDS))
def trained(request, tmp_path_factory):
    """A kind, a pipeline of it that was trained on the CPU, its folder, and its targets' folder."""
    kind, folder = KINDS[request.param], tmp_path_factory.mktemp("gpu")
    with use_ops("numpy"):
        nlp = kind.blank(folder)
        train(nlp, kind.examples(nlp), steps=STEPS)
        nlp.to_disk(folder / "model")
        (folder / "raw.txt").write_text("\n".join(kind.texts) + "\n", encoding="utf8")
        annotate(nlp, [folder / "raw.txt"], folder / "targets")
    return kind, nlp, folder


def distributions(kind: Kind, nlp: Language) -> Any:
    found = nlp.get_pipe(kind.name).predict([nlp.make_doc(text) for text in kind.texts])
    return getattr(found, "structure", found)  # a parser's are of sentences


def test_predictions_are_those_of_the_cpu(trained, device):
    kind, nlp, folder = trained
    with use_ops("numpy"):
        expected = kind.predictions(nlp)
    assert any(expected)
    with device():
        assert kind.predictions(spacy.load(folder / "model")) == expected


def test_distributions_are_those_of_the_cpu(trained, device):
    kind, nlp, folder = trained
    with use_ops("numpy"):
        expected = distributions(kind, nlp)
    with device():
        found = distributions(kind, spacy.load(folder / "model"))
        for what in ("log_partition", "entropy"):
            theirs, ours = (to_numpy(getattr(of, what)()) for of in (expected, found))
            np.testing.assert_allclose(ours, theirs, err_msg=what, **TOLERANCE)


@pytest.mark.parametrize("source", ["gold", "teacher"])
def test_training_steps_are_those_of_the_cpu(trained, device, source):
    """From the same start, the losses of a few steps are the same, gold or distilled."""
    kind, _, folder = trained

    def losses() -> list[float]:
        nlp = spacy.load(folder / "model")
        optimizer = nlp.resume_training()
        corpus = DistillCorpus(None, folder / "raw.txt", folder / "targets")
        examples = kind.examples(nlp) if source == "gold" else list(corpus(nlp))
        return [nlp.update(examples, sgd=optimizer)[kind.name] for _ in range(3)]

    with use_ops("numpy"):
        expected = losses()
    with device():
        np.testing.assert_allclose(losses(), expected, **TOLERANCE)


def test_a_document_of_nothing(trained, device):
    kind, _, folder = trained
    with device():
        docs = list(spacy.load(folder / "model").pipe(["", kind.texts[0], " "]))
    assert [len(doc) for doc in docs] == [0, len(kind.texts[0].split()), 1]
