"""`skd_tagger`: tags, parts of speech, features, and both of these at once."""

import re

import numpy as np
import pytest
import spacy
from spacy.tokens import Doc, DocBin
from spacy.training import Example

from spacy_skd.distill.attached import set_target
from spacy_skd.distill.targets import Target, describe, stored_scores
from spacy_skd.pipeline.analyses import analysis_of, parts_of
from spacy_skd.structures import LinearChain, Token

from .conftest import copy_of, trained_tagger
from .tiny import MORPH_OF, POS_OF, TAGGED, blank, tag_examples, train

ATTRIBUTE = {
    "tag": lambda tag: tag,
    "pos": POS_OF.__getitem__,
    "morph": MORPH_OF.__getitem__,
    "morph+pos": lambda tag: analysis_of(MORPH_OF[tag], POS_OF[tag]),
}
OTHER = {"tag": "FW", "pos": "X", "morph": "Foreign=Yes", "morph+pos": "Foreign=Yes|POS=X"}
"""What no sentence has."""


def values_of(doc: Doc, attribute: str) -> list[str]:
    value = {
        "tag": lambda token: token.tag_,
        "pos": lambda token: token.pos_,
        "morph": lambda token: str(token.morph),
        "morph+pos": lambda token: analysis_of(str(token.morph), token.pos_),
    }
    return [value[attribute](token) for token in doc]


def gold(attribute: str) -> list[list[str]]:
    return [[ATTRIBUTE[attribute](tag) for tag in tags] for _, tags in TAGGED]


def labelled(nlp, attribute: str, words: list[str], values: list[str]) -> Doc:
    """A document with some values of the attribute; "" where it is not set."""
    doc = Doc(nlp.vocab, words=words)
    for token, value in zip(doc, values):
        if value and attribute in ("morph", "morph+pos"):
            features, pos = parts_of(value)
            token.set_morph(features)
            token.pos_ = pos
        elif value:
            setattr(token, f"{attribute}_", value)
    return doc


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


# --- features and parts of speech at once


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


# --- sentences

SENTENCES = [
    "Ada sleeps . Bob sees ships .",
    "ships sail . old Bob sleeps . Ada sees Bob .",
    "Ada .",
]


def sentence_examples(nlp):
    examples = []
    for words in map(str.split, SENTENCES):
        starts = [before == "." for before in [".", *words[:-1]]]
        reference = Doc(nlp.vocab, words=words, sent_starts=starts)
        examples.append(Example(Doc(nlp.vocab, words=words), reference))
    return examples


def starts_of(doc):
    return [token.is_sent_start for token in doc]


def test_where_sentences_begin(architecture, tmp_path):
    nlp = blank("skd_tagger", architecture, attribute="sent_start")
    examples = sentence_examples(nlp)
    train(nlp, examples)
    component = nlp.get_pipe("tagger")
    assert component.labels == ("I", "S")
    wanted = [starts_of(example.reference) for example in examples]
    assert [starts_of(nlp(text)) for text in SENTENCES] == wanted
    scores = nlp.evaluate(sentence_examples(nlp))
    assert (scores["sents_p"], scores["sents_r"], scores["sents_f"]) == (1, 1, 1)
    nlp.to_disk(tmp_path)
    other = blank("skd_tagger", architecture, attribute="sent_start").from_disk(tmp_path)
    assert [starts_of(other(text)) for text in SENTENCES] == wanted
    component.cfg["overwrite"] = True
    assert starts_of(nlp("sees Bob"))[0], "the first token always begins a sentence"


def test_boundaries_that_are_set_are_kept_and_missing_ones_not_learnt():
    nlp = blank("skd_tagger", "MaxEnt", attribute="sent_start")
    train(nlp, sentence_examples(nlp))
    component = nlp.get_pipe("tagger")
    doc = Doc(nlp.vocab, words=SENTENCES[0].split())
    doc[2].is_sent_start, doc[3].is_sent_start = True, False
    assert starts_of(component(doc)) == [True, False, True, False, False, False, False]
    component.cfg["overwrite"] = True
    assert starts_of(component(doc)) == [True, False, False, True, False, False, False]
    words = ["Ada", "sleeps", "."]
    partial = Doc(nlp.vocab, words=words, sent_starts=[True, None, False])
    example = Example(Doc(nlp.vocab, words=words), partial)
    labels = [component.labels.index("S"), -1, component.labels.index("I")]
    assert component.get_annotation(example).tolist() == labels
    raw = Example(Doc(nlp.vocab, words=words), Doc(nlp.vocab, words=words))
    assert component.get_annotation(raw).tolist() == [-1] * 3
    whole = Doc(nlp.vocab, words=["Adasleeps", "."], spaces=[False, False], sent_starts=[1, -1])
    split = Example(Doc(nlp.vocab, words=words, spaces=[False] * 3), whole)
    assert component.get_annotation(split).tolist()[::2] == labels[::2]
    with pytest.raises(ValueError, match="by the labels I, S; it cannot set 'B'"):
        blank("skd_tagger", attribute="sent_start").get_pipe("tagger").add_label("B")
