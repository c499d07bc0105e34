"""Several teachers of one student, as the corpus reads their stores."""

import pytest
import spacy
from spacy.tokens import Doc
from spacy.util import registry

from spacy_skd.cli.annotate import annotate
from spacy_skd.distill.attached import get_target, get_targets
from spacy_skd.training.corpus import DistillCorpus

from ..toy import sentences, toy_pipeline, write_docs


@pytest.fixture
def two(tmp_path, gold, texts):
    """Stores of two teachers that have read the same documents, in one folder."""
    annotate(toy_pipeline(), [gold, texts], tmp_path / "stores" / "first")
    annotate(toy_pipeline(seed=1, kind="token"), [gold, texts], tmp_path / "stores" / "second")
    return tmp_path / "stores"


def weights_of(examples):
    targets = [get_targets(example.reference, "ner") for example in examples]
    return {tuple((t.teacher.kind, t.weight) for t in found) for found in targets}


def test_two_teachers_where_one_was_meant(nlp, gold, texts, two):
    with pytest.raises(ValueError) as error:
        list(DistillCorpus(gold, texts, two)(nlp))
    for part in (
        "targets of 'ner' from several teachers",
        "first (teacher xx_toy",
        "ensemble = tr",
    ):
        assert part in str(error.value)


@pytest.mark.parametrize(
    "weights, expected",
    [(None, (1, 1)), ([2, 1], (2, 1)), ({"second": 0.5}, (1, 0.5))],
)
def test_an_ensemble(nlp, gold, texts, two, weights, expected):
    stores = [two / "first", two / "second"] if isinstance(weights, list) else two
    corpus = DistillCorpus(gold, texts, stores, ensemble=True, target_weights=weights)
    (two / "notes").mkdir()  # no store
    [found] = weights_of(corpus(nlp))
    assert found == (("chain", expected[0]), ("token", expected[1]))


@pytest.mark.parametrize(
    "weights, fault",
    [
        ([1], "1 target_weights for 2 targets"),
        ({"third": 1}, "names third, but the stores are first, second"),
        ([1, 0], "has to be a number above 0, not 0"),
        ({"gold": 2}, "has a weight of 'gold', .* but there are no gold_labels"),
    ],
)
def test_weights_that_do_not_fit(nlp, gold, two, weights, fault):
    stores = [two / "first", two / "second"]
    with pytest.raises(ValueError, match=fault):
        list(DistillCorpus(gold, None, stores, ensemble=True, target_weights=weights)(nlp))


def test_weights_of_nothing(nlp, tmp_path, gold, two):
    with pytest.raises(ValueError, match="weigh several teachers of a document"):
        DistillCorpus(gold, None, two, target_weights={"first": 2})
    (two / "second").rename(two / "gold")
    weights = {"gold": 2.0}
    [found] = weights_of(DistillCorpus(gold, None, two, ensemble=True, target_weights=weights)(nlp))
    assert found == (("chain", 1), ("token", 2))
    labels = {"ner": ["A"]}
    corpus = DistillCorpus(
        gold, None, two, ensemble=True, target_weights=weights, gold_labels=labels
    )
    with pytest.raises(ValueError, match="but there is a store of that name, too"):
        list(corpus(nlp))


def test_each_document_needs_one_of_the_teachers(nlp, tmp_path, gold, texts):
    annotate(toy_pipeline(), [gold], tmp_path / "stores" / "first")
    annotate(toy_pipeline(seed=1), [texts], tmp_path / "stores" / "second")
    stores = tmp_path / "stores"
    assert len(list(DistillCorpus(gold, texts, stores)(nlp))) == 16
    (tmp_path / "more.txt").write_text("Something else .")
    with pytest.raises(ValueError, match=r"not in any of the stores .*first \(teacher .*second"):
        list(DistillCorpus(gold, tmp_path / "more.txt", stores)(nlp))


@pytest.mark.parametrize("ensemble", [False, True])
def test_teachers_that_disagree_about_tokens(nlp, tmp_path, gold, ensemble):
    (tmp_path / "raw.txt").write_text("Don't!")
    annotate(toy_pipeline(), [tmp_path / "raw.txt"], tmp_path / "stores" / "first")
    english = spacy.blank("en")
    annotate(
        toy_pipeline(seed=1), [tmp_path / "raw.txt"], tmp_path / "stores" / "en", tokenizer=english
    )
    with pytest.raises(ValueError, match=r"stores/\w+ \(teacher xx_toy .*\) with other tokens"):
        reader = english if not ensemble else nlp
        stores = tmp_path / "stores" / "first" if not ensemble else tmp_path / "stores"
        paths = [stores, tmp_path / "more"] if not ensemble else stores
        annotate(toy_pipeline(seed=1), [gold], tmp_path / "more")
        list(DistillCorpus(None, tmp_path / "raw.txt", paths, ensemble=ensemble)(reader))


