"""`python -m spacy skd convert`: entity corpora of several formats to spaCy's binary format."""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated

import spacy
import typer
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from spacy.training.converters import conll_ner_to_docs, conllu_to_docs
from wasabi import msg

from ..training.documents import read_annotated
from .annotate import clear_errors

CONVERTERS: dict[str, Callable[..., Iterable[Doc]]] = {
    ".conllu": conllu_to_docs,
    ".iob": conll_ner_to_docs,
}
MARKUP = re.compile(r"\[([^\[\]|]+)\|([^\[\]|]+)\]")


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
) -> None:
    """Convert an entity corpus, one document a sentence.

    Inline markup is one sentence a line with entities as [Ada Brook|PERSON]; lines that begin with
    # are comments.
    """
    nlp = spacy.blank(lang)
    with clear_errors():
        corpus = (doc for path in inputs for doc in read_corpus(path, nlp))
        docs = DocBin(docs=corpus, store_user_data=True)
    if not len(docs):
        raise typer.BadParameter(f"There are no sentences in {', '.join(map(str, inputs))}.")
    output.parent.mkdir(parents=True, exist_ok=True)
    docs.to_disk(output)
    msg.good(f"{len(docs)} documents", str(output))


def read_corpus(path: Path, nlp: Language) -> Iterator[Doc]:
    """The documents of a corpus file, in the format that its suffix tells.

    Raises ValueError, naming the file (and, for inline markup, the line), where the format is not
    kept.
    """
    if path.suffix == ".txt":
        yield from read_markup(_read_text(path).split("\n"), nlp, str(path))
    elif path.suffix == ".spacy":
        yield from (doc for _, doc in read_annotated([path], nlp.vocab))
    elif path.suffix in CONVERTERS:
        text = _read_text(path)
        try:
            yield from CONVERTERS[path.suffix](text, n_sents=1, no_print=True)
        except Exception as error:  # whatever spaCy's converters raise for what they cannot read
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
