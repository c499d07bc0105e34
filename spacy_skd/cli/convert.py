"""`python -m spacy skd convert`: annotated corpora of several formats to spaCy's binary format."""

import re
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated

import spacy
import typer
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from spacy.training.converters import conll_ner_to_docs
from wasabi import msg

from ..training.conllu import Faults, read_conllu
from ..training.documents import read_annotated
from ..training.join_entities import Joined, join_entities
from .annotate import clear_errors

MARKUP = re.compile(r"\[([^\[\]|]+)\|([^\[\]|]+)\]")
N_SHOWN = 5  # sentences that were left out and are shown


class OnError(str, Enum):
    """What to do about a sentence of a treebank whose annotation cannot be used."""

    error = "error"
    skip = "skip"


def convert(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            help="Files with inline markup (.txt), CoNLL-U (.conllu), IOB (.iob) or .spacy",
            exists=True,
            dir_okay=False,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write (.spacy)")],
    lang: Annotated[str, typer.Option("--lang", "-l", help="Language of the text")] = "en",
    n_sents: Annotated[
        int, typer.Option("--n-sents", "-n", min=1, help="Sentences a document (CoNLL-U)")
    ] = 1,
    on_error: Annotated[
        OnError,
        typer.Option(
            "--on-error", help="Stop at a sentence that is no tree, or leave it out (CoNLL-U)"
        ),
    ] = OnError.error,
    merge_subtokens: Annotated[
        bool,
        typer.Option(
            "--merge-subtokens",
            "-T",
            help="Make one token of a multiword token such as French 'du', as in text (CoNLL-U)",
        ),
    ] = False,
    entities: Annotated[
        list[Path] | None,
        typer.Option(
            "--entities",
            "-e",
            help="Take the entities from this file, which has the same sentences; once a file",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
) -> None:
    """
    Convert a corpus of entities or trees, one document a sentence.

    Inline markup is one sentence a line with entities as [Ada Brook|PERSON]; lines that begin with
    # are comments. CoNLL-U keeps heads, relations, tags, morphology and lemmas; "_" as a head says
    that it is not known.

    With --entities, sentences of a treebank get the entities of the same sentences of another
    corpus. Those that are not there get none: their entities are missing, which is no negative
    example.
    """
    nlp = spacy.blank(lang)
    skipped = Faults() if on_error == OnError.skip else None
    joined = Joined()
    with clear_errors():
        if entities and n_sents != 1:
            raise ValueError("--entities joins sentence by sentence: leave --n-sents at 1.")
        corpus: Iterator[Doc] = (
            doc
            for path in inputs
            for doc in read_corpus(
                path, nlp, n_sents=n_sents, skipped=skipped, merge_subtokens=merge_subtokens
            )
        )
        if entities:
            others = (doc for path in entities for doc in read_corpus(path, nlp))
            corpus = join_entities(corpus, others, joined)
        docs = DocBin(docs=corpus, store_user_data=True)
        if entities and joined.n_docs and not joined.n_found:
            raise ValueError(
                f"None of {joined.n_docs:,} sentences is in {_listed(entities)}: the tokens have "
                "to be the same."
            )
    if skipped is not None and skipped.messages:
        _report(skipped)
    if not len(docs):
        raise typer.BadParameter(f"There are no sentences in {_listed(inputs)}.")
    if entities:
        _report_joined(joined, entities)
    output.parent.mkdir(parents=True, exist_ok=True)
    docs.to_disk(output)
    msg.good(f"{len(docs)} documents", str(output))


def _listed(files: Iterable[Path]) -> str:
    return ", ".join(map(str, files))


def _report_joined(joined: Joined, files: Iterable[Path]) -> None:
    found = f"{joined.n_found:,} of {joined.n_docs:,} sentences"
    msg.info(f"{found} have the entities of {_listed(files)}")
    if joined.n_without:
        msg.info(f"Of the other {joined.n_without:,} they are missing")


def _report(skipped: Faults) -> None:
    n_skipped = len(skipped.messages)
    msg.warn(f"{n_skipped:,} of {skipped.n_sentences:,} sentences of CoNLL-U were left out")
    for message in skipped.messages[:N_SHOWN]:
        typer.echo(f"  {message}")
    if n_skipped > N_SHOWN:
        typer.echo(f"  and {n_skipped - N_SHOWN:,} more")


def read_corpus(
    path: Path,
    nlp: Language,
    *,
    n_sents: int = 1,
    skipped: Faults | None = None,
    merge_subtokens: bool = False,
) -> Iterator[Doc]:
    """The documents of a corpus file, in the format that its suffix tells.

    n_sents, merge_subtokens: of CoNLL-U, see `read_conllu`.
    skipped: where given, sentences of CoNLL-U that are no trees are left out and noted there.

    Raises ValueError, naming the file (and, for inline markup and CoNLL-U, the line), where the
    format is not kept.
    """
    if n_sents != 1 and path.suffix != ".conllu":
        raise ValueError(f"{path}: only CoNLL-U files take a number of sentences (--n-sents).")
    if path.suffix == ".txt":
        yield from read_markup(_read_text(path).split("\n"), nlp, str(path))
    elif path.suffix == ".spacy":
        yield from (doc for _, doc in read_annotated([path], nlp.vocab))
    elif path.suffix == ".conllu":
        text = _read_text(path)
        try:
            yield from read_conllu(text, str(path), n_sents, skipped, merge_subtokens)
        except ValueError as error:
            hint = "--on-error skip leaves sentences out whose annotation cannot be used."
            raise ValueError(f"{error}. {hint}" if skipped is None else str(error)) from error
    elif path.suffix == ".iob":
        text = _read_text(path)
        try:
            yield from conll_ner_to_docs(text, n_sents=1, no_print=True)
        except Exception as error:  # whatever spaCy's converter raises for what it cannot read
            raise ValueError(f"{path} cannot be read as {path.suffix}: {error}") from error
    else:
        raise ValueError(
            f"{path}: corpora are read from .txt (inline markup), .conllu, .iob and .spacy files."
        )


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8: {error}") from error


def read_markup(lines: Iterable[str], nlp: Language, name: str = "") -> Iterator[Doc]:
    """The documents of lines with inline markup: [Ada Brook|PERSON] lives in [Leeds|LOC].

    Raises ValueError, naming file and line, where an entity does not end at token borders or a
    bracket is left over.
    """
    for number, line in enumerate(lines, start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        text, entities = parse_markup(line)
        if set("[]|") & set(text):
            raise ValueError(f"{name}, line {number}: unfinished markup in '{line}'.")
        doc = nlp.make_doc(text)
        spans = []
        for start, end, label in entities:
            span = doc.char_span(start, end, label=label)
            if span is None:
                raise ValueError(
                    f"{name}, line {number}: the entity '{text[start:end]}' does not begin and end "
                    f"at token borders; the tokens are {[token.text for token in doc]}."
                )
            spans.append(span)
        doc.set_ents(spans)
        yield doc


def parse_markup(line: str) -> tuple[str, list[tuple[int, int, str]]]:
    """A line without its markup, and its entities as (start, end, label) in characters."""
    pieces: list[str] = []
    entities = []
    length = position = 0
    for match in MARKUP.finditer(line):
        before, entity = line[position : match.start()], match[1]
        length += len(before)
        entities.append((length, length + len(entity), match[2]))
        length += len(entity)
        pieces += [before, entity]
        position = match.end()
    return "".join(pieces) + line[position:], entities
