"""`python -m spacy skd widen`: a trained component gets labels that it can then learn."""

from pathlib import Path
from typing import Annotated

import typer
from spacy.cli._util import import_code
from spacy.language import Language
from spacy.util import load_model
from wasabi import msg

from ..pipeline.parser import Parser
from ..pipeline.structured_pipe import StructuredPipe
from .annotate import clear_errors


def widen_cli(
    model: Annotated[str, typer.Argument(help="Pipeline, an installed package or a folder")],
    label: Annotated[
        list[str],
        typer.Option("--label", "-l", help="A new label; once for each", show_default=False),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="New folder for the pipeline", show_default=False)
    ],
    component: Annotated[
        str | None,
        typer.Option(help="Name of the component (default: the only skd_ner or skd_tagger)"),
    ] = None,
    code: Annotated[
        Path | None, typer.Option("--code", "-c", help="Python file to import first")
    ] = None,
) -> None:
    """
    Give a trained skd_ner or skd_tagger more labels.

    The pipeline predicts as before until it is trained on (`source = "OUTPUT"` in a config). So
    that it does not forget its labels then, the old pipeline can be its teacher.
    """
    import_code(code)
    with clear_errors():
        # Nothing is replaced: the old pipeline has to teach.
        if output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise ValueError(f"{output} exists and is not an empty folder. Give a new one.")
        nlp = load_model(model)
        name = component or find_component(nlp)
        add_labels(nlp, name, label)
        output.parent.mkdir(parents=True, exist_ok=True)
        nlp.to_disk(output)
        labels = ", ".join(nlp.get_pipe(name).labels)  # type: ignore[attr-defined]
        msg.good(f"Saved the pipeline. Labels of '{name}': {labels}", str(output))


def find_component(nlp: Language) -> str:
    """The name of the only component that can be given labels. ValueError if there are several, or
    none."""
    found = [
        name
        for name, pipe in nlp.pipeline
        if isinstance(pipe, StructuredPipe) and not isinstance(pipe, Parser)
    ]
    if len(found) != 1:
        has = f"several: {', '.join(found)}" if found else f"none, only {', '.join(nlp.pipe_names)}"
        raise ValueError(
            f"A skd_ner or skd_tagger gets the labels, and the pipeline has {has}. Name the "
            "component (--component)."
        )
    return found[0]


def add_labels(nlp: Language, name: str, labels: list[str]) -> None:
    """Give a trained component of a pipeline new labels.

    Raises ValueError if it is no component of this package, is not trained, cannot be given labels,
    or has one of them.
    """
    pipe = nlp.get_pipe(name) if name in nlp.pipe_names else None
    if not isinstance(pipe, StructuredPipe):
        raise ValueError(
            f"'{name}' is no skd_ner or skd_tagger of the pipeline (it has "
            f"{', '.join(nlp.pipe_names) or 'no components'})."
        )
    for label in labels:
        if not pipe.add_label(label):
            raise ValueError(f"The component '{name}' has the label '{label}' already.")
    # A config may fix the number of columns, which is another one now.
    settings = nlp.get_pipe_config(name)["model"]
    if settings.get("nO") is not None:
        settings["nO"] = None
