"""Trained tiny pipelines. Trained once; every test gets a copy of its own."""

from functools import lru_cache

import pytest

from .tiny import ARCHITECTURES, blank, entity_examples, tag_examples, train


@lru_cache
def trained_ner(architecture: str) -> bytes:
    nlp = blank(architecture=architecture)
    train(nlp, entity_examples(nlp))
    return nlp.to_bytes()


@lru_cache
def trained_tagger(architecture: str, attribute: str) -> bytes:
    nlp = blank("skd_tagger", architecture, attribute=attribute)
    train(nlp, tag_examples(nlp))
    return nlp.to_bytes()


def copy_of(trained: bytes, *args, **kwargs):
    # Without what all of them have in common, which takes the most time to read.
    return blank(*args, **kwargs).from_bytes(trained, exclude=["vocab", "tokenizer"])


@pytest.fixture(params=ARCHITECTURES)
def architecture(request):
    return request.param


@pytest.fixture
def ner(architecture):
    """A pipeline with a trained entity recogniser called "ner", of either architecture."""
    return copy_of(trained_ner(architecture), architecture=architecture)


@pytest.fixture
def crf():
    """A pipeline with a trained CRF for entities called "ner"."""
    return copy_of(trained_ner("LinearChainCRF"))


@pytest.fixture(params=["tag", "pos", "morph", "morph+pos"])
def attribute(request):
    return request.param


@pytest.fixture
def tagger(architecture, attribute):
    """A pipeline with a trained tagger called "tagger", of either architecture."""
    trained = trained_tagger(architecture, attribute)
    return copy_of(trained, "skd_tagger", architecture, attribute=attribute)
