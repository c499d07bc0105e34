"""The treebank that ships with the project: what its script writes, and well-formed."""

import subprocess
import sys
from pathlib import Path

import pytest
import spacy
from spacy.pipeline._parser_internals.nonproj import is_nonproj_tree

from spacy_skd.cli.convert import read_corpus

ASSETS = Path(__file__).parents[1] / "assets"
TREEBANK = ASSETS / "treebank"
PARTS = ("train", "dev", "test")
UD_RELATIONS = {
    "ROOT",
    *("nsubj", "csubj", "expl", "obj", "iobj", "obl", "xcomp", "ccomp", "advcl", "advmod"),
    *("discourse", "aux", "cop", "mark", "compound", "det", "amod", "nmod", "nummod", "flat"),
    *("appos", "acl", "case", "cc", "conj", "punct"),
}


def write(*arguments: str) -> None:
    command = [sys.executable, "-B", str(TREEBANK / "write_treebank.py"), *arguments]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(scope="module")
def treebank():
    nlp = spacy.blank("en")
    return {part: list(read_corpus(TREEBANK / f"{part}.conllu", nlp)) for part in PARTS}


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    path = tmp_path_factory.mktemp("raw") / "raw.txt"
    write("--raw", "200", "--output", str(path))
    return path.read_text(encoding="utf8").splitlines()


def test_the_files_are_what_the_script_writes(tmp_path):
    write("--output", str(tmp_path))
    for part in PARTS:
        name = f"{part}.conllu"
        assert (tmp_path / name).read_bytes() == (TREEBANK / name).read_bytes()


def test_another_seed_gives_another_treebank(tmp_path):
    write("--output", str(tmp_path), "--seed", "1")
    assert (tmp_path / "dev.conllu").read_bytes() != (TREEBANK / "dev.conllu").read_bytes()


def test_every_sentence_is_a_tree_of_its_own(treebank):
    # read_corpus has refused several roots, cycles and heads that are not there.
    docs = [doc for part in treebank.values() for doc in part]
    assert all(len(list(doc.sents)) == 1 for doc in docs)
    assert all(token.has_head() and token.pos_ for doc in docs for token in doc)
    assert {token.dep_.split(":")[0] for doc in docs for token in doc} <= UD_RELATIONS


def test_sizes(treebank):
    docs = [doc for part in treebank.values() for doc in part]
    assert len(docs) >= 1500
    assert 10 <= sum(map(len, docs)) / len(docs) <= 14
    crossing = sum(is_nonproj_tree([token.head.i for token in doc]) for doc in docs)
    assert 0.02 <= crossing / len(docs) <= 0.04
    assert sum((TREEBANK / f"{part}.conllu").stat().st_size for part in PARTS) < 700_000


def test_texts_are_those_of_the_words(treebank):
    for part, docs in treebank.items():
        lines = (TREEBANK / f"{part}.conllu").read_text(encoding="utf8").splitlines()
        texts = [line.removeprefix("# text = ") for line in lines if line.startswith("# text")]
        assert [doc.text for doc in docs] == texts


def test_no_sentence_comes_twice(treebank, raw):
    texts = [doc.text for part in treebank.values() for doc in part] + raw
    assert len(set(texts)) == len(texts)


def test_dev_and_test_have_words_of_their_own(treebank, raw):
    words = {part: {t.text.lower() for doc in docs for t in doc} for part, docs in treebank.items()}
    words["raw"] = {word.strip(".,?").lower() for line in raw for word in line.split()}
    for part in ("dev", "test"):
        new = words[part] - words["train"]
        assert len(new) > 50
        # Raw text can teach them.
        assert new & words["raw"]


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """The treebank with entities, and the folder that it was written to."""
    folder = tmp_path_factory.mktemp("named")
    write("--entities", "--output", str(folder))
    nlp = spacy.blank("en")
    return folder, {part: list(read_corpus(folder / f"{part}.conllu", nlp)) for part in PARTS}


def test_entities_are_names(named):
    _, parts = named
    for docs in parts.values():
        entities = [entity for doc in docs for entity in doc.ents]
        assert {entity.label_ for entity in entities} == {"PERSON", "LOC", "ORG"}
        assert all(token.pos_ == "PROPN" for entity in entities for token in entity)
        assert all(doc.has_annotation("ENT_IOB") and doc.has_annotation("DEP") for doc in docs)
        names = {
            label: {entity.text for entity in entities if entity.label_ == label}
            for label in ("LOC", "ORG")
        }
        first_words = {name.split()[0] for name in names["ORG"]}
        assert first_words & names["LOC"], "what follows tells an organisation from a city"


def test_entities_are_written_the_same_each_time(named, tmp_path):
    folder, _ = named
    write("--entities", "--output", str(tmp_path))
    for part in PARTS:
        name = f"{part}.conllu"
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_raw_text_with_organisations(named, tmp_path):
    _, parts = named
    path = tmp_path / "raw.txt"
    write("--entities", "--raw", "200", "--output", str(path))
    lines = path.read_text(encoding="utf8").splitlines()
    texts = {doc.text for docs in parts.values() for doc in docs}
    assert len(set(lines) - texts) == 200
    assert any(" Bank " in line for line in lines)


def test_entities_are_not_written_over_the_treebank():
    with pytest.raises(subprocess.CalledProcessError):
        write("--entities")


def test_what_a_preposition_depends_on_is_not_told_by_its_neighbours(treebank):
    """Behind an object and "with", the same noun depends on the verb or on the object."""
    heads: dict[str, set[str]] = {}
    for doc in treebank["train"]:
        for case in doc:
            noun, before = case.head, doc[case.i - 1] if case.i else case
            if case.text == "with" and case.dep_ == "case" and before.dep_ == "obj":
                heads.setdefault(noun.text, set()).add(noun.dep_)
    assert {"nmod", "obl"} in heads.values()


LANGUAGES = ("en", "de", "es", "nl")


def compose(folder: Path, *arguments: str) -> None:
    languages = [argument for name in LANGUAGES for argument in ("--language", name)]
    script = ASSETS / "entities" / "compose_languages.py"
    command = [sys.executable, "-B", str(script), str(folder), *languages, *arguments]
    subprocess.run(command, check=True, capture_output=True)


def test_sentences_in_several_languages(tmp_path):
    compose(tmp_path, "--train", "60", "--dev", "20", "--test", "20")
    for language in LANGUAGES:
        docs = [
            doc
            for part in PARTS
            # Entities that do not begin and end with tokens would be refused.
            for doc in read_corpus(tmp_path / language / f"{part}.txt", spacy.blank(language))
        ]
        assert len({doc.text for doc in docs}) == len(docs) == 100
        assert {span.label_ for doc in docs for span in doc.ents} == {"LOC", "ORG", "PERSON"}


def test_the_same_seed_composes_the_same_sentences(tmp_path):
    few = ("--train", "8", "--dev", "1", "--test", "1")
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        compose(tmp_path / name, *few, "--seed", seed)
    first, again, other = (
        (tmp_path / name / "de" / "train.txt").read_text(encoding="utf8") for name in "abc"
    )
    assert first == again != other
    assert first != (tmp_path / "a" / "en" / "train.txt").read_text(encoding="utf8")
