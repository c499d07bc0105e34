"""`skd_tagger`: tags, parts of speech, features; see test_analyses.py and test_sentence_starts.py,
too."""

import re

import numpy as np
import pytest
from spacy.tokens import Doc
from spacy.training import Example

from spacy_skd.distill.attached import set_target
from spacy_skd.distill.targets import Target, describe, stored_scores
from spacy_skd.structures import LinearChain

from .conftest import copy_of, trained_tagger
from .tag_cases import OTHER, gold, labelled, values_of
from .tiny import MORPH_OF, POS_OF, TAGGED, blank, tag_examples, train


def test_learns_its_documents(tagger, attribute):
    docs = list(tagger.pipe(text for text, _ in TAGGED))
    assert [values_of(doc, attribute) for doc in docs] == gold(attribute)


def test_nothing_else_is_set(tagger, attribute):
    doc = tagger(TAGGED[0][0])
    for other in {"tag", "pos", "morph"} - set(attribute.split("+")):
        assert not doc.has_annotation(other.upper())
    for own in attribute.split("+"):
        assert doc.has_annotation(own.upper(), require_complete=True)


def test_scores(tagger, attribute):
    examples = tag_examples(tagger)
    names = [f"{part}_acc" for part in attribute.split("+")]

    def scores_of(examples):
        scores = tagger.evaluate(examples)
        return [scores[name] for name in names]

    assert scores_of(examples) == [1] * len(names)
    words = [token.text for token in examples[0].reference]
    right = gold(attribute)[0]
    partial = labelled(tagger, attribute, words, [*right[:2], "", ""])
    scores = scores_of([Example(tagger.make_doc(TAGGED[0][0]), partial)])
    assert scores == [1] * len(names), "a token without a gold value does not count"
    wrong = labelled(tagger, attribute, words, [right[1], right[1], "", ""])
    scores = scores_of([Example(tagger.make_doc(TAGGED[0][0]), wrong)])
    assert scores == [0.5] * len(names)


def test_batches_give_what_single_documents_give(tagger, attribute):
    texts = ["", " ", "ships", TAGGED[0][0], "", "\n\n", TAGGED[1][0]]
    alone = [values_of(tagger(text), attribute) for text in texts]
    for batch_size in (1, 3, 100):
        docs = tagger.pipe(texts, batch_size=batch_size)
        assert [values_of(doc, attribute) for doc in docs] == alone
    assert [values_of(doc, attribute) for doc in tagger.pipe(["", ""])] == [[], []]


def test_saved_and_loaded(tagger, attribute, architecture, tmp_path):
    expected = [values_of(tagger(text), attribute) for text, _ in TAGGED]
    component = tagger.get_pipe("tagger")
    for save in ("disk", "bytes"):
        other = blank("skd_tagger", architecture)
        if save == "disk":
            component.to_disk(tmp_path / "tagger")
            other.get_pipe("tagger").from_disk(tmp_path / "tagger")
        else:
            other.get_pipe("tagger").from_bytes(component.to_bytes())
        assert other.get_pipe("tagger").cfg == component.cfg
        assert [values_of(other(text), attribute) for text, _ in TAGGED] == expected


# --- values that are set already


def test_values_that_are_set_are_kept(tagger, attribute):
    words = TAGGED[0][0].split()
    right = gold(attribute)[0]
    other = OTHER[attribute]  # unknown to the model
    known = gold(attribute)[0][3]
    doc = labelled(tagger, attribute, words, [other, "", "", ""])
    assert values_of(tagger.get_pipe("tagger")(doc), attribute) == [other, *right[1:]]
    doc = labelled(tagger, attribute, words, [known, "", "", ""])
    assert values_of(tagger.get_pipe("tagger")(doc), attribute)[0] == known


def test_values_are_replaced_if_overwrite_is_set(attribute):
    trained = trained_tagger("MaxEnt", attribute)
    tagger = copy_of(trained, "skd_tagger", "MaxEnt", attribute=attribute)
    component = tagger.get_pipe("tagger")
    component.cfg["overwrite"] = True
    known = gold(attribute)[0][3]
    doc = labelled(tagger, attribute, TAGGED[0][0].split(), [known] * 4)
    assert values_of(component(doc), attribute) == gold(attribute)[0]


def test_the_setting_overwrite_reaches_the_component():
    assert blank("skd_tagger", overwrite=True).get_pipe("tagger").cfg["overwrite"] is True
    assert blank("skd_tagger").get_pipe("tagger").cfg["overwrite"] is False


def test_a_chain_decodes_around_what_is_set():
    """The best sequence of all those that agree with the values that are set."""
    tagger = copy_of(trained_tagger("LinearChainCRF", "tag"), "skd_tagger", "LinearChainCRF")
    component = tagger.get_pipe("tagger")
    rng = np.random.default_rng(3)
    transitions = component.model.get_ref("structure").get_param("transitions")
    transitions[:] = rng.normal(size=transitions.shape) * 20
    words = TAGGED[0][0].split()
    changed = 0
    for label in component.labels:
        structure = component.predict([labelled(tagger, "tag", words, [])])
        doc = labelled(tagger, "tag", words, ["", label, "", ""])
        component.set_annotations([doc], structure)
        column = component.labels.index(label)
        agreeing = [output for output, _ in structure.topk(256)[0] if output[1] == column]
        best = [component.labels[number] for number in agreeing[0]]
        assert values_of(doc, "tag") == best
        free = [component.labels[number] for number in structure.argmax()[0]]
        changed += [*best[:1], *best[2:]] != [*free[:1], *free[2:]]
    assert changed, "the values that are set never mattered to their neighbours"


