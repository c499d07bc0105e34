"""`skd_ner` learns: complete, partial and missing annotation, targets, and what is refused."""

import numpy as np
import pytest
from spacy.tokens import Doc, Span
from spacy.training import Example
from thinc.api import Adam

from spacy_skd.distill.attached import set_target
from spacy_skd.distill.targets import Target, describe, stored_scores
from spacy_skd.structures import LinearChain
from tests.structures.brute_force import chain_scores, token_scores

from .tiny import (
    ENTITIES,
    blank,
    entity_example,
    entity_examples,
    predictions,
    spans_of,
    train,
)

GOLD = [entities for _, entities in ENTITIES]
OUT, B_LOC, I_LOC, L_LOC, U_LOC, B_PER, I_PER, L_PER, U_PER = range(9)


def raw_example(nlp, text: str) -> Example:
    return Example(nlp.make_doc(text), nlp.make_doc(text))


def annotation(nlp, example: Example) -> list[int]:
    return nlp.get_pipe("ner").get_annotation(example).tolist()


def loss_and_gradient(nlp, examples):
    component = nlp.get_pipe("ner")
    structure = component.predict([example.predicted for example in examples])
    loss, gradient = component.get_loss(examples, structure)
    return loss, gradient, structure


def gradient_arrays(gradient) -> list[np.ndarray]:
    if isinstance(gradient, np.ndarray):
        return [gradient]
    return [gradient.tokens, gradient.pairs, gradient.starts, gradient.ends]


# --- gold annotation as columns


def test_columns_of_complete_annotation(ner):
    assert annotation(ner, entity_examples(ner)[0]) == [U_PER, OUT, OUT, B_LOC, I_LOC, L_LOC]


def test_neighbouring_entities_of_one_label(ner):
    example = entity_example(ner, "Ada Bob Oslo", [(0, 1, "PER"), (1, 3, "PER")])
    assert annotation(ner, example) == [U_PER, B_PER, L_PER]


def test_columns_of_partial_annotation(ner):
    reference = ner.make_doc("Ada lives in New York City")
    reference.set_ents(
        [Span(reference, 3, 6, label="LOC")], missing=[reference[0:1]], blocked=[reference[1:2]]
    )
    example = Example(ner.make_doc(reference.text), reference)
    assert annotation(ner, example) == [-1, OUT, OUT, B_LOC, I_LOC, L_LOC]


def test_nothing_is_known_of_a_raw_document(ner):
    assert annotation(ner, raw_example(ner, "Ada lives")) == [-1, -1]
    assert annotation(ner, raw_example(ner, "")) == []


def test_other_tokens_than_the_reference(ner):
    """Entities move to the predicted tokens; if their ends are within tokens nothing is known."""
    reference = Doc(ner.vocab, words=["Ada", "met", "New", "York", "ers"], spaces=[1, 1, 1, 0, 0])
    reference.ents = spans_of(reference, [(0, 1, "PER"), (2, 4, "LOC")])
    predicted = Doc(ner.vocab, words=["Ada", "m", "et", "New", "Yorkers"], spaces=[1, 0, 1, 1, 0])
    assert annotation(ner, Example(predicted, reference)) == [U_PER, OUT, OUT, -1, -1]
    finer = Doc(
        ner.vocab, words=["A", "da", "met", "New", "York", "ers"], spaces=[0, 1, 1, 1, 0, 0]
    )
    assert annotation(ner, Example(finer, reference)) == [B_PER, L_PER, OUT, B_LOC, L_LOC, OUT]


def test_spans_on_other_tokens_than_the_reference():
    nlp = blank(spans_key="sc")
    train(nlp, entity_examples(nlp, "sc"), steps=1)
    reference = Doc(nlp.vocab, words=["Ada", "met", "New", "York", "ers"], spaces=[1, 1, 1, 0, 0])
    reference.spans["sc"] = spans_of(reference, [(0, 1, "PER"), (2, 4, "LOC")])
    coarse = Doc(nlp.vocab, words=["Ada", "met", "New", "Yorkers"])
    assert annotation(nlp, Example(coarse, reference)) == [U_PER, OUT, -1, -1]
    finer = Doc(
        nlp.vocab, words=["A", "da", "met", "New", "York", "ers"], spaces=[0, 1, 1, 1, 0, 0]
    )
    assert annotation(nlp, Example(finer, reference)) == [B_PER, L_PER, OUT, B_LOC, L_LOC, OUT]


