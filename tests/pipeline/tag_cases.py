"""What the tests of taggers share: values of tokens, read and written."""

from spacy.tokens import Doc

from spacy_skd.pipeline.analyses import analysis_of, parts_of

from .tiny import MORPH_OF, POS_OF, TAGGED

ATTRIBUTE = {
    "tag": lambda tag: tag,
    "pos": POS_OF.__getitem__,
    "morph": MORPH_OF.__getitem__,
    "morph+pos": lambda tag: analysis_of(MORPH_OF[tag], POS_OF[tag]),
}
OTHER = {"tag": "FW", "pos": "X", "morph": "Foreign=Yes", "morph+pos": "Foreign=Yes|POS=X"}
"""What no sentence has."""


def values_of(doc: Doc, attribute: str) -> list[str]:
    value = {
        "tag": lambda token: token.tag_,
        "pos": lambda token: token.pos_,
        "morph": lambda token: str(token.morph),
        "morph+pos": lambda token: analysis_of(str(token.morph), token.pos_),
    }
    return [value[attribute](token) for token in doc]


def gold(attribute: str) -> list[list[str]]:
    return [[ATTRIBUTE[attribute](tag) for tag in tags] for _, tags in TAGGED]


def labelled(nlp, attribute: str, words: list[str], values: list[str]) -> Doc:
    """A document with some values of the attribute; "" where it is not set."""
    doc = Doc(nlp.vocab, words=words)
    for token, value in zip(doc, values):
        if value and attribute in ("morph", "morph+pos"):
            features, pos = parts_of(value)
            token.set_morph(features)
            token.pos_ = pos
        elif value:
            setattr(token, f"{attribute}_", value)
    return doc
