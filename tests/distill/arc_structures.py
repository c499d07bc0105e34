"""Small random distributions over heads and trees with relations, and their outputs listed."""

from itertools import product
from typing import NamedTuple

import numpy as np

from spacy_skd.distill.arcs import TreeMarginals
from spacy_skd.structures import (
    ArcLayout,
    DenseRelations,
    HeadSelection,
    LabelTrees,
    RelationParts,
    SpanningTree,
)
from spacy_skd.structures.dependency_codes import Words, label_columns, meant_heads, split_label
from spacy_skd.structures.mean_field import MeanField
from tests.structures.arc_brute_force import assignments, scored
from tests.structures.trees import all_trees

LENGTHS = [3, 0, 1, 4, 2]
BOUNDS = np.concatenate([[0], np.cumsum(LENGTHS)])
RELATIONS = ("amod", "nsubj", "obj")
N_TOKENS = sum(LENGTHS)
LAYOUT = ArcLayout(np.asarray(LENGTHS))
OFFSETS = ["0", *(f"{offset:+d}" for offset in range(-3, 4) if offset)]
LABELS = [f"{code}|{relation}" for relation in RELATIONS for code in OFFSETS]
KINDS = ["heads", "trees", "projective", "mean field"]


class Listed(NamedTuple):
    """The heads of a sentence's outputs, their probabilities, log p(r | arc) (n, n + 1, R)."""

    heads: list
    probs: np.ndarray
    relations: np.ndarray | None


def random_scores(rng, scale=1.5):
    """Scores of arcs, flat, and of relations at all cells."""
    arcs = rng.normal(size=LAYOUT.n_cells, scale=scale)
    arcs[LAYOUT.self_cells] = -np.inf
    return arcs, rng.normal(size=(LAYOUT.n_cells, len(RELATIONS)), scale=scale)


def as_relations(scores):
    blocks = LAYOUT.blocks(np.arange(LAYOUT.n_cells))
    return DenseRelations([scores[cells] for cells in blocks], len(RELATIONS))


def make(kind, scores, labels=RELATIONS):
    """A structure of arcs from what `random_scores` gives, the relations perhaps None."""
    arcs, relations = scores
    rest = {"lengths": LENGTHS}
    if relations is not None:
        rest |= {"relations": as_relations(relations), "labels": labels}
    if kind == "heads":
        return HeadSelection(arcs, **rest)
    if kind == "mean field":
        rng = np.random.default_rng(5)
        n_rows = N_TOKENS + len(LENGTHS)
        factors = [
            (rng.normal(size=(n_rows, 2)), *rng.normal(size=(2, N_TOKENS, 2))) for _ in range(2)
        ]
        return MeanField(arcs, siblings=factors[0], grandparents=factors[1], **rest)
    return SpanningTree(arcs, kind == "projective", **rest)


def random_arcs_of(kind, rng, scale=1.5):
    return make(kind, random_scores(rng, scale))


def random_labels(rng, labels=LABELS):
    return label_trees(rng.normal(size=(N_TOKENS, len(labels))), labels)


def label_trees(scores, labels=LABELS):
    names = sorted({split_label(label)[1] for label in labels})
    return LabelTrees(
        scores,
        LENGTHS,
        labels,
        heads=meant_heads(labels, Words(np.asarray(LENGTHS))),
        codes=label_columns(tuple(labels)).code_of,
        relations=[names.index(split_label(label)[1]) for label in labels],
        relation_labels=names,
    )


def outputs_of(structure, length):
    if isinstance(structure, SpanningTree):
        return all_trees(length, structure.projective)
    return assignments(length)


def listed(structure) -> list[Listed]:
    """The distribution of each sentence, its outputs one by one."""
    found = []
    for number, (length, block) in enumerate(zip(LENGTHS, structure.arcs)):
        outputs = outputs_of(structure, length)
        probs = scored(outputs, block).probs if length else np.ones(1)
        relations = None
        if structure.relations is not None:
            tokens, heads = np.indices((length, length + 1)).reshape(2, -1)
            scores = structure.relations.scores_at(tokens + BOUNDS[number], heads)
            norms = np.logaddexp.reduce(scores, axis=1, keepdims=True)
            relations = (scores - norms).reshape(length, length + 1, len(RELATIONS))
        found.append(Listed(list(outputs), probs, relations))
    return found


def listed_parts(structure, weights):
    """Expected arcs (cells,) and relations (cells, R), each sentence times its weight."""
    arcs = np.zeros(LAYOUT.n_cells)
    for block, weight, sentence in zip(LAYOUT.blocks(arcs), weights, listed(structure)):
        for heads, prob in zip(sentence.heads, sentence.probs):
            block[np.arange(len(heads)), list(heads)] += weight * prob
    relations = [
        np.exp(sentence.relations).reshape(-1, len(RELATIONS)) for sentence in listed(structure)
    ]
    return arcs, arcs[:, None] * np.concatenate(relations)


def joint_cross_entropy(teacher, student) -> np.ndarray:
    """−Σ p_t log p_s over heads and relations together; what is no tree of the student's has the
    sum of its scores for a logarithm of its weight."""
    found = []
    ours_of = zip(listed(teacher), listed(student), student.arcs, student.log_partition(), LENGTHS)
    for theirs, ours, arcs, log_z, length in ours_of:
        tokens, total = np.arange(length), 0.0
        for heads, prob in zip(theirs.heads, theirs.probs):
            log_prob = arcs[tokens, list(heads)].sum() - log_z
            for relations in product(range(len(RELATIONS)), repeat=length):
                arc = (tokens, list(heads), list(relations))
                share = prob * np.exp(theirs.relations[arc].sum())
                total -= share * (log_prob + ours.relations[arc].sum())
        found.append(total)
    return np.asarray(found)


def dense(relations: RelationParts | None) -> np.ndarray:
    """Sparse relations as an array over all cells, (cells, R)."""
    found = np.zeros((LAYOUT.n_cells, len(RELATIONS)))
    if relations is not None:
        np.add.at(found, LAYOUT.cells(relations.tokens, relations.heads), relations.values)
    return found


def numeric_gradients(kind, scores, value, step=1e-5):
    """Central differences of value(student) for the scores of arcs and relations."""
    found = []
    for array in scores:
        gradient = np.zeros_like(array)
        for index in np.ndindex(array.shape):
            before = array[index]
            if not np.isfinite(before):
                continue
            array[index] = before + step
            above = value(make(kind, scores))
            array[index] = before - step
            below = value(make(kind, scores))
            array[index] = before
            gradient[index] = (above - below) / (2 * step)
        found.append(gradient)
    return found


def check_gradient(kind, scores, loss):
    """loss(student) gives value and gradient. `kind` is one whose scores are its parameters."""
    _, gradient = loss(make(kind, scores))
    arcs, relations = numeric_gradients(kind, scores, lambda student: loss(student)[0])
    np.testing.assert_allclose(gradient.arcs, arcs, atol=1e-6)
    np.testing.assert_allclose(dense(gradient.relations), relations, atol=1e-6)


def marginals_of(structure) -> TreeMarginals:
    """The probabilities of arcs as a teacher of them that is known to be one of trees."""
    with np.errstate(divide="ignore"):
        scores = np.log(structure.flat_marginals())
    return TreeMarginals(
        scores, projective=structure.projective, lengths=LENGTHS,
        relations=structure.relations, labels=structure.labels,
    )  # fmt: skip
