"""Files that are read side by side, so that the documents of each are spread over a whole pass."""

from collections.abc import Callable, Iterator, Sequence
from heapq import merge
from itertools import groupby
from pathlib import Path
from typing import TypeVar

import numpy as np

ItemT = TypeVar("ItemT")

MAX_DOCBINS = 8  # `.spacy` files that are in memory at a time
MAX_OPEN = 64  # other files that are open at a time


def side_by_side(
    files: Sequence[Path],
    read: Callable[[Sequence[Path]], Iterator[ItemT]],
    progress: Callable[[ItemT], float],
) -> Iterator[ItemT]:
    """The items of all files: those of a file in their order, evenly among those of the others.

    read: the items of some files, one file after another. progress: the part of these files, from
        0 to 1, that has been read with an item.

    At most `MAX_DOCBINS` `.spacy` files and `MAX_OPEN` others are read at a time. Of more than
    that, neighbours are read one after another, as if they were one file.
    """
    docbins = [file for file in files if file.suffix == ".spacy"]
    others = [file for file in files if file.suffix != ".spacy"]
    runs = [*in_runs(docbins, MAX_DOCBINS), *in_runs(others, MAX_OPEN)]
    return merge(*map(read, runs), key=progress)


def in_runs(files: Sequence[Path], n_runs: int) -> list[list[Path]]:
    """Files in their order as at most so many runs, of about as many bytes where there are more
    files than that; else each by itself."""
    if len(files) <= n_runs:
        return [[file] for file in files]
    sizes = np.asarray([file.stat().st_size for file in files]).clip(1, None)
    middles = np.cumsum(sizes) - sizes / 2
    numbers = (n_runs * middles / sizes.sum()).astype(int).tolist()
    numbered = groupby(zip(numbers, files), key=lambda pair: pair[0])
    return [[file for _, file in run] for _, run in numbered]
