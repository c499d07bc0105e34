"""The optimiser that gives a pretrained transformer a lower rate than what is on top of it."""

import numpy as np
import pytest
from spacy.util import load_config_from_str, registry
from thinc.api import Adam

from spacy_skd.training.optimizer import make_fine_tuning_adam

CONFIG = """
[optimizer]
@optimizers = "spacy-skd.FineTuningAdam.v1"
pretrained_rate = 0.25

[optimizer.learn_rate]
@schedules = "warmup_linear.v1"
warmup_steps = 2
total_steps = 10
initial_rate = 0.01
"""
OWN, PRETRAINED = (3, "W"), (4, "encoder.layer.0.output.weight")


def stepped(optimizer, key, n_steps=3):
    weights, rng = np.ones((4, 3), "f"), np.random.default_rng(0)
    for _ in range(n_steps):
        weights, _ = optimizer(key, weights, rng.normal(size=(4, 3)).astype("f"))
        optimizer.step_schedules()
    return weights


def settings(rate):
    return {"L2": 0.01, "grad_clip": 1.0, "use_averages": False, "learn_rate": rate}


def test_own_parameters_learn_as_with_adam():
    found = stepped(make_fine_tuning_adam(**settings(0.01)), OWN)
    np.testing.assert_array_equal(found, stepped(Adam(**settings(0.01)), OWN))


def test_pretrained_parameters_learn_at_a_part_of_the_rate():
    optimizer = make_fine_tuning_adam(**settings(0.01), pretrained_rate=0.25)
    expected = stepped(Adam(**settings(0.0025)), PRETRAINED)
    np.testing.assert_allclose(stepped(optimizer, PRETRAINED), expected, rtol=1e-6)


def test_from_a_config_with_a_schedule():
    config = load_config_from_str(CONFIG)
    optimizer = registry.resolve(config)["optimizer"]
    assert optimizer.learn_rate == 0  # the warm-up begins
    optimizer.step_schedules()
    assert optimizer.learn_rate == pytest.approx(0.005)
    assert optimizer.pretrained_rate == 0.25


def test_a_negative_rate_is_refused():
    with pytest.raises(ValueError, match="should not be negative, but it is -1"):
        make_fine_tuning_adam(0.01, pretrained_rate=-1)
