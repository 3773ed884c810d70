"""The estimators: scikit-learn is the oracle wherever it does the same."""

import copy
import pickle
import warnings
from functools import cache

import numpy as np
import pytest
import scipy.sparse
import sklearn.neural_network
from helpers import load_backend
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import (
    load_iris,
    make_classification,
    make_multilabel_classification,
    make_regression,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import (
    accuracy_score,
    get_scorer,
    log_loss,
    mean_squared_error,
    r2_score,
    roc_auc_score,
)
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastnn
from fastnn import backends
from fastnn.backends.tuning import tuned
from fastnn.estimators import solvers
from fastnn.estimators.epochs import EpochRun
from fastnn.training import run as training
from fastnn.training import threads as workers

try:
    from sklearn.callback import ProgressBar, ScoringMonitor
except ImportError:
    ProgressBar = ScoringMonitor = None

needs_callbacks = pytest.mark.skipif(
    ProgressBar is None, reason="scikit-learn has callbacks from 1.9 on"
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def _estimators(names):
    classes = fastnn.MLPClassifier, fastnn.MLPRegressor
    return [cls(backend=name, max_iter=100) for name in names for cls in classes]


@parametrize_with_checks(_estimators(backends.available()[:1]))
@pytest.mark.filterwarnings("ignore")  # the checks provoke warnings
def test_scikit_learn_checks(estimator, check):
    check(estimator)


# The checks are of what all backends share; how these differ is tested below.
@pytest.mark.slow
@parametrize_with_checks(_estimators(backends.available()[1:]))
@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_checks_with_other_backends(estimator, check):
    check(estimator)


# --- the same as scikit-learn ---------------------------------------------------------


@cache
def _data(name):
    """Estimator's name, samples, targets."""
    if name == "multiclass":
        return (
            "MLPClassifier",
            *make_classification(330, 12, n_informative=8, n_classes=3, random_state=0),
        )
    if name == "binary":
        return ("MLPClassifier", *make_classification(330, 12, random_state=0))
    if name == "multilabel":
        return ("MLPClassifier", *make_multilabel_classification(330, random_state=0))
    X, y = make_regression(
        330, 6, n_targets=3 if name == "multioutput" else 1, noise=5, random_state=0
    )
    return "MLPRegressor", X, y / y.std()


DATA = ("multiclass", "binary", "multilabel", "regression", "multioutput")

SETTINGS = {
    "adam": {},
    "momentum, in order": {"shuffle": False, "solver": "sgd", "nesterovs_momentum": False},
    "invscaling": {
        "solver": "sgd",
        "learning_rate": "invscaling",
        "learning_rate_init": 0.1,
        "alpha": 0.1,
    },
    "adaptive, full batch": {
        "solver": "sgd",
        "learning_rate": "adaptive",
        "learning_rate_init": 0.2,
        "batch_size": 330,
        "tol": 1e-2,
        "max_iter": 300,
    },
    "early stopping": {"activation": "logistic", "early_stopping": True, "batch_size": 32},
    "weighted": {"activation": "tanh", "batch_size": 32, "alpha": 1.0, "weighted": True},
    "lbfgs": {"solver": "lbfgs", "activation": "tanh", "alpha": 0.1, "max_iter": 15},
}


@cache
def _theirs(name, dtype, weighted, **settings):
    """scikit-learn's estimator, trained once for all backends; its data, weights and settings."""
    estimator, X, y = _data(name)
    X = X.astype(dtype)
    if estimator == "MLPRegressor":
        y = y.astype(dtype)
    weights = np.random.RandomState(1).uniform(0.1, 2, len(X)) if weighted else None
    settings = {"max_iter": 30, "hidden_layer_sizes": (9, 7), "random_state": 3, **settings}
    theirs = getattr(sklearn.neural_network, estimator)(**settings)
    return theirs.fit(X, y, sample_weight=weights), X, y, weights, settings


def _pair(name, dtype="float64", backend="auto", weighted=False, **settings):
    """scikit-learn's and ours, trained alike."""
    theirs, X, y, weights, settings = _theirs(name, dtype, weighted, **settings)
    ours = getattr(fastnn, type(theirs).__name__)(backend=backend, **settings)
    return theirs, ours.fit(X, y, sample_weight=weights), X, y


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("name", DATA)
def test_loss_curve_matches_scikit_learn(name, settings, backend):
    theirs, ours, X, y = _pair(name, backend=backend, **SETTINGS[settings])
    # rounding differs; 300 epochs of gradient descent amplify it to 1e-14 at the most
    tolerance = {"rtol": 0, "atol": 1e-8}
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.t_ == theirs.t_
    assert ours.out_activation_ == theirs.out_activation_
    assert (ours.n_layers_, ours.n_outputs_) == (theirs.n_layers_, theirs.n_outputs_)
    np.testing.assert_allclose(ours.loss_, theirs.loss_, **tolerance)
    for mine, its in zip(
        [*ours.coefs_, *ours.intercepts_], [*theirs.coefs_, *theirs.intercepts_], strict=True
    ):
        np.testing.assert_allclose(mine, its, **tolerance)
    if settings != "lbfgs":
        np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, **tolerance)
        if settings == "early stopping":
            np.testing.assert_allclose(
                ours.validation_scores_, theirs.validation_scores_, **tolerance
            )
            assert ours.best_validation_score_ == pytest.approx(theirs.best_validation_score_)
            assert ours.best_loss_ is None
        else:
            assert ours.best_loss_ == pytest.approx(theirs.best_loss_, abs=1e-8)
            assert ours.validation_scores_ is None
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), **tolerance)
    assert ours.score(X, y) == pytest.approx(theirs.score(X, y), abs=1e-8)
    if hasattr(theirs, "predict_proba"):
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), **tolerance)
        np.testing.assert_allclose(
            ours.predict_log_proba(X), theirs.predict_log_proba(X), rtol=1e-6
        )


