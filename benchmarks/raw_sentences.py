"""Sentences without annotation, of which students learn by the teacher's word alone."""

import random
from collections.abc import Sequence
from itertools import chain, islice
from pathlib import Path

import spacy
from training_runs import write_docs

from spacy_skd.cli.convert import read_corpus
from spacy_skd.distill.copies import plain_copy

RAW = " + raw"
"""The end of the names of settings with further sentences."""
RAW_SENTENCES, RAW_WORDS = 15_000, range(4, 46)


def prepare_raw(lang: str, sources: Sequence[Path], output: Path) -> None:
    """Write sentences as documents without annotation: first of corpora, then of plain texts, which
    have a paragraph a line."""
    if output.exists():
        return
    nlp = spacy.blank(lang)
    nlp.add_pipe("sentencizer")
    texts = [path for path in sources if path.suffix == ".txt"]
    corpora = [path for path in sources if path.suffix != ".txt"]
    annotated = chain.from_iterable(read_corpus(path, nlp) for path in corpora)
    paragraphs = [
        line
        for path in texts
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.strip()
    ]
    random.Random(0).shuffle(paragraphs)
    sentences = (sentence.as_doc() for doc in nlp.pipe(paragraphs) for sentence in doc.sents)
    docs = (
        plain_copy(doc, nlp.vocab) for doc in chain(annotated, sentences) if len(doc) in RAW_WORDS
    )
    write_docs(islice(docs, RAW_SENTENCES), output)