# --- learning


def test_missing_values_are_missing(tagger, attribute):
    component = tagger.get_pipe("tagger")
    [first, *_] = gold(attribute)[0]
    reference = labelled(tagger, attribute, ["Ada", "sees"], [first, ""])
    example = Example(tagger.make_doc("Ada sees"), reference)
    known, missing = component.get_annotation(example).tolist()
    label = component.labels[known]
    assert label == first and missing == -1
    raw = Example(tagger.make_doc("Ada sees"), tagger.make_doc("Ada sees"))
    assert tagger.update([raw])["tagger"] == 0


def test_empty_morphology_is_a_value_and_unset_morphology_is_missing():
    nlp = copy_of(trained_tagger("MaxEnt", "morph"), "skd_tagger", "MaxEnt", attribute="morph")
    component = nlp.get_pipe("tagger")
    reference = Doc(nlp.vocab, words=["a", "b", "c"])
    reference[0].set_morph("")
    reference[1].set_morph("_")
    example = Example(Doc(nlp.vocab, words=["a", "b", "c"]), reference)
    empty = component.labels.index("_")
    assert component.get_annotation(example).tolist() == [empty, empty, -1]
    doc = component(Doc(nlp.vocab, words=TAGGED[0][0].split()))
    assert doc[2].has_morph() and str(doc[2].morph) == ""


def test_the_order_of_features_does_not_matter():
    nlp = blank("skd_tagger", attribute="morph")
    train(nlp, tag_examples(nlp), steps=1)
    reference = labelled(nlp, "morph", ["sees"], ["VerbForm=Fin|Tense=Pres"])
    example = Example(nlp.make_doc("sees"), reference)
    component = nlp.get_pipe("tagger")
    [column] = component.get_annotation(example)
    assert component.labels[column] == "Tense=Pres|VerbForm=Fin"


def test_other_tokens_than_the_reference(tagger, attribute):
    component = tagger.get_pipe("tagger")
    reference = tag_examples(tagger)[0].reference
    finer = Doc(
        tagger.vocab,
        words=["Ada", "s", "ees", "oldships"],
        spaces=[True, False, True, False],
    )
    coarse = Doc(tagger.vocab, words=[token.text for token in reference])
    full = component.get_annotation(Example(coarse, reference)).tolist()
    reference = Doc(
        tagger.vocab,
        words=["Ada", "sees", "old", "ships"],
        spaces=[True, True, False, False],
        tags=TAGGED[0][1],
        pos=[POS_OF[tag] for tag in TAGGED[0][1]],
        morphs=[MORPH_OF[tag] for tag in TAGGED[0][1]],
    )
    found = component.get_annotation(Example(finer, reference)).tolist()
    assert found == [full[0], full[1], full[1], -1]


@pytest.mark.parametrize("words", [["Ada", "sees"], ["A", "da", "sees"]])
def test_an_unknown_value(tagger, attribute, words):
    other = OTHER[attribute]
    elsewhere = blank("skd_tagger")
    reference = labelled(elsewhere, attribute, ["Ada", "sees"], [other, other])
    spaces = [True] * len(words) if len(words) == 2 else [False, True, True]
    example = Example(Doc(tagger.vocab, words=words, spaces=spaces), reference)
    found = re.escape(f"{attribute} '{other}'")
    with pytest.raises(ValueError, match=rf"document 'Ada sees.*{found}.*'tagger'"):
        tagger.update([example])


def test_learns_from_targets_alone(tagger, attribute, architecture):
    texts = [text for text, _ in TAGGED]
    structure = tagger.get_pipe("tagger").predict([tagger.make_doc(text) for text in texts])
    assert isinstance(structure, LinearChain) == (architecture == "LinearChainCRF")
    record = describe(structure, "tagger")
    student = blank("skd_tagger", "MaxEnt", attribute=attribute)
    examples = [Example(student.make_doc(text), student.make_doc(text)) for text in texts]
    for example, scores in zip(examples, stored_scores(structure)):
        set_target(example.reference, Target(record, scores))
    train(student, examples)
    found = [values_of(student(text), attribute) for text in texts]
    assert found == gold(attribute)


# --- what is refused


def test_an_attribute_that_cannot_be_set():
    with pytest.raises(
        ValueError, match=r"'tagger' cannot set 'lemma'.*tag, pos, morph, morph\+pos"
    ):
        blank("skd_tagger", attribute="lemma")


def test_a_part_of_speech_that_does_not_exist():
    component = blank("skd_tagger", attribute="pos").get_pipe("tagger")
    with pytest.raises(ValueError, match=r"'tagger' cannot set the part of speech 'NN'.*NOUN"):
        component.add_label("NN")
    assert component.add_label("NOUN") == 1


def test_no_labels():
    nlp = blank("skd_tagger")
    raw = [Example(nlp.make_doc("Ada"), nlp.make_doc("Ada"))]
    with pytest.raises(ValueError, match=r"'tagger' found no labels.*initialize.components.tagger"):
        nlp.initialize(lambda: raw)
