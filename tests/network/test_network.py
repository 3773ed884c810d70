"""``Network``: what it accepts, what it refuses, what it promises about its parameters."""

import copy
import pickle
import warnings
from functools import partial

import numpy as np
import pytest
from helpers import assert_bits
from sklearn.datasets import make_moons
from sklearn.utils import check_random_state

import fastnn
from fastnn.backends import codes
from fastnn.backends.plan import batch_matrices
from fastnn.backends.tuning import tuned
from fastnn.network import prediction
from fastnn.training.pool import Workers

X, Y = make_moons(60, noise=0.2, random_state=1)


def make(sizes=(2, 4, 2), **settings):
    return fastnn.Network(
        list(sizes), **({"backend": "numpy", "dtype": "float64", "random_state": 0} | settings)
    )


@pytest.mark.parametrize("form", [np.float32, np.uint8])
@pytest.mark.parametrize("batch_size", [None, 40])
def test_sparse_data_train_like_dense(backend, form, batch_size):
    rng = np.random.default_rng(0)
    images = (rng.integers(0, 9, (150, 80)) * (rng.random((150, 80)) < 0.2)).astype(form)
    labels = rng.integers(0, 3, 150)
    params = []
    for density in (0.3, 0.0):  # as sparse rows, and not
        net = make([80, 20, 3], activation="relu", backend=backend)
        with tuned(sparse_density=density):
            net.fit(images, labels, epochs=3, batch_size=batch_size, optimizer=fastnn.SGD(0.01))
        params.append(net.params)
    # other sums, the same numbers
    np.testing.assert_allclose(params[0], params[1], rtol=0, atol=1e-12)
    assert (params[0] != params[1]).any() == (backend != "numpy")


def test_consecutive_batches_without_shuffling():
    rows = np.arange(14.0).reshape(7, 2)
    flat = batch_matrices(rows, 3).ravel()
    for start in range(0, 7, 3):
        batch = rows[start : start + 3].T
        np.testing.assert_array_equal(flat[2 * start : 2 * start + batch.size], batch.ravel())
    np.testing.assert_array_equal(batch_matrices(rows, 7), rows.T)


# --- parameters -------------------------------------------------------------------


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


# --- many layers, wide layers, few of either --------------------------------------


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


# --- predictions ------------------------------------------------------------------


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


# --- standardize ------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_standardize_equals_manual_scaling(backend, loss):
    rng = np.random.default_rng(0)
    data = rng.standard_normal((60, 3)) * [1e-3, 1.0, 1e4] + [5.0, 0.0, -1e5]
    data[:, 1] = 7.7  # a constant column must not blow up
    outputs = 2 if loss == "cross_entropy" else 1
    y = Y if outputs == 2 else 300.0 + 20.0 * data[:, 2] / 1e4
    settings = {"loss": loss, "backend": backend}
    net = make([3, 4, outputs], standardize=True, **settings)
    history = net.fit(data, y, epochs=30)
    scale = np.where(data.std(axis=0) > 1e-9, data.std(axis=0), 1)
    scaled = (data - data.mean(axis=0)) / scale
    scaled_y = y if outputs == 2 else (y - y.mean()) / y.std()
    plain = make([3, 4, outputs], **settings)
    np.testing.assert_allclose(plain.fit(scaled, scaled_y, epochs=30).loss, history.loss, rtol=1e-6)
    predicted = plain.predict(scaled)
    if outputs == 1:
        predicted = predicted * y.std() + y.mean()
    np.testing.assert_allclose(net.predict(data), predicted, rtol=1e-6)
    np.testing.assert_allclose(net.loss(data, y), plain.loss(scaled, scaled_y), rtol=1e-6)
    # learned once: other data are scaled as the first
    before = net.predict(data[:5])
    np.testing.assert_allclose(net.predict(data)[:5], before, rtol=1e-12)


def test_standardize_learns_from_training_samples_only():
    net = make(standardize=True)
    net.fit(X, Y, epochs=1, validation_data=(X + 100.0, Y))
    np.testing.assert_allclose(net.scales.input_shift, X.mean(axis=0), rtol=1e-14)


