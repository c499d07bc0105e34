"""Confidences and alternatives of labels and of trees, against all outputs."""

from itertools import product

import numpy as np
import pytest
import spacy
from spacy.tokens import Doc

from spacy_skd.structures import (
    DenseRelations,
    HeadSelection,
    LabelTrees,
    LinearChain,
    MeanField,
    Sentences,
    SpanningTree,
    Token,
)

from ..structures.brute_force import chain_scores
from .tiny import blank
from .tree_cases import blank as blank_parser

TAGS = ["NN", "VB", "XX"]
RELATIONS = ["ROOT", "obj", "nsubj"]
WORDS = ["Ada", "sees", "ships", "Bob", "sleeps"]
STARTS = [True, False, False, True, False]


def tagger(attribute="tag", labels=TAGS, **config):
    nlp = blank("skd_tagger", "MaxEnt", attribute=attribute, **config)
    for label in labels:
        nlp.get_pipe("tagger").add_label(label)
    return nlp, nlp.get_pipe("tagger")


def label_scores(kind, lengths, labels=TAGS, seed=0):
    rng = np.random.default_rng(seed)
    n_labels = len(labels)
    emissions = rng.normal(size=(sum(lengths), n_labels))
    if kind == "token":
        return Token(emissions, lengths, labels)
    moves = [rng.normal(size=shape) for shape in ((n_labels,) * 2, n_labels, n_labels)]
    return LinearChain(emissions, *moves, lengths, labels)


def listed(structure, number, temperature=1.0):
    bounds = structure.packing.offsets.tolist()
    own = slice(*bounds[number : number + 2])
    if isinstance(structure, Token):
        zeros = np.zeros((structure.n_labels,) * 2)
        return chain_scores(structure.scores[own] / temperature, zeros, zeros[0], zeros[0])
    potentials = structure.transitions, structure.start, structure.end
    return chain_scores(
        structure.emissions[own] / temperature, *(p / temperature for p in potentials)
    )


@pytest.mark.parametrize("kind", ["token", "chain"])
def test_tags_agree_with_all_label_sequences(kind):
    nlp, tags = tagger()
    docs = [Doc(nlp.vocab, words=words) for words in (WORDS[:3], [], WORDS[3:])]
    structure = label_scores(kind, [3, 0, 2])
    tags.temperature = 1.5
    tags.set_annotations(docs, structure)
    for number in (0, 2):
        doc, all_of_them = docs[number], listed(structure, number, 1.5)
        marginals = all_of_them.tokens()
        for token in doc:
            assert token._.tag_confidence == pytest.approx(
                marginals[token.i, TAGS.index(token.tag_)]
            )
        for found, (log_prob, path) in zip(doc._.alternatives(4), all_of_them.best(4)):
            assert found.probability == pytest.approx(np.exp(log_prob))
            assert found.labels == [TAGS[label] for label in path]
            assert [token.tag_ for token in found.as_doc()] == found.labels
        wanted = [marginals[token.i, TAGS.index(token.tag_)] for token in doc]
        assert tags.confidences(docs, structure)[number] == pytest.approx(wanted)
        doc[0].tag_ = "VB"  # set later by someone else
        assert doc[0]._.tag_confidence == pytest.approx(marginals[0, 1])
        doc[0].tag_ = "other"
        assert doc[0]._.tag_confidence is None
    assert tags.confidences(docs, structure, 1.5)[1] == []
    # At another temperature than what documents were asked at.
    doc, marginals = docs[2], listed(structure, 2, 4.0).tokens()
    wanted = [marginals[token, TAGS.index(tag)] for token, tag in doc._.confidences()]
    doc[0].tag_ = next(iter(doc._.confidences()))[1]
    assert tags.confidences(docs, structure, 4.0)[2] == pytest.approx(wanted)


def test_tags_that_were_set_before_condition_the_others():
    nlp, tags = tagger()
    doc = Doc(nlp.vocab, words=WORDS[:3], tags=["", "VB", ""])
    assert tags.units(doc) == [(1, "VB")] and tags.known(doc).tolist() == [False, True, False]
    structure = label_scores("chain", [3], seed=1)
    tags.set_annotations([doc], structure)
    everything = listed(structure, 0)
    fits = [output[1] == 1 for output in everything.outputs]
    probs = everything.probs * fits / (everything.probs * fits).sum()
    assert doc[1]._.tag_confidence is None
    for token in (doc[0], doc[2]):
        own = [output[token.i] == TAGS.index(token.tag_) for output in everything.outputs]
        assert token._.tag_confidence == pytest.approx(probs @ own)
    assert np.isnan(tags.confidences([doc], structure)[0]).tolist() == [False, True, False]
    best = doc._.alternatives(2)
    assert best[1].probability == pytest.approx(sorted(probs)[-2])
    assert best[1].labels[1] is None and best[1].as_doc()[1].tag_ == "VB"


