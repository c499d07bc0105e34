"""Confidences, alternatives and thresholds of entities, against all label sequences."""

from itertools import pairwise

import numpy as np
import pytest
import spacy
from spacy.cli.find_threshold import find_threshold
from spacy.tokens import Doc, DocBin, Span

from spacy_skd.structures import (
    FlatSpans,
    LinearChain,
    LocalSpans,
    Token,
    as_potentials,
    biluo_labels,
    legal_moves,
    spans_of,
)

from ..structures.brute_force import chain_scores
from .tiny import TOK2VEC, blank, entity_examples, train

LABELS = ["LOC", "PER"]
COLUMNS = biluo_labels(LABELS)
TEXTS = ["Ada sees Oslo", "Bob \n sleeps here", "", "Oslo"]


def component(**config):
    nlp = blank(**config)
    ner = nlp.get_pipe("ner")
    for label in LABELS:
        ner.add_label(label)
    return nlp, ner


def span_component(**config):
    model = {
        "@architectures": "spacy-skd.SpanBiaffine.v1",
        "tok2vec": TOK2VEC,
        "max_width": 3,
        "hidden_width": 8,
    }
    return component(model=model | config.pop("options", {}), **config)


def sequence_scores(kind, lengths, seed=0):
    """A random distribution over label sequences, in float64."""
    rng = np.random.default_rng(seed)
    emissions = rng.normal(size=(sum(lengths), len(COLUMNS))) * 2
    if kind == "token":
        return Token(emissions, lengths, COLUMNS)
    masks = [as_potentials(mask, np.float64) for mask in legal_moves(COLUMNS)]
    return LinearChain(emissions, *(m + rng.normal(size=m.shape) for m in masks), lengths, COLUMNS)


def span_scores(kind, lengths, seed=0):
    rng = np.random.default_rng(seed)
    return kind(rng.normal(size=(sum(lengths), 3, len(LABELS))), lengths, LABELS)


def annotated(nlp, structure, docs=None, temperature=1.0):
    docs = docs or [nlp.make_doc(text) for text in TEXTS]
    ner = nlp.get_pipe("ner")
    ner.temperature = temperature
    ner.set_annotations(docs, structure)
    return docs


def by_listing(structure, docs, temperature=1.0, fits=lambda number, spans: True):
    """Of each document all sets of entities with probabilities, best first."""
    if isinstance(structure, Token):
        masks = [as_potentials(mask, np.float64) for mask in legal_moves(COLUMNS)]
        structure = LinearChain.from_token(structure, *masks)
    found = []
    bounds = np.cumsum([0, *structure.lengths]).tolist()
    for number, (start, end) in enumerate(pairwise(bounds)):
        potentials = structure.transitions, structure.start, structure.end
        listed = chain_scores(
            structure.emissions[start:end] / temperature, *(p / temperature for p in potentials)
        )
        sets = []
        for output, score in zip(listed.outputs, listed.scores):
            if score == -np.inf:
                continue
            spans = tuple((i, j + 1, label) for i, j, label in spans_of(output, COLUMNS))
            doc = docs[number]
            edges = [doc[i] for s, e, _ in spans for i in (s, e - 1)]
            if fits(number, spans) and not any(token.is_space for token in edges):
                sets.append((score, spans))
        scores = np.asarray([score for score, _ in sets])
        probs = np.exp(scores - np.logaddexp.reduce(scores)) if end > start else [1.0]
        rows = zip(probs, [spans for _, spans in sets] if end > start else [()])
        found.append(sorted(rows, key=lambda row: -row[0]))
    return found


def marginals(listed):
    found = {}
    for probability, spans in listed:
        for span in spans:
            found[span] = found.get(span, 0.0) + probability
    return found


