"""Labels and sample weights of other libraries' types have the results of NumPy's."""

import decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.metrics import accuracy_score, r2_score

from fastnn import (
    ConformalClassifier,
    MLPBaggingClassifier,
    MLPClassifier,
    MLPRegressor,
    TabularClassifier,
    TabularRegressor,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 2))
BINARY = (X[:, 0] > 0).astype(int)
WEIGHTS = rng.random(60)
CLASSIFIERS = {
    "mlp": MLPClassifier((4,), max_iter=3, random_state=0),
    "table": TabularClassifier(n_epochs=1, random_state=0),
}
REGRESSORS = {
    "mlp": MLPRegressor(hidden_layer_sizes=4, max_iter=3, random_state=0),
    "quantiles": MLPRegressor("quantile", 4, quantile=(0.1, 0.5), max_iter=3, random_state=0),
    "table": TabularRegressor(n_epochs=1, random_state=0),
}
TYPES_OF_WEIGHTS = {
    "list": list,
    "Series with another index": lambda w: pd.Series(w, index=range(500, 560)),
    "Float64": lambda w: pd.Series(w, dtype="Float64"),
    "polars": pl.Series,
}


@pytest.fixture(params=CLASSIFIERS)
def classifier(request):
    return clone(CLASSIFIERS[request.param])


@pytest.mark.parametrize("of_type", TYPES_OF_WEIGHTS.values(), ids=TYPES_OF_WEIGHTS)
def test_score_with_weights_of_any_type(classifier, of_type):
    model = classifier.fit(X, BINARY)
    expected = accuracy_score(BINARY, model.predict(X), sample_weight=WEIGHTS)
    assert model.score(X, BINARY, sample_weight=of_type(WEIGHTS)) == expected


@pytest.mark.parametrize("name", REGRESSORS)
@pytest.mark.parametrize("of_type", TYPES_OF_WEIGHTS.values(), ids=TYPES_OF_WEIGHTS)
def test_r2_with_weights_of_any_type(name, of_type):
    model = clone(REGRESSORS[name]).fit(X, X.sum(axis=1))
    predicted = model.predict(X)
    predicted = predicted[:, 1] if predicted.ndim == 2 else predicted
    expected = r2_score(X.sum(axis=1), predicted, sample_weight=WEIGHTS)
    score = model.score(X, X.sum(axis=1), sample_weight=of_type(WEIGHTS))
    assert score == pytest.approx(expected, rel=1e-12)
    negative = np.where(np.arange(60) == 7, -1.5, WEIGHTS)
    with pytest.raises(ValueError, match=r"sample_weight must not be negative; .* is -1\.5"):
        model.score(X, X.sum(axis=1), sample_weight=of_type(negative))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (pd.Series(BINARY, dtype="Int64"), [0, 1]),
        (pd.Series(BINARY + 2**60, dtype="Int64"), [2**60, 2**60 + 1]),  # equal as float64
        (pd.Series(BINARY + 2**60, dtype="int64[pyarrow]"), [2**60, 2**60 + 1]),
        (pd.Series(BINARY > 0, dtype="boolean"), [False, True]),
        (pd.Series(BINARY > 0, dtype="bool[pyarrow]"), [False, True]),
        (BINARY.astype(object), [0, 1]),
        (pd.Series(BINARY > 0, dtype=object), [False, True]),
    ],
    ids=lambda value: str(getattr(value, "dtype", "")),
)
def test_labels_keep_their_values_and_type(classifier, labels, expected):
    same = clone(classifier).fit(X, np.array(expected)[BINARY])
    model = classifier.fit(X, labels)
    assert model.classes_.tolist() == expected
    assert model.classes_.dtype == same.classes_.dtype
    assert model.predict(X).tolist() == same.predict(X).tolist()
    assert model.score(X, labels) == np.mean(model.predict(X) == np.array(expected)[BINARY])


def test_nullable_labels_in_parts_and_for_validation():
    labels = pd.Series(BINARY + 2**60, dtype="Int64")
    model = MLPClassifier((4,), random_state=0)
    model.partial_fit(X, labels, classes=pd.Series([2**60, 2**60 + 1, 2**60 + 2], dtype="Int64"))
    assert model.classes_.tolist() == [2**60, 2**60 + 1, 2**60 + 2]
    assert model.partial_fit(X, labels).predict_proba(X).shape == (60, 3)
    model = MLPClassifier((4,), max_iter=2, random_state=0)
    model.fit(X, labels, validation_data=(X, labels))
    assert model.classes_.tolist() == [2**60, 2**60 + 1]
    with pytest.raises(ValueError, match="unknown to the training"):
        model.fit(X, labels, validation_data=(X, labels + 1))


@pytest.mark.parametrize(
    "label",
    [pd.Interval(0, 1), pd.Period("2020-01", "M"), decimal.Decimal(1), 2**70],
    ids=lambda label: type(label).__name__,
)
def test_labels_of_other_objects_are_named(classifier, label):
    labels = np.empty(60, object)
    labels[:] = [label] * 60
    message = f"Unknown label type: y has objects of type {type(label).__name__}"
    with pytest.raises(ValueError, match=message):
        classifier.fit(X, labels)


def test_missing_target_in_score_is_named(classifier):
    labels = np.array(["a", "b"], object)[BINARY]
    model = classifier.fit(X, labels)
    labels[3] = np.nan
    with pytest.raises(ValueError, match="y has missing values, nan in row 3"):
        model.score(X, labels)


@pytest.mark.parametrize("name", REGRESSORS)
def test_complex_targets_are_named_in_one_line(name):
    with pytest.raises(ValueError, match=r"^Complex data not supported: y has dtype complex128$"):
        clone(REGRESSORS[name]).fit(X, X.sum(axis=1) + 1j)


@pytest.mark.parametrize(
    "of_type", [pd.DataFrame, pl.DataFrame, lambda d: pd.DataFrame(d).astype({"town": "category"})]
)
def test_text_is_named_with_its_column(of_type):
    frame = of_type({"size": X[:, 0].tolist(), "town": [*["1.5"] * 40, *["Ulm"] * 20]})
    message = r"X has text in column 'town' \('Ulm'\); encode it, .* TabularClassifier"
    with pytest.raises(ValueError, match=message):
        MLPClassifier().fit(frame, BINARY)
    model = MLPRegressor(max_iter=2).fit(pd.DataFrame({"size": BINARY, "town": BINARY}), BINARY)
    with pytest.raises(ValueError, match=message):
        model.predict(frame)
    with pytest.raises(ValueError, match=r"X is a lazy frame; X\.collect\(\) has the data"):
        model.predict(pl.DataFrame(X, schema=["size", "town"]).lazy())


@pytest.mark.parametrize(
    "labels", [pd.Series(BINARY + 2**60, dtype="Int64"), BINARY.astype(object)]
)
def test_labels_of_ensembles_and_of_conformal_sets_keep_their_values(labels):
    expected = sorted(set(labels.tolist()))
    one = MLPClassifier((4,), max_iter=3, random_state=0)
    for model in (
        MLPBaggingClassifier(one, n_estimators=2, random_state=0),
        ConformalClassifier(one),
    ):
        assert model.fit(X, labels).classes_.tolist() == expected
        assert set(model.predict(X).tolist()) <= set(expected)
        assert model.score(X, labels) == np.mean(model.predict(X) == np.array(labels.tolist()))
