"""What becomes of each library's kinds of columns, with the values that they stand for."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fastnn.datasets.table import Table
from fastnn.tables.columns import as_column, columns_of

NAN, GAP = float("nan"), None
NOON = np.array(["2024-03-31T12:00", "2024-12-01T00:00"], "M8[us]")
BERLIN = ["2024-03-31T14:00+02:00", "2024-12-01T01:00+01:00"]  # the same moments


def moments(*texts):
    return np.array(texts, "M8[us]")


def pandas(values, dtype=None):
    return pd.Series(values, dtype=dtype)


def polars(values, dtype=None):
    pl = pytest.importorskip("polars")
    return pl.Series(values, dtype=None if dtype is None else kind_of(pl, dtype))


def kind_of(library, name):
    """A type of a library by its name, with its argument."""
    name, _, argument = name.partition(":")
    kind = getattr(library, name)
    if name == "Datetime":
        return kind("us", argument)
    return kind(argument) if argument else kind


def arrow(values, dtype=None):
    pa = pytest.importorskip("pyarrow")
    kinds = {
        None: None,
        "decimal": pa.decimal128(5, 2),
        "date": pa.date32(),
        "zone": pa.timestamp("ns", "Europe/Berlin"),
        "float16": pa.float16(),
    }
    if dtype == "dictionary":
        return pa.array(values).dictionary_encode()
    return pa.array(values, kinds[dtype])


DAYS = [timedelta(hours=12), timedelta(days=-2)]
CASES = {
    # values as a library has them, what they become, and the hint
    "pandas booleans": (lambda: pandas([True, None, False], "boolean"), [1, NAN, 0], "boolean"),
    "pandas numbers": (lambda: pandas([1, None], "Int8"), [1, NAN], None),
    "pandas periods": (
        lambda: pd.Series(pd.PeriodIndex(["2024-02", "2025-01"], freq="M")),
        moments("2024-02-01", "2025-01-01"),
        None,
    ),
    "pandas zones": (lambda: pandas(pd.to_datetime(BERLIN, utc=True)), NOON, None),
    "pandas durations": (lambda: pandas(DAYS), [0.5, -2.0], None),
    "pandas categories": (
        lambda: pandas(["b", None, "a"], "category"),
        ["b", GAP, "a"],
        "category",
    ),
    "pandas categories of numbers": (lambda: pandas([2, 1], "category"), ["2", "1"], "category"),
    "pandas index": (lambda: pd.Index([3.0, 4.0]), [3, 4], None),
    "polars booleans": (lambda: polars([True, None]), [1, NAN], "boolean"),
    "polars dates": (lambda: polars([date(2024, 2, 29), None]), moments("2024-02-29", "NaT"), None),
    "polars zones": (
        lambda: polars([datetime(2024, 3, 31, 12, tzinfo=UTC)], "Datetime:Europe/Berlin"),
        NOON[:1],
        None,
    ),
    "polars durations": (lambda: polars(DAYS), [0.5, -2.0], None),
    "polars categories": (lambda: polars(["x", None], "Categorical"), ["x", GAP], "category"),
    "polars texts": (lambda: polars([" x", ""]), ["x", GAP], None),
    "arrow dictionary": (lambda: arrow(["x", "y"], "dictionary"), ["x", "y"], "category"),
    "arrow booleans": (lambda: arrow([True, None]), [1, NAN], "boolean"),
    "arrow decimals": (lambda: arrow([Decimal("1.25"), None], "decimal"), [1.25, NAN], None),
    "arrow dates": (lambda: arrow([date(1969, 12, 31)], "date"), moments("1969-12-31"), None),
    "arrow zones": (lambda: arrow([datetime(2024, 12, 1, tzinfo=UTC)], "zone"), NOON[1:], None),
    "arrow texts": (lambda: arrow(["x ", None]), ["x", GAP], None),
    "masked": (lambda: np.ma.array([1.0, 2.0], mask=[True, False]), [NAN, 2], None),
    "masked texts": (lambda: np.ma.array(["a", "b"], mask=[False, True]), ["a", GAP], None),
    "masked dates": (
        lambda: np.ma.array(NOON.astype("M8[ns]"), mask=[False, True]),
        moments("2024-03-31T12:00", "NaT"),
        None,
    ),
    "masked durations": (
        lambda: np.ma.array([36, 1], "m8[h]", mask=[False, True]),
        [1.5, NAN],
        None,
    ),
    "masked truth": (lambda: np.ma.array([True, True], mask=[0, 1]), [1, NAN], "boolean"),
    "bytes": (lambda: np.array([b"a", b"", "\u00fc".encode()]), ["a", GAP, "\u00fc"], None),
    "NumPy durations": (lambda: np.array([36, -12], "m8[h]"), [1.5, -0.5], None),
    "durations of Python": (lambda: [*DAYS, None], [0.5, -2, NAN], None),
    "durations of both": (lambda: [np.timedelta64(1, "D"), DAYS[0]], [1, 0.5], None),
    "dates of Python": (
        lambda: [date(2024, 2, 29), None, datetime.fromisoformat(BERLIN[0])],
        moments("2024-02-29", "NaT", "2024-03-31T12:00"),
        None,
    ),
    "a zone west of Greenwich": (
        lambda: [datetime(2024, 1, 1, 20, tzinfo=timezone(timedelta(hours=-5)))],
        moments("2024-01-02T01:00"),
        None,
    ),
    "missing of all kinds": (
        lambda: [1, None, NAN, pd.NA, pd.NaT, np.datetime64("NaT"), np.float32("nan")],
        [1] + [NAN] * 6,
        None,
    ),
    "decimals and numbers": (lambda: [Decimal("0.5"), 2, np.float32(0.25)], [0.5, 2, 0.25], None),
    "truth and numbers": (lambda: [True, 2.5], [1, 2.5], None),
    "truth": (lambda: [True, np.False_, None], [1, 0, NAN], "boolean"),
    "mixed": (lambda: [1, "a", 2.0, b"b", None], ["1", "a", "2", "b", GAP], None),
}


@pytest.mark.parametrize("case", CASES)
def test_values(case):
    make, expected, hint = CASES[case]
    column = as_column("c", make())
    kind = "O" if any(isinstance(value, str) for value in expected) else None
    np.testing.assert_array_equal(column.values, np.array(expected, kind))
    assert column.hint == hint
    assert column.values.dtype in (np.dtype(float), np.dtype("M8[us]"), np.dtype(object))
    gaps = [value is None or value != value for value in expected]
    np.testing.assert_array_equal(column.gaps, gaps)


def table_of(library):
    columns = {"a": [1.5, 2.0], "b": ["x", "y"]}
    if library == "dict":
        return columns
    if library == "pandas":
        return pd.DataFrame(columns)
    if library == "rows":
        return [[1.5, "x"], [2.0, "y"]]
    if library == "array":
        return np.array([[1.5, "x"], [2.0, "y"]], object)
    if library == "file":
        return Table(
            Path("f.csv"), ["a", "b"], [np.array([1.5, 2.0]), np.array(["x", "y"], object)]
        )
    if library == "protocol":
        frame = pd.DataFrame(columns)

        class Foreign:
            """Of a library that has only the interchange protocol."""

            def __dataframe__(self, *arguments, **options):
                return frame.__dataframe__(*arguments, **options)

        return Foreign()
    if library == "arrow":
        return pytest.importorskip("pyarrow").table(columns)
    frame = pytest.importorskip("polars").DataFrame(columns)
    return frame.lazy() if library == "lazy" else frame


LIBRARIES = ["dict", "pandas", "rows", "array", "file", "protocol", "arrow", "polars", "lazy"]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_tables(library):
    a, b = columns_of(table_of(library))
    assert (a.name, b.name) == (("x0", "x1") if library in ("rows", "array") else ("a", "b"))
    assert b.values.tolist() == ["x", "y"]
    assert a.values.tolist() == [1.5, 2.0]


class Sparse:
    """As SciPy's matrices."""

    def toarray(self):
        raise AssertionError("it may be large")


