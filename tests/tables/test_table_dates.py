"""Dates as people write them."""

import json

import numpy as np
import pandas as pd
import pytest

from fastnn.tables import Encoding, Remarks
from fastnn.tables.dates import order_of, parse_date


@pytest.mark.parametrize(
    ("texts", "order"),
    [
        (["2024-02-29", "2023-01-31"], "iso"),
        (["2024/02/29", "2023/1/31"], "ymd"),
        (["29.02.2024", "1.3.2023"], "dmy"),
        (["29/02/2024", "01/03/2023"], "dmy"),
        (["02/29/2024", "01/03/2023"], "mdy"),
        (["01/03/2023", "02/04/2023"], "mdy"),  # either; with slashes the month is first
        (["01.03.2023", "02.04.2023"], "dmy"),
        (["29-Feb-2024", "01-mar-2023"], "dmy"),
        (["31/12/99", "1/1/25"], "dmy"),
        (["29/02/2024", "02/29/2024"], None),
        (["29.02.2024", "02/29/2024", "2024-02-29"], "signs"),
        (["29.02.2024", "29/02/2024"], "dmy"),
        (["29.02.2024", "02/29/2024", "29/02/2024"], None),
        (["30.02.2024"], None),
        (["1.5", "2.5"], None),
        (["1.2.3", "3.10.4"], None),  # versions
        (["192.168.0.1", "word"], None),
        ([], None),
    ],
)
def test_order(texts, order):
    assert order_of(texts) == order


FORMATS = {
    "ymd": ("%Y/%m/%d", "%Y/%m/%d %H:%M:%S", "%Y.%m.%d"),
    "dmy": ("%d.%m.%Y", "%d/%m/%Y %H:%M", "%d-%b-%Y", "%d.%m.%y"),
    "mdy": ("%m/%d/%Y", "%m/%d/%Y %I:%M %p", "%m-%d-%y %H:%M"),
    "iso": ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M"),
}


@pytest.mark.parametrize(("order", "form"), [(o, f) for o, fs in FORMATS.items() for f in fs])
def test_moments_are_those_of_pandas(order, form):
    days = pd.date_range("1999-12-30 00:00", periods=60, freq="1111h")
    texts = days.strftime(form).tolist()
    expected = pd.to_datetime(texts, format=form)
    assert [parse_date(text, order).replace(tzinfo=None) for text in texts] == expected.to_list()
    column = Encoding.fit({"day": texts}, scaling=None)
    assert column.columns[0].kind == "date"
    X = dict(zip(column.names, column.transform({"day": texts}).T, strict=True))
    np.testing.assert_array_equal(X["day.month"], expected.month)
    np.testing.assert_array_equal(X["day.weekday"], expected.day_of_week)


def test_german_and_american_dates_in_one_column():
    days = pd.date_range("2020-01-01", periods=60, freq="13D")
    texts = [day.strftime("%d.%m.%Y" if k % 2 else "%m/%d/%Y") for k, day in enumerate(days)]
    encoding = Encoding.fit({"day": texts}, scaling=None)
    assert "day first with dots, month first with slashes" in encoding.summary()[0][1]
    X = dict(zip(encoding.names, encoding.transform({"day": texts}).T, strict=True))
    np.testing.assert_array_equal(X["day.month"], days.month)
    np.testing.assert_array_equal(X["day.year"], days.year)
    # no order fits all: left out, with the reason
    texts = [day.strftime("%d/%m/%Y" if k % 2 else "%m/%d/%Y") for k, day in enumerate(days)]
    encoding = Encoding.fit({"day": texts, "x": np.arange(60) % 7}, scaling=None)
    assert encoding.summary()[0][1] == (
        "left out: dates without a common order of day, month and year"
    )


def test_the_order_of_training_holds():
    texts = [f"{day:02}/03/2023" for day in range(1, 29)]
    encoding = Encoding.fit({"day": texts}, scaling=None)
    assert encoding.columns[0].order == "dmy"
    assert "date (day first), as weekday, age" in encoding.summary()[0][1]
    state, arrays = encoding.to_state()
    again = Encoding.from_state(json.loads(json.dumps(state)), arrays)
    # alone it could be the 3rd of February
    expected = (np.datetime64("2023-03-28") - np.datetime64("2023-03-02")).astype(int)
    remarks = Remarks()
    X = again.transform({"day": ["02/03/2023", "2023-03-02", "03/30/2023"]}, remarks)
    age = list(again.names).index("day.age")
    assert X[:2, age].tolist() == [expected] * 2
    assert remarks.lines() == [
        "column 'day': '03/30/2023' is no date such as 31.12.2024 and counted as missing"
    ]