@pytest.mark.parametrize("name", ["multiclass", "multioutput"])
def test_float32_data_keep_their_dtype(name, backend):
    theirs, ours, X, _ = _pair(name, "float32", backend)
    assert {w.dtype for w in [*ours.coefs_, *ours.intercepts_]} == {np.dtype(np.float32)}
    # some 60 steps in float32
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-4)
    if name == "multioutput":
        assert ours.predict(X).dtype == np.float32


def test_dtype_overrides_that_of_the_data():
    X, y = load_iris(return_X_y=True)
    model = fastnn.MLPClassifier(5, dtype="float32", max_iter=5).fit(X, y)
    assert model.coefs_[0].dtype == np.float32
    assert fastnn.MLPClassifier(5, max_iter=5).fit(X, y).coefs_[0].dtype == np.float64


def test_lbfgs_in_float32_matches_float64():
    # without hidden layers there is one minimum
    settings = {"solver": "lbfgs", "hidden_layer_sizes": (), "alpha": 1.0, "max_iter": 500}
    _, narrow, X, y = _pair("binary", "float32", **settings)
    wide = clone(narrow).set_params(dtype="float64").fit(X.astype(np.float64), y)
    assert narrow.coefs_[0].dtype == np.float32
    assert narrow.loss_ == pytest.approx(wide.loss_, rel=1e-6)


def test_warm_start_and_partial_fit_match_scikit_learn(backend):
    X, y = load_iris(return_X_y=True)
    for solver in ("adam", "sgd"):
        pair = [
            module(5, solver=solver, batch_size=40, max_iter=4, random_state=0, warm_start=True)
            for module in (sklearn.neural_network.MLPClassifier, fastnn.MLPClassifier)
        ]
        pair[1].set_params(backend=backend)
        for model in pair:
            model.fit(X, y).fit(X, y).partial_fit(X[::2], y[::2]).partial_fit(X, y)
        np.testing.assert_allclose(pair[1].loss_curve_, pair[0].loss_curve_, rtol=0, atol=1e-10)
        assert pair[1].t_ == pair[0].t_ == 8 * 150 + 75 + 150
        np.testing.assert_allclose(pair[1].coefs_[0], pair[0].coefs_[0], rtol=0, atol=1e-10)


