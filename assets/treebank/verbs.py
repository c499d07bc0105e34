"""Verb phrases: what verbs take, finite forms, and the clauses that modify nouns."""

from __future__ import annotations

from lexicon import Verb
from nouns import PLACES, THINGS, TOOLS, Nouns
from trees import Phrase, Word, depend

# Classes of transitive verbs, and the classes of their objects.
OBJECTS: dict[str, tuple[str, ...]] = {
    "see": ("person", "person", "animal", "building", "vehicle"),
    "cut": ("food",),
    "eat": ("food",),
    "open": ("container", "part"),
    "hit": ("person", "animal"),
    "tell": ("person",),
    "get": ("item", "document", "vehicle", "clothes"),
    "meet": ("person", "person", "animal"),
    "repair": ("furniture", "item", "vehicle", "part"),
    "know": ("person", "building", "item", "document", "furniture"),
    "read": ("document",),
    "attend": ("occasion",),
    "cancel": ("occasion", "intention"),
    "carry": ("item", "container", "document"),
    "deny": ("message",),
}
# The modifiers that verbs take, by role; each role is taken once. Other verbs take none.
VERB_TAKES: dict[str, dict[str, list[tuple[str, str]]]] = {
    "see": {"instrument": [("with", "optics")], "place": [("from", "part"), ("from", "building")]},
    "cut": {"instrument": [("with", "blade")], "place": [("in", "room"), ("on", "furniture")]},
    "eat": {"instrument": [("with", "cutlery")], "place": [("in", "room")]},
    "open": {"instrument": [("with", "opener"), ("with", "club")]},
    "hit": {"instrument": [("with", "club")], "place": PLACES},
    "tell": {"topic": [("about", "topic"), ("about", "occasion")]},
    "get": {"source": [("from", "person"), ("from", "building")], "place": [("in", "city")]},
    "put": {"place": [("in", "container"), ("on", "furniture"), ("behind", "furniture")]},
    "meet": {"place": [*PLACES, ("at", "occasion")], "time": [("on", "day")]},
    "repair": {"place": [("in", "room"), ("behind", "building")], "time": [("on", "day")]},
    "read": {"place": [("in", "room"), ("on", "furniture")]},
    "attend": {"company": [("with", "person")], "time": [("on", "day")]},
    "do": {"place": [*PLACES, ("on", "furniture")], "time": [("on", "day")]},
    "arrive": {"place": [("in", "city"), *PLACES], "time": [("on", "day")]},
    "decay": {},
}
# Classes of verbs, and the classes of the subjects that they have in relative clauses.
SUBJECTS: dict[str, tuple[str, ...]] = {
    "do": ("person",),
    "carry": ("person",),
    "meet": ("person",),
    "eat": ("person", "animal"),
    "arrive": ("animal",),
    "impress": ("document",),
    "last": ("topic", "occasion"),
    "decay": ("building", "part", "vehicle part", *THINGS),
}
BEARERS = {"carry": ("person",)}
TRANSITIVE = {"impress": ("person",), "surprise": ("person",), "put": ("item", "document", *TOOLS)}
TRANSITIVE.update(OBJECTS)

PAST, PRESENT, FUTURE, PERFECT, PLUPERFECT, MODAL, PROGRESSIVE = range(7)
TENSES = [PAST] * 10 + [PRESENT] * 2 + [FUTURE, PERFECT, PLUPERFECT, MODAL, PROGRESSIVE]
MODALS = ("can", "could", "should", "must", "may")
WITH_NOT = {"can": "ca", "will": "wo"}  # can't, won't: the part before "n't"
NOT_JOINED = ("may",)


