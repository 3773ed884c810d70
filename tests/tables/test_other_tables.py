"""Tables and targets of unusual types: the results of the same data in a plain DataFrame."""

import json

import numpy as np
import pandas as pd
import polars as pl
import pytest

import fastnn
from fastnn import TableEncoder, TabularClassifier, TabularRegressor
from fastnn.tables import Encoding

rng = np.random.default_rng(0)
N = 60
FRAME = pd.DataFrame({"num": rng.normal(size=N), "cat": rng.choice(["a", "b", "c"], N)})
BINARY = (FRAME["num"].to_numpy() + (FRAME["cat"] == "a").to_numpy() > 0.5).astype(int)
NUMBERS = FRAME["num"].to_numpy() ** 2 + BINARY


class Frame(pd.DataFrame):
    """A subclass, as GeoPandas has one."""

    @property
    def _constructor(self):
        return Frame


@pytest.fixture(scope="module")
def regressor():
    return TabularRegressor(n_epochs=2, random_state=0).fit(FRAME, NUMBERS)


@pytest.mark.parametrize(
    "of_type",
    [
        Frame,
        lambda frame: pl.from_pandas(frame).lazy(),
        lambda frame: frame.astype({"cat": "U1"}).to_records(index=False),
    ],
    ids=["subclass", "lazy frame", "structured array"],
)
@pytest.mark.filterwarnings("error")
def test_other_containers(regressor, of_type):
    expected = regressor.predict(FRAME)
    np.testing.assert_array_equal(regressor.predict(of_type(FRAME)), expected)
    again = TabularRegressor(n_epochs=2, random_state=0).fit(of_type(FRAME), NUMBERS)
    np.testing.assert_array_equal(again.predict(FRAME), expected)
    encoded = TableEncoder().fit_transform(FRAME)
    np.testing.assert_array_equal(TableEncoder().fit_transform(of_type(FRAME)), encoded)


class Tensor:
    """An array whose dtype is not NumPy's, as that of PyTorch."""

    dtype = "tensor of floats"

    def __init__(self, values):
        self.values, self.shape = values, values.shape

    def __len__(self):
        return len(self.values)

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype)


def test_tensors():
    values = np.c_[FRAME["num"], BINARY]
    expected = TabularRegressor(n_epochs=2, random_state=0).fit(values, NUMBERS).predict(values)
    model = TabularRegressor(n_epochs=2, random_state=0).fit(Tensor(values), NUMBERS)
    np.testing.assert_array_equal(model.predict(Tensor(values)), expected)
    encoded = TableEncoder().fit_transform(values)
    np.testing.assert_array_equal(TableEncoder().fit_transform(Tensor(values)), encoded)


def test_columns_that_are_numbered():
    frame = FRAME.set_axis([0, 1], axis=1)
    model = TabularRegressor(n_epochs=2, columns={1: "drop"}, random_state=0).fit(frame, NUMBERS)
    assert model.encoding_.used == ["0"]
    encoding = Encoding.fit(frame)
    np.testing.assert_array_equal(encoding.transform(frame[[1, 0]]), encoding.transform(frame))
    # of a table that has some of the columns, the others are not taken by position
    with pytest.raises(ValueError, match="there is no column '0', which the model was trained"):
        encoding.transform(frame.set_axis([1, 2], axis=1))


@pytest.mark.parametrize(
    "value", [None, "table.csv", b"a", 3, iter([[1.0]])], ids=lambda value: type(value).__name__
)
def test_no_table(regressor, value):
    message = f"X must be a table; got {type(value).__name__}$"
    with pytest.raises(ValueError, match=message):
        regressor.predict(value)
    with pytest.raises(ValueError, match=message):
        TableEncoder().fit(value)


def test_series_is_no_table():
    for series in (FRAME["num"], pl.Series([1.0, 2.0])):
        with pytest.raises(ValueError, match=r"got a Series of .* to_frame"):
            TableEncoder().fit(series)


def test_dates_that_have_another_form():
    encoding = Encoding.fit({"day": pd.date_range("2020-01-01", periods=9)}, keep_index=True)
    with pytest.warns(UserWarning, match=r"'31\.12\.2020' is no date such as 2024-12-31"):
        encoding.transform({"day": ["31.12.2020"]})
    with pytest.raises(ValueError, match="perhaps Unix times in s; write them as dates"):
        encoding.transform({"day": [1_577_836_800]})
    with pytest.raises(ValueError, match="dates are expected, which are YYYYMMDD; write them"):
        encoding.transform({"day": [20200131]})


