"""Settings of a config that is changed when a trained pipeline is loaded."""

import pytest
import spacy
from spacy.tokens import Doc

from .tiny import blank as blank_entities
from .tiny import entity_examples, predictions, train, tree_of
from .tiny import model as entity_model
from .tree_cases import TEXTS, trained

WORDS = ["Ada", "sees", "ships", ",", "Bob", "paints", "ships"]


def loaded(path, **settings):
    config = {f"components.parser.model.{name}": value for name, value in settings.items()}
    return spacy.load(path, config=config)


def sentences(nlp) -> list[int]:
    doc = nlp.get_pipe("parser")(Doc(nlp.vocab, words=WORDS))
    return [len(sentence) for sentence in doc.sents]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The path of a pipeline by the kind of its parser."""
    paths = {}

    def path_of(kind):
        if kind not in paths:
            paths[kind] = tmp_path_factory.mktemp("saved") / kind
            trained(kind, steps=20).to_disk(paths[kind])
        return paths[kind]

    return path_of


@pytest.mark.parametrize("kind", ["heads", "tree", "second order", "labels"])
def test_the_length_of_sentences(kind, saved, tmp_path):
    nlp = loaded(saved(kind), max_length=4)
    assert sentences(loaded(saved(kind))) == [7]
    assert sentences(nlp) == [4, 3]
    # What is saved then is what was loaded.
    nlp.to_disk(tmp_path)
    assert sentences(spacy.load(tmp_path)) == [4, 3]
    assert sentences(loaded(tmp_path, max_length=200)) == [7]


def test_the_structure(saved):
    nlp = loaded(saved("heads"), structure="tree", projective=True)
    structure = nlp.get_pipe("parser").predict([nlp.make_doc(TEXTS[3])]).structure
    assert type(structure).__name__ == "SpanningTree" and structure.projective
    back = loaded(saved("tree"), structure="heads")
    heads = back.get_pipe("parser").predict([back.make_doc(TEXTS[3])]).structure
    assert type(heads).__name__ == "HeadSelection"


def test_sentences_of_roots(saved):
    nlp = loaded(saved("heads"), sentences="roots")
    starts = [word in ("Ada", "Bob") for word in WORDS]
    doc = Doc(nlp.vocab, words=WORDS, sent_starts=starts)
    assert nlp.get_pipe("parser").predict([doc]).structure.lengths.tolist() == [7]


def test_iterations_of_mean_field(saved):
    scores = []
    for iterations in (0, 3):
        nlp = loaded(saved("second order"), iterations=iterations)
        scores.append(nlp.get_pipe("parser").predict([nlp.make_doc(TEXTS[3])]).structure)
    assert (scores[0].scores == scores[0].first_order.scores).all()
    assert (scores[1].scores != scores[1].first_order.scores).any()


@pytest.mark.parametrize(
    "kind, settings, message",
    [
        ("labels", {"codes": "tag"}, "codes = 'tag', but its weights .* codes = 'position'"),
        ("labels", {"hidden_width": 7}, "dimension 'nI' .* from 7 to 128"),
        ("heads", {"distances": False}, "distances = False, but its weights"),
        ("heads", {"arc_width": 7}, "dimension 'nI' .* from 14 to 256"),
        ("heads", {"tok2vec.depth": 2}, "mismatched structure"),
        ("second order", {"rank": 7}, "rank = 7, but its weights .* rank = 48"),
        ("second order", {"siblings": False}, "mismatched structure"),
    ],
    ids=str,
)
def test_settings_that_need_other_weights(kind, settings, message, saved):
    with pytest.raises(ValueError, match=f"'parser' cannot be loaded.*{message}.*take them back"):
        loaded(saved(kind), **settings)


def test_settings_that_do_not_fit_together(saved):
    with pytest.raises(ValueError, match="Trees have one root"):
        loaded(saved("heads"), structure="tree", sentences="roots")


@pytest.mark.parametrize("kind", ["heads", "tree", "projective", "second order", "labels"])
def test_without_changes_all_is_as_it_was(kind, saved, tmp_path):
    first = loaded(saved(kind))
    first.to_disk(tmp_path)
    again = spacy.load(tmp_path)
    before, after = (nlp.get_pipe("parser").model.to_bytes() for nlp in (first, again))
    assert before == after
    assert [tree_of(again(text)) for text in TEXTS] == [tree_of(first(text)) for text in TEXTS]
    component = again.get_pipe("parser")
    assert component.from_bytes(first.get_pipe("parser").to_bytes()) is component
    assert component.model.to_bytes() == before


def test_the_loss_of_spans(tmp_path):
    settings = entity_model("SpanBiaffine") | {"max_width": 4, "hidden_width": 8}
    nlp = blank_entities(model=settings)
    train(nlp, entity_examples(nlp), steps=20)
    nlp.to_disk(tmp_path)
    assert predictions(spacy.load(tmp_path)) == predictions(nlp)
    config = {"components.ner.model.loss": "local"}
    assert spacy.load(tmp_path, config=config).get_pipe("ner").is_local
    config = {"components.ner.model.max_width": 5}
    with pytest.raises(ValueError, match=r"'ner' cannot be loaded: .*'nW' .* from 5 to 4"):
        spacy.load(tmp_path, config=config)
