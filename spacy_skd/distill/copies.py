"""Copies of documents that a component may write to, so that the documents stay as they are."""

from spacy.tokens import Doc
from spacy.vocab import Vocab


def plain_copy(doc: Doc, vocab: Vocab) -> Doc:
    """The words and spaces of a document, without any annotation."""
    words, spaces = words_and_spaces(doc)
    return Doc(vocab, words=words, spaces=spaces)


def words_and_spaces(doc: Doc) -> tuple[list[str], list[bool]]:
    """The words of a document, and whether a space follows each."""
    return [token.text for token in doc], [bool(token.whitespace_) for token in doc]


def full_copy(doc: Doc) -> Doc:
    """A document with all its annotation; what is in `user_data` is not copied but shared."""
    user_data, doc.user_data = doc.user_data, {}
    try:
        copied = doc.copy()
    finally:
        doc.user_data = user_data
    copied.user_data = dict(user_data)
    return copied
