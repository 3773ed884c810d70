"""Class labels that look like numbers: kept as texts where they are texts, otherwise explained."""

import io

import numpy as np
import pandas as pd
import pytest

import fastnn

QUICK = ["--epochs", "3", "--hidden", "4", "--backend", "numpy", "--no-plots", "--no-report"]


def table(*labels, towns=False):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=60).round(2), "z": rng.normal(size=60).round(2)})
    if towns:
        frame["town"] = ["Ulm", "Bonn", "Kiel"] * 20
    return frame.assign(code=np.array(labels)[np.digitize(frame["x"], [-0.4, 0.4])])


def accuracy(frame, rows=slice(None)):
    model = fastnn.load("m/model.safetensors", backend="numpy")
    X = frame.drop(columns="code") if hasattr(model, "encoding") else frame[["x", "z"]].to_numpy()
    return np.mean((model.predict(X) == frame["code"])[rows])


@pytest.mark.parametrize("towns", [False, True], ids=["numbers", "texts"])
@pytest.mark.parametrize("extension", ["csv", "parquet"])
def test_leading_zeros_of_classes(run, run_json, towns, extension):
    frame, name = table("01", "02", "010", towns=towns), f"t.{extension}"
    frame.to_csv("t.csv", index=False)
    frame.to_parquet("t.parquet")
    text = run("train", name, "--target", "code", *QUICK)[1]
    assert "is read as " in text
    assert "(--column code=category keeps zeros)" in text
    assert "3 classes: 1, 2, 10" in text
    kinds = ["--column", "code=category"]
    text = run("train", name, "--target", "code", *kinds, *QUICK, "--out", "m")[1]
    assert "3 classes: 01, 010, 02" in text
    assert "zeros)" not in text
    for data in ("t.csv", "t.parquet"):
        assert run_json("evaluate", "m", data)["accuracy"] == accuracy(frame)
    out = pd.read_csv(io.StringIO(run("predict", "m", name)[1]), dtype=str)
    assert set(out["prediction"]) <= {"01", "02", "010"}
    assert run("train", "--resume", "m", "--epochs", "4")[0] == 0
    assert run_json("evaluate", "m", name)["accuracy"] == accuracy(frame)


@pytest.mark.parametrize("towns", [False, True], ids=["numbers", "texts"])
def test_rows_whose_labels_are_numbers_among_words(run, run_json, towns):
    frame = table("1", "2", "x", towns=towns)
    frame.to_csv("t.csv", index=False)
    run("train", "t.csv", "--target", "code", *QUICK, "--out", "m")
    for label in ("1", "x"):
        rows = frame["code"] == label
        frame[rows].to_csv("some.csv", index=False)
        assert run_json("evaluate", "m", "some.csv")["accuracy"] == accuracy(frame, rows)


def test_other_kinds_of_a_target_are_refused(refused):
    table("01", "02", "03").to_csv("t.csv", index=False)
    arguments = ["train", "t.csv", "--target", "code", *QUICK]
    line = refused(*arguments, "--column", "code=number")
    assert "--column code=number: 'code' is the target, which may only be a category" in line
    line = refused(*arguments, "--column", "code=category", "--task", "regression")
    assert "--column code=category: the target of a regression is a number" in line


def test_no_note_without_zeros(run):
    for labels in (("1", "2", "10"), ("0", "1", "2"), ("0.5", "0.25", "0.75"), ("a", "01", "b")):
        table(*labels).to_csv("t.csv", index=False)
        assert "keeps zeros" not in run("train", "t.csv", "--target", "code", *QUICK)[1]


def test_blanks_of_labels_in_a_parquet_file(run_json, run):
    frame = table(" a", "b ", "c")
    frame.to_parquet("t.parquet")
    run("train", "t.parquet", "--target", "code", *QUICK, "--out", "m")
    assert run_json("evaluate", "m", "t.parquet")["accuracy"] == accuracy(frame)
