"""``missing_values``: values that count as missing, when training and later, in any table."""

import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.base import clone

import fastnn
from fastnn.tables import Encoding, Remarks, TableEncoder, realmlp
from fastnn.tables.columns import columns_of
from fastnn.tables.doubts import doubts

N = 60
CODES = [-999, "unknown", "1900-01-01"]


def frame_of(seed=0, n=N):
    """Columns of all kinds, first with gaps and then with codes in their place."""
    rng = np.random.default_rng(seed)
    gaps = pd.DataFrame(
        {
            "age": rng.integers(20, 60, n).astype(float),
            "full": rng.normal(5.0, 1.0, n),
            "town": rng.choice(["Ulm", "Rom", "Bonn"], n),
            "zip": rng.choice([10, 20, 30], n).astype(float),
            "day": pd.to_datetime("2020-02-27") + pd.to_timedelta(rng.integers(0, 900, n), "D"),
            "flag": rng.choice([0.0, 1.0], n),
            "word": rng.choice(["yes", "no"], n),
        }
    )
    for name in gaps.columns.drop("full"):
        gaps.loc[rng.random(n) < 0.2, name] = None
    own = {"town": "unknown", "word": "unknown", "day": pd.Timestamp("1900-01-01")}
    coded = gaps.copy()
    for name in coded:
        coded[name] = coded[name].fillna(own.get(name, -999))
    return gaps, coded


KINDS = {"zip": "category", "flag": "boolean"}


@pytest.fixture(scope="module", autouse=True)
def small_networks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(realmlp, "HIDDEN", (9, 7))
        yield


def test_codes_are_encoded_as_gaps_are():
    """In every kind of table and every way to write a value, after a round trip as well."""
    gaps, coded = frame_of()
    want = Encoding.fit(gaps, kinds=KINDS)
    encoding = Encoding.fit(coded, kinds=KINDS, missing_values=CODES)
    assert encoding.names == want.names
    expected = want.transform(gaps)
    again = Encoding.from_state(*encoding.to_state())
    written = coded.assign(
        age=["-999,0" if v == -999 else f"{v:.1f}".replace(".", ",") for v in coded["age"]]
    )
    tables = [
        coded,
        gaps,
        coded.to_dict("list"),
        coded.to_dict("records"),
        pa.Table.from_pandas(coded),
        coded.assign(day=coded["day"].astype(str), zip=coded["zip"].astype(str)),
        written,
    ]
    for table in tables:
        for one in (encoding, again):
            np.testing.assert_array_equal(one.transform(table), expected)
    by_name = {code.name: code for code in encoding.columns}
    for name in gaps.columns:
        assert by_name[name].taken == by_name[name].gaps == gaps[name].isna().sum()
    assert f"{gaps['age'].isna().sum()} of 60 missing, " in dict(encoding.summary())["age"]
    # a value of all columns is missing in one where training did not have it
    column = encoding.names.index("full")
    one = coded.head(1)
    np.testing.assert_array_equal(
        encoding.transform(one.assign(full=-999.0))[0, column],
        want.transform(gaps.head(1).assign(full=np.nan))[0, column],
    )


@pytest.mark.parametrize(
    ("cells", "declared", "missing"),
    [
        ([1.5, -99.9, 3.0, 7.0], -99.9, [1]),
        ([1, -999, 3, 0], [0, -999], [1, 3]),
        (["1,5", "-999", "-999,00", "7,25"], -999, [1, 2]),
        (["1,5", "-999,5", "3,5", "7,25"], "-999,5", [1]),
        (["12 kg", "500 g", "-9 kg", "-9"], -9, [2, 3]),
        (["$12", "$-1", "$3", "-1"], -1, [1, 3]),
        (["12", "unknown", "Unknown", "7"], "unknown", [1, 2]),  # both are no numbers
        ([1.0, np.inf, 2.0, 5.0], float("inf"), [1]),
        ([1.0, 5.0, 2.0, 5.5], [None, np.nan, 5.0], [1]),
        ([1.0, 5.0, 2.0, 5.5], {"a": 5.0}, [1]),
        ([1.0, 5.0, 2.0, 5.5], np.array([5, 2]), [1, 2]),
    ],
)
def test_numbers(cells, declared, missing):
    kinds = {"a": "number"}
    encoding = Encoding.fit({"a": cells}, kinds=kinds, scaling=None, missing_values=declared)
    found = encoding.transform({"a": cells}, Remarks())
    assert np.flatnonzero(found[:, encoding.names.index("a=missing")]).tolist() == missing
    assert encoding.columns[0].gaps == len(missing)


