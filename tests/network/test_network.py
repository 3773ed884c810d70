"""``Network``: parameters, initial weights, predictions, copies."""

import copy
import pickle

import numpy as np
import pytest
from helpers import assert_bits
from network_cases import NAN, X, Y, make
from sklearn.utils import check_random_state

import fastnn


def test_weights_are_views_of_params(backend):
    net = make([3, 5, 4, 2], backend=backend)
    assert [w.shape for w in net.weights] == [(3, 5), (5, 4), (4, 2)]
    assert [b.shape for b in net.biases] == [(5,), (4,), (2,)]
    net.params[:] = np.arange(net.n_params)
    parts = [part for pair in zip(net.weights, net.biases, strict=True) for part in pair]
    assert_bits(np.concatenate([part.ravel() for part in parts]), net.params)
    net.weights[1][2, 3] = -1.0
    net.biases[2][1] = -2.0
    assert net.params[3 * 5 + 5 + 2 * 4 + 3] == -1.0
    assert net.params[-1] == -2.0
    net.fit(np.ones((4, 3)) * [[0], [1], [2], [3]], [0, 1, 0, 1], epochs=2)
    assert all(np.shares_memory(w, net.params) for w in [*net.weights, *net.biases])
    assert net.n_params == len(net.params) == 3 * 5 + 5 + 5 * 4 + 4 + 4 * 2 + 2


def test_unflatten_returns_gradients_by_layer(backend):
    net = make([2, 3, 2], backend=backend, l2=0.1)
    flat = net.gradients(X, Y)
    weights, biases = net.unflatten(flat)
    assert [w.shape for w in weights] == [(2, 3), (3, 2)]
    for k, (w, b) in enumerate(zip(weights, biases, strict=True)):
        for part, own in ((w, net.weights[k]), (b, net.biases[k])):
            where = (0,) * part.ndim
            kept, h = own[where], 1e-6
            own[where] = kept + h
            ahead = net.loss(X, Y)
            own[where] = kept - h
            behind = net.loss(X, Y)
            own[where] = kept
            # central differences: h**2, and rounding 1e-16 / h
            np.testing.assert_allclose(part[where], (ahead - behind) / (2 * h), atol=1e-8)


@pytest.mark.parametrize("make_rng", [lambda: 0, lambda: 7, lambda: np.random.RandomState(3)])
def test_lecun_normal_has_the_right_variance(make_rng):
    net = make([3, 5, 4, 2], initializer="lecun_normal", random_state=make_rng())
    rng = check_random_state(make_rng())
    for w, b in zip(net.weights, net.biases, strict=True):
        assert_bits(w, rng.randn(*w.shape) / np.sqrt(len(w)))
        assert not b.any()


def test_lecun_normal_in_float32():
    single = make([3, 5, 2], dtype="float32", initializer="lecun_normal")
    assert_bits(single.params, make([3, 5, 2], initializer="lecun_normal").params.astype("float32"))


VARIANCES = {
    "lecun_normal": lambda fan_in, fan_out: 1 / fan_in,
    "he_normal": lambda fan_in, fan_out: 2 / fan_in,
    "he_uniform": lambda fan_in, fan_out: 2 / fan_in,
    "glorot_normal": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "glorot_uniform": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
}


@pytest.mark.parametrize("initializer", VARIANCES)
def test_initializers_have_the_right_range(initializer):
    (w,) = make([200, 300], initializer=initializer).weights
    variance = VARIANCES[initializer](200, 300)
    n = w.size
    assert abs(w.mean()) < 5 * np.sqrt(variance / n)
    # the variance's own deviation: 2 / n for normal numbers, 0.8 / n for uniform ones
    assert abs(w.var() / variance - 1) < 5 * np.sqrt(2 / n)
    if initializer.endswith("uniform"):
        bound = np.sqrt(3 * variance)
        assert 0.999 * bound < np.abs(w).max() <= bound
    else:
        assert 0.95 < np.mean(np.abs(w) < 1.96 * np.sqrt(variance)) / 0.95 < 1.05
        assert np.abs(w).max() > 3.5 * np.sqrt(variance)