@pytest.mark.parametrize(
    "attribute, labels",
    [
        ("pos", ["NOUN", "VERB"]),
        ("morph", ["_", "Number=Sing"]),
        ("morph+pos", ["Number=Sing|POS=NOUN", "POS=VERB"]),
        ("sent_start", ["I", "S"]),
    ],
)
def test_other_attributes(attribute, labels):
    nlp, tags = tagger(attribute, labels)
    structure = label_scores("token", [5], labels)
    doc = Doc(nlp.vocab, words=WORDS)
    tags.set_annotations([doc], structure)
    marginals = structure.marginals()
    first = 1 if attribute == "sent_start" else 0
    for token in doc[first:]:
        assert token._.tag_confidence == pytest.approx(marginals[token.i].max())
    if first:
        assert doc[0]._.tag_confidence == 1.0  # a document begins with a sentence
        assert tags.known(doc).tolist() == [False, *[True] * 4]  # of which nothing is to be judged
    assert [label for _, label in tags.units(doc)] == doc._.alternatives(1)[0].labels
    second = doc._.alternatives(2)[1]
    assert [label for _, label in tags.units(second.as_doc())] == second.labels


def test_the_first_of_several_taggers_is_asked():
    nlp, tags = tagger("pos", ["NOUN", "VERB"])
    other = nlp.add_pipe("skd_tagger", name="fine", config={"attribute": "tag"})
    for label in TAGS:
        other.add_label(label)
    doc = Doc(nlp.vocab, words=WORDS)
    tags.set_annotations([doc], label_scores("token", [5], ["NOUN", "VERB"]))
    assert doc[0]._.tag_confidence == doc._.confidences()[0, doc[0].pos_]
    other.set_annotations([doc], label_scores("token", [5]))
    assert doc[0]._.tag_confidence == doc._.confidences("fine")[0, doc[0].tag_]


# --- trees


def parser(kind="heads", **settings):
    nlp = blank_parser(kind, **settings)
    labels = ["+1|obj", "-1|nsubj", "0|ROOT", "-2|obj"] if kind == "labels" else RELATIONS
    for label in labels:
        nlp.get_pipe("parser").add_label(label)
    return nlp, nlp.get_pipe("parser")


def trees(kind, lengths, seed=0):
    rng = np.random.default_rng(seed)
    arcs = [rng.normal(size=(n, n + 1)) * 2 for n in lengths]
    relations = DenseRelations([rng.normal(size=(n, n + 1, 3)) for n in lengths], 3)
    options = {"relations": relations, "labels": RELATIONS}
    if kind == "second order":
        n_heads, n_tokens = sum(lengths) + len(lengths), sum(lengths)
        factors = {
            name: tuple(rng.normal(size=(size, 2)) for size in (n_heads, n_tokens, n_tokens))
            for name in ("siblings", "grandparents")
        }
        return MeanField(arcs, **factors, **options)
    if kind == "heads":
        return HeadSelection(arcs, **options)
    return SpanningTree(arcs, projective=kind == "projective", **options)


def relation_given(structure, token, head, relation):
    """p(relation | arc), where ROOT is for roots alone."""
    scores = structure.relations.scores_at(np.asarray([token]), np.asarray([head]))[0]
    if head == 0:
        return float(relation == "ROOT")
    probs = np.exp(scores[1:]) / np.exp(scores[1:]).sum()
    return probs[RELATIONS.index(relation) - 1]


def parsed(nlp, structure, n_sentences=(2,)):
    doc = Doc(nlp.vocab, words=WORDS, sent_starts=STARTS)
    nlp.get_pipe("parser").set_annotations([doc], Sentences(structure, np.asarray(n_sentences)))
    return doc


@pytest.mark.parametrize("kind", ["heads", "tree", "projective", "second order"])
def test_arcs_with_their_relations(kind):
    nlp, component = parser(kind)
    structure = trees(kind, [3, 2])
    doc = parsed(nlp, structure)
    marginals = structure.marginals()
    expected = []
    for token in doc:
        sentence, start = (0, 0) if token.i < 3 else (1, 3)
        head = 0 if token.head == token else token.head.i - start + 1
        wanted = marginals[sentence][token.i - start, head]
        wanted = wanted * relation_given(structure, token.i, head, token.dep_)
        assert token._.head_confidence == pytest.approx(wanted)
        expected.append(wanted)
    found = component.confidences([doc], Sentences(structure, np.asarray([2])))
    assert found[0] == pytest.approx(expected)
    assert component.units(doc) == [(t.i, t.head.i, t.dep_) for t in doc]
    assert component.known(doc).all()
    assert list(doc._.confidences()) == component.units(doc)
    assert list(doc._.confidences().values()) == pytest.approx(expected)


def test_arcs_at_another_temperature_than_what_was_asked_before():
    nlp, component = parser("tree")
    structure = Sentences(trees("tree", [3, 2]), np.asarray([2]))
    doc = Doc(nlp.vocab, words=WORDS, sent_starts=STARTS)
    component.set_annotations([doc], structure)
    before = list(doc._.confidences().values())
    (found,) = component.confidences([doc], structure, 4.0)
    doc.user_data.clear()
    (expected,) = component.confidences([doc], structure, 4.0)  # found anew
    assert found == pytest.approx(expected) != pytest.approx(before)


