"""Numbers that mean something else: times, codes for missing values, sums at the end."""

import warnings
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from fastnn import TabularRegressor
from fastnn.cli import main
from fastnn.tables import Encoding, Remarks
from fastnn.tables.columns import columns_of
from fastnn.tables.doubts import doubts

RNG = np.random.default_rng(0)
TIMES = pd.Series(pd.to_datetime("2021-03-04 05:06:07") + pd.to_timedelta(range(0, 4000, 97), "h"))
SECONDS = (TIMES - pd.Timestamp(0)) // pd.Timedelta("1s")
DAYS = TIMES.dt.normalize()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (SECONDS, TIMES),
        (SECONDS * 1000, TIMES),
        (SECONDS * 10**6, TIMES),
        (SECONDS.astype(float).where(SECONDS.index != 3), TIMES.where(SECONDS.index != 3)),
        (TIMES.dt.strftime("%Y%m%d").astype(int), DAYS),
        (TIMES.dt.strftime("%Y-%m"), DAYS - pd.to_timedelta(DAYS.dt.day - 1, "D")),
        (TIMES.dt.to_period("M"), DAYS - pd.to_timedelta(DAYS.dt.day - 1, "D")),
    ],
    ids=["s", "ms", "us", "gap", "yyyymmdd", "month", "period"],
)
def test_dates(values, expected):
    """Encoded like columns of dates, which may stand in for them, and in single rows."""
    encoding = Encoding.fit({"t": values}, kinds={"t": "date"}, scaling=None)
    want = Encoding.fit({"t": expected}, scaling=None).transform({"t": expected})
    np.testing.assert_array_equal(encoding.transform({"t": values}), want)
    np.testing.assert_array_equal(encoding.transform({"t": expected}), want)
    state, arrays = encoding.to_state()
    again = Encoding.from_state(state, arrays)
    np.testing.assert_array_equal(again.transform({"t": values[5:6]}), want[5:6])


def test_numbers_that_are_no_dates():
    for values in ([1998, 2003, 2010], [1.5, 2.5], [-5, 7], [20230231.5, 20230201]):
        with pytest.raises(ValueError, match="neither Unix times nor YYYYMMDD"):
            Encoding.fit({"t": values}, kinds={"t": "date"})
    encoding = Encoding.fit({"t": [20240131, 20231231]}, kinds={"t": "date"}, scaling=None)
    remarks = Remarks()
    encoding.transform({"t": [20230231]}, remarks)
    assert "'20230231' is no date" in remarks.lines()[0]


@pytest.mark.parametrize(
    "duration",
    [timedelta(hours=30, seconds=1.25), timedelta(days=-1, hours=3), timedelta(days=400)],
)
def test_durations_as_text_are_those_of_typed_columns(duration):
    typed = pd.Series([duration, timedelta(days=1), timedelta(0)])
    expected = Encoding.fit({"t": typed}, scaling=None).transform({"t": typed})
    frame = pd.DataFrame({"t": typed})
    assert expected[0, 0] == duration / timedelta(days=1)
    for texts in (
        pd.read_csv(pd.io.common.StringIO(frame.to_csv(index=False)))["t"],
        map(str, typed),
    ):
        texts = list(texts)
        if "day" in texts[0]:
            for kinds in ({}, {"t": "number"}):
                encoding = Encoding.fit({"t": typed}, kinds=kinds, scaling=None)
                np.testing.assert_array_equal(encoding.transform({"t": texts[:1]}), expected[:1])


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (SECONDS, "Unix times in seconds, 2021-03-04 to 2021-08-16"),
        (SECONDS * 1000, "Unix times in milliseconds, 2021-03-04 to 2021-08-16"),
        (TIMES.dt.strftime("%Y%m%d").astype(int), "dates YYYYMMDD"),
        ([-999, -999, *range(20)], "-999 in 2 of 22 rows stands apart from 0 to 19"),
        ([-9999, -9999, *range(0, 20_000, 999)], "-9999 in 2 of 23 rows stands apart"),
        ([999, 999, *range(20)], "999 in 2 of 22 rows"),
        ([*range(20), 190], "the sum of all others"),
        (
            [*map(str, range(30)), *("<5", ">9", "1-2", "a", "b", "c") * 2],
            "30 of 42 values are num",
        ),
        (
            [f"{k},234" for k in range(1, 30)],
            "'1,234' is read as 1234; --decimal , (decimal=',') if it is 1.234",
        ),
        # numbers as any others
        ([f"{k},234" for k in range(1, 30)] + ["1,5"], None),
        ([f"{k},234.5" for k in range(1, 30)] + ["1,234"], None),
        ([f"{k}.234" for k in range(1, 30)], None),
        ([*map(str, range(30)), "unknown"], None),
        (["0", "1", "2", "3+"] * 9, None),
        (range(990, 1010), None),
        ([999, 999, *range(900, 999)], None),
        ([-99, -99, *range(-98, 0)], None),
        ([*range(20), 191], None),
        ([0] * 20 + [1, 1], None),
        (RNG.normal(size=30), None),
        (RNG.integers(0, 10**6, 30), None),
        (range(1900, 2020), None),
    ],
)
def test_remarks(values, text):
    found = doubts(columns_of({"a": list(values)}))
    assert [text in line for line in found] == ([True] if text else [])


