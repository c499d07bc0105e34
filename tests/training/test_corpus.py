"""Documents and what teachers say of them, as training reads them."""

import itertools
import json
import logging
import random

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example
from spacy.util import registry

from spacy_skd.cli.annotate import annotate
from spacy_skd.distill.attached import get_target
from spacy_skd.training.corpus import DistillCorpus, make_distill_corpus, shuffled

from ..toy import sentences, toy_pipeline, write_docs


def texts_of(examples):
    return [example.reference.text for example in examples]


def scores_of(doc):
    target = get_target(doc, "ner")
    return None if target is None else target.scores


def test_gold_and_raw_documents_with_targets(nlp, gold, texts, store, teacher):
    examples = list(DistillCorpus(gold, texts, store)(nlp))
    assert sorted(texts_of(examples)) == sorted(sentences(6, start=100) + sentences(10))
    for example in examples:
        reference = example.reference
        is_gold = reference.text in sentences(6, start=100)
        assert reference.has_annotation("ENT_IOB") == is_gold
        assert len(reference.ents) == is_gold
        assert not example.predicted.has_annotation("ENT_IOB")
        assert [t.text_with_ws for t in example.predicted] == [t.text_with_ws for t in reference]
        expected = teacher.get_pipe("ner").scores(reference)
        expected -= expected.max(axis=1, keepdims=True)
        np.testing.assert_allclose(scores_of(reference), expected, atol=5e-3)


def test_annotation_of_raw_documents_is_dropped(nlp, gold, store):
    for example in DistillCorpus(None, gold, store)(nlp):
        assert not example.reference.has_annotation("ENT_IOB")
        assert get_target(example.reference, "ner")


def test_from_a_config(nlp, gold, texts, store):
    block = {"@readers": "spacy-skd.DistillCorpus.v1", "path": str(gold)}
    corpora = registry.resolve(
        {
            "all": {**block, "raw": [str(texts)], "targets": str(store)},
            "null": {**block, "raw": None, "targets": None},
            "empty": {**block, "raw": "", "targets": ""},
        }
    )
    assert len(list(corpora["all"](nlp))) == 16
    for name in ("null", "empty"):
        examples = list(corpora[name](nlp))
        assert len(examples) == 6
        assert not any(get_target(example.reference, "ner") for example in examples)


def test_nothing_to_read_or_to_learn(texts):
    with pytest.raises(ValueError, match="reads nothing"):
        make_distill_corpus("", "")
    with pytest.raises(ValueError, match=r"raw documents .*texts\.txt without targets"):
        make_distill_corpus(None, texts)


def test_other_text_is_named(nlp, tmp_path, store):
    (tmp_path / "more.jsonl").write_text('{"text": "A"}\n'.replace("A", sentences(1)[0]) * 2)
    with (tmp_path / "more.jsonl").open("a") as file:
        file.write(json.dumps({"text": "Nobody has ever annotated this one , not even once ."}))
    corpus = DistillCorpus(None, tmp_path / "more.jsonl", store)
    message = r"more\.jsonl, line 3 \('Nobody has ever .* not …'\) is not in the store"
    with pytest.raises(ValueError, match=message):
        list(corpus(nlp))


def test_documents_without_targets_that_are_not_required(nlp, tmp_path, teacher, store, caplog):
    """Annotated ones are learnt from, of raw ones there is nothing to learn."""
    doc = nlp.make_doc("Nobody has read this one")
    doc.ents = [Span(doc, 0, 1, "A")]
    write_docs(tmp_path / "more.spacy", [doc])
    (tmp_path / "more.txt").write_text("\n".join([*sentences(3), "Nor this .", "Nor that ."]))
    corpus = DistillCorpus(
        tmp_path / "more.spacy", tmp_path / "more.txt", store, require_targets=False
    )
    with caplog.at_level(logging.INFO, logger="spacy"):
        for _ in range(2):
            assert sorted(texts_of(corpus(nlp))) == sorted([doc.text, *sentences(3)])
    assert [record.message for record in caplog.records] == [
        "2 raw documents have no targets and are left out."
    ]
    corpus.limit = 4  # of those that are used
    assert len(list(corpus(nlp))) == 4


