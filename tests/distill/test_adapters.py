"""What is read of components that are not of this package is what they say themselves."""

import numpy as np
import pytest
import spacy
from catalogue import REGISTRY
from spacy.language import Language
from spacy.tokens import Doc, Span

from spacy_skd.distill.adapters import CannotTeach, Reader, find_reader, teachers
from spacy_skd.distill.adapters.annotations import tell_labels
from spacy_skd.distill.adapters.spans import LEAST, MAX_WIDTH
from spacy_skd.distill.targets import stored_scores
from spacy_skd.distill.teachers import TeacherReader, find_teachers, survey
from spacy_skd.structures import Token

from .stock import (
    COMPONENTS,
    NER,
    TAGGER,
    TEXTS,
    TOK2VEC,
    docs_of,
    examples,
    read,
    stock_pipeline,
)


def pipeline_with_rules() -> Language:
    nlp = spacy.blank("en")
    patterns = [
        {"label": "LOC", "pattern": "New York"},
        {"label": "PER", "pattern": [{"ORTH": {"IN": ["Ada", "Bob"]}}]},
        {"label": "CITY", "pattern": [{"ORTH": "York"}]},
    ]
    nlp.add_pipe("entity_ruler").add_patterns(patterns)
    nlp.add_pipe("span_ruler", config={"spans_key": "found"}).add_patterns(patterns)
    nlp.add_pipe("future_entity_ruler", config={"overwrite_ents": True}).add_patterns(patterns[:2])
    return nlp


# --- spans


def test_independent_labels_of_a_span_keep_their_odds():
    nlp = stock_pipeline("spancat")
    docs = docs_of(nlp)
    spans, scores = nlp.get_pipe("spancat").predict(docs)
    structure = read(nlp, "spancat", docs)
    assert (structure.max_width, structure.labels) == (3, nlp.get_pipe("spancat").labels)
    for doc, spans_of_doc, probs in zip(
        range(len(docs)), spans, np.split(scores, np.cumsum(spans.lengths)[:-1])
    ):
        marginals = structure.select([doc]).marginals()
        nothing = 1 - marginals.sum(axis=2)
        for (start, end), wanted in zip(spans_of_doc.dataXd.tolist(), probs):
            cell = start, end - start - 1
            odds = marginals[cell] / nothing[cell]
            np.testing.assert_allclose(odds, wanted / (1 - wanted), rtol=1e-2)
    assert (scores > 0.5).any()


def test_a_span_categoriser_with_a_label_for_none_keeps_its_probabilities():
    nlp = stock_pipeline("single")
    docs = docs_of(nlp)[:1]
    spans, scores = nlp.get_pipe("single").predict(docs)
    marginals = read(nlp, "single", docs).marginals()
    first, last = spans.dataXd.T
    np.testing.assert_allclose(marginals[first, last - first - 1], scores[:, :-1], atol=10 * LEAST)
    marginals[first, last - first - 1] = 0
    assert not marginals.any()


def test_suggesters_that_do_not_tell_their_sizes():
    nlp = stock_pipeline("spancat")
    component = nlp.get_pipe("spancat")
    suggester = component.suggester
    component.suggester = lambda docs, *, ops=None: suggester(docs, sizes=[1, 20], ops=ops)
    structure = read(nlp, "spancat", [Doc(nlp.vocab, words=["ship"] * 21)])
    assert structure.max_width == MAX_WIDTH
    marginals = structure.marginals()
    assert marginals[:, 0].any() and not marginals[:, 1:].any()
    assert find_reader(nlp, "spancat").read([], None)["spancat"].max_width == MAX_WIDTH


# --- whatever annotates


def test_rules_are_their_only_candidate():
    nlp = pipeline_with_rules()
    found = survey(nlp)
    assert not found.offer.refusals
    wanted = {
        "entity_ruler": [(0, 0, "PER"), (2, 3, "LOC")],
        "span_ruler": [(0, 0, "PER"), (2, 3, "LOC"), (3, 3, "CITY")],
        "future_entity_ruler": [(0, 0, "PER"), (2, 3, "LOC")],
    }
    for name, spans in wanted.items():
        structure = read(nlp, name, docs_of(nlp)[1:2])
        assert structure.labels == tuple(sorted(nlp.get_pipe(name).labels))
        (output,) = structure.argmax()
        assert sorted((f, x, structure.labels[r]) for f, x, r in output) == spans
    assert found.readers["span_ruler"].summary == "the spans that it sets in doc.spans['found']"


