"""`skd_parser` learns: annotation in part, none, labels it does not know, and what is refused."""

import warnings

import numpy as np
import pytest
import spacy
from spacy.tokens import Doc
from spacy.training import Example

from .tiny import TREES, train, tree_examples, tree_of
from .tree_cases import GOLD, blank, trained


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