@pytest.mark.parametrize(("standardize", "half_range"), [(False, 1.0), (True, np.sqrt(3))])
def test_nguyen_widrow_spreads_the_units(standardize, half_range):
    net = make([2, 50, 30, 3], initializer="nguyen_widrow", standardize=standardize)
    for k, (scale, n_in, units) in enumerate([(half_range, 2, 50), (1.0, 50, 30)]):
        w, b = net.weights[k], net.biases[k]
        slope = 0.7 * units ** (1 / n_in)
        np.testing.assert_allclose(np.linalg.norm(w, axis=0) * scale, slope)
        even = slope * np.abs(np.linspace(-1, 1, units))
        np.testing.assert_allclose(np.sort(np.abs(b)), np.sort(even))
    assert not net.biases[2].any()
    assert 0 < np.abs(net.weights[2]).max() <= np.sqrt(3 / 30)
    # of one feature each unit bends at a place of its own
    one = make([1, 20, 2], initializer="nguyen_widrow")
    places = np.sort(-one.biases[0] / one.weights[0][0])
    np.testing.assert_allclose(places, np.linspace(-1, 1, 20), atol=1e-12)


def test_default_initializer_follows_the_activation():
    net = make([50, 50, 50, 2], activation=["tanh", "relu"])
    draws = np.random.RandomState(0)
    for w, factor in zip(net.weights, (1, 2, 1), strict=True):
        np.testing.assert_allclose(w, draws.randn(*w.shape) * np.sqrt(factor / 50), rtol=1e-15)


def test_random_state_none_gives_different_networks():
    assert (make(random_state=None).params != make(random_state=None).params).any()


@pytest.mark.parametrize(
    ("sizes", "activation"),
    [
        ([2, 2], "tanh"),
        ([2, 1, 2], "tanh"),
        ([2, *[8] * 50, 2], "tanh"),
        ([2, 2000, 2], "relu"),
        ([2, 64, 300, 64, 2], "silu"),
    ],
    ids=["none hidden", "one unit", "50 hidden", "width 2000", "BLAS in between"],
)
def test_layer_sizes_determine_shapes(backend, sizes, activation):
    net = make(sizes, activation=activation, backend=backend)
    reference = make(sizes, activation=activation)
    np.testing.assert_allclose(net.loss(X, Y), reference.loss(X, Y), rtol=1e-12)
    optimizer = fastnn.Adam(1e-3)
    history = net.fit(X, Y, epochs=15, batch_size=17, optimizer=optimizer)
    np.testing.assert_allclose(
        history.loss,
        reference.fit(X, Y, epochs=15, batch_size=17, optimizer=optimizer).loss,
        rtol=1e-9,
    )
    for w, start in zip(net.weights, make(sizes, activation=activation).weights, strict=True):
        assert (w != start).any()  # the gradient reached every layer


def test_probabilities(backend):
    net = make([2, 5, 2], backend=backend)
    net.fit(X, Y, epochs=20)
    p = net.predict_proba(X)
    assert p.shape == (60, 2)
    assert ((p >= 0) & (p <= 1)).all()
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-15)
    np.testing.assert_array_equal(net.predict(X), p.argmax(axis=1))
    # the mean loss is that of the probabilities
    np.testing.assert_allclose(net.loss(X, Y), -np.log(p[np.arange(60), Y]).mean(), rtol=1e-12)
    np.testing.assert_allclose(net.score(X, Y), (p.argmax(axis=1) == Y).mean())


def test_binary_cross_entropy_with_one_output(backend):
    labels = np.array(["no", "yes"])[Y]
    net = make([2, 5, 1], loss="binary_cross_entropy", backend=backend)
    net.fit(X, labels, epochs=400, optimizer=fastnn.Adam(0.05))
    p = net.predict_proba(X)
    assert p.shape == (60, 2)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-15)
    np.testing.assert_array_equal(net.predict(X), np.where(p[:, 1] > 0.5, "yes", "no"))
    assert net.score(X, labels) > 0.9
    np.testing.assert_allclose(net.loss(X, labels), -np.log(p[np.arange(60), Y]).mean(), rtol=1e-9)


def test_one_sigmoid_equals_softmax_of_two(backend):
    # log-odds z of one output are the difference of two softmax outputs
    one = make([2, 3, 1], loss="binary_cross_entropy", backend=backend)
    two = make([2, 3, 2], backend=backend)
    two.weights[0][:] = one.weights[0]
    two.weights[1][:] = np.hstack([-one.weights[1] / 2, one.weights[1] / 2])
    np.testing.assert_allclose(one.predict_proba(X), two.predict_proba(X), rtol=1e-13)
    np.testing.assert_allclose(one.loss(X, Y), two.loss(X, Y), rtol=1e-13)


