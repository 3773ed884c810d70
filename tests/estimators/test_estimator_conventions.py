"""Backends, pickles, copies, divergence, warnings and representations of estimators."""

import copy
import pickle

import numpy as np
import pytest
from helpers import load_backend
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastnn
from fastnn import backends

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_missing_backend_raises_import_error(monkeypatch):
    monkeypatch.setattr(backends, "why_missing", lambda name: "gone" if name == "numba" else None)
    with pytest.raises(ImportError, match="gone"):
        fastnn.MLPClassifier(backend="numba").fit([[0.0], [1.0]], [0, 1])


def test_backend_is_used(backend):
    X, y = load_iris(return_X_y=True)
    model = fastnn.MLPClassifier(3, max_iter=2, backend=backend).fit(X, y)
    assert model._network().backend == load_backend(backend).NAME


@pytest.mark.parametrize(
    ("model", "now", "earlier"),
    [
        (fastnn.MLPRegressor((3,), alpha=0.5), b"estimators.regressor", b"estimators.mlp"),
        (fastnn.TabularClassifier(n_epochs=3), b"tables.classifier", b"tables.estimators"),
        (fastnn.TabularRegressor(n_epochs=3), b"tables.regressor", b"tables.estimators"),
    ],
)
def test_pickles_of_earlier_versions_load(model, now, earlier):
    text = pickle.dumps(model, protocol=0)
    old = text.replace(now, earlier)
    assert old != text
    again = pickle.loads(old)
    assert type(again) is type(model)
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
