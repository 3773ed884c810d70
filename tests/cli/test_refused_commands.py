"""Commands that are refused or explained: tables that do not suit, memory, missing libraries."""

import numpy as np
import pandas as pd
import pytest

from fastnn.cli import tables, training

QUICK = ["--target", "y", "--epochs", "2", "--backend", "numpy", "--no-plots", "--no-report"]


@pytest.fixture(autouse=True)
def _tables(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=40).round(3), "kind": list("abcd") * 10})
    frame["y"] = (frame["x"] > 0).map({True: "yes", False: "no"})
    frame.to_csv("t.csv", index=False)
    frame.assign(x=[None, 1.0] * 20, kind=["a", None] * 20).to_csv("gaps.csv", index=False)
    frame.assign(day=pd.date_range("2024-01-01", periods=40)).to_parquet("days.parquet")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["iris", "--column", "x=number"], "iris is built in; --column is for files"),
        (["t.csv", "--ignore", "z"], "there is no column 'z' to ignore; columns: 'x', 'kind'"),
        (["gaps.csv", "--gaps", "drop"], "gaps.csv: no row is without gaps; --gaps fill takes"),
        (["gaps.csv", "--gaps", "error"], "gaps.csv: column 'x' has a missing value in line 2; "),
    ],
)
def test_tables_that_do_not_suit(refused, tmp_path, arguments, message):
    options = QUICK if arguments[0].endswith(".csv") else []
    assert message in refused("train", *arguments, *options, "--out", "r")
    assert not (tmp_path / "r").exists()


def test_encoded_columns_that_are_too_many(refused, monkeypatch):
    monkeypatch.setattr(tables, "MAX_NUMBERS", 150)
    line = refused("train", "t.csv", *QUICK, "--out", "r")
    assert "rows of 5 encoded columns are too many; 'kind' alone makes 4" in line


def test_many_columns_are_not_all_listed(run):
    frame = pd.read_csv("t.csv")
    texts = {f"kind {k:02d}": frame["kind"] for k in range(tables.MAX_ROWS + 3)}
    frame.assign(**texts).to_csv("wide.csv", index=False)
    code, out, _ = run("train", "wide.csv", *QUICK, "--preset", "plain", "--out", "r")
    assert code == 0
    assert "column             and 4 more (fastnn info MODEL)\n" in out  # with "kind"
    assert run("info", "r")[1].count("kind ") >= tables.MAX_ROWS + 3


def test_a_column_of_dates_is_encoded(run_json):
    columns = run_json("train", "days.parquet", *QUICK, "--out", "r")["columns"]
    assert columns["day"]["becomes"].startswith("date, as ")


def test_gaps_of_an_archive_are_filled(run_json, refused):
    X = np.random.default_rng(0).normal(size=(40, 3))
    y = (X[:, 0] > 0).astype(int)
    X[::5, 1] = np.nan
    np.savez("gaps.npz", X=X, y=y)
    options = ["--epochs", "2", "--backend", "numpy", "--no-plots", "--no-report"]
    result = run_json("train", "gaps.npz", *options, "--out", "r")
    assert "missing" in result["columns"]["x1"]["becomes"]
    assert result["samples"] == 32
    assert "missing" in refused("train", "gaps.npz", *options, "--gaps", "error", "--out", "r2")


def test_infinite_values_of_a_table_to_evaluate(run, refused):
    assert run("train", "t.csv", *QUICK, "--out", "r")[0] == 0
    frame = pd.read_csv("t.csv")
    frame.loc[2, "x"] = np.inf
    frame.to_csv("infinite.csv", index=False)
    assert refused("evaluate", "r", "infinite.csv").startswith("fastnn: infinite.csv: column 'x' ")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "not enough memory"),
        (ModuleNotFoundError("No module named 'numba'", name="numba"), "numba"),
        (OSError("an error of a library"), "an error of a library"),
        (ValueError(), "ValueError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_errors_while_a_command_runs(refused, monkeypatch, error, message):
    def fail(*arguments, **settings):
        raise error

    monkeypatch.setattr(training, "train", fail)
    assert message in refused("train", "t.csv", *QUICK)


def test_faults_of_our_own_are_not_hidden(run, monkeypatch):
    def fail(*arguments, **settings):
        raise RuntimeError("a fault")

    monkeypatch.setattr(training, "train", fail)
    with pytest.raises(RuntimeError, match="a fault"):
        run("train", "t.csv", *QUICK)


SEARCH = ["--trials", "2", "--folds", "2", "--epochs", "2", "--backend", "numpy", "--threads", "1"]


def test_searches_without_hidden_layers_and_without_an_ensemble(run, refused):
    plain = ["search", "iris", "--preset", "plain", *SEARCH]
    code, out, _ = run(*plain, "--hidden", "none", "--out", "s")
    assert code == 0
    assert " none " in out
    code, out, _ = run("search", "t.csv", "--target", "y", *SEARCH, "--ensemble", "0", "--out", "e")
    assert code == 0
    assert "one network with the best settings (--ensemble 0)" in out
    frame = pd.read_csv("t.csv")
    frame.assign(y="yes")[["x", "y"]].to_csv("one.csv", index=False)
    line = refused("search", "one.csv", "--target", "y", *SEARCH, "--preset", "plain")
    assert "in all 40 rows; there is nothing to learn" in line
