"""A structure over the sentences of documents that have any number of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .base import Ints1d


@dataclass(frozen=True, eq=False)
class Sentences:
    """Distributions over the sentences of a batch of D documents.

    structure: the batch over sentences, one document's after another's.
    n_sentences: (D,) how many sentences each document has.
    """

    structure: Any
    n_sentences: Ints1d
