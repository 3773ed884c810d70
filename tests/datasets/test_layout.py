"""Text files in the layouts that people have: separator, names, decimal sign, encoding."""

import bz2
import csv
import gzip
import io
import lzma
import zipfile

import numpy as np
import pandas as pd
import pytest

from fastnn import datasets
from fastnn.datasets import arrow, delimited
from fastnn.datasets.layout import Format, first_line_has_names
from fastnn.datasets.reading import read

IRIS = "5.1,3.5,setosa\n4.9,3.0,setosa\n6.2,2.9,versicolor\n5.9,3.0,virginica\n"
KINDS = ["setosa", "setosa", "versicolor", "virginica"]
TABLE = [[1.5, 2], [3.25, 4]]


def zipped(files):
    contents = io.BytesIO()
    with zipfile.ZipFile(contents, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return contents.getvalue()


def load(tmp_path, contents, name="a.csv", **options):
    path = tmp_path / name
    path.write_bytes(contents.encode() if isinstance(contents, str) else contents)
    return datasets.load(path, **options)


# --- names


@pytest.mark.parametrize(
    ("first", "rows", "names"),
    [
        ("5.1,3.5,setosa", ["4.9,3.0,setosa", "6.2,2.9,versicolor"], False),
        (",3.5,setosa", ["4.9,3.0,setosa", "6.2,2.9,versicolor"], False),
        ("?,3.5,setosa", ["4.9,3.0,setosa", "6.2,2.9,versicolor"], False),
        ("NA,-,setosa", ["4.9,3.0,setosa", "6.2,2.9,versicolor"], False),
        ("width,height,kind", ["4.9,3.0,setosa", "6.2,2.9,versicolor"], True),
        (",height,kind", ["0,3.0,setosa", "1,2.9,versicolor"], True),
        ("a,b", ["1,2"], True),
        ("1,2", ["3,4", "5,6"], False),
        ("y,t,n", ["1,2,3", "4,5,6"], True),  # y, t and n are booleans, too
        ("flag,when", ["True,2020-01-01", "False,2021-01-01"], True),
        ("True,2020-01-02", ["True,2020-01-01", "False,2021-01-01"], False),
        ("False,8415,cat", ["True,9907,dog", "True,5433,bird"], False),
        ("on,8415,cat", ["True,9907,dog", "False,5433,bird"], True),
        ("name,colour", ["bob,red", "ann,blue"], True),
        ("bob,red", ["ann,blue", "eve,red"], False),
        ("red,red", ["ann,blue", "eve,green"], False),  # two columns have not one name
        ("0,1,2,y", ["1.5,2,3,0", "2.5,3,3,1"], True),  # DataFrame(X).to_csv(index=False)
        ("country,2019,2020,2021", ["FR,1.5,2,3", "DE,1,2,3"], True),
        ("0,1,2", ["1,2,3", "2,3,4"], False),
        ("0,0,1", ["0,1,1", "1,0,1"], False),
        ("a,b,c", [], True),
        ("1,2,3", [], False),
        ("5,NR,3,setosa", ["4,2,3,setosa", "6,1,3,virginica"], False),
    ],
)
def test_names_or_values(first, rows, names):
    assert first_line_has_names(first.split(","), [row.split(",") for row in rows]) == names


def test_a_file_without_names_keeps_its_first_row(tmp_path):
    data = load(tmp_path, IRIS, target=-1)
    np.testing.assert_array_equal(data.X, [[5.1, 3.5], [4.9, 3.0], [6.2, 2.9], [5.9, 3.0]])
    assert data.y.tolist() == KINDS
    assert data.feature_names == ("0", "1")
    assert data.notes == (
        "a.csv: commas between the values, no line of names, columns are 0, 1, ... "
        "(--header if line 1 has them), 4 rows",
    )


def test_header_can_be_given(tmp_path):
    data = load(tmp_path, IRIS, target="setosa", header=True)
    assert (len(data.X), data.feature_names) == (3, ("5.1", "3.5"))
    with pytest.raises(ValueError, match="column '0' has 'a' in line 1"):
        load(tmp_path, "a,b,kind\n" + IRIS, target=2, header=False)
    with pytest.raises(
        ValueError, match=r"no column 'kind'.*no line of names was found \(--header"
    ):
        load(tmp_path, IRIS, target="kind")
    data = load(tmp_path, "a,b,kind\n" + IRIS, target="kind")
    assert data.feature_names == ("a", "b")
    assert "names in line 1 (--no-header if they are values), 4 rows" in data.notes[0]


# --- separators and what stands around a table


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "a;b;kind\n1,5;2;x\n3,25;4;y\n", "semicolons between the values, decimal commas"),
        ("a.csv", "a;b;kind\n1.5;2;x\n3.25;4;y\n", "semicolons"),
        ("a.csv", 'a,b,kind\n"1,5",2,x\n"3,25",4,y\n', "decimal commas"),
        ("a.tsv", "a\tb\tkind\n1.5\t2\tx\n3.25\t4\ty\n", "tabs"),
        ("a.txt", "a\tb\tkind\n1,5\t2\tx\n3,25\t4\ty\n", "tabs between the values, decimal commas"),
        ("a.txt", "a|b|kind\n1.5|2|x\n3.25|4|y\n", "bars"),
        ("a.dat", "  a   b kind\n 1.5   2  x\n3.25 \t4  y \n", "blanks"),
        ("a.csv", "sep=;\na;b;kind\n1.5;2;x\n3.25;4;y\n", "names in line 2"),
        ("a.csv", '"sep=|"\r\na|b|kind\r\n1.5|2|x\r\n3.25|4|y\r\n', "names in line 2"),
        ("a.csv", "# by me\n\n# today\na,b,kind\n1.5,2,x\n# so\n3.25,4,y\n", "names in line 4"),
        ("a.data", "% by me\n// today\na,b,kind\n1.5,2,x\n3.25,4,y\n", "names in line 3"),
        ("a.dat", "# a b kind\n1.5 2 x\n3.25 4 y\n", "names in the comment of line 1"),
        ("a.csv", "\n  \na,b,kind\n1.5,2,x\n3.25,4,y\n", "names in line 3"),
        ("a.csv", "a,b,kind,\n1.5,2,x,\n3.25,4,y,\n", "commas"),
        ("a.csv", "a,b,kind\n1.5,2,x,\n3.25,4,y,\n", "commas"),
        ("a.csv", "a,b,kind,\n1.5,2,x\n3.25,4,y\n", "commas"),
        ("a.csv", "a,b,kind\n1.5,2,x\n3.25,4,y,\n", "commas"),
        ("a.csv", '"a", "b", "kind"\n"1.5", "2", "x"\n3.25, 4, "y"\n', "commas"),
        ("a.txt", '"a" "b" "kind"\n"1" 1.5 2 "x"\n"2" 3.25 4 "y"\n', "blanks"),  # R's write.table
        ("a.csv", "a,b,kind\r1.5,2,x\r3.25,4,y\r", "commas"),
        ("a.csv", "a,b,kind\n1.5,2,x\n\n3.25,4,y", "commas"),
    ],
)
def test_layouts(tmp_path, name, text, words):
    data = load(tmp_path, text, name, target="kind")
    np.testing.assert_array_equal(data.X, TABLE)
    assert data.y.tolist() == ["x", "y"]
    assert data.feature_names == ("a", "b")
    assert words in data.notes[0]


