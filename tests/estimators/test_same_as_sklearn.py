"""The estimators do what scikit-learn's do: its checks, curves, stops, output and parameters."""

from functools import cache

import numpy as np
import pytest
import sklearn.neural_network
from estimator_cases import DATA, make_data
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastnn
from fastnn import backends

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
    estimator, X, y = make_data(name)
    X = X.astype(dtype)
    if estimator == "MLPRegressor":
        y = y.astype(dtype)
    weights = np.random.default_rng(1).uniform(0.1, 2, len(X)) if weighted else None
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


def test_changed_coefs_take_effect():
    X, y = load_iris(return_X_y=True)
    model = fastnn.MLPClassifier(4, max_iter=5, random_state=0).fit(X, y)
    theirs = sklearn.neural_network.MLPClassifier(4, max_iter=5, random_state=0).fit(X, y)
    for fitted in (model, theirs):
        fitted.coefs_[0][:] *= 2  # in place
        fitted.intercepts_ = [b + 0.5 for b in fitted.intercepts_]  # exchanged
        fitted.set_params(activation="tanh")
    np.testing.assert_allclose(model.predict_proba(X), theirs.predict_proba(X), atol=1e-12)


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


def test_parameters_begin_with_those_of_scikit_learn():
    for name in ("MLPClassifier", "MLPRegressor"):
        ours = getattr(fastnn, name)().get_params()
        theirs = getattr(sklearn.neural_network, name)().get_params()
        assert {key: ours[key] for key in theirs} == theirs
