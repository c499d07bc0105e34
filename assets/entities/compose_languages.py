"""Compose labelled sentences in several languages, a folder for each.

The frames are those of ``languages.txt``, the names those of ``parts.txt``, which are the same in
all languages::

    python assets/entities/compose_languages.py corpus/languages --language en --language de

Each folder has ``train.txt``, ``dev.txt`` and ``test.txt`` with entities marked as in the labelled
sentences beside this file. All sentences of a language are distinct, and the same frames, names,
numbers and seed always give the same files.
"""

import random
from pathlib import Path
from typing import Annotated

import typer
from compose_raw import HERE, MAX_TRIES, Composer, key, read_parts

FRAMES = "frames: {}"


def compose(language: str, n_sentences: int, seed: int, folder: Path = HERE) -> list[str]:
    """Compose distinct labelled sentences of a language."""
    parts, languages = (read_parts(folder / name) for name in ("parts.txt", "languages.txt"))
    section = FRAMES.format(language)
    if section not in languages:
        known = ", ".join(name.split()[-1] for name in languages)
        raise ValueError(f"there are no frames of the language {language!r}, only of {known}")
    composer = Composer(parts, seed)
    composer.rng = random.Random(f"{language} {seed}")  # other names in every language
    taken: dict[str, str] = {}
    for _ in range(MAX_TRIES * n_sentences):
        if len(taken) == n_sentences:
            return list(taken.values())
        sentence = composer.fill(composer.rng.choice(languages[section]))
        taken.setdefault(key(sentence), sentence)
    raise ValueError(f"the frames of {language!r} give only {len(taken)} distinct sentences")


def main(
    output: Annotated[Path, typer.Argument(help="Folder to write a folder a language to.")],
    language: Annotated[list[str], typer.Option(help="A language with frames in languages.txt.")],
    train: Annotated[int, typer.Option(min=1, help="Sentences to train on.")] = 600,
    dev: Annotated[int, typer.Option(min=1, help="Sentences to develop on.")] = 100,
    test: Annotated[int, typer.Option(min=1, help="Sentences to test on.")] = 150,
    seed: Annotated[int, typer.Option(help="Seed of the random generator.")] = 0,
) -> None:
    """Write distinct labelled sentences, composed from languages.txt, to OUTPUT."""
    for name in language:
        try:
            sentences = iter(compose(name, train + dev + test, seed))
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
        folder = output / name
        folder.mkdir(parents=True, exist_ok=True)
        for split, count in (("train", train), ("dev", dev), ("test", test)):
            lines = [next(sentences) for _ in range(count)]
            (folder / f"{split}.txt").write_text("\n".join(lines) + "\n", encoding="utf8")
        typer.echo(f"{folder}: {train + dev + test} sentences")


if __name__ == "__main__":
    typer.run(main)