# --- extremes ---------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "loss", ["cross_entropy", "binary_cross_entropy", *sorted(codes.SCALED_TARGETS)]
)
@pytest.mark.parametrize("activation", codes.ACTIVATIONS)
def test_large_values_standardise(backend, activation, loss, dtype):
    # net inputs of +-1e4 in the hidden layer and at the output, without a warning
    n = 4 if loss == "gaussian" else 3
    net = make([2, 3, n], activation=activation, loss=loss, dtype=dtype, backend=backend)
    net.params[:] = 0
    net.weights[0][0] = [1e4, -1e4, 0]
    net.weights[1][:] = np.array([[1, -1, 0, -1], [-1, 1, 0, 1], [1e4, -1e4, 1, 1]])[:, :n]
    net.biases[1][:] = [1e4, -1e4, 0, 1e4][:n]
    data = np.array([[1, 0], [-1, 0], [0, 1], [1e-4, 0]])
    y = [0, 1, 2, 1]
    if loss != "cross_entropy":
        y = np.eye(3)[y, : 2 if loss == "gaussian" else 3]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with np.errstate(all="warn", under="ignore"):
            assert np.isfinite(net.loss(data, y))
            gradient = net.gradients(data, y)
            assert np.isfinite(net.predict(data)).all()
            if loss not in codes.REGRESSION:
                p = net.predict_proba(data)
                assert ((p >= 0) & (p <= 1)).all()
    assert np.isfinite(gradient).all()
    assert gradient.any()


# --- data in every form -----------------------------------------------------------


def strided(array):
    wide = np.zeros((2 * len(array), 2 * array.shape[1]))
    wide[::2, ::2] = array
    return wide[::2, ::2]


def read_only(array):
    array = array.copy()
    array.setflags(write=False)
    return array


def pandas(name, *arguments, **names):
    """A frame or series, where pandas is installed."""
    return getattr(pytest.importorskip("pandas"), name)(*arguments, **names)


FORMS = {
    "list": np.ndarray.tolist,
    "frame": lambda a: pandas("DataFrame", a, columns=["a", "b"]),
    "frame of objects": lambda a: pandas("DataFrame", a).astype(object),
    "read-only": read_only,
    "strided": strided,
    "column-major": np.asfortranarray,
    "reversed": lambda a: a[::-1].copy()[::-1],
    "float32": lambda a: a.astype(np.float32),
    "int64": lambda a: a.astype(np.int64),
    "int8": lambda a: a.astype(np.int8),
    "big-endian": lambda a: a.astype(">f8"),
    "objects": lambda a: a.astype(object),
    "long double": lambda a: a.astype(np.longdouble),
}


@pytest.mark.parametrize("form", FORMS)
def test_data_may_have_any_container(backend, form):
    data = np.round(X * 4)  # small whole numbers: exact in every form
    results = []
    for given in (data, FORMS[form](data)):
        net = make(backend=backend)
        net.fit(given, Y, epochs=3, batch_size=13)
        results.append((net.params, net.predict(given), net.predict_proba(given)))
    for plain, other in zip(*results, strict=True):
        assert_bits(other, plain)
    assert (data == np.round(X * 4)).all()


