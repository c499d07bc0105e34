"""The name of a transformer: a folder, a hub name, or a package that ships a model."""

import sys

import pytest

from spacy_skd.models.transformers import transformer_name


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Write an importable package of a given content; returns its name."""

    def write(content: str) -> str:
        name = "a_package_with_a_model"
        (tmp_path / f"{name}.py").write_text(content, encoding="utf8")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    yield write
    sys.modules.pop("a_package_with_a_model", None)


@pytest.mark.parametrize(
    "name", ["roberta-base", "org/model", "./folder", "/a/folder", "no_such_package_anywhere"]
)
def test_folders_and_hub_names_stay(name):
    assert transformer_name(name) == name


def test_a_package_tells_its_folder(package):
    name = package("from pathlib import Path\nMODEL_DIR = Path('somewhere')")
    assert transformer_name(name) == "somewhere"


def test_a_folder_goes_before_a_package(package, tmp_path, monkeypatch):
    name = package("MODEL_DIR = 'somewhere'")
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    assert transformer_name(name) == name


def test_a_package_without_a_model(package):
    name = package("")
    with pytest.raises(ValueError, match=f"'{name}' does not tell the folder of a model"):
        transformer_name(name)
