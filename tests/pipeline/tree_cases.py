"""What the tests of parsers share: tiny pipelines of every kind, blank and trained."""

import warnings

import spacy

from .tiny import TOK2VEC, TREES, train, tree_examples

MODELS = {
    "heads": {"@architectures": "spacy-skd.BiaffineParser.v1", "structure": "heads"},
    "tree": {"@architectures": "spacy-skd.BiaffineParser.v1", "structure": "tree"},
    "projective": {
        "@architectures": "spacy-skd.BiaffineParser.v1",
        "structure": "tree",
        "projective": True,
    },
    "second order": {"@architectures": "spacy-skd.SecondOrderParser.v1"},
    "labels": {"@architectures": "spacy-skd.LabelParser.v1"},
}
GOLD = [(heads, relations) for _, heads, relations in TREES]
TEXTS = [text for text, _, _ in TREES]


def blank(kind: str = "heads", **settings):
    nlp = spacy.blank("en")
    # The tiny encoder sees three words; a wider window sees all of these sentences.
    tok2vec = TOK2VEC | {"window_size": 3}
    nlp.add_pipe(
        "skd_parser",
        name="parser",
        config={"model": {**MODELS[kind], **settings, "tok2vec": tok2vec, "nO": None}},
    )
    return nlp


def trained(kind: str, examples=None, steps: int = 60, **settings):
    nlp = blank(kind, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train(nlp, examples or tree_examples(nlp), steps=steps)
    return nlp
