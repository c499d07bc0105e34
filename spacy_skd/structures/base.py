"""What every structure shares: the protocol, the array aliases and the checks of what comes in."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import pairwise
from types import ModuleType
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

Floats1d: TypeAlias = npt.NDArray[Any]
Floats2d: TypeAlias = npt.NDArray[Any]
Floats3d: TypeAlias = npt.NDArray[Any]
Ints1d: TypeAlias = npt.NDArray[np.int64]
Ints2d: TypeAlias = npt.NDArray[np.int64]
Bools1d: TypeAlias = npt.NDArray[np.bool_]
Bools2d: TypeAlias = npt.NDArray[np.bool_]
Bools3d: TypeAlias = npt.NDArray[np.bool_]
Scored: TypeAlias = list[tuple[list[int], float]]
"""Outputs of one sentence with their log-probabilities, best first."""

SHORT_ROW = 64  # how many numbers of a row numpy is slow to reduce one row at a time


class SentenceError(ValueError):
    """One sentence of a batch is at fault: a score that is not a number, no legal output.

    `sentence` is its index in the batch, so that a component can name the document.
    """

    def __init__(self, message: str, sentence: int) -> None:
        super().__init__(f"Sentence {sentence} of the batch {message}")
        self.message = message
        self.sentence = sentence

    def __reduce__(self) -> tuple[type[SentenceError], tuple[str, int]]:
        return type(self), (self.message, self.sentence)


@runtime_checkable
class Structure(Protocol):
    """A batch of distributions over structured outputs, one for each sentence.

    Batches are ragged: arrays over tokens are flat, sentences one after another, and `lengths`
    (B,) says where they end. Scores are log-potentials; "parts" are what they are given to, and
    marginals have the shape of the scores. Outputs live on the host, arrays where the scores live.
    """

    lengths: Ints1d
    labels: tuple[str, ...] | None

    def log_partition(self) -> Floats1d:
        """The logarithm of the normaliser of every sentence, (B,)."""

    def marginals(self) -> Any:
        """The probability of every part."""

    def argmax(self) -> list[Any]:
        """The most probable output of every sentence."""

    def topk(self, k: int) -> list[Any]:
        """The `k` most probable outputs of every sentence with log-probabilities, best first."""

    def log_prob(self, outputs: Sequence[Any]) -> Floats1d:
        """The log-probability of one output a sentence, (B,)."""

    def entropy(self) -> Floats1d:
        """The entropy in nats of every sentence's distribution, (B,)."""

    def parts_of(self, outputs: Sequence[Any]) -> Any:
        """One output a sentence as parts: what `marginals` is for a distribution."""


def array_module(array: Any) -> Any:
    """`cupy` for arrays on a GPU, `numpy` for everything else. Never imports cupy."""
    cupy: ModuleType | None = sys.modules.get("cupy")
    return np if cupy is None else cupy.get_array_module(array)


def to_host(array: Any) -> npt.NDArray[Any]:
    """An array of any module, or a list, as a numpy array; no copy if it is one."""
    return array.get() if hasattr(array, "get") else np.asarray(array)


def as_scores(scores: Any, name: str, shape: tuple[int | None, ...]) -> npt.NDArray[Any]:
    """Scores as a float32 or float64 array of the given shape (None: any size).

    float16 becomes float32, what is not floating float64. Raises ValueError for another shape.
    """
    if not hasattr(scores, "dtype"):
        scores = np.asarray(scores, dtype=np.float64)
    if scores.dtype.char not in "fd":
        scores = scores.astype(np.float32 if scores.dtype.char == "e" else np.float64)
    found = scores.shape
    if len(found) != len(shape) or any(w not in (None, f) for w, f in zip(shape, found)):
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{name} should have the shape ({wanted}), but it has {found}")
    if found[-1] == 0:
        raise ValueError(f"{name} should be given for at least one label, but there is none")
    return scores


def as_lengths(lengths: Any, n_tokens: int | None = None) -> Ints1d:
    """Sentence lengths (B,) as int64 on the host, checked to sum to the number of tokens, if it is
    given."""
    host = to_host(lengths)
    if host.ndim != 1 or (host.size and host.dtype.kind not in "iu"):
        raise ValueError(
            f"lengths should be one integer a sentence, but it is an array of the shape "
            f"{host.shape} and the type {host.dtype}"
        )
    host = host.astype(np.int64, copy=False)
    if host.size and host.min() < 0:
        raise ValueError(f"lengths should not be negative, but one is {host.min()}")
    if n_tokens is not None and host.sum() != n_tokens:
        raise ValueError(
            f"lengths should sum to the number of tokens that have scores, {n_tokens}, "
            f"but they sum to {host.sum()}"
        )
    return host


def as_integers(numbers: Any, name: str) -> Ints1d:
    """Numbers as int64 on the host; ValueError if they are of another type, as of fractions."""
    host = to_host(numbers)
    if host.size and host.dtype.kind not in "iu":
        raise ValueError(f"{name} should be integers, but they are of the type {host.dtype}")
    return host.astype(np.int64, copy=False)


