"""Copies of documents that a component may write to, so that the documents stay as they are."""

from spacy.tokens import Doc


def bare_copy(doc: Doc) -> Doc:
    """The words and spaces of a document."""
    words = [token.text for token in doc]
    return Doc(doc.vocab, words=words, spaces=[bool(token.whitespace_) for token in doc])


def full_copy(doc: Doc) -> Doc:
    """A document with all its annotation; what is in `user_data` is not copied but shared."""
    user_data, doc.user_data = doc.user_data, {}
    try:
        copied = doc.copy()
    finally:
        doc.user_data = user_data
    copied.user_data = dict(user_data)
    return copied
