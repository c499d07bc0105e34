"""Labels that say features and part of speech at once, as spaCy's `morphologizer` spells them:
`Number=Sing|POS=NOUN`."""

from functools import lru_cache

from spacy.morphology import Morphology

NO_FEATURES = Morphology.EMPTY_MORPH
_POS = "POS="


def analysis_of(features: str, pos: str) -> str:
    """The label of features (`Case=Nom|Number=Sing`, "_" or "" for none) and a part of speech, ""
    for none."""
    fields = [] if features in ("", NO_FEATURES) else features.split("|")
    return "|".join(sorted([*fields, *([_POS + pos] if pos else [])])) or NO_FEATURES


@lru_cache(maxsize=10_000)
def parts_of(analysis: str) -> tuple[str, str]:
    """The features of a label, "_" for none, and its part of speech, "" for none."""
    fields = analysis.split("|")
    pos = [field.removeprefix(_POS) for field in fields if field.startswith(_POS)]
    features = [field for field in fields if not field.startswith(_POS)]
    return "|".join(features) or NO_FEATURES, pos[0] if pos else ""
