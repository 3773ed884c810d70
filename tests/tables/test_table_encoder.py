"""``TableEncoder`` against scikit-learn's transformers, on tables that packages ship."""

import json

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris, load_wine
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, RobustScaler, StandardScaler

from fastnn.tables import Encoding, Remarks, TableEncoder


def table(name):
    plotnine = pytest.importorskip("plotnine.data")
    return {
        "diamonds": lambda: plotnine.diamonds[::20].drop(columns="price"),
        "mpg": lambda: plotnine.mpg.drop(columns="hwy"),
        "msleep": lambda: plotnine.msleep.drop(columns=["name", "genus"]),
        "penguins": lambda: plotnine.penguins.drop(columns="species"),
        "txhousing": lambda: plotnine.txhousing[::5].drop(columns="sales"),
        "wine": lambda: load_wine(as_frame=True).data,
    }[name]().reset_index(drop=True)


TABLES = ("diamonds", "mpg", "msleep", "penguins", "txhousing", "wine")


def by_sklearn(frame):
    """The same columns by scikit-learn: numbers with an indicator, categories one-hot."""
    steps = []
    for name in frame:
        if pd.api.types.is_numeric_dtype(frame[name]):
            steps.append((name, SimpleImputer(strategy="median", add_indicator=True), [name]))
        else:
            n = frame[name].nunique()
            encoder = OneHotEncoder(
                categories=[sorted(frame[name].dropna().astype(str).unique())],
                handle_unknown="ignore",
                sparse_output=False,
            )
            if n == 2:  # one column of +1, -1, 0
                encoder = make_pipeline(encoder, FunctionTransformer(lambda X: X[:, :1] - X[:, 1:]))
            steps.append((name, encoder, [name]))
    return ColumnTransformer(steps)


@pytest.mark.filterwarnings("ignore:Found unknown categories")
@pytest.mark.parametrize("name", TABLES)
def test_numbers_are_those_of_sklearn(name):
    frame = table(name)
    texts = frame.astype({c: object for c in frame if not pd.api.types.is_numeric_dtype(frame[c])})
    rows = np.random.default_rng(0).permutation(len(frame))
    train, other = rows[: len(frame) // 2], rows[len(frame) // 2 :]
    expected = by_sklearn(texts.iloc[train]).fit(texts.iloc[train])
    encoder = TableEncoder(scaling=None).fit(frame.iloc[train])
    assert len(encoder.get_feature_names_out()) == encoder.transform(frame[:1]).shape[1]
    for part in (train, other):
        np.testing.assert_array_equal(
            encoder.transform(frame.iloc[part]), expected.transform(texts.iloc[part])
        )


@pytest.mark.parametrize("name", TABLES)
def test_scalings_are_those_of_sklearn(name):
    frame = table(name)
    plain = TableEncoder(scaling=None).fit_transform(frame)
    np.testing.assert_allclose(
        TableEncoder(scaling="standard").fit_transform(frame),
        StandardScaler().fit_transform(plain),
        rtol=1e-10,
        atol=1e-10,  # of sums of a few thousand numbers
    )
    robust = RobustScaler().fit(plain)
    q25, q75 = np.quantile(plain, (0.25, 0.75), axis=0)
    spread = np.where(q25 == q75, np.ptp(plain, axis=0) / 2, q75 - q25)
    np.testing.assert_allclose(robust.scale_[q25 != q75], spread[q25 != q75], rtol=1e-12)
    z = (plain - robust.center_) / spread
    found = TableEncoder().fit_transform(frame)
    np.testing.assert_allclose(found, z / np.sqrt(1 + (z / 3) ** 2), rtol=1e-10, atol=1e-12)
    assert np.abs(found).max() < 3


def test_a_constant_column_becomes_zero():
    encoding = Encoding.fit({"a": [1.0, 2.0, 4.0], "b": [5.0, np.nan, 5.0]})
    assert encoding.names == ("a", "b", "b=missing")
    np.testing.assert_array_equal(encoding.transform({"a": [1.0], "b": [9.0]})[:, 1], 0.0)


# --- every kind of table --------------------------------------------------------------


@pytest.fixture(scope="module")
def mixed():
    n = 60
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "row_id": np.arange(n) + 1,
            "key": [f"k{k}" for k in range(n)],
            "size": rng.normal(size=n),
            "count": rng.integers(0, 9, n),
            "sex": rng.choice(["m", "f"], n),
            "town": rng.choice(["Ulm", "Köln", "Bonn"], n),
            "ok": rng.choice([True, False], n),
            "day": pd.date_range("2023-12-30", periods=n, freq="31h"),
            "same": "x",
        }
    )
    frame.loc[3, "size"] = np.nan
    frame.loc[4, "town"] = None
    frame.loc[5, "day"] = pd.NaT
    return frame