@pytest.mark.parametrize("units", [("23 kg", "45 cm"), ("+49 30 1", "+49 30 2")])
def test_a_separator_separates_the_names_too(tmp_path, units):
    """Cells with the same number of blanks in all lines, between more digits than words."""
    rows = "".join(f"{a},{b},{c},{c}\n" for a, b, c in [(*units, "1.5"), (*units[::-1], "2.5")])
    path = tmp_path / "a.csv"
    path.write_text("first,second,third,fourth\n" + rows)
    table = read(path, Format())
    assert table.names == ["first", "second", "third", "fourth"]
    assert table["first"].tolist() == list(units)


def test_codes_with_leading_zeros_are_mentioned(tmp_path):
    text = "plz,hour,part,kind\n01067,07,0012,x\n80331,12,123,y\n"
    data = load(tmp_path, text, target="kind")
    first, *notes = data.notes
    assert first.endswith("2 rows")
    assert notes == [
        "column 'plz': 01067 is read as 1067, without the zeros (--column plz=category takes the "
        "values as categories)"
    ]


def test_separator_and_decimal_can_be_given(tmp_path):
    text = "a:b:kind\n1.5:2:x\n3.25:4:y\n"
    with pytest.raises(ValueError, match=r"no column 'kind'.*'a:b:kind'; is the separator right"):
        load(tmp_path, text, target="kind")
    np.testing.assert_array_equal(load(tmp_path, text, target="kind", separator=":").X, TABLE)
    tabs = text.replace(":", "\t")
    np.testing.assert_array_equal(load(tmp_path, tabs, target="kind", separator="tab").X, TABLE)
    blanks = text.replace(":", "   ")
    np.testing.assert_array_equal(load(tmp_path, blanks, target="kind", separator="blank").X, TABLE)
    text = 'a;y\n"1,234";0\n"5,678";1\n'  # both make sense
    np.testing.assert_array_equal(load(tmp_path, text, target="y").X, [[1.234], [5.678]])
    data = load(tmp_path, text, target="y", decimal=".")
    np.testing.assert_array_equal(data.X, [[1234], [5678]])
    with pytest.raises(ValueError, match=r"'1,5' in line 2.*is the decimal sign ',' \(--decimal ,"):
        load(tmp_path, "a;y\n1,5;0\n2,5;1\n", target="y", decimal=".")
    for bad, message in (
        ({"separator": "ab"}, "separator must be one character .* got 'ab'"),
        ({"separator": '"'}, "separator must be one character"),
        ({"decimal": ";"}, "decimal must be . or ,; got ';'"),
        ({"decimal": ",", "separator": ","}, "must differ"),
    ):
        with pytest.raises(ValueError, match=message):
            load(tmp_path, text, target="y", **bad)