LABELS = {
    "negative": np.array([-1, 1]),
    "far apart": np.array([7, 300]),
    "strings": np.array(["left", "right"]),
    "objects": np.array(["left", "right"], object),
    "bools": np.array([False, True]),
    "floats": np.array([0.0, 1.0]),
    "unsigned": np.array([3, 4], np.uint8),
    "frame": ["no", "yes"],
    "list": [0, 1],
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_any_dtype(backend, kind):
    names = np.asarray(LABELS[kind])
    labels = names[Y]
    given = {"list": list, "frame": partial(pandas, "Series")}.get(kind, lambda a: a)(labels)
    net, plain = make(backend=backend), make(backend=backend)
    net.fit(X, given, epochs=5)
    plain.fit(X, Y, epochs=5)
    assert_bits(net.params, plain.params)
    np.testing.assert_array_equal(net.predict(X), names[plain.predict(X)])
    np.testing.assert_array_equal(net.classes_, names)
    assert net.score(X, given) == plain.score(X, Y)
    assert net.loss(X, given) == plain.loss(X, Y)


def test_labels_may_be_a_column():
    net, plain = make(), make()
    net.fit(X, Y[:, None], epochs=3)
    plain.fit(X, Y, epochs=3)
    assert_bits(net.params, plain.params)


def test_absent_class_is_allowed():
    net = make([2, 4, 3])
    net.fit(X, 2 * Y, epochs=3)  # 0 and 2 of 0, 1, 2
    assert net.predict_proba(X).shape == (60, 3)
    np.testing.assert_array_equal(net.classes_, [0, 1, 2])


# --- errors -----------------------------------------------------------------------

NAN, INF = float("nan"), float("inf")


def with_value(value):
    data = X.copy()
    data[3, 1] = value
    return data


# What is given, and the argument that the message names.
BAD_DATA = {
    "NaN": ({"X": with_value(NAN)}, "X.*NaN"),
    "infinity": ({"X": with_value(INF)}, "X.*infinity"),
    "too narrow": ({"X": X[:, :1]}, "X"),
    "too wide": ({"X": np.hstack([X, X])}, "X"),
    "1-D": ({"X": X[:, 0]}, "X.*2-D"),
    "3-D": ({"X": X[None]}, "X.*2-D"),
    "a number": ({"X": 3.0}, "X.*2-D"),
    "empty": ({"X": X[:0], "y": Y[:0]}, "X"),
    "strings": ({"X": [["a", "b"]] * 60}, "X"),
    "ragged": ({"X": [[1, 2], [3]] * 30}, "X"),
    "complex": ({"X": X + 1j}, "X"),
    "None": ({"X": None}, "X"),
    "fewer labels": ({"y": Y[:-1]}, "y"),
    "one label": ({"y": 1}, "y"),
    "2-D labels": ({"y": np.column_stack([Y, Y])}, "y"),
    "single class": ({"y": np.zeros(60, int)}, "y has a single class, 0; at least two"),
    "many classes": ({"y": np.arange(60) % 3}, "y.*3 classes"),
    "real labels": ({"y": Y + 0.5}, "y"),
    "NaN label": ({"y": np.where(np.arange(60) == 5, NAN, Y)}, "y.*NaN"),
    "mixed labels": ({"y": np.array([0, "a"] * 30, object)}, "y"),
    "None label": ({"y": np.array([0, None] * 30, object)}, "y"),
    "negative weight": ({"sample_weight": np.where(Y, 1.0, -1.0)}, "sample_weight"),
    "no weight": ({"sample_weight": np.zeros(60)}, "sample_weight"),
    "NaN weight": ({"sample_weight": np.full(60, NAN)}, "sample_weight"),
    "fewer weights": ({"sample_weight": np.ones(59)}, "sample_weight"),
    "2-D weights": ({"sample_weight": np.ones((60, 1))}, "sample_weight"),
    "weights as words": ({"sample_weight": ["a"] * 60}, "sample_weight"),
    "optimizer's name": ({"optimizer": "newton"}, "optimizer"),
    "optimizer's class": ({"optimizer": fastnn.SGD}, "optimizer"),
    "no epochs": ({"epochs": 0}, "epochs"),
    "half an epoch": ({"epochs": 1.5}, "epochs"),
    "epochs as a word": ({"epochs": "3"}, "epochs"),
    "epochs as a bool": ({"epochs": True}, "epochs"),
    "empty batches": ({"batch_size": 0}, "batch_size"),
    "negative batches": ({"batch_size": -5}, "batch_size"),
    "half a sample": ({"batch_size": 10.5}, "batch_size"),
    "validation pair": ({"validation_data": 5}, "validation_data"),
    "validation triple": ({"validation_data": (X, Y, Y)}, "validation_data"),
    "validation width": ({"validation_data": (X[:, :1], Y)}, "validation_data"),
    "validation NaN": ({"validation_data": (with_value(NAN), Y)}, "validation_data"),
    "validation length": ({"validation_data": (X, Y[:3])}, "validation_data"),
    "validation label": ({"validation_data": (X, Y + 7)}, "validation_data"),
    "fraction of all": ({"validation_fraction": 1.0}, "validation_fraction"),
    "fraction below 0": ({"validation_fraction": -0.1}, "validation_fraction"),
    "fraction leaves none": ({"validation_fraction": 0.999}, "validation_fraction"),
    "both validations": (
        {"validation_data": (X, Y), "validation_fraction": 0.1},
        "validation_data or validation_fraction",
    ),
    "early stopping blind": ({"early_stopping": True}, "early_stopping"),
    "early stopping as a number": (
        {"early_stopping": 5, "validation_fraction": 0.1},
        "early_stopping",
    ),
}


@pytest.mark.parametrize("case", BAD_DATA)
@pytest.mark.parametrize("standardize", [False, True])
def test_invalid_training_data_raise_and_change_nothing(case, standardize):
    changes, message = BAD_DATA[case]
    net = make(standardize=standardize)
    before = pickle.dumps(net)
    with pytest.raises(ValueError, match=message):
        net.fit(**({"X": X, "y": Y} | changes))
    assert net.classes_ is None
    assert pickle.dumps(net) == before
    # nor does it change a network that has learned, and knows its classes
    if case in ("single class", "many classes"):
        return
    net.fit(X, Y, epochs=2, optimizer=fastnn.SGD(0.1))
    before = pickle.dumps(net)
    with pytest.raises(ValueError, match=message):
        net.fit(**({"X": X, "y": Y, "optimizer": fastnn.Adam()} | changes))
    assert pickle.dumps(net) == before


@pytest.mark.parametrize("case", ["NaN", "infinity", "too narrow", "1-D", "empty", "strings"])
@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_invalid_data_for_predictions_raise(case, method):
    changes, message = BAD_DATA[case]
    with pytest.raises(ValueError, match=message):
        getattr(make(), method)(changes["X"])


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 1e38])
def test_large_values_do_not_warn(backend, value):
    net = make(backend=backend, dtype="float32", activation="relu")
    for weights in net.weights:  # both signs meet in each sum
        weights[...] = np.where(np.arange(weights.shape[0]) % 2, -20, 20)[:, None]
    X = np.full((40, 2), value, np.float32)
    if value == 1e38:
        assert net.predict(X).shape == (40,)
        return
    with pytest.raises(ValueError, match="X contains"):
        net.predict(X)


