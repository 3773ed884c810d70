"""Training that diverges keeps finite parameters, or raises an error."""

import dataclasses

import numpy as np
import pytest
from helpers import assert_bits
from training_cases import regression

import fastnn


def assert_trained_alike(net, other):
    """Parameters, moments and counters of the same step."""
    assert_bits(net.params, other.params)
    assert_bits(net.state.moments, other.state.moments)
    assert (net.state.updates, net.n_epochs_) == (other.state.updates, other.n_epochs_)


@pytest.mark.parametrize("validation", [0.0, 0.2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch_size", [None, 32])
def test_divergence_keeps_finite_parameters(backend, dtype, batch_size, validation):
    X, y = regression()
    arguments = {"activation": "relu", "loss": "squared_error", "dtype": dtype}
    arguments |= {"random_state": 0, "backend": backend}
    optimizer = fastnn.SGD(1e8)
    settings = {"optimizer": optimizer, "batch_size": batch_size, "shuffle": False}
    net = fastnn.Network([6, 5, 1], **arguments)
    with pytest.raises(fastnn.DivergenceError) as caught:
        net.fit(X, y, epochs=1000, validation_fraction=validation, **settings)
    error = caught.value
    assert f"step {error.step}" in str(error)
    assert "1e+08" in str(error)  # what to change
    assert not np.isfinite(error.loss)
    assert np.isfinite(net.params).all()


def test_divergence_keeps_the_previous_step(backend):
    # the last step's parameters are finite, its loss is not: nothing is undone
    X, y = regression()
    nets = [
        fastnn.Network(
            [6, 5, 1], loss="squared_error", dtype="float32", random_state=0, backend=backend
        )
        for _ in range(2)
    ]
    optimizer = fastnn.SGD(1e3, momentum=0.5)
    with pytest.raises(fastnn.DivergenceError) as caught:
        nets[0].fit(X, y, optimizer=optimizer, epochs=1000)
    assert caught.value.step > 1
    nets[1].fit(X, y, optimizer=optimizer, epochs=caught.value.step - 1)
    assert_trained_alike(*nets)


@pytest.mark.parametrize("rule", [fastnn.SGD, fastnn.Adam, fastnn.AdaGrad, fastnn.RMSprop])
def test_optimizer_bounds_are_enforced(rule):
    """Those of the rule itself and of all; the lower bound is one of the values, or is not."""
    own = dict.fromkeys(("momentum", "beta_1", "beta_2", "rho"), (0.0, 1.0, True))
    own |= dict.fromkeys(("learning_rate", "epsilon", "clip_norm"), (0.0, np.inf, False))
    own |= {"clip_value": (0.0, np.inf, False), "ema": (0.0, 1.0, False)}
    names = own.keys() & {field.name for field in dataclasses.fields(rule)}
    assert len(names) >= 4
    for name in names:
        low, high, closed = own[name]
        good = [np.nextafter(low, 1), min(np.nextafter(high, 0), 1e300)]
        bad = [-1e-300, high, np.nan, -np.inf, "1", None]
        (good if closed else bad).append(low)
        for value in good:
            assert getattr(rule(**{name: value}), name) == value
        for value in bad:
            if value is None and name in ("clip_norm", "clip_value", "ema"):
                continue
            with pytest.raises(ValueError, match=f"{name} must be a number"):
                rule(**{name: value})


@pytest.mark.parametrize("ema", [None, 0.5])
def test_divergence_restores_one_snapshot(backend, ema):
    # parameters become infinite, and a finite output of tanh hides it: back to a snapshot
    X, y = [[1e30], [-1e30], [2e30]], [0, 1, 1]
    nets = []
    for _ in range(2):
        nets.append(fastnn.Network([1, 2, 2], dtype="float32", random_state=0, backend=backend))
        nets[-1].weights[0][:] *= 1e-30
    optimizer = fastnn.SGD(1e30, momentum=0.9, ema=ema)
    with pytest.raises(fastnn.DivergenceError) as caught:
        nets[0].fit(X, y, optimizer=optimizer, epochs=100)
    assert np.isfinite(nets[0].params).all()
    assert nets[0].n_epochs_ < caught.value.step
    if nets[0].n_epochs_:
        nets[1].fit(X, y, optimizer=optimizer, epochs=nets[0].n_epochs_)
        assert_trained_alike(*nets)
    else:
        assert_bits(nets[0].params, nets[1].params)
        assert not nets[0].state.moments.any()


def test_divergence_from_the_first_step(backend):
    net = fastnn.Network(
        [2, 3, 1], loss="squared_error", dtype="float32", random_state=0, backend=backend
    )
    before = net.params.copy()
    with pytest.raises(fastnn.DivergenceError, match="step 1:"):
        net.fit(np.ones((4, 2)), np.full(4, 3e38), epochs=5)
    assert_bits(net.params, before)


# More than a mebibyte of parameters, whose moments are kept for an average only.
LARGE = {"dtype": "float32", "random_state": 0}


def test_divergence_of_a_large_network(backend):
    X, y = np.full((8, 4), 1e30), np.arange(8) % 2
    net = fastnn.Network([4, 600, 600, 2], activation="tanh", backend=backend, **LARGE)
    net.weights[0][:] *= 1e-30
    with pytest.raises(fastnn.DivergenceError):
        net.fit(X, y, optimizer=fastnn.SGD(1e30, momentum=0.5), epochs=50)
    assert np.isfinite(net.params).all()
    history = net.fit(X * 1e-30, y, optimizer=fastnn.SGD(1e-6, momentum=0.5), epochs=3)
    assert np.isfinite(history.loss).all()


def test_divergence_of_a_large_network_keeps_the_average(backend):
    X, y = regression()
    arguments = {"activation": "relu", "loss": "squared_error", "backend": backend} | LARGE
    net, other = (fastnn.Network([6, 600, 600, 1], **arguments) for _ in range(2))
    rule = fastnn.SGD(10.0, ema=0.5)
    with pytest.raises(fastnn.DivergenceError) as error:
        net.fit(X, y, optimizer=rule, epochs=50)
    assert error.value.step - 1 == net.n_epochs_ > 1
    other.fit(X, y, optimizer=rule, epochs=net.n_epochs_)
    assert_trained_alike(net, other)