def test_a_sign_in_a_cell_is_no_comment_and_no_separator(tmp_path):
    data = load(tmp_path, "a,colour,b\n1,#f00,2\n3,#0f0,4\n5,#f00,1\n", target="colour")
    assert data.y.tolist() == ["#f00", "#0f0", "#f00"]
    data = load(tmp_path, "kind,a\n#1,1\n#2,2\n#1,5\n", target="kind")
    assert data.y.tolist() == ["#1", "#2", "#1"]
    data = load(tmp_path, 'a,kind\n1,"x, or ""z"""\n2,"two\nlines; of it"\n', target="kind")
    assert data.y.tolist() == ['x, or "z"', "two\nlines; of it"]
    # decimal commas, and commas in words: NumPy reads the text with points instead
    data = load(tmp_path, "a;kind\n1,5;x, y\n2,5;z\n", target="kind")
    np.testing.assert_array_equal(data.X, [[1.5], [2.5]])
    assert data.y.tolist() == ["x, y", "z"]


# --- encodings and packing


@pytest.mark.parametrize(
    ("encoding", "note"),
    [
        ("utf-8", None),
        ("utf-8-sig", None),
        ("utf-16", None),
        ("utf-32", None),
        ("utf-16-le", "is read as UTF-16 without a mark; name another with --encoding"),
        ("utf-16-be", "is read as UTF-16 without a mark"),
        ("latin-1", r"is read as Windows-1252 (Latin-1), as line 1 is not UTF-8"),
    ],
)
def test_encodings(tmp_path, encoding, note):
    text = "größe,art\n1,grün\n2,gelb\n3,grün\n"
    data = load(tmp_path, text.encode(encoding), target="art")
    assert data.feature_names == ("größe",)
    assert data.y.tolist() == ["grün", "gelb", "grün"]
    assert len(data.notes) == (1 if note is None else 2)
    if note is not None:
        assert note in data.notes[0]


