"""Trained tiny pipelines of every kind, saved once; every test loads what it needs."""

import pytest
import spacy

from ..pipeline.tiny import (
    TOK2VEC,
    blank,
    entities_of,
    entity_examples,
    tag_examples,
    train,
    tree_examples,
    tree_of,
)

FOLDED = TOK2VEC | {"@architectures": "spacy-skd.HashEmbedCNN.v1"}
RECURRENT = {
    "@architectures": "spacy-skd.HashEmbedRecurrent.v1",
    "width": 32,
    "depth": 1,
    "embed_size": 200,
}
KINDS = {
    "chain": ("skd_ner", "LinearChainCRF", FOLDED, entity_examples),
    "spans": ("skd_ner", "SpanBiaffine", TOK2VEC, entity_examples),
    "tagger": ("skd_tagger", "MaxEnt", FOLDED, tag_examples),
    "parser": ("skd_parser", "BiaffineParser", RECURRENT, tree_examples),
}
"""Component, architecture, encoder and examples; the encoders are spaCy's and those that ship."""
TEXTS = [
    "Ada lives in New York City",
    "",
    "Bob met Ada Lovelace in Oslo",
    " \n\n ",
    "Ada",
    "Ada sees ships today that sail",
]


def said(doc):
    """All that a pipeline may have written into a document."""
    return entities_of(doc), [token.tag_ for token in doc], tree_of(doc)


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """Get the folder of a trained pipeline of a kind, whose last component is the trained one."""
    folders = {}

    def folder(kind):
        if kind not in folders:
            factory, architecture, encoder, examples = KINDS[kind]
            model = {"@architectures": f"spacy-skd.{architecture}.v1", "tok2vec": encoder}
            nlp = blank(factory, architecture, model=model)
            train(nlp, examples(nlp))
            folders[kind] = tmp_path_factory.mktemp(kind)
            nlp.to_disk(folders[kind])
        return folders[kind]

    return folder


@pytest.fixture
def path(saved, kind):
    return saved(kind)


@pytest.fixture
def nlp(path):
    return spacy.load(path)
