"""What README and docs say, tried out: code runs, configs can be filled, names and links exist."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.util import load_config, registry
from thinc.api import Config

from .pipeline.tiny import TOK2VEC, blank, entity_examples, train

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "assets" / "README.md", *sorted(ROOT.glob("docs/*.md"))]
CONFIGS = [*ROOT.glob("configs/*.cfg"), *ROOT.glob("benchmarks/*.cfg"), ROOT / "project.yml"]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
NAME = re.compile(r"spacy-skd\.\w+\.v\d+")


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(path: Path, language: str) -> list[tuple[int, str]]:
    """The code blocks of a language, each with the number of lines before it."""
    text = path.read_text(encoding="utf8")
    found = FENCE.finditer(text)
    return [(text[: m.start(2)].count("\n"), m[2]) for m in found if m[1] == language]


def run(path: Path) -> None:
    """Run a document's Python blocks one after another, as its reader would."""
    namespace = {"__name__": path.stem}
    for n_before, code in blocks(path, "python"):
        exec(compile("\n" * n_before + code, path, "exec"), namespace)


@pytest.fixture
def student(tmp_path, monkeypatch):
    """The student that docs/usage.md packages, in the working directory instead of installed."""
    nlp = blank()
    for label in ("PERSON", "LOC"):
        nlp.get_pipe("ner").add_label(label)
    nlp.initialize()
    nlp.to_disk(tmp_path / "en_entities_student")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("student")
@pytest.mark.parametrize("path", [p for p in DOCUMENTS if blocks(p, "python")], ids=place)
def test_code_runs(path):
    run(path)


def test_what_the_design_adds_can_be_trained():
    run(ROOT / "docs" / "design.md")
    model = {"@architectures": "my.HiddenLayerCRF.v1", "tok2vec": TOK2VEC, "width": 8, "nO": None}
    objective = {"@losses": "my.TeacherFirst.v1", "n_steps": 1}
    nlp = spacy.blank("en")
    nlp.add_pipe("skd_ner", name="ner", config={"model": model, "objective": objective})
    assert np.isfinite(train(nlp, entity_examples(nlp), steps=2))


EXCERPTS = [
    pytest.param(text, id=f"{place(path)}:{line}")
    for path in DOCUMENTS
    for line, text in blocks(path, "ini")
]


def parse(excerpt: str) -> Config:
    """An excerpt as a config: the sections above those that it shows are empty."""
    shown = re.findall(r"^\[(.+)\]$", excerpt, re.MULTILINE)
    above = {name[: dot.start()] for name in shown for dot in re.finditer(r"\.", name)}
    headers = "".join(f"[{name}]\n" for name in sorted(above - set(shown)))
    return Config().from_str(headers + excerpt, interpolate=False)


def settings(shown: dict[str, Any], whole: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The blocks that an excerpt shows, as they are in the whole config."""
    yield whole
    for key, value in shown.items():
        if isinstance(value, dict):
            yield from settings(value, whole[key])


@pytest.mark.parametrize("excerpt", EXCERPTS)
def test_excerpts_fit_into_the_config_of_the_student(excerpt):
    if "spacy-transformers." in excerpt:
        pytest.importorskip("spacy_transformers")
    shown = parse(excerpt)
    config = load_config(ROOT / "configs" / "student.cfg").merge(shown).interpolate()
    for block in settings(shown, config):
        if "factory" in block and "source" not in block:
            known = Language.get_factory_meta(block["factory"]).default_config
            assert set(block) <= {"factory", *known}
        elif any(key.startswith("@") for key in block):
            registry.fill({"block": block})  # raises if the function takes no such settings


@pytest.mark.parametrize("path", [*DOCUMENTS, *CONFIGS], ids=place)
def test_names_are_registered(path):
    for name in set(NAME.findall(path.read_text(encoding="utf8"))):
        assert any(registry.has(group, name) for group in registry.get_registry_names()), name


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives to a document's headings."""
    text = FENCE.sub("", path.read_text(encoding="utf8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=place)
def test_links_lead_somewhere(path):
    for link in LINK.findall(FENCE.sub("", path.read_text(encoding="utf8"))):
        if re.match(r"\w+:", link):  # of the web
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