def lengths_of(nlp, texts=TEXTS):
    return [len(nlp.make_doc(text)) for text in texts]


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("kind", ["token", "chain"])
def test_everything_agrees_with_all_label_sequences(kind, temperature):
    nlp, ner = component()
    structure = sequence_scores(kind, lengths_of(nlp), seed=3)
    docs = annotated(nlp, structure, temperature=temperature)
    for doc, listed in zip(docs, by_listing(structure, docs, temperature)):
        expected = marginals(listed)
        for entity in doc.ents:
            unit = entity.start, entity.end, entity.label_
            assert entity._.confidence == pytest.approx(expected[unit])
        assert doc._.confidences() == {
            unit: pytest.approx(expected[unit]) for unit in ner.units(doc)
        }
        best = doc._.alternatives(4)
        assert [found.probability for found in best] == pytest.approx([p for p, _ in listed[:4]])
        assert [found.units for found in best] == [spans for _, spans in listed[:4]]
        above = doc._.entities_above(0.1)
        wanted = {unit: p for unit, p in expected.items() if p >= 0.1}
        found = {(s.start, s.end, s.label_): p for s, p in zip(above, above.attrs["scores"])}
        assert found == {unit: pytest.approx(p) for unit, p in wanted.items()}
        for start, end, label in expected:  # whatever is set later
            span = Span(doc, start, end, label=label)
            assert span._.confidence == pytest.approx(expected[start, end, label])
    assert any(doc.ents for doc in docs)


def test_the_temperature_changes_no_entity():
    nlp, ner = component()
    structure = sequence_scores("chain", lengths_of(nlp))
    cold, hot = (annotated(nlp, structure, temperature=t) for t in (0.5, 3.0))
    assert [ner.units(doc) for doc in cold] == [ner.units(doc) for doc in hot]
    assert cold[0].ents[0]._.confidence != hot[0].ents[0]._.confidence


def test_what_was_set_before_conditions_the_rest():
    nlp, ner = component()
    docs = [nlp.make_doc("Ada Brook sees Oslo")]
    docs[0].set_ents([Span(docs[0], 0, 2, "PER")], default="missing")
    structure = sequence_scores("chain", [4], seed=1)
    annotated(nlp, structure, docs)
    (doc,) = docs
    listed = by_listing(structure, docs, fits=lambda _, spans: (0, 2, "PER") in spans)[0]
    expected = marginals(listed)
    assert doc.ents[0]._.confidence is None  # it was there before
    for start in (2, 3):
        for label in LABELS:
            span = Span(doc, start, start + 1, label)
            assert span._.confidence == pytest.approx(expected[start, start + 1, label])
    best = doc._.alternatives(3)
    assert [found.probability for found in best] == pytest.approx([p for p, _ in listed[:3]])
    for found, (_, spans) in zip(best, listed):
        assert tuple((s.start, s.end, s.label_) for s in found.spans) == spans
        assert [(s.start, s.end, s.label_) for s in found.as_doc().ents] == list(spans)
    confidences = ner.confidences(docs, structure)[0]
    assert np.isnan(confidences[0]) and not np.isnan(confidences[1:]).any()


@pytest.mark.parametrize("kind", [FlatSpans, LocalSpans])
def test_spans(kind):
    nlp, _ = span_component()
    structure = span_scores(kind, lengths_of(nlp))
    docs = annotated(nlp, structure)
    # Spaces begin and end no entity; the second document has one.
    flat = FlatSpans(structure.scores, structure.lengths, LABELS)
    expected = flat.marginals()[: len(docs[0])]
    assert any(doc.ents for doc in docs)
    for entity in docs[0].ents:
        column = LABELS.index(entity.label_)
        wanted = expected[entity.start, len(entity) - 1, column]
        assert entity._.confidence == pytest.approx(wanted)
    best = docs[0]._.alternatives(3)
    wanted = [np.exp(value) for _, value in flat.topk(3)[0]]
    assert [found.probability for found in best] == pytest.approx(wanted)
    above = docs[0]._.entities_above(0.05)
    assert len(above) == (expected >= 0.05).sum()
    whole = Span(docs[1], 0, len(docs[1]), "LOC")
    assert len(whole) > 3 and whole._.confidence == 0.0  # wider than any span can be
    assert Span(docs[0], 0, 1, "NEW")._.confidence is None


def test_nested_spans_of_a_key():
    nlp, _ = span_component(spans_key="sc", options={"loss": "local"}, threshold=0.2)
    structure = span_scores(LocalSpans, lengths_of(nlp))
    docs = annotated(nlp, structure)
    expected = structure.marginals()
    for span in docs[0].spans["sc"]:
        wanted = expected[span.start, len(span) - 1, LABELS.index(span.label_)]
        assert span._.confidence == pytest.approx(wanted)
    assert len(docs[0].spans["sc"]) and not docs[0].ents
    assert docs[0]._.alternatives(2)[1].as_doc().spans["sc"] is not None
    assert list(docs[0]._.entities_above(0.2).attrs["scores"]) == pytest.approx(
        expected[:3][expected[:3] >= 0.2]
    )


