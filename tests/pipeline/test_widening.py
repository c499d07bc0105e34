"""Trained components that are given labels: they predict as before, learn them, and forget nothing
that they are taught by what they were."""

import numpy as np
import pytest
import spacy
from spacy.training import Example

from spacy_skd.distill.attached import add_target
from spacy_skd.distill.targets import Target, describe, stored_scores
from spacy_skd.training.gold_labels import GoldLabels

from .tiny import (
    ENTITIES,
    TAGGED,
    blank,
    entities_of,
    entity_example,
    entity_examples,
    model,
    predictions,
    spans_of,
    tag_examples,
    train,
    tree_examples,
)

GOLD = [entities for _, entities in ENTITIES]
SPANS = {"max_width": 4, "hidden_width": 16}
KINDS = ("LinearChainCRF", "MaxEnt", "exact", "local")
# Only what is new is annotated, a verb; of names nothing is said, though there are some.
NEW = [
    ("Ada lives in New York City", [(1, 2, "ACT")]),
    ("Bob met Ada Lovelace in Oslo", [(1, 2, "ACT")]),
    ("Nothing happens here", [(1, 2, "ACT")]),
    ("Oslo is far from New York", []),
]
BOTH = [sorted([*old, *new]) for old, (_, new) in zip(GOLD, NEW)]


def trained(kind: str):
    """A pipeline with a trained "ner" of an architecture, or of spans with a loss."""
    if kind in ("exact", "local"):
        nlp = blank(model=model("SpanBiaffine") | SPANS | {"loss": kind})
    else:
        nlp = blank(architecture=kind)
    train(nlp, entity_examples(nlp), steps=60)
    return nlp


def probabilities(nlp, texts) -> list[np.ndarray]:
    component = nlp.get_pipe("ner")
    marginals = component.predict([nlp.make_doc(text) for text in texts]).marginals()
    return getattr(marginals, "tokens", marginals)


def taught_by(teacher, nlp) -> list[Example]:
    """The new sentences with the annotation of what is new, and the teacher's word for the rest."""
    docs = [teacher.make_doc(text) for text, _ in NEW]
    structure = teacher.get_pipe("ner").predict(docs)
    record, gold = describe(structure, "ner"), GoldLabels({"ner": ["ACT"]})
    examples = []
    for (text, entities), scores in zip(NEW, stored_scores(structure)):
        reference = nlp.make_doc(text)
        reference.set_ents(spans_of(reference, entities))
        gold.attach(reference)
        add_target(reference, Target(record, scores, len(reference)))
        examples.append(Example(nlp.make_doc(text), reference))
    return examples


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_label_changes_nothing(kind):
    nlp = trained(kind)
    texts = [*(text for text, _ in ENTITIES), "Hooli hires Ada", "", "Bob"]
    before, found = probabilities(nlp, texts), predictions(nlp, texts)
    assert nlp.get_pipe("ner").add_label("ACT") == 1
    assert nlp.get_pipe("ner").add_label("ACT") == 0
    assert nlp.get_pipe("ner").labels == ("LOC", "PER", "ACT")
    assert predictions(nlp, texts) == found
    after = probabilities(nlp, texts)
    assert np.abs(after[..., : before.shape[-1]] - before).max() < 2e-4


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_learnt_and_nothing_is_forgotten(kind):
    teacher, student = trained(kind), trained(kind)
    student.get_pipe("ner").add_label("ACT")
    train(student, taught_by(teacher, student), steps=60, initialize=False)
    assert predictions(student) == BOTH


def test_without_its_old_self_as_teacher_it_forgets(crf):
    crf.get_pipe("ner").add_label("ACT")
    train(crf, [entity_example(crf, *new) for new in NEW], steps=60, initialize=False)
    assert predictions(crf) == [entities for _, entities in NEW]


def test_the_optimiser_of_a_training_that_goes_on(crf):
    """The one that has seen the narrower model, as after training in the same process."""
    train(crf, entity_examples(crf), steps=1, initialize=False)
    crf.get_pipe("ner").add_label("ACT")
    train(crf, taught_by(trained("LinearChainCRF"), crf), steps=60, initialize=False)
    assert predictions(crf) == BOTH


@pytest.mark.parametrize("architecture", ["LinearChainCRF", "MaxEnt"])
def test_tags(architecture):
    nlp = blank("skd_tagger", architecture)
    train(nlp, tag_examples(nlp), steps=60)
    nlp.get_pipe("tagger").add_label("RB")
    assert [[token.tag_ for token in nlp(text)] for text, _ in TAGGED] == [t for _, t in TAGGED]
    examples = tag_examples(nlp)
    reference = nlp.make_doc("Ada sleeps well")
    for token, tag in zip(reference, ("NNP", "VBZ", "RB")):
        token.tag_ = tag
    train(nlp, [*examples, Example(nlp.make_doc(reference.text), reference)], initialize=False)
    assert [token.tag_ for token in nlp("Ada sleeps well")] == ["NNP", "VBZ", "RB"]
    assert [[token.tag_ for token in nlp(text)] for text, _ in TAGGED] == [t for _, t in TAGGED]


@pytest.mark.parametrize("architecture", ["BiaffineParser", "LabelParser"])
def test_a_trained_parser_takes_none(architecture):
    nlp = blank("skd_parser", model={**model(architecture), "nO": None})
    train(nlp, tree_examples(nlp), steps=1)
    parser = nlp.get_pipe("parser")
    before, label = parser.labels, "obl" if architecture == "BiaffineParser" else "-1|obl"
    with pytest.raises(ValueError, match=r"'parser' has been trained .* cannot be given"):
        parser.add_label(label)
    assert parser.labels == before
    assert [token.dep_ for token in nlp("Ada sees ships")]


def test_saved_and_loaded(crf, tmp_path):
    crf.get_pipe("ner").add_label("ACT")
    crf.to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    assert loaded.get_pipe("ner").labels == ("LOC", "PER", "ACT")
    assert [entities_of(doc) for doc in loaded.pipe(text for text, _ in ENTITIES)] == GOLD
    assert loaded.get_pipe("ner").predict([]).labels == crf.get_pipe("ner").predict([]).labels
