"""`spacy-skd.version_check.v1`: a saved student tells which version of this package it needs, and
warns where it is loaded by another."""

import re
import warnings
from collections.abc import Callable

from spacy.language import Language
from spacy.util import get_minor_version_range, is_compatible_version, split_requirement

from .. import __version__

PACKAGE = "spacy-skd"
OURS = re.compile(r"spacy[-_.]skd(?![-_.]?\w)", re.IGNORECASE)  # in a list of requirements


def requirement() -> str:
    """What a student that was trained with this version needs: the same minor version, in the form
    in which `spacy package` writes the requirements of other packages."""
    return f"{PACKAGE}{get_minor_version_range(__version__)}"


def make_version_check() -> Callable[[Language], Language]:
    """Construct a callback for `[nlp.after_creation]`; see `check_version`."""
    return check_version


def check_version(nlp: Language) -> Language:
    """Warn if the requirements in the pipeline's meta do not allow this version of the package.

    spaCy calls it before it makes the components, so the warning comes before any error that the
    other version may raise.
    """
    for entry in nlp.meta.get("requirements", []):
        if not OURS.match(entry):
            continue
        _, wanted = split_requirement(entry)
        if wanted and is_compatible_version(__version__, wanted) is False:
            meta = nlp.meta
            warnings.warn(
                f"The pipeline {meta['lang']}_{meta['name']} {meta['version']} needs "
                f"{PACKAGE}{wanted}, but {PACKAGE} {__version__} is installed: it may fail to "
                "load, or predict otherwise than when it was evaluated. Install a version that it "
                f'was made for (pip install "{PACKAGE}{wanted}"), or train it again.',
                stacklevel=2,
            )
    return nlp
