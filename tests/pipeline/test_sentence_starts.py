"""`skd_tagger` as what finds sentences."""

import pytest
from spacy.tokens import Doc
from spacy.training import Example

from .tiny import blank, train

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