@pytest.mark.parametrize("method", ["loss", "gradients", "score"])
@pytest.mark.parametrize(
    "case", ["NaN", "too wide", "fewer labels", "negative weight", "fewer weights", "no weight"]
)
def test_invalid_data_for_losses_raise(case, method):
    changes, message = BAD_DATA[case]
    if method == "gradients" and "sample_weight" in changes:
        changes = {"sample_weight": changes["sample_weight"]}
    with pytest.raises(ValueError, match=message):
        getattr(make(), method)(**({"X": X, "y": Y} | changes))


def test_unknown_labels_raise():
    net = make()
    net.fit(X, np.array(["a", "b"])[Y], epochs=1)
    for labels in (["a", "c"] * 30, [0, 1] * 30, [True, False] * 30):
        with pytest.raises(ValueError, match="y"):
            net.loss(X, labels)
        with pytest.raises(ValueError, match="y"):
            net.fit(X, labels, epochs=1)


BAD_TARGETS = {
    "NaN": ("squared_error", np.full(60, NAN), 1),
    "infinity": ("squared_error", np.full(60, INF), 1),
    "words": ("squared_error", ["a"] * 60, 1),
    "columns": ("squared_error", np.ones((60, 3)), 2),
    "too large a label": ("binary_cross_entropy", np.full((60, 2), 2.0), 2),
    "negative label": ("binary_cross_entropy", np.full((60, 2), -1.0), 2),
    "labels' columns": ("binary_cross_entropy", np.ones((60, 3)), 2),
    "three classes": ("binary_cross_entropy", np.arange(60) % 3, 1),
}


@pytest.mark.parametrize("case", BAD_TARGETS)
def test_invalid_targets_raise(case):
    loss, y, outputs = BAD_TARGETS[case]
    net = make([2, 3, outputs], loss=loss)
    before = pickle.dumps(net)
    with pytest.raises(ValueError, match="y"):
        net.fit(X, y, epochs=1)
    assert pickle.dumps(net) == before


