import numpy as np
import pytest


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
