"""Compose raw, unlabelled sentences from written parts.

The labelled sentences beside this file (``train.txt``, ``dev.txt``, ``test.txt``) are written by
hand. This script makes the unlabelled text that goes with them: it draws a sentence frame from
``parts.txt``, chooses among the frame's alternatives and fills its slots with listed or invented
names of people, organisations, places and products::

    python assets/entities/compose_raw.py raw.txt --n-sentences 2400 --seed 0

The output has one sentence per line. All lines are distinct, no line repeats a labelled sentence,
and the same parts, number and seed always give the same file. ``parts.txt`` explains its format.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

HERE = Path(__file__).resolve().parent
LABELLED = ("train.txt", "dev.txt", "test.txt")
NO_NAMES = "frames: no names"
NO_NAMES_SHARE = 0.15
MAX_TRIES = 100

MARKUP = re.compile(r"\[([^\[\]|]+)\|[A-Z]+\]")
ALTERNATIVES = re.compile(r"<([^<>]*)>")
SLOT = re.compile(r"(\b[Aa] )?\{(\w+)\}")


def read_parts(path: Path) -> dict[str, list[str]]:
    """Read the sections of a parts file: frames by line, other lists by comma."""
    parts: dict[str, list[str]] = {}
    section = ""
    for line in path.read_text(encoding="utf8").splitlines():
        line = line.strip()
        if line.startswith("## "):
            section = line.removeprefix("## ")
            parts[section] = []
        elif not line or line.startswith("#"):
            continue
        elif section.startswith("frames"):
            parts[section].append(line)
        else:
            parts[section] += [item.strip() for item in line.split(",") if item.strip()]
    return parts


def read_labelled(folder: Path) -> set[str]:
    """Return the labelled sentences without their markup, as comparison keys."""
    lines = (line for name in LABELLED for line in (folder / name).read_text("utf8").splitlines())
    return {key(MARKUP.sub(r"\1", line)) for line in lines if line and not line.startswith("#")}


def key(sentence: str) -> str:
    """Reduce a sentence to its lower-case words, to compare it with others."""
    return " ".join(re.findall(r"\w+", sentence.casefold()))


class Composer:
    """Composes sentences from the sections of a parts file with a random generator of its own."""

    def __init__(self, parts: dict[str, list[str]], seed: int) -> None:
        self.parts = parts
        self.rng = random.Random(seed)
        self.frames = [
            frame
            for section, frames in parts.items()
            if section.startswith("frames") and section != NO_NAMES
            for frame in frames
        ]
        self.decks: dict[bool, list[str]] = {True: [], False: []}
        self.makers: dict[str, Callable[[], str]] = {
            "agency": self.agency,
            "city": self.city,
            "company": self.company,
            "device": self.device,
            "drug": self.drug,
            "gadget": self.gadget,
            "person": self.person,
            "restaurant": self.restaurant,
            "school": self.school,
            "ship": self.ship,
            "software": self.software,
            "spot": self.spot,
            "street": self.street,
            "team": self.team,
            "town": self.town,
            "university": self.university,
            "vehicle": self.vehicle,
        }

    # Drawing

    def pick(self, section: str) -> str:
        """Draw an item of a list section."""
        return self.rng.choice(self.parts[section])

    def choose(self, *patterns: str) -> str:
        """Draw one of some patterns and fill its slots from makers and list sections."""
        pattern = self.rng.choice(patterns)
        return re.sub(r"\{(\w+)\}", lambda match: self.make(match[1]), pattern)

    def make(self, slot: str) -> str:
        """Make a text for a slot."""
        maker = self.makers.get(slot)
        return maker() if maker else self.pick(slot)

    def next_frame(self) -> str:
        """Draw a frame; each one comes once before any comes again."""
        plain = self.rng.random() < NO_NAMES_SHARE
        if not self.decks[plain]:
            self.decks[plain] = list(self.parts[NO_NAMES] if plain else self.frames)
            self.rng.shuffle(self.decks[plain])
        return self.decks[plain].pop()

    # Names of people and organisations

    def person(self) -> str:
        return self.choose(
            *["{first} {last}"] * 7,
            "{first} {particle_last}",
            "{first} {last}-{last}",
            f"{self.initial()} {{last}}",
            f"{{first}} {self.initial()} {{last}}",
        )

    def initial(self) -> str:
        return self.pick("first")[0] + "."

    def coined(self) -> str:
        """Invent a word of three syllables."""
        while True:
            syllables = [self.pick(f"coin_{place}") for place in ("start", "middle", "end")]
            if len({syllable[:2].casefold() for syllable in syllables}) == 3:
                return "".join(syllables)

    def company(self) -> str:
        coined, word = self.coined(), self.pick("product_word")
        return self.choose(
            coined,
            *[f"{coined} {{company_kind}}"] * 3,
            f"{coined} {{company_form}}",
            f"{word} {{company_kind}}",
            "{last} {company_kind}",
            "{last} & {last}",
            "{last} Brothers",
            "{city} {company_kind}",
        )

    def agency(self) -> str:
        return self.pick("agency")

    def team(self) -> str:
        return self.choose("{city} {team_kind}", "{town} {team_kind}")

    def restaurant(self) -> str:
        return self.choose(
            "Café {first}", "Casa {last}", "The Hungry {product_word}", "The {product_word} Room"
        )

    def school(self) -> str:
        return self.choose("{last} College", "{city} Polytechnic", "{town} University")

    def university(self) -> str:
        return self.choose("University of {city}", "{last} Institute", "{city} School of Mines")

    # Names of places

    def town(self) -> str:
        """Invent a small town."""
        while True:
            start, end = self.pick("town_start"), self.pick("town_end")
            if start[-1] != end[0]:
                return start + end

    def city(self) -> str:
        return self.town() if self.rng.random() < 0.15 else self.pick("city")

    def spot(self) -> str:
        return self.choose("{town} {spot_kind}", "{last} {spot_kind}", "{city} {spot_kind}")

    def street(self) -> str:
        return self.choose("{town} {street_kind}", "{last} {street_kind}")

    # Names of products

    def gadget(self) -> str:
        return self.choose(
            *["{product_word} {gadget_model}"] * 3,
            f"{self.coined()} {{gadget_model}}",
            "{product_word}",
        )

    def device(self) -> str:
        return f"{self.gadget()} {self.pick('gadget_kind')}"

    def software(self) -> str:
        name = self.choose("{product_word}{software_end}", self.coined())
        return self.choose(name, name, name, f"{name} {self.rng.randint(2, 12)}")

    def vehicle(self) -> str:
        return self.choose(
            "{product_word} {vehicle_model}",
            f"{self.coined()} {{vehicle_model}}",
            self.coined(),
        )

    def drug(self) -> str:
        """Invent a medicine; a vowel of the stem gives way to a vowel of the ending."""
        middle, end = self.pick("coin_middle"), self.pick("drug_end")
        return self.pick("coin_start") + (middle[0] if end[0] in "aeio" else middle) + end

    def ship(self) -> str:
        return self.choose("Lady {first}", "Queen {first}", "{product_word} of {city}")

    # Sentences

    def fill(self, frame: str) -> str:
        """Choose the alternatives of a frame and fill its slots, if possible with no name twice."""
        frame = ALTERNATIVES.sub(lambda match: self.rng.choice(match[1].split("/")), frame)
        used: set[str] = set()

        def fill_slot(match: re.Match[str]) -> str:
            article, slot = match[1] or "", match[2]
            for _ in range(MAX_TRIES):
                text = self.make(slot)
                words = {word for word in re.findall(r"\w+", text) if len(word) > 2}
                if not words & used:
                    break
            used.update(words)
            if article and text[0] in "AEIOUaeiou":
                article = article.replace(" ", "n ")
            return article + text

        return SLOT.sub(fill_slot, frame)

    def sentence(self) -> str:
        """Compose one sentence."""
        frame = self.next_frame()
        text = self.fill(frame.removeprefix("~ "))
        return text.casefold() if frame.startswith("~ ") else text[0].upper() + text[1:]


def compose(n_sentences: int, seed: int, folder: Path = HERE) -> list[str]:
    """Compose distinct sentences, none of them a labelled one."""
    composer = Composer(read_parts(folder / "parts.txt"), seed)
    taken = read_labelled(folder)
    sentences: list[str] = []
    for _ in range(MAX_TRIES * n_sentences):
        if len(sentences) == n_sentences:
            break
        sentence = composer.sentence()
        if key(sentence) not in taken:
            taken.add(key(sentence))
            sentences.append(sentence)
    if len(sentences) < n_sentences:
        raise ValueError(f"the parts give only {len(sentences)} distinct sentences")
    return sentences


def main(
    output: Annotated[Path, typer.Argument(help="Text file to write, one sentence per line.")],
    n_sentences: Annotated[int, typer.Option(min=1, help="Number of sentences.")] = 2400,
    seed: Annotated[int, typer.Option(help="Seed of the random generator.")] = 0,
) -> None:
    """Write distinct raw sentences composed from parts.txt to OUTPUT."""
    try:
        sentences = compose(n_sentences, seed)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    output.write_text("\n".join(sentences) + "\n", encoding="utf8")
    typer.echo(f"{output}: {len(sentences)} sentences")


if __name__ == "__main__":
    typer.run(main)
