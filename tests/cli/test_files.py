"""Files as people have them, from training to prediction."""

import csv
import io
import json

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_wine

from fastnn import cli, storage


@pytest.fixture
def wine(tmp_path, monkeypatch):
    """178 rows with one gap, written with an index, semicolons and decimal commas."""
    monkeypatch.chdir(tmp_path)
    frame = load_wine(as_frame=True).frame
    frame.loc[5, "hue"] = np.nan
    frame.to_csv("wine.csv", sep=";", decimal=",")
    return frame


def fastnn(capsys, *arguments):
    code = cli.main(list(arguments))
    out, err = capsys.readouterr()
    return code, out, err


def test_one_gap_and_an_index(wine, capsys):
    code, out, err = fastnn(
        capsys,
        *("train", "wine.csv", "--target", "target", "--epochs", "30", "--out", "run"),
        *("--gaps", "drop"),
    )
    assert (code, err) == (0, "")
    assert "semicolons between the values, decimal commas" in out
    assert "they only count or name the rows: 'Unnamed: 0' (--keep-index keeps them)" in out
    assert "left out 1 of 178 rows, which have gaps ('hue': 1; --gaps error refuses them)" in out
    training = storage.describe("run/model.safetensors").training
    assert training["features"] == list(wine.columns[:-1])

    # 178 rows predicted but one, from a file in another layout
    wine.drop(columns="target").to_csv("new.csv", index=False, na_rep="-")
    code, out, err = fastnn(capsys, "predict", "run", "new.csv", "--proba")
    assert code == 0
    rows = list(csv.reader(io.StringIO(out)))
    assert len(rows) == 179
    assert rows[1 + 5] == [""] * 4
    predicted = pd.read_csv(io.StringIO(out), skip_blank_lines=False)
    assert (predicted["prediction"] == wine["target"]).mean() > 0.9
    assert predicted["prediction"].isna().sum() == 1
    assert "fastnn: no prediction for 1 of 178 rows, which have gaps ('hue': 1)\n" in err
    code, out, _ = fastnn(capsys, "predict", "run", "new.csv", "--json")
    assert json.loads(out)["prediction"][4:7] == [0, None, 0]

    # the rows held out are those that were
    code, out, _ = fastnn(capsys, "evaluate", "run", "--json")
    assert json.loads(out)["what"] == "36 samples set aside"


def test_all_rows_have_gaps(wine, capsys):
    arguments = ("--target", "target", "--epochs", "1", "--gaps", "drop")
    assert fastnn(capsys, "train", "wine.csv", *arguments)[0] == 0
    wine.drop(columns=["target"]).assign(hue="?").to_csv("new.csv")
    code, out, err = fastnn(capsys, "predict", "runs/wine-1", "new.csv")
    assert (code, out.split()) == (0, ["prediction", *['""'] * 178])
    assert "no prediction for 178 of 178 rows" in err


def test_options_of_a_run_hold_for_its_file(wine, capsys):
    table = wine.dropna().round(6).reset_index(drop=True)
    table.insert(0, "number", np.arange(len(table)))
    table.insert(1, "word", "x")
    table.to_csv("own.csv", sep=":", header=False, index=False, encoding="utf-16")
    code, out, err = fastnn(
        capsys,
        *("train", "own.csv", "--target", "-1", "--epochs", "1", "--out", "run"),
        *("--separator", ":", "--no-header", "--keep-index", "--ignore", "1", "--gaps", "error"),
        *("--encoding", "utf-16", "--decimal", "."),
    )
    assert (code, err) == (0, "")
    kept = storage.describe("run/model.safetensors").training
    assert kept["features"] == ["0", *map(str, range(2, 15))]
    settings = kept["settings"]
    assert (settings["separator"], settings["header"], settings["ignore"]) == (":", False, ["1"])
    code, out, _ = fastnn(capsys, "evaluate", "run", "--json")
    assert (code, json.loads(out)["what"]) == (0, "36 samples set aside")
    # another file is read as the options say
    code, out, err = fastnn(capsys, "evaluate", "run", "own.csv")
    assert code == 2
    assert "is the separator right? (--separator" in err
    code, out, _ = fastnn(
        capsys, "evaluate", "run", "own.csv", "--separator", ":", "--no-header", "--json"
    )
    assert json.loads(out)["what"].startswith("all 177 samples")
    code, out, _ = fastnn(capsys, "train", "--config", "run/settings.toml", "--json")
    assert (code, json.loads(out)["samples"]) == (0, 141)


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("a,y\n1,0\n-,1\n", ["--gaps", "error"], "column 'a' has a missing value in line 3 ('-')"),
        ("a,b,y\n1e39,1,0\n2,2,1\n3,3,0\n4,4,1\n", ["--test", "0"], "'a' has 1e+39, too large for"),
        ("a,y\n1,0\n2,1\n", ["--separator", "xy"], "separator must be one character"),
        ("a,y\n1,0\n2,1\n", ["--decimal", "x"], "decimal must be . or ,; got 'x'"),
        ("a,y\n1,0\n2,1\n", ["--ignore", "b"], "there is no column 'b' to ignore"),
        ("age,y\n1,0\n2,1\n", ["--ignore", "ags"], "did you mean 'age'?"),
        ("a,y\n1,0\n2,1\n", ["--gaps", "mean"], "'mean'"),
        ("a,b,y\n1,2,0\n2,3\n", [], "line 3: 2 values where the others have 3"),
    ],
)
def test_bad_files_give_one_line(tmp_path, monkeypatch, capsys, text, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text(text)
    code, out, err = fastnn(capsys, "train", "a.csv", "--target", "y", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_targets_too_large_for_float32(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("a,y\n0.5,1.5e39\n2,2.5\n3,3.5\n4.5,1.5\n")
    code, out, err = fastnn(capsys, "train", "a.csv", "--target", "y", "--test", "0")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "'y' has 1.5e+39, too large for float32" in err
