"""Files read in parts are the tables that they are when read at once."""

import bz2
import gzip
import lzma

import numpy as np
import pandas as pd
import pytest

from fastnn.datasets.layout import Format
from fastnn.datasets.reading import read
from fastnn.tables import streams
from fastnn.tables.streams import open_stream
from fastnn.tables.table_writer import TableWriter, whole

TEXTS = {
    "plain": "a,b,y\n1,x,0\n2,,1\n,z,0\n",
    "bom": "\ufeffa,b\n1,x\n2,y\n",
    "windows": "a,b\r\n1,x\r\n2,y\r\n",
    "declared": "sep=;\na;b\n1,5;x\n2,5;y\n",
    "commas": "a;b\n1,5;x\n2.000,25;y\n",
    "comment": "# made by hand\na,b\n1,x\n2,y\n",
    "names in a comment": "# a b\n1 2\n3 4\n5 6\n",
    "blanks": "a  b\n 1   2\n 3   4\n",
    "tabs": "a\tb\n1\tx y\n2\t\n",
    "trailing": "a;b;\n1;2;\n3;4;\n",
    "trailing in rows": "a;b\n1;2;\n3;4;\n",
    "no names": "1,x,2.5\n2,y,3.5\n",
    "quoted": 'a,b\n1,"x, ""y""\nz"\n2,"w"\n',
    "unnamed": ",a\n0,5\n1,6\n2,7\n",
    "blank lines": "a,b\n\n1,x\n\n2,y\n\n",
    "currency": "a,b\n$1,x\n$2.50,y\n",
    "no end": "a,b\n1,x\n2,y",
}


def columns_of(stream, size):
    """All parts of a stream as lists."""
    found = [[] for _ in stream.names]
    rows = []
    for part in stream.parts(size):
        assert part.table.names == stream.names
        for k, column in enumerate(part.table.columns):
            found[k] += column.tolist()
        rows += [list(row) for row in part.rows]
    stream.close()
    return found, rows


def same(a, b):
    """Equal cells; a number may be a text where other parts of its column have texts."""
    if isinstance(a, float) and isinstance(b, float) and np.isnan(a) and np.isnan(b):
        return True
    return a == b


@pytest.mark.parametrize("name", TEXTS)
def test_texts_in_parts(tmp_path, name):
    path = tmp_path / "t.csv"
    path.write_text(TEXTS[name], encoding="utf-8", newline="")
    table = read(path, Format())
    stream = open_stream(str(path), Format())
    assert stream.names == table.names
    found, rows = columns_of(stream, 100)
    for column, expected in zip(found, table.columns, strict=True):
        assert all(map(same, column, expected.tolist()))
        assert len(column) == len(expected) == len(rows)
    again = columns_of(open_stream(str(path), Format()), 1)[1]
    assert again == rows


@pytest.mark.parametrize("pack", [gzip, bz2, lzma])
def test_packed_texts_that_are_longer_than_the_head(tmp_path, monkeypatch, pack):
    monkeypatch.setattr(streams, "HEAD", 1000)
    frame = pd.DataFrame({"a": np.arange(500), "b": [f"ä {k}\n" for k in range(500)]})
    path = tmp_path / ("t.csv" + {"gzip": ".gz", "bz2": ".bz2", "lzma": ".xz"}[pack.__name__])
    path.write_bytes(pack.compress(frame.to_csv(index=False).encode()))
    stream = open_stream(str(path), Format())
    found, _ = columns_of(stream, 64)
    assert found[0] == frame["a"].tolist()
    assert found[1] == [text.strip() for text in frame["b"]]
    assert stream.total == path.stat().st_size


def test_bytes_of_another_encoding_behind_the_head(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "HEAD", 100)
    path = tmp_path / "t.csv"
    path.write_bytes(b"a,b\n" + b"1,x\n" * 100 + "2,é\n".encode("latin-1"))
    stream = open_stream(str(path), Format())
    with pytest.raises(ValueError, match=r"not text in utf-8 .* --encoding"):
        columns_of(stream, 10)
    stream.close()
    found, _ = columns_of(open_stream(str(path), Format(encoding="latin-1")), 10)
    assert found[1][-1] == "é"
    path.write_bytes(b"1" * 200)
    with pytest.raises(ValueError, match="no line ends in"):
        open_stream(str(path), Format())


def test_positions_grow_up_to_the_end(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "1,x\n" * 1000)
    stream = open_stream(str(path), Format())
    done = [part.done for part in stream.parts(100)]
    assert done == sorted(done)
    assert done[-1] == stream.total == path.stat().st_size
    stream.close()


def test_archives_of_arrays_in_parts(tmp_path):
    X = np.arange(12.0).reshape(6, 2)
    np.savez(tmp_path / "t.npz", X=X, y=X[:, 0])
    stream = open_stream(str(tmp_path / "t.npz"), Format())
    assert stream.names == ["x0", "x1"]
    assert columns_of(stream, 4)[0] == X.T.tolist()


def test_a_failed_writer_leaves_nothing(tmp_path):
    stream = open_stream(_file(tmp_path), Format())
    (part,) = stream.parts(10)
    stream.close()
    out = tmp_path / "out" / "o.csv"
    with pytest.raises(ValueError, match="zip"), TableWriter(out, ["a", "b", "c"]) as writer:
        writer.write(part, {"c": [1]})  # a row too few
    assert list(out.parent.iterdir()) == []
    with TableWriter(out, ["a", "b", "c"]) as writer:
        writer.write(part, {"c": [True, None]})
    assert out.read_text() == "a,b,c\n1,x,True\n2,,\n"
    with pytest.raises(NotADirectoryError):
        TableWriter(out / "o.csv", ["a"])


def _file(folder):
    path = folder / "t.csv"
    path.write_text("a,b\n1,x\n2,\n")
    return str(path)


def test_dates_and_gaps_of_parquet_as_text(tmp_path, capsys):
    frame = pd.DataFrame(
        {"day": pd.to_datetime(["2024-01-02 03:04", None]), "n": pd.array([1, None], "Int64")}
    )
    frame.to_parquet(tmp_path / "t.parquet")
    stream = open_stream(str(tmp_path / "t.parquet"), Format())
    with TableWriter(None, [*stream.names, "p"]) as writer:
        for part in stream.parts(1):
            writer.write(part, {"p": [0.5]})
    stream.close()
    assert capsys.readouterr().out == "day,n,p\n2024-01-02 03:04:00,1,0.5\n,,0.5\n"


def test_whole_numbers():
    assert whole(np.array([1.0, 2.0])).dtype == np.int64
    assert whole(np.array([1.0, np.nan])).tolist() == [1, None]
    assert whole(np.array([1.5, np.nan]))[0] == 1.5
    assert whole(np.array([2.0**60])).dtype == np.float64
    texts = np.array(["a"], object)
    assert whole(texts) is texts
