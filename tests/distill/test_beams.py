"""What is read of spaCy's entities and trees is what their beams say."""

import numpy as np
import pytest
import spacy
from spacy.tokens import Span

from spacy_skd.distill.adapters.beams import set_beams
from spacy_skd.distill.targets import describe
from spacy_skd.distill.teachers import TeacherReader, fingerprint, survey

from .stock import docs_of, read, stock_pipeline

# --- entities


def test_candidates_of_a_beam_have_its_probabilities():
    nlp = stock_pipeline("beam_ner")
    docs = docs_of(nlp)
    ner, structure = nlp.get_pipe("beam_ner"), read(nlp, "beam_ner", docs)
    wanted = ner.scored_ents(ner.predict(docs))
    assert max(map(len, wanted)) > 4
    for scores, outputs, probs in zip(wanted, structure.outputs, structure.marginals()):
        found = dict.fromkeys(scores, 0.0)
        for output, prob in zip(outputs, probs):
            for first, last, label in output:
                found[first, last + 1, structure.labels[label]] += prob
        assert found == pytest.approx(dict(scores), abs=1e-6)
        np.testing.assert_allclose(probs.sum(), 1)
    best = [{(f, x + 1, structure.labels[r]) for f, x, r in y} for y in structure.argmax()]
    assert best == [{(e.start, e.end, e.label_) for e in nlp(doc).ents} for doc in docs]


def test_without_a_beam_the_entities_are_the_only_candidate():
    nlp = stock_pipeline("ner")
    docs = docs_of(nlp)
    structure = read(nlp, "ner", docs)
    assert structure.counts.tolist() == [1] * len(docs)
    found = [{(f, x + 1, structure.labels[r]) for f, x, r in y[0]} for y in structure.outputs]
    assert found == [{(e.start, e.end, e.label_) for e in nlp(doc).ents} for doc in docs]
    assert any(found)


def test_a_beam_of_weights_that_were_trained_without_one():
    nlp = stock_pipeline("ner", "parser")
    before, docs = fingerprint(nlp), docs_of(nlp)
    set_beams(nlp, 4)
    assert survey(nlp).lines(["ner", "parser"]) == [
        "'ner': the 4 best of a beam",
        "'parser': the 4 best trees of a beam",
    ]
    ner, structure = nlp.get_pipe("ner"), read(nlp, "ner", docs)
    assert structure.counts.max() > 1 and structure.counts.max() <= 4
    for beam, found in zip(ner.predict(docs), structure.marginals()):
        probs = sorted((prob for prob, _ in ner.moves.get_beam_parses(beam)), reverse=True)
        np.testing.assert_allclose(found, np.asarray(probs) / sum(probs), atol=1e-6)
    assert fingerprint(nlp) != before
    set_beams(nlp, 1)
    assert read(nlp, "ner", docs).counts.tolist() == [1] * len(docs)
    with pytest.raises(
        ValueError, match=r"'ner' and 'parser', and the teacher has neither.*tagger"
    ):
        set_beams(stock_pipeline("tagger"), 4)


def test_a_beam_that_was_set_later_makes_another_teacher(tmp_path):
    stock_pipeline("ner").to_disk(tmp_path)
    nlp = spacy.load(tmp_path)
    before = fingerprint(nlp)
    set_beams(nlp, 1)
    assert fingerprint(nlp) == before
    set_beams(nlp, 4)
    assert fingerprint(nlp).hash != before.hash
    nlp.to_disk(tmp_path / "beam")
    again = spacy.load(tmp_path / "beam")
    saved = fingerprint(again)
    set_beams(again, 4)
    assert fingerprint(again) == saved


def test_labels_that_documents_bring_are_not_taken_up():
    for name in ("ner", "beam_ner"):
        nlp = stock_pipeline(name)
        reader = TeacherReader(nlp, [name], 2)
        docs = docs_of(nlp)
        docs[0].ents = [Span(docs[0], 3, 4, "SHIP")]
        list(reader.read((doc, place) for place, doc in enumerate(docs)))
        assert reader.teachers[name].labels == ("LOC", "PER") == reader.describe()[name].labels


