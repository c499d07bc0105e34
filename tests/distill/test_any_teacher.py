"""A student of this package learns from a pipeline of spaCy's own components: targets are written
to a store, read by the corpus reader, and learnt from alone."""

import warnings

import pytest
import spacy
from catalogue import REGISTRY
from spacy.cli._util import app
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from typer.testing import CliRunner

from spacy_skd.cli.annotate import annotate
from spacy_skd.distill.store import TargetStore
from spacy_skd.training.corpus import DistillCorpus

from ..pipeline.tiny import TOK2VEC, entities_of, train, tree_of
from .stock import TEXTS, stock_pipeline

CRF = {"@architectures": "spacy-skd.LinearChainCRF.v1", "tok2vec": TOK2VEC}
MAXENT = {"@architectures": "spacy-skd.MaxEnt.v1", "tok2vec": TOK2VEC}
SPANS = {"@architectures": "spacy-skd.SpanBiaffine.v1", "tok2vec": TOK2VEC, "max_width": 4}
PARSER = {
    "@architectures": "spacy-skd.BiaffineParser.v1",
    "tok2vec": {
        "@architectures": "spacy-skd.HashEmbedRecurrent.v1",
        "width": 32,
        "depth": 1,
        "embed_size": 200,
    },
    "arc_width": 32,
    "relation_width": 16,
}


