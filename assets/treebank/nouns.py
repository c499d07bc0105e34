"""Noun phrases, and the rule that decides what a modifier behind a noun depends on.

Every noun has a class, and its class says which modifiers it takes (NOUN_TAKES). A modifier
depends on the verb, if the verb takes it and has no modifier in that role yet (VERB_TAKES in
verbs.py), else on the nearest noun that takes it. Nouns behind the one that has been chosen are
closed from then on, so that no arcs cross.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

from lexicon import Lexicon, with_article
from trees import Phrase, Word, depend

TOOLS = ("optics", "blade", "opener", "club")
THINGS = ("furniture", "container", "item", "vehicle", "clothes", *TOOLS)

PLACES = [("in", "room"), ("near", "building"), ("behind", "building")]
NOUN_TAKES: dict[str, list[tuple[str, str]]] = {
    "person": [
        *(("with", kind) for kind in (*TOOLS, "clothes", "feature")),
        *PLACES,
        ("in", "clothes"),
        ("from", "city"),
    ],
    "animal": [*PLACES, ("from", "city")],
    "building": [("with", "part"), ("in", "city"), ("with", "room")],
    "room": [("of", "building"), ("with", "furniture"), ("with", "part")],
    "part": [("of", "building")],
    "furniture": [("in", "room"), ("from", "city"), ("near", "part")],
    "container": [("on", "furniture"), ("with", "item"), ("with", "cutlery")],
    "item": [("in", "container"), ("on", "furniture"), ("in", "room"), ("from", "city")],
    "vehicle": [("with", "vehicle part"), ("behind", "building"), ("from", "city")],
    "document": [("about", "topic"), ("by", "person"), ("on", "furniture")],
    "occasion": [("on", "day"), ("in", "building"), ("for", "person")],
    "food": [("with", "food"), ("on", "furniture"), ("from", "city")],
    "topic": [("in", "city")],
    "message": [("about", "person"), ("about", "topic")],
    "intention": [("of", "person")],
    "clothes": [("from", "city")],
    **{kind: [("on", "furniture"), ("from", "city")] for kind in (*TOOLS, "cutlery")},
}

# Which nouns stand before which as modifiers; "church kitchen table" is built from the left, and a
# material always describes the last noun ("steel kitchen table").
COMPOUNDS = {
    "furniture": "room",
    "part": "room",
    "room": "building",
    "opener": "part",
    "document": "topic",
    "food": "food",
    "vehicle part": "vehicle",
    "clothes": "person",
}
OF_MATERIAL = ("furniture", "part", "container", "item", "clothes", "opener", "vehicle part")

NAMES = ("city", "day")
ENTITIES = {"city": "LOC"}  # of the names that are one word
ORGANISATION_SHARE = 0.4  # of the names of those who do something
NUMBERS = ("two", "three", "four", "several")
DETERMINERS = ["the"] * 9 + ["a"] * 6 + ["this", "that", "every", "some"]
POSSESSIVES = ("my", "her", "their", "our", "his")
SUBJECT_PRONOUNS = ("she", "he", "they", "we", "you")
OBJECT_PRONOUNS = ("her", "him", "them", "us", "me")


def taking(kind: str, pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """What a noun of a class takes: any number of modifiers, each pair a role of its own."""
    return {pair: f"{kind} {pair}" for pair in pairs}


def site_of(sites: list[Word], pair: tuple[str, str]) -> Word:
    """The rule: the verb if it takes the modifier, else the nearest noun that does."""
    verbs = [site for site in sites if site.pos == "VERB"]
    nouns = [site for site in sites if site.pos != "VERB"]
    return next(site for site in (*verbs, *reversed(nouns)) if pair in site.takes)


class Nouns:
    """Noun phrases of drawn words.

    organisations: let named organisations do what people do.
    """

    def __init__(self, rng: random.Random, lexicon: Lexicon, organisations: bool = False) -> None:
        self.rng = rng
        self.lexicon = lexicon
        self.organisations = organisations

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def name(self, kind: str) -> Phrase:
        word = Word(self.lexicon.draw(kind), "PROPN", kind=kind)
        word.entity = f"B-{ENTITIES[kind]}" if kind in ENTITIES else ""
        return Phrase([word], word)

    def person_name(self) -> Phrase:
        words, head = self.name("first name")
        head.kind, head.entity = "person", "B-PERSON"
        if self.chance(0.3):
            surname = Word(self.lexicon.draw("surname"), "PROPN", head, "flat", entity="I-PERSON")
            words = [*words, surname]
        return Phrase(words, head)

    def organisation_name(self) -> Phrase:
        """ "Leeds Bank": the second word tells it from a city, and from a person of that name."""
        first = self.lexicon.draw(self.rng.choice(("city", "surname")))
        head = Word(self.lexicon.draw("organisation"), "PROPN", kind="person", entity="I-ORG")
        return Phrase([Word(first, "PROPN", head, "compound", entity="B-ORG"), head], head)

    def agent_name(self) -> Phrase:
        """A person or an organisation by name."""
        if self.organisations and self.chance(ORGANISATION_SHARE):
            return self.organisation_name()
        return self.person_name()

    def subject(self, modifiers: int = 0) -> Phrase:
        """Somebody who does something."""
        luck = self.rng.random()
        if not modifiers and luck < 0.25:
            form = self.rng.choice(SUBJECT_PRONOUNS)
            word = Word(form, "PRON", kind="person", plural=form in ("they", "we", "you"))
            return Phrase([word], word)
        if not modifiers and luck < 0.45:
            return self.agent_name()
        return self.noun_phrase("person", modifiers=modifiers)

    def object(self, kind: str) -> Phrase:
        """Somebody or something to which something is done, without modifiers behind it."""
        if kind == "person" and self.chance(0.15):
            word = Word(self.rng.choice(OBJECT_PRONOUNS), "PRON", kind="pronoun")
            return Phrase([word], word)
        if kind == "person" and self.chance(0.1):
            return self.agent_name()
        return self.noun_phrase(kind)

    def noun_phrase(
        self,
        kind: str,
        *,
        plural: bool | None = None,
        determiner: str | None = None,
        plain: bool = False,
        modifiers: int = 0,
    ) -> Phrase:
        """A noun with what stands before it, and as many modifiers behind it as are asked for.

        determiner: "" for none, None for any. plain: no adjective, no compound.
        """
        if kind in NAMES:
            return self.name(kind)
        if plural is None:
            plural = self.chance(0.25) and determiner not in ("a", "this", "that", "every")
        noun = self.lexicon.noun(kind)
        head = Word(noun.plural if plural else noun.singular, "NOUN", kind=kind, plural=plural)
        head.takes = taking(kind, NOUN_TAKES.get(kind, ()))
        words = [head] if plain else [*self.adjectives(head), *self.compound(head), head]
        words = [*self.determiner(head, words[0].form, determiner), *words]
        self.extend(words, [head], modifiers)
        return Phrase(words, head)

    def determiner(self, head: Word, following: str, form: str | None) -> list[Word]:
        """The article of a noun, or what stands in its place."""
        if form is not None:
            form = with_article(following) if form == "a" else form
            return [Word(form, "DET", head, "det")] if form else []
        if self.chance(0.08):
            return [Word(self.rng.choice(POSSESSIVES), "PRON", head, "nmod:poss")]
        if head.kind != "person" and self.chance(0.05):
            words, owner = self.person_name() if self.chance(0.4) else self.noun_phrase("person")
            mark = Word("'" if owner.form.endswith("s") else "'s", "PART", owner, "case")
            mark.joined = True
            return [*depend(Phrase([*words, mark], owner), head, "nmod:poss")]
        if head.plural:
            if self.chance(0.25):
                number = self.rng.choice(NUMBERS)
                if number == "several":
                    return [Word(number, "ADJ", head, "amod")]
                return [Word(number, "NUM", head, "nummod")]
            return [Word("the", "DET", head, "det")] if self.chance(0.7) else []
        return self.determiner(head, following, self.rng.choice(DETERMINERS))

    def adjectives(self, head: Word) -> list[Word]:
        words: list[Word] = []
        if head.kind in ("person", "animal"):
            kind, share = "adjective of persons", 0.13
        else:
            kind, share = "adjective of things", 0.15 if head.kind in THINGS else 0.05
        if self.chance(share):
            adjective = Word(self.lexicon.draw(kind), "ADJ", head, "amod")
            if self.chance(0.15):
                words = [Word(self.lexicon.draw("adverb of degree"), "ADV", adjective, "advmod")]
            words.append(adjective)
        return words

    def compound(self, head: Word) -> list[Word]:
        """The nouns before a noun: each describes the next, a material the last."""
        words: list[Word] = []
        described = head
        while described.kind in COMPOUNDS and self.chance(0.12 if described is head else 0.3):
            kind = COMPOUNDS[described.kind]
            if kind == head.kind and words:
                break
            noun = self.lexicon.noun(kind)
            described = Word(noun.singular, "NOUN", described, "compound", kind)
            words.insert(0, described)
        if head.kind in OF_MATERIAL and self.chance(0.12):
            words.insert(0, Word(self.lexicon.draw("material"), "NOUN", head, "compound"))
        return words

    # Modifiers behind nouns

    def extend(self, words: list[Word], sites: list[Word], n: int) -> None:
        """Add n modifiers behind a verb and its object, or behind a noun.

        sites: the words that the next modifier may depend on, a verb first, then the nouns from
        far to near.
        """
        for step in range(n):
            nouns = [site for site in sites if site.pos == "NOUN"]
            share = 0.45 if len(nouns) > 1 else 0.15
            if step == n - 1 and self.chance(share) and self.last_modifier(words, nouns):
                return
            reach: dict[Word, list[tuple[str, str]]] = {}
            for pair in dict.fromkeys(pair for site in sites for pair in site.takes):
                reach.setdefault(site_of(sites, pair), []).append(pair)
            if not reach:
                return
            self.add_preposition(words, sites, *self.rng.choice(reach[self.rng.choice([*reach])]))

    def add_preposition(
        self, words: list[Word], sites: list[Word], preposition: str, kind: str
    ) -> None:
        """Add "preposition + noun of a class" where the rule says."""
        site = site_of(sites, (preposition, kind))
        role = site.takes[preposition, kind]
        site.takes = {pair: other for pair, other in site.takes.items() if other != role}
        phrase = self.with_preposition(preposition, kind)
        relation = "nmod" if site.pos != "VERB" else "obl:agent" if role == "agent" else "obl"
        words += depend(phrase, site, relation)
        del sites[sites.index(site) + 1 :]
        sites.append(phrase.head)

    def with_preposition(self, preposition: str, kind: str) -> Phrase:
        if kind == "person" and self.chance(0.2):
            words, head = self.agent_name()
        else:
            words, head = self.noun_phrase(kind, plural=self.chance(0.1))
        return Phrase([Word(preposition, "ADP", head, "case"), *words], head)

    def last_modifier(self, words: list[Word], nouns: list[Word]) -> bool:
        """Add a conjunct or a clause to one of the nouns; False where none takes it."""
        if nouns and self.chance(0.4):
            self.add_conjunct(words, nouns, self.rng.choice(nouns).kind)
            return True
        return self.add_clause(words, nouns)

    def add_conjunct(self, words: list[Word], nouns: list[Word], kind: str) -> None:
        """Coordinate a noun with the nearest of its class."""
        site = next(noun for noun in reversed(nouns) if noun.kind == kind)
        site.plural = True
        phrase = self.noun_phrase(kind)
        conjunction = Word("and", "CCONJ", phrase.head, "cc")
        words += [conjunction, *depend(phrase, site, "conj")]

    def add_clause(self, words: list[Word], nouns: list[Word]) -> bool:
        """Add a relative clause or a participle to a noun (verbs.py)."""
        raise NotImplementedError