def test_stops_in_the_same_epoch_as_scikit_learn(backend):
    # full batches in place, of which one call of the kernel does several epochs
    X, y = load_iris(return_X_y=True)
    for patience in (1, 3, 10, 50):
        pair = [
            module(
                4,
                solver="sgd",
                tol=2e-3,
                n_iter_no_change=patience,
                max_iter=2000,
                learning_rate_init=0.05,
                random_state=2,
            )
            for module in (sklearn.neural_network.MLPClassifier, fastnn.MLPClassifier)
        ]
        pair[1].set_params(backend=backend)
        for model in pair:
            model.fit(X, y)
        assert pair[1].n_iter_ == pair[0].n_iter_ < 2000
        np.testing.assert_allclose(pair[1].loss_curve_, pair[0].loss_curve_, rtol=0, atol=1e-10)


# --- data of every kind ---------------------------------------------------------------


@pytest.mark.parametrize("features", [12, 80])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_sparse_equals_dense(features, solver, shuffle, backend):
    rng = np.random.RandomState(0)
    X = rng.standard_normal((90, features)) * (rng.uniform(size=(90, features)) < 0.2)
    y = rng.randint(3, size=90)
    settings = {"solver": solver, "shuffle": shuffle, "batch_size": 16, "random_state": 0}
    settings |= {"max_iter": 8, "hidden_layer_sizes": 20, "alpha": 0.01}
    theirs = sklearn.neural_network.MLPClassifier(**settings).fit(X, y)
    for container in (np.asarray, scipy.sparse.csr_array, scipy.sparse.csc_matrix):
        with tuned(lbfgs_dense_bytes=5000):  # several parts
            ours = fastnn.MLPClassifier(backend=backend, **settings).fit(container(X), y)
        np.testing.assert_allclose(ours.coefs_[0], theirs.coefs_[0], rtol=0, atol=1e-9)
        np.testing.assert_allclose(
            ours.predict_proba(container(X)), theirs.predict_proba(X), rtol=0, atol=1e-9
        )


def test_duplicate_sparse_entries_are_summed(backend):
    """CSR may hold an entry twice, and the columns of a row in any order."""
    X = scipy.sparse.random(90, 30, 0.2, "csr", random_state=0)
    halves = [np.r_[row.indices[::-1], row.indices] for row in map(X.getrow, range(90))]
    values = [np.r_[row.data[::-1], row.data] / 2 for row in map(X.getrow, range(90))]
    ends = np.cumsum([0, *map(len, halves)])
    parts = scipy.sparse.csr_matrix((np.concatenate(values), np.concatenate(halves), ends), X.shape)
    y = np.arange(90) % 2
    make = fastnn.MLPClassifier(8, max_iter=3, tol=0, random_state=0, backend=backend)
    fits = [clone(make).fit(data, y).coefs_[0] for data in (parts, X.toarray())]
    np.testing.assert_allclose(*fits, rtol=0, atol=1e-12)
    assert parts.nnz == 2 * X.nnz  # the user's own has not changed


def test_sparse_predictions_in_parts():
    X, y = load_iris(return_X_y=True)
    model = fastnn.MLPClassifier(5, max_iter=5, random_state=0).fit(X, y)
    with tuned(dense_bytes=7 * 4 * 8):
        parts = model.predict_proba(scipy.sparse.coo_array(X))
    np.testing.assert_allclose(parts, model.predict_proba(X), atol=1e-14)


def test_results_independent_of_threads(backend, monkeypatch):
    X, y = make_classification(4000, 40, n_informative=10, random_state=0)
    models = []
    for threads in (1, 2):
        monkeypatch.setattr("fastnn.estimators.base.n_threads", lambda threads=threads: threads)
        models.append(
            fastnn.MLPClassifier(
                (32, 32), batch_size=2000, max_iter=3, random_state=0, backend=backend
            ).fit(X, y)
        )
    # NumPy's threads are those of BLAS, which may cut sums differently: some ulps in six steps
    tolerance = {"rtol": 1e-12 if backend == "numpy" else 0, "atol": 0}
    np.testing.assert_allclose(models[0].loss_curve_, models[1].loss_curve_, **tolerance)
    np.testing.assert_allclose(models[0].coefs_[0], models[1].coefs_[0], **tolerance)