def variants(frame):
    """The same table in other libraries and with other types."""
    lists = {name: [None if pd.isna(v) else v for v in frame[name].tolist()] for name in frame}
    yield "polars", pl.DataFrame(lists)
    yield "lazy", pl.DataFrame(lists).lazy()
    yield "pyarrow", pa.Table.from_pandas(frame)
    yield "lists", lists
    yield "arrays", {name: frame[name].to_numpy() for name in frame}
    yield "reordered", frame[frame.columns[::-1]]
    yield "nullable", frame.convert_dtypes()
    yield "arrow types", frame.convert_dtypes(dtype_backend="pyarrow")
    yield "categories", frame.astype({"sex": "category", "town": "category"})
    yield "zoned", frame.assign(day=frame["day"].dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo"))
    texts = frame.assign(day=frame["day"].dt.strftime("%Y-%m-%d %H:%M"))
    texts["ok"] = texts["ok"].map({True: "yes", False: "no"})
    texts["size"] = [None if pd.isna(v) else repr(v) for v in texts["size"]]
    yield "texts", texts
    yield "objects", frame.astype(object)


def test_a_table_is_the_same_in_every_library(mixed):
    encoder = TableEncoder().fit(mixed)
    expected = encoder.transform(mixed)
    assert expected.dtype == np.float64
    for name, other in variants(mixed):
        np.testing.assert_allclose(encoder.transform(other), expected, atol=1e-9, err_msg=name)
        own = TableEncoder().fit(other)
        assert sorted(own.summary().splitlines()) == sorted(encoder.summary().splitlines()), name
        order = [list(own.get_feature_names_out()).index(n) for n in encoder.encoding_.names]
        np.testing.assert_allclose(own.transform(other)[:, order], expected, atol=1e-9)


def test_kinds_and_words(mixed):
    encoder = TableEncoder(scaling=None).fit(mixed)
    assert dict(encoder.encoding_.summary()) == {
        "row_id": "left out: identifier",
        "key": "left out: identifier",
        "size": f"number; 1 of 60 missing (filled with {mixed['size'].median():.6g}), and a "
        "missing-value indicator",
        "count": "number",
        "sex": "2 categories (f, m), as +1 and -1",
        "town": "3 categories (Bonn, Köln, Ulm), a column each; 1 of 60 missing",
        "ok": "yes or no, as +1 and -1",
        "day": "date, as year, month, weekday, hour, age; 1 of 60 missing",
        "same": "left out: constant",
    }
    out = encoder.set_output(transform="pandas").fit_transform(mixed)
    day = mixed["day"].drop(index=5)
    kept = out.drop(index=5)
    np.testing.assert_array_equal(kept["day.year"], day.dt.year)
    np.testing.assert_array_equal(kept["day.month"], day.dt.month)
    np.testing.assert_array_equal(kept["day.weekday"], day.dt.day_of_week)
    np.testing.assert_allclose(kept["day.hour"], day.dt.hour + day.dt.minute / 60)
    np.testing.assert_allclose(kept["day.age"], (day.max() - day) / pd.Timedelta("1D"))
    assert out.loc[5, "day=missing"] == 1
    assert out.loc[5, "day.month"] == day.dt.month.median()
    assert out["ok"].tolist() == np.where(mixed["ok"], 1, -1).tolist()


def test_gaps_unknown_categories_and_odd_words_when_predicting(mixed):
    encoder = TableEncoder(scaling=None).fit(mixed)
    new = mixed.iloc[:4].assign(town=["Ulm", "Rom", "Rom", None], sex=["f", "x", None, "m"])
    new = new.assign(count=["1", "?", "many", "1,200"], more=1)
    remarks = Remarks()
    out = pd.DataFrame(encoder.transform(new, remarks), columns=encoder.get_feature_names_out())
    assert out["sex=f"].tolist() == [1, 0, 0, -1]
    assert out["town=Ulm"].tolist() == [1, 0, 0, 0]
    assert out[["town=Bonn", "town=Köln"]].to_numpy().sum() == 0
    median = float(np.median(mixed["count"]))
    assert out["count"].tolist() == [1, median, median, 1200]
    assert remarks.lines() == [
        "not used: 'more'",
        "column 'sex': 1 row has a category that training did not have ('x')",
        "column 'town': 2 rows have categories that training did not have ('Rom')",
        "column 'count': 'many' is no number and counted as missing",
    ]


def test_missing_columns_are_named(mixed):
    encoder = TableEncoder().fit(mixed)
    with pytest.raises(ValueError, match=r"no column 'size', 'day', which the model was trained"):
        encoder.transform(mixed.drop(columns=["size", "day", "same"]))
    # those that were left out need not be there
    without = mixed.drop(columns=["row_id", "key", "same"])
    np.testing.assert_array_equal(encoder.transform(without), encoder.transform(mixed))


def test_arrays_are_taken_in_order(mixed):
    array = mixed[["size", "town", "count"]].to_numpy(object)
    encoder = TableEncoder(scaling=None).fit(array)
    assert encoder.get_feature_names_out().tolist()[:3] == ["x0", "x0=missing", "x1=Bonn"]
    frame = pd.DataFrame(array, columns=["a", "b", "c"])
    remarks = Remarks()
    np.testing.assert_array_equal(encoder.transform(frame, remarks), encoder.transform(array))
    assert remarks.in_order
    with pytest.raises(ValueError, match="no column 'x2'"):
        encoder.transform(array[:, :2])


# --- what is asked for ------------------------------------------------------------------


def test_kinds_can_be_given(mixed):
    kinds = {"count": "category", "row_id": "number", "size": "drop", "town": "category"}
    encoder = TableEncoder(kinds, scaling=None).fit(mixed)
    names = encoder.get_feature_names_out().tolist()
    assert names[:3] == ["row_id", "count=0", "count=1"]  # in the order of numbers
    assert "size" not in names
    # a whole number is the same category whichever type it has
    as_text = encoder.transform(mixed.assign(count=mixed["count"].astype(str)))
    np.testing.assert_array_equal(
        as_text, encoder.transform(mixed.assign(count=mixed["count"] * 1.0))
    )


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        ({"none": "number"}, "columns: there is no column 'none'"),
        ({"size": "text"}, "kind of 'size' must be one of number, boolean, category, date, drop"),
        ({"town": "number"}, "column 'town' is not a number: 'Ulm'|'Bonn'|'Köln'"),
        ({"size": "date"}, "column 'size' has numbers where dates are expected"),
        ({"day": "number"}, "column 'day' has dates where numbers are expected"),
    ],
)
def test_kinds_that_do_not_fit(mixed, kinds, message):
    with pytest.raises(ValueError, match=message):
        TableEncoder(kinds).fit(mixed)


