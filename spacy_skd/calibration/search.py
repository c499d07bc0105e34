"""The temperature that minimises a loss: a search along one line, for the logarithm of it."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

LOW, HIGH = 0.1, 10.0
N_GRID = 9  # odd, so that 1 is on the grid
TOLERANCE = 0.002  # of log T: a fifth of a percent
FLAT = 1e-9  # a loss that varies less does not depend on the temperature
GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Optimum:
    """The best temperature found.

    at_edge: it is at an end of the range that was searched, and a better one may be beyond.
    flat: the loss is the same everywhere, and the temperature is 1.
    """

    temperature: float
    loss: float
    at_edge: bool = False
    flat: bool = False


def best_temperature(
    loss: Callable[[float], float], low: float = LOW, high: float = HIGH
) -> Optimum:
    """The temperature in [low, high] with the lowest loss.

    The best of a few temperatures, evenly spaced on a logarithmic scale, and between its neighbours
    a golden-section search: about 25 evaluations, the same ones each time. A loss that is not
    finite counts as worse than all that are.

    Raises ValueError if the range is empty, and if the loss is finite nowhere.
    """
    if not 0 < low < high:
        raise ValueError(f"There are no temperatures from {low} to {high}.")

    def evaluate(log_temperature: float) -> float:
        found = loss(math.exp(log_temperature))
        return found if math.isfinite(found) else math.inf

    grid = np.linspace(math.log(low), math.log(high), N_GRID)
    losses = np.asarray([evaluate(point) for point in grid.tolist()])
    finite = losses[np.isfinite(losses)]
    if not len(finite):
        raise ValueError(f"The loss is not a number at any temperature from {low} to {high}.")
    if len(finite) == N_GRID and np.ptp(finite) < FLAT:
        return Optimum(1.0, float(losses[0]), flat=True)
    best = int(losses.argmin())
    place, value = _golden_section(
        evaluate, float(grid[max(best - 1, 0)]), float(grid[min(best + 1, N_GRID - 1)])
    )
    if losses[best] <= value:
        place, value = float(grid[best]), float(losses[best])
    at_edge = min(place - grid[0], grid[-1] - place) < TOLERANCE
    return Optimum(math.exp(place), value, at_edge=bool(at_edge))


def _golden_section(loss: Callable[[float], float], low: float, high: float) -> tuple[float, float]:
    """The place of a minimum between two others, and the loss there (Kiefer 1953)."""
    inner = [high - GOLDEN * (high - low), low + GOLDEN * (high - low)]
    values = [loss(place) for place in inner]
    while high - low > TOLERANCE:
        if values[0] <= values[1]:
            high, inner[1], values[1] = inner[1], inner[0], values[0]
            inner[0] = high - GOLDEN * (high - low)
            values[0] = loss(inner[0])
        else:
            low, inner[0], values[0] = inner[0], inner[1], values[1]
            inner[1] = low + GOLDEN * (high - low)
            values[1] = loss(inner[1])
    better = int(values[1] < values[0])
    return inner[better], values[better]
