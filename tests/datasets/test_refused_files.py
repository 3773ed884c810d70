"""Files that cannot be read as they are: one line that says of what and why."""

import errno
import gzip
import io
import re
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fastnn import datasets
from fastnn.datasets import arrow, mnist, npz, write_atomically
from fastnn.datasets.columns import choose_columns
from fastnn.datasets.delimited import read_delimited
from fastnn.datasets.layout import Format
from fastnn.datasets.loading import dataset_of, features_of
from fastnn.datasets.reading import read

X, Y = np.arange(12.0).reshape(6, 2), np.arange(6) % 2


def saved(path, **arrays):
    np.savez(path, **arrays)
    return path


# --- NPZ --------------------------------------------------------------------------


def test_a_header_of_another_version(tmp_path):
    """NumPy writes version 2.0 where the header is long."""
    contents = io.BytesIO()
    with zipfile.ZipFile(contents, "w") as archive:
        for name, array in (("X", X), ("y", Y)):
            member = io.BytesIO()
            np.lib.format.write_array(member, array, version=(2, 0))
            archive.writestr(f"{name}.npy", member.getvalue())
    (tmp_path / "a.npz").write_bytes(contents.getvalue())
    found = datasets.load(tmp_path / "a.npz")
    np.testing.assert_array_equal(found.X, X)
    np.testing.assert_array_equal(found.y, Y)


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        (
            {"X": X, "y": np.array([1, "a"] * 3, object)},
            "not a NumPy archive .* of plain numbers and strings",
        ),
        ({"a": X, "y": Y}, r"must be a column of the same length; 'a' has shape \(6, 2\)"),
        ({"y": Y, "a": X[:2, 0]}, r"of the same length; 'a' has shape \(2,\)"),
        ({"X": X[:, 0], "y": Y}, r"X must be 2-D \(samples, features\); got shape \(6,\)"),
        ({"X": X[:0], "y": Y[:0]}, "there are no rows"),
        ({"X": X, "y": Y[:3]}, "6 .*3"),
        ({"X": X, "y": np.array(3.0)}, "6 .*none"),
        ({"X": X.astype("U4"), "y": Y}, "X must be numbers; got dtype <U4"),
        ({"X": X, "y": np.full(6, np.nan)}, "target 'y' has no values"),
        ({"X": X, "y": np.array(["2024-01-01"] * 6, "M8[D]")}, "target 'y' has dates"),
        ({"X": X, "y": np.zeros((6, 2))}, r"target 'y' must be 1-D; got shape \(6, 2\)"),
        ({"X": np.where(X == 5, np.inf, X), "y": Y}, "column 'x1' has an infinite value in row 3"),
        ({"X": np.where(X == 6, -np.inf, X), "y": Y}, "column 'x0' has an infinite value in row 4"),
    ],
)
def test_arrays_that_make_no_data_set(tmp_path, arrays, match):
    path = saved(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: .*{match}"):
        datasets.load(path)


def test_errors_of_the_disk_are_passed_on(tmp_path, monkeypatch):
    """They are not taken for a damaged file."""
    path = saved(tmp_path / "a.npz", X=X, y=Y)

    def fails(*arguments):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(npz, "_array", fails)
    with pytest.raises(OSError, match="Input/output error"):
        datasets.load(path)


def test_a_matrix_for_a_network_with_other_features(tmp_path):
    table = read(saved(tmp_path / "a.npz", X=X, y=Y))
    with pytest.raises(ValueError, match=r"a\.npz: X has 2 columns; the network .* 3$"):
        features_of(table, ["a", "b", "c"])
    found, notes = features_of(table, ["a", "b"])
    np.testing.assert_array_equal(found, X)
    assert notes == []
    table = read(saved(tmp_path / "b.npz", X=np.where(X == 3, np.nan, X), y=Y))
    with pytest.raises(ValueError, match=r"'b' .*row 2"):
        features_of(table, ["a", "b"])
    assert np.isnan(features_of(table, ["a", "b"], gaps="keep")[0]).sum() == 1


def test_more_targets_than_rows(tmp_path):
    table = read(saved(tmp_path / "a.npz", X=X, other=Y, y=Y))
    table = replace(table, X=X[:4])
    with pytest.raises(ValueError, match=r"a\.npz: X has 4 rows, 'y' has 6"):
        dataset_of(table, "y")


def test_what_a_data_set_says_of_itself(tmp_path):
    found = datasets.load(saved(tmp_path / "a.npz", X=X, y=Y))
    assert repr(found).endswith("X: 6 x 2 float64, classification, target 'y')")
    found = datasets.load(saved(tmp_path / "b.npz", X=X, y=X[:, 0] * 1e300), task="regression")
    found.check_range(np.float64)
    with pytest.raises(ValueError, match=r"'y'.* float32"):
        found.check_range(np.float32)


# --- kinds of files ---------------------------------------------------------------


def test_folders_and_unknown_kinds(tmp_path):
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(ValueError, match=r"a\.csv: is a folder, not a file$"):
        read(tmp_path / "a.csv")
    (tmp_path / "a.ods").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"a\.ods: unknown kind of file; built in are .*gz"):
        read(tmp_path / "a.ods")
    for name in ("a.xlsx", "a.feather", "a.jsonl"):
        (tmp_path / name).write_bytes(b"PK")
        with pytest.raises(ValueError, match=rf"{name}: damaged, or not "):
            read(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="no data set and no file 'mons'; built in"):
        read(Path("mons"))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("a,b\n", "there are no rows"),
        ("a,a\n1,2\n", "two columns are called 'a'"),
        ("<html><table><tr></table>", "is a page of HTML or XML, not a table"),
        ('[{"a": 1}, {"a": 2}]', r"is JSON; of a list of records pandas\.read_json makes a table"),
        ('{"a": [1, 2]}', "is JSON"),
        ("a,b\n1,\x002\n", r"not a text file \(it has zero bytes\); name another with --encoding"),
    ],
)
def test_texts_that_are_no_tables(tmp_path, text, match):
    path = tmp_path / "a.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: {match}"):
        datasets.load(path, target=-1)


