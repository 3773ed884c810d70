"""Validation data, early stopping and scorers of estimators."""

import numpy as np
import pytest
from estimator_cases import DATA, make_data
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.metrics import (
    accuracy_score,
    get_scorer,
    log_loss,
    mean_squared_error,
    r2_score,
    roc_auc_score,
)

import fastnn

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("name", DATA)
def test_validation_data(name, backend):
    estimator, X, y = make_data(name)
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
    alone = clone(model).fit(make_data(name)[1][100:], make_data(name)[2][100:])
    np.testing.assert_array_equal(alone.coefs_[0], model.coefs_[0])


def test_early_stopping_on_the_loss_keeps_the_best():
    _, X, y = make_data("binary")
    rng = np.random.default_rng(0)
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
    _, X, y = make_data("binary")
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
    estimator, X, y = make_data(name)
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
