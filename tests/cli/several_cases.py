"""What the tests of several teachers share: texts of two languages, and commands."""

from spacy.cli._util import app
from typer.testing import CliRunner

GERMAN = ["Das alte Haus .", "Noch ein Satz ."]
ENGLISH = ["The old house .", "One more sentence ."]


def run(folder, command, *arguments, teachers=("de=german", "en=english")):
    options = []
    for teacher in teachers:
        name, _, path = teacher.partition("=")
        options += ["--teacher", f"{name}={folder / path}"]
    words = ["skd", command, *map(str, arguments), *options, "--output", str(folder / "out")]
    return CliRunner().invoke(app, words)
