"""Other trees and sentences of a parser that looks for sentences itself, against all trees."""

from itertools import product

import numpy as np
import pytest
from spacy.tokens import Doc

from spacy_skd.structures import Sentences

from ..structures.arc_brute_force import scored, without_own
from ..structures.arc_brute_force import trees as all_trees
from .test_confidence_of_tags_and_trees import WORDS, parser, relation_given, trees


def test_arcs_of_sentences():
    nlp, component = parser("heads", sentences="roots")
    doc = Doc(nlp.vocab, words=WORDS)
    structure = trees("heads", [5], seed=4)
    component.set_annotations([doc], Sentences(structure, np.asarray([1])))
    marginals = structure.marginals()[0]
    for token in doc:
        head = 0 if token.head == token else token.head.i + 1
        given = relation_given(structure, token.i, head, token.dep_)
        assert token._.head_confidence == pytest.approx(marginals[token.i, head] * given)


def sentence_starts(heads):
    """Where sentences begin that are what is below each root, token numbers; None if they are in
    pieces. heads: head numbers."""
    roots = []
    for token in range(len(heads)):
        while heads[token]:
            token = heads[token] - 1
        roots.append(token)
    starts = [
        token for token in range(len(roots)) if token == 0 or roots[token] != roots[token - 1]
    ]
    return starts if len(starts) == len(set(roots)) else None


def listed_sentences(block, allowed=lambda heads: True):
    """All trees of a short document in which each root is a sentence, best first, and their
    probabilities given that heads are a tree with any number of roots."""
    outputs = [heads for heads in all_trees(len(block), single_root=False) if allowed(heads)]
    enumeration = scored(outputs, without_own(block))
    best = enumeration.best(len(outputs))
    return [(heads, np.exp(log_prob)) for log_prob, heads in best if sentence_starts(heads)]


def with_sentences_of(decoded, wanted):
    return [one for one in wanted if sentence_starts(one[0]) == sentence_starts(decoded)]


def head_numbers(doc):
    return tuple(0 if token.head == token else token.head.i + 1 for token in doc)


@pytest.mark.parametrize("seed", range(12))
def test_other_trees_and_sentences(seed):
    nlp, component = parser("heads", sentences="roots")
    component.temperature = 1.5
    doc = Doc(nlp.vocab, words=WORDS[:4])
    structure = trees("heads", [4], seed)
    component.set_annotations([doc], Sentences(structure, np.asarray([1])))
    wanted = listed_sentences(structure.arcs[0] / 1.5)
    found = doc._.alternatives(200)
    assert found[0].heads == [token.head.i for token in doc]
    assert found[0].relations == [token.dep_ for token in doc]
    assert sum(one.probability for one in found) < 1
    decoded = head_numbers(doc)
    if sentence_starts(structure.argmax(single_root=False)[0]) is None:
        wanted = with_sentences_of(decoded, wanted)
    assert wanted[0][0] == decoded
    assert [one.probability for one in found] == pytest.approx([value for _, value in wanted])
    for alternative, (heads, _) in zip(found[::7], wanted[::7]):
        other = alternative.as_doc()
        assert head_numbers(other) == heads
        assert [sentence.start for sentence in other.sents] == sentence_starts(heads)
    component.set_annotations([doc], Sentences(structure, np.asarray([1])))
    assert [one.units for one in doc._.alternatives(3)] == [one.units for one in found[:3]]


def test_other_sentences_of_a_document_in_pieces():
    nlp, component = parser("heads", sentences="roots")
    structure = trees("heads", [3, 2], seed=1)
    doc = Doc(nlp.vocab, words=WORDS)
    component.set_annotations([doc], Sentences(structure, np.asarray([2])))
    ways = product(*map(listed_sentences, structure.arcs))
    wanted = sorted((a * b for (_, a), (_, b) in ways), reverse=True)
    found = doc._.alternatives(7)
    assert [one.probability for one in found] == pytest.approx(wanted[:7])
    assert found[0].heads == [token.head.i for token in doc]
    assert all(list(one.as_doc().sents)[-1].end == 5 for one in found)


