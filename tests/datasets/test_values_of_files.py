"""The very values of built-in data and of files in odd layouts."""

import contextlib

import numpy as np
import pandas as pd
import pytest

from fastnn import datasets
from fastnn.datasets import builtin
from fastnn.datasets.layout import Format
from fastnn.datasets.reading import read
from fastnn.tables.columns import columns_of
from fastnn.tables.streams import open_stream

N = 20_000  # means are right to 1 / sqrt(N / 4), about 0.014


def test_blobs_lie_where_they_should():
    X, y = builtin.blobs(N, 3)
    centres = [(-2.5, -1.0), (0.0, 2.5), (2.5, -1.0), (0.0, -4.0)]
    for k, centre in enumerate(centres):
        np.testing.assert_allclose(X[y == k].mean(axis=0), centre, atol=0.06)
        np.testing.assert_allclose(X[y == k].std(axis=0), 1.0, atol=0.06)


def test_circles_have_their_radii():
    X, y = builtin.circles(N, 3)
    for k, radius in enumerate((1.0, 0.5)):
        squares = (X[y == k] ** 2).sum(axis=1)
        assert squares.mean() == pytest.approx(radius**2 + 2 * 0.1**2, abs=0.01)
    assert X.mean(axis=0) == pytest.approx([0, 0], abs=0.03)


def test_quantiles_are_rings_of_a_normal_distribution():
    """A third of it lies within sqrt(-2 log(2/3)), two within sqrt(-2 log(1/3))."""
    X, y = builtin.quantiles(N, 3)
    radius = np.hypot(*X.T)
    assert np.bincount(y) == pytest.approx(np.full(3, N / 3), abs=2)
    for k, share in ((0, 2 / 3), (1, 1 / 3)):
        edge = np.sqrt(-2 * np.log(share))
        assert radius[y == k].max() == pytest.approx(edge, abs=0.02)
        assert radius[y == k + 1].min() == pytest.approx(edge, abs=0.02)
    assert X.mean(axis=0) == pytest.approx([0, 0], abs=0.03)


@pytest.mark.parametrize("name", ["iris", "digits", "moons", "blobs"])
def test_scale_and_labels(name):
    found = datasets.load(name)
    assert found.scale == (16.0 if name == "digits" else 1.0)
    assert found.y.dtype.kind == ("U" if name == "iris" else "i")
    if name != "iris":
        assert found.y.dtype == np.int64


def test_tabs_among_spaces(tmp_path):
    path = tmp_path / "a.dat"
    path.write_text(" 1 \t 2\t3\n4   5 6  \n\t7\t 8 9\n")
    table = read(path)
    np.testing.assert_array_equal(np.column_stack(table.columns), np.arange(1, 10).reshape(3, 3))


