"""Numbers, booleans, dates and gaps as they stand in text files."""

import numpy as np
import pytest

from fastnn import datasets
from fastnn.datasets.cells import decimal_sign, parse, same_but_case
from fastnn.datasets.quantities import parse_number, parse_quantity


@pytest.mark.parametrize(
    ("text", "decimal", "value"),
    [
        ("1234.5", ".", 1234.5),
        (" 1e-3".strip(), ".", 1e-3),
        ("1,234", ".", 1234),
        ("12,345,678.25", ".", 12345678.25),
        ("1'234'567", ".", 1234567),
        ("1\u202f234", ".", 1234),
        ("1 234,5", ",", 1234.5),
        ("1.234.567,5", ",", 1234567.5),
        ("1,5", ",", 1.5),
        (",5", ",", 0.5),
        ("1,5e3", ",", 1500),
        ("$1,234.50", ".", 1234.5),
        ("-$3", ".", -3),
        ("$-3", ".", -3),
        ("($1,234.50)", ".", -1234.5),
        ("12.5%", ".", 12.5),
        ("12,5 %", ",", 12.5),
        ("5 €", ".", 5),
        ("\u22123.5", ".", -3.5),
        ("+7", ".", 7),
        ("1,23", ".", None),
        ("1,2345", ".", None),
        ("12,34,567", ".", 1234567),  # Indian groups
        ("1.23.456,5", ",", 123456.5),
        ("12,34,5", ".", None),
        ("0,123", ".", None),
        ("0.123", ",", None),
        ("135-", ".", -135),
        ("-135-", ".", None),
        ("1'234.-", ".", 1234),
        ("1\u2019234.50", ".", 1234.5),
        ("5,-", ",", 5),
        ("R$ 1.234,56", ",", 1234.56),
        ("US$5", ".", 5),
        ("Rs. 500", ".", 500),
        ("\u20b91,23,456", ".", 123456),
        ("5 \u20bd", ".", 5),
        ("1.5", ",", None),
        ("1_000", ".", None),
        ("$5%", ".", None),
        ("--5", ".", None),
        ("(5", ".", None),
        ("0x10", ".", None),
        ("abc", ".", None),
        ("$", ".", None),
        ("1.2.3", ".", None),
    ],
)
def test_numbers(text, decimal, value):
    found = parse_number(text, decimal)
    assert (None if found is None else found[0]) == value


@pytest.mark.parametrize(
    ("text", "decimal", "value"),
    [
        ("12 kg", ".", (12, "kg")),
        ("1,200.5km/h", ".", (1200.5, "km/h")),
        ("1.200,5 \u20ac", ",", (1200.5, "\u20ac")),
        ("-5,5 \u00b0C", ",", (-5.5, "\u00b0C")),
        ("90\u00b0", ".", (90, "\u00b0")),
        ("7.5 l/100km", ".", (7.5, "l/100km")),
        ("30 m\u00b2", ".", (30, "m\u00b2")),
        ("EUR 12.50", ".", (12.5, "EUR")),
        ("12.50 EUR", ".", (12.5, "EUR")),
        ("12%", ".", (12, "%")),
        ("12", ".", (12, "")),
        ("13:30", ".", (13.5, ":")),
        ("1:45 PM", ".", (13.75, ":")),
        ("12:00 a.m.", ".", (0, ":")),
        ("0:00:36", ".", (0.01, ":")),
        ("2h 30m", ".", (2.5, "h")),
        ("2 h 30 min", ".", (2.5, "h")),
        ("19h", ".", (19, "h")),
        ("2.3k", ".", (2.3, "*k")),
        ("$1.5M", ".", (1.5, "$*M")),
        ("1.5 million", ".", (1.5, "*million")),
        ("300 K", ".", (300, "K")),
        ("13:60", ".", None),
        ("13:30 PM", ".", None),
        ("0x10", ".", None),
        ("A12", ".", None),
        ("12 Main Street", ".", None),
        ("2020-01-05", ".", None),
        ("$5 kg", ".", None),
        ("kg", ".", None),
        ("5'11\"", ".", None),
    ],
)
def test_quantities(text, decimal, value):
    assert parse_quantity(text, decimal) == (value and pytest.approx(value))


def test_words_that_differ_in_case_only():
    assert same_but_case(["b", "Yes", "a", "yes", "YES"]) == "'Yes' and 'yes' differ in case only"
    assert same_but_case(["Rome", "Romes", ""]) is None


@pytest.mark.parametrize(
    ("cells", "separator", "sign"),
    [
        (["1,5", "2"], ";", ","),
        (["1.5", "2"], ";", "."),
        (["1,234", "2"], ";", ","),
        (["1,234", "2"], ",", None),
        (["1,234", "2.5"], ";", "."),
        (["1,5", "2.5"], ";", None),
        (["1.234,5", "2.345"], ";", ","),
        (["1", "a, b", "x.y"], ";", None),
        (["1,234,567", "1,234"], ";", "."),  # no decimal sign comes twice
        (["1.234.567", "1.234"], ",", ","),
        (["0,123", "1,234"], ",", ","),
        (["0.123", "1,234"], ";", "."),
    ],
)
def test_decimal_sign(cells, separator, sign):
    assert decimal_sign(cells, separator) == sign