LABELS = {
    "texts": ["no", "yes"],
    "texts of numbers": ["1", "2"],
    "leading zeros": ["01", "02"],
    "blanks": [" a", "b "],
    "words for gaps": ["none", "some"],
    "Namibia": ["NA", "DE"],
    "dates": ["2020-01-01", "2020-01-02"],
    "decomposed": ["e\u0301", "z"],
    "numbers": [1, 2],
    "large numbers": [2**60, 2**60 + 1],
    "booleans": [False, True],
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_score_of_a_model_file(tmp_path, labels):
    y = np.array(labels)[BINARY]
    model = TabularClassifier(n_epochs=2, random_state=0).fit(FRAME, y)
    model.save(tmp_path / "model.safetensors")
    loaded = fastnn.load(tmp_path / "model.safetensors")
    correct = model.predict(FRAME) == y
    for rows in (slice(None), slice(0, 1), y == y[0]):
        assert loaded.score(FRAME[rows], y[rows]) == correct[rows].mean()
        assert loaded.score(FRAME[rows], pd.DataFrame({"y": y[rows]})) == correct[rows].mean()
    known = pd.Series(y, dtype=object)
    known[:7] = None
    assert loaded.score(FRAME, known) == correct[7:].mean()
    with pytest.raises(ValueError, match="y has 7 targets; X has 60 rows"):
        loaded.score(FRAME, known[7:14])


def test_score_of_a_model_file_with_texts_of_a_csv_file(tmp_path):
    model = TabularClassifier(n_epochs=2, random_state=0).fit(FRAME, BINARY)
    model.save(tmp_path / "model.safetensors")
    loaded = fastnn.load(tmp_path / "model.safetensors")
    assert loaded.score(FRAME, BINARY.astype(str)) == model.score(FRAME, BINARY)
    with pytest.raises(ValueError, match="label unknown to the network: 7; it knows 0, 1"):
        loaded.score(FRAME, np.where(BINARY, 7, 0))


def test_r2_of_a_model_file(tmp_path):
    two = np.c_[NUMBERS, -2 * NUMBERS]
    for y in (NUMBERS, two):
        model = TabularRegressor(n_epochs=2, random_state=0).fit(FRAME, y)
        model.save(tmp_path / "model.safetensors")
        loaded = fastnn.load(tmp_path / "model.safetensors")
        frame = pd.DataFrame(y)
        assert loaded.score(FRAME, frame) == pytest.approx(model.score(FRAME, y), rel=1e-12)
        frame.iloc[3, 0] = np.nan
        rows = np.arange(N) != 3
        expected = model.score(FRAME[rows], y[rows])
        assert loaded.score(FRAME, frame) == pytest.approx(expected, rel=1e-12)
        equal = np.ones_like(y)  # all targets are equal
        assert loaded.score(FRAME, equal) == pytest.approx(model.score(FRAME, equal), rel=1e-12)


def test_score_of_a_model_whose_labels_are_texts_of_numbers_and_booleans(tmp_path):
    for labels in (["1", "x"], ["False", "True"]):
        y = np.array(labels)[BINARY]
        model = TabularClassifier(n_epochs=2, random_state=0).fit(FRAME, y)
        model.save(tmp_path / "model.safetensors")
        loaded = fastnn.load(tmp_path / "model.safetensors")
        # as pandas reads a file with these rows
        rows = BINARY == 0 if "x" in labels else slice(None)
        read = np.ones(rows.sum(), int) if "x" in labels else BINARY > 0
        assert loaded.score(FRAME[rows], read) == (model.predict(FRAME) == y)[rows].mean()


def test_a_dict_of_dicts_as_of_to_dict_and_json(regressor):
    frame = FRAME.set_axis(range(N, 0, -1))  # the row labels are not the values
    for table in (frame.to_dict(), json.loads(frame.to_json(double_precision=15))):
        np.testing.assert_array_equal(regressor.predict(table), regressor.predict(FRAME))
    table = frame.to_dict()
    del table["cat"][N], table["num"][1]
    with pytest.raises(ValueError, match="columns 'num' and 'cat' have different row labels"):
        regressor.predict(table)
    with pytest.raises(ValueError, match=r"column .num. must be a sequence of values; got \{"):
        regressor.predict({"num": {1.0, 2.0}, "cat": ["a", "b"]})
