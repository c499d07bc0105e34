"""`token._.barred_labels`: what a token must not be, and the best that is left."""

import pickle
import warnings

import numpy as np
import pytest
from spacy.tokens import DocBin, Token

from spacy_skd.pipeline.barred_labels import register_barred_labels

from .conftest import copy_of, trained_ner
from .tiny import TAGGED, blank, entities_of, entity_examples, tag_examples, train

TEXT = "Bob met Ada Lovelace in Oslo"
UNKNOWN = "ignore:token._.barred_labels has 'unknown':UserWarning"
ALL = 5000  # analyses: more than short sentences with a few labels have


def barred(nlp, text, labels):
    doc = nlp.make_doc(text)
    for token, names in labels.items():
        doc[token]._.barred_labels = names
    return doc


def span_pipeline(loss):
    nlp = blank(architecture="SpanBiaffine")
    config = {"model": nlp.get_pipe_config("ner")["model"] | {"max_width": 3, "loss": loss}}
    nlp.remove_pipe("ner")
    nlp.add_pipe("skd_ner", name="ner", config=config)
    train(nlp, entity_examples(nlp))
    return nlp


@pytest.fixture(scope="module", params=["LinearChainCRF", "MaxEnt", "exact", "local"])
def any_ner(request):
    if request.param in ("exact", "local"):
        return span_pipeline(request.param)
    return copy_of(trained_ner(request.param), architecture=request.param)


@pytest.mark.filterwarnings(UNKNOWN)
@pytest.mark.parametrize(
    "labels",
    [
        {0: ["PER"]},
        {3: ["PER"]},
        {2: ["PER"], 5: ["LOC"]},
        {5: ["LOC", "PER", "unknown"]},
        {number: ["PER", "LOC"] for number in range(6)},
    ],
)
def test_entities_are_the_best_without_the_barred_ones(any_ner, labels):
    found = any_ner(barred(any_ner, TEXT, labels))
    every = any_ner(TEXT)._.alternatives(ALL)
    fitting = [
        alternative
        for alternative in every
        if not any(
            span.label_ in labels.get(token.i, ()) for span in alternative.spans for token in span
        )
    ]
    expected = [(span.start, span.end, span.label_) for span in fitting[0].spans]
    assert entities_of(found) == expected
    assert entities_of(found) != entities_of(any_ner(TEXT))


def test_confidence_is_given_that_labels_are_barred(crf):
    doc = crf(barred(crf, TEXT, {0: ["PER"]}))
    span = doc.char_span(0, 3, label="PER")
    assert span._.confidence == 0
    free = crf(TEXT)
    assert free.char_span(0, 3, label="PER")._.confidence > 0.5


def test_entities_that_are_set_stay_even_if_barred(crf):
    doc = barred(crf, TEXT, {0: ["PER"], 5: ["LOC"]})
    doc.set_ents([doc.char_span(0, 3, label="PER")], default="missing")
    assert entities_of(crf(doc)) == [(0, 1, "PER"), (2, 4, "PER")]


def test_batches_of_documents_with_and_without(ner):
    docs = [ner.make_doc(TEXT), barred(ner, TEXT, {0: ["PER"]}), ner.make_doc("")]
    first, second, _ = ner.pipe(docs)
    assert entities_of(first) == entities_of(ner(TEXT))
    assert (0, 1, "PER") not in entities_of(second)


@pytest.mark.filterwarnings(UNKNOWN)
def test_tags_are_the_best_without_the_barred_ones(tagger, attribute):
    text = TAGGED[0][0]
    component = tagger.get_pipe("tagger")
    best = [unit[1] for unit in component.units(tagger(text))]
    labels = {0: [best[0]], 2: [best[2], "unknown"]}
    found = [unit[1] for unit in component.units(tagger(barred(tagger, text, labels)))]
    every = tagger(text)._.alternatives(ALL)
    expected = next(
        tags
        for tags in ([label for _, label in alternative.units] for alternative in every)
        if not any(tags[token] in names for token, names in labels.items())
    )
    assert found == expected


def test_a_tag_that_is_set_stays_even_if_barred(tagger, attribute):
    component = tagger.get_pipe("tagger")
    done = tagger(TAGGED[0][0])
    done[0]._.barred_labels = component.labels
    assert component.units(component(done))[0] == component.units(tagger(TAGGED[0][0]))[0]


def test_a_token_that_is_barred_from_all_tags():
    nlp = blank("skd_tagger")
    train(nlp, tag_examples(nlp), steps=2)
    doc = barred(nlp, "old Bob sleeps", {1: nlp.get_pipe("tagger").labels})
    with pytest.raises(ValueError, match="token 'Bob' of document 'old Bob sleeps' is barred from"):
        list(nlp.pipe([nlp.make_doc("Ada"), doc]))


@pytest.mark.parametrize("value", ["PER", [1], 3, np.array(["PER", "LOC"]), np.array([])])
def test_what_is_no_list_of_labels(crf, value):
    with pytest.raises(ValueError, match=r"'Bob' in document .* should be a list of labels"):
        crf(barred(crf, TEXT, {0: value}))


@pytest.mark.parametrize("value", [None, [], ()])
def test_an_empty_list_bars_nothing(crf, value):
    assert entities_of(crf(barred(crf, TEXT, {0: value}))) == entities_of(crf(TEXT))


def test_misspelt_labels_are_warned_of(crf):
    with pytest.warns(UserWarning, match=r"has 'PERS', which no component has .* LOC, PER\."):
        crf(barred(crf, TEXT, {0: ["PERS"], 1: ["LOC"]}))


def test_labels_of_another_component_of_the_pipeline_are_not_warned_of(crf):
    tagger = crf.add_pipe("skd_tagger", name="tagger")
    tagger.initialize(lambda: tag_examples(crf))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        crf(barred(crf, TEXT, {0: ["PER", "NNP"]}))
    doc = barred(crf, TEXT, {0: ["NN"]})
    with pytest.warns(UserWarning, match="'NN'"):
        crf(doc)


def test_documents_that_were_written_are_still_barred(crf):
    doc = barred(crf, TEXT, {0: ["PER"]})
    expected = entities_of(crf(barred(crf, TEXT, {0: ["PER"]})))
    stored = DocBin(docs=[doc], store_user_data=True).to_bytes()
    (read,) = DocBin().from_bytes(stored).get_docs(crf.vocab)
    for copy in (read, pickle.loads(pickle.dumps(doc))):
        assert entities_of(crf.get_pipe("ner")(copy)) == expected


def test_a_rule_before_the_component(crf):
    from spacy.language import Language

    @Language.component("no_persons_named_bob")
    def no_persons_named_bob(doc):
        for token in doc:
            if token.lower_ == "bob":
                token._.barred_labels = ["PER"]
        return doc

    crf.add_pipe("no_persons_named_bob", first=True)
    assert (0, 1, "PER") not in entities_of(crf(TEXT))


def test_an_attribute_of_that_name_that_is_there_already_stays():
    before = Token.get_extension("barred_labels")
    register_barred_labels(blank().get_pipe("ner"))
    assert Token.get_extension("barred_labels") == before
