"""A whole pipeline distilled at once: tags, morphology, trees and entities over one encoder."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import spacy
from spacy.cli.train import train as train_pipeline
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from spacy.training import Example
from spacy.util import load_config, load_model_from_config

from spacy_skd.cli.annotate import annotate
from spacy_skd.distill.store import TargetStore
from spacy_skd.training.corpus import DistillCorpus

from ..test_package import run
from .tiny import MORPH_OF, POS_OF, entities_of, spans_of, train, tree_of

CONFIG = Path(__file__).parents[2] / "configs" / "student_pipeline.cfg"
TASKS = ["tagger", "morphologizer", "parser", "ner"]
LEARN_RATE = 0.005
TINY = {
    "components.tok2vec.model.width": 32,
    "components.tok2vec.model.depth": 1,
    "components.tok2vec.model.embed_size": 200,
    "components.ner.model.hidden_width": 16,
    "training.dropout": 0.0,
    "training.eval_frequency": 50,
    "training.optimizer.learn_rate.warmup_steps": 5,
    "training.optimizer.learn_rate.initial_rate": 2 * LEARN_RATE,
}
SENTENCES = [
    ("Ada sees old ships", "NNP VBZ JJ NNS", [1, 1, 3, 1], "nsubj ROOT amod obj", [(0, 1, "PER")]),
    ("Bob paints ships", "NNP VBZ NNS", [1, 1, 1], "nsubj ROOT obj", [(0, 1, "PER")]),
    ("old Oslo sleeps", "JJ NNP VBZ", [1, 2, 2], "amod nsubj ROOT", [(1, 2, "LOC")]),
    (
        "Bob sees New York",
        "NNP VBZ NNP NNP",
        [1, 1, 3, 1],
        "nsubj ROOT compound obj",
        [(0, 1, "PER"), (2, 4, "LOC")],
    ),
]
TEXTS = [text for text, *_ in SENTENCES]


def whole_docs(nlp: Language, only: str = "") -> list[Doc]:
    """The sentences with annotation for all components, or for one of them."""
    docs = []
    for text, tags, heads, relations, entities in SENTENCES:
        annotation = {
            "tagger": {"tags": tags.split()},
            "morphologizer": {
                "morphs": [MORPH_OF[tag] for tag in tags.split()],
                "pos": [POS_OF[tag] for tag in tags.split()],
            },
            "parser": {"heads": heads, "deps": relations.split()},
            "ner": {},
        }
        chosen = [annotation[task] for task in TASKS if only in ("", task)]
        known = {key: values for layer in chosen for key, values in layer.items()}
        doc = Doc(nlp.vocab, words=text.split(), **known)
        if only in ("", "ner"):
            doc.set_ents(spans_of(doc, entities))
        docs.append(doc)
    return docs


def examples(docs: Iterable[Doc]) -> list[Example]:
    return [Example(Doc(doc.vocab, words=[token.text for token in doc]), doc) for doc in docs]


def blank_pipeline() -> Language:
    config = load_config(CONFIG, overrides=TINY, interpolate=True)
    return load_model_from_config(config, auto_fill=True)


def learn(nlp: Language, examples: list[Example]) -> None:
    # Four tasks push one encoder at once: the rate that suits one of them is too high.
    train(nlp, examples, steps=100, learn_rate=LEARN_RATE)


def predicted(nlp: Language) -> list:
    return [
        (
            [token.tag_ for token in doc],
            [(token.pos_, str(token.morph)) for token in doc],
            tree_of(doc),
            entities_of(doc),
        )
        for doc in nlp.pipe(TEXTS)
    ]


GOLD = [
    (
        tags.split(),
        [(POS_OF[tag], MORPH_OF[tag]) for tag in tags.split()],
        (heads, relations.split()),
        entities,
    )
    for _, tags, heads, relations, entities in SENTENCES
]


@pytest.fixture(scope="module")
def teacher():
    nlp = blank_pipeline()
    learn(nlp, examples(whole_docs(nlp)))
    return nlp


@pytest.fixture(scope="module")
def folder(teacher, tmp_path_factory):
    """Corpora, the targets of all the teacher's components, and the student that `spacy train`
    makes of them from raw text alone."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "raw.txt").write_text("\n".join(TEXTS) + "\n", encoding="utf8")
    DocBin(docs=whole_docs(teacher)).to_disk(folder / "dev.spacy")
    annotate(teacher, [folder / "raw.txt"], folder / "targets")
    paths = {
        "paths.raw": str(folder / "raw.txt"),
        "paths.targets": str(folder / "targets"),
        "paths.dev": str(folder / "dev.spacy"),
    }
    train_pipeline(CONFIG, folder, overrides={**TINY, **paths, "training.max_steps": 100})
    return folder


@pytest.fixture
def student(folder):
    return spacy.load(folder / "model-best")


def test_the_teacher_learns_all_tasks_at_once(teacher):
    assert predicted(teacher) == GOLD


