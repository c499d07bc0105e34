"""The tables of benchmarks/serving.py, from its results."""

from collections.abc import Callable, Sequence
from statistics import linear_regression
from typing import Any

Rows = dict[str, dict[str, Any]]


def report(results: dict[str, dict[str, dict[str, Rows]]]) -> str:
    """All tables, in Markdown: by what the pipelines are for, product of matrices, and part."""
    makers: dict[str, Callable[[Rows], list[str]]] = {
        "speed": speed_table,
        "latency": latency_table,
        "start": start_table,
        "memory": memory_table,
    }
    blocks = [
        [f"**{title}**, matrices multiplied by {product}:", "", *makers[part](parts[part])]
        for title, products in results.items()
        for product, parts in products.items()
        for part in makers
        if part in parts
    ]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def speed_table(rows: Rows) -> list[str]:
    """By CPU time with one process, by the clock with several."""
    names = list(rows)
    lines = head(["words/s of `nlp.pipe` (times the baseline's)", *names])
    for case in dict.fromkeys(case for row in rows.values() for case in row):
        clock = "cpu" if case.startswith("1 process,") else "wall"
        cells = []
        for name in names:
            cell = rows[name].get(case)
            ratio = cell and cell.get(f"{clock}_ratio")
            cells.append(
                "–" if not cell else f"{cell[clock]:,}" + (f" ({ratio:.2f} ×)" if ratio else "")
            )
        lines.append(line([case, *cells]))
    return lines


def latency_table(rows: Rows) -> list[str]:
    columns = ["cpu_p50", "cpu_p99", "wall_p50", "wall_p99"]
    titles = ["CPU p50", "p99", "clock p50", "p99", "times the baseline's"]
    lines = head(["ms of `nlp(sentence)`", *titles])
    for name, row in rows.items():
        cells = [f"{row[column]:.2f}" for column in columns]
        lines.append(line([name, *cells, f"{row['ratio']:.2f} ×"]))
    return lines


def start_table(rows: Rows) -> list[str]:
    """Seconds and milliseconds are on the clock."""
    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "import, s": lambda row: f"{row['import'][0]:.2f}",
        "load, s": lambda row: f"{row['load'][0]:.2f}",
        "first call, ms": lambda row: f"{row['first_call'][0]:.1f}",
        "later calls, ms": lambda row: f"{row['later_calls'][0]:.1f}",
        "MB with spaCy alone": lambda row: f"{row['megabytes_imported']:.0f}",
        "MB loaded": lambda row: f"{row['megabytes_loaded']:.0f}",
        "MB after reading": lambda row: f"{row['megabytes_after_words']:.0f}",
        "MB on disk": lambda row: f"{row['megabytes_on_disk']:.1f}",
        "MB of the wheel": lambda row: (
            f"{row['megabytes_of_wheel']:.1f}" if "megabytes_of_wheel" in row else "–"
        ),
    }
    lines = head(["a fresh process", *columns])
    return lines + [
        line([name, *(cell(row) for cell in columns.values())]) for name, row in rows.items()
    ]


def memory_table(rows: Rows) -> list[str]:
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
