"""What is read of components that are not of this package is what they say themselves."""

import numpy as np
import pytest
import spacy
from catalogue import REGISTRY
from spacy.language import Language
from spacy.tokens import Doc, Span

from spacy_skd.distill.adapters import CannotTeach, Reader, find_reader, teachers
from spacy_skd.distill.targets import stored_scores
from spacy_skd.distill.teachers import TeacherReader, find_teachers, survey
from spacy_skd.structures import Token

from .stock import COMPONENTS, NER, TAGGER, TEXTS, TOK2VEC, docs_of, examples, read, stock_pipeline


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
