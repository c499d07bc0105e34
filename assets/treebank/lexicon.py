"""Reading words.txt, drawing words from its classes, and the forms of English nouns and verbs."""

from __future__ import annotations

import random
from pathlib import Path
from typing import NamedTuple

WORDS = Path(__file__).resolve().parent / "words.txt"

# Which marked words a part of the treebank draws, and how often it draws one of them.
MARKS = {"train": "", "dev": "*", "test": "*", "raw": "*+"}
MARKED_SHARE = {"train": 0.0, "dev": 0.25, "test": 0.25, "raw": 0.35}
VOWELS = "aeiou"


class Noun(NamedTuple):
    singular: str
    plural: str


class Verb(NamedTuple):
    base: str
    past: str
    participle: str
    gerund: str

    @property
    def third(self) -> str:
        return with_s(self.base)


def with_s(word: str) -> str:
    """The plural of a noun, or the third person of a verb."""
    if word.endswith(("s", "x", "ch", "sh", "o")):
        return word + "es"
    if word.endswith("y") and word[-2] not in VOWELS:
        return word[:-1] + "ies"
    return word + "s"


def with_ed(word: str) -> str:
    if word.endswith("y") and word[-2] not in VOWELS:
        return word[:-1] + "ied"
    return word + ("d" if word.endswith("e") else "ed")


def with_ing(base: str, past: str) -> str:
    if past == f"{base}{base[-1]}ed":  # trim, trimmed
        return f"{base}{base[-1]}ing"
    if base.endswith("e") and not base.endswith("ee"):
        return base[:-1] + "ing"
    return base + "ing"


def with_article(word: str) -> str:
    """The indefinite article before a word."""
    return "an" if word[0].lower() in VOWELS and not word.startswith("un") else "a"


class Lexicon:
    """The words that one part of the treebank may use, drawn by a random generator."""

    def __init__(self, rng: random.Random, part: str, path: Path = WORDS) -> None:
        self.rng = rng
        self.share = MARKED_SHARE[part]
        self.plain: dict[str, list[str]] = {}
        self.marked: dict[str, list[str]] = {}
        name = ""
        for line in path.read_text(encoding="utf8").splitlines():
            if line.startswith("## "):
                name = line.removeprefix("## ")
                self.plain[name], self.marked[name] = [], []
            elif line and not line.startswith("#"):
                for item in filter(None, map(str.strip, line.split(","))):
                    if item[-1] not in "*+":
                        self.plain[name].append(item)
                    elif item[-1] in MARKS[part]:
                        self.marked[name].append(item[:-1])

    def draw(self, kind: str) -> str:
        """An entry of a class."""
        marked = self.marked[kind]
        if marked and self.rng.random() < self.share:
            return self.rng.choice(marked)
        return self.rng.choice(self.plain[kind])

    def noun(self, kind: str) -> Noun:
        singular, *plural = self.draw(kind).split("/")
        return Noun(singular, plural[0] if plural else with_s(singular))

    def verb(self, kind: str) -> Verb:
        base, *forms = self.draw(kind).split("/")
        past = forms[0] if forms else with_ed(base)
        participle = forms[1] if len(forms) > 1 else past
        gerund = forms[2] if len(forms) > 2 else with_ing(base, past)
        return Verb(base, past, participle, gerund)