BAD_NETWORKS = {
    "no layer": ({"layer_sizes": [2]}, "layer_sizes"),
    "nothing": ({"layer_sizes": []}, "layer_sizes"),
    "a number": ({"layer_sizes": 3}, "layer_sizes"),
    "half a unit": ({"layer_sizes": [2, 2.5, 2]}, "layer_sizes"),
    "no unit": ({"layer_sizes": [2, 0, 2]}, "layer_sizes"),
    "fewer units": ({"layer_sizes": [2, -3, 2]}, "layer_sizes"),
    "words": ({"layer_sizes": ["2", "3"]}, "layer_sizes"),
    "one class": ({"layer_sizes": [2, 3, 1]}, "binary_cross_entropy"),
    "activation": ({"activation": "swish"}, "activation"),
    "activation's type": ({"activation": 3}, "activation"),
    "activations' number": ({"activation": ["tanh", "tanh"]}, "activation"),
    "one of the activations": ({"activation": ["softmax"]}, "activation"),
    "activation of no layer": ({"layer_sizes": [2, 2], "activation": "swish"}, "activation"),
    "alpha": ({"alpha": -1.0}, "alpha"),
    "alpha NaN": ({"alpha": NAN}, "alpha"),
    "loss": ({"loss": "hinge"}, "loss"),
    "loss None": ({"loss": None}, "loss"),
    "l2": ({"l2": -1e-9}, "l2"),
    "l2 infinite": ({"l2": INF}, "l2"),
    "l2 as a word": ({"l2": "much"}, "l2"),
    "dropout of all": ({"dropout": 1.0}, "dropout"),
    "dropout below 0": ({"dropout": -0.1}, "dropout"),
    "dropouts' number": ({"dropout": [0.1, 0.2]}, "dropout"),
    "dropout NaN": ({"dropout": NAN}, "dropout"),
    "dropout of no layer": ({"layer_sizes": [2, 2], "dropout": 2.0}, "dropout"),
    "initializer": ({"initializer": "orthogonal"}, "initializer"),
    "backend": ({"backend": "fortran"}, "backend"),
    "backend's type": ({"backend": None}, "backend"),
    "dtype": ({"dtype": "float16"}, "dtype"),
    "no dtype": ({"dtype": "number"}, "dtype"),
    "integer dtype": ({"dtype": int}, "dtype"),
    "seed": ({"random_state": -1}, "random_state"),
    "seed's type": ({"random_state": "x"}, "random_state"),
    "threads": ({"n_threads": 0}, "n_threads"),
}


@pytest.mark.parametrize("case", BAD_NETWORKS)
def test_invalid_settings_raise(case):
    changes, message = BAD_NETWORKS[case]
    settings = {"layer_sizes": [2, 3, 2], "backend": "numpy"} | changes
    with pytest.raises(ValueError, match=message):
        fastnn.Network(settings.pop("layer_sizes"), **settings)


BAD_OPTIMIZERS = {
    "learning_rate": [
        lambda value=value: fastnn.SGD(value) for value in (0.0, -1.0, NAN, INF, "fast", None)
    ],
    "momentum": [lambda: fastnn.SGD(momentum=1.0), lambda: fastnn.SGD(momentum=-0.1)],
    "beta_1": [lambda: fastnn.Adam(beta_1=1.0)],
    "beta_2": [lambda: fastnn.Adam(beta_2=-1.0)],
    "epsilon": [lambda: fastnn.Adam(epsilon=0.0), lambda: fastnn.AdaGrad(epsilon=-1.0)],
    "weight_decay": [lambda: fastnn.AdamW(weight_decay=-1.0)],
    "rho": [lambda: fastnn.RMSprop(rho=1.5)],
    "patience": [lambda: fastnn.EarlyStopping(patience=0)],
    "min_delta": [lambda: fastnn.EarlyStopping(min_delta=-1.0)],
}


@pytest.mark.parametrize("name", BAD_OPTIMIZERS)
def test_invalid_optimizer_values_raise(name):
    for construct in BAD_OPTIMIZERS[name]:
        with pytest.raises(ValueError, match=name):
            construct()


def test_values_beyond_the_dtype_raise():
    data = with_value(1e300)
    with pytest.raises(ValueError, match=r"X.*float32"):
        make(dtype="float32").predict(data)
    assert np.isfinite(make().predict_proba(data)).all()


# --- copies -----------------------------------------------------------------------

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


def test_predictions_from_several_threads(backend):
    # each thread has scratch memory of its own
    from concurrent.futures import ThreadPoolExecutor

    net = make([2, 30, 2], backend=backend)
    data = np.random.default_rng(0).standard_normal((8, 500, 2))
    expected = [net.predict_proba(part) for part in data]
    with ThreadPoolExecutor(4) as pool:
        for got, wanted in zip(pool.map(net.predict_proba, data), expected, strict=True):
            assert_bits(got, wanted)


