"""Gradients by central differences."""

from collections.abc import Callable
from typing import Any

import numpy as np


def central_differences(total: Callable[[], Any], array: Any, step: float = 1e-6) -> np.ndarray:
    """The gradient of `total()` with respect to an array that it reads, changed in place."""
    gradient = np.zeros(array.shape)
    for index in np.ndindex(array.shape):
        before = float(array[index])
        array[index] = before + step
        above = float(total())
        array[index] = before - step
        below = float(total())
        array[index] = before
        gradient[index] = (above - below) / (2 * step)
    return gradient
