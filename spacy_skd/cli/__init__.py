"""`python -m spacy skd …`: one command a file, in one group that is added to spaCy's commands."""

import typer
from spacy.cli._util import app as spacy_app

from . import annotate, calibrate, compare, convert, distill, widen

OVERRIDABLE = {"allow_extra_args": True, "ignore_unknown_options": True}

app = typer.Typer(
    name="skd",
    help="Distil a spaCy pipeline into a smaller one (spacy-skd).",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.command("annotate")(annotate.annotate_cli)
app.command("distill", context_settings=OVERRIDABLE)(distill.distill_cli)
app.command("convert")(convert.convert)
app.command("compare")(compare.compare)
app.command("calibrate")(calibrate.calibrate_cli)
app.command("widen")(widen.widen_cli)

spacy_app.add_typer(app)
