import pytest

from .toy import sentences, toy_pipeline


@pytest.fixture
def teacher():
    """A pipeline with a toy teacher called "ner"."""
    return toy_pipeline()


@pytest.fixture
def texts(tmp_path):
    """A .txt file of ten sentences."""
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(sentences(10)) + "\n", encoding="utf8")
    return path
