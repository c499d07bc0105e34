"""Rivals that take turns, so that what else the machine does hits them alike."""

import time
from collections.abc import Callable

from tqdm import tqdm


def interleaved(
    runs: dict[str, Callable[[], object]], rounds: int, title: str
) -> dict[str, list[float]]:
    """CPU seconds of each run in each round; the first round does not count."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in tqdm(range(rounds + 1), desc=title, leave=False):
        for name, run in runs.items():
            start = time.process_time()
            run()
            if number:
                times[name].append(time.process_time() - start)
    return times
