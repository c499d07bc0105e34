"""What documents keep of confidences, wherever they go."""

import gc
import pickle
import subprocess
import sys
import warnings
import weakref

import pytest
import spacy
from spacy.tokens import Doc, DocBin, Span

from spacy_skd.pipeline import readings
from spacy_skd.pipeline.readings import Reading

from .tiny import ENTITIES, blank, tag_examples

TEXTS = [text for text, _ in ENTITIES]
TEXT = TEXTS[1]


def values(doc):
    return [entity._.confidence for entity in doc.ents]


def through_bytes(doc):
    return Doc(doc.vocab).from_bytes(doc.to_bytes())


def through_a_file(doc):
    kept = DocBin(docs=[doc], store_user_data=True).to_bytes()
    return next(DocBin().from_bytes(kept).get_docs(doc.vocab))


def through_pickle(doc):
    return pickle.loads(pickle.dumps(doc))


@pytest.mark.parametrize("way", [through_bytes, through_a_file, through_pickle])
def test_confidences_are_written_and_what_was_asked(crf, way):
    doc = crf(TEXT)
    best = [(found.probability, found.units) for found in doc._.alternatives(3)]
    above = doc._.entities_above(0.01)
    again = way(doc)
    assert values(again) == values(doc) and all(values(doc))
    assert [(found.probability, found.units) for found in again._.alternatives(3)] == best
    assert [found.units for found in again._.alternatives(2)] == [units for _, units in best[:2]]
    assert len(again._.entities_above(0.01)) == len(above)
    assert again._.alternatives(3)[1].as_doc().text == TEXT
    assert values(way(again)) == values(doc)
    assert again[0:4]._.confidence is None  # nobody can say any more
    with pytest.raises(ValueError, match=r"'ner' annotated it, and does not know its 9 best"):
        again._.alternatives(9)
    with pytest.raises(ValueError, match=r"a probability of 0\.001 or more any more"):
        again._.entities_above(0.001)


def test_nothing_is_kept_without_user_data(crf):
    doc = crf(TEXT)
    again = Doc(doc.vocab).from_bytes(doc.to_bytes(exclude=["user_data"]))
    with pytest.raises(ValueError, match="store_user_data=True"):
        again._.confidences()


