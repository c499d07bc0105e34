"""`skd_parser` of every kind predicts trees: learnt by heart, of any documents, after loading."""

import pytest
import spacy
from spacy.tokens import Doc, DocBin
from spacy.training import Example

from spacy_skd.structures import HeadSelection, LabelTrees, Sentences, SpanningTree

from .tiny import TREES, train, tree_examples, tree_of
from .tree_cases import GOLD, MODELS, TEXTS, blank, trained


@pytest.fixture(scope="module", params=list(MODELS))
def parser(request):
    return request.param, trained(request.param)


def test_it_overfits(parser):
    kind, nlp = parser
    n_learnt = 3 if kind == "projective" else 4
    assert [tree_of(doc) for doc in nlp.pipe(TEXTS)][:n_learnt] == GOLD[:n_learnt]


def test_what_it_predicts(parser):
    kind, nlp = parser
    predicted = nlp.get_pipe("parser").predict([nlp.make_doc(text) for text in TEXTS])
    assert isinstance(predicted, Sentences)
    assert predicted.n_sentences.tolist() == [1, 1, 1, 1]
    expected = {"labels": LabelTrees, "tree": SpanningTree, "projective": SpanningTree}
    assert isinstance(predicted.structure, expected.get(kind, HeadSelection))


def test_documents_are_consistent(parser):
    _, nlp = parser
    doc = nlp("Bob sees old ships")
    assert doc.has_annotation("DEP") and len(list(doc.sents)) == 1
    [root] = [token for token in doc if token.head == token]
    assert root.dep_ == "ROOT" and all(token.dep_ != "ROOT" for token in doc if token != root)
    assert {token.i for token in root.subtree} == set(range(4))
    assert all(child.head == token for token in doc for child in token.children)


def test_a_batch_gives_what_single_documents_give(parser):
    _, nlp = parser
    assert [tree_of(nlp(text)) for text in TEXTS] == [tree_of(doc) for doc in nlp.pipe(TEXTS)]


def test_processes(parser):
    _, nlp = parser
    expected = [tree_of(nlp(text)) for text in TEXTS]
    assert [tree_of(doc) for doc in nlp.pipe(TEXTS, n_process=2, batch_size=2)] == expected


def test_empty_and_short_documents(parser):
    _, nlp = parser
    docs = list(nlp.pipe(["", "Ada", "", "Bob sleeps"]))
    assert tree_of(docs[1]) == ([0], ["ROOT"])
    assert [len(doc) for doc in docs] == [0, 1, 0, 2]
    assert next(iter(nlp.pipe([""]))).text == ""
    assert nlp.get_pipe("parser").predict([]).structure.lengths.tolist() == []


def test_saved_and_loaded_it_predicts_the_same(parser, tmp_path):
    _, nlp = parser
    nlp.to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    assert [tree_of(doc) for doc in loaded.pipe(TEXTS)] == [tree_of(doc) for doc in nlp.pipe(TEXTS)]
    assert loaded.get_pipe("parser").labels == nlp.get_pipe("parser").labels


def test_labels_are_relations(parser):
    kind, nlp = parser
    component = nlp.get_pipe("parser")
    relations = {relation for _, _, relations in TREES for relation in relations}
    assert set(component.labels) == relations
    if kind == "labels":
        assert "-1|obj" in component.label_data and "0|ROOT" in component.label_data
    else:
        assert component.label_data == component.labels


def test_it_is_scored_as_spacys_parser_is(parser):
    kind, nlp = parser
    scores = nlp.evaluate(tree_examples(nlp))
    if kind != "projective":
        assert scores["dep_uas"] == scores["dep_las"] == scores["sents_f"] == 1.0
        assert scores["dep_las_per_type"]["nsubj"]["f"] == 1.0


def test_projective_models_say_what_they_do_not_learn():
    nlp = blank("projective")
    with pytest.warns(UserWarning, match=r"1 of the 16 arcs.*projective = false"):
        nlp.initialize(lambda: tree_examples(nlp))


def test_projective_models_give_projective_trees():
    nlp = trained("projective")
    heads, _ = tree_of(nlp(TEXTS[3]))
    assert heads[5] != 2 or heads[3] != 1


@pytest.mark.parametrize("kind", ["heads", "tree", "second order", "projective"])
def test_whitespace_is_no_head(kind):
    nlp = trained(kind, steps=1)
    words = ["\n", "Ada", "\n\n", " ", "sees", "old", "\n", "ships", "\n"]
    doc = nlp.get_pipe("parser")(Doc(nlp.vocab, words=words))
    assert len(list(doc.sents)) == 1
    assert not any(token.head.is_space for token in doc)
    assert [token.head.i for token in doc if token.is_space] == [1, 1, 1, 5, 7]
    assert {token.dep_ for token in doc if token.is_space} == {"dep"}
    only = nlp.get_pipe("parser")(Doc(nlp.vocab, words=["\n", " "]))
    assert len(list(only.sents)) == 1


def test_whitespace_before_and_after_labelled_words():
    nlp = trained("labels")
    doc = nlp("\n Bob paints ships\n")
    assert [token.dep_ for token in doc if not token.is_space] == GOLD[1][1]


def test_noun_chunks():
    """By the relations that spaCy's English rules know, which are not those of UD."""
    nlp = blank("heads")
    words = ["the", "old", "man", "sees", "a", "ship", "with", "two", "masts"]
    tags = ["DET", "ADJ", "NOUN", "VERB", "DET", "NOUN", "ADP", "NUM", "NOUN"]
    heads = [2, 2, 3, 3, 5, 3, 5, 8, 6]
    relations = ["det", "amod", "nsubj", "ROOT", "det", "dobj", "prep", "nummod", "pobj"]
    gold = Doc(nlp.vocab, words=words, heads=heads, deps=relations)
    train(nlp, [Example(Doc(nlp.vocab, words=words), gold)], steps=40)
    doc = nlp.get_pipe("parser")(Doc(nlp.vocab, words=words, pos=tags))
    assert tree_of(doc) == (heads, relations)
    chunks = [(chunk.text, chunk.root.dep_) for chunk in doc.noun_chunks]
    assert chunks == [("the old man", "nsubj"), ("a ship", "dobj"), ("two masts", "pobj")]


def test_predictions_survive_a_docbin(tmp_path):
    nlp = trained("heads")
    DocBin(docs=nlp.pipe(TEXTS)).to_disk(tmp_path / "docs.spacy")
    docs = DocBin().from_disk(tmp_path / "docs.spacy").get_docs(nlp.vocab)
    assert [tree_of(doc) for doc in docs] == GOLD
