"""What layers make of their weights is made anew when the weights change."""

import pickle
import weakref
from copy import deepcopy

import numpy as np
import pytest
from thinc.api import SGD, Adam, Maxout, Ragged, chain, fix_random_seed, with_array

from spacy_skd.layers import lean, light_recurrence
from spacy_skd.layers.remembered import Remembered

WIDTH = 8


def test_as_long_as_weights_are_the_same():
    remembered, weights = Remembered(), (np.arange(90.0), np.ones(3))
    made = remembered.of(weights, lambda *found: [one.sum() for one in found])
    assert made == [4005, 3]
    assert remembered.of(weights, pytest.fail) is made
    assert remembered.of((weights[0].copy(), weights[1]), lambda *_: "other") == "other"
    for array in weights:
        array += 1
        assert remembered.of(weights, lambda *_: "changed in place") == "changed in place"


def test_weights_that_wait_for_their_update():
    remembered, weights = Remembered(), (np.arange(90.0), np.ones(3))
    remembered.of(weights, lambda *_: "before")
    remembered.await_update(weights[1])
    assert remembered.of(weights, pytest.fail) is None
    updated = weights[0], weights[1].reshape(3)  # a view, as optimisers make
    assert remembered.of(updated, lambda *_: "after") == "after"
    remembered.await_update(*weights)
    for array in weights:
        array += 1
    assert remembered.of(weights, lambda *_: "updated in place") == "updated in place"


def test_weights_that_nobody_needs_are_let_go():
    remembered, weights = Remembered(), np.ones(3)
    remembered.of((weights,), lambda _: "made")
    remembered.await_update(weights)
    there = weakref.ref(weights)
    del weights
    assert there() is None


def test_copies_remember_nothing():
    remembered = Remembered()
    remembered.of((np.ones(2),), lambda _: "made")
    for copy in (deepcopy(remembered), pickle.loads(pickle.dumps(remembered))):
        assert copy.kept is None
        assert copy.of((np.ones(2),), lambda _: "anew") == "anew"


@pytest.mark.parametrize("is_train", [True, False])
@pytest.mark.parametrize("make", [Maxout, light_recurrence])
def test_updates_in_place_that_hardly_change_anything(make, is_train):
    """Of one input's weights, which are not among those that are compared, and of no bias."""
    fix_random_seed(0)
    model = lean(make(96, 288))
    model.initialize()
    inputs = np.zeros((2, 288), dtype="float32")
    inputs[:, 1] = 1, 2
    d_outputs = np.ones((2, 96), dtype="float32")
    d_outputs[1] = -1
    if make is light_recurrence:
        inputs, d_outputs = (
            Ragged(array, np.asarray([2], dtype="i")) for array in (inputs, d_outputs)
        )
    model.predict(inputs)
    outputs, backprop = model(inputs, is_train)
    backprop(d_outputs)
    model.finish_update(SGD(1.0, L2=0, grad_clip=0))
    found, expected = model.predict(inputs), model.copy().predict(inputs)
    if make is light_recurrence:
        outputs, found, expected = outputs.data, found.data, expected.data
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert abs(found - outputs).max() > 1e-3


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
        expected = model.copy().predict(inputs).data
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
