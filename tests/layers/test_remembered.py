"""What layers make of their weights is made anew when the weights change."""

import pickle
from copy import deepcopy

import numpy as np
import pytest
from thinc.api import Adam, Maxout, Ragged, chain, fix_random_seed, with_array

from spacy_skd.layers import lean, light_recurrence
from spacy_skd.layers.remembered import Remembered

WIDTH = 8


def test_as_long_as_weights_are_the_same():
    remembered, weights = Remembered(), (np.arange(90.0), np.ones(3))
    made = remembered.of(weights, lambda *found: [one.sum() for one in found])
    assert made == [4005, 3]
    assert remembered.of(weights, pytest.fail) is made
    assert remembered.of((weights[0].copy(), weights[1]), lambda *_: "other") == "other"
    weights[0][:] += 1
    assert remembered.of(weights, lambda *_: "changed in place") == "changed in place"


def test_weights_that_wait_for_their_update():
    remembered, weights = Remembered(), (np.arange(90.0), np.ones(3))
    remembered.of(weights, lambda *_: "before")
    remembered.await_update(weights[1])
    assert remembered.of(weights, pytest.fail) is None
    updated = weights[0], weights[1].reshape(3)  # a view, as optimisers make
    assert remembered.of(updated, lambda *_: "after") == "after"


def test_copies_remember_nothing():
    remembered = Remembered()
    remembered.of((np.ones(2),), lambda _: "made")
    for copy in (deepcopy(remembered), pickle.loads(pickle.dumps(remembered))):
        assert copy.kept is None
        assert copy.of((np.ones(2),), lambda _: "anew") == "anew"


@pytest.fixture
def model():
    fix_random_seed(0)
    mix = with_array(Maxout(WIDTH, 2 * WIDTH, nP=3, normalize=True))
    model = lean(chain(light_recurrence(2 * WIDTH, WIDTH), mix))
    model.initialize()
    return model


@pytest.mark.parametrize("lengths", [[5], [30, 20, 50]])
def test_predictions_follow_training(rng, model, lengths):
    """Those of averages, too, which have predicted between a pass and its update."""
    inputs = Ragged(
        rng.normal(size=(sum(lengths), WIDTH)).astype("float32"), np.asarray(lengths, dtype="i")
    )

    def check():
        expected = model(inputs, True)[0].data  # which remembers nothing
        for layer in model.walk():  # no update follows
            for value in layer.attrs.values():
                if isinstance(value, Remembered):
                    value.trained = ()
        np.testing.assert_allclose(model.predict(inputs).data, expected, atol=1e-5)

    optimizer = Adam(0.1)
    for _ in range(3):
        check()
        outputs, backprop = model.begin_update(inputs)
        model.predict(inputs)
        with model.use_params(optimizer.averages):
            model.predict(inputs)
        backprop(outputs)
        model.finish_update(optimizer)
        check()
        with model.use_params(optimizer.averages):
            check()
    changed = model.copy()
    for layer in changed.walk():
        for name in layer.param_names:
            layer.set_param(name, layer.get_param(name) * 2)
    model.predict(inputs)
    model.from_bytes(changed.to_bytes())
    check()