@pytest.mark.parametrize(
    ("cells", "declared", "categories"),
    [
        (["a", "b", "c", "x"], "x", ["a", "b", "c"]),
        (["a", "b", "c", "X"], "x", ["X", "a", "b", "c"]),  # texts are compared as they are
        (["a", "b", "-9", "-9.0"], -9, ["a", "b"]),
        (pd.Series(["a", "b", "x", "c"], dtype="category"), ["x", "c"], ["a", "b"]),
        (["e\u0301", "b", "c", "\u00e9"], "\u00e9", ["b", "c"]),
    ],
)
def test_categories(cells, declared, categories):
    encoding = Encoding.fit({"a": cells}, missing_values=declared, keep_index=True)
    assert encoding.columns[0].categories == categories


def test_dates_and_booleans():
    """A date in any order; 0 is another value than False and "no"."""
    days = ["05.03.2020", "01.01.1900", "31.12.2021", "07.08.2020"]
    typed = pd.to_datetime(pd.Series(days), dayfirst=True)
    encoding = Encoding.fit({"t": days}, scaling=None, missing_values="01.01.1900")
    for values in (days, typed):
        flags = encoding.transform({"t": values})[:, encoding.names.index("t=missing")]
        assert flags.tolist() == [0, 1, 0, 0]
    assert encoding.columns[0].codes_of_gaps() == [-2208988800.0]
    for values in ([True, False, True], ["yes", "no", "yes"]):
        encoding = Encoding.fit({"b": values}, scaling=None, missing_values=0)
        assert encoding.transform({"b": [True, False, True]}).ravel().tolist() == [1, -1, 1]
        assert encoding.transform({"b": values}).ravel().tolist() == [1, -1, 1]
        assert encoding.columns[0].codes_of_gaps() == []


def test_estimators(tmp_path):
    gaps, coded = frame_of()
    y = gaps["full"] > 5
    options = {"n_epochs": 2, "columns": KINDS, "random_state": 0, "backend": "numpy"}
    want = fastnn.TabularClassifier(**options).fit(gaps, y)
    model = clone(fastnn.TabularClassifier(missing_values=CODES, **options))
    assert model.get_params()["missing_values"] == CODES
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(coded, y)
    expected = want.predict_proba(gaps)
    np.testing.assert_array_equal(model.predict_proba(coded), expected)
    model.save(tmp_path / "m.safetensors")
    again = fastnn.load(tmp_path / "m.safetensors")
    expected = again.predict_proba(gaps)  # by another backend
    np.testing.assert_array_equal(again.predict_proba(coded), expected)
    np.testing.assert_array_equal(again.predict_proba(coded.to_dict("list")), expected)
    array = coded[["age", "full"]].to_numpy()
    search = fastnn.TabularSearchRegressor(
        n_trials=1, n_epochs=2, cv=2, random_state=0, backend="numpy", missing_values={"x0": -999}
    ).fit(array, np.sin(coded["full"]) + coded.index % 7)
    hidden = np.where(array == -999, np.nan, array)
    np.testing.assert_array_equal(search.predict(array), search.predict(hidden))


def test_messages():
    table = {"age": [-999.0, *range(20, 60), -999.0]}
    (text,) = doubts(columns_of(table))
    assert text.endswith("if it means a missing value: --missing -999 (missing_values=-999)")
    y = np.arange(42) % 2
    model = fastnn.TabularClassifier(n_epochs=1, random_state=0, backend="numpy")
    with pytest.warns(UserWarning, match=r"missing_values=-999"):
        model.fit(table, y)
    with pytest.warns(UserWarning, match=r"^missing_values: no column has the value '7'$"):
        model.set_params(missing_values=[-999, 7]).fit(table, y)
    flags = {"age": table["age"], "flag": [True, True, False] * 14}  # 0 is not False
    with pytest.warns(UserWarning, match="no column has the value '0'$"):
        model.set_params(missing_values=[-999, 0]).fit(flags, y)
    with pytest.raises(
        ValueError, match="no column 'agee'; the table has 'age'; did you mean 'age'"
    ):
        model.set_params(missing_values={"agee": 0}).fit(table, y)
    with pytest.raises(ValueError, match="'missing_values' parameter"):
        model.set_params(missing_values=object()).fit(table, y)
    assert TableEncoder(missing_values=-999).fit(table).encoding_.columns[0].gaps == 2