class Verbs(Nouns):
    """Verb phrases of drawn words."""

    def verb_word(self, form: str, kind: str, pos: str = "VERB") -> Word:
        takes = {pair: role for role, pairs in VERB_TAKES.get(kind, {}).items() for pair in pairs}
        return Word(form, pos, kind=kind, takes=takes)

    def auxiliary(self, form: str, head: Word, negated: bool, relation: str = "aux") -> list[Word]:
        """An auxiliary, with "not" or "n't" behind it if the verb is negated."""
        if not negated:
            return [Word(form, "AUX", head, relation)]
        if form in NOT_JOINED or self.chance(0.4):
            return [Word(form, "AUX", head, relation), Word("not", "PART", head, "advmod")]
        first = Word(WITH_NOT.get(form, form), "AUX", head, relation)
        return [first, Word("n't", "PART", head, "advmod", joined=True)]

    def finite(
        self, verb: Verb, kind: str, subject: Word, tense: int | None = None
    ) -> tuple[list[Word], Word]:
        """Auxiliaries and verb that agree with a subject; the verb is the head."""
        tense = self.rng.choice(TENSES) if tense is None else tense
        negated = self.chance(0.08)
        be, have, do = ("are", "have", "do") if subject.plural else ("is", "has", "does")
        was = "were" if subject.plural else "was"
        if tense in (PAST, PRESENT) and not negated:
            present = verb.base if subject.plural else verb.third
            head = self.verb_word(verb.past if tense == PAST else present, kind)
            return [head], head
        auxiliary, form = {
            PAST: ("did", verb.base),
            PRESENT: (do, verb.base),
            FUTURE: ("will", verb.base),
            PERFECT: (have, verb.participle),
            PLUPERFECT: ("had", verb.participle),
            MODAL: (self.rng.choice(MODALS), verb.base),
            PROGRESSIVE: (self.rng.choice((be, was)), verb.gerund),
        }[tense]
        head = self.verb_word(form, kind)
        return [*self.auxiliary(auxiliary, head, negated), head], head

    def manner(self, head: Word) -> list[Word]:
        return [Word(self.lexicon.draw("adverb of manner"), "ADV", head, "advmod")]

    def complements(self, words: list[Word], head: Word, modifiers: int) -> Phrase:
        """What follows a verb: its object, if it is transitive, and modifiers."""
        sites = [head]
        if head.kind in TRANSITIVE:
            phrase = self.object(self.rng.choice(TRANSITIVE[head.kind]))
            words += depend(phrase, head, "obj")
            if phrase.head.pos == "NOUN":
                sites.append(phrase.head)
        if head.kind == "put":
            self.add_preposition(words, sites, *self.rng.choice(list(head.takes)))
            modifiers -= 1
        self.extend(words, sites, modifiers)
        return Phrase(words, head)

    def predicate(
        self, kind: str, subject: Word, tense: int | None = None, modifiers: int = 0
    ) -> Phrase:
        """A finite verb of a class with what follows it."""
        words, head = self.finite(self.lexicon.verb(kind), kind, subject, tense)
        if self.chance(0.05):
            words = [*self.manner(head), *words] if words == [head] else words
        return self.complements(words, head, modifiers)

    def bare_predicate(self, kind: str, form: str = "base", modifiers: int = 0) -> Phrase:
        """An infinitive, gerund or participle of a class with what follows it."""
        head = self.verb_word(getattr(self.lexicon.verb(kind), form), kind)
        return self.complements([head], head, modifiers)

    def any_kind(self) -> str:
        return self.rng.choice([*OBJECTS, "put", "do", "do", "arrive"])

    def clause(
        self, tense: int | None = None, modifiers: int = 0, subject: Phrase | None = None
    ) -> Phrase:
        """A person and what they do."""
        subject = subject or self.subject()
        predicate = self.predicate(self.any_kind(), subject.head, tense, modifiers)
        return Phrase([*depend(subject, predicate.head, "nsubj"), *predicate.words], predicate.head)

    # Clauses that modify nouns

    def add_clause(self, words: list[Word], nouns: list[Word]) -> bool:
        """Add a clause to the nearest noun that can be its subject or object.

        Its verb says which: "the letter to the singer that burned" or "that laughed".
        """
        clauses: dict[Word, list[tuple[str, str]]] = {}
        for role, classes in (("subject", SUBJECTS), ("participle", BEARERS), ("object", OBJECTS)):
            for verb, kinds in classes.items():
                site = next((noun for noun in reversed(nouns) if noun.kind in kinds), None)
                if site is not None:
                    clauses.setdefault(site, []).append((role, verb))
        if not clauses:
            return False
        site = self.rng.choice(list(clauses))
        roles = clauses[site]
        role = self.rng.choice(sorted({role for role, _ in roles}))
        verb = self.rng.choice([verb for other, verb in roles if other == role])
        if role == "participle":
            words += depend(self.bare_predicate(verb, "gerund"), site, "acl")
            return True
        make = self.subject_relative if role == "subject" else self.object_relative
        words += depend(make(verb, site), site, "acl:relcl")
        return True

    def relative_pronoun(self, noun: Word) -> Word:
        if self.chance(0.6):
            return Word("that", "PRON")
        return Word("who" if noun.kind == "person" else "which", "PRON")

    def subject_relative(self, kind: str, noun: Word) -> Phrase:
        pronoun = self.relative_pronoun(noun)
        words, head = self.predicate(kind, noun)
        pronoun.head, pronoun.relation = head, "nsubj"
        return Phrase([pronoun, *words], head)

    def object_relative(self, kind: str, noun: Word) -> Phrase:
        """A relative clause whose object is the noun; the pronoun may be missing."""
        subject = self.subject()
        words, head = self.finite(self.lexicon.verb(kind), kind, subject.head)
        words = [*depend(subject, head, "nsubj"), *words]
        if self.chance(0.7):
            pronoun = self.relative_pronoun(noun)
            pronoun.head, pronoun.relation = head, "obj"
            words.insert(0, pronoun)
        return Phrase(words, head)