@pytest.fixture
def easily_woken():
    """Threads take part in small predictions too."""
    with tuned(wake_thread_work=100):
        yield


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("sizes", "settings", "samples"),
    [([2, 8, 8, 3], {}, 3001), ([20, 70, 130, 2], {"activation": "relu"}, 1000)],
)
@pytest.mark.usefixtures("easily_woken")
def test_threaded_predictions_have_the_same_bits(
    backend, sizes, settings, samples, dtype, monkeypatch
):
    net = make(sizes, backend=backend, dtype=dtype, **settings)
    data = np.random.default_rng(0).standard_normal((samples, sizes[0]))
    shared = []
    run_pieces = prediction.run_pieces
    monkeypatch.setattr(
        prediction, "run_pieces", lambda *given: shared.append(given[1:]) or run_pieces(*given)
    )
    net.n_threads = 1
    expected = net.predict_proba(data)
    assert shared == []
    for n_threads in (2, 3, 16):
        net.n_threads = n_threads
        assert_bits(net.predict_proba(data), expected)
        assert_bits(net.predict(data), expected.argmax(axis=1))
    if backend == "numpy":  # its threads are those of BLAS
        assert shared == []
        return
    assert {threads for _, threads in shared} == {2, 3, 16}
    assert min(pieces for pieces, _ in shared) > 2
    # of a few samples each, the same but for rounding
    each = np.vstack([net.predict_proba(part) for part in np.array_split(data, 50)])
    np.testing.assert_allclose(each, expected, rtol=2e-4 if dtype == "float32" else 1e-12)
    data[samples - 1, 1] = np.inf  # in the last piece
    with pytest.raises(ValueError, match="X "):
        net.predict(data)


@pytest.mark.parametrize("limit", ["piece_work", "piece_samples"])
@pytest.mark.usefixtures("easily_woken")
def test_ctrl_c_stops_predictions_between_pieces(limit, monkeypatch):
    """Compiled code would hear of it when all samples are done."""
    net = make([20, 70, 130, 2], backend="auto", n_threads=1)
    data = np.random.default_rng(0).standard_normal((3000, 20))
    expected, done = net.predict_proba(data), []
    if net.backend == "numpy":
        pytest.skip("it is never long in one call")
    forward = net.model.forward

    def interrupted(x, *arguments):
        done.append(len(x))
        if len(done) == 3:
            raise KeyboardInterrupt
        return forward(x, *arguments)

    most = 3000 * net.n_params // 5 if limit == "piece_work" else 600
    with tuned(**{limit: most}):
        assert_bits(net.predict_proba(data), expected)
        monkeypatch.setattr(net.model, "forward", interrupted)
        with pytest.raises(KeyboardInterrupt):
            net.predict_proba(data)
    assert sum(done) < 2000


@pytest.mark.usefixtures("easily_woken")
def test_predictions_in_workers_use_one_thread(monkeypatch):
    net = make([2, 8, 2], backend="auto", n_threads=4)
    data = np.zeros((3000, 2))
    expected = net.predict_proba(data)
    monkeypatch.setattr(prediction, "run_pieces", None)  # to call it would fail
    with Workers(2) as many:
        assert_bits(many.submit(net.predict_proba, data).result(), expected)


def test_validation_fraction_splits_the_weights(backend):
    weight = np.random.default_rng(0).integers(0, 4, len(X)).astype(float)
    net = fastnn.Network([2, 4, 2], dtype="float64", backend=backend, random_state=0)
    held = np.random.RandomState(net.state.seed).permutation(len(X))[:20]
    arguments = {"epochs": 3, "sample_weight": weight, "validation_fraction": 1 / 3}
    history = net.fit(X, Y, **arguments)
    expected = net.loss(X[held], Y[held], sample_weight=weight[held])
    assert history.validation_loss[-1] == pytest.approx(expected, rel=1e-12)
    assert expected != pytest.approx(net.loss(X[held], Y[held]), rel=1e-3)
    weight[held] = 0
    with pytest.raises(ValueError, match="validation_fraction"):
        net.fit(X, Y, **arguments)


@pytest.mark.parametrize("factor", [1e-300, 1e-40, 1e40, 1e300])
def test_extreme_sample_weights_are_relative(factor):
    rng = np.random.default_rng(0)
    X, y, weights = rng.normal(size=(30, 2)), rng.normal(size=30), rng.uniform(1, 2, 30)
    trained = []
    for given in (weights, factor * weights):
        net = fastnn.Network([2, 3, 1], loss="squared_error", random_state=0)
        net.fit(X, y, sample_weight=given, epochs=20, optimizer="adam")
        trained.append(net.params)
    # factors are not powers of two: they round
    np.testing.assert_allclose(trained[1], trained[0], rtol=1e-4, atol=1e-6)


def test_first_non_finite_value_is_named():
    net = fastnn.Network([2, 2, 1], loss="squared_error")
    with pytest.raises(ValueError, match="X must be numbers; got 'high' in row 1, column 0"):
        net.fit(np.array([[1.0, 2], ["high", 3]], object), [0.0, 1.0])
    with pytest.raises(ValueError, match="y must be numbers; got 'low' in row 1, column 0"):
        net.fit(np.eye(2), np.array([1.0, "low"], object))