def test_another_tokenisation_is_named(nlp, tmp_path, store):
    text = sentences(3)[2]
    words = list(text)
    write_docs(
        tmp_path / "characters.spacy", [Doc(nlp.vocab, words=words, spaces=[False] * len(text))]
    )
    for required in (True, False):
        corpus = DistillCorpus(None, tmp_path / "characters.spacy", store, require_targets=required)
        with pytest.raises(ValueError, match=r"characters\.spacy, document 1 .* other tokens"):
            list(corpus(nlp))


def test_half_annotated_store(nlp, tmp_path, teacher, gold, texts):
    annotate(teacher, [gold], tmp_path / "half")
    with pytest.raises(ValueError, match=r"texts\.txt, line \d+ .* is not in the store"):
        list(DistillCorpus(gold, texts, tmp_path / "half")(nlp))


def test_several_stores(nlp, tmp_path, gold, texts):
    ner, tagger = toy_pipeline(), toy_pipeline(seed=2, kind="token", name="tagger")
    annotate(ner, [gold], tmp_path / "gold")
    annotate(ner, [texts], tmp_path / "raw")
    annotate(tagger, [gold, texts], tmp_path / "tags")
    stores = [tmp_path / "gold", tmp_path / "raw", tmp_path / "tags"]
    examples = list(DistillCorpus(gold, texts, stores)(nlp))
    targets = [get_target(example.reference, "ner") for example in examples]
    assert len({id(target.teacher) for target in targets}) == 1
    assert all(get_target(example.reference, "tagger") for example in examples)
    annotate(tagger, [gold], tmp_path / "fewer")
    with pytest.raises(ValueError, match=r"texts\.txt.* not in the store .*fewer"):
        list(DistillCorpus(gold, texts, [*stores[:2], tmp_path / "fewer"])(nlp))


def test_zero_tokens_and_whitespace(nlp, tmp_path, teacher):
    docs = [Doc(nlp.vocab), Doc(nlp.vocab, words=[" ", "\n"], spaces=[False, False])]
    write_docs(tmp_path / "gold.spacy", docs)
    (tmp_path / "raw.txt").write_text("\n   \n")
    files = [tmp_path / "gold.spacy", tmp_path / "raw.txt"]
    annotate(teacher, files, tmp_path / "store")
    examples = list(DistillCorpus(*files, tmp_path / "store")(nlp))
    assert sorted(texts_of(examples)) == [" \n", "   "]
    assert all(len(scores_of(eg.reference)) == len(eg.reference) for eg in examples)


