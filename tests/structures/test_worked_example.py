"""Known numbers: Wang et al. 2020 (arXiv 2004.03846), Table 1 (docs/math.md §6)."""

import numpy as np
import pytest

from spacy_skd.structures import Candidates, LinearChain, as_potentials
from spacy_skd.structures.chain_log import LogPasses

FALSE, TRUE = [0, 2, 4], [1, 3, 5]
PROBABILITIES = {
    "FFF": 0.035,
    "FFT": 0.316,
    "FTF": 0.105,
    "FTT": 0.007,
    "TFF": 0.009,
    "TFT": 0.079,
    "TTF": 0.422,
    "TTT": 0.026,
}


@pytest.fixture
def chain():
    """The pair potentials differ by position, so every token has a copy of the labels F, T."""
    potentials = np.zeros((6, 6))
    potentials[0:2, 2:4] = [[2, 1 / 2], [1 / 2, 2]]
    potentials[2:4, 4:6] = [[1 / 3, 3], [4, 1 / 4]]
    emissions = as_potentials(np.kron(np.eye(3), np.ones(2)) > 0, "float64")
    labels = ["F1", "T1", "F2", "T2", "F3", "T3"]
    with np.errstate(divide="ignore"):
        return LinearChain(emissions, np.log(potentials), np.zeros(6), np.zeros(6), [3], labels)


def letters(output):
    return "".join("FT"[label % 2] for label in output)


def close(found, expected, tolerance):
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def test_probabilities_and_normaliser(chain):
    assert np.exp(chain.log_partition()[0]) == pytest.approx(18.96, abs=0.005)
    listed = chain.topk(100)[0]
    assert len(listed) == 8
    for output, log_prob in listed:
        assert np.exp(log_prob) == pytest.approx(PROBABILITIES[letters(output)], abs=0.001)


def test_forward_and_backward_scores(chain):
    passes, tokens = LogPasses(chain), np.arange(3)
    alpha, beta = np.exp(passes.alpha), np.exp(passes.beta)
    close(alpha[tokens, FALSE], [1, 2.5, 10.83], 0.005)
    close(alpha[tokens, TRUE], [1, 2.5, 8.13], 0.005)
    close(beta[tokens, FALSE], [8.79, 3.33, 1], 0.005)
    close(beta[tokens, TRUE], [10.17, 4.25, 1], 0.005)


def test_token_posteriors(chain):
    tokens = chain.marginals().tokens
    close(tokens[np.arange(3), FALSE], [0.46, 0.44, 0.57], 0.005)
    close(tokens[np.arange(3), TRUE], [0.54, 0.56, 0.43], 0.005)


def test_the_two_best_as_candidates(chain):
    candidates = Candidates.from_topk(chain.topk(2), chain.labels, lengths=chain.lengths)
    assert [letters(output) for output, _ in candidates.topk(2)[0]] == ["TTF", "FFT"]
    close(candidates.marginals()[0], [0.57, 0.43], 0.005)
    close(np.exp(candidates.log_partition()), [0.422 + 0.316], 0.001)
    alike = Candidates.from_topk(chain.topk(2), chain.labels, lengths=chain.lengths, uniform=True)
    close(alike.marginals()[0], [0.5, 0.5], 1e-12)
