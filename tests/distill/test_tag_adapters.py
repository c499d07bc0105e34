"""What is read of spaCy's taggers, morphologizers and sentence recognisers."""

import numpy as np
import pytest
import spacy
from thinc.api import Model, Softmax_v2

from spacy_skd.distill.adapters import find_reader
from spacy_skd.distill.adapters.tags import log_potentials, summed
from spacy_skd.distill.teachers import find_teachers
from spacy_skd.structures import Token

from .stock import docs_of, examples, read, stock_pipeline


@pytest.mark.parametrize("normalize", [True, False])
def test_potentials_are_those_of_the_softmax(rng, normalize):
    layer = Softmax_v2(nO=5, nI=3, normalize_outputs=normalize, temperature=2.0).initialize()
    layer.set_param("W", rng.normal(size=(5, 3)).astype("float32"))
    model = Model("tagger", lambda *_: None, refs={"softmax": layer}, layers=[layer])
    vectors = rng.normal(size=(4, 3)).astype("float32")
    wanted = layer(vectors, is_train=True)[0]
    found = Token(log_potentials(model, layer.predict(vectors)), [4]).marginals()
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    unknown = Model("tagger", lambda *_: None)
    found = Token(log_potentials(unknown, layer.predict(vectors)), [4]).scores
    assert np.allclose(np.exp(found).sum(axis=1), 1) == normalize


def test_a_tagger_is_its_softmax():
    nlp = stock_pipeline("tagger")
    structure = read(nlp, "tagger", docs_of(nlp))
    tagger = nlp.get_pipe("tagger")
    assert structure.labels == tagger.labels
    wanted = np.concatenate(tagger.model(docs_of(nlp), is_train=True)[0])
    np.testing.assert_allclose(structure.marginals(), wanted, atol=1e-6)


def test_a_morphologizer_teaches_parts_of_speech_and_features():
    nlp = stock_pipeline("morphologizer")
    docs = docs_of(nlp)
    component, reader = nlp.get_pipe("morphologizer"), find_reader(nlp, "morphologizer")
    found = reader.read(docs, reader.predict(docs))
    assert list(found) == ["morphologizer", "morphologizer_pos", "morphologizer_analyses"]
    analyses = np.concatenate(component.model(docs, is_train=True)[0])
    morph, pos, both = found.values()
    np.testing.assert_allclose(both.marginals(), analyses, atol=1e-6)
    gold = [example.reference for example in examples(nlp)]
    for structure, attribute in ((pos, "pos"), (morph, "morph"), (both, "morph+pos")):
        student = spacy.blank("en").add_pipe("skd_tagger", config={"attribute": attribute})
        labels = {label for doc in gold for label in student.labels_of(doc)}
        assert set(structure.labels) == labels
        np.testing.assert_allclose(structure.marginals().sum(axis=1), 1, atol=1e-6)
    nouns = ["NOUN" in label for label in component.labels]
    column = pos.labels.index("NOUN")
    np.testing.assert_allclose(
        pos.marginals()[:, column], analyses[:, nouns].sum(axis=1), atol=1e-6
    )
    plain = [not features for features in component.cfg["labels_morph"].values()]
    assert sum(plain) > 1
    column = morph.labels.index("_")
    np.testing.assert_allclose(
        morph.marginals()[:, column], analyses[:, plain].sum(axis=1), atol=1e-6
    )


def test_analyses_without_a_part_of_speech_say_nothing_of_it():
    nlp = stock_pipeline("morphologizer")
    component = nlp.get_pipe("morphologizer")
    component.cfg["labels_pos"]["POS=PUNCT"] = 0
    reader, docs = find_reader(nlp, "morphologizer"), docs_of(nlp)
    pos = reader.read(docs, reader.predict(docs))["morphologizer_pos"]
    assert "PUNCT" not in pos.labels and "" not in pos.labels
    np.testing.assert_allclose(pos.marginals().sum(axis=1), 1, atol=1e-6)
    component.cfg["labels_pos"] = dict.fromkeys(component.labels, 0)
    assert find_teachers(nlp) == ["morphologizer"]
    component.cfg["labels_morph"] = dict.fromkeys(component.labels, "")
    with pytest.raises(ValueError, match="neither parts of speech nor features"):
        find_teachers(nlp, ["morphologizer"])


def test_parts_of_speech_that_underflow_are_summed_as_logarithms():
    scores = np.asarray([[-900.0, -901.0, 0.0], [-np.inf, -np.inf, 0.0], [-np.inf, -1.0, -2.0]])
    found = summed(scores, [np.asarray([0]), np.asarray([1])])
    np.testing.assert_allclose(found[0], [-900, -901])
    np.testing.assert_array_equal(found[1], [0, 0])  # any
    np.testing.assert_array_equal(found[2], [-np.inf, -1])
    both = summed(scores, [np.asarray([0, 1]), np.asarray([2])])
    np.testing.assert_allclose(both[0, 0], np.logaddexp(-900, -901), rtol=1e-6)
    assert summed(scores[:0], [np.asarray([0])]).shape == (0, 1)


def test_a_senter_says_where_sentences_begin():
    nlp = stock_pipeline("senter")
    starts = [doc.to_array("SENT_START").tolist() for doc in map(nlp, docs_of(nlp))]
    found = read(nlp, "senter", docs_of(nlp)).argmax()
    assert [[1 if label else 2**64 - 1 for label in labels] for labels in found] == starts
