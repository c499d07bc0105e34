"""Folders with all that `skd distill` needs: of one teacher, and of two of two languages."""

import pytest
import spacy
from spacy.tokens import Span

from spacy_skd.cli import distill as cli

from ..toy import sentences, toy_pipeline, write_docs
from .distill_cases import CONFIG
from .several_cases import ENGLISH, GERMAN, run


@pytest.fixture
def folder(tmp_path):
    """A folder with a teacher, gold documents, raw text and a config."""
    nlp = spacy.blank("xx")
    docs = [nlp.make_doc(text) for text in sentences(12, start=100)]
    for doc in docs:
        doc.ents = [Span(doc, len(doc) - 1, len(doc), "A")]
    write_docs(tmp_path / "gold.spacy", docs)
    (tmp_path / "raw.txt").write_text("\n".join(sentences(10)))
    (tmp_path / "student.cfg").write_text(CONFIG)
    toy_pipeline().to_disk(tmp_path / "teacher")
    return tmp_path


@pytest.fixture
def bilingual(tmp_path):
    """A folder with two teachers, and a text file of each language."""
    toy_pipeline().to_disk(tmp_path / "german")
    toy_pipeline(seed=1).to_disk(tmp_path / "english")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "news.de.txt").write_text("\n".join(GERMAN))
    (tmp_path / "texts" / "en_news.txt").write_text("\n".join(ENGLISH))
    return tmp_path


@pytest.fixture
def distilled(bilingual, monkeypatch):
    """Run `distill` up to the training of the student; returns what that would have been told."""
    (bilingual / "student.cfg").write_text(CONFIG)
    write_docs(bilingual / "dev.spacy", [spacy.blank("xx").make_doc(sentences(1)[0])])
    told = {}

    def train(config, output, *, use_gpu, overrides):
        told.update(overrides)

    monkeypatch.setattr(cli, "train_pipeline", train)

    def run_it(*options, **settings):
        told.clear()
        texts = ["--raw", bilingual / "texts", "--dev", bilingual / "dev.spacy"]
        result = run(bilingual, "distill", bilingual / "student.cfg", *texts, *options, **settings)
        assert result.exit_code == 0, result.output
        return dict(told)

    return run_it
