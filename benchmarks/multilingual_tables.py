"""The tables of benchmarks/multilingual.py."""

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any

from multilingual_tasks import COUNTS, TASKS, Task, task_of
from training_runs import cell

FULL, WEAK = "full", "weak"
OF_WEAK = ("structural", "posterior")
"""What is learnt from weak teachers, too."""
METHODS = ("emission", "top-K 10", "top-WK 10", "posterior", "posterior + top-WK 10")
"""Worst first in Wang et al. (2020), arXiv 2004.03846; "structural" is exact, and not theirs."""
RAW = "structural + raw"
SYSTEMS = ("gold", *METHODS[:-1], "structural", METHODS[-1], RAW)


def make_table(rows: list[dict], costs: Path, work: Path) -> str:
    """A table a task: systems down, corpora across, those that nobody has learnt from last."""
    measured = json.loads(costs.read_text(encoding="utf-8")) if costs.exists() else {}
    lines = []
    for name, task in TASKS.items():
        own = [row for row in rows if task_of(row["corpus"]) is task]
        if not own:
            continue
        titles = [*task.teachers, "mean", *(f"{corpus} (not learnt)" for corpus in task.others)]
        lines += [
            f"| {name} | parameters, millions | " + " | ".join(titles) + " | seeds |",
            "| --- |" + " ---: |" * (len(titles) + 2),
        ]
        for title, found in systems_of(task, own).items():
            cells = [
                cell([row for row in found if f"test_f_{column}" in row], f"f_{column}")
                for column in (*task.teachers, "mean", *task.others)
            ]
            size = f"{found[0]['parameters'] / 1e6:.1f}" if "parameters" in found[0] else "–"
            lines.append(f"| {title} | {size} | " + " | ".join(cells) + f" | {len(found)} |")
        counts = work / own[0]["corpus"].split("/")[0] / COUNTS
        known = json.loads(counts.read_text(encoding="utf-8")) if counts.exists() else {}
        lines += ["", *remarks(own, known)]
        if measured.get(name):
            lines.append(cost_line(measured[name]))
        lines.append("")
    return "\n".join(lines)


def systems_of(task: Task, rows: list[dict]) -> dict[str, list[dict]]:
    """The rows of each line of a task's table, by its title, with their means over languages."""
    systems: dict[str, list[dict]] = {}
    for setting, title in ((FULL, "teachers"), (WEAK, "weak teachers")):
        taught = [row for row in rows if (row["system"], row["setting"]) == ("teacher", setting)]
        if setting == FULL:
            systems |= {f"teacher, {corpus_of(row)}": [row] for row in taught}
        if len(taught) == len(task.teachers):
            scores = [f"test_f_{corpus_of(row)}" for row in taught]
            together = {score: row[score] for score, row in zip(scores, taught)}
            if all("parameters" in row for row in taught):
                together["parameters"] = sum(row["parameters"] for row in taught)
            systems[f"{title}, each in its own language"] = [together]
    for setting, title in ((FULL, ""), (WEAK, ", weak teachers")):
        for system in SYSTEMS:
            found = [row for row in rows if (row["system"], row["setting"]) == (system, setting)]
            if found:
                systems[f"student, {system}{title}"] = found
    for found in systems.values():
        for row in found:
            known = [row.get(f"test_f_{corpus}") for corpus in task.teachers]
            if None not in known:
                row["test_f_mean"] = mean(known)
                if row.get("system") in SYSTEMS:
                    row["dev_f_mean"] = row["dev_f"]
    return systems


def remarks(rows: list[dict], counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """What the test sets are, and whether the methods have the order that the paper has found."""
    tests = ", ".join(
        f"{corpus} {of['test']:,} ({of['test, left out']:,})" for corpus, of in counts.items()
    )
    lines = []
    if counts:
        lines += [f"Sentences of test (left out, as their text is in the training data): {tests}."]
    means: dict[str, float] = {}
    for system in METHODS:
        found = [row for row in rows if (row["system"], row["setting"]) == (system, FULL)]
        if found:
            means[system] = mean(row["test_f_mean"] for row in found)
    if len(means) == len(METHODS):
        here = sorted(means, key=lambda system: means[system])
        verdict = "confirmed" if here == list(METHODS) else "**not confirmed**"
        lines.append(
            f"The paper's order of the methods ({' < '.join(METHODS)}): {verdict}. Here: "
            + " < ".join(f"{system} {means[system]:.2f}" for system in here)
            + "."
        )
    return lines


def corpus_of(row: dict) -> str:
    return row["corpus"].split("/")[1]


def cost_line(costs: Mapping[str, Any]) -> str:
    """The student against its teachers: words/s in each language, sizes."""
    ratios = {
        corpus: cost["words/s"]["structural"] / cost["words/s"]["teacher"]
        for corpus, cost in costs.items()
    }
    teachers = sum(cost["MB"]["teacher"] for cost in costs.values())
    student = mean(cost["MB"]["structural"] for cost in costs.values())
    listed = ", ".join(f"{corpus} {ratio:.1f} ×" for corpus, ratio in ratios.items())
    return (
        f"Words/s of the student against the teacher: {listed}. On disk: student {student:.0f} MB, "
        f"teachers {teachers:.0f} MB together."
    )
