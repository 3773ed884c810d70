"""Invalid data, targets and settings of a network: one error that names the argument."""

import pickle

import numpy as np
import pytest
from network_cases import INF, NAN, X, Y, make

import fastnn
from fastnn.validation import all_finite


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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 8192, 8193, 70_000])
def test_values_that_are_not_finite_are_found_at_each_size(size, dtype):
    values = np.full(size, np.finfo(dtype).max)  # sums and squares overflow
    assert all_finite(values)
    values[::2] *= -1
    assert all_finite(values)
    for bad in (np.nan, np.inf, -np.inf):
        for position in (0, size // 2, size - 1):
            changed = values.copy()
            changed[position] = bad
            assert not all_finite(changed)
    if size > 1:
        values[:2] = np.inf, -np.inf
        assert not all_finite(values)


def test_first_non_finite_value_is_named():
    net = fastnn.Network([2, 2, 1], loss="squared_error")
    with pytest.raises(ValueError, match="X must be numbers; got 'high' in row 1, column 0"):
        net.fit(np.array([[1.0, 2], ["high", 3]], object), [0.0, 1.0])
    with pytest.raises(ValueError, match="y must be numbers; got 'low' in row 1, column 0"):
        net.fit(np.eye(2), np.array([1.0, "low"], object))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "swish"}, "got 'swish', which is called silu here"),
        ({"loss": "mse"}, "got 'mse', which is called squared_error here"),
        ({"loss": "categorical_crossentropy"}, "which is called cross_entropy here"),
        ({"activation": "softmax"}, "got 'softmax'$"),
    ],
)
def test_names_of_other_libraries(options, message):
    with pytest.raises(ValueError, match=message):
        fastnn.Network([2, 3, 2], **options)


def test_values_that_are_no_numbers_are_not_printed_at_length():
    with pytest.raises(ValueError, match=r"^X must be numbers; got a value of type dict$"):
        fastnn.Network([1, 3, 2]).fit({"a": np.zeros(500)}, np.zeros(500, int))
