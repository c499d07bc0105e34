"""A component without weights that is as sure of a tag as the word says, and its documents."""

import numpy as np
import spacy
import srsly
from spacy.language import Language
from spacy.tokens import Doc

TAG = "A"  # what it predicts of every token


class SureTagger:
    """Sets the tag A; the word "-1.5" is its logit: the confidence is sigmoid(-1.5 / T)."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.temperature = 1.0
        self.silent = False  # whether it predicts nothing
        self.foreign = ""  # a word that, it says, it did not predict

    def __call__(self, doc: Doc) -> Doc:
        self.set_annotations([doc], self.predict([doc]))
        return doc

    def predict(self, docs):
        return [np.asarray([float(token.text) for token in doc]) for doc in docs]

    def set_annotations(self, docs, structure):
        for doc in docs:
            for token in [] if self.silent else doc:
                token.tag_ = TAG

    def units(self, doc):
        return [(token.i, token.tag_) for token in doc if token.tag]

    def known(self, doc):
        return doc.to_array("TAG") != 0

    def confidences(self, docs, structure, temperature=None):
        scale = self.temperature if temperature is None else temperature
        return [
            [
                None
                if doc[token].text == self.foreign
                else 1 / (1 + np.exp(-logits[token] / scale))
                for token, _ in self.units(doc)
            ]
            for doc, logits in zip(docs, structure)
        ]

    def to_disk(self, path, *, exclude=()):
        path.mkdir(exist_ok=True)
        srsly.write_json(path / "cfg", {"temperature": self.temperature})

    def from_disk(self, path, *, exclude=()):
        self.temperature = srsly.read_json(path / "cfg")["temperature"]
        return self


@Language.factory("sure_tagger")
def make_sure_tagger(nlp: Language, name: str) -> SureTagger:
    return SureTagger(name)


def sure_pipeline() -> Language:
    nlp = spacy.blank("xx")
    nlp.add_pipe("sure_tagger", name="tagger")
    return nlp


def gold_docs(nlp: Language, logits, right) -> list[Doc]:
    """Documents of ten tokens in which the tagger has these logits, and is right or not; None says
    that the gold annotation is missing."""
    words = [repr(round(float(logit), 4)) for logit in logits]
    tags = ["" if hit is None else TAG if hit else "B" for hit in right]
    return [
        Doc(nlp.vocab, words=words[start : start + 10], tags=tags[start : start + 10])
        for start in range(0, len(words), 10)
    ]


def overconfident(n: int, factor: float = 2.0, seed: int = 0):
    """Logits that are too large by a factor, and whether each prediction is right."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(1.0, 2.0, n)
    return factor * logits, rng.random(n) < 1 / (1 + np.exp(-logits))
