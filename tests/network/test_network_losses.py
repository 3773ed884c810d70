"""Losses, clipping and averages as users meet them: Network, estimators, files, the command."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import HuberRegressor, QuantileRegressor
from sklearn.neural_network import MLPRegressor as TheirRegressor

import fastnn
from fastnn.backends import codes


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 2))
    y = X @ [1.0, -2.0] + 0.5 + rng.standard_t(2, 200)
    return X, y


def linear(loss, backend, outputs=1, **settings):
    return fastnn.Network(
        [2, outputs], loss=loss, dtype="float64", random_state=0, backend=backend, **settings
    )


def test_quantile_matches_scikit_learn(backend, data):
    X, y = data
    net = linear("quantile", backend, quantile=0.8)
    for rate in (0.05, 0.005, 0.0005):
        net.fit(X, y, optimizer=fastnn.Adam(rate), epochs=1500)
    theirs = QuantileRegressor(quantile=0.8, alpha=0).fit(X, y)
    # the loss is flat near its least: steps of 5e-4 end that near, within a few
    np.testing.assert_allclose(net.predict(X), theirs.predict(X), atol=0.02)


def test_huber_matches_scikit_learn(backend, data):
    X, y = data
    theirs = HuberRegressor(epsilon=1.2, alpha=0, tol=1e-10).fit(X, y)
    # scikit-learn's threshold is in units of a scale that it estimates too
    net = linear("huber", backend, delta=1.2 * theirs.scale_)
    net.fit(X, y, optimizer=fastnn.SGD(0.3, momentum=0.9), epochs=3000)
    np.testing.assert_allclose(net.predict(X), theirs.predict(X), atol=1e-3)


def test_absolute_error_equals_twice_median_quantile(backend, data):
    X, y = data
    absolute, median = linear("absolute_error", backend), linear("quantile", backend)
    assert absolute.loss(X, y) == pytest.approx(2 * median.loss(X, y), rel=1e-12)
    np.testing.assert_allclose(absolute.gradients(X, y), 2 * median.gradients(X, y), rtol=1e-12)


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_poisson_loss_curve_matches_scikit_learn(backend, n_outputs):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((120, 3))
    y = rng.poisson(np.exp(X[:, :n_outputs])).astype(float).squeeze()
    arguments = {"hidden_layer_sizes": (5,), "max_iter": 20, "random_state": 0, "loss": "poisson"}
    ours = fastnn.MLPRegressor(backend=backend, **arguments)
    theirs = TheirRegressor(**arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        ours.fit(X, y)
        theirs.fit(X, y)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-8)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-8)
    assert ours.out_activation_ == theirs.out_activation_ == "exp"


@pytest.mark.parametrize("loss", sorted(codes.REGRESSION))
@pytest.mark.parametrize("standardize", [False, True])
def test_saved_networks_keep_the_loss(tmp_path, data, loss, standardize):
    X, y = data
    y = np.abs(y)
    settings = {"quantile": 0.3, "delta": 0.7, "beta": 0.3, "standardize": standardize}
    net = linear(loss, "auto", 2 if loss == "gaussian" else 1, **settings)
    net.fit(X, y, epochs=3)
    net.save(tmp_path / "net.safetensors")
    again = fastnn.load(tmp_path / "net.safetensors", backend="numpy")
    np.testing.assert_allclose(again.predict(X), net.predict(X), rtol=1e-12, atol=1e-14)
    assert again.loss(X, y) == pytest.approx(net.loss(X, y), rel=1e-12)
    assert again.get_config() == net.get_config()


def test_saved_estimators_keep_the_loss(tmp_path, data):
    X, y = data
    for model in (
        fastnn.MLPRegressor("huber", (3,), delta=0.4, ema=0.9, clip_norm=0.5, random_state=0),
        fastnn.MLPClassifier((3,), label_smoothing=0.1, clip_value=0.1, random_state=0),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.set_params(max_iter=5).fit(X, y if "Regressor" in str(model) else y > 0)
        model.save(tmp_path / "model.safetensors")
        again = fastnn.load(tmp_path / "model.safetensors")
        np.testing.assert_array_equal(again.predict(X), model.predict(X))
        assert again.get_params() == model.get_params()


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"loss": "huber", "delta": 0}, r"delta must be a number in \(0, inf\); got 0"),
        ({"loss": "quantile", "quantile": 1.0}, r"quantile must be a number in \(0, 1\)"),
        ({"loss": "squared_error", "label_smoothing": 0.1}, "label_smoothing needs a loss of"),
        ({"label_smoothing": 1.0}, "label_smoothing must be a number"),
    ],
)
def test_inconsistent_loss_settings_raise(settings, match):
    with pytest.raises(ValueError, match=match):
        fastnn.Network([2, 2], **settings)


def test_negative_poisson_targets_raise(backend):
    net = linear("poisson", backend)
    with pytest.raises(ValueError, match="y must not be negative for poisson; got -1"):
        net.fit(np.eye(2), [1, -1])
    with pytest.raises(ValueError, match="y must not be negative for loss='poisson'"):
        fastnn.MLPRegressor("poisson").fit(np.eye(2), [1, -1])


@pytest.mark.parametrize(
    "settings",
    [{"clip_norm": 0}, {"clip_value": -1}, {"ema": 1.0}, {"clip_norm": 1, "clip_value": 1}],
)
def test_invalid_optimizer_settings_raise(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        fastnn.Adam(**settings)


def test_ema_predicts_with_average_and_trains_from_parameters(backend, data):
    X, y = data
    plain, averaged, twice = (linear("squared_error", backend) for _ in range(3))
    path, mean = [], None
    for _ in range(6):
        plain.fit(X, y, optimizer=fastnn.Adam(0.1), epochs=1)
        path.append(plain.params.copy())
        mean = path[-1] if mean is None else 0.7 * mean + 0.3 * path[-1]
    rule = fastnn.Adam(0.1, ema=0.7)
    averaged.fit(X, y, optimizer=rule, epochs=6)
    np.testing.assert_allclose(averaged.params, mean, rtol=1e-12)
    twice.fit(X, y, optimizer=rule, epochs=2)
    twice.fit(X, y, optimizer=rule, epochs=4)
    np.testing.assert_allclose(twice.params, mean, rtol=1e-12)


def test_ema_continues_from_changed_parameters(data):
    X, y = data
    rule = fastnn.SGD(0.1, ema=0.9)
    net, plain = (linear("squared_error", "auto") for _ in range(2))
    net.fit(X, y, optimizer=rule, epochs=3)
    net.params[:] = plain.params[:] = 1.0
    net.fit(X, y, optimizer=rule, epochs=1)
    plain.fit(X, y, optimizer=fastnn.SGD(0.1), epochs=1)
    # nine parts of what they were changed to, one of the step from there
    np.testing.assert_allclose(net.params, 0.9 + 0.1 * plain.params, rtol=1e-12)
    arguments = {"hidden_layer_sizes": (), "solver": "sgd", "momentum": 0.0, "batch_size": 200}
    model, usual = (
        fastnn.MLPRegressor(ema=ema, random_state=0, **arguments) for ema in (0.9, None)
    )
    for one in (model, usual):
        one.partial_fit(X, y)
        one.coefs_[0][:], one.intercepts_[0][:] = 1.0, 1.0
        one.partial_fit(X, y)
    np.testing.assert_allclose(model.coefs_[0], 0.9 + 0.1 * usual.coefs_[0], rtol=1e-12)


def test_divergence_keeps_the_average(backend, data):
    X, y = data
    rule = fastnn.SGD(10.0, ema=0.5)
    net = linear("squared_error", backend)
    with pytest.raises(fastnn.DivergenceError) as error:
        net.fit(X, y, optimizer=rule, epochs=1000)
    other = linear("squared_error", backend)
    # its last finite step, after which the loss was not
    other.fit(X, y, optimizer=rule, epochs=error.value.step - 1)
    np.testing.assert_array_equal(net.params, other.params)

    def failing(progress):
        raise RuntimeError("of the callback")

    rule = fastnn.SGD(0.1, ema=0.5)
    nets = [linear("squared_error", backend) for _ in range(2)]
    with pytest.raises(RuntimeError, match="of the callback"):  # after the first step
        nets[0].fit(X, y, optimizer=rule, epochs=5, callbacks=[failing])
    nets[1].fit(X, y, optimizer=rule, epochs=1)
    nets[0].fit(X, y, optimizer=rule, epochs=2)
    nets[1].fit(X, y, optimizer=rule, epochs=2)
    np.testing.assert_array_equal(nets[0].params, nets[1].params)


def test_partial_fit_continues_from_parameters_not_average(backend, data):
    X, y = data
    arguments = {"hidden_layer_sizes": (4,), "ema": 0.9, "random_state": 0, "backend": backend}
    arguments |= {"shuffle": False, "loss": "squared_error"}
    whole = fastnn.MLPRegressor(max_iter=5, **arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        whole.fit(X, y)
    parts = fastnn.MLPRegressor(**arguments)
    for _ in range(5):
        parts.partial_fit(X, y)
    np.testing.assert_allclose(parts.predict(X), whole.predict(X), rtol=1e-10)


def test_validation_uses_the_average(data):
    X, y = data
    net = linear("squared_error", "auto")
    rule = fastnn.Adam(0.1, ema=0.9)
    history = net.fit(X, y, optimizer=rule, epochs=4, validation_data=(X, y))
    assert history.validation_loss[-1] == pytest.approx(net.loss(X, y), rel=1e-12)


def test_lbfgs_raises_for_unsupported_settings(data):
    for name, value in (("clip_norm", 1.0), ("clip_value", 1.0), ("ema", 0.9)):
        model = fastnn.MLPRegressor(solver="lbfgs", **{name: value})
        with pytest.raises(ValueError, match=f"{name} needs a stochastic solver"):
            model.fit(*data)
    for settings in ({"learning_rate": "cosine"}, {"warmup": 3}):
        model = fastnn.MLPRegressor(solver="lbfgs", **settings)
        with pytest.raises(ValueError, match=r"learning_rate=.* need a stochastic solver"):
            model.fit(*data)
