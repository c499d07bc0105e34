"""What is stored of teachers of heads and trees: how much is lost, and how it comes back."""

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc

from spacy_skd.cli.annotate import annotate, report
from spacy_skd.distill.arc_records import ARC, MAX_HEADS, MAX_LOSS
from spacy_skd.distill.arc_targets import best_arcs, opening_tokens, sentence_targets
from spacy_skd.distill.arcs import TreeMarginals, as_heads
from spacy_skd.distill.store import TargetStore
from spacy_skd.distill.targets import (
    Target,
    collate,
    describe,
    document_lengths,
    kept_scores,
    stored_scores,
)
from spacy_skd.distill.teachers import TeacherReader, find_teachers
from spacy_skd.structures import (
    DenseRelations,
    HeadSelection,
    SentenceError,
    Sentences,
    SpanningTree,
)
from spacy_skd.training.documents import read_sources

from ..toy import files_of, write_docs
from .arc_structures import (
    KINDS,
    LAYOUT,
    LENGTHS,
    N_TOKENS,
    RELATIONS,
    listed_parts,
    make,
    random_arcs_of,
    random_labels,
    random_scores,
)

ROUNDING = 2.0**-10  # of float16, relative
DOCUMENTS = np.asarray([2, 0, 3])  # the third sentence begins the third document


def of_documents(structure) -> list[Target]:
    sentences = Sentences(structure, DOCUMENTS)
    record = describe(sentences, "parser")
    return [
        Target(record, scores, int(length))
        for scores, length in zip(stored_scores(sentences), document_lengths(sentences))
    ]


def of_sentences(structure) -> list[Target]:
    record = describe(structure, "parser")
    pairs = zip(stored_scores(structure), structure.lengths)
    return [Target(record, scores, int(length)) for scores, length in pairs]


def joint(structure):
    """p(head, relation) at all cells, (cells, R)."""
    arcs = structure.flat_marginals()
    tokens = np.repeat(np.arange(structure.layout.n_tokens), structure.layout.widths)
    heads = np.arange(structure.layout.n_cells) - structure.layout.row_starts[tokens]
    return arcs[:, None] * np.exp(structure.relation_log_probs(tokens, heads))


# --- what is kept


@pytest.mark.parametrize("scale", [0.5, 2.0, 6.0])
@pytest.mark.parametrize("kind", KINDS)
def test_what_comes_back_is_the_teacher_but_for_little(kind, scale):
    teacher = random_arcs_of(kind, np.random.default_rng(111), scale)
    targets = of_sentences(teacher)
    back = collate(targets, np.zeros(1))
    assert isinstance(back, HeadSelection) and back.labels == RELATIONS
    assert isinstance(back, TreeMarginals) == (kind in ("trees", "projective"))
    if isinstance(back, TreeMarginals):
        assert back.projective == (kind == "projective")
    assert [len(target) for target in targets] == LENGTHS
    difference = np.abs(joint(back) - listed_parts(teacher, np.ones(len(LENGTHS)))[1]).sum(axis=1)
    assert LAYOUT.row_sum(difference).max() <= 2 * (MAX_LOSS + ROUNDING)
    if scale == 6.0:
        assert sum(len(target.scores) for target in targets) < N_TOKENS * 6
    np.testing.assert_allclose(LAYOUT.row_sum(back.flat_marginals()), 1, atol=1e-9)


def test_how_much_is_lost_is_said():
    teacher = random_arcs_of("heads", np.random.default_rng(112), 4.0)
    stored, dropped = kept_scores(teacher)
    assert dropped.max() <= MAX_LOSS and dropped.max() > 0
    probs = joint(teacher)
    # Of heads that stay, what is lost is in the relations that do not.
    lost = np.ones(N_TOKENS)
    for number, records in enumerate(stored):
        tokens = records["token"] + LAYOUT.token_offsets[number]
        heads = np.where(records["head"] == 0, 0, LAYOUT.positions[tokens] + 1 + records["head"])
        np.subtract.at(lost, tokens, probs[LAYOUT.cells(tokens, heads), records["relation"]])
    np.testing.assert_allclose(dropped, lost, atol=1e-6)