def as_labels(labels: Sequence[str] | None, n_labels: int) -> tuple[str, ...] | None:
    """Label names in column order, checked to be as many as there are columns."""
    if labels is None:
        return None
    if len(labels) != n_labels:
        raise ValueError(f"There are scores for {n_labels} labels, but {len(labels)} label names")
    return tuple(labels)


def as_weights(weights: Any, scores: npt.NDArray[Any], n_sentences: int) -> Floats1d:
    """Weights of the sentences (B,) where the scores are and in their dtype.

    Raises ValueError for another shape.
    """
    weights = array_module(scores).asarray(weights, dtype=scores.dtype)
    if weights.shape != (n_sentences,):
        raise ValueError(
            f"There should be one weight for each of the {n_sentences} sentences, "
            f"but the weights have the shape {weights.shape}"
        )
    return weights


def check_scores(scores: npt.NDArray[Any], lengths: Ints1d, name: str) -> None:
    """Raise a SentenceError for the first sentence with a score that is NaN or +inf.

    `scores` is (N, ...). -inf is a legal score: it forbids a part.
    """
    if scores.size == 0 or float(scores.max()) < np.inf:
        return
    wrong = ~(scores < np.inf)
    token = int(wrong.reshape(len(scores), -1).any(axis=1).argmax())
    sentence = int(np.searchsorted(np.cumsum(lengths), token, side="right"))
    position = token - int(lengths[:sentence].sum())
    found = float(scores[token][wrong[token]].ravel()[0])
    raise SentenceError(
        f"has {name} of {found} at its token {position} (of {lengths[sentence]}); "
        f"scores must be numbers or -inf",
        sentence,
    )


def check_potentials(scores: npt.NDArray[Any], name: str) -> None:
    """Raise ValueError if scores that all sentences share have a NaN or a +inf."""
    if scores.size and not float(scores.max()) < np.inf:
        raise ValueError(f"{name} must be numbers or -inf, but there is a NaN or +inf in them")


def flatten_outputs(outputs: Any, lengths: Ints1d, n_labels: int) -> Ints1d:
    """Label indices of all sentences as one flat array (N,) on the host.

    outputs: a sequence of indices for each sentence, or an integer array (N,) that is flat already.
    Raises ValueError for another number of sentences or tokens, and SentenceError for an output of
    the wrong length or with a label that does not exist.
    """
    if hasattr(outputs, "dtype") and outputs.ndim == 1 and outputs.dtype.kind in "iu":
        flat = to_host(outputs)
        if len(flat) != lengths.sum():
            raise ValueError(f"There are {lengths.sum()} tokens, but {len(flat)} labels")
    else:
        flat = _concatenate(outputs, lengths)
    flat = flat.astype(np.int64, copy=False)
    if len(flat) and (flat.min() < 0 or flat.max() >= n_labels):
        token = int(((flat < 0) | (flat >= n_labels)).argmax())
        sentence = int(np.searchsorted(np.cumsum(lengths), token, side="right"))
        raise SentenceError(f"has the label {flat[token]}, but there are {n_labels}", sentence)
    return flat


def _concatenate(outputs: Any, lengths: Ints1d) -> Ints1d:
    if len(outputs) != len(lengths):
        raise ValueError(f"There are {len(lengths)} sentences, but {len(outputs)} outputs")
    found = np.fromiter(map(len, outputs), dtype=np.int64, count=len(outputs))
    if (found != lengths).any():
        sentence = int((found != lengths).argmax())
        raise SentenceError(
            f"has {lengths[sentence]} tokens, but its output {found[sentence]}", sentence
        )
    return np.concatenate(outputs) if found.any() else np.zeros(0, dtype=np.int64)


def cells_of(flat: Ints1d, n_labels: int) -> Ints1d:
    """Where one label a token (N,) is in a flattened array over labels, (N, L)."""
    return array_module(flat).arange(0, len(flat) * n_labels, n_labels) + flat


def split_outputs(flat: Ints1d, offsets: Ints1d) -> list[Ints1d]:
    """A flat array (N,) as one array a sentence; `offsets` (B + 1,) as in `Packing`."""
    bounds = offsets.tolist()
    return [flat[start:stop] for start, stop in pairwise(bounds)]


def row_max(scores: Floats2d) -> Floats1d:
    """The largest number of every row, (N,) of (N, L) with L > 0."""
    if scores.shape[1] > SHORT_ROW:
        return scores.max(axis=1)
    # By columns: numpy reduces short rows one by one, up to ten times slower than the copy.
    return array_module(scores).ascontiguousarray(scores.T).max(axis=0)


def expectation(probabilities: Floats2d, scores: Floats2d) -> Floats1d:
    """Row by row Σ p·s in which an impossible part counts nothing, even if its score is -inf."""
    xp = array_module(scores)
    if scores.size and not float(scores.min()) > -np.inf:
        scores = xp.where(probabilities > 0, scores, 0)
    return (probabilities * scores).sum(axis=1)