class Shouter:
    """Tags words in capitals, and only those."""

    labels = ("LOUD", "_")

    def __call__(self, doc: Doc) -> Doc:
        for token in doc:
            if token.is_upper:
                token.tag_ = "LOUD"
        return doc


@Language.factory("shouter", assigns=["token.tag"])
def make_shouter(nlp, name):
    return Shouter()


def test_tags_that_are_set_are_certain_and_others_open():
    nlp = spacy.blank("en")
    nlp.add_pipe("shouter")
    structure = read(nlp, "shouter", [Doc(nlp.vocab, words=["OLD", "ships"])])
    np.testing.assert_allclose(structure.marginals(), [[1, 0], [0.5, 0.5]])
    (stored,) = stored_scores(structure)
    assert np.isfinite(stored).all()


@Language.component("finder", assigns=["doc.ents"])
def find_ships(doc: Doc) -> Doc:
    doc.ents = [Span(doc, t.i, t.i + 1, "SHIP") for t in doc if t.text == "ships"]
    return doc


def test_a_function_has_its_labels_told():
    nlp = spacy.blank("en")
    nlp.add_pipe("finder")
    doc = Doc(nlp.vocab, words=["old", "ships"])
    with pytest.raises(CannotTeach, match=r"does not tell its labels, .* with --labels"):
        find_reader(nlp, "finder")
    tell_labels(nlp, {"finder": ["SHIP", "PORT"]})
    structure = read(nlp, "finder", [doc])
    assert structure.labels == ("PORT", "SHIP")
    assert structure.topk(2) == [[(frozenset({(1, 1, 1)}), pytest.approx(0))]]
    tell_labels(nlp, {"finder": ["PORT"]})  # others do not count
    assert read(nlp, "finder", [doc]).topk(1) == [[(frozenset(), pytest.approx(0))]]
    assert not doc.ents


def test_trained_components_know_their_labels():
    with pytest.raises(ValueError, match=r"'tagger' .* has the labels that it was trained with"):
        tell_labels(stock_pipeline("tagger"), {"tagger": ["NN"]})


@Language.component("rule_parser", assigns=["token.head", "token.dep"])
@Language.component("rule_tagger", assigns=["token.tag", "token.pos"])
@Language.component("keyless", assigns=["doc.spans"])
def nothing(doc: Doc) -> Doc:
    return doc


@pytest.mark.parametrize(
    "factory, reason",
    [
        ("rule_parser", "it assigns token.head and token.dep, and trees are read of spaCy's par"),
        ("rule_tagger", "it assigns token.tag and token.pos, and one of them can be read"),
        ("keyless", "it does not tell the key of the spans"),
        ("span_finder", "the spans that it finds have no labels"),
        ("merge_entities", "it does not say what it assigns"),
        ("entity_linker", "it assigns token.ent_kb_id, which no student learns"),
    ],
)
def test_why_others_cannot_teach(factory, reason):
    nlp = spacy.blank("en")
    nlp.add_pipe(factory)
    with pytest.raises(CannotTeach, match=reason):
        find_reader(nlp, factory)


def test_an_attribute_ruler_teaches_what_its_patterns_set():
    nlp = stock_pipeline("tagger")
    ruler = nlp.add_pipe("attribute_ruler")
    ruler.load_from_tag_map(
        {
            "NNP": {"POS": "PROPN", "Number": "Sing"},
            "VBZ": {"POS": "VERB"},
            "JJ": {"POS": "ADJ"},
        }
    )
    ruler.add([[{"ORTH": "old"}]], {"LEMMA": "old"})
    names = ["attribute_ruler", "attribute_ruler_pos"]
    assert find_teachers(nlp) == ["tagger", *names]
    reader = TeacherReader(nlp, names, batch_size=4)
    assert reader.survey.readers["attribute_ruler"].summary == (
        "the token.morph of its patterns ('attribute_ruler') and the token.pos of its patterns "
        "('attribute_ruler_pos')"
    )
    [(_, _, scores)] = reader.read([(docs_of(nlp)[0], "line 1")])
    morph, pos = (reader.teachers[name].labels for name in names)
    assert (morph, pos) == (("Number=Sing", "_"), ("ADJ", "PROPN", "VERB"))
    found = scores["attribute_ruler_pos"]
    assert [pos[column] for column in found[:3].argmax(axis=1)] == ["PROPN", "VERB", "ADJ"]
    assert (found[:3].min(axis=1) < -1e4).all() and not found[3].any()
    assert [morph[column] for column in scores["attribute_ruler"][:3].argmax(1)] == [
        "Number=Sing",
        "_",
        "_",
    ]


# --- all of them


