"""``Network.partial_fit``: the steps of ``fit``, one call each."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import fastnn
from fastnn.backends.tuning import tuned

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 5))
LABELS = np.array(["a", "b", "c"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 0)]
LABELS[:3] = ["a", "b", "c"]  # the first batch has all classes


def two(backend, sizes=(5, 8, 3), **settings):
    """Two equal networks."""
    make = {"activation": "relu", "backend": backend, "random_state": 3} | settings
    return fastnn.Network(sizes, **make), fastnn.Network(sizes, **make)


def equal_steps(one, other, y, optimizer, weights=None):
    """Train one by partial_fit and the other by fit, with batches of two sizes; compare."""
    for rows in (slice(0, 20), slice(20, 40), slice(40, 55), slice(0, 20)):
        weight = None if weights is None else weights[rows]
        loss = one.partial_fit(X[rows], y[rows], optimizer=optimizer, sample_weight=weight)
        history = other.fit(X[rows], y[rows], optimizer=optimizer, epochs=1, sample_weight=weight)
        assert loss == history.loss[0]
        np.testing.assert_array_equal(one.params, other.params)
        np.testing.assert_array_equal(one.state.moments, other.state.moments)
    assert one.n_epochs_ == other.n_epochs_
    np.testing.assert_array_equal(one.predict(X), other.predict(X))


@pytest.mark.parametrize(
    "settings",
    [{}, {"dropout": 0.3}, {"l2": 0.1, "dtype": "float64"}, {"n_threads": 1}],
    ids=["plain", "dropout", "l2", "one-thread"],
)
@pytest.mark.parametrize(
    "optimizer",
    [fastnn.Adam(0.01), fastnn.SGD(0.1, momentum=0.9), fastnn.Adam(0.01, ema=0.9, clip_norm=1.0)],
    ids=["adam", "momentum", "average"],
)
def test_partial_fit_equals_steps_of_fit(backend, settings, optimizer):
    equal_steps(*two(backend, **settings), LABELS, optimizer)


@pytest.mark.parametrize(
    ("loss", "sizes", "y"),
    [
        ("squared_error", (5, 8, 1), X[:, 0]),
        ("squared_error", (5, 8, 2), X[:, :2]),
        ("binary_cross_entropy", (5, 8, 1), X[:, 0] > 0),
        ("binary_cross_entropy", (5, 8, 1), 1 / (1 + np.exp(-X[:, 0]))),
        ("binary_cross_entropy", (5, 8, 2), (X[:, :2] > 0).astype(int)),
    ],
    ids=["vector", "columns", "sigmoid", "soft", "multilabel"],
)
def test_other_losses_and_weights(backend, loss, sizes, y):
    weights = RNG.uniform(0.5, 2.0, size=len(X))
    equal_steps(*two(backend, sizes, loss=loss), y, fastnn.Adam(0.01), weights)


def test_after_fit_with_scales(backend):
    one, other = two(backend, (5, 8, 1), loss="squared_error", standardize=True)
    with pytest.raises(ValueError, match="standardize=True needs a call of fit first"):
        one.partial_fit(X, X[:, 0])
    for net in (one, other):
        net.fit(X, 100 + 10 * X[:, 0], optimizer=fastnn.Adam(0.01), epochs=3)
    equal_steps(one, other, 100 + 10 * X[:, 0], fastnn.Adam(0.01))


@pytest.mark.parametrize("name", ["cython", "numba"])
def test_bits_independent_of_threads(name):
    with tuned(second_thread_work=1, work_per_thread=1):
        one, other = two(name, (5, 64, 3), n_threads=2)
        x = RNG.normal(size=(600, 5))
        y = (x[:, 0] > 0).astype(int)
        for _ in range(3):
            loss = one.partial_fit(x, y, optimizer=fastnn.Adam(0.01))
            assert loss == other.fit(x, y, optimizer=fastnn.Adam(0.01), epochs=1).loss[0]
        assert not one.stepper.is_direct
        np.testing.assert_array_equal(one.params, other.params)


def test_first_batch_may_lack_classes():
    net = fastnn.Network([5, 8, 3], random_state=0)
    net.partial_fit(X[:2], [0, 0])
    net.partial_fit(X[:2], np.array([2, 1]))
    assert net.classes_.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match=r"unknown to the network: 7; it knows 0, 1, 2"):
        net.partial_fit(X[:2], np.array([7, 1]))
    with pytest.raises(ValueError, match="y has 2 classes; the network has 3"):
        fastnn.Network([5, 8, 3]).partial_fit(X[:2], ["a", "b"])


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.full((2, 5), np.nan), [0, 1], "X contains NaN"),
        (X[:2, :4], [0, 1], "X has 4 features; the network expects 5"),
        (X[:2], [0, 1, 2], "y has shape"),
        (X[:0], [], "X must have at least one sample"),
        (3.0, [0], "X must have at least one sample"),
    ],
)
def test_invalid_batches_change_nothing(x, y, message):
    net = fastnn.Network([5, 8, 3], random_state=0)
    net.partial_fit(X[:2], [0, 1])
    params, epochs = net.params.copy(), net.n_epochs_
    with pytest.raises(ValueError, match=message):
        net.partial_fit(x, y)
    np.testing.assert_array_equal(net.params, params)
    assert net.n_epochs_ == epochs


def test_divergence_keeps_finite_parameters(backend):
    net = fastnn.Network(
        [5, 8, 1], activation="relu", loss="squared_error", backend=backend, random_state=0
    )

    def steps():
        for _ in range(20):
            net.partial_fit(X, X[:, 0], optimizer=fastnn.SGD(1e30))

    with pytest.raises(fastnn.DivergenceError, match=r"learning rate below 1e\+30"):
        steps()
    assert np.isfinite(net.params).all()
    net.params[:] = 0.1
    assert np.isfinite(net.partial_fit(X, X[:, 0], optimizer=fastnn.SGD(1e-3)))


def test_unpickled_networks_continue(backend):
    net, other = two(backend)
    for each in (net, other):
        each.partial_fit(X, LABELS)
    again = pickle.loads(pickle.dumps(net))
    assert again.partial_fit(X, LABELS) == other.partial_fit(X, LABELS)
    np.testing.assert_array_equal(again.params, other.params)


def test_rounding_to_float32_warns():
    """A timestamp has steps of 128 in float32; the warning is that of fit, at the user's line."""
    net = fastnn.Network([1, 4, 1], loss="squared_error", random_state=0)
    times = (1.7e9 + np.arange(50))[:, None]
    for train in (net.partial_fit, net.fit, lambda x, y: net.forward(x)):
        with pytest.warns(UserWarning, match="float32 has steps of 128") as found:
            train(times, np.zeros(50))
        assert found[0].filename == __file__


def test_lost_moments_warn(tmp_path):
    net = two("numpy")[0]
    net.partial_fit(X, LABELS)
    net.save(tmp_path / "m")
    for train in ("partial_fit", "fit", "apply"):
        again = fastnn.load(tmp_path / "m")
        arguments = ("adam", np.zeros(again.n_params)) if train == "apply" else (X, LABELS)
        with pytest.warns(UserWarning, match="starts with new moments") as found:
            getattr(again, train)(*arguments)
        assert found[0].filename == __file__


def test_invalid_weights_do_not_set_the_classes():
    net = fastnn.Network([5, 8, 3], random_state=0)
    with pytest.raises(ValueError, match="sample_weight must have shape"):
        net.partial_fit(X[:3], ["a", "b", "c"], sample_weight=[1.0])
    assert net.classes_ is None
