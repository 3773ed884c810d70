"""``--missing``: what it prints, what the model keeps, and what is refused."""

import json

import numpy as np
import pandas as pd
import pytest
from table_cases import call, refused

import fastnn

OPTIONS = ("--target", "y", "--epochs", "2", "--no-plots", "--no-report", "--preset", "plain")
CODES = ("--missing", "-999", "--missing", "unknown", "--missing", "size=0")


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Tables with gaps (``gaps.csv``) and with codes (``codes.*``)."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    n = 80
    frame = pd.DataFrame(
        {
            "age": rng.integers(20, 60, n).astype(float),
            "town": rng.choice(["Ulm", "Rom", "Bonn"], n),
            "size": rng.normal(70, 5, n).round(1),
        }
    )
    frame["y"] = (frame["age"] + frame["size"] + 5.25).round(2)
    codes = frame.copy()
    places = {"age": [3, 10, 50], "town": [4, 40], "size": [5], "y": [7, 8]}
    for name, rows in places.items():
        frame.loc[rows, name] = None
        codes.loc[rows, name] = {"town": "unknown", "size": 0}.get(name, -999)
    frame.to_csv("gaps.csv", index=False)
    codes.to_csv("codes.csv", index=False)
    codes.to_csv("german.csv", index=False, sep=";", decimal=",")
    codes.to_parquet("codes.parquet")
    return codes


def test_the_same_as_gaps(table, capsys):
    out, err = call(capsys, "train", "gaps.csv", *OPTIONS, "--out", "a")
    again, _ = call(capsys, "train", "codes.csv", *OPTIONS, *CODES, "--out", "b")
    assert err == ""
    for text in (
        "column 'age': 3 of 80 values taken as missing (--missing: -999)\n",
        "column 'town': 2 of 80 values taken as missing (--missing: unknown)\n",
        "column 'size': 1 of 80 values taken as missing (--missing: 0)\n",
        "target 'y': 2 of 80 values taken as missing (--missing: -999)\n",
        "left out 2 of 80 rows without a target\n",
    ):
        assert text in again
    assert "caution" not in again.split("task")[0]
    loss = [line for line in out.splitlines() if line.startswith("training loss")]
    assert loss == [line for line in again.splitlines() if line.startswith("training loss")]
    call(capsys, "train", "german.csv", *OPTIONS, *CODES, "--out", "c")
    want, coded, german = (fastnn.load(f"{run}/model.safetensors") for run in "abc")
    expected = want.predict(pd.read_csv("gaps.csv"))
    for model in (coded, german):
        for given in (table, table.to_dict("list"), pd.read_csv("gaps.csv")):
            np.testing.assert_array_equal(model.predict(given), expected)
    found = []
    pairs = ("a", "gaps.csv"), ("b", "codes.csv"), ("b", "codes.parquet"), ("c", "german.csv")
    for model, data in pairs:
        call(capsys, "predict", model, data, "--out", f"{len(found)}.csv")
        found.append(
            pd.read_csv(f"{len(found)}.csv", sep=None, engine="python").iloc[:, -1].tolist()
        )
        found[-1] = [float(str(value).replace(",", ".")) for value in found[-1]]
    assert found[1:] == found[:1] * 3
    scores = [
        json.loads(call(capsys, "evaluate", model, data, "--json")[0])["r2"]
        for model, data in (("a", "gaps.csv"), ("b", "codes.csv"), ("b", "codes.parquet"))
    ]
    assert scores == scores[:1] * 3


def test_values_that_do_not_occur(table, capsys):
    options = (
        "--missing",
        "-999",
        "--missing",
        "-77",
        "--missing",
        "size=5",
        "--missing",
        "y=-999",
    )
    out, _ = call(capsys, "train", "codes.csv", *OPTIONS, *options, "--out", "a")
    assert "--missing -77: no column has this value\n" in out
    assert "--missing size=5: column 'size' does not have this value\n" in out
    assert out.count("this value") == 2


def test_refused(table, capsys):
    err = refused(capsys, "train", "codes.csv", *OPTIONS, "--missing", "aged=0")
    assert "--missing aged=0: there is no column 'aged'; columns: 'age', 'town'" in err
    assert err.endswith("did you mean 'age'?\n")
    err = refused(capsys, "train", "moons", "--missing", "0")
    assert "moons is built in; --missing is for files" in err


def test_settings_file(table, tmp_path, capsys):
    (tmp_path / "s.toml").write_text('missing = [-999, "unknown", "size=0"]\n')
    out, _ = call(capsys, "train", "codes.csv", *OPTIONS, "--config", "s.toml", "--out", "a")
    assert "column 'age': 3 of 80 values taken as missing (--missing: -999)\n" in out
    saved = fastnn.load("a/model.safetensors").encoding.columns
    assert [code.missing for code in saved] == [["-999", "unknown"]] * 2 + [
        ["-999", "unknown", "0"]
    ]
