"""Gaussian outputs and several quantiles of a network."""

import numpy as np
import pytest
from helpers import assert_same
from scipy.stats import norm
from sklearn.linear_model import QuantileRegressor
from sklearn.metrics import mean_pinball_loss

import fastnn

QUANTILES = (0.1, 0.5, 0.9)


def noisy(n, seed):
    """Targets around 1000 whose deviation grows from 5 to 35."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(0, 3, (n, 1))
    deviation = 5 + 10 * X[:, 0]
    return X, 1000 + 50 * np.sin(X[:, 0]) + deviation * rng.standard_normal(n), deviation


def fitted(sizes, y=None, epochs=60, **settings):
    X, target, _ = noisy(1500, 0)
    settings = {"standardize": True, "random_state": 0} | settings
    net = fastnn.Network(sizes, **settings)
    y = target if y is None else y(target)
    net.fit(X, y, optimizer=fastnn.Adam(0.01), epochs=epochs, batch_size=100)
    return net


def test_predicted_std_matches_the_noise(backend):
    net = fitted([1, 16, 2], loss="gaussian", backend=backend)
    X, y, deviation = noisy(5000, 1)
    mean, std = net.predict(X, return_std=True)
    assert mean.shape == std.shape == (5000,)
    # a fit to 1,500 samples knows a deviation within 1 / sqrt(2 * 1500 / 50 parameters) or so
    assert np.abs(std / deviation - 1).mean() < 0.15
    standard = (y - mean) / std
    # the deviation above, and the error of the mean
    assert standard.std() == pytest.approx(1, abs=0.1)
    # four deviations of the binomial distribution, and twice as much for the fit
    assert (np.abs(standard) < 1.96).mean() == pytest.approx(0.95, abs=0.04)
    np.testing.assert_array_equal(net.predict(X), mean)
    np.testing.assert_array_equal(net.predict_point(X), mean)


def test_std_of_a_constant_target_is_small():
    # without features the best mean and deviation are those of the targets
    rng = np.random.default_rng(0)
    X, y = np.zeros((400, 1)), rng.normal(-3e4, 250, (400, 2)) * [1, 0.01]
    net = fastnn.Network([1, 4], loss="gaussian", standardize=True, dtype="float64", beta=0)
    net.fit(X, y, optimizer=fastnn.SGD(0.5), epochs=300)
    mean, std = net.predict(X, return_std=True)
    np.testing.assert_allclose(mean[0], y.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(std[0], y.std(axis=0), rtol=1e-9)
    # log sqrt(variance) of standardised targets is 0, and the squares add up to 1
    assert net.loss(X, y) == pytest.approx(0.5 * 2, rel=1e-9)


def test_gaussian_loss_is_the_likelihood_with_beta_gradients(backend):
    X, y, _ = noisy(30, 2)
    settings = {"loss": "gaussian", "dtype": "float64", "random_state": 1, "backend": backend}
    likelihood = fastnn.Network([1, 4, 2], beta=0, **settings)
    weighted = fastnn.Network([1, 4, 2], beta=1, **settings)
    y = (y - 1000) / 50
    mean, std = likelihood.predict(X, return_std=True)
    expected = -norm.logpdf(y, mean, std).mean() - 0.5 * np.log(2 * np.pi)
    assert likelihood.loss(X, y) == pytest.approx(expected, rel=1e-12)
    assert weighted.loss(X, y) == likelihood.loss(X, y)
    # by differences, of the likelihood
    gradient = likelihood.gradients(X, y)
    for k in range(likelihood.n_params):
        values = []
        for step in (1e-6, -2e-6):
            likelihood.params[k] += step
            values.append(likelihood.loss(X, y))
        likelihood.params[k] += 1e-6
        assert gradient[k] == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-6, abs=1e-8)
    # with beta = 1 the mean is learned as by squared_error
    _, biases = weighted.unflatten(weighted.gradients(X, y))
    assert biases[-1][0] == pytest.approx(np.mean(mean - y), rel=1e-9)


def test_quantiles_cover_their_shares_and_never_cross(backend):
    net = fitted([1, 16, 3], loss="quantile", quantile=QUANTILES, backend=backend)
    X, y, _ = noisy(5000, 1)
    predicted = net.predict(X)
    assert predicted.shape == (5000, 3)
    shares = (y[:, None] <= predicted).mean(axis=0)
    # four deviations of a half of 1,500 samples of training and of 5,000 others are 0.06; with
    # Adam's constant rate the last step adds some (0.08 in all, the most with 35 other seeds)
    np.testing.assert_allclose(shares, QUANTILES, atol=0.1)
    assert net.score(X, y) == pytest.approx(
        1 - np.square(y - predicted[:, 1]).sum() / np.square(y - y.mean()).sum()
    )
    np.testing.assert_array_equal(net.predict_point(X), predicted[:, 1])


def test_quantiles_are_sorted_in_target_units():
    X, y, _ = noisy(40, 0)
    settings = {"loss": "quantile", "quantile": QUANTILES, "standardize": True, "random_state": 3}
    net = fastnn.Network([1, 3, 6], **settings)
    net.fit(X, np.column_stack([y, -1e6 * y]), epochs=1)
    raw = net.scales.outputs(net.predictor(net.scales.inputs(X, net.spec), True, None))
    raw = raw.reshape(40, 2, 3)
    assert (np.diff(raw, axis=2) < 0).any()
    predicted = net.predict(X)
    np.testing.assert_array_equal(predicted, np.sort(raw, axis=2))


def test_linear_quantiles_match_scikit_learn():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 2))
    y = X @ [1.0, -2.0] + (1 + 0.3 * X[:, 0]) * rng.standard_normal(300)
    net = fastnn.Network([2, 3], loss="quantile", quantile=QUANTILES, dtype="float64")
    for rate in (0.05, 0.005, 0.0005):
        net.fit(X, y, optimizer=fastnn.Adam(rate), epochs=1000)
    models = [QuantileRegressor(quantile=q, alpha=0).fit(X, y) for q in QUANTILES]
    theirs = np.column_stack([model.predict(X) for model in models])
    # theirs cross, for one sample
    np.testing.assert_allclose(net.predict(X), np.sort(theirs), atol=0.02)
    pairs = zip(QUANTILES, theirs.T, strict=True)
    total = sum(mean_pinball_loss(y, column, alpha=q) for q, column in pairs)
    # the least there is
    assert total <= net.loss(X, y) < total * 1.0001


@pytest.mark.parametrize("loss", ["gaussian", "quantile"])
def test_weight_two_equals_repeated_sample(backend, loss):
    X, y, _ = noisy(20, 0)
    n = 2 if loss == "gaussian" else 3
    settings = {"loss": loss, "quantile": QUANTILES, "dtype": "float64", "random_state": 0}
    net = fastnn.Network([1, 5, n], l2=0.1, backend=backend, **settings)
    y = (y - 1000) / 50
    weights, twice = np.ones(20), np.r_[np.arange(20), 4]
    weights[4] = 2
    assert net.loss(X, y, weights) == pytest.approx(net.loss(X[twice], y[twice]), rel=1e-12)
    expected = net.gradients(X[twice], y[twice])
    assert_same(net.gradients(X, y, weights), expected, "float64")


@pytest.mark.parametrize("loss", ["gaussian", "quantile"])
def test_partial_fit_equals_fit(loss):
    X, y, _ = noisy(64, 0)
    n = 2 if loss == "gaussian" else 3
    settings = {"loss": loss, "quantile": QUANTILES, "random_state": 0}
    one, other = fastnn.Network([1, 5, n], **settings), fastnn.Network([1, 5, n], **settings)
    for _ in range(3):
        one.partial_fit(X, y / 1000)
        other.fit(X, y / 1000, epochs=1)
    np.testing.assert_array_equal(one.params, other.params)


@pytest.mark.parametrize("quantile", [0.5, QUANTILES])
def test_saved_networks_keep_the_loss(tmp_path, quantile):
    for loss in ("gaussian", "quantile"):
        n = 2 if loss == "gaussian" else np.size(quantile)
        net = fitted([1, 4, n], epochs=2, loss=loss, quantile=quantile, beta=0.25)
        net.save(tmp_path / "net.safetensors")
        again = fastnn.load(tmp_path / "net.safetensors")
        X, y, _ = noisy(20, 5)
        np.testing.assert_array_equal(again.predict(X), net.predict(X))
        assert again.loss(X, y) == net.loss(X, y)
        assert again.get_config() == net.get_config()


def test_early_stopping_monitors_the_likelihood():
    X, y, _ = noisy(300, 0)
    net = fastnn.Network([1, 16, 2], loss="gaussian", standardize=True, random_state=0)
    settings = {"validation_fraction": 0.2, "early_stopping": True, "batch_size": 50}
    history = net.fit(X, y, epochs=30, optimizer=fastnn.Adam(0.01), **settings)
    assert len(history.validation_loss) == len(history.validation_score) == history.epochs
    assert min(history.validation_loss) < history.validation_loss[0]


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (([1, 3], {"loss": "gaussian"}), "gaussian has 2 outputs for each target.* got 3"),
        (([1, 4], {"loss": "quantile", "quantile": QUANTILES}), "multiple of 3; got 4"),
        (([1, 2], {"loss": "quantile", "quantile": [0.9, 0.1]}), "increasing order; got"),
        (([1, 2], {"loss": "quantile", "quantile": []}), "increasing order; got"),
        (([1, 2], {"loss": "quantile", "quantile": [0.5, 1.0]}), r"quantile must be a number in"),
        (([1, 2], {"loss": "gaussian", "beta": -1}), "beta must be a number"),
    ],
)
def test_inconsistent_settings_raise(arguments, match):
    sizes, settings = arguments
    with pytest.raises(ValueError, match=match):
        fastnn.Network(sizes, **settings)


def test_inconsistent_calls_raise():
    X, y, _ = noisy(20, 0)
    net = fastnn.Network([1, 2], loss="gaussian")
    with pytest.raises(ValueError, match="2 columns; the network has 2 outputs, 2 for each"):
        net.fit(X, np.column_stack([y, y]))
    with pytest.raises(ValueError, match='return_std needs loss="gaussian"'):
        fastnn.Network([1, 1], loss="squared_error").predict(X, return_std=True)
    with pytest.raises(ValueError, match="return_std needs a regression"):
        fastnn.Network([1, 2]).predict(X, return_std=True)