def test_the_probability_of_an_arc_survives_the_loss_of_its_relations():
    arcs = np.zeros((2, 3))  # both heads of both tokens are as likely
    relations = np.zeros((2, 3, 40))
    relations[..., 0] = 12.0  # all others together have less than half of MAX_LOSS
    teacher = HeadSelection(
        [arcs], relations=DenseRelations([relations]), labels=[f"r{n}" for n in range(40)]
    )
    [records] = stored_scores(teacher)
    assert len(records) == 4 and (records["relation"] == 0).all()
    np.testing.assert_array_equal(records["prob"], 0.5)


def test_heads_of_a_token_are_not_more_than_eight():
    n = 30
    relations = DenseRelations([np.zeros((n, n + 1, 2))])
    teacher = HeadSelection([np.zeros((n, n + 1))], relations=relations, labels=["a", "b"])
    [records], dropped = kept_scores(teacher)
    for token in range(n):
        assert len(np.unique(records["head"][records["token"] == token])) == MAX_HEADS
    np.testing.assert_allclose(dropped, 1 - MAX_HEADS / n, atol=1e-6)
    back = collate([Target(describe(teacher, "parser"), records, n)], np.zeros(1))
    kept = back.flat_marginals()
    np.testing.assert_allclose(kept[kept > 0], 1 / MAX_HEADS, atol=1e-3)


@pytest.mark.parametrize("dtype", ["f", "d"])
def test_targets_come_back_in_the_dtype_that_is_wanted(dtype):
    back = collate(
        of_sentences(random_arcs_of("trees", np.random.default_rng(113))), np.zeros(1, dtype)
    )
    assert back.scores.dtype == back.relations.scores.dtype == np.dtype(dtype)


def test_arcs_without_relations_cannot_be_stored():
    bare = make("heads", (random_scores(np.random.default_rng(114))[0], None))
    with pytest.raises(ValueError, match="distributions without labels"):
        describe(bare, "parser")


def test_labels_that_mean_arcs_are_stored_as_arcs():
    teacher = random_labels(np.random.default_rng(115))
    targets = of_documents(teacher)
    assert targets[0].teacher.kind == "arcs" and targets[0].teacher.labels == RELATIONS
    pieces = [*sentence_targets(targets[0], [3, 0]), *sentence_targets(targets[2], [1, 4, 2])]
    pieces[1] = Target(targets[0].teacher, pieces[0].scores[:0], 0)
    back = collate(pieces, np.zeros(1))
    difference = np.abs(joint(back) - joint(as_heads(teacher))).sum(axis=1)
    assert LAYOUT.row_sum(difference).max() <= 2 * (MAX_LOSS + ROUNDING)


# --- documents and their sentences


def test_documents_are_cut_into_the_teachers_sentences():
    teacher = random_arcs_of("trees", np.random.default_rng(116))
    targets = of_documents(teacher)
    assert [len(target) for target in targets] == [3, 0, 7]
    assert opening_tokens(targets[2]).tolist() == [0, 1, 5]
    assert opening_tokens(targets[1]).tolist() == []
    alone = of_sentences(teacher)
    pieces = sentence_targets(targets[2], [1, 4, 2])
    for piece, expected in zip(pieces, alone[2:]):
        np.testing.assert_array_equal(piece.scores, expected.scores)
        assert len(piece) == len(expected) and piece.teacher is targets[2].teacher
    again = sentence_targets(targets[2], [1, 4, 2])
    assert all(one is two for one, two in zip(pieces, again))
    assert sentence_targets(targets[1], []) == []


def test_other_sentences_than_the_teachers_have_no_targets():
    target = of_documents(random_arcs_of("heads", np.random.default_rng(117)))[2]
    assert [p is None for p in sentence_targets(target, [1, 3, 3])] == [False, True, True]
    assert [p is None for p in sentence_targets(target, [2, 3, 2])] == [True, True, False]
    assert sentence_targets(target, [7]) == [None]
    [whole] = sentence_targets(target, [7], joined=True)
    back = collate([whole], np.zeros(1))
    assert back.lengths.tolist() == [7]
    block = back.marginals()[0]
    np.testing.assert_allclose(block[1:5, 2:6].sum(axis=1) + block[1:5, 0], 1)
    assert [p is None for p in sentence_targets(target, [5, 2], joined=True)] == [False, False]
    assert sentence_targets(target, [4, 3], joined=True) == [None, None]