def long_doc(nlp, n_tokens, sentence_starts=()):
    rng = random.Random(n_tokens)
    words = [f"w{number}" for number in range(n_tokens)]
    starts = [number in sentence_starts for number in range(n_tokens)] if sentence_starts else None
    doc = Doc(nlp.vocab, words=words, sent_starts=starts)
    for token in doc:
        token.tag_ = f"T{token.i % 3}"
    ends = sorted(rng.sample(range(1, n_tokens), n_tokens // 3))
    doc.ents = [Span(doc, s, e, "A") for s, e in itertools.pairwise(ends) if e - s < 4][::2]
    doc.spans["wide"] = [Span(doc, 2, 9, "S"), Span(doc, 20, 24, "S")]
    doc.spans["none"] = []
    return doc


@pytest.mark.parametrize("n_tokens", [30, 57])
@pytest.mark.parametrize("max_length", [7, 10, 56, 57])
@pytest.mark.parametrize("sentence_starts", [(), (0, 5, 21, 25)])
def test_splitting_keeps_everything(nlp, tmp_path, teacher, n_tokens, max_length, sentence_starts):
    doc = long_doc(nlp, n_tokens, sentence_starts)
    write_docs(tmp_path / "long.spacy", [doc])
    annotate(teacher, [tmp_path / "long.spacy"], tmp_path / "store")
    args = (tmp_path / "long.spacy", None, tmp_path / "store")
    [whole] = [example.reference for example in DistillCorpus(*args)(nlp)]
    corpus = DistillCorpus(*args, max_length=max_length, shuffle=False)
    pieces = [example.reference for example in corpus(nlp)]
    assert [t.text for piece in pieces for t in piece] == [t.text for t in doc]
    assert [t.tag_ for piece in pieces for t in piece] == [t.tag_ for t in doc]
    iobs = [(t.ent_iob_, t.ent_type_) for piece in pieces for t in piece]
    assert iobs == [(t.ent_iob_, t.ent_type_) for t in doc]
    spans = [span.text for piece in pieces for span in piece.spans["wide"]]
    assert spans == [span.text for span in doc.spans["wide"]]
    assert all("none" in piece.spans for piece in pieces)
    np.testing.assert_array_equal(
        np.concatenate([scores_of(piece) for piece in pieces]), scores_of(whole)
    )
    longest = max([max_length, *(len(span) for span in (*doc.ents, *doc.spans["wide"]))])
    assert all(len(piece) <= longest for piece in pieces)
    assert (len(pieces) == 1) == (n_tokens <= max_length)


def test_splitting_prefers_the_ends_of_sentences(nlp, tmp_path):
    starts = [number in (0, 4, 9, 13) for number in range(16)]
    doc = Doc(nlp.vocab, words=list("abcdefghijklmnop"), sent_starts=starts)
    write_docs(tmp_path / "doc.spacy", [doc])
    corpus = DistillCorpus(tmp_path / "doc.spacy", max_length=10, shuffle=False)
    assert [len(example.reference) for example in corpus(nlp)] == [9, 7]
    corpus = DistillCorpus(tmp_path / "doc.spacy", gold_preproc=True, shuffle=False)
    assert [len(example.reference) for example in corpus(nlp)] == [4, 5, 4, 3]


def test_splitting_keeps_missing_entities_missing(nlp, tmp_path):
    doc = Doc(nlp.vocab, words=list("abcdef"), ents=["O", "B-A", "I-A", "", "", "O"])
    write_docs(tmp_path / "doc.spacy", [doc])
    corpus = DistillCorpus(tmp_path / "doc.spacy", max_length=4, shuffle=False)
    pieces = [example.reference for example in corpus(nlp)]
    assert [t.ent_iob for piece in pieces for t in piece] == [2, 3, 1, 0, 0, 2]


def test_targets_reach_augmented_examples(nlp, gold, store):
    def augmenter(nlp, example):
        yield example
        annotation = example.to_dict()
        words = [token.text.upper() for token in example.reference]
        annotation["token_annotation"]["ORTH"] = words
        yield Example.from_dict(Doc(nlp.vocab, words=words), annotation)
        yield Example(nlp.make_doc("another"), nlp.make_doc("another"))

    examples = list(DistillCorpus(gold, None, store, augmenter=augmenter, shuffle=False)(nlp))
    for original, upper, other in zip(examples[::3], examples[1::3], examples[2::3]):
        np.testing.assert_array_equal(scores_of(original.reference), scores_of(upper.reference))
        assert upper.reference.text.isupper()
        if len(original.reference) > 1:
            assert scores_of(other.reference) is None


def test_limit(nlp, gold, texts, store):
    assert len(list(DistillCorpus(gold, texts, store, limit=5)(nlp))) == 5


def test_passes_differ_and_repeat_with_the_seed(nlp, gold, texts, store):
    first, second = (DistillCorpus(gold, texts, store, seed=3) for _ in range(2))
    passes = [texts_of(first(nlp)) for _ in range(3)]
    assert passes == [texts_of(second(nlp)) for _ in range(3)]
    assert len({tuple(order) for order in passes}) == 3
    assert len({tuple(sorted(order)) for order in passes}) == 1
    assert texts_of(DistillCorpus(gold, texts, store, seed=4)(nlp)) != passes[0]


def test_the_shuffle_buffer_bounds_what_is_held(nlp, tmp_path):
    held = [0]

    def stream():
        for number in range(1000):
            held[0] += 1
            yield number

    order = []
    for number in shuffled(stream(), 50, random.Random(0)):
        held[0] -= 1
        assert held[0] <= 50
        order.append(number)
    assert sorted(order) == list(range(1000))
    assert order != list(range(1000))
    assert all(number - place <= 50 for place, number in enumerate(order))


def test_streaming_reads_no_further_than_the_buffer(nlp, tmp_path, teacher, monkeypatch):
    (tmp_path / "raw.txt").write_text("\n".join(sentences(200)))
    annotate(teacher, [tmp_path / "raw.txt"], tmp_path / "store")
    corpus = DistillCorpus(None, tmp_path / "raw.txt", tmp_path / "store", buffer_size=10)
    made = []
    monkeypatch.setattr(
        nlp, "make_doc", lambda text, make=nlp.make_doc: made.append(text) or make(text)
    )
    assert len(list(itertools.islice(corpus(nlp), 25))) == 25
    assert len(made) <= 36


def test_gold_and_raw_alternate_in_proportion(nlp, tmp_path, teacher):
    docs = [nlp.make_doc(text) for text in sentences(40)]
    for number in range(4):  # a folder of several files
        (tmp_path / "gold").mkdir(exist_ok=True)
        write_docs(tmp_path / "gold" / f"{number}.spacy", docs[number * 10 : number * 10 + 10])
    (tmp_path / "raw.txt").write_text("\n".join(sentences(400, start=40)))
    annotate(teacher, [tmp_path / "gold", tmp_path / "raw.txt"], tmp_path / "store")
    corpus = DistillCorpus(
        tmp_path / "gold", tmp_path / "raw.txt", tmp_path / "store", shuffle=False
    )
    order = texts_of(corpus(nlp))
    gold = set(sentences(40))
    for start in range(0, 440, 110):
        assert 6 <= sum(text in gold for text in order[start : start + 110]) <= 14


def test_languages_alternate(nlp, tmp_path, teacher):
    """Every part of a pass has documents of every file of a folder, in proportion."""
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "de.txt").write_text("\n".join(sentences(60)))
    (tmp_path / "raw" / "en.txt").write_text("\n".join(sentences(20, start=60)))
    annotate(teacher, [tmp_path / "raw"], tmp_path / "store")
    corpus = DistillCorpus(None, tmp_path / "raw", tmp_path / "store", shuffle=False)
    order = texts_of(corpus(nlp))
    english = sentences(20, start=60)
    assert [text for text in order if text in english] == english
    for start in range(0, 80, 20):
        assert 3 <= sum(text in english for text in order[start : start + 20]) <= 7


def test_round_trip_through_a_docbin(nlp, tmp_path, gold, store):
    docs = list(DocBin().from_disk(gold).get_docs(spacy.blank("de").vocab))
    write_docs(tmp_path / "again.spacy", docs)
    examples = list(DistillCorpus(tmp_path / "again.spacy", None, store)(nlp))
    assert len(examples) == 6
    assert all(get_target(example.reference, "ner") for example in examples)


def test_unknown_spaces_are_the_same_on_both_sides(nlp, tmp_path, teacher):
    write_docs(tmp_path / "words.spacy", [Doc(nlp.vocab, words=["no", "spaces", "known"])])
    annotate(teacher, [tmp_path / "words.spacy"], tmp_path / "store")
    [example] = DistillCorpus(tmp_path / "words.spacy", None, tmp_path / "store")(nlp)
    assert len(scores_of(example.reference)) == 3


def test_targets_for_no_component_of_the_pipeline(gold, texts, store):
    nlp = spacy.blank("xx")
    nlp.add_pipe("skd_ner", name="entities")
    with pytest.raises(ValueError, match=r"for the component ner, .* has only entities"):
        next(iter(DistillCorpus(gold, texts, store)(nlp)))


def test_a_component_that_was_not_initialised_learns_how_long_the_run_is(gold, texts, store):
    nlp = spacy.blank("xx")
    objective = nlp.add_pipe("skd_ner", name="ner").objective
    nlp.config["training"]["max_steps"] = 40
    assert not objective.started
    next(iter(DistillCorpus(gold, texts, store)(nlp)))
    assert objective.started and objective.weight.value == 1
    objective.finish_step()
    next(iter(DistillCorpus(gold, texts, store)(nlp)))  # a second pass does not start anew
    assert objective.weight.value == pytest.approx(1 - 1 / 40)


def test_objectives_of_other_components_are_left_alone(nlp, gold):
    @Language.component("with_an_objective")
    def component(doc):
        return doc

    component.objective = "win"
    nlp.add_pipe("with_an_objective")
    assert len(list(DistillCorpus(gold)(nlp))) == 6