def test_all_components_of_a_teacher_teach(folder):
    assert sorted(TargetStore(folder / "targets").teachers) == sorted(TASKS)


def test_a_student_predicts_as_its_teacher(teacher, student):
    assert predicted(student) == predicted(teacher)
    for name in TASKS:
        assert student.get_pipe(name).labels == teacher.get_pipe(name).labels


def test_the_encoder_is_shared(student):
    encoder = student.get_pipe("tok2vec")
    assert sorted(encoder.listening_components) == sorted(TASKS)
    doc = student.make_doc(TEXTS[0])
    encoder.set_annotations([doc], encoder.predict([doc]))
    for name in TASKS:
        listener = student.get_pipe(name).model.get_ref("tok2vec")
        np.testing.assert_array_equal(listener.predict([doc])[0], doc.tensor)


def test_saved_and_loaded_it_predicts_the_same(student, tmp_path):
    student.to_disk(tmp_path)
    again = spacy.load(tmp_path)
    assert predicted(again) == predicted(student)
    from_bytes = blank_pipeline().from_bytes(student.to_bytes())
    assert predicted(from_bytes) == predicted(student)


def test_paths_of_this_machine_are_not_saved(student):
    assert not any(student.config["paths"].values())


@pytest.mark.parametrize("name", TASKS)
def test_a_part_of_the_pipeline_predicts_the_same(name, student):
    place = TASKS.index(name)
    whole = [prediction[place] for prediction in predicted(student)]
    with student.select_pipes(enable=["tok2vec", name]):
        assert [prediction[place] for prediction in predicted(student)] == whole
    with student.select_pipes(disable=[name]):
        others = [prediction[place] for prediction in predicted(student)]
    assert others != whole


@pytest.mark.parametrize("name", TASKS)
def test_a_component_may_take_the_encoder_along(name, student, tmp_path):
    """As spaCy does for a component that another pipeline sources."""
    expected = predicted(student)
    student.replace_listeners("tok2vec", name, ["model.tok2vec"])
    assert predicted(student) == expected
    with student.select_pipes(enable=[name]):
        place = TASKS.index(name)
        found = [prediction[place] for prediction in predicted(student)]
    assert found == [prediction[place] for prediction in expected]
    student.to_disk(tmp_path)
    assert predicted(spacy.load(tmp_path)) == expected


def test_documents_of_nothing_among_others(student):
    docs = list(student.pipe(["", TEXTS[0], " ", ""]))
    assert [len(doc) for doc in docs] == [0, 4, 1, 0]
    assert tree_of(docs[1]) == tree_of(student(TEXTS[0]))
    assert next(iter(student.pipe([""]))).text == ""


def test_scores_of_all_tasks(student):
    scores = student.evaluate(examples(whole_docs(student)))
    for score in ("tag_acc", "pos_acc", "morph_acc", "dep_uas", "dep_las", "ents_f"):
        assert scores[score] == 1.0


def test_noun_chunks(student):
    """Of trees and parts of speech."""
    chunks = [[chunk.text for chunk in doc.noun_chunks] for doc in student.pipe(TEXTS)]
    assert chunks == [["Ada"], ["Bob"], ["old Oslo"], ["Bob"]], "objects are dobj in spaCy's rules"


def test_every_document_may_be_annotated_for_one_task_alone():
    """What is missing is missing: no task unlearns from the documents of the others."""
    nlp = blank_pipeline()
    docs = [doc for task in TASKS for doc in whole_docs(nlp, only=task)]
    learn(nlp, examples(docs))
    assert predicted(nlp) == GOLD


def test_the_targets_of_the_tasks_may_be_in_several_stores(teacher, tmp_path):
    """Teachers may be annotated task by task."""
    raw = tmp_path / "raw.txt"
    raw.write_text("\n".join(TEXTS) + "\n", encoding="utf8")
    for name, components in (("first", TASKS[:2]), ("second", TASKS[2:])):
        annotate(teacher, [raw], tmp_path / name, components=components)
    nlp = blank_pipeline()
    corpus = DistillCorpus(None, raw, [tmp_path / "first", tmp_path / "second"])
    learn(nlp, list(corpus(nlp)))
    assert predicted(nlp) == GOLD


def test_it_is_served_without_torch(folder):
    code = """
        import spacy

        nlp = spacy.load(sys.argv[1])
        docs = list(nlp.pipe(sys.argv[2:]))
        for doc in docs:
            print([(t.tag_, str(t.morph), t.head.i, t.dep_, t.ent_type_) for t in doc])
        assert not {"torch", "transformers", "spacy_transformers"} & set(sys.modules)
        """
    done = run(code, str(folder / "model-best"), *TEXTS)
    docs = spacy.load(folder / "model-best").pipe(TEXTS)
    assert done.stdout.splitlines() == [
        str([(t.tag_, str(t.morph), t.head.i, t.dep_, t.ent_type_) for t in doc]) for doc in docs
    ], done.stderr
