"""Words, phrases and trees, and how they are written as CoNLL-U.

A phrase is a list of words in their order and the word that heads them. Constructions put phrases
together by saying which word a phrase depends on; since order and heads are independent of each
other, a phrase can stand anywhere, also where its arc crosses another.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(eq=False)
class Word:
    """A syntactic word.

    kind: semantic class, or class of verbs, of which the grammar's rules speak.
    plural: whether it wants a plural verb.
    takes: what may modify it: (preposition, class of the noun after it) -> role.
    joined: written in one token with the word before it, as "n't" is.
    tight: no space before it, as before a full stop.
    entity: as the first or a further word of a name, "B-PERSON" or "I-PERSON".
    """

    form: str
    pos: str
    head: Word | None = None
    relation: str = "root"
    kind: str = ""
    plural: bool = False
    takes: dict[tuple[str, str], str] = field(default_factory=dict)
    joined: bool = False
    tight: bool = False
    entity: str = ""


class Phrase(NamedTuple):
    words: list[Word]
    head: Word


def depend(phrase: Phrase, head: Word, relation: str) -> list[Word]:
    """The words of a phrase, now a dependent of another word."""
    phrase.head.head, phrase.head.relation = head, relation
    return phrase.words


def tokens(words: Iterable[Word]) -> list[list[Word]]:
    """The words by written token; a token of several words is a multiword token."""
    groups: list[list[Word]] = []
    for word in words:
        if word.joined:
            groups[-1].append(word)
        else:
            groups.append([word])
    return groups


def text_of(words: Iterable[Word]) -> str:
    pieces = [
        ("" if group[0].tight else " ") + "".join(word.form for word in group)
        for group in tokens(words)
    ]
    return "".join(pieces).strip()


def head_numbers(words: list[Word]) -> list[int]:
    """For each word the number of its head, from 1; 0 for the root."""
    numbers = {id(word): number for number, word in enumerate(words, start=1)}
    return [0 if word.head is None else numbers[id(word.head)] for word in words]


def to_conllu(words: list[Word], sent_id: str, entities: bool = False) -> str:
    """The sentence in CoNLL-U, with the blank line after it. Lemmas and features are not given.

    entities: name them in MISC, in the form that spaCy's converter reads.
    """
    lines = [f"# sent_id = {sent_id}", f"# text = {text_of(words)}"]
    heads = iter(head_numbers(words))
    groups = tokens(words)
    number = 0
    for group, following in zip(groups, [*groups[1:], None]):
        misc = "SpaceAfter=No" if following is None or following[0].tight else "_"
        if len(group) > 1:
            form = "".join(word.form for word in group)
            lines.append(f"{number + 1}-{number + len(group)}\t{form}" + "\t_" * 7 + f"\t{misc}")
            misc = "_"
        for word in group:
            number += 1
            columns = (number, word.form, "_", word.pos, "_", "_", next(heads), word.relation)
            notes = f"name={word.entity}|{misc}" if entities and word.entity else misc
            lines.append("\t".join(map(str, (*columns, "_", notes.removesuffix("|_")))))
    return "\n".join(lines) + "\n\n"


def is_tree(heads: list[int]) -> bool:
    """Whether all words lead to one root."""
    for start in range(1, len(heads) + 1):
        number, n_steps = start, 0
        while number and n_steps <= len(heads):
            number, n_steps = heads[number - 1], n_steps + 1
        if number:
            return False
    return heads.count(0) == 1


def is_projective(heads: list[int]) -> bool:
    """Whether every word between a word and its head descends from that head."""
    for dependent, head in enumerate(heads, start=1):
        for between in range(min(dependent, head) + 1, max(dependent, head)):
            number = between
            while number not in (0, head):
                number = heads[number - 1]
            if number != head:
                return False
    return True
