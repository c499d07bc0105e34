"""How fast the linear chain is: training against pytorch-crf and torch-struct, decoding, k-best.

Everything runs in one process on one thread; the rivals and ours take turns, round by round, and
CPU time is counted, so that the ratios hold on a busy machine. The rivals get padded batches,
prepared outside the clock; first their losses are checked to be ours.

    python benchmarks/chain_speed.py
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
import torch_struct
import torchcrf
import typer
from tqdm import tqdm

from spacy_skd.structures import LinearChain, as_potentials, biluo_labels, legal_moves

RESULTS = Path(__file__).parent / "results" / "chain_speed.json"
TARGETS = {"pytorch-crf": 15, "torch-struct": 100}
GOES = 5
"""How often ours runs in each of its turns: it is so quick that single times are noisy."""
Run = Callable[[], Any]


@dataclass
class Batch:
    """Random potentials and gold labels of a ragged batch."""

    emissions: np.ndarray
    transitions: np.ndarray
    start: np.ndarray
    end: np.ndarray
    lengths: np.ndarray
    gold: np.ndarray

    @classmethod
    def random(cls, n_sentences: int, mean_length: float, n_labels: int, seed: int) -> Batch:
        """Lognormal lengths of at least 2, what torch-struct can do."""
        rng = np.random.default_rng(seed)
        sigma = 0.5
        mu = np.log(mean_length) - sigma**2 / 2
        lengths = rng.lognormal(mu, sigma, size=n_sentences).round().astype(int).clip(2)
        return cls(
            emissions=rng.normal(size=(lengths.sum(), n_labels)).astype("float32"),
            transitions=rng.normal(size=(n_labels, n_labels)).astype("float32"),
            start=rng.normal(size=n_labels).astype("float32"),
            end=rng.normal(size=n_labels).astype("float32"),
            lengths=lengths,
            gold=rng.integers(n_labels, size=lengths.sum()),
        )

    @property
    def n_tokens(self) -> int:
        return int(self.lengths.sum())

    def biluo(self) -> Batch:
        """The same over BILUO labels: moves that are not legal at -inf."""
        labels = biluo_labels(f"X{i}" for i in range(len(self.start) // 4))
        transitions, start, end = map(as_potentials, legal_moves(labels))
        return replace(
            self,
            transitions=self.transitions + transitions,
            start=self.start + start,
            end=self.end + end,
        )

    def chain(self) -> LinearChain:
        return LinearChain(self.emissions, self.transitions, self.start, self.end, self.lengths)

    def padded(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Emissions (B, T, L), gold labels (B, T) and the mask (B, T)."""
        mask = torch.arange(int(self.lengths.max())) < torch.tensor(self.lengths)[:, None]
        emissions = torch.zeros(*mask.shape, len(self.start))
        emissions[mask] = torch.tensor(self.emissions)
        gold = torch.zeros(mask.shape, dtype=torch.long)
        gold[mask] = torch.tensor(self.gold)
        return emissions, gold, mask


def ours(batch: Batch) -> Run:
    def run() -> float:
        chain = batch.chain()
        loss = (chain.log_partition() - chain.score(batch.gold)).sum()
        model, gold = chain.marginals(), chain.parts_of(batch.gold)
        model.tokens - gold.tokens, model.pairs - gold.pairs
        model.starts - gold.starts, model.ends - gold.ends
        return float(loss)

    return run


def pytorch_crf(batch: Batch) -> Run:
    emissions, gold, mask = batch.padded()
    crf = torchcrf.CRF(len(batch.start), batch_first=True)
    with torch.no_grad():
        crf.transitions.copy_(torch.tensor(batch.transitions))
        crf.start_transitions.copy_(torch.tensor(batch.start))
        crf.end_transitions.copy_(torch.tensor(batch.end))
    emissions.requires_grad_()

    def run() -> float:
        emissions.grad = None
        crf.zero_grad()
        loss = -crf(emissions, gold, mask)
        loss.backward()
        return loss.item()

    return run


def pytorch_struct(batch: Batch) -> Run:
    emissions, gold, mask = batch.padded()
    lengths = mask.sum(dim=1)
    sentences = torch.arange(len(lengths))
    transitions, start, end = map(torch.tensor, (batch.transitions, batch.start, batch.end))
    parameters = [p.requires_grad_() for p in (emissions, transitions, start, end)]

    def run() -> float:
        for parameter in parameters:
            parameter.grad = None
        # edges[b, i, to, from]: the step from token i to token i + 1.
        edges = emissions[:, 1:, :, None] + transitions.T
        first = (emissions[:, 0] + start)[:, None, None, :]
        last = torch.zeros_like(edges).index_put(
            (sentences, lengths - 2), end[:, None].expand(len(lengths), -1, len(end))
        )
        edges = torch.cat([edges[:, :1] + first, edges[:, 1:]], dim=1) + last
        chain = torch_struct.LinearChainCRF(edges, lengths=lengths)
        score = edges[
            sentences[:, None], torch.arange(mask.shape[1] - 1), gold[:, 1:], gold[:, :-1]
        ]
        loss = (chain.partition - (score * mask[:, 1:]).sum(dim=1)).sum()
        loss.backward()
        return loss.item()

    return run