@pytest.fixture(scope="module")
def everything():
    return stock_pipeline(*COMPONENTS)


@pytest.mark.parametrize("name", COMPONENTS)
def test_reading_changes_no_document(everything, name):
    docs = docs_of(everything)
    docs[0].ents = [Span(docs[0], 0, 1, "PER")]
    before = [doc.to_bytes() for doc in docs]
    reader = find_reader(everything, name)
    reader.read(docs, reader.predict(docs))
    assert [doc.to_bytes() for doc in docs] == before


def test_reading_rules_changes_no_document():
    nlp = pipeline_with_rules()
    for name in nlp.pipe_names:
        docs = docs_of(nlp)
        docs[0].user_data["anything"] = object()
        user_data = docs[0].user_data
        read(nlp, name, docs)
        assert not any(doc.ents or doc.spans for doc in docs)
        assert docs[0].user_data is user_data


@pytest.mark.parametrize("name", COMPONENTS)
def test_annotating_is_what_the_pipeline_does(everything, name):
    docs = docs_of(everything)
    reader = find_reader(everything, name)
    reader.annotate(docs, reader.predict(docs))
    with everything.select_pipes(enable=name):
        for doc, wanted in zip(docs, everything.pipe(docs_of(everything))):
            assert doc.to_json() == wanted.to_json()


def test_everything_is_known_without_documents_and_comes_back(everything):
    names = find_teachers(everything)
    assert names == [
        *("tagger", "morphologizer", "morphologizer_pos", "senter", "ner", "beam_ner"),
        *("parser", "beam_parser", "spancat", "single"),
    ]
    reader = TeacherReader(everything, names, 3)
    described = reader.describe()
    scores = [scores for *_, scores in reader.read((doc, 0) for doc in docs_of(everything))]
    assert list(described) == list(reader.teachers) == names
    for name, teacher in reader.teachers.items():
        assert (described[name].kind, described[name].labels) == (teacher.kind, teacher.labels)
        for table, values in teacher.tables.items():
            np.testing.assert_array_equal(described[name].tables[table], values)
        assert len(scores) == len(TEXTS) and name in scores[0]


def test_documents_without_tokens(everything):
    docs = [Doc(everything.vocab), docs_of(everything)[0], Doc(everything.vocab)]
    for name in everything.pipe_names:
        structure = read(everything, name, docs)
        assert len(stored_scores(structure)[1])


def test_later_components_see_the_annotation_of_earlier_ones():
    nlp = stock_pipeline("ner")
    ruler = nlp.add_pipe("entity_ruler", first=True)
    ruler.add_patterns([{"label": "LOC", "pattern": "ships"}])
    spans = nlp.add_pipe("span_ruler", config={"spans_key": "found"}, last=True)
    spans.add_patterns([{"label": "BIG", "pattern": [{"ENT_TYPE": "LOC"}]}])
    reader = TeacherReader(nlp, find_teachers(nlp), 3)
    assert list(reader.describe()) == ["entity_ruler", "ner", "span_ruler"]
    rows = [scores for *_, scores in reader.read((doc, 0) for doc in docs_of(nlp))]
    assert rows[0]["ner"][["token", "label"]].tolist() == [(0, 1), (3, 0)]
    assert rows[0]["span_ruler"]["token"].tolist() == [3]
    assert rows[1]["span_ruler"]["token"].tolist() == [2, 3]


def test_listeners_hear_the_shared_encoder():
    nlp = spacy.blank("en")
    nlp.add_pipe("tok2vec", config={"model": TOK2VEC})
    listener = {"@architectures": "spacy.Tok2VecListener.v1", "width": 24}
    nlp.add_pipe("tagger", config={"model": TAGGER | {"tok2vec": listener}})
    nlp.add_pipe("beam_ner", config={"model": NER | {"tok2vec": listener}, "beam_width": 2})
    optimizer = nlp.initialize(lambda: examples(nlp))
    for _ in range(20):
        nlp.update(examples(nlp), sgd=optimizer)
    names = find_teachers(nlp)
    assert names == ["tagger", "beam_ner"]
    reader = TeacherReader(nlp, names, 3)
    read_docs = list(reader.read((doc, 0) for doc in docs_of(nlp)))
    for doc, (_, _, scores) in zip(nlp.pipe(docs_of(nlp)), read_docs):
        labels = [reader.teachers["tagger"].labels[n] for n in scores["tagger"].argmax(axis=1)]
        assert labels == [token.tag_ for token in doc]
        best = scores["beam_ner"][scores["beam_ner"]["candidate"] == 0]
        starts = [entity.start for entity in doc.ents] or [0]
        assert best["token"].tolist() == starts


