"""How far probabilities can be trusted: reliability bins, ECE, MMCE, Brier score and log loss.

Everything here takes what a component said as two arrays: `probabilities` (n,), how sure it was of
each of its predictions, and `right` (n,) bool, whether the prediction was right.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

N_BINS = 10
EPSILON = 1e-7  # about the distance from 1 to the next smaller float32
HALF_NORMAL = math.sqrt(2 / math.pi)  # mean distance from 0 of a standard normal variable
KERNEL_WIDTH = 0.2  # of probabilities; at this distance they count 1/e for each other


@dataclass(frozen=True, eq=False)
class Reliability:
    """Predictions in bins of equal width by their probability.

    edges: (bins + 1,), from 0 to 1; a bin has its lower edge and not its upper, the last one both.
    counts: (bins,) predictions.
    confidence: (bins,) mean probability, NaN in empty bins.
    accuracy: (bins,) part that is right, NaN in empty bins.
    spread: (bins,) standard deviation that the accuracy would have if the probabilities were
        right, NaN in empty bins.
    """

    edges: np.ndarray
    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    spread: np.ndarray

    @property
    def ece(self) -> float:
        """Expected calibration error: mean distance of accuracy and confidence, each bin weighted
        by its predictions (Naeini et al. 2015; Guo et al. 2017, section 2). NaN of no prediction.
        """
        return self._mean(np.abs(self.accuracy - self.confidence))

    @property
    def ece_by_chance(self) -> float:
        """What the ECE of these predictions would be on average if every probability was right.

        A bin of few predictions is off by chance alone, so no ECE on this many can be expected to
        be lower. By the normal approximation: a bin's mean distance is √(2/π) standard deviations.
        """
        return self._mean(HALF_NORMAL * self.spread)

    @property
    def square_error(self) -> float:
        """Mean squared distance of accuracy and confidence, without what chance adds to it; see
        `square_error`."""
        return square_error(self.counts, self.confidence, self.accuracy)

    def _mean(self, values: np.ndarray) -> float:
        filled = self.counts > 0
        if not filled.any():
            return math.nan
        return float(np.average(values[filled], weights=self.counts[filled]))


def reliability(probabilities: Any, right: Any, n_bins: int = N_BINS) -> Reliability:
    """Bins of equal width over [0, 1].

    Raises ValueError for fewer than one bin, arrays of other lengths, and what is no probability.
    """
    if n_bins < 1:
        raise ValueError(f"There has to be at least one bin, not {n_bins}.")
    probs, hits = _checked(probabilities, right)
    bins = np.minimum((probs * n_bins).astype(np.int64), n_bins - 1)
    counts = np.bincount(bins, minlength=n_bins)
    per_prediction = 1 / np.where(counts > 0, counts, np.nan)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(bins, weights=values, minlength=n_bins) * per_prediction

    spread = np.sqrt(mean(probs * (1 - probs)) * per_prediction)
    return Reliability(np.linspace(0, 1, n_bins + 1), counts, mean(probs), mean(hits), spread)


def square_error(counts: Any, confidence: Any, accuracy: Any) -> float:
    """Mean squared distance of accuracy and confidence over bins, nearly without bias an estimate
    of what it would be on ever more predictions (Kumar, Liang and Ma 2019, section 5).

    Few predictions raise an ECE by chance; here the variance of a bin's accuracy is subtracted. The
    result is negative about every other time where all probabilities are right, and means over
    several models may be taken. Its root is, but for that noise, at least the ECE without chance.

    counts, confidence, accuracy: (bins,), as in `Reliability`. Bins with a single prediction say
    nothing of its variance and are left out; NaN if there are no others.
    """
    n, said, found = (
        np.asarray(values, dtype=np.float64) for values in (counts, confidence, accuracy)
    )
    several = n > 1
    if not several.any():
        return math.nan
    n, said, found = n[several], said[several], found[several]
    return float(np.average((found - said) ** 2 - found * (1 - found) / (n - 1), weights=n))


def brier_score(probabilities: Any, right: Any) -> float:
    """Mean squared distance of the probabilities from 1 (right) and 0 (wrong) (Brier 1950); NaN of
    no prediction."""
    probs, hits = _checked(probabilities, right)
    return float(np.mean((probs - hits) ** 2)) if len(probs) else math.nan


def log_loss(probabilities: Any, right: Any) -> float:
    """Mean of −log p where right and −log(1 − p) where wrong, in nats; NaN of no prediction.

    Probabilities are kept 1e-7 from 0 and 1: float32 rounds those nearer to 1 to 1 itself, and one
    wrong prediction would make the loss infinite.
    """
    probs, hits = _checked(probabilities, right)
    probs = np.clip(probs, EPSILON, 1 - EPSILON)
    losses = -np.where(hits > 0, np.log(probs), np.log1p(-probs))
    return float(np.mean(losses)) if len(probs) else math.nan


def kernel_error(probabilities: Any, right: Any) -> float:
    """Maximum mean calibration error (MMCE): the square root of the mean over all pairs of
    predictions, each with itself too, of (p - right)(p' - right') exp(-|p - p'| / 0.2); NaN of no
    prediction (Kumar, Sarawagi and Jain 2018).

    Like an ECE without bins: it changes smoothly with the probabilities, and tends to 0 with ever
    more predictions where those of any probability are right as often as it says. Takes n log n
    steps, not n².
    """
    probs, hits = _checked(probabilities, right)
    if not len(probs):
        return math.nan
    order = np.argsort(probs)
    growth = np.exp(probs[order] / KERNEL_WIDTH)
    residuals = (probs - hits)[order]
    below = np.cumsum(residuals * growth) - residuals * growth
    pairs = residuals @ residuals + 2 * (residuals / growth) @ below
    return math.sqrt(max(float(pairs), 0.0)) / len(probs)


@dataclass(frozen=True, eq=False)
class Measures:
    """What probabilities are worth on some predictions, at one temperature."""

    temperature: float
    bins: Reliability
    brier: float
    log_loss: float

    @property
    def ece(self) -> float:
        return self.bins.ece

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; NaN is None."""
        bins = self.bins
        columns = (bins.edges[:-1], bins.edges[1:], bins.counts, bins.confidence, bins.accuracy)
        names = ("from", "to", "count", "confidence", "accuracy")
        return {
            "temperature": self.temperature,
            "ece": _plain(self.ece),
            "ece_by_chance": _plain(bins.ece_by_chance),
            "square_error": _plain(bins.square_error),
            "brier": _plain(self.brier),
            "log_loss": _plain(self.log_loss),
            "bins": [
                dict(zip(names, map(_plain, row))) for row in zip(*(c.tolist() for c in columns))
            ],
        }


def measure(
    probabilities: Any, right: Any, *, temperature: float = 1.0, n_bins: int = N_BINS
) -> Measures:
    """All measures of some predictions. Raises ValueError as `reliability`."""
    return Measures(
        temperature,
        reliability(probabilities, right, n_bins),
        brier_score(probabilities, right),
        log_loss(probabilities, right),
    )


def _checked(probabilities: Any, right: Any) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64, probabilities that rounding left a little beyond [0, 1] put back."""
    probs = np.asarray(probabilities, dtype=np.float64)
    hits = np.asarray(right, dtype=np.float64)
    if probs.ndim != 1 or probs.shape != hits.shape:
        raise ValueError(
            f"There has to be one probability a prediction, but there are {probs.shape} "
            f"probabilities of {hits.shape} predictions."
        )
    faulty = ~((probs >= -1e-4) & (probs <= 1 + 1e-4))  # of NaN too
    if faulty.any():
        raise ValueError(
            f"{np.count_nonzero(faulty):,} of {len(probs):,} confidences are no probabilities, the "
            f"first of them {probs[faulty][0]}."
        )
    return np.clip(probs, 0, 1), hits


def _plain(value: float | int) -> float | int | None:
    return None if math.isnan(value) else value