# --- trees


def expected_arcs(parser, doc) -> dict[tuple[int, int, str], float]:
    """Probabilities of (token, head number, relation) of a document that is one sentence, given
    that its tree has one root, straight from the beam."""
    (beam,) = parser.predict([doc])
    found: dict[tuple[int, int, str], float] = {}
    total = 0.0
    for prob, arcs in parser.moves.get_beam_parses(beam):
        heads = {token: (head + 1, relation) for head, token, relation in arcs}
        if len(heads) == len(doc) - 1:
            total += prob
            for token in range(len(doc)):
                head, relation = heads.get(token, (0, "ROOT"))
                arc = token, head, relation.partition("||")[0]
                found[arc] = found.get(arc, 0) + prob
    return {arc: prob / total for arc, prob in found.items()}


def arcs_of(structure) -> dict[tuple[int, int, str], float]:
    tokens, heads = structure.relations.tokens, structure.relations.heads
    probs = np.exp(structure.relation_log_probs(tokens, heads))
    probs *= structure.flat_marginals()[structure.layout.cells(tokens, heads)][:, None]
    return {
        (token, head, structure.labels[column]): probs[row, column]
        for row, (token, head) in enumerate(zip(tokens.tolist(), heads.tolist()))
        for column in np.flatnonzero(probs[row])
    }


@pytest.mark.parametrize("number", [0, 1])
def test_arcs_of_a_beam_have_its_probabilities(number):
    nlp = stock_pipeline("beam_parser")
    doc = docs_of(nlp)[number]
    sentences = read(nlp, "beam_parser", [doc])
    assert sentences.n_sentences.tolist() == [1]
    wanted = expected_arcs(nlp.get_pipe("beam_parser"), doc)
    assert len(wanted) > len(doc)
    assert arcs_of(sentences.structure) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("name", ["parser", "beam_parser"])
def test_the_best_tree_of_a_parser(name):
    nlp = stock_pipeline(name)
    docs = docs_of(nlp)
    sentences = read(nlp, name, docs)
    parsed = [nlp(doc) for doc in docs_of(nlp)]
    assert (
        sentences.n_sentences.tolist() == [len(list(doc.sents)) for doc in parsed] == [1, 1, 1, 2]
    )
    structure = sentences.structure
    heads, places = np.concatenate(structure.argmax()), np.arange(structure.layout.n_tokens)
    relations = structure.relation_log_probs(places, heads).argmax(axis=1)
    starts = np.repeat(np.cumsum(structure.lengths) - structure.lengths, structure.lengths)
    tokens = [token for doc in parsed for token in doc]
    bounds = np.cumsum([0, *map(len, parsed)])
    offsets = np.repeat(bounds[:-1], np.diff(bounds))
    wanted = [token.head.i + offset for token, offset in zip(tokens, offsets)]
    assert np.where(heads == 0, places, heads - 1 + starts).tolist() == wanted
    assert [structure.labels[column] for column in relations] == [token.dep_ for token in tokens]
    # of the arc that is not projective
    assert parsed[2][5].dep_ == "acl-relcl" and parsed[2][5].head.i == 2


def test_sentences_that_a_document_has_are_kept():
    nlp = stock_pipeline("beam_parser")
    docs = docs_of(nlp)[3:]
    for token in docs[0]:
        token.is_sent_start = token.i in (0, 3)
    assert read(nlp, "beam_parser", docs).structure.lengths.tolist() == [3, 3]
    for token in docs[0]:
        token.is_sent_start = token.i == 0
    sentences = read(nlp, "beam_parser", docs)
    assert sentences.structure.lengths.tolist() == [6]
    assert describe(sentences, "parser").kind == "arcs"
