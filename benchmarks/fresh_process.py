"""What only a fresh process can tell of a pipeline: how it starts, and how much memory it takes.

    python benchmarks/fresh_process.py REQUEST

REQUEST is JSON: `what` ("start" or "memory"), `pipeline`, `product`, and what the function of that
name takes. Prints JSON. Memory is read from /proc, so this needs Linux. benchmarks/serving.py calls
it, and tests/serving/ does.
"""

import json
import random
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

ZONE_WORDS = 10_000
TEXT_WORDS = 25
NEW_WORDS = 0.1
"""Of the words of a text, those that no text before had: what makes a vocabulary grow."""


def main() -> None:
    """Answer the request."""
    request = json.loads(sys.argv[1])
    what, product = request.pop("what"), request.pop("product")
    started = time.perf_counter(), time.process_time()
    import spacy

    seconds = passed(started)
    measured = {"import": seconds, "megabytes_imported": resident()}
    choose_product(product)
    started = time.perf_counter(), time.process_time()
    nlp = spacy.load(request.pop("pipeline"))
    measured |= {"load": passed(started), "megabytes_loaded": resident()}
    measured |= {"start": start, "memory": memory}[what](nlp, **request)
    print(json.dumps(measured))


def start(nlp: Any, sentences: list[str], n_words: int) -> dict[str, Any]:
    """Milliseconds of the first call and of later ones, and memory after `n_words` words."""
    calls = []
    for sentence in sentences:
        started = time.perf_counter(), time.process_time()
        nlp(sentence)
        calls.append([1000 * seconds for seconds in passed(started)])
    texts = new_texts(n_words, random.Random(0))
    for _ in nlp.pipe(texts):
        pass
    return {
        "first_call": calls[0],
        "later_calls": [sorted(column)[len(calls) // 2] for column in zip(*calls[1:])],
        "megabytes_after_words": resident(),
    }


def memory(nlp: Any, n_words: int, every: int, zone: bool) -> dict[str, Any]:
    """Megabytes each `every` words of a stream, in memory zones of `ZONE_WORDS` words or in none.

    The first number is after one zone, when all that is made once has been made.
    """
    rng = random.Random(0)
    size = min(ZONE_WORDS, every)
    found = []
    for n_read in range(size, n_words + size + 1, size):
        with nlp.memory_zone() if zone else nullcontext():
            for _ in nlp.pipe(new_texts(size, rng)):
                pass
        if (n_read - size) % every == 0:
            found.append(resident())
    return {"megabytes": found, "lexemes": len(nlp.vocab)}


def new_texts(n_words: int, rng: random.Random) -> Iterator[str]:
    """Texts of `TEXT_WORDS` words, of which some have never been there before."""
    common = ["The", "ships", "sail", "from", "Oslo", "to", "New", "York", "and", "back", "."]
    for begin in range(0, n_words, TEXT_WORDS):
        words = rng.choices(common, k=min(TEXT_WORDS, n_words - begin))
        for place in range(len(words)):
            if rng.random() < NEW_WORDS:
                words[place] = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=12))
        yield " ".join(words)


def choose_product(product: str) -> None:
    """Let thinc multiply matrices by blis (its default) or by numpy, in pipelines loaded from now
    on; what multiplies matrices by itself, as torch and spaCy's parser do, goes on doing so."""
    from thinc.api import NumpyOps, set_current_ops

    set_current_ops(NumpyOps(use_blis={"blis": True, "numpy": False}[product]))


def resident() -> float:
    """Memory of this process in megabytes."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024 / 1e6


def passed(started: tuple[float, float]) -> list[float]:
    """Seconds since then: on the clock, and of CPU time."""
    return [time.perf_counter() - started[0], time.process_time() - started[1]]


if __name__ == "__main__":
    main()