def test_zero_bytes_in_a_named_encoding(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"a,b\n1,\x002\n")
    with pytest.raises(ValueError, match=r"a\.csv: not a text file, or not in cp1252"):
        read(tmp_path / "a.csv", Format(encoding="cp1252"))


def test_bytes_that_no_other_encoding_has(tmp_path):
    """Windows-1252 lacks five bytes, which Latin-1 has."""
    path = tmp_path / "a.csv"
    for byte, name, text in ((b"\xfc", "Windows-1252", "ü"), (b"\x81", "Latin-1", "\x81")):
        path.write_bytes(b"word,y\nx" + byte + b",1\nz,2\n")
        table = read(path)
        assert table["word"].tolist() == [f"x{text}", "z"]
        assert f"a.csv is read as {name}" in table.notes[0]
        assert "as line 2 is not UTF-8" in table.notes[0]
    path.write_bytes(b"a,b\n1,\x01\xfc\n")
    with pytest.raises(ValueError, match=r"not a text file \(byte 8 is not UTF-8\)"):
        read(path)


def test_a_cell_of_a_file_without_lines(tmp_path):
    """Of an archive the row counts, and the value stands for the cell."""
    table = read(saved(tmp_path / "a.npz", a=X[:, 0], y=Y))
    assert table.where(1) == "row 2"
    assert table.shown("a", 1) == "2.0"
    (tmp_path / "a.csv").write_text("a,y\n1,2\n\n007,4\n")
    table = read(tmp_path / "a.csv")
    assert table.where(1) == "line 4"
    assert table.shown("a", 1) == "'007'"


# --- which columns are the features -----------------------------------------------


