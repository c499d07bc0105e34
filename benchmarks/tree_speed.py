"""How fast distributions over dependency trees are: normalising, marginals, the best tree.

    python benchmarks/tree_speed.py

256 sentences, float32, one thread, CPU time. Scores are noise that a random tree stands out from,
so far that the best heads are right at 96 % of the tokens; most of these sentences are trees then,
the others have to be repaired. "Noise alone" is the worst case: nearly all have to be.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated, Any

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import numpy as np
import typer
from rounds import interleaved

from spacy_skd.structures import HeadSelection, MeanField, SpanningTree, is_tree
from spacy_skd.structures.mean_field import Factor

RESULTS = Path(__file__).parent / "results" / "tree_speed.json"
N_SENTENCES, ACCURACY, NOISE = 256, 0.96, 2.0
LENGTHS = (25, 60)
RANK = 48
GOALS = {"the best tree": 90_000, "trees: log-partition and marginals": 250_000}
Run = Callable[[], Any]


class Batch:
    """Arc scores of sentences of the same length that have a gold tree."""

    def __init__(self, length: int, accuracy: float = 0.0, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.lengths = np.full(N_SENTENCES, length)
        self.n_tokens = int(self.lengths.sum())
        self.gold = np.concatenate([random_tree(length, rng) for _ in self.lengths])
        self.scores = rng.normal(size=(self.n_tokens, length + 1), scale=NOISE).astype("f")
        tokens = np.arange(self.n_tokens)
        self.scores[tokens, tokens % length + 1] = -np.inf
        gold = self.scores[tokens, self.gold]
        self.scores[tokens, self.gold] = -np.inf
        # How far the gold heads must stand out for this accuracy.
        behind = self.scores.max(axis=1) - gold
        self.scores[tokens, self.gold] = gold + (np.quantile(behind, accuracy) if accuracy else 0)

    def heads(self) -> HeadSelection:
        return HeadSelection(self.scores.ravel(), lengths=self.lengths)

    def trees(self, projective: bool = False) -> SpanningTree:
        return SpanningTree(self.scores.ravel(), projective, lengths=self.lengths)

    def greedy_trees(self) -> float:
        """How many of the sentences are trees without repair."""
        return float(is_tree(self.heads().greedy()).mean())


def random_tree(n_tokens: int, rng: np.random.Generator) -> np.ndarray:
    """Head numbers of a tree in which near heads are likelier than far ones."""
    order = rng.permutation(n_tokens)
    heads = np.zeros(n_tokens, dtype=np.int64)
    for place, token in enumerate(order[1:], start=1):
        weights = 1 / np.abs(order[:place] - token) ** 1.5
        heads[token] = rng.choice(order[:place], p=weights / weights.sum()) + 1
    return heads


def main(
    rounds: Annotated[int, typer.Option(help="Timed rounds")] = 15,
    output: Annotated[Path, typer.Option(help="Results")] = RESULTS,
) -> None:
    """Measure, print the table, and write it as JSON and Markdown."""
    found = {length: measure(length, rounds) for length in LENGTHS}
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    speeds = {length: found[length]["words_per_second"] for length in LENGTHS}
    columns = "".join(f" {length} words |" for length in LENGTHS)
    lines = [f"| words/s, sentences of |{columns} goal |", "| --- | ---: | ---: | ---: |"]
    for name in speeds[LENGTHS[0]]:
        cells = "".join(f" {speeds[length][name]:,} |" for length in LENGTHS)
        lines.append(f"| {name} |{cells} {f'{GOALS[name]:,}' if name in GOALS else '–'} |")
    trees = " / ".join(f"{found[length]['greedy_trees']:.0%}" for length in LENGTHS)
    note = f"At {ACCURACY:.0%} right heads, {trees} of the sentences are trees without repair."
    table = "\n".join([*lines, "", note]) + "\n"
    output.with_suffix(".md").write_text(table, encoding="utf-8")
    print(table)


def measure(length: int, rounds: int) -> dict[str, Any]:
    """Words a second of each operation on new structures."""
    parsed, noise = Batch(length, ACCURACY), Batch(length)
    runs = {
        **head_selection(parsed),
        **trees(parsed),
        **second_order(parsed),
        **decoding(parsed, noise),
    }
    times = interleaved(runs, rounds, f"sentences of {length}")
    speeds = {name: round(parsed.n_tokens / median(seconds)) for name, seconds in times.items()}
    return {"words_per_second": speeds, "greedy_trees": parsed.greedy_trees()}


def head_selection(batch: Batch) -> dict[str, Run]:
    """Rows of independent heads."""
    return {
        "heads: log-partition": lambda: batch.heads().log_partition(),
        "heads: log-partition and marginals": lambda: both(batch.heads()),
        "heads: ten best": lambda: batch.heads().topk(10),
    }


def trees(batch: Batch) -> dict[str, Run]:
    """Rows of distributions over trees."""
    return {
        "trees: log-partition": lambda: batch.trees().log_partition(),
        "trees: log-partition and marginals": lambda: both(batch.trees()),
        "projective trees: log-partition and marginals": lambda: both(batch.trees(True)),
    }


def second_order(batch: Batch) -> dict[str, Run]:
    """Rows of mean field, three iterations over siblings and grandparents."""
    rng = np.random.default_rng(0)

    def factor() -> Factor:
        sizes = (batch.n_tokens + N_SENTENCES, batch.n_tokens, batch.n_tokens)
        return Factor(*(rng.normal(size=(n, RANK), scale=0.3).astype("f") for n in sizes))

    factors = {"siblings": factor(), "grandparents": factor()}

    def run(backward: bool) -> None:
        field = MeanField(batch.scores.ravel(), lengths=batch.lengths, **factors)
        marginals = field.flat_marginals()
        if backward:
            field.backprop(marginals)

    return {
        f"second order (rank {RANK}): marginals": lambda: run(backward=False),
        f"second order (rank {RANK}): marginals and gradient": lambda: run(backward=True),
    }


def decoding(parsed: Batch, noise: Batch) -> dict[str, Run]:
    """Rows of the best tree, the same for all structures of arcs that are not projective."""
    return {
        "the best heads": lambda: parsed.heads().greedy(),
        "the best tree": lambda: parsed.heads().argmax(),
        "the best tree, any number of roots": lambda: parsed.heads().argmax(single_root=False),
        "the best tree of noise alone": lambda: noise.heads().argmax(),
    }


def both(structure: Any) -> None:
    """What a training step needs."""
    structure.log_partition()
    structure.flat_marginals()


if __name__ == "__main__":
    typer.run(main)