def test_whitespace_and_sentences_that_the_parser_finds():
    nlp, component = parser("heads", sentences="roots")
    doc = Doc(nlp.vocab, words=["Ada", "\n", "sleeps", "\n", "Bob"])
    structure = trees("heads", [5], seed=3)
    component.set_annotations([doc], Sentences(structure, np.asarray([1])))
    decoded = head_numbers(doc)
    assert decoded[1] == 1 and decoded[3] == 3

    def keeps(heads):
        return heads[1] == 1 and heads[3] == 3 and not {2, 4} & set(heads)

    wanted = listed_sentences(structure.arcs[0], keeps)
    found = doc._.alternatives(100)
    assert found[0].heads == [token.head.i for token in doc]
    assert [one.probability for one in found] == pytest.approx([value for _, value in wanted])
    assert [head_numbers(one.as_doc()) for one in found] == [heads for heads, _ in wanted]
    assert len({one.units for one in found}) == len(found)


@pytest.mark.parametrize("sentences", ["set", "roots"])
def test_whitespace_alone_has_one_analysis(sentences):
    nlp, component = parser("heads", sentences=sentences)
    doc = Doc(nlp.vocab, words=["\n", " ", "\n"])
    component.set_annotations([doc], Sentences(trees("heads", [3]), np.asarray([1])))
    assert [one.units for one in doc._.alternatives(3)] == [()]
    assert doc._.alternatives(1)[0].probability == pytest.approx(1)
    assert head_numbers(doc._.alternatives(1)[0].as_doc()) == head_numbers(doc)


def test_a_parser_that_knows_nothing_of_sentences():
    """Nearly all of its trees have sentences within each other: it keeps to those it predicted."""
    nlp, component = parser("heads", sentences="roots", max_length=30)
    words = [f"w{number}" if number % 7 else "\n" for number in range(50)]
    doc = Doc(nlp.vocab, words=words)
    component.set_annotations([doc], Sentences(trees("heads", [30, 20]), np.asarray([2])))
    found = doc._.alternatives(5)
    assert len(found) == 5 and found[0].heads == [token.head.i for token in doc]
    assert sorted(found, key=lambda one: -one.probability) == found
    starts = [sentence.start for sentence in doc.sents]
    for one in found:
        assert [sentence.start for sentence in one.as_doc().sents] == starts


def test_too_few_of_the_best_trees_are_sentences():
    """Between two sentences all is clear, but words far away may as well belong to the other."""
    nlp, component = parser("heads", sentences="roots")
    doc = Doc(nlp.vocab, words=[*WORDS, "well"])
    structure = trees("heads", [6])
    scores = 12.0 * structure.flat_parts_of([[2, 0, 2, 5, 0, 5]])
    scores[structure.layout.cells([0, 0, 0, 5, 5, 5], [4, 5, 6, 1, 2, 3])] = 11.9
    component.set_annotations([doc], Sentences(structure.with_scores(scores), np.asarray([1])))
    wanted = listed_sentences(structure.with_scores(scores).arcs[0])
    for k in (1, 2, 30):
        found = doc._.alternatives(k)
        assert len(found) == k and found[0].heads == [token.head.i for token in doc]
        assert len({one.units for one in found}) == k
        values = [one.probability for one in found]
        assert values == sorted(values, reverse=True)
        assert values[0] == pytest.approx(wanted[0][1])
    known = dict(wanted)
    for one in found:
        assert one.probability == pytest.approx(known[head_numbers(one.as_doc())])


def test_whitespace_does_not_join_sentences():
    """Its own head may be anywhere: the line break that is said to depend on the last sentence."""
    nlp, component = parser("heads", sentences="roots")
    doc = Doc(nlp.vocab, words=["Ada", "\n", "sleeps", "Bob", "sees", "ships"])
    heads = [3, 5, 0, 5, 0, 5]
    structure = trees("heads", [6])
    sure = structure.with_scores(20.0 * structure.flat_parts_of([heads]))
    component.set_annotations([doc], Sentences(sure, np.asarray([1])))
    assert head_numbers(doc) == (3, 1, 0, 5, 0, 5)
    assert [sentence.start for sentence in doc.sents] == [0, 3]
    assert [one.heads for one in doc._.alternatives(1)] == [[token.head.i for token in doc]]