def test_errors_of_a_beam_name_the_document():
    nlp = stock_pipeline("beam_ner")
    component = nlp.get_pipe("beam_ner")

    class Broken:
        def get_beam_parses(self, beam):
            return [(float("nan"), [])]

    reader = TeacherReader(nlp, ["beam_ner"], 2)
    reader.survey.readers["beam_ner"].component = type(
        "Component",
        (),
        {"moves": Broken(), "cfg": component.cfg, "predict": component.predict},
    )()
    with pytest.raises(ValueError, match=r"'beam_ner' fails on line 7 \('Ada sees old"):
        list(reader.read([(docs_of(nlp)[0], "line 7")]))


# --- which components teach


def test_what_is_said_of_each_component():
    nlp = stock_pipeline("tagger", "beam_ner")
    for name in ("attribute_ruler", "tok2vec", "textcat", "lemmatizer", "spancat"):
        nlp.add_pipe(name)
    nlp.add_pipe("entity_ruler")
    nlp.add_pipe("skd_ner").add_label("PER")
    nlp.add_pipe("skd_parser")
    found = survey(nlp)
    assert found.lines(["tagger", "beam_ner"], with_refusals=True) == [
        "'tagger': softmax over 7 tags",
        "'beam_ner': the 8 best of a beam",
        "not 'attribute_ruler': its patterns set neither parts of speech nor morphology",
        *(
            f"not '{name}': it assigns {what}, which no student learns"
            for name, what in (
                ("tok2vec", "doc.tensor"),
                ("textcat", "doc.cats"),
                ("lemmatizer", "token.lemma"),
            )
        ),
        "not 'spancat': it has not been trained",
        "not 'entity_ruler': it does not tell its labels, or has none: name them with --labels, "
        "give it an attribute 'labels', or register an adapter",
        "not 'skd_ner': it has not been trained",
        "not 'skd_parser': it has not been trained",
    ]
    assert found.lines(["tagger"]) == ["'tagger': softmax over 7 tags"]
    with pytest.raises(ValueError, match=r"'tok2vec' .* cannot teach: .* can: tagger, beam_ner"):
        find_teachers(nlp, ["tagger", "tok2vec"])


def test_a_component_that_teaches_several_things_is_asked_by_part(everything):
    names = ["morphologizer", "morphologizer_pos", "morphologizer_analyses"]
    assert find_teachers(everything, names[::-1]) == names
    for name in names:
        assert find_teachers(everything, [name]) == [name]
        reader = TeacherReader(everything, [name], 2)
        ((_, _, scores),) = reader.read([(docs_of(everything)[0], 0)])
        assert list(scores) == list(reader.describe()) == [name]


def test_a_morphologizer_without_features_teaches_parts_of_speech():
    nlp = stock_pipeline("morphologizer")
    component = nlp.get_pipe("morphologizer")
    component.cfg["labels_morph"] = dict.fromkeys(component.labels, "")
    assert find_teachers(nlp) == ["morphologizer"]
    assert "NOUN" in read(nlp, "morphologizer", docs_of(nlp)).labels


class Voter:
    """Knows one thing, by vote."""

    def __call__(self, doc: Doc) -> Doc:
        return doc

    def vote(self, docs):
        return [[0.0] * len(doc) for doc in docs]


@Language.factory("voter")
def make_voter(nlp, name):
    return Voter()


class VoteReader(Reader):
    def predict(self, docs):
        return self.component.vote(docs)

    def read(self, docs, prediction):
        scores = np.zeros((sum(map(len, prediction)), 1), dtype="float32")
        return {self.name: Token(scores, list(map(len, docs)), labels=["VOTE"])}


def test_adapters_of_users_come_first():
    nlp = stock_pipeline("tagger")
    nlp.add_pipe("voter")
    assert "it does not say what it assigns" in survey(nlp).offer.refusals["voter"]

    @teachers("test_voter")
    def read_votes(nlp, name, component):
        if name == "tagger":
            raise CannotTeach("it is not asked")
        return VoteReader(name, component, "its votes") if isinstance(component, Voter) else None

    try:
        found = survey(nlp)
        assert found.lines(["voter"], with_refusals=True) == [
            "'voter': its votes",
            "not 'tagger': it is not asked",
        ]
        reader = TeacherReader(nlp, ["voter"], 2)
        ((_, _, scores),) = reader.read([(docs_of(nlp)[0], 0)])
        assert scores["voter"].shape == (4, 1)
    finally:
        del REGISTRY["spacy_skd", "teachers", "test_voter"]
