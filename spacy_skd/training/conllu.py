"""CoNLL-U files as documents: what a tree must be is checked, then spaCy's converter makes the Doc.

The words of a document are the syntactic words; empty nodes (1.1) are left out, and the words of a
multiword token (1-2) follow each other without a space, or are merged into it, as they are in
text: French "du" is "de" and "le" in a treebank. Then it has the head and the relation of that of
its words whose head is outside of it, and the lemmas, tags and features of all. Heads, relations
("root" becomes "ROOT"), tags (UPOS where XPOS is "_"), morphology and lemmas are as `spacy convert`
gives them, and so are entities that the MISC column names in the BILUO scheme.

**Missing heads.** "_" in HEAD means that the token's head is not known; its relation, if any, is
dropped. Such a token has an empty relation, `token.dep_ == ""`, and that alone is the mark, as it
is for spaCy: `token.has_head()` is False, `token.head` is the token itself, and scorers leave the
token out. `.spacy` files keep it. Its HEAD attribute, which `to_array` shows, means nothing: it
points to the sentence's root, because spaCy takes the boundaries of sentences from the subtrees of
their roots and would else begin the sentence behind the token. A sentence whose root is not known
is a document of its own, for spaCy could not mark where it begins. Sentences without any head have
boundaries (SENT_START) and no tree.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import cast

import numpy as np
from spacy.parts_of_speech import IDS as PARTS_OF_SPEECH
from spacy.tokens import Doc
from spacy.training.converters import conllu_to_docs
from spacy.util import minibatch
from thinc.types import Ints2d

ID, FORM, LEMMA, UPOS, XPOS, FEATS, HEAD, DEPREL, DEPS, MISC = range(10)
N_COLUMNS = 10
EMPTY_NODE = re.compile(r"[0-9]+\.[0-9]+")
RANGE = re.compile(r"(0|[1-9][0-9]*)-(0|[1-9][0-9]*)")
NUMBER = re.compile(r"[0-9]+")
SENT_ID = re.compile(r"#\s*sent_id\s*=\s*(.+?)\s*")

TREE, ROOTLESS, BARE = "tree", "rootless", "bare"


@dataclass
class Faults:
    """What is wrong with the sentences that were left out, and how many sentences there were."""

    messages: list[str] = field(default_factory=list)
    n_sentences: int = 0


@dataclass
class _Block:
    """The lines of one sentence with their numbers in the file."""

    file: str
    sent_id: str
    lines: list[tuple[int, str]]

    def fault(self, number: int, text: str) -> ValueError:
        return ValueError(f"{self.file}, line {number}, sentence {self.sent_id}: {text}")


@dataclass
class _Sentence:
    """The rows of a sentence that has been checked, as spaCy's converter is to read them.

    kind: "tree" has one root, "rootless" some heads but no root that is known, "bare" no heads.
    """

    rows: list[list[str]]
    kind: str

    def __str__(self) -> str:
        return "\n".join("\t".join(row) for row in self.rows)


def read_conllu(
    text: str,
    name: str = "CoNLL-U",
    n_sents: int = 1,
    skipped: Faults | None = None,
    merge_subtokens: bool = False,
) -> Iterator[Doc]:
    """The documents of a CoNLL-U file, of `n_sents` sentences each.

    name: of the file, for messages.
    skipped: where given, sentences with a fault are left out and noted there.
    merge_subtokens: make a multiword token one token.

    Raises ValueError, naming file, line and sentence, at the first sentence with a fault: columns
    that are missing, words that are not numbered 1, 2, 3, …, a part of speech, feature or head that
    cannot be read, a head outside the sentence, several roots, a cycle.
    """
    sentences = []
    for block in _blocks(text.split("\n"), name):
        try:
            sentences.append(_checked(block))
        except ValueError as fault:
            if skipped is None:
                raise
            skipped.messages.append(str(fault))
        if skipped is not None:
            skipped.n_sentences += 1
    if not sentences:
        return
    lines = "\n\n".join(map(str, sentences))
    docs = conllu_to_docs(lines, n_sents=1, merge_subtokens=merge_subtokens, no_print=True)
    for kind, run in groupby(zip(sentences, docs, strict=True), key=lambda pair: pair[0].kind):
        ours = map(_as_one_sentence, (doc for _, doc in run))
        for batch in minibatch(ours, 1 if kind == ROOTLESS else n_sents):
            yield Doc.from_docs(batch)


def _as_one_sentence(doc: Doc) -> Doc:
    """Put words whose heads are missing under the root; without any head, set the boundaries."""
    columns = doc.to_array(["HEAD", "DEP"])
    known = columns[:, 1] != 0
    if not known.any():
        for token in doc:
            token.is_sent_start = token.i == 0
        return doc
    roots = np.flatnonzero(known & (columns[:, 0] == 0))
    if len(roots) and not known.all():
        to_root = (roots[0] - np.arange(len(doc))).astype(np.int64).view(np.uint64)
        columns[~known, 0] = to_root[~known]
        doc.from_array(["HEAD", "DEP"], cast(Ints2d, columns))
    return doc


def _blocks(lines: Iterable[str], name: str) -> Iterator[_Block]:
    """The sentences of a file: word lines between blank lines, without comments."""
    number_of_sentences = 0
    blocks = groupby(enumerate(lines, start=1), key=lambda item: not item[1].strip())
    for blank, block in blocks:
        words, sent_id = [], ""
        for number, line in () if blank else block:
            if not line.startswith("#"):
                words.append((number, line))
            elif match := SENT_ID.fullmatch(line):
                sent_id = match[1]
        if words:
            number_of_sentences += 1
            yield _Block(name, sent_id or f"no. {number_of_sentences}", words)


def _checked(block: _Block) -> _Sentence:
    """The sentence of a block; raises ValueError for what spaCy refuses unclearly or not at all."""
    rows: list[list[str]] = []
    places: list[int] = []  # line numbers of the words
    words: list[list[str]] = []
    range_end = 0
    for number, line in block.lines:
        row = line.split("\t")
        if len(row) != N_COLUMNS:
            raise block.fault(
                number, f"{len(row)} columns instead of {N_COLUMNS} that tabs separate"
            )
        if EMPTY_NODE.fullmatch(row[ID]):
            continue
        if match := RANGE.fullmatch(row[ID]):
            if not max(range_end, len(words)) < int(match[1]) == len(words) + 1 <= int(match[2]):
                raise block.fault(number, f"the range {row[ID]} does not begin at the next word")
            range_end = int(match[2])
        elif row[ID] != str(len(words) + 1):
            raise block.fault(
                number, f"a word has the id '{row[ID]}' where {len(words) + 1} is expected"
            )
        else:
            _check_word(row, block, number)
            words.append(row)
            places.append(number)
        row[MISC] = row[MISC].strip() or "_"  # the converter strips, and then misses the column
        rows.append(row)
    last = block.lines[-1][0]
    if not words:
        raise block.fault(last, "the sentence has no words")
    if range_end > len(words):
        raise block.fault(last, f"the sentence ends at word {len(words)}, within a range")
    heads = [_head(row, len(words), block, place) for row, place in zip(words, places)]
    return _Sentence(rows, _settle_heads(words, heads, block, places))


def _check_word(row: list[str], block: _Block, number: int) -> None:
    """Check what is said of a word apart from its head, and empty what is "_"."""
    if not row[FORM].strip():
        raise block.fault(number, f"word {row[ID]} has no form")
    if row[UPOS] not in PARTS_OF_SPEECH and row[UPOS] != "_":
        raise block.fault(number, f"'{row[UPOS]}' is no universal part of speech (UPOS)")
    if row[FEATS] != "_" and not all("=" in feature for feature in row[FEATS].split("|")):
        raise block.fault(number, f"'{row[FEATS]}' is not a list of features as in A=b|C=d")
    if row[LEMMA] == "_" != row[FORM]:
        row[LEMMA] = ""
    if row[UPOS] == row[XPOS] == "_":
        row[XPOS] = ""


def _head(row: list[str], n_words: int, block: _Block, number: int) -> int | None:
    """The head number of a word, None where it is missing."""
    if row[HEAD] == "_":
        return None
    if not NUMBER.fullmatch(row[HEAD]):
        raise block.fault(number, f"word {row[ID]} has the head '{row[HEAD]}', which is no number")
    head = int(row[HEAD])
    if head > n_words:
        raise block.fault(
            number, f"word {row[ID]} has the head {head}, but there are {n_words} words"
        )
    if row[DEPREL] in ("", "_"):
        raise block.fault(
            number,
            f"word {row[ID]} has a head but no relation; UD's name of an unspecified one is 'dep', "
            "and '_' in HEAD says that the head is not known either",
        )
    return head


def _settle_heads(
    words: list[list[str]], heads: list[int | None], block: _Block, places: list[int]
) -> str:
    """Check that the heads are (part of) a tree, mark those that are missing, and give the kind."""
    roots = [number for number, head in enumerate(heads, start=1) if head == 0]
    if len(roots) > 1:
        raise block.fault(
            places[roots[1] - 1],
            f"words {' and '.join(map(str, roots))} are roots, but a sentence has one",
        )
    if cycle := _cycle(heads):
        ring = " → ".join(map(str, (*cycle, cycle[0])))
        raise block.fault(places[cycle[0] - 1], f"the heads of the words go in a circle: {ring}")
    for row, head in zip(words, heads):
        if head is None:
            row[DEPREL] = ""
    if roots:
        return TREE
    return BARE if all(head is None for head in heads) else ROOTLESS


def _cycle(heads: list[int | None]) -> list[int]:
    """The words of a cycle, each followed by its head, or none."""
    safe: set[int] = set()
    for start in range(1, len(heads) + 1):
        path: list[int] = []
        word: int | None = start
        while word and word not in safe:
            if word in path:
                return path[path.index(word) :]
            path.append(word)
            word = heads[word - 1]
        safe.update(path)
    return []
