"""Reliability diagrams: how often predictions are right, against how sure the component was."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .fit import Calibration, Comparison
from .measures import Measures

FORMATS = ("png", "svg")
MISSING = (
    "Plots need matplotlib, which is not installed: pip install matplotlib, or this package with "
    "its extra 'plot'. Without --plot everything else works."
)
# Of the colours by Okabe and Ito, which the colour-blind can tell apart; shapes differ as well.
STYLES: dict[str, dict[str, Any]] = {
    "before": {"color": "#D55E00", "marker": "o", "linestyle": "--"},
    "after": {"color": "#0072B2", "marker": "s", "linestyle": "-"},
}
# The same file from the same numbers, and text that can be searched.
SETTINGS: dict[Any, Any] = {"svg.hashsalt": "spacy-skd", "svg.fonttype": "none"}
METADATA: dict[str, dict[str, Any]] = {"png": {"Software": None}, "svg": {"Date": None}}


def check_plotting() -> None:
    """Raise ImportError, naming what to install, if there is no matplotlib."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(MISSING) from error


def plot_reliability(calibrations: Mapping[str, Calibration], folder: Path) -> list[Path]:
    """Write a reliability diagram a component, as NAME.png and NAME.svg, and return the files.

    A column for each set of documents: above, the accuracy of each bin by its mean confidence,
    before and after calibration; below, the predictions in each bin. Needs no display.

    Raises ImportError if there is no matplotlib.
    """
    check_plotting()
    import matplotlib
    from matplotlib.figure import Figure  # without pyplot, which would look for a display

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, calibration in calibrations.items():
        parts = calibration.parts
        figure = Figure(figsize=(5.2 * len(parts), 6.2), layout="constrained")
        axes = figure.subplots(2, len(parts), squeeze=False, height_ratios=(3, 1.4))
        for column, (part, comparison) in zip(axes.T, parts.items()):
            _draw_accuracy(column[0], f"{name} on {part}", comparison)
            _draw_counts(column[1], comparison)
        with matplotlib.rc_context(SETTINGS):
            for suffix in FORMATS:
                path = folder / f"{name}.{suffix}"
                figure.savefig(path, dpi=150, metadata=METADATA[suffix])
                written.append(path)
    return written


def _sides(comparison: Comparison) -> dict[str, Measures]:
    return {"before": comparison.before, "after": comparison.after}


def _draw_accuracy(axes: Any, title: str, comparison: Comparison) -> None:
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, label="as often right as it says")
    for side, measures in _sides(comparison).items():
        bins = measures.bins
        filled = bins.counts > 0
        axes.errorbar(
            bins.confidence[filled],
            bins.accuracy[filled],
            yerr=bins.spread[filled],
            markersize=5,
            linewidth=1.4,
            elinewidth=0.8,
            capsize=2,
            label=f"{side}: T = {measures.temperature:.2f}, ECE {measures.ece:.3f}",
            **STYLES[side],
        )
    axes.set(
        title=f"{title}: {comparison.judged:,} predictions",
        xlabel="mean confidence in the bin",
        ylabel="part that is right",
        xlim=(0, 1),
        ylim=(-0.02, 1.02),
    )
    axes.legend(loc="upper left", fontsize="small", frameon=False)


def _draw_counts(axes: Any, comparison: Comparison) -> None:
    top = 0
    for place, (side, measures) in enumerate(_sides(comparison).items()):
        bins = measures.bins
        width = np.diff(bins.edges) * 0.42
        centers = bins.edges[:-1] + width * (place + 0.5) + np.diff(bins.edges) * 0.08
        color = STYLES[side]["color"]
        hatch = "//" if side == "before" else None
        # Bars begin below 1, so that a bin of one prediction can be seen on the logarithmic scale.
        bars = axes.bar(
            centers, bins.counts, width, color=color, hatch=hatch, edgecolor="white", label=side
        )
        labels = [f"{count:,}" if count else "" for count in bins.counts.tolist()]
        size = min(7.0, 80 / len(bins.counts))
        axes.bar_label(bars, labels, rotation=90, padding=2, fontsize=size)
        top = max(top, int(bins.counts.max(initial=0)))
    axes.set(
        xlabel="confidence",
        ylabel="predictions",
        xlim=(0, 1),
        yscale="log" if top else "linear",
        ylim=(0.5, 100 * max(top, 1)),
    )
