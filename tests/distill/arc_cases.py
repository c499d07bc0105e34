"""Cases for the objectives of trees: teachers, students, annotation."""

import numpy as np

from spacy_skd.distill.objectives import (
    make_structural_kd,
    make_substructure_kd,
    make_sum_kd,
    make_token_kd,
)
from spacy_skd.distill.targets import Target, collate, describe, stored_scores

from .arc_structures import (
    BOUNDS,
    LAYOUT,
    LENGTHS,
    N_TOKENS,
    label_trees,
    listed,
    make,
    outputs_of,
    random_arcs_of,
    random_scores,
)

STUDENTS = ["heads", "trees", "projective"]
BLOCKS = LAYOUT.blocks(np.arange(LAYOUT.n_cells))
NOTHING = np.full((N_TOKENS, 2), -1)
SCALE = 0.7  # so small that all arcs are kept

OBJECTIVES = {
    "marginals": lambda **o: make_structural_kd(**o),
    "top_k": lambda **o: make_structural_kd(take="top_k", k=3, **o),
    "top_wk": lambda **o: make_structural_kd(take="top_wk", k=3, **o),
    "top_1": lambda **o: make_structural_kd(take="top_1", **o),
    "token": lambda **o: make_token_kd(**o),
    "squares": lambda **o: make_substructure_kd(**o),
    "kl": lambda **o: make_substructure_kd(match="kl", **o),
    "sum": lambda **o: make_sum_kd(
        {"token": make_token_kd(), "best": make_structural_kd(take="top_wk", k=2)}, **o
    ),
}
TEMPERED = ["marginals", "token", "kl"]


def targets_of(teacher):
    record = describe(teacher, "parser")
    return [
        Target(record, scores, int(length))
        for scores, length in zip(stored_scores(teacher), LENGTHS)
    ]


def as_stored(targets):
    return collate(targets, np.zeros(1))


def random_case(teacher_kind, seed=91):
    """Targets, the teacher as they give it back, and scores for a student."""
    rng = np.random.default_rng(seed)
    targets = targets_of(random_arcs_of(teacher_kind, rng, SCALE))
    stored = as_stored(targets)
    arcs = np.isfinite(stored.scores)
    arcs[LAYOUT.self_cells] = True
    assert arcs.all()
    return targets, stored, random_scores(rng)


def random_gold(rng, kind, missing=0.3):
    """Gold trees with some heads and relations missing, (N, 2)."""
    annotation = NOTHING.copy()
    for low, length in zip(BOUNDS, LENGTHS):
        trees = outputs_of(random_arcs_of(kind, rng), length)
        annotation[low : low + length, 0] = trees[rng.integers(len(trees))]
    annotation[:, 1] = rng.integers(3, size=N_TOKENS)
    annotation[rng.uniform(size=N_TOKENS) < missing, 0] = -1
    annotation[rng.uniform(size=N_TOKENS) < missing, 1] = -1
    return annotation


def best_trees(stored, length, number, k, projective):
    """The k best trees of a sentence with their log-weights, relations as columns."""
    kind = make("projective" if projective else "trees", random_scores(np.random.default_rng(0)))
    trees, block = outputs_of(kind, length), stored.arcs[number]
    tokens = np.arange(length)
    scored = [(block[tokens, list(heads)].sum(), heads) for heads in trees]
    best = sorted(scored, reverse=True)[:k]
    relations = listed(stored)[number].relations
    return [(score, heads, relations[tokens, list(heads)].argmax(-1)) for score, heads in best]


def loss_of(objective, student, targets):
    return objective(student, NOTHING, targets)[0] * len(LENGTHS)


def rows(flat):
    """Values of each token's heads, without the token itself."""
    flat = np.delete(flat, LAYOUT.self_cells, axis=0)
    return np.split(flat, np.cumsum(LAYOUT.widths - 1)[:-1])


def log_softmax(scores):
    return scores - np.logaddexp.reduce(scores, axis=-1, keepdims=True)


def relation_scores(structure):
    """At all cells, (cells, R)."""
    tokens = np.repeat(np.arange(N_TOKENS), LAYOUT.widths)
    heads = np.arange(LAYOUT.n_cells) - LAYOUT.row_starts[tokens]
    return structure.relations.scores_at(tokens, heads)


def log_softmax_of_rows(arcs):
    """Of each token's heads, flat; 0 at the token itself."""
    found = np.zeros(LAYOUT.n_cells)
    cells = np.delete(np.arange(LAYOUT.n_cells), LAYOUT.self_cells)
    found[cells] = np.concatenate([log_softmax(row) for row in rows(arcs)])
    found[LAYOUT.self_cells] = -np.inf
    return found


def numeric(scores, labels, value, step=1e-5):
    gradient = np.zeros_like(scores)
    for index in np.ndindex(scores.shape):
        ends = []
        for move in (step, -step):
            moved = scores.copy()
            moved[index] += move
            ends.append(value(label_trees(moved, labels)))
        gradient[index] = (ends[0] - ends[1]) / (2 * step)
    return gradient