def test_spans_that_are_missing_and_spans_that_are_none():
    nlp = blank(spans_key="sc")
    train(nlp, entity_examples(nlp, "sc"), steps=1)
    assert annotation(nlp, raw_example(nlp, "Ada lives")) == [-1, -1]
    assert annotation(nlp, entity_example(nlp, "Ada lives", [], "sc")) == [OUT, OUT]


# --- loss


def test_a_raw_document_says_nothing(ner):
    loss, gradient, _ = loss_and_gradient(ner, [raw_example(ner, "Ada met Bob")] * 2)
    assert loss == 0
    assert all((array == 0).all() for array in gradient_arrays(gradient))


def test_a_raw_document_beside_a_gold_one_has_no_gradient(ner):
    gold = entity_example(ner, "Oslo met Ada", [(0, 1, "PER")])
    loss, gradient, _ = loss_and_gradient(ner, [gold, raw_example(ner, "Bob met Ada"), gold])
    tokens = gradient_arrays(gradient)[0]
    assert loss > 0 and np.abs(tokens[:3]).max() > 0
    assert (tokens[3:6] == 0).all()


def test_partial_annotation_trains_by_marginal_likelihood(ner):
    """The loss is −log of the probability of all label sequences that agree with what is known."""
    reference = ner.make_doc("Oslo met Ada")
    reference.set_ents([Span(reference, 0, 1, label="PER")], missing=[reference[1:3]])
    example = Example(ner.make_doc(reference.text), reference)
    loss, _, structure = loss_and_gradient(ner, [example])
    if isinstance(structure, LinearChain):
        potentials = (structure.emissions, structure.transitions, structure.start, structure.end)
        listed = chain_scores(*(array.astype("float64") for array in potentials))
    else:
        listed = token_scores(structure.scores.astype("float64"))
    agree = np.asarray([output[0] == U_PER for output in listed.outputs])
    assert loss == pytest.approx(-np.log(listed.probs[agree].sum()), rel=1e-4)


def test_half_annotated_documents_suffice():
    """What a document annotates is learnt, and what it leaves out is not learnt as outside."""
    nlp = blank()
    examples = [*entity_examples(nlp), raw_example(nlp, "Ada sails to Oslo")]
    for example, half in ((examples[0], slice(3, 6)), (examples[1], slice(0, 2))):
        reference = example.reference
        kept = [entity for entity in reference.ents if not half.start <= entity.start < half.stop]
        reference.set_ents(kept, missing=[reference[half]])
    examples.append(entity_example(nlp, "New York City", [(0, 3, "LOC")]))
    train(nlp, examples)
    found = predictions(nlp)
    assert found[0] == GOLD[0], "New York City is annotated in another document"
    assert set(found[1]) >= set(GOLD[1][1:])


def test_empty_documents_are_no_obstacle(ner):
    examples = [raw_example(ner, ""), *entity_examples(ner), raw_example(ner, " ")]
    losses = ner.update(examples, sgd=ner.resume_training())
    assert np.isfinite(losses["ner"]) and losses["ner"] > 0


def test_the_loss_is_reported_even_if_there_is_nothing_to_learn(ner):
    for batch in ([], [raw_example(ner, "")], [raw_example(ner, "Ada")]):
        losses = ner.get_pipe("ner").update(batch, losses={"other": 1.0})
        assert losses == {"other": 1.0, "ner": 0.0}


def test_losses_add_up(ner):
    examples = [entity_example(ner, "Oslo met Ada", [(0, 1, "PER")])]
    losses = {}
    ner.update(examples, losses=losses, sgd=False)
    once = losses["ner"]
    ner.update(examples, losses=losses, sgd=False)
    assert losses["ner"] == pytest.approx(2 * once)
    assert type(once) is float


def test_averaged_parameters_are_used_and_put_back(ner):
    examples = entity_examples(ner)
    optimizer = Adam(0.01, use_averages=True)
    for _ in range(3):
        ner.update(examples, sgd=optimizer)
    output_layer = ner.get_pipe("ner").model.get_ref("output_layer")
    before = output_layer.get_param("W").copy()
    with ner.use_params(optimizer.averages):
        assert np.abs(output_layer.get_param("W") - before).max() > 0
        assert predictions(ner) == GOLD
    assert (output_layer.get_param("W") == before).all()


# --- what is refused


def test_an_unknown_label(ner):
    example = entity_example(ner, "Hooli hires Ada", [(0, 1, "ORG")])
    with pytest.raises(ValueError, match=r"document 'Hooli hires Ada'.*'ORG'.*'ner'.*LOC, PER"):
        ner.update([example])
    misaligned = Example(
        Doc(ner.vocab, words=["Hoo", "li"], spaces=[0, 0]), example.reference[:1].as_doc()
    )
    with pytest.raises(ValueError, match=r"document 'Hooli.*'ORG'.*'ner'"):
        ner.update([misaligned])


