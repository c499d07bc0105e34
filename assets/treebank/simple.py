"""Sentences of one clause.

Most constructions have a twin that begins with the same words or parts of speech and has another
tree; what decides is said in each docstring.
"""

from __future__ import annotations

from nouns import PLACES
from trees import Phrase, Word, depend
from verbs import OBJECTS, SUBJECTS, VERB_TAKES, Verbs


class SimpleSentences(Verbs):
    """One clause."""

    def with_subject(self, subject: Phrase, predicate: Phrase, relation: str = "nsubj") -> Phrase:
        words = [*depend(subject, predicate.head, relation), *predicate.words]
        return Phrase(words, predicate.head)

    def simple(self) -> Phrase:
        """The rule of nouns.py: "saw the man with the telescope" or "with the scar"."""
        clause = self.clause(modifiers=self.rng.choice((1, 2, 2)))
        if self.chance(0.1):
            words, head = clause
            comma = Word(",", "PUNCT", head, "punct", tight=True)
            return Phrase([*self.manner(head), comma, *words], head)
        return clause

    def modified_subject(self) -> Phrase:
        """Long subjects: the verb of the clause is not that of the relative clause before it."""
        verb = self.rng.choice(list(SUBJECTS))
        kind = self.rng.choice(SUBJECTS[verb])
        subject = self.noun_phrase(kind, modifiers=self.rng.choice((1, 2, 2)))
        return self.with_subject(subject, self.predicate(verb, subject.head))

    def ditransitive(self) -> Phrase:
        """ "gave the girl the letter" or "gave the letter to the girl"."""
        subject = self.subject()
        words, head = self.finite(self.lexicon.verb("give"), "give", subject.head)
        recipient = self.object("person")
        thing = self.noun_phrase(self.rng.choice(OBJECTS["get"]), modifiers=self.rng.choice((0, 1)))
        if self.chance(0.55):
            words += [*depend(recipient, head, "iobj"), *depend(thing, head, "obj")]
        else:
            words += depend(thing, head, "obj")
            recipient.words.insert(0, Word("to", "ADP", recipient.head, "case"))
            words += depend(recipient, head, "obl")
        return self.with_subject(subject, Phrase(words, head))

    def passive_verb(self, kind: str, subject: Word) -> Phrase:
        head = self.verb_word(self.lexicon.verb(kind).participle, kind)
        head.takes |= {("by", "person"): "agent", ("by", "building"): "place"}
        be = Word(self.rng.choice(("was", "is")), "AUX", head, "aux:pass")
        if subject.plural:
            be.form = {"was": "were", "is": "are"}[be.form]
        words = [be]
        if self.chance(0.3):
            auxiliary = self.rng.choice(("had", "will", "must", "could"))
            words = [*self.auxiliary(auxiliary, head, self.chance(0.2)), be]
            be.form = "been" if auxiliary == "had" else "be"
        return Phrase([*words, head], head)

    def passive(self) -> Phrase:
        """ "seen by the guard" is the agent, "seen by the river" the place."""
        kind = self.rng.choice([verb for verb in OBJECTS if verb in VERB_TAKES])
        patient = self.rng.choice(OBJECTS[kind])
        subject = self.noun_phrase(patient, modifiers=self.rng.choice((0, 1)))
        words, head = self.passive_verb(kind, subject.head)
        self.extend(words, [head], self.rng.choice((1, 1, 2)))
        return self.with_subject(subject, Phrase(words, head), "nsubj:pass")

    def be(self, subject: Word, head: Word) -> list[Word]:
        """A copula that agrees with the subject, after a pronoun sometimes in one token with it."""
        if subject.form == "it" and self.chance(0.4):
            return [Word("'s", "AUX", head, "cop", joined=True)]
        form = self.rng.choice(("were", "are") if subject.plural else ("was", "is"))
        return self.auxiliary(form, head, self.chance(0.15), "cop")

    def adjective(self, kind: str) -> Phrase:
        head = Word(self.lexicon.draw(f"adjective of {kind}"), "ADJ")
        degree = Word(self.lexicon.draw("adverb of degree"), "ADV", head, "advmod")
        return Phrase([degree, head] if self.chance(0.4) else [head], head)

    def copular(self) -> Phrase:
        """A noun, an adjective or a place as the predicate."""
        kind = self.rng.choice(("person", "building", "item", "furniture"))
        subject = self.noun_phrase(kind, modifiers=self.rng.choice((0, 1, 1)))
        if self.chance(0.4):
            predicate = self.adjective("persons" if kind == "person" else "things")
        elif self.chance(0.5):
            predicate = self.noun_phrase(
                kind,
                plural=subject.head.plural,
                determiner="" if subject.head.plural else "a",
                modifiers=1,
            )
        else:
            predicate = self.with_preposition(*self.rng.choice(PLACES))
        words = [*self.be(subject.head, predicate.head), *predicate.words]
        return self.with_subject(subject, Phrase(words, predicate.head))

    def existential(self) -> Phrase:
        kind = self.rng.choice(("person", "animal", "item", "document", "furniture"))
        noun = self.noun_phrase(kind, determiner=self.rng.choice(("a", "some")), plural=False)
        form = self.rng.choice(("was", "is"))
        head = Word(form, "VERB")
        words = [Word("there", "PRON", head, "expl"), head, *depend(noun, head, "nsubj")]
        place = self.with_preposition(*self.rng.choice(PLACES))
        words += depend(place, head, "obl")
        if self.chance(0.5):
            self.last_modifier(words, [place.head])
        return Phrase(words, head)

    def noun_or_verb(self) -> Phrase:
        """ "The museum ships the vases": a verb before an object, a noun before a verb."""
        first = self.noun_phrase("group", determiner="the", plural=False, plain=True)
        both = self.lexicon.verb("both noun and verb")
        if self.chance(0.5):
            head = self.verb_word(both.third, "ship")
            things = self.noun_phrase(
                self.rng.choice(("item", "document", "vehicle")), determiner="the", modifiers=1
            )
            return self.with_subject(first, Phrase([head, *depend(things, head, "obj")], head))
        noun = Word(both.third, "NOUN", plural=True)
        words = [*depend(first, noun, "compound"), noun]
        words[0].head = noun  # the article belongs to the whole
        predicate = self.predicate("surprise", noun, modifiers=1)
        return self.with_subject(Phrase(words, noun), predicate)

    def particle(self) -> Phrase:
        """ "pulled up the table" has a particle, "pulled up the hill" a preposition."""
        subject = self.subject()
        words, head = self.finite(self.lexicon.verb("up"), "up", subject.head)
        up = Word("up", "ADP", head, "compound:prt")
        if self.chance(0.5):
            thing = self.noun_phrase(self.rng.choice(("document", "item", "furniture")))
            depend(thing, head, "obj")
            words += [*thing.words, up] if self.chance(0.4) else [up, *thing.words]
        else:
            place = self.noun_phrase("way")
            up.head, up.relation = place.head, "case"
            words += [up, *depend(place, head, "obl")]
        return self.with_subject(subject, Phrase(words, head))

    def imperative(self) -> Phrase:
        words, head = self.bare_predicate(self.any_kind(), modifiers=self.rng.choice((1, 2)))
        if self.chance(0.3):
            words = [*self.auxiliary("do", head, True), *words]
        if self.chance(0.5):
            words = [Word("please", "INTJ", head, "discourse"), *words]
        return Phrase(words, head)

    def apposition(self) -> Phrase:
        name = self.person_name()
        other = self.noun_phrase("person", plural=False, determiner="a", modifiers=1)
        comma = [Word(",", "PUNCT", other.head, "punct", tight=True) for _ in range(2)]
        name.words.extend([comma[0], *depend(other, name.head, "appos"), comma[1]])
        return self.clause(modifiers=1, subject=name)
