"""Small random structures, and their distributions by listing every label sequence."""

from itertools import pairwise, product

import numpy as np

from spacy_skd.structures import Candidates, LinearChain, Token
from tests.structures.brute_force import Enumeration, chain_scores, token_scores

LENGTHS = [3, 0, 1, 4, 2]
N_LABELS = 3


def random_token(rng, lengths=LENGTHS, n_labels=N_LABELS, labels=None) -> Token:
    return Token(rng.normal(size=(sum(lengths), n_labels)) * 2, np.asarray(lengths), labels=labels)


def random_chain(rng, lengths=LENGTHS, n_labels=N_LABELS, labels=None) -> LinearChain:
    return LinearChain(
        rng.normal(size=(sum(lengths), n_labels)) * 2,
        rng.normal(size=(n_labels, n_labels)),
        rng.normal(size=n_labels),
        rng.normal(size=n_labels),
        np.asarray(lengths),
        labels=labels,
    )


def random_candidates(rng, lengths=LENGTHS, n_labels=N_LABELS, labels=None) -> Candidates:
    """One to seven candidates a sentence, some of them equal, one perhaps barred."""
    counts = rng.integers(1, 8, size=len(lengths))
    log_weights = [rng.normal(size=count) for count in counts]
    log_weights[0][1:2] = -np.inf
    return Candidates(
        [rng.integers(n_labels, size=(k, n)) for k, n in zip(counts, lengths)],
        log_weights,
        labels,
        lengths=lengths,
        n_labels=n_labels,
    )


RANDOM = {Token: random_token, LinearChain: random_chain, Candidates: random_candidates}


def random_structure(kind, rng, **kwargs):
    return RANDOM[kind](rng, **kwargs)


def enumerations(structure) -> list[Enumeration]:
    """The distribution of each sentence, listed."""
    if isinstance(structure, Candidates):
        return listed_candidates(structure)
    bounds = np.concatenate([[0], np.cumsum(structure.lengths)])
    listed = []
    for start, end in pairwise(bounds):
        if isinstance(structure, Token):
            listed.append(token_scores(structure.scores[start:end]))
        else:
            listed.append(
                chain_scores(
                    structure.emissions[start:end],
                    structure.transitions,
                    structure.start,
                    structure.end,
                )
            )
    return listed


def listed_candidates(candidates) -> list[Enumeration]:
    """All label sequences with the sum of their candidates' weights, most of them zero."""
    listed = []
    for outputs, weights, length in zip(
        candidates.outputs, candidates.marginals(), candidates.lengths
    ):
        everything = list(product(range(candidates.n_labels), repeat=length))
        probs = dict.fromkeys(everything, 0.0)
        for output, weight in zip(outputs, weights):
            probs[tuple(output)] += weight
        with np.errstate(divide="ignore"):
            scores = np.log([probs[output] for output in everything])
        listed.append(Enumeration(everything, scores, candidates.n_labels))
    return listed


def listed_cross_entropy(teacher, student) -> np.ndarray:
    """−Σ_y p_t(y) log p_s(y) of each sentence by its definition."""
    return np.asarray(
        [
            -sum(p * q for p, q in zip(ours.probs, theirs.log_probs) if p > 0)
            for ours, theirs in zip(enumerations(teacher), enumerations(student))
        ]
    )


def parameters(structure) -> list[np.ndarray]:
    """The score arrays of a structure, to be changed in place."""
    if isinstance(structure, Token):
        return [structure.scores]
    return [structure.emissions, structure.transitions, structure.start, structure.end]


def rebuilt(structure):
    """The same structure from the present values of its arrays, with nothing cached."""
    if isinstance(structure, Token):
        return Token(structure.scores, structure.lengths, labels=structure.labels)
    return LinearChain(*parameters(structure), structure.lengths, labels=structure.labels)


def gradients(parts) -> list[np.ndarray]:
    """A gradient in the form of parts, as arrays in the order of `parameters`."""
    if isinstance(parts, np.ndarray):
        return [parts]
    return [parts.tokens, parts.pairs, parts.starts, parts.ends]


def numeric_gradients(structure, value, step=1e-5) -> list[np.ndarray]:
    """Central differences of value(structure) with respect to each score."""
    found = []
    for array in parameters(structure):
        gradient = np.zeros_like(array)
        for index in np.ndindex(array.shape):
            if not np.isfinite(array[index]):
                continue
            before = array[index]
            array[index] = before + step
            above = value(rebuilt(structure))
            array[index] = before - step
            below = value(rebuilt(structure))
            array[index] = before
            gradient[index] = (above - below) / (2 * step)
        found.append(gradient)
    return found
