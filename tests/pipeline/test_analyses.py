"""`skd_tagger` with features and parts of speech at once."""

import numpy as np
import pytest
import spacy
from spacy.tokens import Doc, DocBin
from spacy.training import Example

from spacy_skd.distill.attached import set_target
from spacy_skd.distill.targets import Target, describe, stored_scores
from spacy_skd.structures import Token

from .tag_cases import gold, values_of
from .tiny import POS_OF, TAGGED, blank, tag_examples, train

VOCAB = spacy.blank("en").vocab


def analysed(words: list[str], morphs: list[str | None], pos: list[str], vocab=VOCAB) -> Doc:
    """A document with features, None where they are not set, and parts of speech."""
    doc = Doc(vocab, words=words, pos=pos)
    for token, features in zip(doc, morphs):
        if features is not None:
            token.set_morph(features)
    return doc


def analyser(*labels: str):
    nlp = blank("skd_tagger", "MaxEnt", attribute="morph+pos")
    component = nlp.get_pipe("tagger")
    for label in labels:
        component.add_label(label)
    return component


def scores_for(component, labels: list[list[str]]) -> Token:
    """The best labels of each token, best first; the others are far behind."""
    scores = np.full((len(labels), len(component.labels)), -20, dtype=np.float32)
    for row, names in zip(scores, labels):
        row[[component.labels.index(name) for name in names]] = -np.arange(len(names))
    return Token(scores, [len(labels)], labels=component.labels)


def test_labels_are_those_of_spacys_morphologizer():
    docs = [example.reference for example in tag_examples(blank())]
    docs.append(analysed(["a", "b", "c"], [None, "", "Case=Acc,Nom|aX=1"], ["X", "", "PRON"]))
    nlp = spacy.blank("en")
    theirs = nlp.add_pipe("morphologizer")
    theirs.initialize(lambda: [Example(doc.copy(), doc) for doc in docs])
    component = analyser()
    assert {label for doc in docs for label in component.labels_of(doc)} == set(theirs.labels)
    for label in theirs.labels:
        component.add_label(label)
    assert component.labels == theirs.labels
    assert component.add_label("Number=Sing|POS=PROPN") == 0
    assert component.add_label("POS=PROPN|Number=Sing") == 0, "the order does not matter"
    with pytest.raises(ValueError, match="cannot set the part of speech 'NN'"):
        component.add_label("Number=Sing|POS=NN")


def test_noun_chunks_need_parts_of_speech():
    nlp = blank("skd_tagger", attribute="morph+pos")
    train(nlp, tag_examples(nlp))
    doc = nlp(TAGGED[0][0])
    parsed = Doc(
        nlp.vocab,
        words=[token.text for token in doc],
        pos=[token.pos_ for token in doc],
        heads=[1, 1, 3, 1],
        deps=["nsubj", "ROOT", "amod", "dobj"],
    )
    assert [chunk.text for chunk in parsed.noun_chunks] == ["Ada", "old ships"]


SING, PLUR, VERB, PUNCT = "Number=Sing|POS=NOUN", "Number=Plur|POS=NOUN", "POS=VERB", "POS=PUNCT"


def test_a_part_of_speech_alone_says_only_what_it_says():
    """Features that are not annotated are missing, not none."""
    component = analyser(SING, PLUR, VERB, PUNCT)
    words = ["a", "b", "c", "d", "e", "f"]
    doc = analysed(
        words,
        [None, None, "", "Number=Plur", "Number=Sing", None],
        ["NOUN", "PUNCT", "VERB", "", "NOUN", ""],
    )
    example = Example(Doc(doc.vocab, words=words), doc)
    assert component.get_annotation(example).tolist() == [-1, 3, 2, 1, 0, -1]
    assert component.known(doc).tolist() == [False, True, True, True, True, False]
    units = ["POS=NOUN", PUNCT, VERB, PLUR, SING]
    assert component.units(doc) == list(enumerate(units))
    other = analysed(["a"], [None], ["ADJ"])
    with pytest.raises(ValueError, match=r"has the morph\+pos 'POS=ADJ', which component"):
        component.get_annotation(Example(Doc(doc.vocab, words=["a"]), other))


