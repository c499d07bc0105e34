"""Dependency trees as labels of tokens (Strzyz et al. 2019; docs/math.md §4, cases 1b and 2b).

A label is `code|relation`. The code says where the head is: `0` is the root, `-2` the second token
to the left, `+1` the next to the right, and `NOUN+1` the first noun to the right.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .base import Ints1d

NOWHERE = -1
ROOT = "0"
CODE = re.compile(r"(?P<tag>.*?)(?P<offset>[+-][1-9][0-9]*)")


class Code(NamedTuple):
    """Where a head is: the offset-th token with the tag; no offset: the root."""

    tag: str
    offset: int


def split_label(label: str) -> tuple[Code, str]:
    """Code and relation of a label. Raises ValueError for what is no such label."""
    code, bar, relation = label.partition("|")
    if bar and code == ROOT:
        return Code("", 0), relation
    match = CODE.fullmatch(code)
    if not bar or match is None:
        raise ValueError(
            f"'{label}' is no label of a dependency: it should look like '-1|det', 'NOUN+1|amod' "
            f"or '{ROOT}|ROOT'."
        )
    return Code(match["tag"], int(match["offset"])), relation


class Words:
    """The words of a batch of sentences by their tags, to count from one to another.

    lengths: of the sentences, N tokens in all. tags: (N,) ids; None: all words are alike.
    """

    def __init__(self, lengths: Ints1d, tags: Ints1d | None = None) -> None:
        self.lengths = np.asarray(lengths)
        n_tokens = int(self.lengths.sum())
        self.ends = np.repeat(np.cumsum(self.lengths), self.lengths)
        self.starts = self.ends - np.repeat(self.lengths, self.lengths)
        self.tags = np.zeros(n_tokens, dtype=np.int64) if tags is None else np.asarray(tags)
        self.kinds = {int(tag): number for number, tag in enumerate(np.unique(self.tags))}
        self._tokens = {tag: np.flatnonzero(self.tags == tag) for tag in self.kinds}
        self._before = {
            tag: np.concatenate([[0], np.cumsum(self.tags == tag)]) for tag in self.kinds
        }

    def offsets(self, heads: Ints1d) -> Ints1d:
        """How many words of the head's tag away each head is (N,), negative to the left.

        heads: (N,) head numbers within the sentence; the offset of roots and missing ones is 0.
        """
        found = np.zeros(len(heads), dtype=np.int64)
        dependents = np.flatnonzero(heads > 0)
        targets = self.starts[dependents] + heads[dependents] - 1
        for tag in self.kinds:
            mine = self.tags[targets] == tag
            before, own, aims = self._before[tag], dependents[mine], targets[mine]
            right = aims > own
            found[own[right]] = before[aims[right] + 1] - before[own[right] + 1]
            found[own[~right]] = before[aims[~right]] - before[own[~right]]
        return found

    def at(self, tag: int, offsets: Ints1d) -> npt.NDArray[np.int32]:
        """Head numbers within the sentence, (K, N), of the offset-th words with a tag for K
        offsets, −1 where there is none."""
        if tag not in self.kinds:
            return np.full((len(offsets), len(self.tags)), NOWHERE, dtype=np.int32)
        before = self._before[tag].astype(np.int32)
        # Before the first such word there is one before all sentences, and one after the last.
        words = np.concatenate([[-1], self._tokens[tag], [len(self.tags)]]).astype(np.int32)
        is_after = (offsets > 0)[:, None]
        ranks = np.where(is_after, before[1:], before[:-1] + 1)
        ranks += offsets.astype(np.int32)[:, None]
        found = words.take(ranks, mode="clip")
        starts, ends = self.starts.astype(np.int32), self.ends.astype(np.int32)
        heads = found - (starts - 1)
        heads[(found < starts) | (found >= ends)] = NOWHERE
        return heads


class LabelColumns(NamedTuple):
    """What the labels of a model mean.

    codes: the distinct codes. of_tags: of each tag, "" for none, the numbers of its codes and their
    offsets. code_of: (L,) which of them each label has. relation_names: sorted.
    relation_of: (L,) which of them each label has.
    """

    codes: tuple[Code, ...]
    of_tags: tuple[tuple[str, Ints1d, Ints1d], ...]
    code_of: Ints1d
    relation_names: tuple[str, ...]
    relation_of: Ints1d


@lru_cache(maxsize=32)
def label_columns(labels: tuple[str, ...]) -> LabelColumns:
    """Codes and relations of a model's labels. Raises ValueError for what is no such label."""
    split = [split_label(label) for label in labels]
    codes = tuple(dict.fromkeys(code for code, _ in split))
    names = tuple(sorted({relation for _, relation in split}))
    code_number = {code: number for number, code in enumerate(codes)}
    relation_number = {name: number for number, name in enumerate(names)}
    code_of = np.asarray([code_number[code] for code, _ in split], dtype=np.int64)
    relation_of = np.asarray([relation_number[name] for _, name in split], dtype=np.int64)
    numbers: dict[str, list[int]] = {}
    for number, (tag, offset) in enumerate(codes):
        if offset:
            numbers.setdefault(tag, []).append(number)
    of_tags = tuple(
        (tag, np.asarray(rows), np.asarray([codes[row].offset for row in rows]))
        for tag, rows in numbers.items()
    )
    return LabelColumns(codes, of_tags, code_of, names, relation_of)


def meant_heads(
    labels: Sequence[str], words: Words, tag_ids: Mapping[str, int] | None = None
) -> np.ndarray:
    """Which head number each code of the labels means at each token, (N, C) int32; −1: none in the
    sentence. The code of a label is its `LabelColumns.code_of`.

    tag_ids: ids of the tags that codes name.
    """
    meaning = label_columns(tuple(labels))
    columns = np.zeros((len(meaning.codes), len(words.tags)), dtype=np.int32)  # 0: the root
    for tag, rows, offsets in meaning.of_tags:
        number = (tag_ids or {}).get(tag) if tag else 0
        columns[rows] = NOWHERE if number is None else words.at(number, offsets)
    return columns.T


def labels_of_trees(
    heads: Ints1d, relations: Sequence[str], words: Words, tag_names: Mapping[int, str] | None
) -> list[str | None]:
    """The label of each token (N,), None where its head is not known.

    heads: (N,) head numbers within the sentence, −1 for missing ones. relations: (N,) names.
    tag_names: names of the tags, for codes that have them.
    """
    labels: list[str | None] = []
    offsets = words.offsets(heads).tolist()
    targets = (words.starts + heads - 1).tolist()
    for head, offset, target, relation in zip(heads.tolist(), offsets, targets, relations):
        if head < 0:
            labels.append(None)
        elif head == 0:
            labels.append(f"{ROOT}|{relation}")
        else:
            tag = tag_names[int(words.tags[target])] if tag_names else ""
            labels.append(f"{tag}{offset:+d}|{relation}")
    return labels