def test_the_best_arcs_of_a_document():
    teacher = random_arcs_of("heads", np.random.default_rng(118))
    target = of_documents(teacher)[2]
    heads, columns = best_arcs(target)
    first = 3  # token of the batch that is the document's first
    for token in range(7):
        sentence = int(LAYOUT.sentences[first + token])
        row = teacher.marginals()[sentence][LAYOUT.positions[first + token]]
        head = int(row.argmax())
        start = LAYOUT.token_offsets[sentence] - first
        assert heads[token] == (token if head == 0 else start + head - 1)
        best = teacher.relation_log_probs([first + token], [head]).argmax()
        assert columns[token] == best


def test_slices_keep_the_sentences_that_are_whole():
    target = of_documents(random_arcs_of("heads", np.random.default_rng(119)))[2]
    piece = target.slice(1, 7)
    assert len(piece) == 6 and opening_tokens(piece).tolist() == [0, 4]
    pieces = sentence_targets(target, [1, 4, 2])
    for found, expected in zip(sentence_targets(piece, [4, 2]), pieces[1:]):
        np.testing.assert_array_equal(found.scores, expected.scores)
    cut = target.slice(0, 4)  # into the second sentence
    assert [p is None for p in sentence_targets(cut, [1, 3])] == [False, True]
    assert best_arcs(cut)[0].tolist() == [0, -1, -1, -1]
    rest = target.slice(4, 7)
    assert [p is None for p in sentence_targets(rest, [1, 2])] == [True, False]
    assert len(target.slice(2, 4).scores) == 0


# --- a teacher, a store


class ToyParser:
    """Heads by hashes of words, over the sentences that documents have."""

    def __init__(self, structure: str = "heads") -> None:
        self.structure = structure
        self.seen: list[list[int]] = []
        self.broken = False

    def __call__(self, doc: Doc) -> Doc:
        return doc

    def set_annotations(self, docs, structure) -> None:
        assert isinstance(structure, Sentences)

    def predict(self, docs):
        docs = list(docs)
        sentences = [
            [s.text for s in doc.sents] if doc.has_annotation("SENT_START") else [doc.text.strip()]
            for doc in docs
            if len(doc)
        ]
        assert not any(doc.has_annotation("DEP") for doc in docs)
        self.seen.append([len(texts) for texts in sentences])
        arcs, relations = [], []
        for text in (text for texts in sentences for text in texts):
            n = len(text.split())
            rng = np.random.default_rng(sum(text.encode()))
            arcs.append(rng.normal(size=(n, n + 1)).astype("f") * 3)
            relations.append(rng.normal(size=(n, n + 1, 3)).astype("f") * 3)
            if self.broken and "bad" in text:
                relations[-1] = relations[-1] * np.nan
            if self.broken and "cycle" in text:
                arcs[-1][:, 0] = -np.inf
        kind = HeadSelection if self.structure == "heads" else SpanningTree
        rest = {"relations": Unchecked(relations), "labels": RELATIONS} if arcs else {}
        structure = kind(arcs, **rest) if arcs else kind([], labels=RELATIONS)
        counts = iter(map(len, sentences))
        return Sentences(structure, np.asarray([next(counts) if len(doc) else 0 for doc in docs]))


class Unchecked(DenseRelations):
    """Relations whose scores may be no numbers, as those that a layer computes late."""

    def _check_scores(self) -> None:
        pass


@Language.factory("toy_parser", default_config={"structure": "heads"})
def make_toy_parser(nlp: Language, name: str, structure: str) -> ToyParser:
    return ToyParser(structure)


def toy(structure="heads") -> Language:
    nlp = spacy.blank("xx", meta={"name": "toy", "version": "1.0.0"})
    nlp.add_pipe("toy_parser", name="parser", config={"structure": structure})
    return nlp


def make_docs(nlp):
    """Three documents: two with sentences, one of them with a tree, one without."""
    words = ["Ada", "saw", "ships", ".", "They", "sail", "."]
    heads = [1, 1, 1, 1, 5, 5, 5]
    deps = ["nsubj", "ROOT", "obj", "punct", "nsubj", "ROOT", "punct"]
    tree = Doc(nlp.vocab, words=words, heads=heads, deps=deps)
    two = ["Old", "Ada", "sails", "New", "Bob", "too"]
    bounded = Doc(nlp.vocab, words=two, sent_starts=[word in ("Old", "New") for word in two])
    return [tree, bounded, Doc(nlp.vocab, words=["no", "bounds", "at", "all", "here"])]