def test_multilabel_targets(backend):
    labels = np.column_stack([Y, X[:, 0] > 0.5, 1 - Y])
    net = make([2, 8, 3], loss="binary_cross_entropy", backend=backend)
    net.fit(X, labels, epochs=600, optimizer=fastnn.Adam(0.05))
    predicted = net.predict(X)
    assert predicted.shape == (60, 3)
    p = net.predict_proba(X)
    np.testing.assert_array_equal(predicted, p > 0.5)
    np.testing.assert_allclose(net.score(X, labels), (predicted == labels).all(axis=1).mean())
    assert net.score(X, labels) > 0.85
    expected = -(labels * np.log(p) + (1 - labels) * np.log1p(-p)).sum(axis=1).mean()
    np.testing.assert_allclose(net.loss(X, labels), expected, rtol=1e-8)


def test_regression_with_several_outputs(backend):
    targets = np.column_stack([X.sum(axis=1), X[:, 0] * X[:, 1], np.sin(X[:, 0])])
    net = make([2, 16, 3], loss="squared_error", backend=backend)
    net.fit(X, targets, epochs=1500, optimizer=fastnn.Adam(0.02))
    predicted = net.predict(X)
    assert predicted.shape == (60, 3)
    assert net.score(X, targets) > 0.95
    expected = 0.5 * ((predicted - targets) ** 2).sum(axis=1).mean()
    np.testing.assert_allclose(net.loss(X, targets), expected, rtol=1e-12)
    with pytest.raises(ValueError, match="squared_error"):
        net.predict_proba(X)


@pytest.mark.parametrize("shape", [(60,), (60, 1)])
def test_regression_keeps_the_shape_of_targets(shape):
    net = make([2, 4, 1], loss="squared_error")
    net.fit(X, X.sum(axis=1).reshape(shape), epochs=3)
    assert net.predict(X).shape == shape


def test_penalty_is_of_weights_only(backend):
    net = make([2, 3, 2], l2=0.3, backend=backend)
    net.biases[0][:] = 5.0
    plain = make([2, 3, 2], backend=backend)
    plain.params[:] = net.params
    squares = sum((w**2).sum() for w in net.weights)
    np.testing.assert_allclose(net.loss(X, Y) - plain.loss(X, Y), 0.15 * squares, rtol=1e-12)
    weights, biases = net.unflatten(net.gradients(X, Y) - plain.gradients(X, Y))
    for part, w in zip(weights, net.weights, strict=True):
        np.testing.assert_allclose(part, 0.3 * w, atol=1e-15)
    for part in biases:
        np.testing.assert_allclose(part, 0, atol=1e-15)


COPIES = {"pickle": lambda net: pickle.loads(pickle.dumps(net)), "deepcopy": copy.deepcopy}


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("trained", [False, True])
def test_copies_are_equal_and_independent(backend, way, trained):
    net = make([2, 5, 2], dropout=0.3, l2=0.01, backend=backend)
    labels = np.array(["a", "b"])[Y]
    settings = {"optimizer": fastnn.Adam(0.01), "batch_size": 16, "epochs": 3}
    if trained:
        net.fit(X, labels, **settings)
    other = COPIES[way](net)
    assert repr(other) == repr(net)
    assert_bits(other.params, net.params)
    assert not np.shares_memory(other.params, net.params)
    assert np.shares_memory(other.weights[1], other.params)
    # both go on alike: moments, epochs and seed are there
    kept = net.params.copy()
    losses = other.fit(X, labels, **settings).loss
    assert_bits(net.params, kept)
    assert_bits(net.fit(X, labels, **settings).loss, losses)
    assert_bits(other.params, net.params)
    np.testing.assert_array_equal(other.predict(X), net.predict(X))


def test_config_and_arrays_restore_the_network(backend):
    net = make([2, 5, 4, 1], activation=["elu", "gelu"], alpha=0.5, loss="squared_error",
               l2=0.1, dropout=[0.0, 0.2], standardize=True, backend=backend)  # fmt: skip
    net.fit(X, X.sum(axis=1), epochs=3)
    other = fastnn.Network.from_config(net.get_config(), net.arrays(), backend=backend)
    assert other.get_config() == net.get_config()
    assert_bits(other.predict(X), net.predict(X))
    arrays = net.arrays()
    for wrong in ({"params": net.params[:-1]}, {"params": np.full_like(net.params, NAN)}, {"q": X}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            fastnn.Network.from_config(net.get_config(), arrays | wrong)


def test_repr_has_sizes_and_settings():
    text = repr(make([2, 3, 2], activation="relu", l2=0.5))
    for part in ("[2, 3, 2]", "'relu'", "'cross_entropy'", "0.5", "'numpy'", "'float64'"):
        assert part in text