@pytest.mark.parametrize("kind", ["heads", "tree", "projective"])
def test_the_best_trees_of_all_sentences_together(kind):
    nlp, _ = parser(kind)
    structure = trees(kind, [3, 2], seed=2)
    doc = parsed(nlp, structure)
    ways = SpanningTree(structure.arcs, projective=kind == "projective").topk(100)
    wanted = sorted((np.exp(a + b) for (_, a), (_, b) in product(*ways)), reverse=True)
    found = doc._.alternatives(100)
    assert [alternative.probability for alternative in found] == pytest.approx(wanted[:100])
    assert sum(wanted) == pytest.approx(1)
    best = found[0]
    assert best.heads == [token.head.i for token in doc]
    assert best.relations == [token.dep_ for token in doc]
    second = found[1].as_doc()
    assert [token.head.i for token in second] == found[1].heads != best.heads
    assert [sentence.start for sentence in second.sents] == [0, 3]


def test_other_arcs_than_those_that_were_found():
    nlp, _ = parser()
    structure = trees("heads", [3, 2])
    doc = parsed(nlp, structure)
    other = 2 if doc[0].head.i == 1 else 1
    doc[0].head, doc[0].dep_ = doc[other], "obj"
    wanted = structure.marginals()[0][0, other + 1] * relation_given(structure, 0, other + 1, "obj")
    assert doc[0]._.head_confidence == pytest.approx(wanted)
    doc[0].dep_ = "new"
    assert doc[0]._.head_confidence is None


def test_a_temperature_divides_arcs_and_relations():
    nlp, component = parser()
    structure = trees("heads", [3, 2])
    component.temperature = 2.0
    doc = parsed(nlp, structure)
    half = HeadSelection([block / 2 for block in structure.arcs])
    for token in doc[3:]:
        head = 0 if token.head == token else token.head.i - 2
        scores = structure.relations.scores_at(np.asarray([token.i]), np.asarray([head]))[0] / 2
        probs = np.exp(scores[1:]) / np.exp(scores[1:]).sum()
        given = 1.0 if head == 0 else probs[RELATIONS.index(token.dep_) - 1]
        assert token._.head_confidence == pytest.approx(
            half.marginals()[1][token.i - 3, head] * given
        )


def test_labels_that_mean_arcs():
    nlp, component = parser("labels")
    columns = component.cfg["labels"]
    lengths = [3, 2]
    rng = np.random.default_rng(1)
    meant = np.asarray(
        [[2, -1, 0, -1], [3, 1, 0, -1], [-1, 2, 0, 1], [2, -1, 0, -1], [-1, 1, 0, -1]]
    )
    names = list(component.labels)
    structure = LabelTrees(
        rng.normal(size=(5, 4)),
        lengths,
        columns,
        heads=np.asarray(meant),
        relations=[names.index(column.partition("|")[2]) for column in columns],
        relation_labels=names,
    )
    doc = parsed(nlp, structure)
    marginals = structure.marginals()
    for token in doc:
        start = 0 if token.i < 3 else 3
        head = 0 if token.head == token else token.head.i - start + 1
        means = [
            meant[token.i][label] == head and column.endswith(f"|{token.dep_}")
            for label, column in enumerate(columns)
        ]
        assert token._.head_confidence == pytest.approx(marginals[token.i] @ means)
    best = doc._.alternatives(3)
    assert best[0].heads == [token.head.i for token in doc]
    assert best[0].relations == [token.dep_ for token in doc]
    assert best[0].probability > best[1].probability > 0


@pytest.mark.parametrize("kind", ["heads", "tree"])
def test_whitespace_has_no_confidence_and_no_alternatives(kind):
    nlp, component = parser(kind)
    words = ["Ada", "\n", "sleeps", "\n"]
    doc = Doc(nlp.vocab, words=words)
    structure = trees(kind, [4])
    component.set_annotations([doc], Sentences(structure, np.asarray([1])))
    assert doc[1]._.head_confidence is None and doc[0]._.head_confidence > 0
    assert [token for token, *_ in component.units(doc)] == [0, 2]
    assert len(component.confidences([doc], Sentences(structure, np.asarray([1])))[0]) == 2
    found = doc._.alternatives(10)
    assert len(found) == 2 and sum(one.probability for one in found) == pytest.approx(1)
    assert found[1].as_doc()[1].head.i == doc[1].head.i


def test_nothing_to_ask():
    doc = Doc(spacy.blank("en").vocab, words=["a"])
    for ask in (lambda: doc[0]._.tag_confidence, lambda: doc[0]._.head_confidence):
        with pytest.raises(ValueError, match=r"document 'a ?' does not know how sure"):
            ask()
    nlp, _ = parser()
    empty = Doc(nlp.vocab)
    none = trees("heads", [])
    nlp.get_pipe("parser").set_annotations([empty], Sentences(none, np.asarray([0])))
    assert empty._.confidences() == {}
    assert [one.units for one in empty._.alternatives(3)] == [()]