@pytest.mark.parametrize(
    ("X", "match"),
    [
        (Sparse(), r"X is a sparse matrix; tables are dense, see X\.toarray\(\)"),
        (3, "X must be a table; got int"),
        ("abc", "X must be a table; got str"),
        (np.zeros(3), r"X must be 2-D \(rows, columns\); got shape \(3,\)"),
        (np.zeros((2, 2), complex), "column 'x0' has dtype complex128, which is no number, text"),
        ({"a": np.zeros((2, 2))}, r"column 'a' must be 1-D; got shape \(2, 2\)"),
        ({"a": [[1], [2]]}, "column 'a' has a list in its cells"),
        ({"a": ["x", b"\xff"]}, r"column 'a' has bytes that are not UTF-8: b'\\xff'"),
        ({"a": [1], "b": [1, 2]}, "'b' has 2"),
        ({"a": 1.5}, r"column 'a' must be a sequence of values; got 1.5 \(one row: \[1.5\]\)"),
        ({"a": "x"}, "column 'a' must be a sequence of values; got 'x'"),
    ],
)
def test_what_is_no_table(X, match):
    with pytest.raises(ValueError, match=match):
        columns_of(X)


def test_a_column_of_a_file_that_is_a_matrix():
    table = Table(Path("f.npz"), ["a"], [np.zeros((2, 3))])
    with pytest.raises(ValueError, match=r"f\.npz: column 'a' must be 1-D; got \(2, 3\)"):
        columns_of(table)
