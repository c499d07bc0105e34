"""Every kind of parser taught by every other: cases 1b and 2b among them, through the component."""

import warnings

import numpy as np
import pytest
from spacy.tokens import Doc
from spacy.training import Example

from spacy_skd.distill.arc_targets import sentence_targets
from spacy_skd.distill.attached import get_target, set_target
from spacy_skd.distill.targets import Target, describe, stored_scores
from spacy_skd.training.splitting import split_doc

from .tiny import train, tree_of
from .tree_cases import GOLD, TEXTS, blank, trained

TEACHERS = ["heads", "tree", "second order", "labels"]
STUDENTS = ["heads", "tree", "projective", "second order", "labels"]
OBJECTIVES = [
    {"take": "top_wk", "k": 3},
    {"temperature": 2.0},
    {"temperature": 2.0, "temperature_scope": "local"},
    {"@losses": "spacy-skd.TokenKD.v1"},
    {"@losses": "spacy-skd.SubstructureKD.v1", "match": "kl"},
]


@pytest.fixture(scope="module", params=TEACHERS)
def teacher(request):
    return trained(request.param).get_pipe("parser")


def taught(teacher, docs: list[Doc]) -> list[Example]:
    """Examples of documents that have nothing but the teacher's targets."""
    predicted = teacher.predict(docs)
    record = describe(predicted, "parser")
    for doc, scores in zip(docs, stored_scores(predicted)):
        set_target(doc, Target(record, scores, len(doc)))
    return [Example(Doc(doc.vocab, words=[token.text for token in doc]), doc) for doc in docs]


@pytest.mark.parametrize("kind", STUDENTS)
def test_a_student_learns_from_its_teacher_alone(kind, teacher, tmp_path):
    nlp = blank(kind)
    examples = taught(teacher, [nlp.make_doc(text) for text in TEXTS])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train(nlp, examples, steps=80)
    n_learnt = 3 if kind == "projective" else 4
    assert [tree_of(nlp(text)) for text in TEXTS][:n_learnt] == GOLD[:n_learnt]
    again = blank(kind)
    nlp.to_disk(tmp_path)
    again.from_disk(tmp_path)
    assert [tree_of(again(text)) for text in TEXTS] == [tree_of(nlp(text)) for text in TEXTS]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_other_objectives(objective):
    teacher = trained("heads").get_pipe("parser")
    nlp = blank("heads")
    nlp.replace_pipe(
        "parser",
        "skd_parser",
        config={
            "model": nlp.get_pipe_config("parser")["model"],
            "objective": {"@losses": "spacy-skd.StructuralKD.v1"} | objective,
        },
    )
    train(nlp, taught(teacher, [nlp.make_doc(text) for text in TEXTS]), steps=80)
    assert [tree_of(nlp(text)) for text in TEXTS] == GOLD


def test_sentences_of_the_teacher_are_those_of_the_student():
    """Raw documents bring no boundaries: the student sees the sentences that the teacher saw."""
    teacher = trained("heads").get_pipe("parser")
    nlp = blank("heads")
    words = " ".join(TEXTS[:2]).split()
    doc = Doc(nlp.vocab, words=words, sent_starts=[i in (0, 4) for i in range(len(words))])
    [example] = taught(teacher, [doc])
    bare = Doc(nlp.vocab, words=words)
    bare.user_data = doc.user_data
    example = Example(example.predicted, bare)
    component = nlp.get_pipe("parser")
    nlp.initialize(lambda: [example])
    component.update([example])
    assert [len(sentence) for sentence in example.predicted.sents] == [4, 3]


def test_a_sentence_that_the_teacher_did_not_see_has_no_target():
    teacher = trained("heads").get_pipe("parser")
    nlp = blank("heads")
    words = " ".join(TEXTS[:2]).split()
    [example] = taught(teacher, [Doc(nlp.vocab, words=words)])
    nlp.initialize(lambda: [example])
    starts = [i in (0, 4) for i in range(len(words))]
    cut = Example(Doc(nlp.vocab, words=words, sent_starts=starts), example.reference)
    component = nlp.get_pipe("parser")
    structure, _ = component.model.begin_update([cut.predicted])
    with pytest.warns(UserWarning, match=r"2 of the 2 sentences.*the teacher saw other sentences"):
        assert component.targets_of([cut], structure) == [[], []]
    whole, _ = component.model.begin_update([Doc(nlp.vocab, words=words)])
    [[target]] = component.targets_of([example], whole)
    assert len(target) == len(words)
    assert np.isfinite(component.update([cut], sgd=False)["parser"])


def test_documents_are_split_where_the_teachers_sentences_end():
    teacher = trained("heads").get_pipe("parser")
    nlp = blank("heads")
    words = " ".join(TEXTS[:3]).split()
    starts = [i in (0, 4, 7) for i in range(len(words))]
    doc = Doc(nlp.vocab, words=words, sent_starts=starts)
    taught(teacher, [doc])
    bare = Doc(nlp.vocab, words=words)
    bare.user_data = doc.user_data
    pieces = split_doc(bare, max_length=6)
    assert [len(piece) for piece in pieces] == [4, 6]
    for piece, lengths in zip(pieces, ([4], [3, 3])):
        target = get_target(piece, "parser")
        assert [len(part) for part in sentence_targets(target, lengths)] == lengths
