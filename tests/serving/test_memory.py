"""Components leave nothing in memory under `nlp.memory_zone()`."""

import random
import tracemalloc
from contextlib import nullcontext

import spacy

N_TEXTS, N_WORDS = 20, 25
WARM_UP, ROUNDS = 2, 6


def texts_with_new_words(rng):
    for _ in range(N_TEXTS):
        yield " ".join("".join(rng.choices("abcdefgh", k=8)) for _ in range(N_WORDS))


def growth(nlp, zone) -> float:
    """Bytes a word that some rounds over new words leave in memory."""
    rng = random.Random(0)
    tracemalloc.start()
    try:
        for number in range(WARM_UP + ROUNDS):
            if number == WARM_UP:
                before = tracemalloc.get_traced_memory()[0]
            with zone():
                for _ in nlp.pipe(texts_with_new_words(rng)):
                    pass
        grown = tracemalloc.get_traced_memory()[0] - before
        return grown / (ROUNDS * N_TEXTS * N_WORDS)
    finally:
        tracemalloc.stop()


def test_a_component_leaves_nothing_in_a_zone(nlp, path):
    """Beyond what spaCy's tokenizer leaves, whose tables of strings grow even in zones."""
    tokenizer = spacy.load(path, exclude=nlp.pipe_names)
    assert growth(nlp, nlp.memory_zone) < growth(tokenizer, tokenizer.memory_zone) + 8


def test_without_zones_every_word_stays(nlp):
    """Which is what the other test could not see if it measured the wrong thing."""
    assert growth(nlp, nullcontext) > 200


def test_zones_one_after_another_say_the_same(nlp):
    """Labels and words of a zone that has ended are no longer there, and have to come again."""
    found = []
    for _ in range(3):
        with nlp.memory_zone():
            doc = nlp("Ada Quux lives in New York City")
            found.append((str(doc.ents), [(t.text, t.tag_, t.dep_, t.head.i) for t in doc]))
    assert found[0] == found[1] == found[2]
