"""How far the confidences of components can be trusted, and one temperature each to mend them."""

from .fit import Calibration, Comparison, Outcome, calibrate
from .judgement import Confident, Judged, is_confident, judge
from .measures import (
    Measures,
    Reliability,
    brier_score,
    kernel_error,
    log_loss,
    measure,
    reliability,
)
from .search import Optimum, best_temperature

__all__ = [
    "Calibration",
    "Comparison",
    "Confident",
    "Judged",
    "Measures",
    "Optimum",
    "Outcome",
    "Reliability",
    "best_temperature",
    "brier_score",
    "calibrate",
    "is_confident",
    "judge",
    "kernel_error",
    "log_loss",
    "measure",
    "reliability",
]
