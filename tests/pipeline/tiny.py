"""Tiny pipelines and a few annotated sentences: everything that the components' tests train."""

from collections.abc import Iterable

import spacy
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.util import fix_random_seed

TOK2VEC = {
    "@architectures": "spacy.HashEmbedCNN.v2",
    "pretrained_vectors": None,
    "width": 32,
    "depth": 1,
    "embed_size": 200,
    "window_size": 1,
    "maxout_pieces": 2,
    "subword_features": True,
}
ARCHITECTURES = ["LinearChainCRF", "MaxEnt"]
ENTITIES = [
    ("Ada lives in New York City", [(0, 1, "PER"), (3, 6, "LOC")]),
    ("Bob met Ada Lovelace in Oslo", [(0, 1, "PER"), (2, 4, "PER"), (5, 6, "LOC")]),
    ("Nothing happens here", []),
    ("Oslo is far from New York", [(0, 1, "LOC"), (4, 6, "LOC")]),
]
TAGGED = [
    ("Ada sees old ships", ["NNP", "VBZ", "JJ", "NNS"]),
    ("Bob paints ships", ["NNP", "VBZ", "NNS"]),
    ("old Bob sleeps", ["JJ", "NNP", "VBZ"]),
]
TREES = [
    ("Ada sees old ships", [1, 1, 3, 1], ["nsubj", "ROOT", "amod", "obj"]),
    ("Bob paints ships", [1, 1, 1], ["nsubj", "ROOT", "obj"]),
    ("old Bob sleeps", [1, 2, 2], ["amod", "nsubj", "ROOT"]),
    # ships … that sail: the relative clause is beyond the adverb that belongs to the verb
    (
        "Ada sees ships today that sail",
        [1, 1, 1, 1, 5, 2],
        ["nsubj", "ROOT", "obj", "advmod", "nsubj", "acl"],
    ),
]
POS_OF = {"NNP": "PROPN", "VBZ": "VERB", "JJ": "ADJ", "NNS": "NOUN"}
MORPH_OF = {"NNP": "Number=Sing", "VBZ": "Tense=Pres|VerbForm=Fin", "JJ": "", "NNS": "Number=Plur"}


def model(architecture: str = "LinearChainCRF", tok2vec: dict = TOK2VEC) -> dict:
    return {"@architectures": f"spacy-skd.{architecture}.v1", "nO": None, "tok2vec": tok2vec}


def blank(factory: str = "skd_ner", architecture: str = "LinearChainCRF", **config) -> Language:
    """A blank pipeline with one tiny component, "ner" or "tagger"."""
    nlp = spacy.blank("en")
    name = factory.removeprefix("skd_")
    nlp.add_pipe(factory, name=name, config={"model": model(architecture), **config})
    return nlp


def spans_of(doc: Doc, entities: Iterable[tuple[int, int, str]]) -> list[Span]:
    return [Span(doc, start, end, label=label) for start, end, label in entities]


def entity_example(nlp: Language, text: str, entities, spans_key: str | None = None) -> Example:
    reference = nlp.make_doc(text)
    if spans_key is None:
        reference.set_ents(spans_of(reference, entities))
    else:
        reference.spans[spans_key] = spans_of(reference, entities)
    return Example(nlp.make_doc(text), reference)


def entity_examples(nlp: Language, spans_key: str | None = None) -> list[Example]:
    return [entity_example(nlp, *annotated, spans_key) for annotated in ENTITIES]


def tag_examples(nlp: Language) -> list[Example]:
    """Sentences with tags, parts of speech and morphology."""
    examples = []
    for text, tags in TAGGED:
        reference = Doc(
            nlp.vocab,
            words=text.split(),
            tags=tags,
            pos=[POS_OF[tag] for tag in tags],
            morphs=[MORPH_OF[tag] for tag in tags],
        )
        examples.append(Example(nlp.make_doc(text), reference))
    return examples


def tree_examples(nlp: Language) -> list[Example]:
    """Sentences with dependency trees, the last of which is not projective."""
    return [
        Example(nlp.make_doc(text), Doc(nlp.vocab, words=text.split(), heads=heads, deps=relations))
        for text, heads, relations in TREES
    ]


def tree_of(doc: Doc) -> tuple[list[int], list[str]]:
    return [token.head.i for token in doc], [token.dep_ for token in doc]


def train(
    nlp: Language,
    examples: list[Example],
    *,
    steps: int = 40,
    initialize: bool = True,
    learn_rate: float = 0.02,
) -> float:
    """Train on all examples at each step. Returns the last loss of the last component."""
    fix_random_seed(0)
    optimizer = nlp.initialize(lambda: examples) if initialize else nlp.resume_training()
    optimizer.learn_rate = learn_rate
    for _ in range(steps):
        losses = nlp.update(examples, sgd=optimizer)
    return losses[nlp.pipe_names[-1]]


def entities_of(doc: Doc) -> list[tuple[int, int, str]]:
    return [(entity.start, entity.end, entity.label_) for entity in doc.ents]


def predictions(nlp: Language, texts: Iterable[str] | None = None) -> list:
    texts = [text for text, _ in ENTITIES] if texts is None else texts
    return [entities_of(doc) for doc in nlp.pipe(texts)]
