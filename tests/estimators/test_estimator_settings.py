"""Settings that scikit-learn's estimators lack: activations, update rules, schedules, dropout."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris, make_regression
from sklearn.metrics import log_loss

import fastnn
from fastnn.estimators.epochs import EpochRun

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


FORMULAS = {
    "identity": lambda z: z,
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "elu": lambda z: np.where(z > 0, z, np.expm1(z)),
    "softplus": lambda z: np.log1p(np.exp(z)),
    "silu": lambda z: z / (1 + np.exp(-z)),
}


def test_activation_per_layer(backend):
    names = list(FORMULAS)
    X, y = make_regression(60, 4, random_state=0)
    model = fastnn.MLPRegressor(
        hidden_layer_sizes=[5] * len(names),
        activation=names,
        backend=backend,
        max_iter=3,
        random_state=0,
    ).fit(X, y)
    a = X
    layers = zip(model.coefs_, model.intercepts_, [*names, "identity"], strict=True)
    for w, b, name in layers:
        a = FORMULAS[name](a @ w + b)
    np.testing.assert_allclose(model.predict(X), a[:, 0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("activation", [["relu"], ["relu", "nonsense"], "nonsense"])
def test_invalid_activation_is_named(activation):
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match="activation"):
        fastnn.MLPClassifier((3, 3), activation=activation).fit(X, y)


@pytest.mark.parametrize("solver", ["adamw", "adagrad", "rmsprop"])
def test_other_update_rules(solver, backend):
    """One step from known parameters, by the formulas of the papers."""
    X, y = make_regression(40, 3, random_state=0)
    y /= y.std()
    model = fastnn.MLPRegressor(
        hidden_layer_sizes=(),
        solver=solver,
        alpha=0.0,
        learning_rate_init=0.1,
        weight_decay=0.5,
        rho=0.8,
        epsilon=1e-3,
        max_iter=1,
        random_state=5,
        backend=backend,
    )
    rng = np.random.RandomState(5)
    bound = np.sqrt(6 / 4)
    w, b = rng.uniform(-bound, bound, (3, 1)), rng.uniform(-bound, bound, 1)
    residual = X @ w + b - y[:, None]
    dw = X.T @ residual / 40
    if solver == "adamw":  # the first step of bias-corrected moments, epsilon scaled alike
        step = np.sqrt(1 - 0.999) * dw / (np.sqrt(1 - 0.999) * np.abs(dw) + 1e-3)
        expected = w * (1 - 0.1 * 0.5) - 0.1 * step
    elif solver == "adagrad":
        expected = w - 0.1 * dw / (np.abs(dw) + 1e-3)
    else:
        expected = w - 0.1 * dw / (np.sqrt(0.2) * np.abs(dw) + 1e-3)
    model.fit(X, y)
    np.testing.assert_allclose(model.coefs_[0], expected, rtol=1e-12)


def _slowed(kind, part):
    """Factor of the learning rate, by the definitions; ``part`` of the training is done."""
    if kind == "cosine":
        return (1 + np.cos(np.pi * part)) / 2
    if kind == "step":
        return 1 if part < 1 / 3 else 0.1 if part < 2 / 3 else 0.01
    if kind == "coslog4":
        return np.sin(np.pi * np.log2(1 + 15 * part)) ** 2
    if part < 0.3:
        return 0.04 + 0.96 * (1 - np.cos(np.pi * part / 0.3)) / 2
    return 4e-6 + (1 - 4e-6) * (1 + np.cos(np.pi * (part - 0.3) / 0.7)) / 2


@pytest.mark.parametrize("warmup", [0, 2])
@pytest.mark.parametrize("kind", ["constant", "cosine", "step", "one_cycle", "coslog4"])
def test_schedules(kind, warmup, backend):
    """On one constant sample and no weights to speak of, each step is the rate times a residual."""
    X, y = np.zeros((6, 1)), np.ones(6)
    model = fastnn.MLPRegressor(
        hidden_layer_sizes=(),
        solver="sgd",
        momentum=0.0,
        alpha=0.0,
        batch_size=2,
        max_iter=7,
        n_iter_no_change=np.inf,
        learning_rate=kind,
        warmup=warmup,
        learning_rate_init=0.3,
        random_state=0,
        backend=backend,
    ).fit(X, y)
    rng = np.random.RandomState(0)
    rng.uniform(size=1)
    b = rng.uniform(-np.sqrt(3), np.sqrt(3))
    for step in range(21):
        rate = 0.3 if kind == "constant" else 0.3 * _slowed(kind, step / 21)
        rate *= min((step + 1) / (3 * warmup), 1) if warmup else 1
        b -= rate * (b - 1)
    assert model.intercepts_[0][0] == pytest.approx(b, rel=1e-12)


@pytest.mark.parametrize("solver", ["sgd", "adam", "adamw", "adagrad", "rmsprop"])
def test_schedules_work_for_every_update_rule(solver, monkeypatch):
    """The rates that reach the kernels, which follow them as the test of the rules has it."""
    X, y = load_iris(return_X_y=True)
    rates = []
    train = EpochRun.train

    def noting(self, given, losses):
        rates.extend(given)
        return train(self, given, losses)

    monkeypatch.setattr(EpochRun, "train", noting)
    curves = []
    for kind in ("constant", "cosine", "step", "one_cycle"):
        rates.clear()
        model = fastnn.MLPClassifier(
            5, solver=solver, learning_rate=kind, warmup=2, learning_rate_init=0.02, max_iter=6,
            batch_size=50, random_state=0,
        ).fit(X, y)  # fmt: skip
        curves.append(model.loss_curve_[-1])
        parts = np.arange(18) / 18
        factors = np.array([1.0 if kind == "constant" else _slowed(kind, p) for p in parts])
        factors[:6] *= np.arange(1, 7) / 6
        np.testing.assert_allclose(rates, 0.02 * factors, rtol=1e-12)
    assert len(set(curves)) == 4


def test_dropout(backend):
    X, y = load_iris(return_X_y=True)
    settings = {"batch_size": 25, "max_iter": 200, "learning_rate_init": 0.01, "backend": backend}
    model = fastnn.MLPClassifier(30, dropout=0.3, random_state=0, **settings).fit(X, y)
    again = clone(model).fit(X, y)
    other = clone(model).set_params(random_state=1).fit(X, y)
    without = clone(model).set_params(dropout=0.0).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), again.predict_proba(X))
    np.testing.assert_array_equal(model.predict_proba(X), model.predict_proba(X))
    assert not np.allclose(model.predict_proba(X), other.predict_proba(X))
    # the masks make the loss of training larger than that of predictions
    assert model.loss_ > 1.3 * log_loss(y, model.predict_proba(X))
    assert without.loss_ < 1.3 * log_loss(y, without.predict_proba(X))
    with pytest.raises(ValueError, match="dropout"):
        clone(model).set_params(solver="lbfgs").fit(X, y)


def test_class_weight_is_sample_weight():
    X, y = load_iris(return_X_y=True)
    X, y = X[20:], y[20:]
    own = np.random.default_rng(0).uniform(0.5, 1, len(y))
    factors = {0: 2.0, 1: 0.5, 2: 3.0}
    base = fastnn.MLPClassifier(5, max_iter=10, random_state=0)
    weighted = clone(base).fit(X, y, own * np.array([2.0, 0.5, 3.0])[y])
    by_class = clone(base).set_params(class_weight=factors).fit(X, y, own)
    np.testing.assert_array_equal(by_class.coefs_[0], weighted.coefs_[0])
    counts = np.bincount(y)
    balanced = clone(base).set_params(class_weight="balanced").fit(X, y)
    weighted = clone(base).fit(X, y, (len(y) / (3 * counts))[y])
    np.testing.assert_allclose(balanced.coefs_[0], weighted.coefs_[0], rtol=1e-13)
    with pytest.raises(ValueError, match="balanced"):
        clone(balanced).partial_fit(X, y, classes=[0, 1, 2])
