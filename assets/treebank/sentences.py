"""All constructions and how often each is drawn; questions, and what is fronted or extraposed."""

from __future__ import annotations

from nested import NestedSentences
from nouns import NAMES
from trees import Phrase, Word, depend
from verbs import OBJECTS, PAST

STATEMENTS = {
    "simple": 24,
    "modified_subject": 9,
    "ditransitive": 4,
    "passive": 7,
    "copular": 4,
    "existential": 3,
    "reported": 7,
    "ordered": 3,
    "wanted": 5,
    "purpose": 5,
    "perceived": 4,
    "gerund": 4,
    "message": 5,
    "reduced_relative": 4,
    "noun_or_verb": 4,
    "that_or_that": 5,
    "particle": 4,
    "participle": 4,
    "adverbial": 5,
    "anticipated": 3,
    "coordinated": 6,
    "imperative": 3,
    "apposition": 3,
    "gonna": 1,
    "extraposed": 2,
}
QUESTIONS = {"polar": 4, "wh_subject": 3, "wh_object": 3, "wh_preposition": 3, "long_distance": 1}


class Sentences(NestedSentences):
    """Sentences without their final punctuation."""

    def statement(self) -> Phrase:
        (name,) = self.rng.choices(list(STATEMENTS), list(STATEMENTS.values()))
        return getattr(self, name)()

    def question(self) -> Phrase:
        (name,) = self.rng.choices(list(QUESTIONS), list(QUESTIONS.values()))
        return getattr(self, name)()

    def extraposed(self) -> Phrase:
        """A relative clause behind what is said of its noun: "A man arrived who laughed"."""
        noun = self.noun_phrase("person", determiner=self.rng.choice(("a", "some")), plural=False)
        words, head = self.predicate("arrive", noun.head, PAST)
        if self.chance(0.6):
            words.append(Word(self.lexicon.draw("adverb of the past"), "ADV", head, "advmod"))
        relative = self.subject_relative(self.rng.choice(("do", "carry", "eat", "meet")), noun.head)
        words += depend(relative, noun.head, "acl:relcl")
        return self.with_subject(noun, Phrase(words, head))

    def asked(self, subject: Phrase, kind: str) -> tuple[list[Word], Word]:
        """ "did she see": the words before what is asked for, and the verb."""
        head = self.verb_word(self.lexicon.verb(kind).base, kind)
        do = "do" if subject.head.plural else "does"
        form = self.rng.choice(("did", "did", do, "will", "can"))
        words = [*self.auxiliary(form, head, False), *depend(subject, head, "nsubj")]
        return [*words, head], head

    def polar(self) -> Phrase:
        words, head = self.asked(self.subject(), self.any_kind())
        return self.complements(words, head, self.rng.choice((1, 2)))

    def which(self, kind: str, plain: bool = False) -> Phrase:
        return self.noun_phrase(kind, determiner="which", plural=False, plain=plain)

    def wh_subject(self) -> Phrase:
        """ "Which nurse met the mayor": nothing but the order tells subject from object."""
        who = Word("who", "PRON")
        subject = Phrase([who], who) if self.chance(0.5) else self.which("person")
        kind = self.any_kind()
        return self.with_subject(subject, self.predicate(kind, subject.head, PAST, 1))

    def wh_object(self) -> Phrase:
        """ "Which nurse did the mayor meet"."""
        kind = self.rng.choice(list(OBJECTS))
        thing = self.rng.choice(OBJECTS[kind])
        pronoun = Word("who" if thing == "person" else "what", "PRON")
        asked = Phrase([pronoun], pronoun) if self.chance(0.4) else self.which(thing)
        words, head = self.asked(self.subject(), kind)
        words = [*depend(asked, head, "obj"), *words]
        self.extend(words, [head], self.rng.choice((0, 1)))
        return Phrase(words, head)

    def wh_preposition(self) -> Phrase:
        """ "About which war did she read a book" asks for the book's topic, "… tell the boy" not.

        The preposition may stay behind, and then crosses the verb's arc.
        """
        kind = self.rng.choice(("see", "cut", "open", "tell", "get", "put", "read"))
        words, head = self.asked(self.subject(), kind)
        if kind == "read":
            thing, (preposition, noun) = self.noun_phrase("document"), ("about", "topic")
        else:
            takes = [(preposition, noun) for preposition, noun in head.takes if noun not in NAMES]
            preposition, noun = self.rng.choice(takes)
            thing = self.noun_phrase(self.rng.choice(("item",) if kind == "put" else OBJECTS[kind]))
        site, relation = (thing.head, "nmod") if kind == "read" else (head, "obl")
        words += depend(thing, head, "obj")
        asked = self.which(noun)
        case = Word(preposition, "ADP", asked.head, "case")
        depend(asked, site, relation)
        if self.chance(0.3):
            return Phrase([*asked.words, *words, case], head)
        return Phrase([case, *asked.words, *words], head)

    def long_distance(self) -> Phrase:
        """ "What did she say that he bought": the object of the inner verb."""
        kind = self.rng.choice(list(OBJECTS))
        thing = self.rng.choice(OBJECTS[kind])
        pronoun = Word("who" if thing == "person" else "what", "PRON")
        asked = Phrase([pronoun], pronoun) if self.chance(0.5) else self.which(thing)
        words, head = self.asked(self.subject(), "say")
        subject = self.subject()
        inner_words, inner = self.finite(self.lexicon.verb(kind), kind, subject.head, PAST)
        clause = [*depend(subject, inner, "nsubj"), *inner_words]
        if self.chance(0.5):
            clause.insert(0, Word("that", "SCONJ", inner, "mark"))
        words += depend(Phrase(clause, inner), head, "ccomp")
        return Phrase([*depend(asked, inner, "obj"), *words], head)