@pytest.mark.parametrize(
    ("names", "features", "match"),
    [
        (["a", "c"], ["a", "b"], "there is no column 'b', which .*; the file has 'a', 'c'"),
        (
            ["0", "1", "2"],
            ["a", "b"],
            "3 columns; .* 2, .* since the file has no names",
        ),
        (["a", "b", "c"], ["0", "1"], "3 columns; .* 2, .* the network knows no names"),
    ],
)
def test_columns_that_do_not_fit(names, features, match):
    with pytest.raises(ValueError, match=rf"^f\.csv: {match}"):
        choose_columns(names, features, Path("f.csv"))


def test_columns_in_order():
    path = Path("f.csv")
    named, plain = ["a", "b"], ["0", "1"]
    assert choose_columns(plain, named, path) == (
        plain,
        ["f.csv has no column names: columns are taken in order"],
    )
    assert choose_columns(named, plain, path) == (
        named,
        ["the network knows no column names: those of f.csv are taken in order"],
    )
    assert choose_columns(["0", "1", "2"], ["1", "3"], path, "2") == (["0", "1"], [])
    assert choose_columns(plain, ["1", "2"], path, "0") == (plain, [])


# --- writing ----------------------------------------------------------------------


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(NotADirectoryError) as error:
        write_atomically(tmp_path / "a" / "b", b"")
    assert error.value.filename == str(tmp_path / "a")
    assert error.value.errno == errno.ENOTDIR


def test_an_error_without_a_number(tmp_path, monkeypatch):
    """Python's own, such as of a name with a zero byte, stay as they are."""

    def fails(*arguments):
        raise OSError("no more")

    monkeypatch.setattr("os.replace", fails)
    with pytest.raises(OSError, match=r"^no more$"):
        write_atomically(tmp_path / "a", b"")
    assert list(tmp_path.iterdir()) == []


# --- large files, and MNIST -------------------------------------------------------


def test_large_files_without_pyarrow(tmp_path, monkeypatch):
    """NumPy reads the same numbers."""
    monkeypatch.setattr(arrow, "SMALLEST", 0)
    path = tmp_path / "a.csv"
    path.write_text("a,b,word\n" + "".join(f"{k}.5,{k / 7},w{k % 3}\n" for k in range(50)))
    usual = read_delimited(path, Format())
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    without = read_delimited(path, Format())
    for name in ("a", "b", "word"):
        np.testing.assert_array_equal(usual[name], without[name])


class Response:
    """What pooch would have retrieved."""

    def __init__(self, contents):
        self.contents = contents

    def __call__(self, url, known_hash, name, folder, downloader):
        assert (known_hash, downloader.kwargs["timeout"]) == (None, 20)
        self.url = url
        path = Path(folder) / name
        path.write_bytes(self.contents)
        return str(path)


def test_a_download(monkeypatch):
    pooch = pytest.importorskip("pooch")
    level = pooch.get_logger().level
    retrieved = Response(b"what is there")
    monkeypatch.setattr(pooch, "retrieve", retrieved)
    assert mnist.download("https://example.org/x.gz") == b"what is there"
    assert retrieved.url == "https://example.org/x.gz"
    assert pooch.get_logger().level == level


def test_wrong_contents_of_a_mirror(tmp_path, monkeypatch):
    monkeypatch.setattr(mnist, "download", lambda url: gzip.compress(b"nothing"))
    name = "t10k-labels-idx1-ubyte"
    with pytest.raises(FileNotFoundError, match=r"could not be downloaded \(.*wrong contents"):
        mnist.contents_of(name, [tmp_path])
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / name).write_bytes(b"damaged")
    with pytest.raises(ValueError, match=f"{name} is damaged: .* not MNIST's {name}$"):
        mnist.contents_of(name, [tmp_path / "own", tmp_path])
    assert mnist.cache_dir().name == "fastnn"