def test_labels_of_any_dtype():
    X, y = load_iris(return_X_y=True)
    for names in (["a", "b", "c"], [3, 5, 9], [0.5, 1.5, 2.5]):
        labels = np.array(names)[y] if names[0] != 0.5 else np.array(["x", "y", "z"], object)[y]
        model = fastnn.MLPClassifier(8, solver="lbfgs", random_state=0).fit(X, labels)
        assert model.score(X, labels) > 0.95
        assert set(model.predict(X)) == set(labels)


def test_feature_names_of_frames():
    pandas = pytest.importorskip("pandas")
    X, y = load_iris(return_X_y=True)
    frame = pandas.DataFrame(X, columns=["a", "b", "c", "d"])
    model = fastnn.MLPClassifier(
        5, early_stopping=True, scoring="balanced_accuracy", max_iter=5, random_state=0
    )
    model.fit(frame, pandas.Series(y), validation_data=(frame, y))
    assert model.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(model.predict(frame), model.predict(frame.iloc[:, :]))
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[["b", "a", "c", "d"]])


def test_polars_frames():
    polars = pytest.importorskip("polars")
    X, y = load_iris(return_X_y=True)
    frame = polars.DataFrame(X, schema=["a", "b", "c", "d"])
    model = fastnn.MLPClassifier(5, max_iter=5).fit(frame, y)
    assert model.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    assert len(model.predict(frame)) == 150


# --- what scikit-learn's does not have --------------------------------------------------


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
    own = np.random.RandomState(0).uniform(0.5, 1, len(y))
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


@pytest.mark.parametrize("name", DATA)
def test_validation_data(name, backend):
    estimator, X, y = _data(name)
    weights = np.linspace(0.5, 2, 100)
    model = getattr(fastnn, estimator)(8, backend=backend, max_iter=4, random_state=0)
    if estimator == "MLPRegressor":
        model.set_params(loss="squared_error", hidden_layer_sizes=8)
    model.fit(X[100:], y[100:], validation_data=(X[:100], y[:100], weights))
    assert len(model.validation_scores_) == len(model.validation_loss_curve_) == model.n_iter_ == 4
    X, y, predicted = X[:100], y[:100], model.predict(X[:100])
    if estimator == "MLPRegressor":
        loss = mean_squared_error(y, predicted, sample_weight=weights) / 2
        score = r2_score(y, predicted, sample_weight=weights)
    else:
        score = accuracy_score(y, predicted, sample_weight=weights)
        p = model.predict_proba(X)
        if name == "multilabel":
            loss = sum(log_loss(y[:, k], p[:, k], sample_weight=weights) for k in range(y.shape[1]))
        else:
            loss = log_loss(y, p, sample_weight=weights)
    assert model.validation_loss_curve_[-1] == pytest.approx(loss, rel=1e-9)
    assert model.validation_scores_[-1] == pytest.approx(score, rel=1e-9)
    # without early stopping it only watches
    alone = clone(model).fit(_data(name)[1][100:], _data(name)[2][100:])
    np.testing.assert_array_equal(alone.coefs_[0], model.coefs_[0])


def test_early_stopping_on_the_loss_keeps_the_best():
    _, X, y = _data("binary")
    rng = np.random.RandomState(0)
    noisy = np.where(rng.uniform(size=len(y)) < 0.3, 1 - y, y)  # to be overfitted
    model = fastnn.MLPClassifier(
        50,
        learning_rate_init=0.02,
        early_stopping=True,
        scoring="loss",
        tol=0.0,
        n_iter_no_change=5,
        random_state=0,
    ).fit(X[:150], noisy[:150], validation_data=(X[150:], noisy[150:]))
    curve = np.array(model.validation_loss_curve_)
    np.testing.assert_array_equal(-curve, model.validation_scores_)
    best = int(curve.argmin())
    # five epochs without improvement are allowed, the sixth stops
    assert model.n_iter_ == best + 1 + 6 < 200
    assert log_loss(noisy[150:], model.predict_proba(X[150:])) == pytest.approx(curve[best])