def taught(teacher: Language, name: str, factory: str, config: dict, folder, steps=60) -> Language:
    """A pipeline with one component that has learnt from a teacher's targets and nothing else."""
    texts = folder / "texts.txt"
    texts.write_text("\n".join(TEXTS), encoding="utf8")
    annotate(teacher, [texts], folder / "store", components=[name])
    nlp = spacy.blank("en")
    nlp.add_pipe(factory, name=name, config=config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = list(DistillCorpus(None, texts, folder / "store")(nlp))
        train(nlp, found, steps=steps, learn_rate=0.005)
    return nlp


def texts_as(function, nlp):
    return [function(nlp(text)) for text in TEXTS]


@pytest.mark.parametrize("model", [CRF, MAXENT, SPANS, SPANS | {"loss": "local"}])
@pytest.mark.parametrize("name", ["ner", "beam_ner"])
def test_entities(name, model, tmp_path):
    teacher = stock_pipeline(name)
    student = taught(teacher, name, "skd_ner", {"model": model}, tmp_path)
    assert any(texts_as(entities_of, teacher))
    assert texts_as(entities_of, student) == texts_as(entities_of, teacher)


def test_entities_of_a_rule(tmp_path):
    teacher = spacy.blank("en", meta={"name": "rules"})
    ruler = teacher.add_pipe("entity_ruler", name="ner")
    ruler.add_patterns(
        [{"label": "LOC", "pattern": "New York"}, {"label": "PER", "pattern": "Ada"}]
    )
    student = taught(teacher, "ner", "skd_ner", {"model": CRF}, tmp_path)
    assert texts_as(entities_of, student) == texts_as(entities_of, teacher)


@pytest.mark.parametrize("name", ["spancat", "single"])
def test_spans(name, tmp_path):
    teacher = stock_pipeline(name)
    config = {"model": SPANS | {"loss": "local"}, "spans_key": "sc"}
    student = taught(teacher, name, "skd_ner", config, tmp_path)

    def spans_of(doc):
        return sorted((span.start, span.end, span.label_) for span in doc.spans["sc"])

    assert any(texts_as(spans_of, teacher))
    assert texts_as(spans_of, student) == texts_as(spans_of, teacher)
    flat = taught(teacher, name, "skd_ner", {"model": CRF}, tmp_path)
    assert texts_as(entities_of, flat) == texts_as(spans_of, teacher)


@pytest.mark.parametrize(
    "name, attribute",
    [
        ("tagger", "tag"),
        ("morphologizer_pos", "pos"),
        ("morphologizer", "morph"),
        ("morphologizer_analyses", "morph+pos"),
    ],
)
def test_tags(name, attribute, tmp_path):
    teacher = stock_pipeline(name.partition("_")[0])
    config = {"model": MAXENT, "attribute": attribute}
    student = taught(teacher, name, "skd_tagger", config, tmp_path)

    def tags_of(doc):
        said = {"tag": "tag_", "pos": "pos_", "morph": "morph"}
        parts = [said[part] for part in attribute.split("+")]
        return [[str(getattr(token, part)) for part in parts] for token in doc]

    assert texts_as(tags_of, student) == texts_as(tags_of, teacher)


@pytest.mark.parametrize("name", ["parser", "beam_parser"])
def test_trees(name, tmp_path):
    teacher = stock_pipeline(name)
    student = taught(teacher, name, "skd_parser", {"model": PARSER}, tmp_path)
    for text in TEXTS:
        wanted = teacher(text)
        doc = student.make_doc(text)
        for token in doc:
            token.is_sent_start = wanted[token.i].is_sent_start
        assert tree_of(student(doc)) == tree_of(wanted)


def test_trees_beside_gold_with_other_relations(tmp_path):
    """A parser knows ROOT and no rare relations; the annotation says root, and has one."""
    teacher = stock_pipeline("parser")
    texts, gold = tmp_path / "texts.txt", tmp_path / "gold.spacy"
    texts.write_text("\n".join(TEXTS[:2]), encoding="utf8")
    relations = ["obl:rare", "nsubj", "root"]
    doc = Doc(teacher.vocab, words=["Nowhere", "Eve", "sails"], heads=[2, 2, 2], deps=relations)
    DocBin(docs=[doc]).to_disk(gold)
    annotate(teacher, [texts, gold], tmp_path / "store")

    def trained(steps, **settings):
        nlp = spacy.blank("en")
        nlp.add_pipe("skd_parser", name="parser", config={"model": PARSER})
        corpus = DistillCorpus(gold, texts, tmp_path / "store", **settings)
        train(nlp, list(corpus(nlp)), steps=steps, learn_rate=0.005)
        return nlp

    student = trained(40, label_map={"parser": {"ROOT": "root"}})
    assert "ROOT" not in student.get_pipe("parser").labels
    assert "obl:rare" in student.get_pipe("parser").labels
    for text in TEXTS[:2]:
        heads, relations = tree_of(teacher(text))
        wanted = [relation.replace("ROOT", "root") for relation in relations]
        assert tree_of(student(student.make_doc(text))) == (heads, wanted)
    with pytest.warns(UserWarning, match="relations 'ROOT' and 'root', whose names differ"):
        trained(1)


def test_trees_whose_relations_mean_others_or_nothing(tmp_path):
    teacher = stock_pipeline("parser")
    names = {"amod": "mod", "advmod": "mod", "flat:name": None}
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(TEXTS[:3]), encoding="utf8")
    annotate(teacher, [texts], tmp_path / "store")
    student = spacy.blank("en")
    student.add_pipe("skd_parser", name="parser", config={"model": PARSER})
    corpus = DistillCorpus(None, texts, tmp_path / "store", label_map={"parser": names})
    train(student, list(corpus(student)), steps=60, learn_rate=0.005)
    labels = student.get_pipe("parser").labels
    assert "mod" in labels and not {"amod", "advmod", "flat:name", "", None} & set(labels)
    n_dropped = 0
    for text in TEXTS[:3]:
        wanted, found = tree_of(teacher(text)), tree_of(student(student.make_doc(text)))
        assert found[0] == wanted[0]
        for relation, of_student in zip(wanted[1], found[1]):
            n_dropped += relation == "flat:name"
            assert of_student == names.get(relation, relation) or relation == "flat:name"
    assert n_dropped