def test_the_interface_of_calibration():
    nlp, ner = component()
    lengths = lengths_of(nlp)
    structure = sequence_scores("chain", lengths, seed=3)
    for temperature in (None, 1.0, 4.0):
        docs = annotated(nlp, structure)
        expected = by_listing(structure, docs, temperature or 1.0)
        assert all(doc._.confidences().keys() == set(ner.units(doc)) for doc in docs)
        # Asked before at the component's own temperature, which is 1.
        kept = ner.confidences(docs, structure, temperature)
        for doc in docs:  # without what documents keep it is the same, found again
            doc.user_data.clear()
        again = ner.confidences(docs, structure, temperature)
        for doc, listed, values, same in zip(docs, expected, kept, again):
            wanted = marginals(listed)
            assert values == pytest.approx([wanted[unit] for unit in ner.units(doc)])
            assert same == pytest.approx(values)
    assert ner.confidences([], sequence_scores("chain", [])) == []


def test_units_and_what_is_known():
    nlp, ner = component()
    doc = nlp.make_doc("Ada sees Oslo")
    assert ner.units(doc) == [] and not ner.known(doc).any()
    doc.set_ents([Span(doc, 0, 1, "PER")], missing=[doc[2:3]])
    assert ner.units(doc) == [(0, 1, "PER")]
    assert ner.known(doc).tolist() == [True, True, False]
    nlp, ner = component(spans_key="sc")
    assert not ner.known(doc).any()
    doc.spans["sc"] = [Span(doc, 1, 3, "LOC")]
    assert ner.units(doc) == [(1, 3, "LOC")] and ner.known(doc).all()


def test_temperature_is_checked_and_saved():
    _, ner = component()
    assert ner.temperature == 1.0
    for wrong in (0.0, -1.0, float("nan"), float("inf"), "1", None):
        with pytest.raises(ValueError, match="temperature has to be"):
            ner.temperature = wrong
    ner.temperature = 1.7
    other = component()[1].from_bytes(ner.to_bytes(exclude=["model"]), exclude=["model"])
    assert other.temperature == pytest.approx(1.7)
    del ner.cfg["temperature"]  # a component of an earlier version
    assert ner.temperature == 1.0


def test_training_anew_begins_without_a_temperature():
    """It was fitted to other weights."""
    nlp, ner = component()
    ner.temperature = 2.5
    other = spacy.blank("en")
    other.vocab = nlp.vocab
    other.add_pipe("ner", source=nlp)
    assert other.get_pipe("ner").temperature == 2.5
    other.initialize(lambda: entity_examples(other))
    assert other.get_pipe("ner").temperature == 1.0


def test_switched_off():
    nlp, ner = component(confidence=False)
    structure = sequence_scores("chain", lengths_of(nlp), seed=3)
    doc = annotated(nlp, structure)[0]
    assert not doc.user_data
    for ask in (
        lambda: doc.ents[0]._.confidence,
        lambda: doc._.alternatives(2),
        lambda: doc._.entities_above(0.5),
    ):
        with pytest.raises(ValueError, match="confidence = true"):
            ask()
    ner.confidence = True
    docs = annotated(nlp, structure)
    assert docs[0].ents[0]._.confidence
    ner.confidence = False
    ner.set_annotations(docs, structure)  # nothing is left of before
    with pytest.raises(ValueError, match="'Ada sees Oslo'"):
        docs[0]._.confidences()


def test_several_components():
    nlp, ner = component()
    other = nlp.add_pipe("skd_ner", name="other", config={"spans_key": "sc"})
    other.add_label("LOC")
    doc = nlp.make_doc("Ada sees Oslo")
    structure = sequence_scores("chain", [3], seed=3)
    ner.set_annotations([doc], structure)
    columns = biluo_labels(["LOC"])
    masks = [as_potentials(mask, np.float64) for mask in legal_moves(columns)]
    other.set_annotations([doc], LinearChain(np.eye(3, 5) * 3, *masks, [3], columns))
    with pytest.raises(ValueError, match="annotated by 'ner', 'other': say which"):
        doc._.alternatives(2)
    with pytest.raises(ValueError, match="not by 'nobody'"):
        doc._.alternatives(2, component="nobody")
    assert len(doc._.alternatives(2, component="other")) == 2
    for name, spans in (("ner", doc.ents), ("other", doc.spans["sc"])):
        for span in spans:
            unit = span.start, span.end, span.label_
            if unit not in doc._.confidences("ner") or name == "ner":
                assert span._.confidence == doc._.confidences(name)[unit]