def test_early_stopping_with_any_scorer():
    _, X, y = _data("binary")
    model = fastnn.MLPClassifier(
        10, early_stopping=True, scoring="roc_auc", max_iter=5, random_state=0
    ).fit(X[:200], y[:200], validation_data=(X[200:], y[200:]))
    best = roc_auc_score(y[200:], model.predict_proba(X[200:])[:, 1])
    assert best == pytest.approx(max(model.validation_scores_))
    called = []

    def scorer(estimator, X, y):
        called.append(estimator.predict(X).shape)
        return 1.0

    clone(model).set_params(scoring=scorer, max_iter=2).fit(X, y)
    assert called == [(33,), (33,)]


@pytest.mark.parametrize("name", ["multilabel", "regression", "multioutput"])
def test_scorers_for_other_targets(name):
    estimator, X, y = _data(name)
    scoring = "f1_macro" if name == "multilabel" else "neg_mean_absolute_error"
    model = getattr(fastnn, estimator)(
        hidden_layer_sizes=10, early_stopping=True, scoring=scoring, max_iter=5, random_state=0
    ).fit(X[:200], y[:200], validation_data=(X[200:], y[200:]))
    expected = get_scorer(scoring)(model, X[200:], y[200:])
    assert max(model.validation_scores_) == pytest.approx(expected)
    assert model.best_validation_score_ == max(model.validation_scores_)


def test_unknown_scorer_raises():
    with pytest.raises(ValueError, match="'scoring' parameter"):
        fastnn.MLPClassifier(early_stopping=True, scoring="magic").fit([[0.0], [1.0]], [0, 1])


@pytest.mark.parametrize("data", [5, (1,), ([[1.0, 2.0]], [0, 1])])
def test_invalid_validation_data_raise(data):
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match=r"validation_data|features|inconsistent"):
        fastnn.MLPClassifier(3).fit(X, y, validation_data=data)
    with pytest.raises(ValueError, match="unknown to the training"):
        fastnn.MLPClassifier(3).fit(X, y, validation_data=(X[:2], [0, 7]))


# --- manners ----------------------------------------------------------------------------


def test_missing_backend_raises_import_error(monkeypatch):
    monkeypatch.setattr(backends, "why_missing", lambda name: "gone" if name == "numba" else None)
    with pytest.raises(ImportError, match="gone"):
        fastnn.MLPClassifier(backend="numba").fit([[0.0], [1.0]], [0, 1])


def test_backend_is_used(backend):
    X, y = load_iris(return_X_y=True)
    model = fastnn.MLPClassifier(3, max_iter=2, backend=backend).fit(X, y)
    assert model._network().backend == load_backend(backend).NAME


def test_changed_coefs_take_effect():
    X, y = load_iris(return_X_y=True)
    model = fastnn.MLPClassifier(4, max_iter=5, random_state=0).fit(X, y)
    theirs = sklearn.neural_network.MLPClassifier(4, max_iter=5, random_state=0).fit(X, y)
    for fitted in (model, theirs):
        fitted.coefs_[0][:] *= 2  # in place
        fitted.intercepts_ = [b + 0.5 for b in fitted.intercepts_]  # exchanged
        fitted.set_params(activation="tanh")
    np.testing.assert_allclose(model.predict_proba(X), theirs.predict_proba(X), atol=1e-12)


def test_pickles_of_earlier_versions_load():
    model = fastnn.MLPRegressor(hidden_layer_sizes=(3,), alpha=0.5)
    text = pickle.dumps(model, protocol=0)
    old = text.replace(b"fastnn.estimators.regressor", b"fastnn.estimators.mlp")
    assert old != text
    again = pickle.loads(old)
    assert type(again) is fastnn.MLPRegressor
    assert again.get_params() == model.get_params()


