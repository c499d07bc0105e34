"""The package's own components, calibrated on a command line, saved and loaded again."""

import numpy as np
import pytest
import spacy
from spacy.tokens import Doc, DocBin
from typer.testing import CliRunner

from spacy_skd.calibration import calibrate, judge
from spacy_skd.cli import app

from ..pipeline.tiny import (
    TOK2VEC,
    blank,
    entity_examples,
    tag_examples,
    train,
    tree_examples,
)

KINDS = {
    "ner": ("LinearChainCRF", entity_examples),
    "tagger": ("MaxEnt", tag_examples),
    "parser": ("BiaffineParser", tree_examples),
}


def mistaken(name: str, doc: Doc) -> Doc:
    """The document with other gold annotation, which nothing that is predicted agrees with."""
    words = [token.text for token in doc]
    if name == "ner":
        return Doc(doc.vocab, words=words, ents=["O"] * len(words))
    if name == "tagger":
        return Doc(doc.vocab, words=words, tags=["XX"] * len(words))
    heads = [token.head.i for token in doc]
    return Doc(doc.vocab, words=words, heads=heads, deps=["xx"] * len(words))


def confidences_of(name: str, doc: Doc) -> list[float]:
    if name == "ner":
        return [entity._.confidence for entity in doc.ents]
    if name == "tagger":
        return [token._.tag_confidence for token in doc]
    return [token._.head_confidence for token in doc]


@pytest.fixture(params=KINDS)
def trained(request):
    """Name of a component, a pipeline that has it, and dev, of which it gets three quarters
    right."""
    name = request.param
    architecture, examples = KINDS[name]
    nlp = blank(f"skd_{name}", architecture)
    # Arcs' scores grow fast: at the rate of the others their temperature would be beyond the range.
    train(nlp, examples(nlp), steps=25, learn_rate=0.003 if name == "parser" else 0.02)
    gold = [example.reference for example in examples(nlp)]
    return name, nlp, [*gold * 3, *(mistaken(name, doc) for doc in gold)]


def files(path) -> dict[str, bytes]:
    return {
        str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()
    }


def test_calibrated_saved_and_loaded(trained, tmp_path):
    name, nlp, dev = trained
    nlp.to_disk(tmp_path / "model")
    DocBin(docs=dev).to_disk(tmp_path / "dev.spacy")
    command = ["calibrate", tmp_path / "model", tmp_path / "dev.spacy", "-o", tmp_path / "new"]
    result = CliRunner().invoke(app, [str(word) for word in command])
    assert result.exit_code == 0, result.output
    before, after = files(tmp_path / "model"), files(tmp_path / "new")
    assert {path for path in before if before[path] != after.pop(path)} == {f"{name}/cfg"}
    assert not after
    model, calibrated = spacy.load(tmp_path / "model"), spacy.load(tmp_path / "new")
    temperature = calibrated.get_pipe(name).temperature
    assert temperature != 1.0 == model.get_pipe(name).temperature
    texts = [doc.text for doc in dev]
    for first, second in zip(model.pipe(texts), calibrated.pipe(texts)):
        units = model.get_pipe(name).units(first)
        assert units == calibrated.get_pipe(name).units(second)
        [structure] = [calibrated.get_pipe(name).predict([second])]
        [expected] = model.get_pipe(name).confidences([first], structure, temperature=temperature)
        assert confidences_of(name, second) == pytest.approx(expected, rel=1e-4)
        assert not units or confidences_of(name, second) != pytest.approx(
            confidences_of(name, first), rel=1e-3
        )


def test_it_is_as_sure_as_it_is_right(trained):
    name, nlp, dev = trained
    before = [list(map(str, nlp.get_pipe(name).units(nlp(doc.text)))) for doc in dev]
    found = calibrate(nlp, dev).calibrated[name]
    assert found.dev.accuracy == pytest.approx(0.75, abs=0.05)
    assert found.temperature > 1 and found.dev.after.log_loss < found.dev.before.log_loss
    bins = found.dev.after.bins
    filled = bins.counts > 0
    mean = np.average(bins.confidence[filled], weights=bins.counts[filled])
    assert mean == pytest.approx(found.dev.accuracy, abs=0.05)
    assert [list(map(str, nlp.get_pipe(name).units(nlp(doc.text)))) for doc in dev] == before


def test_entities_that_were_set_before_and_unknown_ones_are_not_judged():
    nlp = blank()
    train(nlp, entity_examples(nlp), steps=25)
    words = ["Ada", "lives", "in", "New", "York", "City"]
    unknown = Doc(nlp.vocab, words=words, ents=["B-PER", "O", "O", "", "", ""])
    [judged] = judge(nlp, [unknown], ["ner"])
    assert judged.right.tolist() == [True] and judged.n_known == 3
    ruler = nlp.add_pipe("entity_ruler", before="ner")
    ruler.add_patterns([{"label": "PER", "pattern": "Ada"}])
    gold = Doc(nlp.vocab, words=words, ents=["B-PER", "O", "O", "B-LOC", "I-LOC", "I-LOC"])
    [judged] = judge(nlp, [gold], ["ner"])
    assert judged.right.tolist() == [True] and judged.probabilities(1.0).shape == (1,)


def test_components_that_share_an_encoder():
    nlp = spacy.blank("en")
    nlp.add_pipe("tok2vec", config={"model": TOK2VEC})
    listener = {"@architectures": "spacy.Tok2VecListener.v1", "width": 32}
    for name in ("tagger", "ner"):
        architecture = f"spacy-skd.{KINDS[name][0]}.v1"
        model = {"@architectures": architecture, "tok2vec": listener}
        nlp.add_pipe(f"skd_{name}", name=name, config={"model": model})
    examples = [*entity_examples(nlp), *tag_examples(nlp)]
    train(nlp, examples, steps=10)
    gold = [example.reference for example in examples]
    outcome = calibrate(nlp, [*gold, *(mistaken("ner", doc) for doc in gold[:4])])
    assert list(outcome.calibrated) == ["tagger", "ner"]
    assert outcome.skipped == {"tok2vec": "a tok2vec gives no confidences"}
    expected = [nlp(doc.text) for doc in gold]
    assert outcome.calibrated["tagger"].dev.judged == sum(len(doc) for doc in expected[4:])