def test_encoding_can_be_given(tmp_path):
    text = "größe,art\n1,ж\n2,gelb\n".replace("ö", "o").replace("ß", "s")
    data = load(tmp_path, text.encode("koi8-r"), target="art", encoding="koi8-r")
    assert data.y.tolist() == ["ж", "gelb"]
    with pytest.raises(ValueError, match=r"a\.csv, line 2: not text in utf-8 .*--encoding"):
        load(tmp_path, text.encode("koi8-r"), target="art", encoding="utf-8")
    with pytest.raises(ValueError, match="there is no 'klingon'"):
        load(tmp_path, text, target="art", encoding="klingon")


@pytest.mark.parametrize(
    ("ending", "pack"),
    [
        ("gz", gzip.compress),
        ("bz2", bz2.compress),
        ("xz", lzma.compress),
        ("zip", lambda contents: zipped({"iris.data": contents})),
    ],
)
def test_packed(tmp_path, ending, pack):
    contents = pack(IRIS.encode())
    data = load(tmp_path, contents, f"iris.data.{ending}", target="2")
    assert data.y.tolist() == KINDS
    assert data.name == "iris"
    assert load(tmp_path, contents, target="2").y.tolist() == KINDS  # whatever it is called
    with pytest.raises(ValueError, match="damaged: cannot be unpacked"):
        load(tmp_path, contents[:-9], target="2")


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"PK\x03\x04rest", "damaged: cannot be unpacked"),
        (zipped({"[Content_Types].xml": "", "sheet.xml": ""}), "is a spreadsheet; save the sheet"),
        (zipped({"a.csv": IRIS, "b.csv": IRIS}), "is a ZIP archive of 2 files"),
        (b"PAR1rest", "is a Parquet file"),
        (b"\x00\x01\x02" * 9, "not a text file"),
        (b"\x81\x02\xff\xfe" * 9, "not a text file"),
        (b"<!DOCTYPE html>\n<html>", "is a page of HTML"),
        (b"# a\n# b\n", "empty or has comments only"),
        (b"a,b,y\n1,2,0\n2,3\n", r"line 3: 2 values where the others have 3"),
        (b"a,b,y\n1,2,0\n2,3,1,7\n", r"line 3: 4 values where the others have 3"),
        (b"Report\n\na,b,y\n1,2,0\n2,3,1\n", "has 1 values, the next ones have 3.*remove lines"),
        (b'a,b,y\n1,2,0\n1,"2,0\n2,3,1\n', "is a quotation mark not closed"),
        (b'a,y\n1,"' + b"x" * 200_000 + b"\n", "field larger"),
        (b"a,b\n1,2\n" * 2, "columns: 'a', 'b'"),
    ],
)
def test_what_is_no_table(tmp_path, contents, message):
    with pytest.raises(ValueError, match=message) as error:
        load(tmp_path, contents, target="y")
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(str(tmp_path / "a.csv"))


# --- against pandas