@pytest.mark.parametrize("again", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_continue_like_the_original(again, backend):
    X, y = load_iris(return_X_y=True)
    model = fastnn.MLPClassifier(
        5, solver="sgd", dropout=0.2, batch_size=30, max_iter=3, random_state=0, backend=backend
    ).fit(X, y)
    other = again(model)
    np.testing.assert_array_equal(model.predict_proba(X), other.predict_proba(X))
    before = model.coefs_[0].copy()
    other.partial_fit(X, y)
    np.testing.assert_array_equal(model.coefs_[0], before)
    model.partial_fit(X, y)
    np.testing.assert_array_equal(model.coefs_[0], other.coefs_[0])


def test_divergence_raises_or_keeps_the_best(backend):
    X, y = load_iris(return_X_y=True)
    settings = {"solver": "sgd", "learning_rate_init": 1e6, "activation": "identity"}
    model = fastnn.MLPRegressor(backend=backend, random_state=0, **settings)
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        model.fit(X, y)
    model.set_params(early_stopping=True)
    with pytest.warns(ConvergenceWarning, match="not finite"):
        model.fit(X, y)
    assert np.isfinite(model.predict(X)).all()
    assert np.isnan(model.validation_scores_[-1])
    assert len(model.loss_curve_) == len(model.validation_scores_) == model.n_iter_


def test_warnings_point_to_the_caller():
    X, y = load_iris(return_X_y=True)
    for settings in ({"max_iter": 1}, {"solver": "lbfgs", "max_iter": 1}):
        with pytest.warns(ConvergenceWarning) as caught:
            fastnn.MLPClassifier(3, **settings).fit(X, y)
        assert caught[0].filename == __file__


@needs_callbacks
def test_interrupt_keeps_completed_epochs():
    class Interrupting:
        def setup(self, estimator, context):
            pass

        def teardown(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context):
            pass

        def on_fit_task_end(self, estimator, context):
            if context.task_name == "epoch" and context.task_id == 2:
                raise KeyboardInterrupt

    X, y = load_iris(return_X_y=True)
    model = fastnn.MLPClassifier(3, random_state=0).set_callbacks(Interrupting())
    with pytest.warns(UserWarning, match="interrupted"):
        model.fit(X, y)
    assert model.n_iter_ == 3
    assert len(model.predict(X)) == 150


def test_verbose_output_matches_scikit_learn(capsys):
    X, y = load_iris(return_X_y=True)
    printed = []
    for module in (sklearn.neural_network, fastnn):
        module.MLPClassifier(
            5, max_iter=30, tol=0.5, solver="sgd", learning_rate="adaptive", verbose=True,
            learning_rate_init=1e-5, early_stopping=True, random_state=0,
        ).fit(X, y)  # fmt: skip
        printed.append(capsys.readouterr().out)
    assert "Setting learning rate" in printed[0]
    assert printed[1] == printed[0]


# --- callbacks --------------------------------------------------------------------------


class Recording:
    """Notes its calls; stops after some epochs."""

    def __init__(self, stop_after=None):
        self.stop_after = stop_after
        self.calls = []

    def setup(self, estimator, context):
        self.calls.append("setup")

    def teardown(self, estimator, context):
        self.calls.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.calls.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, X=None, fitted_estimator=None):
        assert len(fitted_estimator.predict(X)) == len(X)
        self.calls.append(f"end {context.task_name}")
        return self.stop_after is not None and self.calls.count("end epoch") >= self.stop_after


