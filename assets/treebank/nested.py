"""Sentences with clauses in them; docstrings as in simple.py say what decides between two trees."""

from __future__ import annotations

from nouns import PLACES
from simple import SimpleSentences
from trees import Phrase, Word, depend
from verbs import FUTURE, OBJECTS, PAST, PLUPERFECT, PRESENT

CONJUNCTIONS = ("when", "because", "although", "while", "before", "after")
DIRECTIONS = [("into", "room"), ("past", "building"), ("under", "furniture")]


class NestedSentences(SimpleSentences):
    """Clauses in clauses."""

    def reported(self) -> Phrase:
        """An adverb of time belongs to the nearest verb whose tense agrees with it.

        "said he will leave yesterday" is about saying, "said he will leave tomorrow" about leaving.
        """
        matrix, inner = self.rng.choice([(PAST, FUTURE), (PAST, PLUPERFECT), (FUTURE, PLUPERFECT)])
        subject = self.subject(modifiers=self.rng.choice((0, 0, 1)))
        words, head = self.finite(self.lexicon.verb("say"), "say", subject.head, matrix)
        clause = self.clause(inner, modifiers=self.rng.choice((0, 0, 1)))
        if self.chance(0.6):
            clause.words.insert(0, Word("that", "SCONJ", clause.head, "mark"))
        words += depend(clause, head, "ccomp")
        if self.chance(0.75):
            when = self.rng.choice((matrix, inner))
            about = clause.head if (when == FUTURE) == (inner == FUTURE) else head
            kind = "adverb of the future" if when == FUTURE else "adverb of the past"
            words.append(Word(self.lexicon.draw(kind), "ADV", about, "advmod"))
        return self.with_subject(subject, Phrase(words, head))

    def infinitive(self, kind: str, modifiers: int = 0) -> Phrase:
        words, head = self.bare_predicate(kind, modifiers=modifiers)
        return Phrase([Word("to", "PART", head, "mark"), *words], head)

    def ordered(self) -> Phrase:
        """ "asked the nurse to wait"."""
        subject = self.subject()
        words, head = self.finite(self.lexicon.verb("order"), "order", subject.head)
        words += depend(self.noun_phrase("person", modifiers=self.rng.choice((0, 1))), head, "obj")
        words += depend(self.infinitive(self.any_kind(), 1), head, "xcomp")
        return self.with_subject(subject, Phrase(words, head))

    def wanted(self) -> Phrase:
        """ "wanted to leave and wrote" or "wanted to leave and write": the form decides."""
        subject = self.subject()
        words, head = self.finite(self.lexicon.verb("want"), "want", subject.head, PAST)
        inner = self.infinitive(self.rng.choice(("get", "open", "meet", "repair", "arrive")), 1)
        words += depend(inner, head, "xcomp")
        kind = self.rng.choice(("do", "arrive", "tell", "carry"))
        verb = self.lexicon.verb(kind)
        matrix = words[0] is head and self.chance(0.5)
        second = self.verb_word(verb.past if matrix else verb.base, kind)
        conjunct = self.complements([second], second, self.rng.choice((0, 1)))
        conjunct.words.insert(0, Word("and", "CCONJ", second, "cc"))
        words += depend(conjunct, head if matrix else inner.head, "conj")
        return self.with_subject(subject, Phrase(words, head))

    def purpose(self) -> Phrase:
        """ "announced the plan to leave" modifies the plan, "bought the van to leave" the verb."""
        subject = self.subject()
        kind = self.rng.choice(("cancel", "get", "repair", "open"))
        words, head = self.finite(self.lexicon.verb(kind), kind, subject.head)
        aim = "intention" if kind == "cancel" else self.rng.choice(OBJECTS[kind])
        modifiers = 0 if aim == "intention" else self.rng.choice((0, 0, 1))
        thing = self.noun_phrase(aim, modifiers=modifiers)
        words += depend(thing, head, "obj")
        clause = self.infinitive(self.rng.choice(("meet", "surprise", "do", "read", "see")), 1)
        if aim == "intention":
            words += depend(clause, thing.head, "acl")
        else:
            words += depend(clause, head, "advcl")
        return self.with_subject(subject, Phrase(words, head))

    def perceived(self) -> Phrase:
        """ "saw her duck under the table" is what she did, "her duck in the yard" what she had."""
        subject = self.subject()
        words, head = self.finite(self.lexicon.verb("see"), "see", subject.head)
        head.takes = {}
        word = Word(self.lexicon.verb("both her and hers").base, "VERB")
        if self.chance(0.5):
            her = Word("her", "PRON", head, "obj")
            place = self.with_preposition(*self.rng.choice(DIRECTIONS))
            rest, relation = depend(place, word, "obl"), "xcomp"
        else:
            word.pos = "NOUN"
            her = Word("her", "PRON", word, "nmod:poss")
            place = self.with_preposition(*self.rng.choice(PLACES))
            rest, relation = depend(place, word, "nmod"), "obj"
        words += [her, *depend(Phrase([word, *rest], word), head, relation)]
        return self.with_subject(subject, Phrase(words, head))

    def gerund(self) -> Phrase:
        """ "Visiting relatives is …" is an activity, "visiting relatives are …" are people."""
        verb = self.lexicon.verb("ambiguous gerund")
        noun = Word(self.lexicon.noun("relatives").plural, "NOUN", plural=True)
        gerund = Word(verb.gerund, "VERB")
        activity = self.chance(0.5)
        if activity:
            subject = Phrase([gerund, *depend(Phrase([noun], noun), gerund, "obj")], gerund)
        else:
            subject = Phrase([*depend(Phrase([gerund], gerund), noun, "amod"), noun], noun)
        if self.chance(0.5):
            words, head = self.predicate("surprise", subject.head, PRESENT, self.rng.choice((0, 1)))
        else:
            words, head = self.adjective("facts")
            words = [*self.be(subject.head, head), *words]
            if self.chance(0.6):
                words += depend(self.with_preposition("for", "person"), head, "obl")
        return self.with_subject(subject, Phrase(words, head), "csubj" if activity else "nsubj")

    def message(self) -> Phrase:
        """ "the claim that he denied it …" is what is claimed, "that he denied …" is not."""
        noun = self.noun_phrase("message", determiner="the", plural=False)
        person = self.subject()
        words, inner = self.finite(self.lexicon.verb("deny"), "deny", person.head)
        words = [*depend(person, inner, "nsubj"), *words]
        that = Word("that", "SCONJ", inner, "mark")
        if self.chance(0.5):
            words += depend(self.noun_phrase("message"), inner, "obj")
            relation = "acl"
        else:
            that.pos, that.relation, relation = "PRON", "obj", "acl:relcl"
        noun.words.extend(depend(Phrase([that, *words], inner), noun.head, relation))
        predicate = self.predicate("surprise", noun.head, modifiers=self.rng.choice((0, 1)))
        return self.with_subject(noun, predicate)

    def reduced_relative(self) -> Phrase:
        """ "The man watched by the guard slept": the first verb is a participle."""
        kind = self.rng.choice(("see", "meet", "hit", "tell"))
        noun = self.noun_phrase("person", determiner="the")
        head = self.verb_word(self.lexicon.verb(kind).participle, kind)
        head.takes = {("by", "person"): "agent", **head.takes}
        words = [head]
        preposition, place = self.rng.choice(list(head.takes))
        self.add_preposition(words, [head], preposition, place)
        noun.words.extend(depend(Phrase(words, head), noun.head, "acl"))
        predicate = self.predicate(self.rng.choice(("do", "arrive", "carry")), noun.head, PAST)
        return self.with_subject(noun, predicate)

    def that_or_that(self) -> Phrase:
        """ "that painter" is one phrase, "that painters …" begins a clause."""
        subject = self.subject()
        words, head = self.finite(self.lexicon.verb("know that"), "know that", subject.head)
        plural = self.chance(0.5)
        noun = self.noun_phrase("person", plural=plural, determiner="" if plural else "that")
        if not plural and self.chance(0.5):
            self.extend(noun.words, [noun.head], 1)
            words += depend(noun, head, "obj")
        else:
            clause = self.clause(PAST, 1, noun)
            if plural:
                clause.words.insert(0, Word("that", "SCONJ", clause.head, "mark"))
            words += depend(clause, head, "ccomp")
        return self.with_subject(subject, Phrase(words, head))

    def participle(self) -> Phrase:
        """ "met the nurse carrying a box" or "left the house carrying a box": people carry."""
        subject = self.subject()
        kind, thing = self.rng.choice(
            [
                ("meet", "person"),
                ("see", "person"),
                ("see", "building"),
                ("get", "item"),
                ("attend", "occasion"),
            ]
        )
        words, head = self.finite(self.lexicon.verb(kind), kind, subject.head)
        noun = self.noun_phrase(thing, modifiers=0)
        sites = [noun.head]
        if self.chance(0.5):
            options = ["of person", "in city"]
            option = "with feature" if thing == "person" else self.rng.choice(options)
            phrase = self.with_preposition(*option.split())
            noun.words.extend(depend(phrase, noun.head, "nmod"))
            sites.append(phrase.head)
        words += depend(noun, head, "obj")
        people = [site for site in sites if site.kind == "person"]
        clause = self.bare_predicate("carry", "gerund")
        words += depend(clause, *((people[-1], "acl") if people else (head, "advcl")))
        return self.with_subject(subject, Phrase(words, head))

    def adverbial(self) -> Phrase:
        """A subordinate clause before or behind its main clause."""
        main, side = self.clause(PAST, self.rng.choice((0, 1))), self.clause(PAST, 0)
        mark = Word(self.rng.choice(CONJUNCTIONS), "SCONJ", side.head, "mark")
        words = [mark, *depend(side, main.head, "advcl")]
        if self.chance(0.5):
            comma = Word(",", "PUNCT", side.head, "punct", tight=True)
            return Phrase([*words, comma, *main.words], main.head)
        return Phrase([*main.words, *words], main.head)

    def anticipated(self) -> Phrase:
        """ "It was strange that he left", "it was hard to see it"."""
        words, head = self.adjective("facts")
        it = Word("it", "PRON", head, "expl")
        words = [it, *self.be(it, head), *words]
        if self.chance(0.5):
            clause = self.clause(PAST, 0)
            clause.words.insert(0, Word("that", "SCONJ", clause.head, "mark"))
        else:
            clause = self.infinitive(self.any_kind(), 1)
        return Phrase([*words, *depend(clause, head, "csubj")], head)

    def coordinated(self) -> Phrase:
        """Two clauses, or two predicates of one subject."""
        first = self.clause(PAST, 1)
        if self.chance(0.5):
            second = self.predicate(self.any_kind(), first.head, PAST, self.rng.choice((0, 1)))
            conjunction = [Word(self.rng.choice(("and", "but")), "CCONJ", second.head, "cc")]
        else:
            second = self.clause(PAST, 0)
            comma = Word(",", "PUNCT", second.head, "punct", tight=True)
            conjunction = [comma, Word(self.rng.choice(("and", "but")), "CCONJ", second.head, "cc")]
        words = [*first.words, *conjunction, *depend(second, first.head, "conj")]
        return Phrase(words, first.head)

    def gonna(self) -> Phrase:
        """ "She is gonna wait": two words, one token."""
        subject = self.subject()
        head = Word("gon", "VERB")
        inner = self.bare_predicate(self.any_kind(), modifiers=1)
        mark = Word("na", "PART", inner.head, "mark", joined=True)
        words = [Word("are" if subject.head.plural else "is", "AUX", head, "aux"), head, mark]
        words += depend(inner, head, "xcomp")
        return self.with_subject(subject, Phrase(words, head))
