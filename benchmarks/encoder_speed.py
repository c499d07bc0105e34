"""How fast the encoders are, against the encoder that spaCy's pipelines have.

    python benchmarks/encoder_speed.py

First whole encoders: documents of 25 words through `nlp.pipe` of a blank English pipeline with
nothing but a tok2vec, and forward and backward passes over training batches of 40 documents. Then
the recurrences alone, over many short documents and over a single long one, against thinc's LSTM.
float32, one thread, CPU time; the rivals take turns in one process, and ratios are medians over
rounds.
"""

import json
import os
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Annotated, Any

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import numpy as np
import spacy
import typer
from spacy.language import Language
from spacy.ml.models.tok2vec import build_hash_embed_cnn_tok2vec
from spacy.tokens import Doc
from thinc.api import LSTM, Model, Ragged, with_padded
from tqdm import tqdm

from spacy_skd.cli.convert import read_corpus
from spacy_skd.layers import light_recurrence, two_way_lstm
from spacy_skd.layers.light_recurrence import read, read_gradients
from spacy_skd.layers.two_way import BLOCK, TwoWay
from spacy_skd.models.hash_embedding import build_hash_embed_cnn
from spacy_skd.models.recurrent_encoder import build_hash_embed_recurrent

CORPUS = Path(__file__).parent.parent / "assets" / "entities" / "train.txt"
RESULTS = Path(__file__).parent / "results" / "encoder_speed.json"
WIDTH, N_WORDS, N_DOCS, BATCH = 96, 25, 512, 40
BASELINE = "spaCy's HashEmbedCNN, 4 windows"
GOAL = 0.6
"""Of the words a second of the baseline in `nlp.pipe`."""
SHAPES = {"256 × 25 words": [25] * 256, "1 × 10,000 words": [10_000]}
Run = Callable[[], object]


def main(
    rounds: Annotated[int, typer.Option(help="Timed rounds")] = 15,
    output: Annotated[Path, typer.Option(help="Results")] = RESULTS,
) -> None:
    """Measure, print the tables, and write them as JSON and Markdown."""
    encoders = encoder_speeds(rounds)
    layers = {shape: layer_speeds(lengths, rounds) for shape, lengths in SHAPES.items()}
    output.parent.mkdir(parents=True, exist_ok=True)
    found = {"encoders": encoders, "recurrences": layers}
    output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    table = encoder_table(encoders) + "\n" + layer_table(layers)
    output.with_suffix(".md").write_text(table, encoding="utf-8")
    print(table)