@pytest.mark.parametrize(
    "names, fault",
    [
        ({"B": "A"}, "renames B of 'ner', which no teacher knows. Labels of the teachers: A"),
        ({"A": "C"}, "onto C, but the component has only A"),
    ],
)
def test_labels_that_nobody_has(gold, store, names, fault):
    nlp = spacy.blank("xx")
    nlp.add_pipe("skd_ner", name="ner").add_label("A")
    with pytest.raises(ValueError, match=fault):
        list(DistillCorpus(gold, None, store, label_map={"ner": names})(nlp))


@pytest.mark.parametrize("weights", [[0.5], {"store": 0.5}])
def test_settings_of_targets_do_not_matter_without_any(nlp, gold, weights):
    settings = {
        "label_map": {"ner": {"A": "NAME"}},
        "label_map_by_store": {"store": {"ner": {"A": "NAME"}}},
        "components": {"ner": ["ner", "other"]},
        "target_weights": weights,
        "ensemble": True,
    }
    corpus = DistillCorpus(gold, None, None, **settings)
    assert [example.text for example in corpus(nlp)] == [
        example.text for example in DistillCorpus(gold)(nlp)
    ]


def test_labels_from_a_config(nlp, gold, texts, store):
    block = {
        "@readers": "spacy-skd.DistillCorpus.v1",
        "path": str(gold),
        "raw": str(texts),
        "targets": str(store),
        "label_map": {"ner": {"A": "NAME"}},
        "target_weights": {"gold": 2.0},
        "gold_labels": {"ner": ["NEW"]},
    }
    corpus = registry.resolve({"train": block})["train"]
    for example in corpus(nlp):
        reference = example.reference
        targets = get_targets(reference, "ner")
        assert targets[0].teacher.labels[1] == "B-NAME"
        assert not reference.has_annotation("ENT_IOB")
        if reference.text in sentences(6, start=100):
            # The entities that are annotated have another label, of which nothing is said.
            assert targets[1].teacher.is_annotation and targets[1].weight == 2
            assert (targets[1].scores == 0).all()


def test_gold_labels(nlp, tmp_path):
    doc = Doc(nlp.vocab, words=list("abcdef"), ents=["B-NEW", "I-NEW", "O", "B-OLD", "", "B-NEW"])
    write_docs(tmp_path / "doc.spacy", [doc])
    corpus = DistillCorpus(
        tmp_path / "doc.spacy", gold_labels={"ner": ["NEW"]}, max_length=3, shuffle=False
    )
    targets = [get_target(example.reference, "ner") for example in corpus(nlp)]
    assert [target.scores.tolist() for target in targets] == [[1, 3, 0], [0, -1, 4]]


def test_gold_labels_of_other_components(gold):
    nlp = spacy.blank("xx")
    nlp.add_pipe("skd_tagger", name="tagger")
    nlp.add_pipe("skd_ner", name="chunks", config={"spans_key": "sc"})
    for name in ("tagger", "chunks"):
        with pytest.raises(ValueError, match=f"'{name}' .* is none"):
            next(iter(DistillCorpus(gold, gold_labels={name: ["A"]})(nlp)))
    with pytest.raises(ValueError, match="names the component 'ner', but the pipeline has only"):
        next(iter(DistillCorpus(gold, gold_labels={"ner": ["A"]})(nlp)))
    with pytest.raises(ValueError, match="lists no labels"):
        DistillCorpus(gold, gold_labels={"ner": []})


@pytest.mark.parametrize("factory", ["skd_ner", "ner", "beam_ner"])
def test_gold_labels_and_another_component_of_entities(gold, factory):
    nlp = spacy.blank("xx")
    nlp.add_pipe("skd_ner", name="ner")
    nlp.add_pipe("skd_ner", name="chunks", config={"spans_key": "sc"})
    nlp.add_pipe("entity_ruler")
    nlp.add_pipe(factory, name="other")
    corpus = DistillCorpus(gold, gold_labels={"ner": ["A"]})
    with pytest.raises(ValueError, match=r"'other' learns from doc\.ents, too"):
        next(iter(corpus(nlp)))
    nlp.config["training"]["frozen_components"] = ["other"]
    assert next(iter(corpus(nlp)))
