"""`spacy-skd.DistillLogger.v1`: spaCy's console logger, and a line of JSON for each evaluation."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from spacy.language import Language
from spacy.training.loggers import console_logger

Info = dict[str, Any]
Logger = tuple[Callable[[Info | None], None], Callable[[], None]]
LOGGED = ("step", "epoch", "score", "losses", "other_scores", "seconds", "words")


def distill_logger(
    progress_bar: bool = False, path: str | Path | None = None
) -> Callable[[Language, IO, IO], Logger]:
    """Construct the logger `spacy-skd.DistillLogger.v1`.

    progress_bar: show progress towards the next evaluation.
    path: a file of JSON lines, one an evaluation: step, epoch, score, losses, scores, seconds and
        words. What it holds already is kept. None to write none.
    """
    setup_console = console_logger(progress_bar)

    def setup(nlp: Language, stdout: IO = sys.stdout, stderr: IO = sys.stderr) -> Logger:
        log_console, finalize = setup_console(nlp, stdout, stderr)

        def log_step(info: Info | None) -> None:
            log_console(info)
            if info is not None and path:
                _append(Path(path), info)

        return log_step, finalize

    return setup


def _append(path: Path, info: Info) -> None:
    """Add a line to the file, in one write, so that it is whole whenever training ends."""
    names = {"other_scores": "scores"}
    line = {names.get(key, key): info[key] for key in LOGGED}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf8") as file:
        file.write(json.dumps(line, default=float) + "\n")