def test_attributes_of_others_stay():
    from spacy_skd.pipeline.confidence import register_attributes, span_confidence

    own = Span.remove_extension("confidence")
    try:
        Span.set_extension("confidence", default=7)
        register_attributes()
        assert Doc(spacy.blank("en").vocab, words=["a"])[:]._.confidence == 7
    finally:
        Span.remove_extension("confidence")
        register_attributes()
    assert own[2] is span_confidence and Span.get_extension("confidence")[2] is span_confidence


def test_other_analyses_leave_blocked_tokens_blocked():
    nlp, _ = component()
    doc = nlp.make_doc("Ada sees Oslo")
    doc.set_ents([], blocked=[doc[1:2]], default="missing")
    structure = sequence_scores("chain", [3], seed=3)
    annotated(nlp, structure, [doc])
    for found in doc._.alternatives(3):
        other = found.as_doc()
        assert [token.ent_iob for token in other][1] == 3 and not other[1].ent_type
        assert [(ent.start, ent.end, ent.label_) for ent in other.ents] == list(found.units)


def test_entities_that_a_rule_sets_later():
    """Their probability is the component's; that it did not find them, confidences() says."""
    nlp, _ = component()
    (doc, *_) = annotated(nlp, sequence_scores("chain", lengths_of(nlp), seed=3))
    rules = spacy.blank("en", vocab=nlp.vocab)
    ruler = rules.add_pipe("entity_ruler", config={"overwrite_ents": True})
    ruler.add_patterns([{"label": "LOC", "pattern": "Ada sees Oslo"}])
    (entity,) = ruler(doc).ents
    assert 0 < entity._.confidence < 0.1
    assert (0, 3, "LOC") not in doc._.confidences()


@pytest.mark.parametrize("spans_key", [None, "sc"])
def test_a_threshold_in_place_of_the_best_entities(spans_key):
    nlp, ner = component(spans_key=spans_key, flat_threshold=0.05)
    lengths = lengths_of(nlp)
    structure = sequence_scores("chain", lengths, seed=3)
    docs = annotated(nlp, structure)
    overlap = False
    for doc, listed in zip(docs, by_listing(structure, docs)):
        likely = {unit: p for unit, p in marginals(listed).items() if p >= 0.05}
        units = ner.units(doc)
        assert set(units) <= set(likely)
        if spans_key is not None:
            assert units == sorted(likely)
            scores = doc.spans[spans_key].attrs["scores"]
            assert list(scores) == pytest.approx([likely[unit] for unit in units])
        else:  # the most probable of those that overlap
            left = dict(likely)
            while left:
                best = max(left, key=lambda unit: left[unit])
                assert best in units
                left = {u: p for u, p in left.items() if u[0] >= best[1] or u[1] <= best[0]}
        overlap |= len(likely) > len(units)
        for unit in units:
            assert doc._.confidences()[unit] == pytest.approx(likely[unit])
    assert overlap == (spans_key is None)
    ner.cfg["flat_threshold"] = 0.0  # what `spacy find-threshold` begins with
    annotated(nlp, structure)
    del ner.cfg["flat_threshold"]  # a component of an earlier version
    annotated(nlp, structure)


def test_spacy_finds_thresholds(tmp_path):
    nlp, _ = component()
    examples = entity_examples(nlp)
    train(nlp, examples, steps=3)
    nlp.to_disk(tmp_path / "model")
    DocBin(docs=[example.reference for example in examples]).to_disk(tmp_path / "dev.spacy")
    best, score, scores = find_threshold(
        str(tmp_path / "model"),
        tmp_path / "dev.spacy",
        "ner",
        "flat_threshold",
        "ents_f",
        n_trials=5,
    )
    assert len(scores) == 5 and score == max(scores.values()) > scores[1.0] == 0.0
    assert 0 <= best < 1
