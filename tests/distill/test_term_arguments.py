"""Options, students and teachers that objectives cannot be asked for."""

import numpy as np
import pytest

from spacy_skd.distill.objectives import (
    make_structural_kd,
    make_substructure_kd,
    make_sum_kd,
    make_token_kd,
)
from spacy_skd.distill.targets import Target, describe, stored_scores
from spacy_skd.structures import LinearChain, Token

from .term_cases import NOTHING, random_pair


def test_options_that_make_no_sense():
    for options, message in [
        ({"take": "everything"}, "marginals, top_k"),
        ({"take": "top_k", "k": 0}, "between 1 and 50"),
        ({"take": "top_k", "k": 51}, "between 1 and 50"),
        ({"temperature": -1.0}, "above 0"),
        ({"temperature_scope": "everywhere"}, "global, local"),
        ({"take": "top_k", "temperature_scope": "local"}, "take = 'marginals'"),
    ]:
        with pytest.raises(ValueError, match=message):
            make_structural_kd(**options)
    with pytest.raises(ValueError, match="squares, kl"):
        make_substructure_kd(match="cosine")
    with pytest.raises(ValueError, match="needs match = 'kl'"):
        make_substructure_kd(temperature=2.0)
    with pytest.raises(ValueError, match="at least one"):
        make_sum_kd({})
    with pytest.raises(ValueError, match="give each loss its weight"):
        make_sum_kd({"a": make_token_kd()}, weights={"b": 1.0})
    with pytest.raises(ValueError, match="give it to the sum"):
        make_sum_kd({"a": make_token_kd(teacher_weight=0.5)})
    with pytest.raises(ValueError, match="no objective"):
        make_sum_kd({"a": lambda *args: None})


def test_transitions_need_a_chain():
    targets, _, student = random_pair(LinearChain, Token)
    with pytest.raises(ValueError, match=r"LinearChainCRF\.v1"):
        make_substructure_kd(transitions=True)(student, NOTHING, targets)


@pytest.mark.parametrize("student_kind", [Token, LinearChain])
def test_scores_of_a_teacher_that_is_certain_cannot_be_matched(student_kind):
    rng = np.random.default_rng(4)
    length, labels = 3, ("A", "B")
    certain = Token(np.asarray([[0, -np.inf]] * length), [length], labels=labels)
    record = describe(certain, "rules")
    [scores] = stored_scores(certain)
    emissions = rng.normal(size=(length, 2))
    tables = [] if student_kind is Token else [np.zeros((2, 2)), np.zeros(2), np.zeros(2)]
    student = student_kind(emissions, *tables, [length], labels=labels)
    arguments = student, np.full(length, -1), [Target(record, scores)]
    with pytest.raises(ValueError, match="The teacher is certain: its scores cannot be matched"):
        make_substructure_kd()(*arguments)
    for objective in (make_substructure_kd(match="kl"), make_structural_kd()):
        assert objective(*arguments)[0] < 100
