"""Corpora in several formats become spaCy's binary format, and bad lines are named."""

from pathlib import Path

import pytest
import spacy
from click.testing import Result
from spacy.cli._util import app
from spacy.tokens import Doc, DocBin, Span
from typer.testing import CliRunner

from spacy_skd.cli.convert import convert, parse_markup, read_corpus, read_markup
from spacy_skd.training.join_entities import Joined, join_entities

NLP = spacy.blank("en")


def test_markup_becomes_entities():
    line = "[Ada Brook|PERSON]'s firm, [Vela Systems|ORG], left [Leeds|LOC]."
    (doc,) = read_markup([line], NLP)
    assert doc.text == "Ada Brook's firm, Vela Systems, left Leeds."
    assert [(ent.text, ent.label_) for ent in doc.ents] == [
        ("Ada Brook", "PERSON"),
        ("Vela Systems", "ORG"),
        ("Leeds", "LOC"),
    ]


def test_comments_and_blank_lines_are_skipped():
    assert len(list(read_markup(["# title", "", "No names here.", "  "], NLP))) == 1


def test_a_sentence_without_markup_has_no_entities_and_says_so():
    (doc,) = read_markup(["Nobody came."], NLP)
    assert doc.has_annotation("ENT_IOB") and not doc.ents


def test_offsets_count_characters_without_markup():
    text, entities = parse_markup("a [b|X] c [dé|Y]!")
    assert text == "a b c dé!"
    assert [text[start:end] for start, end, _ in entities] == ["b", "dé"]


@pytest.mark.parametrize(
    "line, fault",
    [
        ("[Ada|PERSON lives", "unfinished markup"),
        ("Ada| lives", "unfinished markup"),
        ("un[happy|X]", "token borders"),
    ],
)
def test_bad_markup_names_file_and_line(line, fault):
    with pytest.raises(ValueError, match=rf"notes\.txt, line 2: .*{fault}"):
        list(read_markup(["fine", line], NLP, "notes.txt"))


def test_iob_files(tmp_path):
    path = tmp_path / "train.iob"
    path.write_text("Ada\tB-PER\nBrook\tI-PER\nsleeps\tO\n\nLeeds\tB-LOC\n", encoding="utf-8")
    docs = list(read_corpus(path, NLP))
    assert [[(ent.text, ent.label_) for ent in doc.ents] for doc in docs] == [
        [("Ada Brook", "PER")],
        [("Leeds", "LOC")],
    ]


def test_conllu_files(tmp_path):
    path = tmp_path / "train.conllu"
    row = "{}\t{}\t_\tPROPN\tNNP\t_\t{}\t{}\t_\t{}\n"
    path.write_text(
        row.format(1, "Ada", 2, "nsubj", "name=B-PER")
        + row.format(2, "sleeps", 0, "root", "name=O"),
        encoding="utf-8",
    )
    (doc,) = read_corpus(path, NLP)
    assert [(ent.text, ent.label_) for ent in doc.ents] == [("Ada", "PER")]
    assert [token.tag_ for token in doc] == ["NNP", "NNP"]


ROW = "{}\t{}\t_\tNOUN\tNN\t_\t{}\t{}\t_\t_\n"
GOOD = ROW.format(1, "Ada", 2, "nsubj") + ROW.format(2, "sleeps", 0, "root") + "\n"
TWO_ROOTS = "# sent_id = w-2\n" + ROW.format(1, "a", 0, "root") + ROW.format(2, "b", 0, "root")


def run(*arguments) -> Result:
    return CliRunner().invoke(app, ["skd", "convert", *map(str, arguments)])


@pytest.fixture
def treebank(tmp_path):
    path = tmp_path / "trees.conllu"
    path.write_text(GOOD + TWO_ROOTS + "\n" + GOOD * 3, encoding="utf-8")
    return path


def test_a_sentence_that_is_no_tree_stops_with_a_hint(treebank, tmp_path):
    result = run(treebank, "--output", tmp_path / "out.spacy")
    assert result.exit_code == 1
    place = f"{treebank}, line 6, sentence w-2: words 1 and 2 are roots"
    assert place in result.output and "--on-error skip" in result.output
    assert not (tmp_path / "out.spacy").exists()


def test_sentences_that_are_no_trees_can_be_left_out(treebank, tmp_path):
    out = tmp_path / "out.spacy"
    result = run(treebank, "--output", out, "--on-error", "skip", "--n-sents", 3)
    assert result.exit_code == 0
    assert "1 of 5 sentences" in result.output and "sentence w-2" in result.output
    docs = list(DocBin().from_disk(out).get_docs(NLP.vocab))
    assert [len(list(doc.sents)) for doc in docs] == [3, 1]
    assert [token.dep_ for token in docs[0]] == ["nsubj", "ROOT"] * 3


def test_many_sentences_that_are_left_out_are_not_all_shown(tmp_path):
    path = tmp_path / "trees.conllu"
    path.write_text((TWO_ROOTS + "\n") * 8 + GOOD, encoding="utf-8")
    result = run(path, "--output", tmp_path / "out.spacy", "--on-error", "skip")
    assert result.output.count("sentence w-2") == 5
    assert "and 3 more" in result.output


def test_nothing_but_sentences_that_are_left_out(tmp_path):
    path = tmp_path / "trees.conllu"
    path.write_text(TWO_ROOTS, encoding="utf-8")
    result = run(path, "--output", tmp_path / "out.spacy", "--on-error", "skip")
    assert result.exit_code != 0
    assert "1 of 1 sentences" in result.output


