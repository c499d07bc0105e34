"""A teacher without weights: scores are hashes of a token and its neighbours."""

import numpy as np
import spacy
from spacy.language import Language
from spacy.tokens import Doc, DocBin

from spacy_skd.structures import LinearChain, Token, as_potentials, legal_moves

LABELS = ("O", "B-A", "I-A", "L-A", "U-A")


class ToyTeacher:
    def __init__(self, seed: int, kind: str) -> None:
        self.seed = seed
        self.kind = kind
        self.texts: list[str] = []  # what it has been asked to read
        self.fail_after: int | None = None  # documents after which it raises, as if interrupted
        self.broken_word = ""  # a word whose scores are NaN

    def __call__(self, doc: Doc) -> Doc:
        return doc

    def set_annotations(self, docs, structure) -> None:
        pass

    def predict(self, docs):
        docs = list(docs)
        if any(doc.ents for doc in docs):
            raise AssertionError("gold annotation has reached the teacher")
        if self.fail_after is not None and len(self.texts) + len(docs) > self.fail_after:
            raise KeyboardInterrupt
        self.texts.extend(doc.text for doc in docs)
        scores = np.concatenate([np.empty((0, len(LABELS)))] + [self.scores(doc) for doc in docs])
        lengths = [len(doc) for doc in docs]
        if self.kind == "token":
            return Token(scores.astype("float32"), lengths, labels=LABELS)
        masks = [as_potentials(legal) for legal in legal_moves(LABELS)]
        rng = np.random.default_rng(self.seed)
        moves = [mask + rng.normal(size=mask.shape).astype("float32") for mask in masks]
        return LinearChain(scores.astype("float32"), *moves, lengths, labels=LABELS)

    def scores(self, doc: Doc) -> np.ndarray:
        words = ["", *(token.text for token in doc), ""]
        rows = []
        for place, token in enumerate(doc):
            context = "|".join(words[place : place + 3]).encode()
            seed = int.from_bytes(context, "little") % (1 << 63) + self.seed
            row = np.random.default_rng(seed).normal(size=len(LABELS))
            rows.append(np.full_like(row, np.nan) if token.text == self.broken_word else row)
        return np.stack(rows)


@Language.factory("toy_teacher", default_config={"seed": 0, "kind": "chain"})
def make_toy_teacher(nlp: Language, name: str, seed: int, kind: str) -> ToyTeacher:
    return ToyTeacher(seed, kind)


def toy_pipeline(seed: int = 0, kind: str = "chain", name: str = "ner") -> Language:
    nlp = spacy.blank("xx", meta={"name": "toy", "version": "1.0.0"})
    nlp.add_pipe("toy_teacher", name=name, config={"seed": seed, "kind": kind})
    return nlp


def sentences(n: int, start: int = 0) -> list[str]:
    """Distinct texts of varying lengths."""
    words = ["the", "old", "harbour", "of", "Bergen", "saw", "Ada", "buy", "a", "Volvo", "again"]
    rng = np.random.default_rng(0)
    return [
        " ".join([*rng.choice(words, rng.integers(1, 12)), f"number{number}"])
        for number in range(start + n)
    ][start:]


def write_docs(path, docs) -> None:
    DocBin(docs=docs, store_user_data=True).to_disk(path)


def files_of(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
