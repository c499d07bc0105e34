"""What the tests of objectives of label sequences share: pairs of a teacher and a student."""

import numpy as np

from spacy_skd.distill.objectives import (
    make_posterior_kd,
    make_structural_kd,
    make_substructure_kd,
    make_sum_kd,
    make_token_kd,
)
from spacy_skd.distill.targets import Target, collate, describe
from spacy_skd.structures import LinearChain, Token

from .random_structures import LENGTHS, gradients, numeric_gradients, parameters, random_structure

LABELS = ["A", "B", "C"]
KINDS = [Token, LinearChain]
PAIRS = [(teacher, student) for teacher in KINDS for student in KINDS]

NOTHING = np.full(sum(LENGTHS), -1)
BOUNDS = np.concatenate([[0], np.cumsum(LENGTHS)])

OBJECTIVES = {
    "marginals": lambda **o: make_structural_kd(**o),
    "top_k": lambda **o: make_structural_kd(take="top_k", k=3, **o),
    "top_wk": lambda **o: make_structural_kd(take="top_wk", k=3, **o),
    "top_1": lambda **o: make_structural_kd(take="top_1", **o),
    "posterior": lambda **o: make_posterior_kd(**o),
    "token": lambda **o: make_token_kd(**o),
    "emissions, squares": lambda **o: make_substructure_kd(**o),
    "emissions, kl": lambda **o: make_substructure_kd(match="kl", **o),
    "transitions, squares": lambda **o: make_substructure_kd(transitions=True, **o),
    "transitions, kl": lambda **o: make_substructure_kd(transitions=True, match="kl", **o),
    "sum": lambda **o: make_sum_kd(
        {"posterior": make_posterior_kd(), "best": make_structural_kd(take="top_wk", k=2)}, **o
    ),
}
TEMPERED = ["marginals", "posterior", "token", "emissions, kl", "transitions, kl"]


def random_targets(teacher):
    """Targets in float64, and the teacher as they give it back."""
    record = describe(teacher, "ner")
    scores = parameters(teacher)[0]
    targets = [Target(record, part) for part in np.split(scores, BOUNDS[1:-1])]
    return targets, collate(targets, np.zeros(1))


def random_pair(teacher_kind, student_kind, seed=21):
    rng = np.random.default_rng(seed)
    targets, teacher = random_targets(random_structure(teacher_kind, rng, labels=LABELS))
    return targets, teacher, random_structure(student_kind, rng, labels=LABELS)


def loss_of(objective, student, targets):
    return objective(student, NOTHING, targets)[0] * len(LENGTHS)


def check_gradient(objective, student, targets):
    _, gradient = objective(student, NOTHING, targets)
    numeric = numeric_gradients(student, lambda s: objective(s, NOTHING, targets)[0])
    for found, wanted in zip(gradients(gradient), numeric):
        np.testing.assert_allclose(found, wanted, atol=1e-6)