def test_a_beam_is_asked_for(tmp_path):
    stock_pipeline("ner").to_disk(tmp_path / "teacher")
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(TEXTS), encoding="utf8")

    def run(*options, store="store"):
        words = ["skd", "annotate", tmp_path / "teacher", texts, "--output", tmp_path / store]
        return CliRunner().invoke(app, [*map(str, words), *options])

    assert "'ner': its best entities alone" in run().output
    result = run("--beam-width", "4")
    assert result.exit_code == 1 and "but the teacher is now" in " ".join(result.output.split())
    assert "'ner': the 4 best of a beam" in run("--beam-width", "4", store="beam").output
    doc = spacy.blank("en").make_doc(TEXTS[0])
    n_candidates = [
        len(set(TargetStore(tmp_path / store).get(doc)["ner"].scores["candidate"].tolist()))
        for store in ("store", "beam")
    ]
    assert n_candidates[0] == 1 < n_candidates[1] <= 4


def sentencizer() -> Language:
    nlp = spacy.blank("en", meta={"name": "rules"})
    nlp.add_pipe("sentencizer")
    return nlp


@pytest.mark.parametrize("name", ["senter", "sentencizer"])
def test_sentences(name, tmp_path):
    teacher = stock_pipeline("senter") if name == "senter" else sentencizer()
    config = {"model": MAXENT, "attribute": "sent_start"}
    student = taught(teacher, name, "skd_tagger", config, tmp_path)
    assert student.get_pipe(name).labels == ("I", "S")

    def sentences(doc):
        return [sentence.text for sentence in doc.sents]

    assert texts_as(sentences, student) == texts_as(sentences, teacher)


def test_what_is_said(tmp_path, capsys):
    teacher = stock_pipeline("tagger", "beam_ner")
    teacher.add_pipe("sentencizer")
    teacher.add_pipe("doc_cleaner")
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(TEXTS), encoding="utf8")
    annotate(teacher, [texts], tmp_path / "store")
    said = capsys.readouterr().out
    assert "'tagger': softmax over 7 tags" in said and "'beam_ner': the 8 best of a beam" in said
    assert "'sentencizer': the token.is_sent_start that it sets" in said
    assert "not 'doc_cleaner': it does not say what it assigns" in said
    annotate(teacher, [texts], tmp_path / "other", components=["tagger"])
    said = capsys.readouterr().out
    assert "'tagger'" in said and "sentencizer" not in said and "beam_ner" not in said


CODE = """
import numpy as np
from spacy.language import Language
from spacy_skd.distill.adapters import Reader, teachers
from spacy_skd.structures import Token


class CapitalReader(Reader):
    def predict(self, docs):
        return [[token.is_title for token in doc] for doc in docs]

    def read(self, docs, prediction):
        capitals = np.asarray(sum(prediction, []), dtype="float32")
        scores = np.stack([0 * capitals, 5 * capitals], axis=1)
        return {self.name: Token(scores, [len(doc) for doc in docs], labels=["small", "Capital"])}


@Language.component("capitals")
def capitals(doc):
    return doc


@teachers("test_capitals")
def read_capitals(nlp, name, component):
    return CapitalReader(name, component, "capitals") if component is capitals else None
"""


def test_an_adapter_in_a_file_of_code(tmp_path):
    texts, code = tmp_path / "texts.txt", tmp_path / "capitals.py"
    texts.write_text("\n".join(TEXTS), encoding="utf8")
    code.write_text(CODE, encoding="utf8")
    (tmp_path / "teacher").mkdir()
    runner = CliRunner()
    nlp = spacy.blank("en", meta={"name": "capitals"})
    nlp.to_disk(tmp_path / "teacher")
    config = nlp.config.copy()
    config["nlp"]["pipeline"] = ["tagger"]
    config["components"] = {"tagger": {"factory": "capitals"}}
    config.to_disk(tmp_path / "teacher" / "config.cfg")
    arguments = ["skd", "annotate", str(tmp_path / "teacher"), str(texts)]
    try:
        result = runner.invoke(
            app, [*arguments, "-o", str(tmp_path / "store"), "--code", str(code)]
        )
        assert result.exit_code == 0, result.output
        assert "'tagger': capitals" in result.output
        target = TargetStore(tmp_path / "store").get(nlp.make_doc(TEXTS[0]))["tagger"]
        assert target.scores.argmax(axis=1).tolist() == [1, 0, 0, 0]
    finally:
        REGISTRY.pop(("spacy_skd", "teachers", "test_capitals"), None)
