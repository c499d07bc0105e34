"""Random scores of flat spans, and all sets of them."""

import numpy as np
import pytest

from spacy_skd.structures import FlatSpans
from spacy_skd.structures.base import to_host

from .span_brute_force import span_scores

LENGTHS = [3, 0, 1, 5, 4]

GARBAGE = 7.0


def make(rng, lengths=LENGTHS, max_width=3, n_labels=2, forbidden=0.0, with_outside=True):
    """Random scores with garbage where spans stick out; every sentence has an output."""
    n_tokens = sum(lengths)
    scores = rng.normal(size=(n_tokens, max_width, n_labels), scale=1.5)
    scores[rng.random(scores.shape) < forbidden] = -np.inf
    outside = rng.normal(size=n_tokens) if with_outside else np.zeros(n_tokens)
    if with_outside:
        outside[rng.random(n_tokens) < forbidden] = -np.inf
        if forbidden:
            scores[:, 0, 0] = 0.5
    room = np.concatenate([np.arange(n, 0, -1) for n in lengths if n] or [np.zeros(0)])
    scores[np.arange(max_width) >= room[:, None]] = GARBAGE
    return scores, outside


def spans_of(xp, made, lengths=LENGTHS, dtype="float64", labels=None):
    scores, outside = (xp.asarray(array, dtype=dtype) for array in made)
    return FlatSpans(scores, lengths, labels, outside=outside)


def enumerate_all(made, lengths=LENGTHS):
    bounds = np.cumsum(lengths)[:-1]
    return [span_scores(*parts) for parts in zip(*(np.split(array, bounds) for array in made))]


def close(found, expected, tolerance=1e-9):
    np.testing.assert_allclose(to_host(found), expected, rtol=0, atol=tolerance)


CASES = pytest.mark.parametrize(
    "seed, max_width, n_labels, forbidden",
    [
        (0, 3, 2, 0.0),
        (1, 1, 1, 0.0),
        (2, 2, 3, 0.3),
        (3, 7, 2, 0.5),
        (4, 4, 1, 0.8),
        (5, 1, 3, 0.4),
    ],
)
