"""Pipelines of spaCy's own components that know a few sentences by heart, as teachers."""

import warnings
from functools import lru_cache

import spacy
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import fix_random_seed

from spacy_skd.distill.adapters import find_reader

TOK2VEC = {
    "@architectures": "spacy.HashEmbedCNN.v2",
    "pretrained_vectors": None,
    "width": 24,
    "depth": 1,
    "embed_size": 200,
    "window_size": 1,
    "maxout_pieces": 2,
    "subword_features": True,
}
TAGGER = {"@architectures": "spacy.Tagger.v2", "nO": None, "tok2vec": TOK2VEC}
TRANSITIONS = {
    "@architectures": "spacy.TransitionBasedParser.v2",
    "extra_state_tokens": False,
    "hidden_width": 32,
    "maxout_pieces": 2,
    "use_upper": True,
    "nO": None,
    "tok2vec": TOK2VEC,
}
NER = TRANSITIONS | {"state_type": "ner"}
PARSER = TRANSITIONS | {"state_type": "parser"}
SPANS = {
    "@architectures": "spacy.SpanCategorizer.v1",
    "tok2vec": TOK2VEC,
    "reducer": {"@layers": "spacy.mean_max_reducer.v1", "hidden_size": 24},
}
BEAM = {"beam_density": 0.0, "beam_update_prob": 0.5}
COMPONENTS: dict[str, tuple[str, dict]] = {
    "tagger": ("tagger", {"model": TAGGER}),
    "morphologizer": ("morphologizer", {"model": TAGGER}),
    "senter": ("senter", {"model": TAGGER}),
    "ner": ("ner", {"model": NER}),
    "beam_ner": ("beam_ner", BEAM | {"model": NER, "beam_width": 8}),
    "parser": ("parser", {"model": PARSER, "min_action_freq": 1}),
    "beam_parser": ("beam_parser", BEAM | {"model": PARSER, "min_action_freq": 1, "beam_width": 6}),
    "spancat": (
        "spancat",
        {"model": SPANS | {"scorer": {"@layers": "spacy.LinearLogistic.v1"}}, "spans_key": "sc"},
    ),
    "single": (
        "spancat_singlelabel",
        {"model": SPANS | {"scorer": {"@layers": "Softmax.v2"}}, "spans_key": "sc"},
    ),
}
SENTENCES = [
    # the third is not projective, the last is two sentences
    ("Ada sees old ships", "NNP VBZ JJ NNS", [1, 1, 3, 1], "nsubj ROOT amod obj", "U-PER O O O"),
    (
        "Bob paints New York",
        "NNP VBZ NNP NNP",
        [1, 1, 3, 1],
        "nsubj ROOT flat:name obj",
        "U-PER O B-LOC L-LOC",
    ),
    (
        "Ada sees ships today that sail",
        "NNP VBZ NNS RB WDT VBZ",
        [1, 1, 1, 1, 5, 2],
        "nsubj ROOT obj advmod nsubj acl-relcl",
        "U-PER O O O O O",
    ),
    (
        "Ada sleeps . Bob sails .",
        "NNP VBZ . NNP VBZ .",
        [1, 1, 1, 4, 4, 4],
        "nsubj ROOT punct nsubj ROOT punct",
        "U-PER O O U-PER O O",
    ),
]
TEXTS = [text for text, *_ in SENTENCES]
POS_OF = {"NNP": "PROPN", "VBZ": "VERB", "JJ": "ADJ", "NNS": "NOUN", "RB": "ADV", "WDT": "PRON"}
MORPH_OF = {"NNP": "Number=Sing", "NNS": "Number=Plur", "VBZ": "VerbForm=Fin|Tense=Pres"}


def examples(nlp: Language) -> list[Example]:
    found = []
    for text, tags, heads, relations, entities in SENTENCES:
        words = text.split()
        reference = Doc(
            nlp.vocab,
            words=words,
            tags=tags.split(),
            pos=[POS_OF.get(tag, "PUNCT") for tag in tags.split()],
            morphs=[MORPH_OF.get(tag, "") for tag in tags.split()],
            heads=heads,
            deps=relations.split(),
            ents=[tag.replace("U-", "B-").replace("L-", "I-") for tag in entities.split()],
        )
        reference.spans["sc"] = list(reference.ents)
        found.append(Example(Doc(nlp.vocab, words=words), reference))
    return found


def blank(*names: str) -> Language:
    nlp = spacy.blank("en", meta={"name": "stock"})
    for name in names:
        factory, config = COMPONENTS[name]
        nlp.add_pipe(factory, name=name, config=config)
    return nlp


@lru_cache
def _trained(names: tuple[str, ...]) -> bytes:
    nlp = blank(*names)
    fix_random_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tables of normal forms that are not installed
        optimizer = nlp.initialize(lambda: examples(nlp))
    optimizer.learn_rate = 0.01
    for _ in range(30):
        nlp.update(examples(nlp), sgd=optimizer)
    return nlp.to_bytes()


def stock_pipeline(*names: str) -> Language:
    """A pipeline with some of the `COMPONENTS` that has been trained on the sentences."""
    return blank(*names).from_bytes(_trained(names))


def docs_of(nlp: Language) -> list[Doc]:
    """The sentences without annotation."""
    return [Doc(nlp.vocab, words=text.split()) for text in TEXTS]


def read(nlp, name, docs):
    """What is read of a component's only, or last, target."""
    reader = find_reader(nlp, name)
    return reader.read(docs, reader.predict(docs))[reader.targets[-1]]