def encoder_speeds(rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """Words a second of each encoder and their ratio to the baseline's, by what is done."""
    nlp = spacy.blank("en")
    documents = short_documents(nlp)
    settings: dict[str, Any] = {
        "width": WIDTH,
        "depth": 4,
        "embed_size": 5000,
        "window_size": 1,
        "maxout_pieces": 3,
        "subword_features": True,
        "pretrained_vectors": None,
    }
    rivals: dict[str, Model] = {
        BASELINE: build_hash_embed_cnn_tok2vec(**settings),
        "4 windows": build_hash_embed_cnn(**settings),
        "2 windows, light": build_hash_embed_recurrent(WIDTH),
        "2 windows, light × 2": build_hash_embed_recurrent(WIDTH, recurrent_depth=2),
        "2 windows, LSTM": build_hash_embed_recurrent(WIDTH, recurrence="lstm"),
    }
    for model in rivals.values():
        model.initialize()
    todo: dict[str, Callable[[Model], Run]] = {
        "nlp.pipe": lambda model: served(model, documents, 256),
        "one document at a time": lambda model: served(model, documents[:100], 1),
        "forward and backward": lambda model: trained(model, documents[: 5 * BATCH]),
    }
    n_words = {"nlp.pipe": N_DOCS, "one document at a time": 100, "forward and backward": 5 * BATCH}
    speeds = {}
    for title, make in todo.items():
        runs = {name: make(model) for name, model in rivals.items()}
        times = interleaved(runs, rounds, title)
        speeds[title] = {
            name: {
                "words_per_second": round(n_words[title] * N_WORDS / median(seconds)),
                "ratio": median(a / b for a, b in zip(times[BASELINE], seconds)),
            }
            for name, seconds in times.items()
        }
    return speeds


def short_documents(nlp: Language) -> list[Doc]:
    """The words of the corpus that comes with the project, cut into documents of 25."""
    words = [token.text for doc in read_corpus(CORPUS, nlp) for token in doc]
    starts = islice(range(0, N_DOCS * N_WORDS, N_WORDS), N_DOCS)
    repeated = words * (N_DOCS * N_WORDS // len(words) + 1)
    return [Doc(nlp.vocab, words=repeated[start : start + N_WORDS]) for start in starts]


def served(model: Model, documents: list[Doc], batch_size: int) -> Run:
    nlp = spacy.blank("en", vocab=documents[0].vocab)
    nlp.add_pipe("tok2vec").model = model  # type: ignore[attr-defined]

    def run() -> None:
        for _ in nlp.pipe(documents, batch_size=batch_size):
            pass

    return run


def trained(model: Model, documents: list[Doc]) -> Run:
    def run() -> None:
        for start in range(0, len(documents), BATCH):
            vectors, backprop = model.begin_update(documents[start : start + BATCH])
            backprop(vectors)

    return run


def layer_speeds(lengths: list[int], rounds: int) -> dict[str, dict[str, int]]:
    """Words a second of the recurrences alone, forward, and forward and backward."""
    rng = np.random.default_rng(0)
    n_words = sum(lengths)
    X = Ragged(rng.normal(size=(n_words, WIDTH)).astype("f"), np.asarray(lengths, dtype="i"))
    light, lstm = light_recurrence(2 * WIDTH, WIDTH), two_way_lstm(2 * WIDTH, WIDTH)
    thinc_lstm = with_padded(LSTM(2 * WIDTH, WIDTH, bi=True))
    for layer in (light, lstm, thinc_lstm):
        layer.initialize(X)

    def through(layer: Any) -> tuple[Run, Run]:
        def both() -> None:
            Y, backprop = layer.begin_update(X)
            backprop(Y)

        return lambda: layer.predict(X), both

    def laid_out(block: int | None) -> tuple[Run, Run]:
        W, b = light.get_param("W"), light.get_param("b")

        def forward() -> Any:
            layout = TwoWay(lengths, block=block)
            return (*read(X.dataXd, W, b, layout), layout)

        def both() -> None:
            Y, memory, layout = forward()
            read_gradients(Y, W, memory, layout)

        return forward, both

    rivals = {
        "light": through(light),
        "light, step by step": laid_out(None),
        f"light, in blocks of {BLOCK}": laid_out(BLOCK),
        "LSTM": through(lstm),
        "LSTM.v1 of thinc": through(thinc_lstm),
    }
    speeds: dict[str, dict[str, int]] = {name: {} for name in rivals}
    for number, title in enumerate(("forward", "forward and backward")):
        runs = {name: pair[number] for name, pair in rivals.items()}
        for name, seconds in interleaved(runs, rounds, title).items():
            speeds[name][title] = round(n_words / median(seconds))
    return speeds


def interleaved(runs: dict[str, Run], rounds: int, title: str) -> dict[str, list[float]]:
    """CPU seconds of each run in each round; the first round does not count.

    Every round begins with another run: what one leaves in memory slows or helps the next.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for number in tqdm(range(rounds + 1), desc=title, leave=False, disable=None):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            start = time.process_time()
            runs[name]()
            if number:
                times[name].append(time.process_time() - start)
    return times


def encoder_table(speeds: dict[str, dict[str, dict[str, float]]]) -> str:
    lines = [
        f"| words/s of encoders of width {WIDTH} | " + " | ".join(speeds) + " |",
        "| --- |" + " ---: |" * len(speeds),
    ]
    for name in speeds["nlp.pipe"]:
        found = [speeds[title][name] for title in speeds]
        cells = [f"{f['words_per_second']:,} ({f['ratio']:.2f} ×)" for f in found]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", f"Goal: {GOAL} × in `nlp.pipe`."]) + "\n"


def layer_table(speeds: dict[str, dict[str, dict[str, int]]]) -> str:
    titles = [(shape, what) for shape in speeds for what in next(iter(speeds[shape].values()))]
    lines = [
        "| words/s of recurrences alone | " + " | ".join(map(", ".join, titles)) + " |",
        "| --- |" + " ---: |" * len(titles),
    ]
    for name in next(iter(speeds.values())):
        cells = [f"{speeds[shape][name][what]:,}" for shape, what in titles]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    typer.run(main)