def test_a_column_that_is_called_like_a_comment(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("#,a,b\n1,2,3\n4,5,6\n")
    table = read(path)
    assert table.names == ["#", "a", "b"]
    np.testing.assert_array_equal(np.column_stack(table.columns), [[1, 2, 3], [4, 5, 6]])


def test_lines_are_counted_from_the_start_of_the_file(tmp_path):
    """With blank ones and a declared separator above the names."""
    path = tmp_path / "a.csv"
    path.write_text("\nsep=;\n\na;y\n1;2\n3\n")
    with pytest.raises(ValueError, match=r"a\.csv, line 6: "):
        read(path)


def test_underscores_are_no_numbers(tmp_path):
    """Python's float takes them."""
    path = tmp_path / "a.csv"
    path.write_text("a,y\n" + "1_0,1\n2_5,0\n" * 3)
    assert read(path)["a"].tolist() == ["1_0", "2_5"] * 3


def test_names_in_a_comment_of_a_later_line(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("\n\n# width, height\n1,2\n3,4\n")
    table = read(path)
    assert table.names == ["width", "height"]
    assert any("names in the comment of line 3" in note for note in table.notes)
    np.testing.assert_array_equal(table["height"], [2, 4])
    path.write_text("# width, height\n1,2\n3,4\n")
    assert any("names in the comment of line 1" in note for note in read(path).notes)


def test_kinds_of_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    columns = {
        "words": pa.array(["b", "a", None]).dictionary_encode(),
        "numbers": pa.array([7, 5, 7]).dictionary_encode(),
        "truth": pa.array([True, False, True]),
        "gaps": pa.array([True, None, False]),
        "whole": pa.array([1, 2, 3], pa.uint16()),
        "lacking": pa.array([1, None, 3]),
    }
    pyarrow.parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    table = read(tmp_path / "a.parquet")
    assert table["words"].tolist() == ["b", "a", None]
    for name, values in (
        ("numbers", [7, 5, 7]),
        ("truth", [1, 0, 1]),
        ("gaps", [1, np.nan, 0]),
        ("whole", [1, 2, 3]),
        ("lacking", [1, np.nan, 3]),
    ):
        assert table[name].dtype.kind in "fib", name
        np.testing.assert_array_equal(table[name], values)


def test_whole_numbers_are_classes_of_any_file(tmp_path):
    """A text cannot say which type a 1 has, an archive does: both have the same labels."""
    (tmp_path / "a.csv").write_text("x,y\n" + "1.5,1.0\n2.5,0\n" * 4)
    np.savez(tmp_path / "a.npz", x=[1.5, 2.5] * 4, y=np.array([1.0, 0.0] * 4))
    for name in ("a.csv", "a.npz"):
        found = datasets.load(tmp_path / name, target="y")
        assert (found.task, found.y.dtype) == ("classification", np.int64)
        found = datasets.load(tmp_path / name, target="y", task="regression")
        assert found.y.dtype == np.float64


def test_the_word_among_numbers_is_named(tmp_path):
    np.savez(tmp_path / "a.npz", x=[1.5, 2.5, 3.5], y=np.array(["1", "2.5", "many"]))
    with pytest.raises(ValueError, match=r"target 'y' is not numeric \('many'\); words are for"):
        datasets.load(tmp_path / "a.npz", target="y", task="regression")


@pytest.mark.parametrize("separator", [";", ",", "\t", " "])
@pytest.mark.parametrize("decimal", [".", ","])
def test_both_decimal_signs(tmp_path, separator, decimal):
    """With gaps, words with the sign in them, and a first row that is no usual one."""
    if separator == decimal:
        return
    values = np.random.default_rng(0).normal(size=(60, 2)).round(3)
    lines = [separator.join(["a", "b", "word"])]
    for k, (one, two) in enumerate(values.tolist()):
        cells = [str(one).replace(".", decimal), str(two).replace(".", decimal)]
        if k == 40:
            cells[1] = "NA"
        lines.append(separator.join([*cells, f"v{decimal}{k % 3}"]))
    (tmp_path / "a.csv").write_text("\n".join([*lines, ""]))
    table = read(tmp_path / "a.csv")
    np.testing.assert_array_equal(table["a"], values[:, 0])
    expected = values[:, 1].copy()
    expected[40] = np.nan
    gap = table["b"]
    if gap.dtype == object:
        gap = np.array([np.nan if v is None else float(v.replace(decimal, ".")) for v in gap])
    np.testing.assert_array_equal(gap, expected)
    assert table["word"].tolist() == [f"v{decimal}{k % 3}" for k in range(60)]


@pytest.mark.parametrize("extension", ["parquet", "feather"])
def test_periods_and_intervals_of_pandas(tmp_path, extension):
    """As in the data frame: periods are dates, intervals are categories."""
    periods = pd.PeriodIndex([*pd.period_range("2020-01", periods=11, freq="M"), pd.NaT])
    ranges = pd.cut(np.arange(12.0), 3).astype(pd.IntervalDtype("float64", "right"))
    frame = pd.DataFrame({"month": periods, "range": ranges, "x": np.arange(12.0) ** 2})
    path = tmp_path / f"t.{extension}"
    getattr(frame, f"to_{extension}")(path)
    columns = columns_of(read(path))
    for column, expected in zip(columns, columns_of(frame), strict=True):
        np.testing.assert_array_equal(column.values, expected.values)
    assert columns[0].values[1] == np.datetime64("2020-02-01")
    if extension == "parquet":
        with contextlib.closing(open_stream(str(path), Format())) as stream:
            parts = [columns_of(part.table) for part in stream.parts(5)]
        for k, column in enumerate(columns):
            joined = np.concatenate([part[k].values for part in parts])
            np.testing.assert_array_equal(joined, column.values)