@needs_callbacks
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_callbacks_are_called_and_stop(solver):
    X, y = load_iris(return_X_y=True)
    callback = Recording(stop_after=3)
    model = fastnn.MLPClassifier(5, solver=solver, max_iter=20, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.set_callbacks(callback).fit(X, y)
    assert callback.calls == [
        "setup",
        "begin fit",
        *["begin epoch", "end epoch"] * 3,
        "end fit",
        "teardown",
    ]
    assert model.n_iter_ == 3


@needs_callbacks
def test_callbacks_do_not_change_training():
    X, y = load_iris(return_X_y=True)
    model = fastnn.MLPClassifier(5, max_iter=20, random_state=0)
    plain = clone(model).fit(X, y)
    watched = clone(model).set_callbacks(Recording()).fit(X, y)
    assert watched.loss_curve_ == plain.loss_curve_


@needs_callbacks
def test_epochs_run_compiled_without_callbacks(monkeypatch):
    """A call of the kernels for many epochs; with a callback one for each."""
    X, y = load_iris(return_X_y=True)
    calls = []
    train = EpochRun.train

    def counting(self, rates, losses):
        calls.append(len(rates))
        return train(self, rates, losses)

    monkeypatch.setattr(EpochRun, "train", counting)
    model = fastnn.MLPClassifier(
        5, batch_size=150, max_iter=200, n_iter_no_change=np.inf, random_state=0
    )
    # not the time, which a loaded machine takes more of, but the growth limits a chunk
    with tuned(chunk_seconds=1e9):
        plain = clone(model).fit(X, y)
    assert calls == [1, 8, 64, 127]
    calls.clear()
    watched = clone(model).set_callbacks(Recording()).fit(X, y)
    assert calls == [1] * 200
    assert watched.loss_curve_ == plain.loss_curve_


@needs_callbacks
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_scoring_monitor(solver):
    X, y = load_iris(return_X_y=True)
    monitor = ScoringMonitor(scoring="accuracy")
    model = fastnn.MLPClassifier(5, solver=solver, max_iter=6, random_state=0)
    model.set_callbacks(monitor).fit(X, y)
    rows = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(rows) == 6
    assert rows[-1]["accuracy"] == pytest.approx(model.score(X, y))


@needs_callbacks
def test_progress_bar(capsys):
    pytest.importorskip("rich")
    X, y = load_iris(return_X_y=True)
    fastnn.MLPClassifier(5, max_iter=6).set_callbacks(ProgressBar()).fit(X, y)
    assert "MLPClassifier" in capsys.readouterr().out


@needs_callbacks
def test_callbacks_through_a_search(capsys):
    pytest.importorskip("rich")
    X, y = load_iris(return_X_y=True)
    monitor = ScoringMonitor(scoring="accuracy")
    model = fastnn.MLPClassifier(5, max_iter=3, random_state=0).set_callbacks(monitor)
    bar = ProgressBar(max_propagation_depth=2)
    search = GridSearchCV(model, {"alpha": [1e-4, 1.0]}, cv=2).set_callbacks(bar).fit(X, y)
    assert "MLPClassifier - fit" in capsys.readouterr().out
    logs = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(logs) == (2 * 2 + 1) * 3  # candidates and parts, and the best on all
    assert search.score(X, y) in {row["accuracy"] for row in logs}


# --- among other estimators -------------------------------------------------------------


def test_in_a_pipeline_and_searches():
    from sklearn.experimental import enable_halving_search_cv  # noqa: F401
    from sklearn.model_selection import HalvingGridSearchCV

    X, y = load_iris(return_X_y=True)
    model = fastnn.MLPClassifier(8, max_iter=100, learning_rate_init=0.01, random_state=0)
    pipeline = make_pipeline(StandardScaler(), model)
    assert pipeline.fit(X, y).score(X, y) > 0.9
    grid = {"mlpclassifier__alpha": [1e-4, 1e3]}
    for search in (
        GridSearchCV(pipeline, grid, cv=2),
        HalvingGridSearchCV(pipeline, grid, cv=2, min_resources=60, random_state=0),
    ):
        search.fit(X, y)
        assert search.best_params_ == {"mlpclassifier__alpha": 1e-4}
    calibrated = CalibratedClassifierCV(pipeline, cv=2).fit(X, y)
    assert calibrated.predict_proba(X).sum(axis=1) == pytest.approx(1)
    assert calibrated.score(X, y) > 0.9


def test_cross_validation_in_processes(backend):
    X, y = load_iris(return_X_y=True)
    model = fastnn.MLPClassifier(8, max_iter=20, random_state=0, backend=backend)
    np.testing.assert_array_equal(
        cross_val_score(model, X, y, cv=2, n_jobs=2), cross_val_score(model, X, y, cv=2)
    )


def test_threads_are_shared_with_joblib(monkeypatch):
    import joblib

    monkeypatch.setattr(joblib, "cpu_count", lambda: 8)
    monkeypatch.setattr(workers, "usable_cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert solvers.n_threads() == 8
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert solvers.n_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "50")
    assert solvers.n_threads() == 8
    monkeypatch.delenv("OMP_NUM_THREADS")
    inside = joblib.Parallel(n_jobs=2, backend="threading")(
        joblib.delayed(solvers.n_threads)() for _ in range(2)
    )
    assert inside == [1, 1]


def test_processes_of_joblib_share_the_cores():
    import joblib

    parallel = joblib.Parallel(n_jobs=2, backend="loky")
    threads = parallel(joblib.delayed(solvers.n_threads)() for _ in range(2))
    assert sum(threads) <= max(joblib.cpu_count(), 2)


def test_training_respects_the_thread_limit(monkeypatch):
    """Under one of joblib's threads, work for many threads is done by the one that calls."""
    import joblib

    monkeypatch.setattr(joblib, "cpu_count", lambda: 8)
    monkeypatch.setattr(workers, "usable_cores", lambda: 8)
    X, y = make_classification(4000, 40, n_informative=10, random_state=0)
    model = fastnn.MLPClassifier((32, 32), batch_size=2000, max_iter=2, random_state=0)
    most = []
    started_threads = training.started_threads

    def counting(n_threads):
        most.append(n_threads)
        return started_threads(n_threads)

    monkeypatch.setattr(training, "started_threads", counting)
    if model.fit(X, y)._network().backend != "numpy":
        assert most[0] > 0
    most.clear()
    joblib.Parallel(n_jobs=2, backend="threading")(
        joblib.delayed(clone(model).fit)(X, y) for _ in range(2)
    )
    assert most == []


@pytest.mark.parametrize("frames", ["pandas", "polars"])
def test_frames_through_a_pipeline(frames):
    library = pytest.importorskip(frames)
    X, y = load_iris(return_X_y=True, as_frame=True)
    scaler = StandardScaler().set_output(transform=frames)
    model = fastnn.MLPClassifier(5, max_iter=5, random_state=0)
    pipeline = make_pipeline(scaler, model).fit(X, y)
    assert model.feature_names_in_.tolist() == X.columns.tolist()
    assert isinstance(scaler.transform(X), library.DataFrame)
    plain = clone(model).fit(StandardScaler().fit_transform(X.to_numpy()), y)
    np.testing.assert_array_equal(
        pipeline.predict_proba(X), plain.predict_proba(StandardScaler().fit_transform(X.to_numpy()))
    )


def test_representations():
    model = fastnn.MLPClassifier((5, 5), dropout=0.1)
    assert repr(model) == "MLPClassifier(dropout=0.1, hidden_layer_sizes=(5, 5))"
    assert repr(clone(model)) == repr(model)
    unfitted = model._repr_html_()
    assert "MLPClassifier" in unfitted
    assert "Not fitted" in unfitted
    X, y = load_iris(return_X_y=True)
    fitted = make_pipeline(StandardScaler(), model.set_params(max_iter=2)).fit(X, y)._repr_html_()
    assert "MLPClassifier" in fitted
    assert "Not fitted" not in fitted


def test_parameters_begin_with_those_of_scikit_learn():
    for name in ("MLPClassifier", "MLPRegressor"):
        ours = getattr(fastnn, name)().get_params()
        theirs = getattr(sklearn.neural_network, name)().get_params()
        assert {key: ours[key] for key in theirs} == theirs
