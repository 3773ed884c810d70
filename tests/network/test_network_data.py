"""Data of a network: containers, dtypes, labels, sparse rows, scales, sample weights."""

import warnings
from functools import partial

import numpy as np
import pytest
from helpers import assert_bits
from network_cases import X, Y, make

import fastnn
from fastnn.backends import codes
from fastnn.backends.plan import batch_matrices
from fastnn.backends.tuning import tuned


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


# tests/reliability/test_inputs.py has other containers and dtypes, with the reference.
FORMS = {
    "frame of objects": lambda a: pandas("DataFrame", a).astype(object),
    "read-only": read_only,
    "strided": strided,
    "column-major": np.asfortranarray,
    "reversed": lambda a: a[::-1].copy()[::-1],
}


@pytest.mark.parametrize("form", FORMS)
def test_data_may_have_any_layout(backend, form):
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


def test_absent_class_is_allowed():
    net = make([2, 4, 3])
    net.fit(X, 2 * Y, epochs=3)  # 0 and 2 of 0, 1, 2
    assert net.predict_proba(X).shape == (60, 3)
    np.testing.assert_array_equal(net.classes_, [0, 1, 2])


def test_validation_fraction_splits_the_weights(backend):
    weight = np.random.default_rng(0).integers(0, 4, len(X)).astype(float)
    net = fastnn.Network([2, 4, 2], dtype="float64", backend=backend, random_state=0)
    held = np.random.RandomState(net.state.seed).permutation(len(X))[:20]
    arguments = {"epochs": 3, "sample_weight": weight, "validation_fraction": 1 / 3}
    history = net.fit(X, Y, **arguments)
    expected = net.loss(X[held], Y[held], sample_weight=weight[held])
    assert history.validation_loss[-1] == pytest.approx(expected, rel=1e-12)
    assert expected != pytest.approx(net.loss(X[held], Y[held]), rel=1e-9)
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
