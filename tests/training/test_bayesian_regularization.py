"""Bayesian regularisation of Levenberg-Marquardt."""

import numpy as np
import pytest
from sklearn.linear_model import BayesianRidge
from test_second_order import BAYESIAN, LM, make


@pytest.fixture(scope="module")
def linear():
    """A network without hidden layer, which is Bayesian ridge regression."""
    draws = np.random.default_rng(2)
    x = draws.standard_normal((80, 5))
    y = x @ [1.0, -2.0, 0.0, 0.5, 0.0] + 0.3 + 0.2 * draws.standard_normal(80)
    net = make((5, 1))
    history = net.fit(x, y, optimizer=LM(regularization="bayesian", min_gradient=0), epochs=200)
    design = np.column_stack([x, np.ones(80)])
    ridge = BayesianRidge(
        fit_intercept=False, alpha_1=0, alpha_2=0, lambda_1=0, lambda_2=0, tol=1e-12, max_iter=500
    ).fit(design, y)
    return net, ridge, x, y, history


def test_bayesian_regularisation_equals_bayesian_ridge(linear):
    net, ridge, _, _, history = linear
    posterior = net.posterior_
    np.testing.assert_allclose(net.params, ridge.coef_, rtol=1e-6)
    assert posterior.alpha == pytest.approx(ridge.lambda_, rel=1e-6)
    assert posterior.beta == pytest.approx(ridge.alpha_, rel=1e-6)
    # MacKay's number of well-determined parameters
    gamma = posterior.alpha * (net.params @ net.params)
    assert posterior.n_effective == pytest.approx(gamma, rel=1e-6)
    assert 0 < posterior.n_effective < 6
    # the variance of 80 draws has a deviation of 16%, and six parameters are fitted to them
    assert history.loss[-1] == pytest.approx(0.5 * 0.2**2, rel=0.6)


def test_standard_deviations_match_bayesian_ridge(linear):
    net, ridge, x, _, _ = linear
    far = 5 * x
    values, std = net.predict(far, return_std=True)
    expected, expected_std = ridge.predict(np.column_stack([far, np.ones(80)]), return_std=True)
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    np.testing.assert_allclose(std, expected_std, rtol=1e-6)


def test_intervals_cover_in_target_units(backend):
    draws = np.random.default_rng(3)
    x = draws.uniform(-1, 1, (400, 1))
    y = 1e4 + 1e3 * (np.sin(3 * x[:, 0]) + 0.1 * draws.standard_normal(400))
    net = make((1, 12, 1), standardize=True, backend=backend)
    net.fit(x[:100], y[:100], optimizer=BAYESIAN, epochs=200)
    values, std = net.predict(x[100:], return_std=True)
    inside = np.abs(y[100:] - values) < 1.96 * std
    # The noise is estimated from 100 draws, to 7%: two such deviations less are a coverage of 0.91,
    # of which 300 draws have 0.05 less once in a thousand cases.
    assert 0.86 < inside.mean() < 0.99
    assert 80 < std.mean() < 130
    assert net.predict([[4.0]], return_std=True)[1][0] > 3 * std.mean()
    assert net.posterior_.n_effective < net.n_params / 2
    net.fit(x, y, epochs=1)
    with pytest.raises(ValueError, match='with regularization="bayesian"'):
        net.predict(x, return_std=True)