@pytest.mark.parametrize(
    ("column", "values", "how"),
    [
        (["True", "False", "True"], [1, 0, 1], "True/False read as 1/0"),
        (["no", None, "Yes"], [0, np.nan, 1], "Yes/no read as 1/0"),
        (["n", "y", "-"], [0, 1, np.nan], "y/n read as 1/0"),
        (["1,234", "5"], [1234, 5], "'1,234' read as 1234"),
        (["12.5%", "3%", "NR"], [12.5, 3, np.nan], "'12.5%' read as 12.5"),
        (["0.5", "-", ".", "nr", "?"], [0.5, *[np.nan] * 4], None),
        ([None, "-"], [np.nan, np.nan], None),
        (
            ["1970-01-02", "2000-01-01", "1969-12-31"],
            [1, 10957, -1],
            "dates read as days since 1970-01-01",
        ),
        (
            ["1970-01-02 12:00", "1970-01-01T06:00:00Z", "1970-01-01T06:00+06:00"],
            [1.5, 0.25, 0],
            "dates read as days since 1970-01-01",
        ),
    ],
)
def test_columns(column, values, how):
    found = parse(column)
    np.testing.assert_array_equal(found.values, values)
    assert (found.how, found.bad) == (how, None)


def test_dates_are_those_of_numpy():
    days = np.arange("1931-01-01", "2069-01-01", 11, dtype="datetime64[D]")
    found = parse([str(day) for day in days])
    np.testing.assert_array_equal(found.values, (days - np.datetime64("1970-01-01")).astype(int))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (["0.5", "1.5", "oops", "2.5"], "has 'oops' in line 4, unlike others such as '0.5'"),
        (["$1", "$2", "€3", "$4"], "has '€3' in line 4, unlike others such as '[$]1'"),
        (["1%", "2", "3"], "has '1%' in line 2, unlike others such as '2'"),
        (["yes", "no", "maybe"], "has 'maybe' in line 4, unlike others such as 'yes'"),
        (["2020-01-01", "2020-02-31"], "has '2020-02-31' in line 3, unlike others"),
        (["red", "-", "blue"], r"is not numeric \('red' in line 2\)"),
        (["0.5", "1_000", "2"], "has '1_000' in line 3"),
        (["0.5", "1e400", "2"], r"has an infinite value in line 3 \('1e400'\)"),
        (["-inf", "1", "2"], r"has an infinite value in line 2 \('-inf'\)"),
    ],
)
def test_the_message_has_the_cell_that_is_wrong(tmp_path, column, message):
    path = tmp_path / "a.csv"
    path.write_text("a,y\n" + "".join(f"{cell},{k % 2}\n" for k, cell in enumerate(column)))
    with pytest.raises(ValueError, match=f"column 'a' {message}"):
        datasets.load(path, target="y", gaps="drop")


def test_a_dash_among_numbers_is_a_gap_wherever_it_is(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,y\n" + "".join(f"{'-' if k == 9 else k + 0.5},{k % 2}\n" for k in range(12)))
    with pytest.raises(ValueError, match=r"'a' has a missing value in line 11 \('-'\)"):
        datasets.load(path, target="y")
    data = datasets.load(path, target="y", gaps="drop")
    assert data.X[:, 0].tolist() == [k + 0.5 for k in range(12) if k != 9]


def test_all_columns_that_are_no_numbers_are_named(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,b,c,y\n1,red,x,0\n2,blue,y,1\n3,red,z,0\n")
    with pytest.raises(ValueError, match=r"column 'b' .*\(so with 'c'\)"):
        datasets.load(path, target="y")
    data = datasets.load(path, target="y", ignore=["b", "c"])
    assert data.feature_names == ("a",)
    with pytest.raises(ValueError, match="no column 'z' to ignore; columns: 'a', 'b'"):
        datasets.load(path, target="y", ignore=["z"])


@pytest.mark.parametrize(
    ("column", "y", "task"),
    [
        (["+", "-", "+"], ["+", "-", "+"], "classification"),
        (["yes", "no", "yes"], ["yes", "no", "yes"], "classification"),
        (["$1,200", "$900.5", "$5"], [1200, 900.5, 5], "regression"),
        (["1,5", "2,25", "4,5"], [1.5, 2.25, 4.5], "regression"),
        (["1", "2", "3+"], ["1", "2", "3+"], "classification"),
    ],
)
def test_targets(tmp_path, column, y, task):
    path = tmp_path / "a.csv"
    path.write_text("a;y\n" + "".join(f"{k};{cell}\n" for k, cell in enumerate(column)))
    data = datasets.load(path, target="y")
    assert data.y.tolist() == y
    assert data.task == task


def test_bad_targets(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,y\n1.5,2020-01-01\n2,2020-01-02\n")
    with pytest.raises(ValueError, match="target 'y' has dates"):
        datasets.load(path, target="y")
    path.write_text("a,y\n" + "".join(f"{k}.5,{k * k}\n" for k in range(20)) + "7.5,unknown\n")
    with pytest.raises(
        ValueError, match=r"target 'y' is 'unknown' in line 22 where others are num"
    ):
        datasets.load(path, target="y")
    assert datasets.load(path, target="y", task="classification").y[-1] == "unknown"


@pytest.mark.filterwarnings("error")
def test_a_number_too_large_for_float32_is_named(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,b,y\n1,1e39,0\n2,3,1\n3,-1e39,1\n")
    data = datasets.load(path, target="y")
    with pytest.raises(ValueError, match=r"'b' has 1e\+39, too large for float32 .*float64"):
        data.inputs(data.X)
    assert data.inputs(data.X, np.float64)[0, 1] == 1e39
    assert data.inputs(data.X[1:2]).dtype == np.float32
