"""Trainings that cannot work: found in their chunk, told with step and advice, and undone.

Each recipe runs on each backend. It ends in DivergenceError, or with a finite loss; never with
parameters that are not finite. What is left is, to the bit, what a run of so many epochs leaves.
"""

import warnings

import numpy as np
import pytest

import fastnn
from fastnn.training.run import Run

rng = np.random.default_rng(0)
X = rng.normal(size=(48, 6))
Y = (X[:, 0] * X[:, 1] > 0).astype(int)
VALUES = X @ rng.normal(size=6)
SINGLE, DOUBLE = np.finfo(np.float32).max, np.finfo(np.float64).max


def net(*hidden, outputs=1, loss="squared_error", dtype="float32", scale=None, **arguments):
    """A recipe's network; its weights times ``scale``."""
    made = fastnn.Network(
        [6, *hidden, outputs], loss=loss, dtype=dtype, random_state=0, **arguments
    )
    if scale is not None:
        for weights in made.weights:
            weights *= scale
    return made


def classes(*hidden, **arguments):
    return net(*hidden, outputs=2, loss="cross_entropy", **arguments)


SGD, Adam = fastnn.SGD, fastnn.Adam
DEEP = {"activation": "relu"}
LINEAR = {"activation": "identity"}
FIT = {"epochs": 300}

# Name: the network (with a backend), its data, and how it is trained.
RECIPES = {
    "huge rate": (lambda **b: net(5, **DEEP, **b), X, VALUES, {"optimizer": SGD(1e8)}),
    "huge rate in float64": (
        lambda **b: net(5, dtype="float64", **DEEP, **b),
        X,
        VALUES,
        {"optimizer": SGD(1e8)},
    ),
    "rate beyond float32": (lambda **b: net(5, **b), X, VALUES, {"optimizer": SGD(1e300)}),
    "rate a little too large": (lambda **b: net(**b), X, VALUES, {"optimizer": SGD(3.0)}),
    "momentum": (lambda **b: net(5, **b), X, VALUES, {"optimizer": SGD(50.0, momentum=0.99)}),
    "nesterov": (
        lambda **b: net(5, **DEEP, **b),
        X,
        VALUES,
        {"optimizer": SGD(50.0, momentum=0.9, nesterov=True)},
    ),
    "adam": (lambda **b: net(5, 5, **DEEP, **b), X, VALUES, {"optimizer": Adam(1e20)}),
    "adamw decays into growth": (
        lambda **b: net(5, **LINEAR, **b),
        X,
        VALUES,
        {"optimizer": fastnn.AdamW(1.0, weight_decay=1e6)},
    ),
    "adagrad": (lambda **b: net(5, 5, **DEEP, **b), X, VALUES, {"optimizer": fastnn.AdaGrad(1e25)}),
    "rmsprop": (lambda **b: net(5, 5, **DEEP, **b), X, VALUES, {"optimizer": fastnn.RMSprop(1e25)}),
    "average of parameters": (
        lambda **b: net(5, **DEEP, **b),
        X,
        VALUES,
        {"optimizer": SGD(1e3, ema=0.9)},
    ),
    "L2 times the rate": (lambda **b: net(5, l2=1e6, **b), X, VALUES, {"optimizer": SGD(1.0)}),
    "targets near the largest float32": (lambda **b: net(5, **b), X, np.full(48, 0.9 * SINGLE), {}),
    "targets whose squares overflow": (lambda **b: net(5, **b), X, VALUES * 1e30, {}),
    "samples near the largest float32": (
        lambda **b: net(5, **LINEAR, **b),
        np.sign(X) * 0.9 * SINGLE,
        VALUES,
        {},
    ),
    "samples near the largest float64": (
        lambda **b: net(5, dtype="float64", **LINEAR, **b),
        np.sign(X) * 0.9 * DOUBLE,
        VALUES,
        {},
    ),
    "weights of 1e30": (lambda **b: net(5, 5, scale=1e30, **DEEP, **b), X, VALUES, {}),
    "weights of 1e300": (
        lambda **b: net(5, 5, dtype="float64", scale=1e300, **DEEP, **b),
        X,
        VALUES,
        {},
    ),
    "depth explodes": (
        lambda **b: net(*[5] * 40, scale=30.0, **LINEAR, **b),
        X,
        VALUES,
        {"optimizer": SGD(1.0)},
    ),
    "depth of relu explodes": (
        lambda **b: net(*[6] * 30, scale=50.0, **DEEP, **b),
        X,
        VALUES,
        {"optimizer": SGD(1.0)},
    ),
    "poisson": (
        lambda **b: net(5, loss="poisson", **b),
        X,
        np.exp(VALUES),
        {"optimizer": SGD(1e4)},
    ),
    "poisson of large counts": (
        lambda **b: net(5, loss="poisson", **DEEP, **b),
        X,
        np.full(48, 1e30),
        {},
    ),
    "log of zero": (
        lambda **b: classes(5, scale=1e20, **LINEAR, **b),
        X,
        Y,
        {"optimizer": SGD(1e20)},
    ),
    "cross-entropy of infinities": (
        lambda **b: classes(5, 5, scale=1e25, **DEEP, **b),
        X,
        Y,
        {"optimizer": SGD(1e25)},
    ),
    "binary cross-entropy": (
        lambda **b: net(5, loss="binary_cross_entropy", scale=1e25, **DEEP, **b),
        X,
        Y,
        {"optimizer": SGD(1e30)},
    ),
    "absolute error": (
        lambda **b: net(5, loss="absolute_error", **DEEP, **b),
        X,
        VALUES,
        {"optimizer": SGD(1e30)},
    ),
    "huber": (
        lambda **b: net(5, loss="huber", delta=1e30, **DEEP, **b),
        X,
        VALUES,
        {"optimizer": SGD(1e20)},
    ),
    "quantile": (
        lambda **b: net(5, loss="quantile", **DEEP, **b),
        X,
        VALUES,
        {"optimizer": SGD(1e35)},
    ),
    "sample weights of 1e30": (
        lambda **b: net(5, **b),
        X,
        VALUES,
        {"optimizer": SGD(1e3), "sample_weight": np.linspace(1e30, 3e30, 48)},
    ),
    "batches": (
        lambda **b: net(5, **DEEP, **b),
        X,
        VALUES,
        {"optimizer": SGD(1e3), "batch_size": 16},
    ),
    "dropout": (lambda **b: net(50, dropout=0.5, **DEEP, **b), X, VALUES, {"optimizer": SGD(1e3)}),
    "two threads": (
        lambda **b: net(64, 64, n_threads=2, **DEEP, **b),
        np.tile(X, (60, 1)),
        np.tile(VALUES, 60),
        {"optimizer": SGD(1e3), "batch_size": 720},
    ),
    "a wide network": (
        lambda **b: net(300, 300, n_threads=2, **DEEP, **b),
        X,
        VALUES,
        {"optimizer": SGD(1e3)},
    ),
}