@pytest.mark.parametrize("structure", ["heads", "tree"])
def test_annotated_documents_keep_their_sentences(tmp_path, structure):
    nlp = toy(structure)
    docs = make_docs(nlp)
    write_docs(tmp_path / "docs.spacy", docs)
    annotate(nlp, [tmp_path / "docs.spacy"], tmp_path / "store")
    store = TargetStore(tmp_path / "store")
    assert store.teachers["parser"].kind == "arcs"
    assert store.teachers["parser"].tables["trees"].tolist() == [int(structure == "tree")]
    opens = [opening_tokens(store.get(doc)["parser"]).tolist() for doc in docs]
    assert opens == [[0, 4], [0, 3], [0]]
    for doc, lengths in zip(docs, ([4, 3], [3, 3], [5])):
        target = store.get(doc)["parser"]
        assert target.scores.dtype == ARC
        expected = nlp.get_pipe("parser").predict(
            [Doc(nlp.vocab, words=[t.text for t in doc], sent_starts=[
                t.i in np.cumsum([0, *lengths[:-1]]) for t in doc])]
        )  # fmt: skip
        back = collate(sentence_targets(target, lengths), np.zeros(1))
        np.testing.assert_allclose(joint(back), joint(expected.structure), atol=3e-3)


def test_sentences_are_kept_for_those_who_ask(tmp_path):
    nlp = toy()
    write_docs(tmp_path / "docs.spacy", make_docs(nlp))
    sources = list(read_sources([tmp_path / "docs.spacy"]))
    assert not any(source.make_doc(nlp).has_annotation("SENT_START") for source in sources)
    docs = [source.make_doc(nlp, with_sentences=True) for source in sources]
    assert [doc.has_annotation("SENT_START") for doc in docs] == [True, True, False]
    assert not any(doc.has_annotation("DEP") or doc.has_annotation("HEAD") for doc in docs[1:])


def test_two_runs_give_the_same_bytes_and_say_what_was_lost(tmp_path, capsys):
    docs = make_docs(toy())
    write_docs(tmp_path / "docs.spacy", docs)
    for name in ("a", "b"):
        writer = annotate(toy(), [tmp_path / "docs.spacy"], tmp_path / name, batch_size=2)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    dropped = writer.dropped["parser"]
    assert dropped.n_tokens == 18 and 0 < dropped.mean <= dropped.maximum <= MAX_LOSS
    report(writer)
    said = " ".join(capsys.readouterr().out.split())
    assert "bytes a token" in said and f"{dropped.maximum:.1e} at most" in said


def test_a_parser_between_other_teachers():
    nlp = toy()
    nlp.add_pipe("toy_teacher", name="ner")
    nlp.add_pipe("sentencizer", first=True)
    assert find_teachers(nlp) == ["sentencizer", "parser", "ner"]
    reader = TeacherReader(nlp, ["parser", "ner"], 2)
    assert reader.describe()["parser"].labels == RELATIONS
    texts = ["Ada sails . Bob too .", "one two", "three"]
    read = list(reader.read((nlp.make_doc(text), text) for text in texts))
    assert [len(scores["ner"]) for _, _, scores in read] == [len(doc) for doc, _, _ in read]
    assert nlp.get_pipe("parser").seen[-2:] == [[2, 1], [1]]


def test_relations_that_are_no_numbers_name_the_document():
    nlp = toy()
    nlp.get_pipe("parser").broken = True
    reader = TeacherReader(nlp, ["parser"], 2)
    texts = ["fine", "all is well", "one bad word", "fine"]
    with pytest.raises(ValueError, match=r"'parser' fails on line 2 \('one bad word'\).*train"):
        list(reader.read((nlp.make_doc(text), f"line {n}") for n, text in enumerate(texts)))


def test_a_sentence_without_a_tree_names_the_document():
    nlp = toy("tree")
    nlp.add_pipe("sentencizer", first=True)
    nlp.get_pipe("parser").broken = True
    reader = TeacherReader(nlp, ["parser"], 3)
    texts = ["one two . three .", "four", "five . in a cycle ."]
    with pytest.raises(ValueError, match=r"fails on line 2 \('five \. in a cycle \.'\)") as error:
        list(reader.read((nlp.make_doc(text), f"line {n}") for n, text in enumerate(texts)))
    assert isinstance(error.value.__cause__, SentenceError)
