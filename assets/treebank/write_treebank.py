"""Write the treebank: sentences and their trees from a grammar with real ambiguity.

    python assets/treebank/write_treebank.py                        # the files beside this script
    python assets/treebank/write_treebank.py --output F --seed 1    # another treebank, in folder F
    python assets/treebank/write_treebank.py --raw 2400 --output raw.txt    # unlabelled sentences
    python assets/treebank/write_treebank.py --entities --output F  # with entities, see README.md

No sentence comes twice, in one file or in two; raw text repeats none of the treebank of its seed.
The same grammar, words, number and seed give the same file. README.md says what the grammar does.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator
from pathlib import Path

from lexicon import Lexicon
from sentences import Sentences
from trees import Word, text_of, to_conllu

HERE = Path(__file__).resolve().parent
SIZES = {"train": 1160, "dev": 150, "test": 250}
QUESTION_SHARE = 0.1
LENGTHS = range(4, 23)
MAX_TRIES = 100


def finish(words: list[Word], root: Word, mark: str) -> list[Word]:
    """A sentence with its final punctuation and a capital."""
    words = [*words, Word(mark, "PUNCT", root, "punct", tight=True)]
    words[0].form = words[0].form[0].upper() + words[0].form[1:]
    return words


def sentences(part: str, seed: int, entities: bool) -> Iterator[list[Word]]:
    """An endless stream of sentences of one part: "train", "dev", "test" or "raw"."""
    rng = random.Random(f"{part} {seed}")
    grammar = Sentences(rng, Lexicon(rng, part), organisations=entities)
    while True:
        if rng.random() < QUESTION_SHARE:
            words, root = grammar.question()
            yield finish(words, root, "?")
        else:
            words, root = grammar.statement()
            yield finish(words, root, ".")


def distinct(part: str, n: int, seed: int, taken: set[str], entities: bool) -> list[list[Word]]:
    """As many sentences of a part as are asked for, none of which has been taken."""
    found: list[list[Word]] = []
    stream = sentences(part, seed, entities)
    for _ in range(MAX_TRIES * n):
        if len(found) == n:
            return found
        words = next(stream)
        text = text_of(words)
        if len(words) in LENGTHS and text not in taken:
            taken.add(text)
            found.append(words)
    raise ValueError(f"the grammar gives only {len(found)} distinct sentences")


def treebank(seed: int, entities: bool) -> tuple[dict[str, str], set[str]]:
    """The text of each file, and the sentences of all of them."""
    taken: set[str] = set()
    files = {}
    for part, size in SIZES.items():
        found = distinct(part, size, seed, taken, entities)
        files[f"{part}.conllu"] = "".join(
            to_conllu(words, f"{part}-{number}", entities)
            for number, words in enumerate(found, start=1)
        )
    return files, taken


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Write the treebank or raw text of its kind.")
    parser.add_argument("--output", type=Path, help="folder (with --raw: text file) to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--raw", type=int, metavar="N", help="write N unlabelled sentences instead")
    parser.add_argument(
        "--entities", action="store_true", help="with organisations, and all names as entities"
    )
    options = parser.parse_args(arguments)
    if options.entities and options.output is None:
        parser.error("--entities needs --output: the files beside this script have none")
    if options.raw is not None and (options.raw < 1 or options.output is None):
        parser.error("--raw needs a positive number and --output FILE")
    files, taken = treebank(options.seed, options.entities)
    if options.raw is not None:
        found = distinct("raw", options.raw, options.seed, taken, options.entities)
        lines = map(text_of, found)
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text("\n".join(lines) + "\n", encoding="utf8", newline="\n")
        print(f"{options.output}: {options.raw} sentences", file=sys.stderr)
        return
    folder = options.output or HERE
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf8", newline="\n")
        print(f"{folder / name}: {text.count('# text')} sentences", file=sys.stderr)


if __name__ == "__main__":
    main()
