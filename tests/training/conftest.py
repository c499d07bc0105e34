"""Documents with gold annotation, and a teacher's targets of them."""

import pytest
import spacy
from spacy.tokens import Span

from spacy_skd.cli.annotate import annotate

from ..toy import sentences, write_docs


@pytest.fixture
def nlp():
    return spacy.blank("xx")


@pytest.fixture
def gold(tmp_path, nlp):
    """A .spacy file of six sentences whose first token is an entity."""
    docs = [nlp.make_doc(text) for text in sentences(6, start=100)]
    for doc in docs:
        doc.ents = [Span(doc, 0, 1, "A")]
    write_docs(tmp_path / "gold.spacy", docs)
    return tmp_path / "gold.spacy"


@pytest.fixture
def store(tmp_path, teacher, gold, texts):
    """A store with the targets of the gold and the raw documents."""
    annotate(teacher, [gold, texts], tmp_path / "store")
    return tmp_path / "store"