def test_parameters_as_sklearn_has_them():
    encoder = clone(TableEncoder({"a": "drop"}, scaling="standard", max_categories=7))
    assert encoder.get_params() == {
        "columns": {"a": "drop"},
        "keep_index": False,
        "log_features": False,
        "missing_values": None,
        "max_categories": 7,
        "scaling": "standard",
    }
    with pytest.raises(ValueError, match="scaling must be"):
        TableEncoder(scaling="minmax").fit({"a": [1, 2, 3]})
    with pytest.raises(ValueError, match="max_categories must be"):
        TableEncoder(max_categories=1).fit({"a": [1, 2, 3]})
    names = load_iris(as_frame=True).data
    pipeline = make_pipeline(TableEncoder(), StandardScaler()).fit(names)
    assert pipeline.get_feature_names_out().tolist() == list(names)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ({}, "X has no columns"),
        ({"a": [1, 2], "b": [1]}, "different lengths"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns that are called 'a'"),
        (np.zeros(3), "must be 2-D"),
        ("text", "X must be a table; got str"),
        ({"a": [1.0, np.inf, 2.0]}, "column 'a' has an infinite value in row 2"),
        ({"a": [[1], [2]]}, "column 'a' has a list in its cells"),
        ({"a": np.array([1j, 2j])}, "column 'a' has dtype complex128"),
        ({"a": [1, 1, 1], "b": [None] * 3}, r"no column is left .*a: constant; b: empty"),
    ],
)
def test_what_is_no_table(X, message):
    with pytest.raises(ValueError, match=message):
        TableEncoder().fit(X)


# --- the state that a file keeps --------------------------------------------------------


@pytest.mark.parametrize("scaling", ["robust-clip", "standard", None])
def test_state_is_json_and_plain_arrays(mixed, scaling):
    encoder = TableEncoder(scaling=scaling).fit(mixed)
    state, arrays = encoder.to_state()
    assert all(a.dtype == np.float64 and a.ndim == 1 for a in arrays.values())
    again = TableEncoder.from_state(json.loads(json.dumps(state)), arrays)
    np.testing.assert_array_equal(again.transform(mixed), encoder.transform(mixed))
    assert again.get_feature_names_out().tolist() == encoder.get_feature_names_out().tolist()
    assert again.summary() == encoder.summary()
    assert again.scaling == scaling


