import numpy as np
import pytest

from .toy import sentences, toy_pipeline


def cupy_or_skip():
    cupy = pytest.importorskip("cupy", reason="cupy is not installed")
    try:
        cupy.zeros(1)
    except Exception as error:
        pytest.skip(f"cupy has no GPU: {error}")
    return cupy


@pytest.fixture(params=["numpy", "cupy"])
def xp(request):
    """The array module: a test runs on numpy and, where there is a GPU, on cupy."""
    return np if request.param == "numpy" else cupy_or_skip()


@pytest.fixture
def rng():
    return np.random.default_rng(0)


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