def trained(recipe, backend, **changes):
    """Network and error of a recipe."""
    make, X, y, arguments = RECIPES[recipe]
    made, error = make(backend=backend), None
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # an overflow shows in the loss, not as NumPy's warning
        warnings.filterwarnings("ignore", "training continues")
        try:
            made.fit(X, y, shuffle=False, **FIT | arguments | changes)
        except fastnn.DivergenceError as caught:
            error = caught
    return made, error


def test_there_are_enough():
    assert len(RECIPES) >= 25


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipe(backend, recipe, monkeypatch):
    chunks = []
    original = Run._chunk

    def chunk(self, count):
        chunks.append([self.step, False])
        seconds = original(self, count)
        chunks[-1][1] = True
        return seconds

    monkeypatch.setattr(Run, "_chunk", chunk)
    made, error = trained(recipe, backend)
    assert np.isfinite(made.params).all()
    assert np.isfinite(made.state.moments).all()
    monkeypatch.undo()
    if error is None:
        return
    # in the chunk of the bad step, the last there was; or after it, where the losses hid it
    assert not chunks[-1][1] or error.loss == np.inf
    assert chunks[-1][0] < error.step
    assert not np.isfinite(error.loss)
    text = str(error)
    assert f"step {error.step}:" in text
    assert f"try a learning rate below {error.learning_rate:g}" in text
    assert "standardised inputs, or dtype='float64'" in text
    # as a run of so many epochs, or as before the first step
    make, X, y, arguments = RECIPES[recipe]
    batches = -(-len(X) // arguments.get("batch_size", len(X)))
    assert made.n_epochs_ <= (error.step - 1) // batches
    assert made.state.updates <= error.step - 1
    same = make(backend=backend)
    if batches == 1 and made.n_epochs_:
        same.fit(X, y, shuffle=False, **FIT | arguments | {"epochs": made.n_epochs_})
        np.testing.assert_array_equal(made.state.moments, same.state.moments)
        np.testing.assert_array_equal(made.params, same.params)
    elif batches == 1:
        np.testing.assert_array_equal(made.params, same.params)


@pytest.mark.parametrize("recipe", ["huge rate", "average of parameters", "batches"])
def test_it_can_be_trained_on(backend, recipe):
    """From better parameters and with another rate the same network learns."""
    made, error = trained(recipe, backend)
    assert error is not None
    made.params[:] = net(5, backend=backend, **DEEP).params
    epochs = made.n_epochs_
    history = made.fit(X, VALUES, optimizer=SGD(1e-2), epochs=50)
    assert history.loss[-1] < history.loss[0]
    assert made.n_epochs_ == epochs + 50


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_the_checks_did_not_see(backend, value):
    """Somebody else writes into the data or the parameters during the training."""
    made = net(5, backend=backend)

    def spoil(progress):
        made.params[3] = value

    with pytest.raises(fastnn.DivergenceError) as error:
        made.fit(X, VALUES, epochs=10**6, callbacks=[spoil])
    assert np.isfinite(made.params).all()
    assert np.isfinite(made.state.moments).all()
    assert error.value.step <= made.n_epochs_ + 10**6


def test_no_weight_at_all():
    with pytest.raises(ValueError, match="sample_weight must not be zero everywhere"):
        net(5, backend="numpy").fit(X, VALUES, sample_weight=np.zeros(48))


def test_batches_without_weight_are_no_divergence(backend):
    weights = np.zeros(48)
    weights[:4] = 1.0
    made = net(5, backend=backend)
    history = made.fit(X, VALUES, sample_weight=weights, batch_size=8, shuffle=False, epochs=5)
    assert np.isfinite(history.loss).all()
    assert np.isfinite(made.params).all()


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_estimators(backend, solver):
    model = fastnn.MLPRegressor(
        hidden_layer_sizes=(5, 5),
        solver=solver,
        learning_rate_init=1e20,
        backend=backend,
        dtype="float32",
        random_state=0,
        max_iter=300,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model.fit(X * 1e10, VALUES * 1e18)
        except ValueError as error:
            message = str(error)
        else:
            message = "finite"
    assert "finite" in message
    # those before the call, of which no prediction is NaN
    assert all(np.isfinite(w).all() for w in model.coefs_)
