"""The same rows in files, data frames and dicts are encoded to the same bits."""

import datetime as dt
from decimal import Decimal
from unicodedata import normalize

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from fastnn.datasets.reading import read
from fastnn.tables import Encoding
from fastnn.tables.columns import columns_of

N = 60
RNG = np.random.default_rng(1)
DAYS = pd.date_range("2023-01-01", periods=N, freq="37h")


def some(*values):
    return RNG.choice(list(values), N)


COLUMNS = {
    "integers": RNG.integers(1, 99, N),
    "floats": np.where(RNG.random(N) < 0.2, np.nan, RNG.normal(size=N)),
    "Int64": pd.array([None if k % 5 == 0 else k % 7 for k in range(N)], "Int64"),
    "boolean": pd.array([None if k % 5 == 0 else k % 3 == 0 for k in range(N)], "boolean"),
    "words for gaps": some("red", "?", "none", "NA", "n/a", "NULL", "#DIV/0!"),
    "None as a word": some("None", "Some"),
    "truth": some("Yes", "no", "Y"),
    "truth or 1": some("true", "false", "1", "0"),
    "unused level": pd.Categorical(some("a", "b"), categories=["a", "b", "c"]),
    "levels of floats": pd.Categorical(some(1.5, 2.0, 2.5)),
    "levels of integers": pd.Categorical(some(1, 2, 3)),
    "levels of booleans": pd.Categorical(RNG.random(N) < 0.5),
    "time zone": DAYS.tz_localize("Europe/Berlin"),
    "dates": DAYS.date,
    "durations": pd.to_timedelta(RNG.integers(1, 9999, N), unit="s"),
    "decimals": [Decimal(int(v)) / 100 for v in RNG.integers(100, 9999, N)],
    "times": [dt.time(k % 24, k % 60) for k in range(N)],
    "sizes": some("1.50", "2.00", "XL"),
    "codes": some("01", "02", "A1"),
    "money": [f"${v:,}" for v in RNG.integers(1000, 99_999, N)],
    "decimal commas": [f"{v / 100:.2f}".replace(".", ",") for v in RNG.integers(1000, 99_999, N)],
    "multipliers": [f"{v / 10}M" if v % 2 else f"{v}K" for v in RNG.integers(1, 999, N)],
    "day first": DAYS.strftime("%d.%m.%Y"),
    "composed": some("\u00e9", "e\u0301", "x"),
    "blanks": some(" a", "b ", "c"),
}
FRAME = pd.DataFrame(
    {name: pd.Series(list(v) if isinstance(v, list) else v) for name, v in COLUMNS.items()}
)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    path = folder / "a.csv"
    FRAME.to_csv(path, index=False)
    FRAME.to_parquet(folder / "a.parquet")
    arrow = pa.Table.from_pandas(FRAME)
    tables = {
        "csv": read(path),
        "parquet": read(folder / "a.parquet"),
        "pandas": FRAME,
        "read_csv": pd.read_csv(path),
        "strings": pd.read_csv(path, dtype=str, keep_default_na=False),
        "pyarrow dtypes": pd.read_csv(path, dtype_backend="pyarrow"),
        "pyarrow": arrow,
        "polars": pl.from_arrow(arrow),
        "polars csv": pl.read_csv(path, infer_schema_length=None),
        "dict": FRAME.to_dict("list"),
        "records": FRAME.to_dict("records"),
    }
    return {name: {c.name: c for c in columns_of(table)} for name, table in tables.items()}


@pytest.mark.parametrize("name", COLUMNS)
def test_same_bits(tables, name):
    for trained, columns in tables.items():
        encoding = Encoding.fit([columns[name]], scaling=None)
        expected = encoding.transform([columns[name]])
        for other, others in tables.items():
            X = encoding.transform([others[name]])
            np.testing.assert_array_equal(X, expected, f"{trained}, {other}")


@pytest.mark.parametrize("name", COLUMNS)
def test_rows_by_themselves(tables, name, tmp_path):
    """A file of one row may look different: a column of text may have only a number there."""
    encoding = Encoding.fit([tables["csv"][name]], scaling=None)
    expected = encoding.transform([tables["csv"][name]])
    path = tmp_path / "row.csv"
    for row in (0, 1, 2):
        FRAME.iloc[[row]].to_csv(path, index=False)
        (column,) = [c for c in columns_of(read(path)) if c.name == name]
        np.testing.assert_array_equal(encoding.transform([column]), expected[[row]])


def test_names_with_composed_characters():
    name = "pr\u00e9nom"
    encoding = Encoding.fit({normalize("NFD", name): [1, 2, 3]}, kinds={name: "category"})
    for form in ("NFC", "NFD"):
        assert encoding.transform({normalize(form, name): [1]}).shape == (1, 3)
    state, arrays = encoding.to_state()
    state["columns"][0]["name"] = normalize("NFD", name)  # a file of an early version
    assert Encoding.from_state(state, arrays).transform({name: [1]}).shape == (1, 3)


@pytest.mark.parametrize("name", ["a.xlsx", "a.feather", "a.jsonl"])
def test_other_files(tmp_path, name):
    """Excel, Arrow and JSON lines; the last have no types beyond numbers, text and truth."""
    names = ["integers", "floats", "truth", "words for gaps", "dates", "sizes", "money"]
    frame = FRAME[names].round(9)
    path = tmp_path / name
    if name == "a.xlsx":
        with pd.ExcelWriter(path) as writer:
            frame.to_excel(writer, sheet_name="June", index=False)
            frame.head(1).to_excel(writer, sheet_name="July")
    elif name == "a.feather":
        frame.to_feather(path)
    else:
        frame.to_json(path, orient="records", lines=True, date_format="iso", double_precision=15)
    table = read(path)
    encoding = Encoding.fit(frame, scaling=None)
    np.testing.assert_array_equal(encoding.transform(table), encoding.transform(frame))
    if name == "a.xlsx":
        assert table.notes == ["a.xlsx: the sheet 'June'; not read: 'July'"]
        assert table["integers"].dtype == np.int64


def test_types_of_parquet(tmp_path):
    """The kinds of columns are those of the same table in memory."""
    arrow = pa.table(
        {
            "levels": pa.array([1, 2, None, 1]).dictionary_encode(),
            "truth": pa.array([True, None, False, True]),
            "large": pa.array([2**63, 1, 2, 3], pa.uint64()),
            "days": pa.array([dt.date(2024, 1, k) for k in (1, 2, 3, 4)]),
        }
    )
    frame = arrow.to_pandas(types_mapper=pd.ArrowDtype)
    frame["levels"] = pd.Categorical([1, 2, None, 1])
    frame.to_parquet(tmp_path / "a.parquet")
    encoding = Encoding.fit(arrow, scaling=None)
    assert encoding.columns[0].categories == ["1", "2"]
    assert encoding.columns[1].kind == "boolean"
    for table in (read(tmp_path / "a.parquet"), frame):
        assert Encoding.fit(table, scaling=None).summary() == encoding.summary()
        np.testing.assert_array_equal(encoding.transform(table), encoding.transform(arrow))
    assert encoding.transform(arrow)[0, 2] == 2.0**63
    with pytest.raises(ValueError, match="column 'z' has dtype complex128"):
        columns_of(pd.DataFrame({"z": [1j, 2]}))
