"""The service of docs/serving.md, as its reader would run it."""

import json
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


HALF_A_PAIR = "\ud83d"


@pytest.mark.parametrize(
    "texts",
    [
        *("Ada", [7], None, [""] * 1001),
        *(["Ada " * 25_001], ["Ada " * 20_000, "Bob " * 20_000], ["(" * 1001]),
        *([f"{HALF_A_PAIR} Ada"], [HALF_A_PAIR, 7], HALF_A_PAIR),
    ],
    ids=lambda texts: ascii(texts)[:20],
)
def test_what_it_refuses(client, texts):
    """Also where the answer could not repeat it; httpx, too, can send half a pair as JSON alone."""
    body = json.dumps({"texts": texts})
    headers = {"Content-Type": "application/json"}
    response = client.post("/entities", content=body, headers=headers)
    assert response.status_code == 422 and response.json()["detail"]


def test_as_much_as_is_allowed(client):
    assert len(post(client, ["é" * 99] * 1000).json()) == 1000
    assert len(post(client, ["(" * 1000] * 2).json()) == 2


def test_no_texts(client):
    assert post(client, []).json() == []


def test_it_is_short():
    assert sum(bool(line) for line in CODE.splitlines()) <= 20


@pytest.mark.parametrize("place", ["before", "after"])
def test_entities_of_rules_have_no_confidence(saved, tmp_path, monkeypatch, place):
    nlp = spacy.load(saved("chain"))
    ruler = nlp.add_pipe("entity_ruler", **{place: "ner"}, config={"overwrite_ents": True})
    ruler.add_patterns([{"label": "RULE", "pattern": "zebra"}])
    nlp.to_disk(tmp_path / "en_entities_student")
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "service"}
    exec(compile(CODE, "docs/serving.md", "exec"), namespace)
    (found,) = post(TestClient(namespace["app"]), ["zebra"]).json()
    assert [(one["label"], one["confidence"]) for one in found] == [("RULE", None)]


def test_the_threshold_keeps_entities_of_rules(saved):
    """That of docs/serving.md, with a rule after the component."""
    [code] = [code for _, code in blocks(ROOT / "docs" / "serving.md", "python") if "0.8" in code]
    nlp = spacy.load(saved("chain"))
    ruler = nlp.add_pipe("entity_ruler", config={"overwrite_ents": True})
    ruler.add_patterns([{"label": "LOC", "pattern": "lives in"}])
    names = {"doc": nlp(TEXTS[0])}
    exec(code, names)
    assert "lives in" in [entity.text for entity in names["sure"]]
    nlp.get_pipe("ner").temperature = 100  # so that no entity it finds is sure
    names = {"doc": nlp(TEXTS[0])}
    exec(code, names)
    assert [entity.text for entity in names["sure"]] == ["lives in"]