@pytest.mark.parametrize(
    "change",
    [
        lambda state, arrays: state.update(version=2),
        lambda state, arrays: state.update(more=1),
        lambda state, arrays: state.update(columns=[]),
        lambda state, arrays: state["columns"][2].update(kind="text"),
        lambda state, arrays: state["columns"][2].update(fill=[]),
        lambda state, arrays: state["columns"][2].update(fill=[float("nan")]),
        lambda state, arrays: state["columns"][5].update(categories=[]),
        lambda state, arrays: state["columns"][5].update(categories=["a", "a"]),
        lambda state, arrays: state["columns"][7].update(parts=["second"]),
        lambda state, arrays: arrays.pop("shift"),
        lambda state, arrays: arrays.update(factor=arrays["factor"][1:]),
        lambda state, arrays: arrays.update(factor=arrays["factor"] * np.nan),
    ],
)
def test_a_damaged_state_is_refused(mixed, change):
    state, arrays = TableEncoder().fit(mixed).to_state()
    state = json.loads(json.dumps(state))
    change(state, arrays)
    with pytest.raises(ValueError, match="table"):
        TableEncoder.from_state(state, arrays)


def test_names_of_encoded_columns_differ():
    encoder = TableEncoder(scaling=None).fit(
        {"a": [1.0, None, 2.0], "a=missing": [0.5, 1.5, 2.5], "b": ["x", "y", "z"]}
    )
    names = encoder.get_feature_names_out().tolist()
    assert len(set(names)) == len(names)


def test_kinds_by_all_rows_and_values_by_some():
    """Whether a column counts the rows is seen of all of them alone."""
    table = {"n": np.arange(1, 41), "x": np.arange(40) % 5 * 1.0}
    rows = np.arange(0, 40, 3)
    encoding = Encoding.fit(table, rows=rows, scaling=None)
    assert encoding.columns[0].why == "identifier"
    assert encoding.columns[1].fill == [float(np.median(table["x"][rows]))]


def test_text_in_a_column_of_numbers_is_said():
    table = {"a": [1.0, 2.0, 3.0], "b": ["x", "y", "x"]}
    encoder = TableEncoder().fit(table)
    with pytest.warns(UserWarning, match=r"column 'a': 'big' is no number and counted as missing"):
        encoder.transform({"a": ["1", "big"], "b": ["x", "z"]})


def test_logarithms_of_long_tails():
    rng = np.random.default_rng(0)
    n = 200
    table = {
        "price": rng.lognormal(8, 1.5, n),
        "age": rng.uniform(20, 80, n),  # no tail
        "count": rng.poisson(0.3, n).astype(float),  # has zeros
        "rate": np.r_[1.0, 1, 1, 9, np.ones(n - 4)],  # two values
        "size": rng.lognormal(2, 1, n),
        "huge": 1e300 * (1 + rng.random(n)),
    }
    table["price"][0] = np.nan
    encoder = TableEncoder({"size": "number"}, scaling=None, log_features=True).fit(table)
    names = ["price", "price.log", "price=missing", "age", "count", "rate", "size", "huge"]
    assert encoder.get_feature_names_out().tolist() == names
    assert encoder.encoding_.summary()[0][1].startswith("number, with its logarithm; 1 of 200")
    there = table["price"][1:]
    new = {name: [values[1]] * 4 for name, values in table.items()}
    new["price"] = [there[5], np.nan, there.min() / 10, -3.0]
    wanted = np.log([there[5], np.median(there), there.min(), there.min()])
    with pytest.warns(UserWarning, match=r"1 row \(-3\) far below"):
        np.testing.assert_allclose(encoder.transform(new)[:, 1], wanted, rtol=1e-15)
    state, arrays = encoder.encoding_.to_state()
    again = Encoding.from_state(json.loads(json.dumps(state)), arrays)
    remarks = Remarks()
    wanted = encoder.transform(new, remarks)
    np.testing.assert_array_equal(again.transform(new, remarks), wanted)
    assert TableEncoder(scaling=None).fit_transform(table).shape[1] == 7
    state["columns"][1] |= {"kind": "boolean", "floor": 1.0, "fill": []}
    with pytest.raises(ValueError, match="has no logarithm"):
        Encoding.from_state(state, arrays)
