"""What comes in by mistake: an error or a warning that names it."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import fastnn
from fastnn import MLPClassifier, MLPRegressor, TabularClassifier, TabularRegressor

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 3))
BINARY = (X[:, 0] > 0).astype(int)
Y = X.sum(axis=1)
LABELS = np.array(["a", "b", "c"])[np.digitize(X[:, 0], [-0.5, 0.5])]

CLASSIFIERS = {
    "mlp": MLPClassifier((4,), max_iter=2, random_state=0),
    "table": TabularClassifier(n_epochs=1, random_state=0),
}


@pytest.fixture(params=CLASSIFIERS)
def classifier(request):
    return clone(CLASSIFIERS[request.param])


def pick(values, kind=object):
    return np.array(values, kind)[BINARY]


@pytest.mark.parametrize("gap", [None, float("nan"), pd.NA, pd.NaT], ids=repr)
def test_missing_label_is_named_with_its_row(classifier, gap):
    labels = np.full(60, "a", object)
    labels[3:6] = "b"
    labels[7] = gap
    message = f"y has missing values, {gap!r} in row 7"
    with pytest.raises(ValueError, match=message):
        classifier.fit(X, labels)
    with pytest.raises(ValueError, match=message):
        classifier.fit(X, pd.Series(labels, dtype=object))
    with pytest.raises(ValueError, match=message):
        fastnn.Network([3, 4, 2]).fit(X, labels, epochs=1)


def test_labels_of_mixed_types_raise(classifier):
    with pytest.raises(TypeError, match=r"y must be labels of one type .*; got int and str"):
        classifier.fit(X, pick([1, "b"]))


def test_real_valued_labels_raise(classifier):
    with pytest.raises(ValueError, match=r"^Unknown label type: continuous\. Maybe"):
        classifier.fit(X, Y)


def test_several_columns_of_labels_raise():
    model = MLPClassifier((4,), max_iter=2, warm_start=True)
    expected = r"y must be 1-D labels.* matrix of 0 and 1; got shape \(60, 2\)"
    with pytest.raises(ValueError, match=expected):
        model.fit(X, np.c_[BINARY + 1, BINARY + 3])
    with pytest.warns(ConvergenceWarning):
        model.fit(X, BINARY)
    with pytest.raises(ValueError, match=expected):
        model.fit(X, np.c_[BINARY + 1, BINARY + 3])
    with pytest.raises(ValueError, match=expected):
        clone(model).fit(X, BINARY, validation_data=(X, np.c_[BINARY + 1, BINARY + 3]))


def test_single_class_raises():
    with pytest.raises(ValueError, match=r"got one class, 0\.0$"):
        TabularClassifier().fit(X, np.zeros(60))


def test_early_stopping_without_validation_samples_raises():
    model = MLPClassifier((4,), early_stopping=True, validation_fraction=0.0)
    with pytest.raises(ValueError, match="needs validation_fraction > 0 or validation_data; got 0"):
        model.fit(X, BINARY)


def test_datetime_targets_raise():
    days = np.arange(60).astype("M8[D]")
    for model in (MLPRegressor(), TabularRegressor()):
        with pytest.raises(ValueError, match=r"y has dates \(datetime64\[D\]\)"):
            model.fit(X, days)
    with pytest.raises(ValueError, match=r"y_val has dates"):
        TabularRegressor(n_epochs=1).fit(X, Y, X_val=X, y_val=days)


def test_duplicate_column_names_raise():
    frame = pd.DataFrame(X, columns=["a", "b", "a"])
    with pytest.raises(ValueError, match=r"^X has columns of the same name: .*'a' 2 times"):
        MLPRegressor().fit(frame, Y)


def test_negative_sample_weights_raise():
    weights = np.ones(60)
    weights[5] = -1
    for solver in ("adam", "lbfgs", "lm"):
        with pytest.raises(ValueError, match="Negative values in data passed to `sample_weight`"):
            MLPRegressor(solver=solver).fit(X, Y, weights)
    with pytest.raises(ValueError, match="Negative values"):
        MLPRegressor().fit(X, Y, validation_data=(X, Y, weights))
    with pytest.raises(ValueError, match=r"validation_data\[2\] cannot be converted"):
        MLPRegressor().fit(X, Y, validation_data=(X, Y, ["heavy"] * 60))


@pytest.mark.parametrize("weight", [-1, "x", float("nan"), float("inf"), None], ids=repr)
def test_invalid_class_weights_raise(classifier, weight):
    classifier.set_params(class_weight={"a": weight, "b": 1, "c": 1})
    with pytest.raises(ValueError, match=r"class_weight\['a'\] must be a number in \[0, inf\)"):
        classifier.fit(X, LABELS)


@pytest.mark.parametrize(
    "sizes", [(8.5,), (8.0,), ("8",), (True,), ((3,), (4, 5)), (0,), np.ones((2, 2), int)], ids=repr
)
def test_invalid_hidden_layer_sizes_raise(sizes):
    with pytest.raises(ValueError, match="hidden_layer_sizes must be whole numbers, > 0"):
        MLPClassifier(sizes).fit(X, BINARY)


@pytest.mark.parametrize("sizes", [5, np.int64(5), np.array(5), [5], np.array([5])], ids=repr)
def test_hidden_layer_sizes_in_any_container(sizes):
    model = MLPClassifier(sizes, solver="lbfgs", max_iter=500, random_state=0).fit(X, BINARY)
    assert [w.shape for w in model.coefs_] == [(3, 5), (5, 1)]


def test_warm_start_with_other_layers_warns():
    model = MLPRegressor(hidden_layer_sizes=(5,), solver="lbfgs", warm_start=True, max_iter=2000)
    model.fit(X, Y)
    model.set_params(hidden_layer_sizes=(7,))
    with pytest.warns(UserWarning, match=r"=\(7,\) is ignored: .* network of \(5,\)") as seen:
        model.fit(X, Y)
    assert seen[0].filename == __file__


@pytest.mark.parametrize("rows", [[0], [0, 1]])
def test_too_few_rows_to_hold_out_raise(rows):
    weights = np.zeros(60)
    weights[0] = 1.0
    given = None if len(rows) == 1 else weights[:2]
    with pytest.raises(ValueError, match=r"n_samples=1 rows .* too few to hold out"):
        TabularRegressor().fit(X[rows], Y[rows], given)
