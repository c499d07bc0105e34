"""What benchmarks/multilingual.py learns: tasks, their corpora, the sentences of all languages."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import spacy
import srsly
from raw_sentences import prepare_raw
from spacy.tokens import Doc, DocBin
from training_runs import write_docs

from spacy_skd.cli.convert import read_corpus
from spacy_skd.training.conllu import Faults

UNION = "all"  # folder of the sentences of all the teachers' languages
COUNTS = "counts.json"
N_DEV = 500  # sentences of each language on which students are chosen
N_RAW = 5000  # sentences of each language without annotation
TAGS = (
    *("ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM"),
    *("PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X"),
)
"""All that Universal Dependencies knows. No treebank need have them all: French and Dutch have no
PART. Their teachers know it all the same, and learn that it does not occur."""


@dataclass(frozen=True)
class Task:
    """What is learnt.

    source: folder of the data, in which each corpus has its own. suffix: of its files. teachers:
    the corpora that have a teacher, and their languages. others: those that nobody learns from.
    transformer: the corpora whose teacher is one. component: who learns. labels: of the component;
    None for those in the data. metric: spaCy's name of the score. own_tokens: whether documents are
    read with the corpus's tokens, not with those of the pipeline's tokenizer.
    """

    source: str
    suffix: Literal["iob", "conllu"]
    teachers: Mapping[str, str]
    others: Mapping[str, str]
    transformer: Sequence[str]
    component: Literal["ner", "tagger"]
    labels: Sequence[str] | None
    metric: str
    own_tokens: bool


TASKS = {
    "wikiann": Task(
        "ner/wikiann",
        "iob",
        {"en": "en", "de": "de", "es": "es", "nl": "nl"},
        {"fr": "fr", "pl": "pl"},
        ["en"],
        "ner",
        None,
        "ents_f",
        False,
    ),
    "upos": Task(
        "ud",
        "conllu",
        {"en_ewt": "en", "fr_sequoia": "fr", "nl_lassysmall": "nl"},
        {},
        [],
        "tagger",
        TAGS,
        "pos_acc",
        True,
    ),
}


def write_corpora(task: Task, data: Path, folder: Path, limit: int = 0) -> None:
    """Every corpus, the union of those with a teacher without what is in two of them, and how many
    sentences these are.

    Sentences of dev and test that a teacher may have seen are left out: each with the text of any
    training sentence.
    """
    if (folder / COUNTS).exists():  # written last
        return
    union = folder / UNION
    union.mkdir(parents=True, exist_ok=True)
    source = data / task.source
    train = {corpus: read_split(task, source, corpus, "train", limit) for corpus in task.teachers}
    seen = {doc.text for docs in train.values() for doc in docs}
    counts: dict[str, dict[str, int]] = {corpus: {} for corpus in (*task.teachers, *task.others)}
    dev: list[Doc] = []
    for corpus, count in counts.items():
        (folder / corpus).mkdir(exist_ok=True)
        for split in ("dev", "test"):
            docs = read_split(task, source, corpus, split, limit)
            unseen = [doc for doc in docs if doc.text not in seen]
            write_docs(unseen, folder / corpus / f"{split}.spacy")
            count |= {split: len(unseen), f"{split}, left out": len(docs) - len(unseen)}
            if split == "dev" and corpus in train:
                dev += unseen[:N_DEV]
    taken: set[str] = set()
    together: list[Doc] = []
    for corpus, docs in train.items():
        write_docs(docs, folder / corpus / "train.spacy")
        own = []
        for doc in docs:
            if doc.text not in taken:
                taken.add(doc.text)
                own.append(doc)
        write_docs(own, union / f"{corpus}.spacy")
        counts[corpus] |= {"train": len(docs), "train of the student": len(own)}
        together += own
    random.Random(0).shuffle(together)
    write_docs(dev, union / "dev.spacy")
    write_docs(together, union / "train.spacy")
    srsly.write_json(folder / COUNTS, counts)


def read_split(task: Task, source: Path, corpus: str, split: str, limit: int) -> list[Doc]:
    """The first sentences of a file; those that are no trees are left out, which is printed."""
    skipped = Faults()
    path = source / corpus / f"{split}.{task.suffix}"
    docs = list(islice(read_corpus(path, spacy.blank("en"), skipped=skipped), limit or None))
    for fault in skipped.messages:
        print(f"Left out: {fault}")
    return docs


def write_raw(
    task: Task, texts: Mapping[str, Sequence[Path]], folder: Path, limit: int = 0
) -> None:
    """Sentences of the teachers' languages without annotation, as the student's tokenizer has them.

    None is in two files, or has the text of a training sentence: it would have two teachers.
    """
    output = folder / UNION / "raw"
    if output.exists():
        return
    vocab = spacy.blank("xx").vocab
    train = DocBin().from_disk(folder / UNION / "train.spacy")
    taken = {doc.text for doc in train.get_docs(vocab)}
    chosen: dict[str, list[Doc]] = {}
    for corpus, lang in task.teachers.items():
        sentences = folder / UNION / f"sentences-{lang}.spacy"
        prepare_raw("xx", list(texts[lang]), sentences)
        own = chosen[corpus] = []
        for doc in DocBin().from_disk(sentences).get_docs(vocab):
            if doc.text not in taken and len(own) < (limit or N_RAW):
                taken.add(doc.text)
                own.append(doc)
    output.mkdir()
    for corpus, docs in chosen.items():
        write_docs(docs, output / f"{corpus}.spacy")


def task_of(corpus: str) -> Task:
    """The task of a run's corpus, "TASK/CORPUS" or, of so many sentences, "TASK-LIMIT/CORPUS"."""
    return TASKS[corpus.split("/")[0].split("-")[0]]
