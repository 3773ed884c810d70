"""``solver="lm"`` of the estimators."""

import numpy as np
import pytest
import scipy.sparse
from helpers import assert_bits
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier as Theirs

import fastnn
from fastnn import MLPClassifier, MLPRegressor

rng = np.random.default_rng(0)
X = rng.uniform(-1, 1, (200, 3))
Y = np.sin(2 * X[:, 0]) * X[:, 1] + 0.05 * rng.standard_normal(200)
LABELS = (X[:, 0] * X[:, 1] + 0.3 * rng.standard_normal(200) > 0).astype(int)


def regressor(**settings):
    settings = {"hidden_layer_sizes": 6, "activation": "tanh", "random_state": 0} | settings
    return MLPRegressor(solver="lm", **settings)


def test_minimum_matches_lbfgs():
    model = regressor(tol=1e-3, max_iter=1000, alpha=0.1).fit(X, Y)
    net = model._network()
    # the same objective and L2 as lbfgs, for which the gradient there is small enough at once
    again = clone(model).set_params(solver="lbfgs", warm_start=True, tol=1e-6)
    again.coefs_ = [w.copy() for w in model.coefs_]
    again.intercepts_ = [b.copy() for b in model.intercepts_]
    again.n_features_in_, again.out_activation_ = 3, "identity"
    again.n_layers_, again.n_outputs_ = 3, 1
    again.fit(X, Y)
    assert again.n_iter_ == 0
    assert model.loss_ == pytest.approx(again.loss_, rel=1e-6)  # of before the last step
    assert_bits(net.params, again._network().params)


def test_classifier_loss_matches_scikit_learn():
    model = MLPClassifier(6, "tanh", solver="lm", alpha=1.0, random_state=0, max_iter=500)
    model.fit(X, LABELS)
    theirs = Theirs(6, "tanh", solver="lbfgs", alpha=1.0, random_state=0, max_iter=5000, tol=1e-9)
    theirs.fit(X, LABELS)
    # each may have a minimum of its own
    assert model.loss_ < 1.1 * theirs.loss_
    assert len(model.loss_curve_) == model.n_iter_
    # 0.78 to 0.9, with other draws
    assert model.score(X, LABELS) > 0.7


def test_multiclass_and_sparse_samples():
    y = np.digitize(Y, [-0.3, 0.3])
    model = MLPClassifier(5, "tanh", solver="lm", random_state=0, max_iter=20)
    with pytest.warns(ConvergenceWarning, match="Levenberg-Marquardt: Maximum iterations"):
        model.fit(scipy.sparse.csr_array(X), y)
    with pytest.warns(ConvergenceWarning):
        dense = clone(model).fit(X, y)
    assert_bits(model._network().params, dense._network().params)
    assert model.score(X, y) > 0.9


def test_several_outputs_report_the_same_loss_as_other_solvers():
    y = np.column_stack([Y, X[:, 0]])
    model = regressor(max_iter=8, alpha=0.5)
    with pytest.warns(ConvergenceWarning):
        model.fit(X, y)
    with pytest.warns(ConvergenceWarning):
        short = clone(model).set_params(max_iter=7).fit(X, y)
    # half the squared error, averaged over the outputs, and L2, before the step
    penalty = 0.5 * 0.5 / 200 * sum((w**2).sum() for w in short.coefs_)
    expected = 0.5 * np.mean((short.predict(X) - y) ** 2) + penalty
    assert model.loss_ == pytest.approx(expected, rel=1e-12)


def test_early_stopping():
    model = regressor(hidden_layer_sizes=40, early_stopping=True, n_iter_no_change=4).fit(X, Y)
    assert model.n_iter_ == len(model.validation_scores_) < 60
    assert model.best_validation_score_ == max(model.validation_scores_)


def test_bayesian_regularisation():
    settings = {"regularization": "bayesian", "alpha": 1e9, "max_iter": 2000}
    model = regressor(hidden_layer_sizes=15, **settings).fit(X, Y)
    values, std = model.predict(X, return_std=True)
    assert_bits(values, model.predict(X))
    assert model.posterior_.beta == pytest.approx(1 / 0.05**2, rel=0.3)
    assert 0.05 < std.mean() < 0.07
    with pytest.raises(ValueError, match='with regularization="bayesian"'):
        regressor(max_iter=2000).fit(X, Y).predict(X, return_std=True)
    model.coefs_[0][0, 0] += 1
    with pytest.raises(ValueError, match="the parameters have changed since"):
        model.predict(X, return_std=True)


def test_checkpoints(tmp_path):
    file = tmp_path / "run.safetensors"
    settings = {"regularization": "bayesian", "tol": 0.0}
    with pytest.warns(ConvergenceWarning):
        whole = regressor(max_iter=12, **settings).fit(X, Y)
    with pytest.warns(ConvergenceWarning):
        regressor(max_iter=5, **settings).fit(X, Y, checkpoint=file)
    resumed = regressor(max_iter=12, **settings)
    with pytest.warns(ConvergenceWarning):
        resumed.fit(X, Y, checkpoint=file, resume=True)
    assert_bits(resumed._network().params, whole._network().params)
    assert_bits(resumed.loss_curve_, whole.loss_curve_)
    assert resumed.posterior_.beta == whole.posterior_.beta
    loaded = fastnn.load(file)
    assert loaded.regularization == "bayesian"
    assert_bits(loaded.predict(X), whole.predict(X))


REFUSED = {
    "dropout": ({"dropout": 0.1}, "dropout needs a stochastic solver; solver is 'lm'"),
    "clipping": ({"clip_norm": 1.0}, "clip_norm needs a stochastic solver; solver is 'lm'"),
    "schedule": ({"warmup": 3}, "need a stochastic solver; solver is 'lm'"),
    "size": ({"hidden_layer_sizes": 700}, "3,000 is the most; the network has 3,501"),
    "loss": ({"loss": "quantile"}, "needs a loss with second derivatives"),
    "bayesian": (
        {"loss": "huber", "regularization": "bayesian"},
        "regularization='bayesian' needs loss='squared_error'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_unsupported_settings_raise(case):
    settings, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        regressor(**settings).fit(X, Y)


def test_other_solvers_raise_for_bayesian_regularisation():
    for solver in ("adam", "lbfgs"):
        model = MLPRegressor(solver=solver, regularization="bayesian")
        with pytest.raises(ValueError, match="regularization='bayesian' needs solver='lm'"):
            model.fit(X, Y)
    assert not hasattr(regressor(), "partial_fit")
    with pytest.raises(ValueError, match="need dtype='float64'"):
        regressor(dtype="float32").fit(X, Y, checkpoint="nowhere")
