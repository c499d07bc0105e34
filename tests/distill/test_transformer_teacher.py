"""A teacher as spaCy's released transformer pipelines are, `transformer`, `tagger`, `parser`,
`attribute_ruler`, `lemmatizer`, `ner`: it is distilled as it is."""

import warnings
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("spacy_transformers")

import spacy  # noqa: E402
from spacy.cli._util import app  # noqa: E402
from spacy.language import Language  # noqa: E402
from spacy.lookups import Lookups  # noqa: E402
from spacy.util import fix_random_seed  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from spacy_skd.distill.store import TargetStore  # noqa: E402
from spacy_skd.training.corpus import DistillCorpus  # noqa: E402

from ..pipeline.tiny import entities_of, train, tree_of  # noqa: E402
from ..tiny_transformer import write_transformer  # noqa: E402
from .stock import MORPH_OF, POS_OF, TEXTS, TRANSITIONS, examples  # noqa: E402
from .test_any_teacher import CRF, MAXENT, PARSER  # noqa: E402

LISTENER = {
    "@architectures": "spacy-transformers.TransformerListener.v1",
    "grad_factor": 1.0,
    "pooling": {"@layers": "reduce_mean.v1"},
}
TARGETS = ["tagger", "parser", "attribute_ruler", "attribute_ruler_pos", "ner"]
SAID = [
    "'tagger': softmax over 7 tags",
    "'parser': its best tree alone",
    "'attribute_ruler': the token.morph of its patterns ('attribute_ruler') and the token.pos of "
    "its patterns ('attribute_ruler_pos')",
    "'ner': its best entities alone",
    "not 'transformer': it assigns doc._.trf_data, which no student learns",
    "not 'lemmatizer': it assigns token.lemma, which no student learns",
]


def released_pipeline(folder: Path) -> Language:
    """Trained components that listen to one transformer, and rules between them."""
    nlp = spacy.blank("en", meta={"name": "core_web_trf"})
    transformer = {
        "@architectures": "spacy-transformers.TransformerModel.v3",
        "name": write_transformer(folder / "pretrained"),
        "tokenizer_config": {"use_fast": True},
        "transformer_config": {},
        "mixed_precision": False,
        "grad_scaler_config": {},
        "get_spans": {
            "@span_getters": "spacy-transformers.strided_spans.v1",
            "window": 128,
            "stride": 96,
        },
    }
    transitions = TRANSITIONS | {"tok2vec": LISTENER}
    nlp.add_pipe("transformer", config={"model": transformer})
    tagger = {"@architectures": "spacy.Tagger.v2", "nO": None, "tok2vec": LISTENER}
    nlp.add_pipe("tagger", config={"model": tagger})
    parser = {"model": transitions | {"state_type": "parser"}, "min_action_freq": 1}
    nlp.add_pipe("parser", config=parser)
    ruler = nlp.add_pipe("attribute_ruler")
    nlp.add_pipe("ner", config={"model": transitions | {"state_type": "ner"}})
    gold = examples(nlp)
    fix_random_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optimizer = nlp.initialize(lambda: gold)
        optimizer.learn_rate = 0.003
        for _ in range(60):
            nlp.update(gold, sgd=optimizer)
    for tag, pos in POS_OF.items():
        ruler.add([[{"TAG": tag}]], {"POS": pos, "MORPH": MORPH_OF.get(tag, "_")})
    lookups = Lookups()
    lookups.add_table("lemma_lookup", {"ships": "ship", "sees": "see"})
    lemmatizer = nlp.add_pipe("lemmatizer", before="ner", config={"mode": "lookup"})
    lemmatizer.initialize(lookups=lookups)
    return nlp


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The teacher, texts, and the targets that the command leaves."""
    folder = tmp_path_factory.mktemp("released")
    released_pipeline(folder).to_disk(folder / "en_core_web_trf")
    (folder / "texts.txt").write_text("\n".join(TEXTS), encoding="utf8")
    words = ["skd", "annotate", folder / "en_core_web_trf", folder / "texts.txt"]
    result = CliRunner().invoke(app, [*map(str, words), "--output", str(folder / "store")])
    assert result.exit_code == 0, result.output
    (folder / "said.txt").write_text(result.output, encoding="utf8")
    return folder


def test_it_is_said_what_teaches(folder):
    said = " ".join((folder / "said.txt").read_text(encoding="utf8").split())
    assert all(line in said for line in SAID)
    assert sorted(TargetStore(folder / "store").teachers) == sorted(TARGETS)


def test_rules_between_components_that_teach_see_what_these_say(folder):
    store, teacher = TargetStore(folder / "store"), spacy.load(folder / "en_core_web_trf")
    for doc in map(teacher, TEXTS):
        assert [token.lemma_ for token in doc if token.text == "ships"] in ([], ["ship"])
        for name, predicted in (
            ("tagger", [token.tag_ for token in doc]),
            ("attribute_ruler_pos", [token.pos_ for token in doc]),
            ("attribute_ruler", [str(token.morph) or "_" for token in doc]),
        ):
            target = store.get(doc)[name]
            told = [
                (target.teacher.labels[row.argmax()], label)
                for row, label in zip(target.scores, predicted)
                if row.any()  # the rulers' patterns do not know all tags
            ]
            assert told and all(found == wanted for found, wanted in told)


def test_a_student_of_all_its_components(folder):
    teacher, student = spacy.load(folder / "en_core_web_trf"), spacy.blank("en")
    student.add_pipe("skd_tagger", name="tagger", config={"model": MAXENT, "attribute": "tag"})
    student.add_pipe("skd_parser", name="parser", config={"model": PARSER})
    for name, attribute in (("attribute_ruler", "morph"), ("attribute_ruler_pos", "pos")):
        config = {"model": MAXENT, "attribute": attribute}
        student.add_pipe("skd_tagger", name=name, config=config)
    student.add_pipe("skd_ner", name="ner", config={"model": CRF})
    corpus = DistillCorpus(None, folder / "texts.txt", folder / "store")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the last text is two sentences to the teacher
        train(student, list(corpus(student)), steps=60, learn_rate=0.005)
    assert any(entities_of(teacher(text)) for text in TEXTS[:3])
    for text in TEXTS[:3]:
        wanted, found = teacher(text), student(text)
        assert [token.tag_ for token in found] == [token.tag_ for token in wanted]
        assert tree_of(found) == tree_of(wanted)
        assert entities_of(found) == entities_of(wanted)
        for ours, theirs in zip(found, wanted):
            assert not theirs.pos_ or ours.pos_ == theirs.pos_
            assert not theirs.pos_ or str(ours.morph) == str(theirs.morph)
