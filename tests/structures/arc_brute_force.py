"""Distributions over heads and trees by listing them: what the structures must agree with."""

from functools import cache
from itertools import product

import numpy as np

from .brute_force import Enumeration


@cache
def assignments(n_tokens: int) -> tuple[tuple[int, ...], ...]:
    """All head numbers of a sentence of which none is the token itself."""
    choices = [[h for h in range(n_tokens + 1) if h != d + 1] for d in range(n_tokens)]
    return tuple(product(*choices))


@cache
def trees(n_tokens: int, single_root: bool = True) -> tuple[tuple[int, ...], ...]:
    """All dependency trees of a sentence."""
    return tuple(heads for heads in assignments(n_tokens) if is_tree(heads, single_root))


def is_tree(heads, single_root: bool = True) -> bool:
    """Whether every token leads to the root, and one alone has it as head."""
    for token in range(len(heads)):
        seen = set()
        while token >= 0:
            if token in seen or not 0 <= heads[token] <= len(heads):
                return False
            seen.add(token)
            token = heads[token] - 1
    return not single_root or not len(heads) or list(heads).count(0) == 1


def scored(outputs, arcs) -> Enumeration:
    """Some outputs of a sentence with the sums of their scores. arcs: (n, n + 1)."""
    tokens = np.arange(len(arcs))
    arcs = np.asarray(arcs, dtype=np.float64)
    scores = np.array([arcs[tokens, list(heads)].sum() for heads in outputs])
    return Enumeration(list(outputs), scores, len(arcs) + 1)


def random_arcs(rng, lengths, forbidden=0.0, scale=2.0):
    """Random scores with garbage at self-arcs; some forbidden, but of no token all."""
    arcs = []
    for n in lengths:
        block = rng.normal(size=(n, n + 1), scale=scale)
        block[rng.random(block.shape) < forbidden] = -np.inf
        own = np.eye(n, n + 1, 1, dtype=bool)
        lost = np.isneginf(np.where(own, -np.inf, block)).all(axis=1)
        block[lost, 0] = 0.5
        block[own] = rng.choice([7.0, -np.inf, np.inf, np.nan])
        arcs.append(block)
    return arcs


def without_own(block):
    """Scores with self-arcs forbidden."""
    return np.where(np.eye(*block.shape, 1, dtype=bool), -np.inf, block)
