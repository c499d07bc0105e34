"""`skd_parser` and sentences: those that are set, those of its own roots, and long ones."""

import warnings

import numpy as np
import pytest
import spacy
from spacy.tokens import Doc
from spacy.training import Example

from spacy_skd.pipeline.parse_annotation import set_tree
from spacy_skd.pipeline.parse_decoding import trees_of_roots
from spacy_skd.structures import HeadSelection

from .tiny import train, tree_examples
from .tree_cases import blank, trained


def two_sentences(nlp, **annotation):
    words = ["Ada", "sees", "old", "ships", "Bob", "sleeps"]
    return Doc(nlp.vocab, words=words, **annotation)


def test_sentences_that_are_set_are_kept():
    nlp = trained("heads")
    doc = two_sentences(nlp, sent_starts=[True, False, False, False, True, False])
    doc = nlp.get_pipe("parser")(doc)
    assert [sentence.text for sentence in doc.sents] == ["Ada sees old ships", "Bob sleeps"]
    assert sum(token.head == token for token in doc) == 2


def test_a_document_without_boundaries_is_one_sentence():
    nlp = trained("heads")
    doc = nlp.get_pipe("parser")(two_sentences(nlp))
    assert len(list(doc.sents)) == 1


def test_boundaries_are_taken_from_gold_in_training():
    nlp = blank()
    heads, relations = [1, 1, 3, 1, 5, 5], ["nsubj", "ROOT", "amod", "obj", "nsubj", "ROOT"]
    gold = two_sentences(nlp, heads=heads, deps=relations)
    example = Example(two_sentences(nlp), gold)
    component = nlp.get_pipe("parser")
    with pytest.warns(UserWarning, match="have several sentences"):
        nlp.initialize(lambda: [example])
    component.update([example])
    assert [len(sentence) for sentence in example.predicted.sents] == [4, 2]


def test_the_models_own_roots_make_sentences():
    nlp = blank(sentences="roots")
    heads, relations = [1, 1, 3, 1, 5, 5], ["nsubj", "ROOT", "amod", "obj", "nsubj", "ROOT"]
    examples = [
        Example(two_sentences(nlp), two_sentences(nlp, heads=heads, deps=relations)),
        *tree_examples(nlp),
    ]
    train(nlp, examples, steps=80)
    doc = nlp.get_pipe("parser")(two_sentences(nlp))
    assert [sentence.text for sentence in doc.sents] == ["Ada sees old ships", "Bob sleeps"]


def test_a_tree_has_one_root_so_it_finds_no_sentences():
    with pytest.raises(ValueError, match="roots"):
        blank("tree", sentences="roots")


def test_long_sentences_are_split():
    nlp = trained("heads", max_length=4)
    words = ["Ada", "sees", "ships", ",", "Bob", "paints", "ships"]
    doc = nlp.get_pipe("parser")(Doc(nlp.vocab, words=words))
    assert [sentence.text for sentence in doc.sents] == ["Ada sees ships ,", "Bob paints ships"]


def test_several_sentences_that_nothing_will_find_are_a_warning():
    heads, relations = [1, 1, 3, 1, 5, 5], ["nsubj", "ROOT", "amod", "obj", "nsubj", "ROOT"]

    def examples(nlp):
        return [Example(two_sentences(nlp), two_sentences(nlp, heads=heads, deps=relations))]

    nlp = blank()
    with pytest.warns(UserWarning, match=r"have several sentences.*'senter' or a 'sentencizer'"):
        nlp.initialize(lambda: examples(nlp))
    for other in (blank(), blank(sentences="roots")):
        if other.get_pipe_config("parser")["model"]["sentences"] == "set":
            other.add_pipe("sentencizer", first=True)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            other.initialize(lambda nlp=other: examples(nlp))


def test_sentences_of_roots_hold_their_heads():
    vocab = spacy.blank("en").vocab
    rng = np.random.default_rng(0)
    for length in (4, 8, 15):
        for _ in range(10):
            scores = rng.normal(size=(length, length + 1), scale=3)
            scores[:, 0] += 2
            structure = HeadSelection([scores])
            [heads] = trees_of_roots(structure)
            doc = Doc(vocab, words=["x"] * length)
            here = np.arange(length)
            absolute = np.where(heads == 0, here, heads - 1)
            set_tree(doc, absolute, np.full(length, vocab.strings.add("x"), dtype=np.uint64))
            for sentence in doc.sents:
                assert all(sentence.start <= token.head.i < sentence.end for token in sentence)
                assert sum(token.head == token for token in sentence) == 1


def test_a_sentencizer_in_training():
    """Under annotating_components it gives the parser the sentences that it will see later."""
    nlp = blank()
    nlp.add_pipe("sentencizer", first=True)
    words = ["Ada", "sees", "ships", ".", "Bob", "sleeps", "."]
    heads, relations = (
        [1, 1, 1, 1, 5, 5, 5],
        ["nsubj", "ROOT", "obj", "punct", "nsubj", "ROOT", "punct"],
    )
    gold = Doc(nlp.vocab, words=words, heads=heads, deps=relations)
    optimizer = nlp.initialize(lambda: [Example(Doc(nlp.vocab, words=words), gold)])
    optimizer.learn_rate = 0.02
    seen = []
    parser = nlp.get_pipe("parser")
    get_loss = parser.get_loss

    def spy(examples, scores):
        seen.append(scores.lengths.tolist())
        return get_loss(examples, scores)

    parser.get_loss = spy
    # What gold says of sentences is not asked: these are the sentencizer's.
    as_one = Doc(nlp.vocab, words=words, heads=[1] * 7, deps=["obj", "ROOT", *["obj"] * 5])
    for reference in [as_one, *[gold] * 20]:
        example = Example(Doc(nlp.vocab, words=words), reference)
        nlp.update([example], sgd=optimizer, annotates=["sentencizer"])
    assert seen == [[4, 3]] * 21
    doc = Doc(nlp.vocab, words=words)
    for _, component in nlp.pipeline:
        doc = component(doc)
    assert [token.head.i for token in doc] == heads