def medians(runs: dict[str, Run], rounds: int, title: str) -> dict[str, float]:
    """Median CPU seconds of each run. They take turns; ours has several goes a turn."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in tqdm(range(rounds), desc=title, leave=False, disable=None):
        for name, run in runs.items():
            for _ in range(GOES if name == "ours" else 1):
                began = time.process_time()
                run()
                seconds[name].append(time.process_time() - began)
    return {name: float(np.median(times)) for name, times in seconds.items()}


def training(n_labels: int, rounds: int, slow_rounds: int) -> dict[str, Any]:
    """Loss and gradient of 64 sentences."""
    batch = Batch.random(64, 22, n_labels, seed=n_labels)
    run = ours(batch)
    rivals = {"pytorch-crf": (pytorch_crf, rounds), "torch-struct": (pytorch_struct, slow_rounds)}
    found: dict[str, Any] = {"labels": n_labels, "tokens": batch.n_tokens}
    for name, (make, n_rounds) in rivals.items():
        if not n_rounds:
            continue
        rival = make(batch)
        if abs(rival() - run()) > 1e-3 * max(1.0, abs(run())):
            raise RuntimeError(f"{name} has a loss of {rival()}, ours is {run()}")
        title = f"{name}, {n_labels} labels"
        seconds = medians({"ours": run, name: rival}, n_rounds, title)
        found[name] = {
            "milliseconds": 1000 * seconds[name],
            "ours_milliseconds": 1000 * seconds["ours"],
            "ratio": seconds[name] / seconds["ours"],
            "target": TARGETS[name],
        }
    return found


def inference(n_labels: int, rounds: int) -> dict[str, Any]:
    """Tokens a second of 64 sentences with BILUO labels: what serving and targets need."""
    batch = Batch.random(64, 22, n_labels, seed=n_labels).biluo()
    stored = replace(batch, emissions=batch.emissions.astype("float16"))
    runs: dict[str, Run] = {
        "argmax": lambda: batch.chain().argmax(),
        "topk(10)": lambda: batch.chain().topk(10),
        "marginals of float16 emissions": lambda: stored.chain().marginals(),
    }
    seconds = medians(runs, rounds, f"inference, {n_labels} labels")
    return {
        "labels": n_labels,
        "tokens_per_second": {name: round(batch.n_tokens / s) for name, s in seconds.items()},
    }


def main(
    rounds: Annotated[int, typer.Option(help="Rounds of pytorch-crf and of inference")] = 15,
    slow_rounds: Annotated[int, typer.Option(help="Rounds of torch-struct; 0: without it")] = 3,
    output: Annotated[Path, typer.Option(help="Where the figures are written")] = RESULTS,
) -> None:
    """Measure the linear chain and print and write what was found."""
    torch.set_num_threads(1)
    trained = [training(n_labels, rounds, slow_rounds) for n_labels in (9, 17, 37)]
    inferred = [inference(n_labels, rounds) for n_labels in (17, 73)]

    typer.echo("Loss and gradient, 64 sentences, mean length 22, one thread (CPU ms)")
    for row in trained:
        cells = [
            f"{row[name]['ratio']:.0f} x {name}, {row[name]['ours_milliseconds']:.2f} against "
            f"{row[name]['milliseconds']:.2f} (target {target} x)"
            for name, target in TARGETS.items()
            if name in row
        ]
        typer.echo(f"  L {row['labels']:>2}  " + " | ".join(cells))
    typer.echo("BILUO labels, tokens a second")
    for row in inferred:
        cells = [f"{name} {value:,}" for name, value in row["tokens_per_second"].items()]
        typer.echo(f"  L {row['labels']:>2}  " + " | ".join(cells))

    packages = ("numpy", "torch", "pytorch-crf", "torch-struct")
    found = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "versions": {name: version(name) for name in packages},
        "training": trained,
        "inference": inferred,
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    output.with_suffix(".md").write_text(table(found), encoding="utf-8")


def table(found: dict[str, Any]) -> str:
    """The ratios as Markdown, for the README."""
    lines = [
        "| loss + gradient of the chain, times as fast as | "
        + " | ".join(f"L = {row['labels']}" for row in found["training"])
        + " |",
        "| --- |" + " ---: |" * len(found["training"]),
    ]
    for name in TARGETS:
        cells = [f"{row[name]['ratio']:,.0f} ×" for row in found["training"] if name in row]
        lines.append(f"| {name} {found['versions'][name]} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    typer.run(main)
