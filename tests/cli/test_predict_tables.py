"""``fastnn predict RUN table.csv``: files of every kind, streams, names, errors."""

import csv
import gzip
import io
import json
import sys

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from table_cases import call, refused

import fastnn
from fastnn.tables import TableModel


def test_predictions_stand_behind_the_rows(here, people, capsys):
    out, err = call(capsys, "predict", "run", "people.csv", "--proba")
    table = pd.read_csv(io.StringIO(out))
    assert list(table) == [*people, "prediction", "probability_no", "probability_yes"]
    pd.testing.assert_frame_equal(table[list(people)], people, check_dtype=False)
    # the same as the model gives in Python
    model = fastnn.load("run/model.safetensors")
    assert isinstance(model, TableModel)
    assert model.predict(people).tolist() == table["prediction"].tolist()
    proba = model.predict_proba(people)
    np.testing.assert_allclose(table[["probability_no", "probability_yes"]], proba, rtol=1e-6)
    assert "not used" not in err
    out, _ = call(capsys, "predict", "run", "people.csv", "--no-append")
    assert out.splitlines() == ["prediction", *table["prediction"]]
    known = people["survived"].notna()
    score = json.loads(call(capsys, "evaluate", "run", "people.csv", "--json")[0])["accuracy"]
    assert score == (table["prediction"] == people["survived"])[known].mean()
    assert model.score(people, people["survived"]) == score


def write(people, name):
    """The table as the file of that name."""
    if name.endswith(".parquet"):
        people.assign(day=pd.to_datetime(people["day"])).to_parquet(name)
    elif name == "semicolons.csv":
        people.to_csv(name, index=False, sep=";", decimal=",", encoding="utf-8-sig")
    elif name == "latin.csv":
        people.to_csv(name, index=False, encoding="latin-1")
    elif name.endswith(".tsv"):
        people.to_csv(name, index=False, sep="\t")
    else:
        people.to_csv(name, index=False, na_rep="NA", quoting=csv.QUOTE_ALL)


@pytest.mark.parametrize(
    "name", ["quoted.csv", "semicolons.csv", "t.csv.gz", "t.csv.zip", "t.tsv", "t.parquet"]
)
def test_every_kind_of_file(here, people, capsys, name):
    expected = fastnn.load("run/model.safetensors").predict(people)
    reordered = people[people.columns[::-1]].drop(columns="survived")
    write(reordered, name)
    result = json.loads(call(capsys, "predict", "run", name, "--json")[0])
    assert list(result) == [*reordered, "prediction"]
    assert result["prediction"] == expected.tolist()
    assert result["PassengerId"] == people["PassengerId"].tolist()
    assert result["age"] == [None if pd.isna(v) else v for v in people["age"]]


@pytest.mark.parametrize("out", ["o.csv", "o.tsv", "o.csv.gz", "o.parquet"])
def test_files_that_are_written(here, people, capsys, out):
    expected = fastnn.load("run/model.safetensors").predict(people).tolist()
    for source in ("people.csv", "s.parquet"):
        write(people, "s.parquet")
        printed, _ = call(capsys, "predict", "run", source, "--out", out)
        assert printed == ""
        read = {"o.parquet": pd.read_parquet, "o.tsv": lambda f: pd.read_csv(f, sep="\t")}
        table = read.get(out, pd.read_csv)(out)
        assert table["prediction"].tolist() == expected
        assert table["PassengerId"].tolist() == people["PassengerId"].tolist()
        assert table["PassengerId"].dtype == np.int64
        np.testing.assert_array_equal(table["age"], people["age"])
    assert not list(here.glob(".o.*"))


