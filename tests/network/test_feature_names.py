"""Columns of data frames are found by the names of training."""

import copy
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest

import fastnn
from fastnn.cli import main

NAMES = ["height", "width", "depth"]


@pytest.fixture(scope="module")
def data():
    X = np.random.default_rng(0).normal(size=(60, 3))
    # each column has another meaning, so that a wrong order changes the predictions
    return X, X @ [3.0, -1.0, 0.2]


@pytest.fixture
def trained(data):
    X, y = data
    net = fastnn.Network([3, 4, 1], loss="squared_error", random_state=0, backend="numpy")
    net.fit(pd.DataFrame(X, columns=NAMES), y, epochs=5)
    return net


def other_orders(X):
    """Frames with the same columns in another order, and with one column more."""
    frame = pd.DataFrame(X, columns=NAMES)
    turned = frame[NAMES[::-1]]
    more = frame.assign(id=range(len(X)))[["id", "depth", "height", "width"]]
    return [frame, turned, more, pl.from_pandas(turned), pl.from_pandas(more)]


def test_columns_are_found_by_name(trained, data):
    X, y = data
    assert trained.feature_names == NAMES
    expected, loss = trained.predict(X), trained.loss(X, y)
    gradients, jacobian = trained.gradients(X, y), trained.jacobian(X)
    for frame in other_orders(X):
        np.testing.assert_array_equal(trained.predict(frame), expected)
        assert trained.loss(frame, y) == loss
        np.testing.assert_array_equal(trained.gradients(frame, y), gradients)
        np.testing.assert_array_equal(trained.jacobian(frame), jacobian)


def test_training_continues_by_name(trained, data):
    X, y = data
    for method, arguments in (
        ("fit", {"epochs": 2}),
        ("fit", {"epochs": 2, "batch_size": 7, "validation_data": (X[:9], y[:9])}),
        ("partial_fit", {}),
    ):
        expected = copy.deepcopy(trained)
        getattr(expected, method)(X, y, **arguments)
        for frame in other_orders(X):
            other = copy.deepcopy(trained)
            if "validation_data" in arguments:
                arguments = arguments | {"validation_data": (frame[:9], y[:9])}
            getattr(other, method)(frame, y, **arguments)
            np.testing.assert_array_equal(other.params, expected.params)
            assert other.feature_names == NAMES


def test_names_of_the_first_partial_fit(data):
    X, y = data
    net = fastnn.Network([3, 4, 1], loss="squared_error", random_state=0)
    net.partial_fit(X[:1], y[:1])
    assert net.feature_names is None
    net.partial_fit(pd.DataFrame(X[:1], columns=NAMES), y[:1])
    assert net.feature_names == NAMES


def test_networks_trained_together_take_shared_columns_by_name(trained, data):
    X, y = data
    alone = copy.deepcopy(trained)
    alone.fit(X, y, epochs=2)
    together = [copy.deepcopy(trained), fastnn.Network([3, 2, 1], loss="squared_error")]
    together[1].feature_names = NAMES[::-1]
    fastnn.fit_many(together, pd.DataFrame(X, columns=NAMES)[NAMES[::-1]], y, epochs=2)
    np.testing.assert_array_equal(together[0].params, alone.params)


def test_rows_of_a_frame_of_its_own_are_taken_by_name(trained, data):
    X, y = data
    alone, other = copy.deepcopy(trained), copy.deepcopy(trained)
    alone.fit(X[:40], y[:40], epochs=2)
    turned = pd.DataFrame(X, columns=NAMES)[NAMES[::-1]]
    fastnn.fit_many([fastnn.Fit(other, X=turned, y=y, rows=np.arange(40))], epochs=2)
    np.testing.assert_array_equal(other.params, alone.params)


def test_missing_column_raises(trained, data):
    X, y = data
    renamed = pd.DataFrame(X, columns=["height", "breadth", "depths"])
    before = trained.params.copy()
    message = (
        r"X has no column 'width' and 1 others, with which the network was trained; its "
        r"columns are 'height', 'breadth', 'depths'\. Arrays are taken by position"
    )
    for call in (trained.predict, lambda X: trained.fit(X, y), lambda X: trained.partial_fit(X, y)):
        with pytest.raises(ValueError, match=message):
            call(renamed)
    with pytest.raises(ValueError, match=r"validation_data\[0\] has no column 'width'"):
        trained.fit(X, y, validation_data=(renamed, y))
    np.testing.assert_array_equal(trained.params, before)


def test_arrays_and_columns_without_names_are_taken_by_position(trained, data):
    X, _ = data
    expected = trained.predict(X)
    for values in (X.tolist(), pd.DataFrame(X), pl.DataFrame(X).to_numpy()):
        np.testing.assert_array_equal(trained.predict(values), expected)
    net = fastnn.Network([3, 4, 1], loss="squared_error")
    net.fit(pd.DataFrame(X), X[:, 0], epochs=1)
    assert net.feature_names is None


def test_fit_that_fails_leaves_the_names(data):
    X, y = data
    net = fastnn.Network([3, 4, 1], loss="squared_error")
    with pytest.raises(fastnn.DivergenceError):
        net.fit(pd.DataFrame(X, columns=NAMES), y * 1e30, epochs=2)  # its loss is infinite
    assert net.feature_names is None


def test_names_are_part_of_files_and_copies(trained, data, tmp_path):
    X, _ = data
    trained.save(tmp_path / "net.safetensors")
    turned = pd.DataFrame(X, columns=NAMES)[NAMES[::-1]]
    for other in (
        fastnn.load(tmp_path / "net.safetensors", backend="numpy"),
        copy.deepcopy(trained),
        pickle.loads(pickle.dumps(trained)),
    ):
        assert other.feature_names == NAMES
        np.testing.assert_array_equal(other.predict(turned), trained.predict(X))


def test_run_of_the_command_line_takes_columns_by_name(data, tmp_path, capsys):
    X, y = data
    frame = pd.DataFrame(X, columns=NAMES).assign(price=y)
    frame.to_csv(tmp_path / "data.csv", index=False)
    arguments = ["--target", "price", "--epochs", "3", "--out", str(tmp_path / "run")]
    assert main(["train", str(tmp_path / "data.csv"), "--preset", "plain", *arguments]) == 0
    net = fastnn.load(tmp_path / "run" / "model.safetensors")
    assert net.feature_names == NAMES
    expected = net.predict(X)
    np.testing.assert_array_equal(
        net.predict(frame[["price", "depth", "width", "height"]]), expected
    )