def test_only_conllu_is_grouped(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("Ada left.\n", encoding="utf-8")
    result = run(path, "--output", tmp_path / "out.spacy", "--n-sents", 2)
    assert result.exit_code == 1 and "only CoNLL-U" in result.output


def test_the_shipped_corpus_is_whole():
    folder = Path(__file__).parents[2] / "assets" / "entities"
    docs = {
        part: list(read_corpus(folder / f"{part}.txt", NLP)) for part in ("train", "dev", "test")
    }
    texts = [doc.text for part in docs.values() for doc in part]
    assert len(texts) >= 600 and len(set(texts)) == len(texts)
    labels = {ent.label_ for doc in docs["train"] for ent in doc.ents}
    assert labels == {"PERSON", "ORG", "LOC", "PRODUCT"}


def test_the_command_joins_its_inputs(tmp_path):
    for name, line in (("a", "[Ada|PER] left."), ("b", "Bye.")):
        (tmp_path / f"{name}.txt").write_text(line + "\n", encoding="utf-8")
    convert([tmp_path / "a.txt", tmp_path / "b.txt"], output=tmp_path / "new" / "all.spacy")
    docs = list(DocBin().from_disk(tmp_path / "new" / "all.spacy").get_docs(NLP.vocab))
    assert [doc.text for doc in docs] == ["Ada left.", "Bye."]


def test_other_formats_are_refused(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("x", encoding="utf-8")
    with pytest.raises(ValueError, match=r"train\.csv.*\.conllu"):
        list(read_corpus(path, NLP))


@pytest.mark.parametrize(
    "name, content, fault",
    [
        ("a.iob", b"Ada\nleft\n", "a.iob cannot be read as .iob"),
        ("a.conllu", b"1\tAda\n", "a.conllu, line 1, sentence no. 1: 2 columns instead of 10"),
        ("a.conllu", b"\xff\xfe", "a.conllu is not UTF-8"),
        ("a.txt", b"\xff\xfe", "a.txt is not UTF-8"),
        ("a.spacy", b"x", "a.spacy cannot be read"),
        ("a.txt", b"[Ada|PERSON left\n", "a.txt, line 1: unfinished markup"),
    ],
)
def test_the_command_names_the_file_that_it_cannot_read(tmp_path, name, content, fault):
    (tmp_path / name).write_bytes(content)
    result = run(tmp_path / name, "--output", tmp_path / "out.spacy")
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert fault in result.output


# --- entities of another corpus

TREES = """1\tAda\tAda\tPROPN\tNNP\t_\t2\tnsubj\t_\t_
2\tsleeps\tsleep\tVERB\tVBZ\t_\t0\troot\t_\t_

1\tOslo\tOslo\tPROPN\tNNP\t_\t2\tnsubj\t_\t_
2\tsleeps\tsleep\tVERB\tVBZ\t_\t0\troot\t_\t_

1\tAda\tAda\tPROPN\tNNP\t_\t2\tnsubj\t_\t_
2\tsleeps\tsleep\tVERB\tVBZ\t_\t0\troot\t_\t_
"""
NAMES = "Ada\tB-PER\nsleeps\tO\n\nBob\tB-PER\nruns\tO\n\nAda\tB-SHIP\nsleeps\tO\n"


@pytest.fixture
def trees_and_names(tmp_path):
    (tmp_path / "trees.conllu").write_text(TREES, encoding="utf-8")
    (tmp_path / "names.iob").write_text(NAMES, encoding="utf-8")
    return tmp_path


def test_a_treebank_gets_the_entities_of_another_corpus(trees_and_names):
    out = trees_and_names / "out.spacy"
    names = trees_and_names / "names.iob"
    result = run(trees_and_names / "trees.conllu", "--entities", names, "--output", out)
    assert result.exit_code == 0, result.output
    assert "2 of 3 sentences have the entities of" in result.output
    assert "Of the other 1 they are missing" in result.output
    docs = list(DocBin().from_disk(out).get_docs(spacy.blank("en").vocab))
    # the same words twice: the first, then the second
    assert [[ent.label_ for ent in doc.ents] for doc in docs] == [["PER"], [], ["SHIP"]]
    assert [doc.has_annotation("ENT_IOB") for doc in docs] == [True, False, True]
    assert all(doc.has_annotation("DEP") and doc[0].pos_ == "PROPN" for doc in docs)


def test_what_is_missing_among_the_entities_stays_missing():
    other = Doc(NLP.vocab, words=["New", "York", "or", "Ada"])
    other.set_ents([Span(other, 0, 2, "LOC", kb_id="Q60")], missing=[other[3:]], default="outside")
    other = Doc(spacy.blank("xx").vocab).from_bytes(other.to_bytes())
    joined = Joined()
    (doc,) = join_entities([Doc(NLP.vocab, words=["New", "York", "or", "Ada"])], [other], joined)
    assert [(ent.text, ent.label_, ent.kb_id_) for ent in doc.ents] == [("New York", "LOC", "Q60")]
    assert [token.ent_iob_ for token in doc] == ["B", "I", "O", ""]
    assert joined == Joined(n_docs=1, n_found=1)


def test_corpora_that_share_no_sentence(trees_and_names):
    names = trees_and_names / "other.iob"
    names.write_text("Bob\tB-PER\n", encoding="utf-8")
    out = trees_and_names / "out.spacy"
    result = run(trees_and_names / "trees.conllu", "--entities", names, "--output", out)
    assert result.exit_code == 1 and not out.exists()
    assert f"None of 3 sentences is in {names}: the tokens have to be the same" in result.output


def test_sentences_are_joined_one_by_one(trees_and_names):
    names, out = trees_and_names / "names.iob", trees_and_names / "out.spacy"
    options = ["--entities", names, "--output", out, "--n-sents", 2]
    result = run(trees_and_names / "trees.conllu", *options)
    assert result.exit_code == 1 and "leave --n-sents at 1" in result.output