@pytest.mark.parametrize("smallest", [0, 1 << 60], ids=["pyarrow", "numpy"])
@pytest.mark.parametrize("seed", range(30))
def test_as_pandas_wrote_it(tmp_path, monkeypatch, seed, smallest):
    """Random tables in random layouts, all found without being told."""
    monkeypatch.setattr(arrow, "SMALLEST", smallest)
    rng = np.random.default_rng(seed)
    n, columns = int(rng.integers(3, 300)), {}
    for k in range(rng.integers(1, 6)):
        columns[f"name {k}"] = [
            rng.normal(size=n).round(rng.integers(1, 12)),
            rng.integers(-50, 9999, n),
            rng.integers(0, 2, n).astype(bool),
            10.0 ** rng.integers(-20, 20, n) * rng.normal(size=n),
            np.where(np.arange(n) % 5 == 2, np.nan, rng.normal(size=n)),
        ][rng.integers(5)]
    words = ["cat", "a b", "x;y", "p,q", 'say "hi"', "é", "two\nlines", "#1", "3rd"]
    columns["kind"] = np.array(rng.permutation(words)[:3])[np.arange(n) % 3]
    frame = pd.DataFrame(columns)
    header = bool(rng.integers(2))
    separator = str(rng.choice([",", ";", "\t", "|"]))
    frame.to_csv(
        tmp_path / "a.csv",
        sep=separator,
        decimal="." if separator == "," else str(rng.choice([".", ","])),
        header=header,
        index=header and bool(rng.integers(2)),
        quoting=int(rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
        encoding=str(rng.choice(["utf-8", "utf-16", "latin-1"])),
        lineterminator=str(rng.choice(["\n", "\r\n"])),
        na_rep=str(rng.choice(["", "NA", "-"])),
    )
    target = "kind" if header else len(columns) - 1
    data = datasets.load(tmp_path / "a.csv", target=target, gaps="drop")
    X = frame.drop(columns="kind").astype(float)
    whole = X.notna().all(axis=1)
    np.testing.assert_array_equal(data.X, X[whole])
    assert data.y.tolist() == frame["kind"][whole].tolist()


@pytest.mark.parametrize("library", ["pyarrow", "numpy"])
def test_long_files_are_read_by_a_library(tmp_path, monkeypatch, library):
    """Python's csv module, several times slower, only reads what the others refuse."""

    if library == "pyarrow":
        pytest.importorskip("pyarrow")

    def refused(*args):
        raise AssertionError("read by the csv module")

    monkeypatch.setattr(delimited, "checked_rows", refused)
    monkeypatch.setattr(arrow, "SMALLEST", 0 if library == "pyarrow" else 1 << 60)
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(5000, 3)), columns=["a", "b", "c"])
    frame["kind"] = "x"
    if library == "numpy":
        frame.loc[3210, "kind"] = "two\nlines"
    else:
        monkeypatch.setattr(delimited, "_columns_by_numpy", refused)
    late = frame.astype({"b": object})
    late.loc[4321, "b"] = "-"  # between the lines that types are guessed by
    for table, options in (
        (frame, {}),
        (frame, {"sep": ";", "decimal": ","}),
        (late, {}),
        (late, {"sep": "\t", "quoting": csv.QUOTE_ALL} if library == "numpy" else {}),
    ):
        table.to_csv(tmp_path / "a.csv", index=False, **options)
        data = datasets.load(tmp_path / "a.csv", target="kind", gaps="drop")
        whole = (table != "-").all(axis=1)
        np.testing.assert_array_equal(data.X, frame.drop(columns="kind")[whole])


def test_both_libraries_read_the_same(tmp_path, monkeypatch):
    """Cells that are numbers to one parser and not to another."""
    words = (
        "1 2.5 +3 -0.0 1. .5 1e5 1e400 1e-400 inf -Inf nan NaN NA N/a - . ? 1_0 0x1 1d5 0123 \u0662"
    )
    rng = np.random.default_rng(0)
    for _ in range(200):
        words_of = [rng.choice(words.split(), rng.integers(1, 4)) for _ in range(3)]
        rows = [",".join(rng.choice(some) for some in words_of) for _ in range(rng.integers(1, 9))]
        (tmp_path / "a.csv").write_text("a,b,c\n" + "\n".join(rows), encoding="utf-8")
        tables = []
        for smallest in (0, 1 << 60):
            monkeypatch.setattr(arrow, "SMALLEST", smallest)
            tables.append(read(tmp_path / "a.csv", Format(header=True)))
        for left, right in zip(tables[0].columns, tables[1].columns, strict=True):
            assert left.dtype == right.dtype, rows
            np.testing.assert_array_equal(left, right, err_msg=str(rows))
