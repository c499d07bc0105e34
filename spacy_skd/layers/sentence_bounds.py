"""Which sentences a document has: those that are set, the longest of them in pieces."""

from collections.abc import Iterator, Sequence
from itertools import chain
from unicodedata import category

import numpy as np
from spacy.attrs import ORTH, SENT_START
from spacy.pipeline import Sentencizer
from spacy.tokens import Doc

from ..structures.base import Ints1d, to_host

FINAL = frozenset(Sentencizer.default_punct_chars) | {"…"}
PAUSE, CLOSING, END = 1, 2, 3
"""How good it is to cut after a token: after a pause, after an end. A closing quote or bracket is a
pause, but after an end it is one too."""


def sentence_lengths(
    docs: Sequence[Doc], max_length: int, use_boundaries: bool = True
) -> tuple[Ints1d, Ints1d]:
    """Lengths of all sentences (B,), one document's after another's, and how many sentences each
    document has (D,).

    A document without boundaries is one sentence, one without tokens none. A sentence of more than
    `max_length` tokens is cut after the last end of a sentence or line break that fits, else after
    other punctuation in the second half of what fits, else evenly.

    use_boundaries: begin sentences where the document says so (SENT_START).

    Raises ValueError for a `max_length` under 1.
    """
    if max_length < 1:
        raise ValueError(f"Sentences have at least one token, but max_length is {max_length}.")
    sizes = np.fromiter(map(len, docs), dtype=np.int64, count=len(docs))
    ends = sizes.cumsum()
    # A sentence begins at a bound and ends at the next one: those of documents are bounds, too.
    is_bound = np.zeros(1 + sum(map(len, docs)), dtype=bool)
    if use_boundaries and len(docs):
        is_bound[:-1] = np.concatenate([doc.to_array(SENT_START) for doc in docs]) == 1
    is_bound[0] = True
    is_bound[ends] = True
    bounds = is_bound.nonzero()[0]
    first_tokens, lengths = bounds[:-1], bounds[1:] - bounds[:-1]
    documents = ends.searchsorted(first_tokens, side="right")
    if len(lengths) and int(lengths.max()) > max_length:
        pieces = [[length] for length in lengths.tolist()]
        ranks: dict[int, Ints1d] = {}
        for sentence in np.flatnonzero(lengths > max_length).tolist():
            document = int(documents[sentence])
            if document not in ranks:
                ranks[document] = _ranks(docs[document])
            start = int(first_tokens[sentence] - ends[document] + sizes[document])
            of_sentence = ranks[document][start : start + pieces[sentence][0]]
            pieces[sentence] = list(_pieces(of_sentence, max_length))
        documents = np.repeat(documents, [len(lengths) for lengths in pieces])
        lengths = np.fromiter(chain.from_iterable(pieces), dtype=np.int64)
    return lengths, np.bincount(documents, minlength=len(docs))


def sentence_counts(lengths: Ints1d, docs: Sequence[Doc]) -> Ints1d:
    """How many sentences each document has, (D,), by the lengths of all, (B,)."""
    lengths = to_host(lengths)
    if len(docs) == 1:  # which someone may wait for
        return np.asarray([np.count_nonzero(lengths)])
    ends = np.cumsum([len(doc) for doc in docs])
    documents = np.searchsorted(ends, np.cumsum(lengths) - lengths, side="right")
    return np.bincount(documents[lengths > 0], minlength=len(docs))


def _pieces(ranks: Ints1d, max_length: int) -> Iterator[int]:
    """The lengths of the pieces of a sentence, whose tokens have the given ranks."""
    while len(ranks) > max_length:
        size = _cut(ranks[:max_length], len(ranks))
        yield size
        ranks = ranks[size:]
    yield len(ranks)


def _cut(window: Ints1d, length: int) -> int:
    """How many tokens to take of a sentence of so many. window: ranks of as many as can be."""
    ends = np.flatnonzero(window == END)
    if len(ends):
        return int(ends[-1]) + 1
    half = len(window) // 2
    pauses = np.flatnonzero(window[half:])
    if len(pauses):
        return half + int(pauses[-1]) + 1
    n_pieces = -(-length // len(window))
    return -(-length // n_pieces)


def _ranks(doc: Doc) -> Ints1d:
    """How good it is to cut after each token, (n,)."""
    words, numbers = np.unique(doc.to_array(ORTH), return_inverse=True)
    of_words = [_rank(doc.vocab.strings[word]) for word in words.tolist()]
    ranks = np.asarray(of_words, dtype=np.int64)[numbers]
    for place in np.flatnonzero(ranks == CLOSING).tolist():
        if place and ranks[place - 1] == END:
            ranks[place] = END
    return ranks


def _rank(word: str) -> int:
    if word.isspace():
        return END if "\n" in word else 0
    if not word or any(map(str.isalnum, word)):  # "etc." is a word
        return 0
    if word[-1] in FINAL:
        return END
    kind = category(word[-1])
    if kind in ("Pe", "Pf") or word in ('"', "'", "''"):
        return CLOSING
    return PAUSE if kind in ("Po", "Pd") else 0
