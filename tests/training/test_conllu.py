"""CoNLL-U: what is kept is what spaCy keeps, and what is no tree is refused or left out by name."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.scorer import Scorer
from spacy.tokens import DocBin
from spacy.training import Example
from spacy.training.converters import conllu_to_docs
from spacy.vocab import Vocab

from spacy_skd.training.conllu import Faults, read_conllu

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("SPACY_SKD_DATA", ROOT.parent / "shared" / "data")) / "ud"
KEPT = ["ORTH", "SPACY", "TAG", "POS", "MORPH", "HEAD", "DEP", "SENT_START", "ENT_IOB", "ENT_TYPE"]


def rows(*heads: str, misc: str = "_") -> str:
    """A sentence of words a, b, c, …; each head is "number relation"."""
    lines = []
    for number, head in enumerate(heads, start=1):
        head, _, relation = head.partition(" ")
        columns = [number, "abcdefgh"[number - 1], "_", "NOUN", "NN", "_", head, relation or "_"]
        lines.append("\t".join(map(str, [*columns, "_", misc])))
    return "\n".join(lines) + "\n"


def round_trip(docs):
    return list(DocBin().from_bytes(DocBin(docs=docs).to_bytes()).get_docs(Vocab()))


def read(*sentences: str, **settings):
    return round_trip(read_conllu("\n".join(sentences), **settings))


TREE = rows("2 det", "3 nsubj", "0 root")


@pytest.mark.parametrize("corpus", ["en_ewt", "fr_sequoia", "nl_lassysmall"])
def test_real_treebanks_are_read_as_spacy_reads_them(corpus):
    path = DATA / corpus / "test.conllu"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    text = path.read_text(encoding="utf8")
    text = text[: text.index("\n\n", 500_000 if len(text) > 500_000 else len(text) // 2)]
    ours = list(read_conllu(text))
    theirs = list(conllu_to_docs(text, n_sents=1, no_print=True))
    assert len(ours) == len(theirs)
    for doc, expected in zip(ours, theirs):
        assert (doc.to_array(KEPT) == expected.to_array(KEPT)).all()
        assert [t.lemma_ for t in doc] == [
            "" if t.lemma_ == "_" != t.text else t.lemma_ for t in expected
        ]
    grouped = read(text, n_sents=7)
    assert [len(sent) for doc in grouped for sent in doc.sents] == [len(doc) for doc in ours]


def test_columns_become_attributes():
    text = (
        "# sent_id = x-1\n"
        "1\tDogs\tdog\tNOUN\tNNS\tNumber=Plur\t2\tnsubj\t2:nsubj\t_\n"
        "2\tbark\t_\tVERB\t_\t_\t0\troot\t0:root\tSpaceAfter=No\n"
        "3\t.\t.\tPUNCT\t.\t_\t2\tpunct\t2:punct\t_\n"
    )
    (doc,) = read(text)
    assert doc.text == "Dogs bark. "
    assert [t.lemma_ for t in doc] == ["dog", "", "."]
    assert [t.tag_ for t in doc] == ["NNS", "VERB", "."]
    assert [t.pos_ for t in doc] == ["NOUN", "VERB", "PUNCT"]
    assert [str(t.morph) for t in doc] == ["Number=Plur", "", ""]
    assert [(t.dep_, t.head.i) for t in doc] == [("nsubj", 1), ("ROOT", 1), ("punct", 1)]


def test_words_of_a_token_follow_each_other_without_space():
    text = (
        "1-2\tcan't\t_\t_\t_\t_\t_\t_\t_\t_\n"
        "1\tca\tcan\tAUX\t_\t_\t3\taux\t_\t_\n"
        "2\tn't\tnot\tPART\t_\t_\t3\tadvmod\t_\t_\n"
        "3-4\tgonna\t_\t_\t_\t_\t_\t_\t_\tSpaceAfter=No\n"
        "3\tgon\tgo\tVERB\t_\t_\t0\troot\t_\t_\n"
        "4\tna\tto\tPART\t_\t_\t3\tmark\t_\t_\n"
        "5\t!\t!\tPUNCT\t_\t_\t3\tpunct\t_\tSpaceAfter=No\n"
    )
    (doc,) = read(text)
    assert [t.text for t in doc] == ["ca", "n't", "gon", "na", "!"]
    assert doc.text == "can't gonna!"
    (doc,) = read(text, merge_subtokens=True)
    assert [t.text for t in doc] == ["can't", "gonna", "!"]
    assert doc.text == "can't gonna!"
    assert [(t.dep_, t.head.i) for t in doc] == [("aux", 1), ("ROOT", 1), ("punct", 1)]


def test_empty_nodes_are_left_out():
    empty = "2.1\tsaw\tsee\tVERB\t_\t_\t_\t_\t0:root\t_\n"
    text = "0.1\tso\t_\tADV\t_\t_\t_\t_\t_\t_\n" + rows("2 nsubj", "0 root") + empty
    text += "3\tc\t_\tNOUN\tNN\t_\t2\tobj\t_\t_\n"
    (doc,) = read(text)
    assert [(t.text, t.head.i) for t in doc] == [("a", 1), ("b", 1), ("c", 1)]


def test_blank_lines_and_comments_anywhere():
    text = f"\n\n# newdoc\n\n# sent_id = 1\n{TREE}# a note\n \n\n{TREE}\n\n# the end\n"
    assert len(read(text)) == 2
    assert read("") == read("\n# nothing\n") == []


@pytest.mark.parametrize("n_sents, lengths", [(1, [1] * 5), (2, [2, 2, 1]), (9, [5])])
def test_sentences_are_grouped_with_their_boundaries(n_sents, lengths):
    docs = read(*[TREE] * 5, n_sents=n_sents)
    assert [len(list(doc.sents)) for doc in docs] == lengths
    assert all(len(sent) == 3 for doc in docs for sent in doc.sents)


def test_entities_are_kept():
    entity, other = rows("0 root", misc="name=U-PER"), rows("0 root")
    docs = read(entity, other)
    assert [[ent.label_ for ent in doc.ents] for doc in docs] == [["PER"], []]
    assert all(doc.has_annotation("ENT_IOB") for doc in docs)


# Missing heads


def test_a_missing_head_is_missing_and_no_root():
    (doc,) = read(rows("_", "3 nsubj", "0 root", "_ obj"))
    assert [t.has_head() for t in doc] == [False, True, True, False]
    assert [t.dep_ for t in doc] == ["", "nsubj", "ROOT", ""]
    assert doc[0].head == doc[0]
    assert [t.is_sent_start for t in doc] == [True, False, False, False]


def test_missing_heads_do_not_move_the_boundaries_of_sentences():
    docs = read(rows("_", "3 nsubj", "0 root"), rows("_", "_", "0 root", "_"), TREE, n_sents=3)
    assert [[len(sent) for sent in doc.sents] for doc in docs] == [[3, 4, 3]]


def test_a_sentence_without_a_known_root_is_a_document():
    docs = read(TREE, rows("_", "1 det", "_"), TREE, TREE, n_sents=3)
    assert [len(list(doc.sents)) for doc in docs] == [1, 1, 2]
    assert [t.dep_ for t in docs[1]] == ["", "det", ""]
    assert docs[1][1].head == docs[1][0]


def test_sentences_without_heads_have_boundaries_and_no_trees():
    bare = rows("_", "_")
    docs = read(bare, bare, TREE, n_sents=2)
    assert [len(list(doc.sents)) for doc in docs] == [2, 1]
    assert [doc.has_annotation("DEP") for doc in docs] == [False, True]
    assert not any(token.has_head() for token in docs[0])


def test_missing_heads_are_not_scored():
    (gold,) = read(rows("_", "3 nsubj", "0 root", "_"))
    (guess,) = read(rows("2 x", "3 nsubj", "0 root", "1 x"))
    scores = Scorer.score_deps([Example(guess, gold)], "dep")
    assert scores["dep_uas"] == scores["dep_las"] == 1.0


# Faults


FAULTS = {
    "roots": (rows("0 root", "1 obj", "0 root"), 3, "words 1 and 3 are roots"),
    "cycle": (rows("2 x", "1 y", "0 root"), 1, "circle: 1 → 2 → 1"),
    "far cycle": (rows("0 root", "3 x", "4 x", "3 x"), 3, "circle: 3 → 4 → 3"),
    "no root": (rows("2 x", "1 y"), 1, "circle: 1 → 2 → 1"),
    "own head": (rows("1 x", "0 root"), 1, "circle: 1 → 1"),
    "partial cycle": (rows("2 x", "1 y", "_"), 1, "circle: 1 → 2 → 1"),
    "far head": (rows("5 x", "0 root"), 1, "head 5, but there are 2 words"),
    "negative": (rows("-1 x", "0 root"), 1, "head '-1', which is no number"),
    "word": (rows("0 root", "one x"), 2, "head 'one', which is no number"),
    "empty head": (rows(" x", "0 root"), 1, "head '', which is no number"),
    "of empty node": (rows("0 root", "1.1 x"), 2, "head '1.1', which is no number"),
    "no relation": (rows("2 _", "0 root"), 1, "word 1 has a head but no relation"),
    "columns": ("1\ta\n", 1, "2 columns instead of 10"),
    "spaces": ("1  a  _  X  _  _  0  root  _  _\n", 1, "1 columns instead of 10"),
    "numbering": (rows("0 root").replace("1\t", "2\t", 1), 1, "the id '2' where 1 is expected"),
    "twice": (rows("0 root") + rows("0 root"), 2, "the id '1' where 2 is expected"),
    "late range": (rows("0 root") + "1-2" + "\t_" * 9, 2, "range 1-2 does not begin"),
    "range of one": ("1-0" + "\t_" * 9 + "\n" + rows("0 root"), 1, "range 1-0 does not begin"),
    "nested": (
        "1-2" + "\t_" * 9 + "\n" + rows("0 root") + "2-3" + "\t_" * 9,
        3,
        "range 2-3 does not begin",
    ),
    "open range": ("1-3" + "\t_" * 9 + "\n" + rows("0 root"), 2, "within a range"),
    "no words": ("1.1" + "\t_" * 9 + "\n", 1, "no words"),
    "upos": (rows("0 root").replace("NOUN", "Noun"), 1, "'Noun' is no universal part of speech"),
    "feats": (rows("0 root").replace("NN\t_", "NN\tPlur"), 1, "'Plur' is not a list of features"),
    "form": (rows("0 root").replace("\ta\t", "\t\t"), 1, "word 1 has no form"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_name_file_line_and_sentence(fault):
    text, line, message = FAULTS[fault]
    place = f"bad.conllu, line {line + 5}, sentence s-2: "
    with pytest.raises(ValueError, match=message) as caught:
        list(read_conllu(f"{TREE}\n# sent_id = s-2\n{text}", "bad.conllu"))
    assert str(caught.value).startswith(place)


def test_sentences_without_an_id_are_counted():
    with pytest.raises(ValueError, match=r"^x, line 5, sentence no\. 2: "):
        list(read_conllu(f"{TREE}\n{rows('1 x')}", "x"))


def test_faults_can_be_left_out_and_are_noted():
    skipped = Faults()
    bad = [text for text, _, _ in FAULTS.values()]
    docs = list(read_conllu("\n\n".join([TREE, *bad, TREE]), "x", skipped=skipped))
    assert [len(doc) for doc in docs] == [3, 3]
    assert skipped.n_sentences == len(bad) + 2
    assert len(skipped.messages) == len(bad)
    assert all(message.startswith("x, line ") for message in skipped.messages)


# Whatever is in a file, its sentences are trees or partial trees, or are refused.

CELL = st.sampled_from(["_", "0", "1", "2", "3", "1-2", "2.1", "", "NOUN", "a=b", "x", "é", "#"])
LINE = st.one_of(
    st.lists(CELL, min_size=10, max_size=10).map("\t".join),
    st.lists(CELL, max_size=11).map("\t".join),
    st.just(""),
)
HEAD = st.one_of(st.just("_"), st.integers(0, 7).map("{} x".format))
HEADS = st.lists(HEAD, min_size=1, max_size=7)


@settings(max_examples=200, deadline=None)
@given(st.lists(LINE, max_size=6))
def test_no_file_breaks_the_reader(lines):
    skipped = Faults()
    docs = list(read_conllu("\n".join(lines), "x", skipped=skipped))
    assert len(docs) + len(skipped.messages) == skipped.n_sentences


def is_read(heads):
    skipped = Faults()
    return bool(list(read_conllu(rows(*heads), skipped=skipped)))


@settings(max_examples=200, deadline=None)
@given(st.lists(HEADS, min_size=1, max_size=4), st.integers(1, 3))
def test_boundaries_and_heads_survive(sentences, n_sents):
    text = "\n".join(rows(*heads) for heads in sentences)
    docs = round_trip(read_conllu(text, n_sents=n_sents, skipped=Faults()))
    found = [sent for doc in docs for sent in doc.sents]
    expected = list(filter(is_read, sentences))
    assert [len(sent) for sent in found] == [len(heads) for heads in expected]
    for sent, heads in zip(found, expected):
        for number, (token, head) in enumerate(zip(sent, heads), start=1):
            assert token.has_head() == (head != "_")
            if token.has_head():
                assert token.head.i - sent.start + 1 == (int(head.split()[0]) or number)
