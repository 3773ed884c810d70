"""Predictions for pandas' DataFrames, whose values need little validation."""

import numpy as np
import pytest
from sklearn.datasets import load_iris

import fastnn

pd = pytest.importorskip("pandas")


def make_model():
    return fastnn.MLPClassifier(8, solver="lbfgs", tol=1e-2, max_iter=1000, random_state=0)


@pytest.fixture(scope="module")
def frame():
    return load_iris(as_frame=True).data


@pytest.fixture(scope="module")
def model(frame):
    return make_model().fit(frame, load_iris().target)


def test_predictions_are_those_of_the_array(model, frame):
    plain = make_model().fit(frame.to_numpy(), load_iris().target)
    expected = plain.predict_proba(frame.to_numpy())
    mixed = frame.astype({frame.columns[0]: "float32", frame.columns[1]: "Float64"})
    for same in (frame, frame.astype(object), frame.set_index(frame.index[::-1])):
        np.testing.assert_array_equal(model.predict_proba(same), expected)
    # one row takes another kernel than many
    np.testing.assert_allclose(model.predict_proba(frame.iloc[[70]]), expected[[70]], rtol=1e-13)
    np.testing.assert_allclose(model.predict_proba(mixed), expected, rtol=1e-5)
    whole = frame.round().astype("int8")
    np.testing.assert_array_equal(
        model.predict_proba(whole), plain.predict_proba(whole.to_numpy(float))
    )


@pytest.mark.parametrize("rows", [1, 150])
def test_other_columns_and_gaps_are_refused(model, frame, rows):
    some = frame.iloc[:rows]
    for wrong in (some[some.columns[::-1]], some.rename(columns={some.columns[0]: "other"})):
        with pytest.raises(ValueError, match="feature names should match"):
            model.predict(wrong)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(some.iloc[:, :3])
    for bad, message in ((np.nan, "NaN"), (np.inf, "infinity")):
        changed = some.copy()
        changed.iloc[-1, 2] = bad
        with pytest.raises(ValueError, match=message):
            model.predict(changed)
    with pytest.raises(ValueError, match="0 sample"):
        model.predict(some.iloc[:0])


@pytest.mark.parametrize("convert", [lambda frame: frame, lambda frame: frame.to_numpy()])
def test_values_beyond_float32_are_refused(frame, convert):
    model = make_model().set_params(dtype="float32").fit(convert(frame), load_iris().target)
    samples = frame.copy()
    samples.iloc[0, 1] = 1e300
    with pytest.raises(ValueError, match="infinity or values beyond float32"):
        model.predict(convert(samples))
