"""The tables of benchmarks/serving.py, from its results, with what they should be at least or at
most where the student is meant to replace the baseline."""

from collections.abc import Callable, Sequence
from statistics import linear_regression
from typing import Any

Rows = dict[str, dict[str, Any]]
SPEED_GOALS = {
    "entities": 1.35,
    "entities of 4 types": 1.35,
    "entities of 18 types": 1.6,
    "trees": 1.2,
    "trees, on one encoder": 1.2,
}
"""By titles of tables: times the baseline's words a second, of one process in batches of 100."""
LATENCY_GOAL = 1.0
"""Times the baseline's."""
LOAD_GOAL = 1.0
"""Seconds."""
MEMORY_GOAL = 1.2
"""Times the baseline's, loaded and after reading."""
KINDS = ("short", "normal", "long")  # texts
NONE = "–"


def report(results: dict[str, dict[str, dict[str, Rows]]]) -> str:
    """All tables, in Markdown: by what the pipelines are for, product of matrices, and part."""
    makers: dict[str, Callable[[Rows, str], list[str]]] = {
        "speed": speed_table,
        "latency": latency_table,
        "start": start_table,
        "memory": memory_table,
    }
    blocks = [
        [f"**{title}**, matrices multiplied by {product}:", "", *makers[part](parts[part], title)]
        for title, products in results.items()
        for product, parts in products.items()
        for part in makers
        if part in parts
    ]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def speed_table(rows: Rows, title: str) -> list[str]:
    """By CPU time with one process, by the clock with several."""
    names, goal = list(rows), SPEED_GOALS.get(title)
    titles = [*names, "goal"] if goal else names
    lines = head(["words/s of `nlp.pipe` (times the baseline's)", *titles])
    for case in sorted({case for row in rows.values() for case in row}, key=place_of):
        clock = "cpu" if case.startswith("1 process,") else "wall"
        cells = []
        for name in names:
            cell = rows[name].get(case)
            ratio = cell and cell.get(f"{clock}_ratio")
            cells.append(
                NONE if not cell else f"{cell[clock]:,}" + (f" ({ratio:.2f} ×)" if ratio else "")
            )
        if goal:
            has_goal = case.startswith("1 process,") and case.endswith("batch 100")
            cells.append(f"≥ {goal:.2f} ×" if has_goal else NONE)
        lines.append(line([case, *cells]))
    return lines


def place_of(case: str) -> tuple[int, int, int]:
    """Where "1 process, short texts, batch 100" stands: by processes, kind of texts, batch size."""
    processes, kind, batch = case.split(", ")
    return int(processes.split()[0]), KINDS.index(kind.split()[0]), int(batch.split()[1])


def latency_table(rows: Rows, title: str) -> list[str]:
    columns = ["cpu_p50", "cpu_p99", "wall_p50", "wall_p99"]
    titles = ["CPU p50", "p99", "clock p50", "p99", "times the baseline's"]
    lines = head(["ms of `nlp(sentence)`", *titles])
    for name, row in rows.items():
        cells = [f"{row[column]:.2f}" for column in columns]
        lines.append(line([name, *cells, f"{row['ratio']:.2f} ×"]))
    if title in SPEED_GOALS:
        lines.append(line(["goal", *[NONE] * len(columns), f"≤ {LATENCY_GOAL:.2f} ×"]))
    return lines


def start_table(rows: Rows, title: str) -> list[str]:
    """Seconds and milliseconds are on the clock. The first row is the baseline."""
    baseline = next(iter(rows.values()))

    def memory(key: str) -> Callable[[dict[str, Any]], str]:
        return lambda row: f"{row[key]:.0f} ({row[key] / baseline[key]:.2f} ×)"

    goals = {
        "load, s": f"≤ {LOAD_GOAL:.2f}",
        "MB loaded": f"≤ {MEMORY_GOAL:.2f} ×",
        "MB after reading": f"≤ {MEMORY_GOAL:.2f} ×",
    }
    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "import, s": lambda row: f"{row['import'][0]:.2f}",
        "load, s": lambda row: f"{row['load'][0]:.2f}",
        "first call, ms": lambda row: f"{row['first_call'][0]:.1f}",
        "later calls, ms": lambda row: f"{row['later_calls'][0]:.1f}",
        "MB with spaCy alone": lambda row: f"{row['megabytes_imported']:.0f}",
        "MB loaded": memory("megabytes_loaded"),
        "MB after reading": memory("megabytes_after_words"),
        "MB on disk": lambda row: f"{row['megabytes_on_disk']:.1f}",
        "MB of the wheel": lambda row: (
            f"{row['megabytes_of_wheel']:.1f}" if "megabytes_of_wheel" in row else NONE
        ),
    }
    lines = head(["a fresh process (times the baseline's)", *columns])
    for name, row in rows.items():
        lines.append(line([name, *(cell(row) for cell in columns.values())]))
    if title in SPEED_GOALS:
        lines.append(line(["goal", *(goals.get(column, NONE) for column in columns)]))
    return lines


def memory_table(rows: Rows, title: str) -> list[str]:
    """Growth is that of the line through the numbers, from first to last."""
    every = [row["every"] * n for row in list(rows.values())[:1] for n in range(len(row["zones"]))]
    lines = head(["MB after words", *(f"{words:,}" for words in every), "growth"])
    for name, row in rows.items():
        for kind in ("zones", "no zones"):
            amounts = row[kind]
            growth = linear_regression(range(len(amounts)), amounts).slope * (len(amounts) - 1)
            cells = [f"{amount:.0f}" for amount in amounts]
            lines.append(line([f"{name}, {kind}", *cells, f"{growth:+.1f}"]))
    return lines


def head(titles: Sequence[str]) -> list[str]:
    return [line(titles), "| --- |" + " ---: |" * (len(titles) - 1)]


def line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