def test_an_unknown_label_of_another_vocabulary(ner):
    other = blank()
    example = entity_example(other, "Hooli hires Ada", [(0, 1, "STARTUP")])
    with pytest.raises(ValueError, match="'STARTUP'"):
        ner.get_pipe("ner").get_annotation(example)


def test_an_unknown_span_label():
    nlp = blank(spans_key="sc")
    train(nlp, entity_examples(nlp, "sc"), steps=1)
    example = entity_example(nlp, "Hooli hires Ada", [(0, 1, "ORG")], "sc")
    with pytest.raises(ValueError, match=r"'Hooli hires Ada'.*'ORG'.*'ner'"):
        nlp.update([example])


def test_spans_that_overlap():
    nlp = blank(spans_key="sc")
    train(nlp, entity_examples(nlp, "sc"), steps=1)
    example = entity_example(nlp, "New York City", [(0, 2, "LOC"), (1, 3, "LOC")], "sc")
    with pytest.raises(ValueError, match=r"'sc'.*'New York City' overlap at 'York City'"):
        nlp.update([example])


def test_a_loss_that_is_not_finite(ner):
    ner.get_pipe("ner").model.get_ref("output_layer").get_param("b")[:] = np.nan
    with pytest.raises(ValueError, match=r"Component 'ner', document '.*nan.*learn_rate"):
        ner.update(entity_examples(ner))


# --- targets


def targets_of(nlp, texts) -> list[Target]:
    component = nlp.get_pipe("ner")
    structure = component.predict([nlp.make_doc(text) for text in texts])
    record = describe(structure, "ner")
    return [Target(record, scores) for scores in stored_scores(structure)]


def taught_examples(nlp, texts, targets) -> list[Example]:
    examples = [raw_example(nlp, text) for text in texts]
    for example, target in zip(examples, targets):
        set_target(example.reference, target)
    return examples


@pytest.mark.parametrize("student_architecture", ["LinearChainCRF", "MaxEnt"])
def test_a_student_learns_from_targets_alone(ner, student_architecture):
    """No gold annotation anywhere: labels and predictions are the teacher's."""
    texts = [text for text, _ in ENTITIES]
    student = blank(architecture=student_architecture)
    train(student, taught_examples(student, texts, targets_of(ner, texts)), steps=60)
    assert student.get_pipe("ner").labels == ("LOC", "PER")
    assert predictions(student) == predictions(ner) == GOLD


def test_gold_and_targets_in_one_batch(crf):
    texts = [text for text, _ in ENTITIES]
    student = blank()
    taught = taught_examples(student, texts[:2], targets_of(crf, texts[:2]))
    train(student, [*taught, *entity_examples(student)[2:]], steps=60)
    assert predictions(student) == GOLD


def test_a_target_of_another_length(ner):
    [target] = targets_of(ner, ["Ada lives in Oslo"])
    examples = taught_examples(ner, ["Ada lives"], [target])
    with pytest.raises(ValueError, match=r"'ner' has 4 tokens.*'Ada lives' has 2"):
        ner.update(examples)


def test_a_target_with_other_labels(ner):
    other = blank()
    train(
        other, [entity_example(other, "Hooli hires Ada", [(0, 1, "ORG"), (2, 3, "PER")])], steps=1
    )
    examples = taught_examples(ner, ["Ada lives"], targets_of(other, ["Ada lives"]))
    with pytest.raises(ValueError, match=r"'ner' does not have ORG; it has LOC, PER\. .*label_map"):
        ner.update(examples)


def test_labels_in_another_order_are_matched_by_name(ner):
    texts = [text for text, _ in ENTITIES]
    student = blank()
    for label in ("PER", "LOC"):
        student.get_pipe("ner").add_label(label)
    train(student, taught_examples(student, texts, targets_of(ner, texts)), steps=60)
    assert student.get_pipe("ner").labels == ("PER", "LOC")
    assert predictions(student) == GOLD


def test_a_target_for_another_component_is_not_taken(ner):
    [target] = targets_of(ner, ["Ada lives"])
    student = blank()
    examples = taught_examples(student, ["Ada lives"], [target])
    student.rename_pipe("ner", "names")
    with pytest.raises(ValueError, match=r"'names' found no labels"):
        student.initialize(lambda: examples)


def test_dropout_is_applied_in_training_only(ner):
    ner.update(entity_examples(ner), drop=0.5, sgd=False)
    assert predictions(ner) == GOLD
