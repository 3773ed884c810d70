"""Arguments that are empty, of other formats or of Windows: refused with a reason, or right."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fastnn

QUICK = ["--epochs", "1", "--backend", "numpy", "--no-plots", "--no-report"]


@pytest.fixture
def _table():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"size": rng.normal(size=40).round(3), "town": ["Ulm", "Bonn"] * 20})
    frame["price"] = (3 * frame["size"] + (frame["town"] == "Ulm")).round(3)
    frame.to_csv("t.csv", index=False)


@pytest.fixture
def _model(_table, run):
    assert run("train", "t.csv", "--target", "price", "--hidden", "3", *QUICK, "--out", "m")[0] == 0


@pytest.mark.parametrize("option", ["--hidden", "--activation", "--dropout", "--quantiles"])
@pytest.mark.usefixtures("_table")
def test_empty_lists_are_refused(refused, option):
    # an empty shell variable; "" was a network without hidden layers
    message = f"{option}: name at least one, or none (got '')"
    assert message in refused("train", "t.csv", "--target", "price", option, "", *QUICK)


@pytest.mark.usefixtures("_table")
def test_no_hidden_layer_is_none(run):
    run("train", "t.csv", "--target", "price", "--hidden", "none", *QUICK, "--out", "m")
    assert fastnn.load("m/model.safetensors").network.layer_sizes == (2, 1)


@pytest.mark.usefixtures("_model")
def test_predictions_do_not_replace_their_data(run, refused):
    before = Path("t.csv").read_bytes()
    for options in (["--no-append"], ["--json"]):
        message = "--out t.csv: is DATA, whose columns would be lost; choose another name"
        assert message in refused("predict", "m", "./t.csv", *options, "--out", "t.csv")
        assert Path("t.csv").read_bytes() == before
    assert run("predict", "m", "t.csv", "--out", "t.csv")[0] == 0  # with all columns
    assert list(pd.read_csv("t.csv")) == ["size", "town", "price", "prediction"]


@pytest.mark.parametrize("name", ["p.jsonl", "p.ndjson", "p.xlsm", "m/model.safetensors"])
@pytest.mark.usefixtures("_model")
def test_predictions_in_formats_that_are_not_written(refused, name):
    message = f"--out {name}: the name must end in .csv, .tsv, .csv.gz or .parquet"
    assert message in refused("predict", "m", "t.csv", "--out", name)
    assert fastnn.load("m/model.safetensors").encoding.used == ["size", "town"]


@pytest.mark.usefixtures("_model")
def test_messages_that_name_the_argument(refused):
    assert "--proba is for classification; the model" in refused("predict", "m", "t.csv", "--proba")
    assert refused("evaluate", "m", "iris").endswith("iris is built in; the model takes files\n")
    assert "t.csv: not a model file, but text" in refused("info", "t.csv")
    assert refused("train", "t.cvs", "--target", "price").endswith("; did you mean 't.csv'?\n")
    assert refused("train", "monns").endswith("; did you mean 'moons'?\n")
    pd.read_csv("t.csv", nrows=1).to_csv("one.csv", index=False)
    message = "in the only row; there is nothing to learn"
    assert message in refused("train", "one.csv", "--target", "price")


def test_settings_of_windows(run_json, refused, tmp_path):
    (tmp_path / "bom.toml").write_bytes(b"\xef\xbb\xbfepochs = 3\r\nhidden = [5]\r\n")
    assert run_json("train", "moons", "--config", "bom.toml", "--no-plots")["epochs"] == 3
    (tmp_path / "utf16.toml").write_text("epochs = 3", encoding="utf-16")
    assert "utf16.toml: is not text in UTF-8" in refused("train", "moons", "--config", "utf16.toml")
