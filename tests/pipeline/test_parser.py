"""`skd_parser`: learning, decoding, sentences, and what may be wrong with its input."""

import warnings

import numpy as np
import pytest
import spacy
from spacy.tokens import Doc, DocBin
from spacy.training import Example

from spacy_skd.pipeline.parse_annotation import set_tree
from spacy_skd.pipeline.parse_decoding import trees_of_roots
from spacy_skd.structures import HeadSelection, LabelTrees, Sentences, SpanningTree

from .tiny import TOK2VEC, TREES, train, tree_examples, tree_of

MODELS = {
    "heads": {"@architectures": "spacy-skd.BiaffineParser.v1", "structure": "heads"},
    "tree": {"@architectures": "spacy-skd.BiaffineParser.v1", "structure": "tree"},
    "projective": {
        "@architectures": "spacy-skd.BiaffineParser.v1",
        "structure": "tree",
        "projective": True,
    },
    "second order": {"@architectures": "spacy-skd.SecondOrderParser.v1"},
    "labels": {"@architectures": "spacy-skd.LabelParser.v1"},
}
GOLD = [(heads, relations) for _, heads, relations in TREES]
TEXTS = [text for text, _, _ in TREES]


def blank(kind: str = "heads", **settings):
    nlp = spacy.blank("en")
    # The tiny encoder sees three words; a wider window sees all of these sentences.
    tok2vec = TOK2VEC | {"window_size": 3}
    nlp.add_pipe(
        "skd_parser",
        name="parser",
        config={"model": {**MODELS[kind], **settings, "tok2vec": tok2vec, "nO": None}},
    )
    return nlp


def trained(kind: str, examples=None, steps: int = 60, **settings):
    nlp = blank(kind, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train(nlp, examples or tree_examples(nlp), steps=steps)
    return nlp


@pytest.fixture(scope="module", params=list(MODELS))
def parser(request):
    return request.param, trained(request.param)


# --- learning and decoding


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


# --- sentences


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


# --- annotation in part, and annotation that does not fit


def test_missing_heads_are_not_learnt():
    nlp = blank()
    text, heads, relations = TREES[0]
    gold = Doc(nlp.vocab, words=text.split(), heads=heads, deps=["", *relations[1:]])
    nlp.initialize(lambda: [Example(nlp.make_doc(text), gold)])
    component = nlp.get_pipe("parser")
    example = Example(nlp.make_doc(text), gold)
    structure, _ = component.model.begin_update([example.predicted])
    annotation = component.annotation_of([example], structure)
    assert annotation[:, 0].tolist() == [-1, 0, 4, 2]
    assert annotation[0, 1] == -1
    train(nlp, [example], steps=30, initialize=False)
    assert tree_of(nlp(text))[0][1:] == heads[1:]


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


def test_labels_of_another_architecture_are_refused():
    with pytest.raises(ValueError, match=r"'-1\|det' is a label of spacy-skd.LabelParser.v1"):
        blank("heads").get_pipe("parser").add_label("-1|det")
    with pytest.raises(ValueError, match="'det' is no label of a dependency"):
        blank("labels").get_pipe("parser").add_label("det")


@pytest.mark.parametrize("kind", ["heads", "tree", "projective", "labels"])
def test_partial_trees_train(kind):
    nlp = blank(kind)
    examples = tree_examples(nlp)
    for example in examples[:2]:
        example.reference[0].dep_ = ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first = train(nlp, examples, steps=1)
        last = train(nlp, examples, steps=30, initialize=False)
    assert last < first


def test_documents_without_trees_do_not_count():
    nlp = trained("heads")
    raw = [Example(nlp.make_doc("Ada sleeps"), nlp.make_doc("Ada sleeps"))]
    before = nlp.get_pipe("parser").model.to_bytes()
    losses = nlp.update(raw, sgd=False)
    assert losses["parser"] == 0
    assert nlp.get_pipe("parser").model.to_bytes() == before


def test_an_unknown_relation_is_named():
    nlp = trained("heads")
    gold = Doc(nlp.vocab, words=["Ada", "sleeps"], heads=[1, 1], deps=["vocative", "ROOT"])
    with pytest.raises(ValueError, match=r"'Ada sleeps ' has the relation 'vocative'.*'parser'"):
        nlp.update([Example(nlp.make_doc("Ada sleeps"), gold)])


def test_unknown_labels_of_tokens_are_left_out():
    nlp = trained("labels")
    gold = Doc(nlp.vocab, words=["Ada", "sleeps"], heads=[1, 1], deps=["vocative", "ROOT"])
    assert np.isfinite(nlp.update([Example(nlp.make_doc("Ada sleeps"), gold)])["parser"])


def test_no_trees_at_all():
    nlp = blank()
    raw = [Example(nlp.make_doc("Ada"), nlp.make_doc("Ada"))]
    with pytest.raises(ValueError, match="'parser' found no labels"):
        nlp.initialize(lambda: raw)


def test_codes_that_count_parts_of_speech():
    nlp = blank("labels", codes="tag")
    tags = {"Ada": "PROPN", "Bob": "PROPN", "ships": "NOUN", "old": "ADJ", "today": "ADV"}

    def tagged(example):
        for doc in (example.predicted, example.reference):
            for token in doc:
                token.pos_ = tags.get(token.text, "VERB")
        return example

    raw = Example(nlp.make_doc("Ada sleeps"), nlp.make_doc("Ada sleeps"))
    examples = [tagged(example) for example in tree_examples(nlp)]
    nlp.initialize(lambda: [*examples, raw])
    train(nlp, examples, steps=60, initialize=False)
    component = nlp.get_pipe("parser")
    assert "VERB+1|nsubj" in component.label_data
    docs = [tagged(example).predicted for example in tree_examples(nlp)]
    assert [tree_of(component(doc)) for doc in docs] == GOLD
    with pytest.raises(ValueError, match=r"'Ada sleeps' has none: put a tagger"):
        nlp("Ada sleeps")


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


def test_names_of_relations_in_another_vocabulary():
    """Gold documents that know what the pipeline's vocabulary does not, as from two corpora."""
    for kind in ("heads", "labels"):
        nlp, others = blank(kind), [spacy.blank("en") for _ in range(2)]
        examples = []
        for other, name in zip(others, ("unheard:of", "unheard:too")):
            deps = [name, "ROOT"]
            gold = Doc(other.vocab, words=["Ada", "sleeps"], heads=[1, 1], deps=deps)
            examples.append(Example(Doc(nlp.vocab, words=["Ada", "sleeps"]), gold))
        train(nlp, examples, steps=2)
        assert set(nlp.get_pipe("parser").labels) == {"ROOT", "unheard:of", "unheard:too"}


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


def test_predictions_survive_a_docbin(tmp_path):
    nlp = trained("heads")
    DocBin(docs=nlp.pipe(TEXTS)).to_disk(tmp_path / "docs.spacy")
    docs = DocBin().from_disk(tmp_path / "docs.spacy").get_docs(nlp.vocab)
    assert [tree_of(doc) for doc in docs] == GOLD