def test_shown_by_the_command_and_in_python(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    table = pd.DataFrame({"age": [-999, *range(20, 60), -999], "t": SECONDS.head(42)})
    table["y"] = np.sin(table["age"])
    table.to_csv("a.csv", index=False)
    options = [
        "--target",
        "y",
        "--epochs",
        "2",
        "--backend",
        "numpy",
        "--no-plots",
        "--preset",
        "plain",
    ]
    main(["train", "a.csv", *options, "--out", "a"])
    shown = capsys.readouterr().out
    assert "column 'age': -999 in 2 of 42 rows" in shown
    assert "--column 't=date'" in shown
    main(["train", "a.csv", *options, "--out", "b", "--column", "t=date"])
    shown = capsys.readouterr().out
    assert "date (Unix times in s), as" in shown
    assert "--column 't=date'" not in shown
    X = table.drop(columns="y")
    model = TabularRegressor(n_epochs=1, backend="numpy")
    with pytest.warns(UserWarning, match="-999 in 2 of 42 rows"):
        model.fit(X[["age"]], table["y"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.set_params(columns={"age": "number", "t": "date"}).fit(X, table["y"])


def test_a_total_of_the_target_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    y = RNG.normal(5, 1, 30).round(2)
    rows = [f"{k % 7},{k % 3},{v}" for k, v in enumerate(y)]
    (tmp_path / "a.csv").write_text("a,b,y\n" + "\n".join(rows) + f"\n,,{y.sum():.2f}\n")
    main(["train", "a.csv", "--target", "y", "--epochs", "2", "--backend", "numpy", "--no-plots"])
    assert "its value of the target is the sum of all others" in capsys.readouterr().out


def test_limits_of_detection():
    rng = np.random.default_rng(0)
    values = np.exp(rng.normal(2, 1, 60)).round(2)
    texts = [f"{v}" if v > 3 else "<3" for v in values.tolist()]
    n = texts.count("<3")
    (text,) = doubts(columns_of({"lead": texts}))
    assert text.startswith(
        f"caution: column 'lead': limits ('<3') in {n} of 60 rows count as missing"
    )
    texts[0] = "> 500 mg"
    assert "limits ('<3', '> 500 mg') in" in doubts(columns_of({"lead": texts}))[0]
    assert doubts(columns_of({"lead": [f"{v}" for v in values.tolist()]})) == []
    with pytest.warns(UserWarning, match=r"column 'lead': limits \('<3'"):
        TabularRegressor(n_epochs=1, random_state=0).fit(
            {"lead": [t.replace("> 500 mg", "<3") for t in texts]}, values
        )


def test_options_in_both_languages():
    (text,) = doubts(columns_of({"t": np.arange(1.7e9, 1.7e9 + 30)}))
    assert text.endswith("; --column 't=date' (columns={'t': 'date'}) takes them so")
    ages = [*map(str, range(15))] * 4 + ["few", "many"] * 9
    (text,) = doubts(columns_of({"age": ages}))
    assert "; --column 'age=number' (columns={'age': 'number'}) takes others as missing" in text