def test_standard_input_and_output(here, people, capsys, monkeypatch):
    text = people.head(20).to_csv(index=False)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    out, _ = call(capsys, "predict", "run", "-")
    table = pd.read_csv(io.StringIO(out))
    expected = fastnn.load("run/model.safetensors").predict(people.head(20))
    assert table["prediction"].tolist() == expected.tolist()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert "standard input: there are no rows" in refused(capsys, "predict", "run", "-")


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16"])
@pytest.mark.parametrize("packed", [False, True])
def test_large_files_are_read_in_parts(here, people, capsys, monkeypatch, encoding, packed):
    """The head decides how a file is read; the rest of it comes in parts."""
    from fastnn.cli import predicting
    from fastnn.tables import streams

    odd = people.assign(name=[f'Pérson\n"{k}"; ä,' for k in range(len(people))])
    data = odd.to_csv(index=False).encode(encoding)
    path = here / ("large.csv.gz" if packed else "large.csv")
    path.write_bytes(gzip.compress(data) if packed else data)
    whole, _ = call(capsys, "predict", "run", path)
    monkeypatch.setattr(streams, "HEAD", 4096)
    monkeypatch.setattr(predicting, "MAX_ROWS", 90)
    parts, _ = call(capsys, "predict", "run", path)
    assert parts == whole
    table = pd.read_csv(io.StringIO(parts))
    assert table["name"].tolist() == odd["name"].tolist()
    path.unlink()


def test_parquet_in_parts(here, people, capsys, monkeypatch):
    from fastnn.cli import predicting

    write(people, "parts.parquet")
    whole, _ = call(capsys, "predict", "run", "parts.parquet")
    monkeypatch.setattr(predicting, "MAX_ROWS", 77)
    assert call(capsys, "predict", "run", "parts.parquet")[0] == whole
    call(capsys, "predict", "run", "parts.parquet", "--out", "p2.parquet")
    assert pq.read_table("p2.parquet").num_rows == len(people)
    # a column that is whole in the first part and not further down
    frame = people.assign(extra=np.where(np.arange(len(people)) < 700, 1, 0.5))
    frame.to_csv("mixed.csv", index=False)
    err = refused(capsys, "predict", "run", "mixed.csv", "--out", "p3.parquet")
    assert "has another type further down" in err
    assert not (here / "p3.parquet").exists()
    assert not list(here.glob(".p3*"))


def test_remarks_count_all_parts(here, people, capsys, monkeypatch):
    from fastnn.cli import predicting

    monkeypatch.setattr(predicting, "MAX_ROWS", 100)
    frame = people.assign(port=people["port"].where(people.index % 8 > 0, "Bonn"), more=1)
    frame.to_csv("new.csv", index=False)
    out, err = call(capsys, "predict", "run", "new.csv")
    assert "column 'port': 100 rows have categories that training did not have ('Bonn')" in err
    assert err.count("not used: 'more'") == 1
    assert out.count("\n") == 801


def test_names_that_are_taken(here, people, capsys):
    people.assign(prediction="mine").to_csv("taken.csv", index=False)
    out, _ = call(capsys, "predict", "run", "taken.csv")
    table = pd.read_csv(io.StringIO(out))
    assert set(table["prediction"]) == {"mine"}
    assert set(table["fastnn_prediction"]) == {"no", "yes"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["few.csv"], "few.csv: there is no column 'class', 'age', which the model was trained"),
        (["few.parquet"], "few.parquet: there is no column 'class', 'age'"),
        (["none.csv"], "no data set and no file 'none.csv'"),
        (["bad.csv.gz"], "damaged: cannot be unpacked"),
        (["bad.parquet"], "not a Parquet file"),
        (["ragged.csv"], "line 3: 1 values where the others have 8"),
        (["iris"], "iris is built in"),
        (["people.csv", "--out", "."], "is a folder"),
    ],
)
def test_bad_files_for_predict(here, people, capsys, arguments, message):
    few = people.drop(columns=["class", "age"])
    few.to_csv("few.csv", index=False)
    few.to_parquet("few.parquet")
    (here / "bad.csv.gz").write_bytes(gzip.compress(b"a,b\n" * 9999)[:-20])
    (here / "bad.parquet").write_bytes(b"PAR1 and no more")
    lines = people.to_csv(index=False).splitlines()
    (here / "ragged.csv").write_text("\n".join([*lines[:2], "x", *lines[2:]]))
    assert message in refused(capsys, "predict", "run", *arguments)
