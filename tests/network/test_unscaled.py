"""Training that comes to nothing because of the scale of the data says so."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import ConvergenceWarning

import fastnn
from fastnn import MLPClassifier, MLPRegressor

rng = np.random.default_rng(0)
Z = rng.normal(size=(300, 3))
Y = Z[:, 0] + np.sin(Z[:, 1])
LABELS = np.digitize(Y, [-0.5, 0.5])
SAYS = "no better than a constant, and "


def told(fit):
    """What the warning of a call says; an empty text if there is none."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        fit()
    found = [w for w in seen if SAYS in str(w.message)]
    assert all(w.filename == __file__ for w in found)
    return str(found[0].message) if found else ""


@pytest.mark.parametrize("solver", ["lm", "lbfgs", "adam", "sgd"])
def test_features_far_from_zero_warn(solver):
    model = MLPRegressor(
        hidden_layer_sizes=(6,), activation="tanh", solver=solver, max_iter=100, random_state=0
    )
    text = told(lambda: model.fit(1000 + Z, Y))
    assert model.score(1000 + Z, Y) < 0.01
    assert re.search(r"column \d of X lies in \[99\d\.\d+, 100\d\.\d+\]", text)
    assert text.endswith(": make_pipeline(StandardScaler(), model)")
    assert not told(lambda: model.fit(Z, Y))
    assert model.score(Z, Y) > 0.4


def test_warning_names_the_column_of_a_frame():
    frame = pd.DataFrame(Z, columns=["small", "area", "other"])
    frame["area"] += 1e6
    model = MLPClassifier((6,), "tanh", solver="lbfgs", random_state=0)
    text = told(lambda: model.fit(frame, LABELS))
    assert "column 'area' of X lies in [9999" in text
    net = fastnn.Network([3, 6, 3], random_state=0, dtype="float64")
    text = told(lambda: net.fit(frame, LABELS, epochs=60))
    assert "column 'area' of X" in text
    assert text.endswith(": standardize=True (--standardize) scales them")


@pytest.mark.parametrize("scale", [1e9, 1e-9])
def test_targets_in_large_units_warn(scale):
    model = MLPRegressor(hidden_layer_sizes=(6,), activation="tanh", solver="adam", random_state=0)
    text = told(lambda: model.fit(Z, scale * Y))
    assert model.score(Z, scale * Y) < 0.01
    assert "and y lies in [" in text
    assert "TransformedTargetRegressor(model, transformer=StandardScaler())" in text
    net = fastnn.Network([3, 6, 1], loss="squared_error", random_state=0)
    assert "and y lies in [" in told(lambda: net.fit(Z, scale * Y, epochs=60))
    net = fastnn.Network([3, 6, 1], loss="squared_error", random_state=0, standardize=True)
    assert not told(lambda: net.fit(Z, scale * Y, epochs=60))


def test_unscaled_features_of_multilabel_warn():
    net = fastnn.Network([3, 6, 2], loss="binary_cross_entropy", random_state=0, dtype="float64")
    targets = np.c_[LABELS > 0, LABELS > 1].astype(float)
    assert told(lambda: net.fit(1e5 + Z, targets, epochs=60))
    net = fastnn.Network([3, 6, 2], loss="binary_cross_entropy", random_state=0, dtype="float64")
    assert not told(lambda: net.fit(Z, targets, epochs=60, optimizer="adam"))


@pytest.mark.parametrize("loss", ["quantile", "gaussian", "absolute_error", "poisson"])
def test_other_losses(loss):
    net = fastnn.Network(
        [3, 6, {"gaussian": 2}.get(loss, 1)], loss=loss, dtype="float64", random_state=0
    )
    assert told(lambda: net.fit(1e5 + Z, np.abs(Y), epochs=60, optimizer="adam"))


def test_learning_from_unscaled_data_does_not_warn():
    pixels = 255.0 * (Z > 0)
    model = MLPClassifier((6,), solver="lbfgs", random_state=0)
    assert not told(lambda: model.fit(pixels, Z[:, 0] > 0))
    assert model.score(pixels, Z[:, 0] > 0) == 1.0


def test_scaled_noise_does_not_warn():
    model = MLPRegressor(hidden_layer_sizes=(2,), alpha=100.0, solver="lbfgs", random_state=0)
    noise = rng.normal(size=300)
    assert not told(lambda: model.fit(Z, noise))


def test_short_training_does_not_warn():
    net = fastnn.Network([3, 6, 1], loss="squared_error", random_state=0)
    assert not told(lambda: net.fit(1000 + Z, Y, epochs=3))
    model = MLPRegressor(max_iter=2, random_state=0)
    with pytest.warns(ConvergenceWarning):
        model.fit(1000 + Z, Y)


def test_constant_targets_do_not_warn():
    model = MLPRegressor(hidden_layer_sizes=(4,), solver="lbfgs", random_state=0)
    assert not told(lambda: model.fit(100 * Z, np.full(300, 500.0)))
    model = MLPClassifier((4,), solver="lbfgs", random_state=0)
    weights = (LABELS == 1).astype(float)  # a single class counts
    assert not told(lambda: model.fit(100 * Z, LABELS, weights))
    # seven equal weights of 1/7 add up to less than 1, so that a constant has a log loss above 0
    few = np.where(np.cumsum(weights) <= 7, weights, 0.0)
    assert not told(lambda: model.fit(100 * Z[:300], LABELS, few))
    model = MLPRegressor(hidden_layer_sizes=(4,), solver="lbfgs", random_state=0)
    y = np.where(weights > 0, 500.0, Y)  # constant where the weight is not zero
    assert not told(lambda: model.fit(100 * Z, y, weights))
