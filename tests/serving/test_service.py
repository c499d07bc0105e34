"""The service of docs/serving.md, as its reader would run it."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import spacy
from fastapi.testclient import TestClient

from ..test_docs import ROOT, blocks
from .conftest import TEXTS

[CODE] = [code for _, code in blocks(ROOT / "docs" / "serving.md", "python") if "FastAPI()" in code]


@pytest.fixture
def client(saved, tmp_path, monkeypatch):
    """A client of the service; its student is in the working directory instead of installed."""
    spacy.load(saved("chain")).to_disk(tmp_path / "en_entities_student")
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "service"}
    exec(compile(CODE, "docs/serving.md", "exec"), namespace)
    return TestClient(namespace["app"])


def post(client, texts):
    return client.post("/entities", json={"texts": texts})


def test_it_finds_what_the_student_finds(client, saved):
    response = post(client, TEXTS)
    assert response.status_code == 200
    nlp = spacy.load(saved("chain"))
    expected = [
        [(ent.text, ent.label_, ent.start_char, ent.end_char) for ent in nlp(text).ents]
        for text in TEXTS
    ]
    answers = response.json()
    keys = ("text", "label", "start", "end")
    assert [[tuple(one[key] for key in keys) for one in doc] for doc in answers] == expected
    assert expected[0]
    assert all(0 < one["confidence"] <= 1 for doc in answers for one in doc)


def test_requests_at_the_same_time(client):
    expected = post(client, TEXTS).json()
    with ThreadPoolExecutor(4) as pool:
        responses = list(pool.map(lambda _: post(client, TEXTS), range(12)))
    assert all(response.json() == expected for response in responses)


@pytest.mark.parametrize("texts", ["Ada", [7], None, ["a" * 100_001], [""] * 1001])
def test_what_it_refuses(client, texts):
    assert post(client, texts).status_code == 422


def test_no_texts(client):
    assert post(client, []).json() == []


def test_it_is_short():
    assert sum(bool(line) for line in CODE.splitlines()) <= 20


def test_entities_of_rules_have_no_confidence(saved, tmp_path, monkeypatch):
    nlp = spacy.load(saved("chain"))
    ruler = nlp.add_pipe("entity_ruler", before="ner")
    ruler.add_patterns([{"label": "RULE", "pattern": "zebra"}])
    nlp.to_disk(tmp_path / "en_entities_student")
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "service"}
    exec(compile(CODE, "docs/serving.md", "exec"), namespace)
    (found,) = post(TestClient(namespace["app"]), ["zebra"]).json()
    assert [(one["label"], one["confidence"]) for one in found] == [("RULE", None)]