def test_without_this_package_it_is_plain_data(crf, tmp_path):
    DocBin(docs=[crf(TEXT)], store_user_data=True).to_disk(tmp_path / "docs.spacy")
    code = (
        "import sys; from spacy.tokens import DocBin; from spacy.vocab import Vocab\n"
        f"doc, = DocBin().from_disk({str(tmp_path / 'docs.spacy')!r}).get_docs(Vocab())\n"
        "(key, kept), = doc.user_data.items()\n"
        "assert 'spacy_skd' not in sys.modules, 'imported'\n"
        "assert type(kept['ner']) is dict and kept['ner']['found'], kept\n"
        "import spacy; from spacy.tokens import Span\n"
        "import spacy_skd.pipeline.ner\n"
        "assert not Span.has_extension('confidence'), 'at import, where others may want the name'\n"
        "spacy.blank('en').add_pipe('skd_ner')\n"
        "assert doc.ents[0]._.confidence > 0\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_copies_share_what_can_be_asked(crf):
    doc = crf(TEXT)
    other = doc.copy()
    assert values(other) == values(doc)
    assert len(other._.alternatives(4)) == 4
    crf.get_pipe("ner").confidence = False
    crf(other)  # another annotation of the copy is none of the document's
    assert all(values(doc))


def test_other_processes(crf):
    expected = [values(doc) for doc in crf.pipe(TEXTS)]
    found = list(crf.pipe(TEXTS, n_process=2, batch_size=2))
    assert [values(doc) for doc in found] == [pytest.approx(e, rel=1e-4) for e in expected]


def test_documents_put_together(crf):
    docs = list(crf.pipe(TEXTS))
    expected = [value for doc in docs for value in values(doc)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = Doc.from_docs(docs)
        part = whole[3:9].as_doc(copy_user_data=True)
    assert values(whole) == expected
    again = through_bytes(whole)
    assert values(again) == expected
    with pytest.raises(ValueError, match="put together from 4"):
        whole._.alternatives(2)
    with pytest.raises(ValueError):
        values(part) or part[:1]._.confidence


def with_tagger(nlp, name="tagger"):
    config = {"model": blank("skd_tagger").get_pipe_config("tagger")["model"]}
    if name != "tagger":
        config["attribute"] = name
    tagger = nlp.add_pipe("skd_tagger", name=name, config=config)
    tagger.initialize(lambda: tag_examples(nlp))
    return tagger


def test_documents_put_together_and_annotated_by_another_component(crf):
    docs = list(crf.pipe(TEXTS))
    expected = [value for doc in docs for value in values(doc)]
    whole = with_tagger(crf)(Doc.from_docs(docs))
    assert values(whole) == expected
    assert values(through_bytes(whole)) == expected
    assert Span(whole, 0, 2, label="PER")._.confidence is not None, "of one that was not found"
    assert all(0 < token._.tag_confidence <= 1 for token in whole)
    assert len(whole._.confidences()) == len(whole._.confidences("tagger")) == len(whole)
    with pytest.raises(ValueError, match="put together from 4"):
        whole._.confidences("ner")
    with pytest.raises(ValueError, match="put together from 4"):
        whole._.entities_above(0.5)


def test_documents_put_together_and_annotated_again(crf):
    """What the component said of the parts counts no more."""
    whole, other = (Doc.from_docs(list(crf.pipe(TEXTS))) for _ in range(2))
    ner = crf.get_pipe("ner")
    before = values(whole)
    whole.set_ents([])
    ner.temperature = 3.0
    found = values(ner(whole))
    assert found and not set(found) & set(before)
    ner.confidence = False
    with pytest.raises(ValueError, match="keeps no confidences"):
        values(ner(other))


def test_merged_tokens(crf):
    doc = crf(TEXT)
    with doc.retokenize() as retokenizer:
        retokenizer.merge(doc[2:4])
    with pytest.raises(ValueError, match=r"annotated 6 tokens of the document .* has 5 now"):
        values(doc)


def test_what_is_kept_does_not_keep_documents(crf):
    docs = list(crf.pipe(TEXTS))
    seen: set[int] = set()
    left = [kept for doc in docs for kept in doc.user_data.values()]
    while left:
        one = left.pop()
        if id(one) in seen or isinstance(one, type) or type(one).__name__ == "module":
            continue
        seen.add(id(one))
        assert not isinstance(one, Doc) and not isinstance(one, spacy.Language)
        if not callable(one):
            left.extend(gc.get_referents(one))
    (readings,) = docs[0].user_data.values()
    gone = weakref.ref(readings["ner"])
    assert isinstance(readings["ner"], Reading)
    del docs, readings, left, one
    gc.collect()
    assert gone() is None


def test_memory_zone(crf):
    with crf.memory_zone():
        found = [(doc.text, values(doc)) for doc in crf.pipe(TEXTS)]
    assert found == [(doc.text, values(doc)) for doc in crf.pipe(TEXTS)]


def test_nothing_is_computed_before_someone_asks(crf, monkeypatch):
    from spacy_skd.pipeline.entity_answers import EntityAnswers

    def asked(*args):
        raise AssertionError("asked")

    monkeypatch.setattr(EntityAnswers, "find_probabilities", asked)
    monkeypatch.setattr(EntityAnswers, "of_document", asked)
    doc = crf(TEXT)
    with pytest.raises(AssertionError, match="asked"):
        values(doc)


def test_a_batch_is_computed_once(crf, monkeypatch):
    from spacy_skd.pipeline.entity_answers import EntityAnswers

    calls = []
    real = EntityAnswers.find_probabilities
    monkeypatch.setattr(
        EntityAnswers, "find_probabilities", lambda *args: calls.append(1) or real(*args)
    )
    for doc in list(crf.pipe(TEXTS)):
        assert None not in values(doc)
    assert len(calls) == 1


def test_no_passes_are_kept_after_asking(crf):
    doc = crf(TEXT)
    (readings,) = doc.user_data.values()
    structure = readings["ner"]._answers.structure
    before = set(vars(structure))
    assert all(values(doc))
    assert set(vars(structure)) == before


def test_merged_tokens_do_not_matter_to_components_after(crf):
    """Only who is asked has to have seen the tokens."""
    with_tagger(crf, "morph")
    crf.add_pipe("merge_entities")
    with_tagger(crf)
    doc = crf(TEXT)
    assert len(doc) < len(TEXT.split())
    assert 0 <= doc[0]._.tag_confidence <= 1
    assert len(doc._.confidences("tagger")) == len(doc)
    for name in ("ner", "morph"):
        with pytest.raises(ValueError, match=f"'{name}' annotated 6 tokens"):
            doc._.confidences(name)


def test_threads_that_ask_about_documents_of_one_batch(crf, monkeypatch):
    """Between finding a document's distribution and giving it, another thread asks."""
    first, second = crf.pipe([TEXT, TEXTS[0]])
    expected = [alternative.units for alternative in crf(TEXT)._.alternatives(3)]
    original = readings.temper

    def interrupted(*arguments):
        monkeypatch.setattr(readings, "temper", original)
        second._.alternatives(3)
        return original(*arguments)

    monkeypatch.setattr(readings, "temper", interrupted)
    assert [alternative.units for alternative in first._.alternatives(3)] == expected
    assert [alternative.units for alternative in first._.alternatives(4)][:3] == expected


def test_threads_that_ask_about_one_document(crf, monkeypatch):
    """What one has computed another replaces by less, before it is given."""
    doc = crf(TEXT)
    above, best = list(doc._.entities_above(1e-6)), doc._.alternatives(4)
    (kept,) = doc.user_data.values()
    less = {"_above": (0.9, []), "_best": ([], False)}

    class Interrupted(Reading):
        def __setattr__(self, name, value):
            super().__setattr__(name, less.get(name, value))

    asked = Interrupted.of(kept["ner"]._answers, 0)
    monkeypatch.setitem(kept, "ner", asked)
    assert [list(doc._.entities_above(1e-6)) for _ in range(2)] == [above] * 2
    assert [doc._.alternatives(4) for _ in range(2)] == [best] * 2
    assert asked._above == less["_above"]


@pytest.mark.parametrize("data", [{"skd_reading": 1}, {"skd_reading": 1, "component": 3}])
def test_data_that_only_looks_like_a_reading(crf, data):
    doc = crf.make_doc(TEXT)
    doc.user_data["mine"] = data
    assert through_bytes(doc).user_data["mine"] == data
