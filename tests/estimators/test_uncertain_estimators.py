"""Deviations and several quantiles of scikit-learn's estimators and their ensembles."""

import warnings

import numpy as np
import pytest
from helpers import fixed_rng
from sklearn.base import clone
from sklearn.metrics import mean_pinball_loss, r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastnn
from fastnn.network.prediction import mixture

QUANTILES = [0.1, 0.5, 0.9]


def noisy(n=400, seed=0, generator=np.random.default_rng):
    rng = generator(seed)
    X = rng.uniform(0, 3, (n, 1))
    deviation = 0.1 + 0.4 * X[:, 0]
    return X, np.sin(X[:, 0]) + deviation * rng.standard_normal(n), deviation


def fitted(model, *data, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(*data, **options)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_predict_return_std(solver):
    X, y, _ = noisy(2000)
    model = fastnn.MLPRegressor("gaussian", (8,), solver=solver, random_state=0)
    model.set_params(learning_rate_init=0.01, max_iter=100, tol=0)
    new, targets, deviation = noisy(2000, 1)
    mean, std = fitted(model, X, y).predict(new, return_std=True)
    np.testing.assert_array_equal(model.predict(new), mean)
    # they vary 13-fold; with other draws of the training the mean error is 0.05 to 0.12
    assert np.abs(std / deviation - 1).mean() < 0.15
    assert model.score(new, targets) == pytest.approx(r2_score(targets, mean))
    assert model.n_outputs_ == 2
    assert model.out_activation_ == "identity"
    # L-BFGS needs the gradient of its loss: that of the likelihood alone
    assert model._network().beta == (0.0 if solver == "lbfgs" else 0.5)


def test_lbfgs_gradient_of_the_likelihood_is_zero():
    # with other draws the likelihood may have no maximum
    X, y, _ = noisy(100, generator=fixed_rng)
    settings = {"solver": "lbfgs", "alpha": 0.0, "max_iter": 5000, "tol": 1e-9, "random_state": 0}
    model = fitted(fastnn.MLPRegressor("gaussian", (2,), activation="tanh", **settings), X, y)
    net = model._network()
    # of order one at the start
    assert np.abs(net.gradients(X, y)).max() < 1e-2
    assert model.loss_ == pytest.approx(net.loss(X, y), rel=1e-9)


def test_estimator_predicts_several_quantiles():
    X, y, _ = noisy()
    model = fastnn.MLPRegressor("quantile", (8,), quantile=QUANTILES, random_state=0)
    model.set_params(learning_rate_init=0.02, max_iter=60)
    fitted(model, X, y)
    predicted = model.predict(X)
    assert predicted.shape == (400, 3)
    assert (np.diff(predicted, axis=1) >= 0).all()
    assert model.score(X, y) == pytest.approx(r2_score(y, predicted[:, 1]))
    weights = np.linspace(0, 1, 400)
    expected = r2_score(y, predicted[:, 1], sample_weight=weights)
    assert model.score(X, y, weights) == pytest.approx(expected)
    two = fitted(clone(model), X, np.column_stack([y, -y]))
    assert two.predict(X).shape == (400, 2, 3)
    assert two.n_outputs_ == 6
    # better than the quantiles of all targets, for each
    for k, q in enumerate(QUANTILES):
        all_alike = mean_pinball_loss(y, np.full(400, np.quantile(y, q)), alpha=q)
        assert mean_pinball_loss(y, predicted[:, k], alpha=q) < all_alike


@pytest.mark.parametrize("loss", ["gaussian", "quantile"])
def test_early_stopping_partial_fit_and_files(tmp_path, loss):
    X, y, _ = noisy()
    settings = {"quantile": QUANTILES, "random_state": 0, "hidden_layer_sizes": (4,)}
    model = fastnn.MLPRegressor(loss, early_stopping=True, max_iter=5, beta=0.25, **settings)
    fitted(model, X, y)
    assert len(model.validation_scores_) == 5
    model.save(tmp_path / "model.safetensors")
    again = fastnn.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    if loss == "gaussian":
        expected = model.predict(X, return_std=True)[1]
        np.testing.assert_array_equal(again.predict(X, return_std=True)[1], expected)
    kept = again.get_params()
    assert kept["beta"] == 0.25
    assert list(kept["quantile"]) == QUANTILES
    given = fitted(clone(model).set_params(early_stopping=False), X, y, validation_data=(X, y))
    assert given.validation_scores_[-1] == pytest.approx(given.score(X, y), abs=1e-6)
    one = fastnn.MLPRegressor(loss, **settings)
    for _ in range(3):
        one.partial_fit(X, y)
    assert np.isfinite(one.predict(X)).all()


def test_bagging_adds_variances():
    X, y, deviation = noisy()
    one = make_pipeline(
        StandardScaler(),
        fastnn.MLPRegressor("gaussian", (8,), max_iter=60, learning_rate_init=0.02),
    )
    model = fastnn.MLPBaggingRegressor(one, n_estimators=4, random_state=0)
    mean, std = fitted(model, X, y).predict(X, return_std=True)
    np.testing.assert_allclose(mean, model.predict(X), rtol=1e-12)
    each = [member.predict(X, return_std=True) for member in model.estimators_]
    # of many draws: a member at random, then its Gaussian
    rng = np.random.default_rng(0)
    draws = np.array([m + s * rng.standard_normal((500, len(X))) for m, s in each])
    drawn = draws.reshape(-1, len(X)).std(axis=0)
    np.testing.assert_allclose(std, drawn, rtol=0.1)  # 4 / sqrt(2 * 2000)
    assert (std > np.sqrt(np.mean([s**2 for _, s in each], axis=0))).all()
    assert np.abs(std / deviation - 1).mean() < 0.3


def test_bagging_std_without_gaussian_members():
    X, y, _ = noisy(100)
    one = fastnn.MLPRegressor(hidden_layer_sizes=(4,), max_iter=5)
    model = fastnn.MLPBaggingRegressor(one, n_estimators=3, random_state=0)
    mean, std = fitted(model, X, y).predict(X, return_std=True)
    each = np.array([member.predict(X) for member in model.estimators_])
    np.testing.assert_allclose(mean, each.mean(axis=0))
    np.testing.assert_allclose(std, each.std(axis=0))


def test_mixture_matches_worked_example():
    mean, std = mixture([(np.array([0.0]), np.array([3.0])), (np.array([2.0]), np.array([1.0]))])
    # second moments 9 and 5, mean 1: variance 7 - 1
    assert mean.tolist() == [1.0]
    assert std[0] == pytest.approx(np.sqrt(6))


def test_bagging_of_tabular_estimators():
    X, y, _ = noisy(200)
    # after two epochs the best one may be the first, in which all members predict the mean
    model = fastnn.TabularRegressor(n_epochs=8, n_members=3, random_state=0).fit(X, y)
    mean, std = model.predict(X, return_std=True)
    each = np.array([net.predict(model.encoding_.transform(X)) for net in model.networks_])
    assert std.min() > 1e-6
    np.testing.assert_allclose(std, each.std(axis=0), rtol=1e-9)
    np.testing.assert_allclose(mean, model.predict(X), rtol=1e-12)
    with pytest.raises(ValueError, match=r"several members to compare \(n_members=5\)"):
        fastnn.TabularRegressor(n_epochs=1, random_state=0).fit(X, y).predict(X, return_std=True)


def test_inconsistent_calls_raise():
    X, y, _ = noisy(40)
    model = fitted(fastnn.MLPRegressor(hidden_layer_sizes=(2,), max_iter=2), X, y)
    with pytest.raises(ValueError, match=r'return_std needs loss="gaussian".* is squared_error'):
        model.predict(X, return_std=True)
    with pytest.raises(ValueError, match="increasing order; got"):
        fastnn.MLPRegressor("quantile", quantile=[0.9, 0.1]).fit(X, y)
    both = X, np.column_stack([y, y])
    with pytest.raises(ValueError, match="validation_data has 2 outputs; the training has 1"):
        fastnn.MLPRegressor("gaussian", (2,)).fit(X, y, validation_data=both)


def test_return_std_of_one_network_raises():
    one = fastnn.MLPRegressor(hidden_layer_sizes=4, solver="lbfgs", max_iter=5, random_state=0)
    model = fastnn.MLPBaggingRegressor(one, n_estimators=1, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # max_iter is reached
        model.fit(np.eye(4), np.arange(4.0))
    with pytest.raises(ValueError, match=r"return_std needs several networks to compare"):
        model.predict(np.eye(4), return_std=True)
