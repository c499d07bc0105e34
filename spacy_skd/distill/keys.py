"""Documents are recognised by their content: keys of text and tokens, and an index of many keys."""

import hashlib
from typing import NamedTuple

import numpy as np
from spacy.attrs import ORTH, SPACY
from spacy.strings import hash_string  # type: ignore[attr-defined]
from spacy.symbols import IDS
from spacy.tokens import Doc

KEY_SIZE = 16  # bytes
N_SYMBOLS = max(IDS.values())


class DocumentKeys(NamedTuple):
    """What a document is recognised by."""

    text: bytes
    """Digest of the text."""
    tokens: bytes
    """Digest of the words and the spaces between them."""


def document_keys(doc: Doc) -> DocumentKeys:
    """The keys of a document: 16 bytes each, the same for the same content everywhere."""
    return DocumentKeys(text_key(doc), token_key(doc))


def text_key(doc: Doc | str) -> bytes:
    """The key of a document's text."""
    text = doc if isinstance(doc, str) else doc.text
    return _digest(text.encode("utf8"))


def token_key(doc: Doc) -> bytes:
    """The key of a document's words and spaces."""
    # spaCy has the 64-bit hashes of the words at hand, which is faster than joining their text.
    # Words that are names of spaCy's symbols ("DATE") have numbers of its own instead.
    words = doc.to_array([ORTH, SPACY])
    for row in np.flatnonzero(words[:, 0] <= N_SYMBOLS):
        words[row, 0] = hash_string(doc[int(row)].text)
    return _digest(words.astype("<u8", copy=False).tobytes())


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=KEY_SIZE).digest()


class KeyIndex:
    """Finds keys among many: 24 bytes of memory a key, O(log n) a search.

    keys: (n, 16) uint8.
    """

    def __init__(self, keys: np.ndarray) -> None:
        rows = np.ascontiguousarray(keys).reshape(-1, KEY_SIZE).view(f"S{KEY_SIZE}").ravel()
        self._order = np.argsort(rows, kind="stable")
        self._keys = rows[self._order]

    def __len__(self) -> int:
        return len(self._keys)

    def keys(self) -> np.ndarray:
        """All keys in order, (n, 16) uint8."""
        return self._keys.view(np.uint8).reshape(-1, KEY_SIZE)

    def find(self, key: bytes) -> int | None:
        """The number of the row that has this key, if there is one."""
        place = int(self._keys.searchsorted(np.bytes_(key)))
        # numpy cuts zeros off the end of a byte string when it hands it out.
        if place == len(self._keys) or self._keys[place] != key.rstrip(b"\0"):
            return None
        return int(self._order[place])


class KeySet:
    """A growing set of keys; most of them in sorted arrays, the newest in a Python set."""

    MAX_RECENT = 1 << 18

    def __init__(self, keys: np.ndarray) -> None:
        self._index = KeyIndex(keys)
        self._recent: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._index) + len(self._recent)

    def __contains__(self, key: bytes) -> bool:
        return key in self._recent or self._index.find(key) is not None

    def add(self, key: bytes) -> None:
        """Add a key that is not in the set."""
        self._recent.add(key)
        if len(self._recent) > self.MAX_RECENT:
            recent = stack_keys(sorted(self._recent))
            self._index = KeyIndex(np.concatenate([self._index.keys(), recent]))
            self._recent.clear()


def stack_keys(keys: list[bytes]) -> np.ndarray:
    """Keys as rows, (n, 16) uint8."""
    return np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(-1, KEY_SIZE)