def test_data_without_features_has_labels_of_parts_of_speech():
    nlp = blank("skd_tagger", "MaxEnt", attribute="morph+pos")
    examples = [
        Example(Doc(nlp.vocab, words=words), analysed(words, [None] * len(words), pos))
        for words, pos in [(text.split(), [POS_OF[tag] for tag in tags]) for text, tags in TAGGED]
    ]
    train(nlp, examples)
    assert nlp.get_pipe("tagger").labels == ("POS=ADJ", "POS=NOUN", "POS=PROPN", "POS=VERB")
    assert [values_of(nlp(text), "pos") for text, _ in TAGGED] == gold("pos")
    scores = nlp.evaluate(examples)
    assert scores["pos_acc"] == 1 and scores["morph_acc"] is None


def test_the_rest_is_decoded_around_what_is_set():
    component = analyser(SING, PLUR, VERB, PUNCT)
    scores = scores_for(component, [[VERB, SING, PLUR]] * 4)
    words = ["a", "b", "c", "d"]
    set_before = [None, "Number=Plur", "Foreign=Yes", None], ["NOUN", "", "", "X"]
    doc = analysed(words, *set_before, component.vocab)
    component.set_annotations([doc], scores)
    assert values_of(doc, "morph+pos") == [SING, PLUR, "Foreign=Yes|POS=VERB", "POS=X"]
    confidences = [token._.tag_confidence for token in doc]
    assert confidences == [pytest.approx(1 / (1 + np.exp(-1))), 1.0, None, None]
    second = doc._.alternatives(2)[1].as_doc()
    assert values_of(second, "morph+pos") == [PLUR, *values_of(doc, "morph+pos")[1:]]
    barred = analysed(words, *set_before, component.vocab)
    barred[0]._.barred_labels, barred[1]._.barred_labels = [SING], [PLUR]
    component.set_annotations([barred], scores)
    assert values_of(barred, "morph+pos")[:2] == [PLUR, PLUR], "what is set stays"
    component.cfg["overwrite"] = True
    doc = analysed(words, *set_before, component.vocab)
    component.set_annotations([doc], scores)
    assert values_of(doc, "morph+pos") == [VERB] * 4


def test_tokens_that_are_put_together_may_share_a_part_of_speech_alone():
    component = analyser(SING, PLUR, VERB)
    reference = analysed(
        ["a", "b", "c"], ["Number=Sing", "Number=Plur", ""], ["NOUN"] * 2 + ["VERB"]
    )
    predicted = Doc(reference.vocab, words=["a b", "c"])
    assert component.get_annotation(Example(predicted, reference)).tolist() == [-1, 2]


def test_analyses_are_kept_by_a_binary_corpus():
    nlp = blank("skd_tagger", attribute="morph+pos")
    train(nlp, tag_examples(nlp))
    doc = nlp(TAGGED[0][0])
    confidences = [token._.tag_confidence for token in doc]
    stored = DocBin(docs=[doc], store_user_data=True).to_bytes()
    [again] = DocBin().from_bytes(stored).get_docs(spacy.blank("en").vocab)
    assert values_of(again, "morph+pos") == gold("morph+pos")[0]
    assert [token._.tag_confidence for token in again] == confidences


def test_features_alone_do_not_teach_analyses():
    teacher = blank("skd_tagger", "MaxEnt", attribute="morph")
    train(teacher, tag_examples(teacher), steps=1)
    texts = [text for text, _ in TAGGED]
    structure = teacher.get_pipe("tagger").predict([teacher.make_doc(text) for text in texts])
    student = blank("skd_tagger", "MaxEnt", attribute="morph+pos")
    examples = tag_examples(student)
    for example, scores in zip(examples, stored_scores(structure)):
        set_target(example.reference, Target(describe(structure, "tagger"), scores))
    with pytest.raises(ValueError, match="'tagger' sets features and parts of speech at once, but"):
        train(student, examples, steps=1)
