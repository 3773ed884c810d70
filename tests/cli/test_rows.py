"""Rows and columns of a file that has changed, or is another than that of training."""

import csv
import shutil
import zlib
from base64 import b64encode

import numpy as np
import pytest

import fastnn
from fastnn import datasets, storage
from fastnn.cli.rows import fingerprints, known_rows

MODEL = "a/model.safetensors"


def write(path, rows, header=("length", "width", "kind")):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows] if header else rows)


def draw(n, seed):
    """Rows of two features and a class that has nothing to do with them."""
    rng = np.random.default_rng(seed)
    return list(
        zip(*rng.normal(size=(2, n)).round(3).tolist(), rng.choice(["a", "b"], n), strict=True)
    )


@pytest.fixture
def noise(run_json):
    """The rows of ``data.csv``, of which a run in ``a`` has held 20% out."""
    rows = draw(100, 0)
    write("data.csv", rows)
    run_json("train", "data.csv", "--target", "kind", "--backend", "numpy", "--epochs", 200,
             "--hidden", "32,32", "--l2", 0, "--out", "a")  # fmt: skip
    return rows


def held_out_rows(rows):
    """Which of 100 rows are set aside, by the split itself."""
    return datasets.train_test_split(np.array([r[2] for r in rows]), 0.2, 0, stratify=True)[1]


def score(rows):
    """Accuracy of the model, computed without the command."""
    X = np.array([row[:2] for row in rows], np.float32)
    return fastnn.load(MODEL, backend="numpy").score(X, [row[2] for row in rows])


# --- the file of training --------------------------------------------------------


def test_the_same_file_is_scored_by_its_held_out_rows(noise, run_json):
    result = run_json("evaluate", "a", "--backend", "numpy")
    held = [noise[k] for k in held_out_rows(noise)]
    assert (result["what"], result["samples"]) == ("20 samples set aside", 20)
    assert result["accuracy"] == score(held)
    assert result["accuracy"] < score(noise)  # of noise, learnt by heart
    # the model file knows its rows without its folder
    shutil.copy(MODEL, "alone.safetensors")
    alone = run_json("evaluate", "alone.safetensors", "--backend", "numpy")
    assert alone == {**result, "model": "alone.safetensors"}


def test_rows_appended_to_the_file(noise, run_json):
    more = draw(100, 1)
    write("data.csv", [*noise, *more])
    result = run_json("evaluate", "a", "--backend", "numpy")
    assert result["samples"] == 120
    assert result["what"] == "120 samples; the data have changed, 80 others were trained with"
    assert result["accuracy"] == score([noise[k] for k in held_out_rows(noise)] + more)


def test_rows_in_another_order_or_removed(noise, run_json):
    order = np.random.default_rng(2).permutation(100)
    write("data.csv", [noise[k] for k in order])
    result = run_json("evaluate", "a", "--backend", "numpy")
    assert result["samples"] == 20
    assert result["accuracy"] == score([noise[k] for k in held_out_rows(noise)])
    kept = noise[:50]
    write("data.csv", kept)
    result = run_json("evaluate", "a", "--backend", "numpy")
    held = [noise[k] for k in held_out_rows(noise) if k < 50]
    assert (result["samples"], result["accuracy"]) == (len(held), score(held))
    write("data.csv", [row for k, row in enumerate(noise) if k not in held_out_rows(noise)])
    what = run_json("evaluate", "a")["what"]
    assert what == "all 80 samples, all trained with; the data have changed"
    write("data.csv", draw(30, 3))
    what = run_json("evaluate", "a")["what"]
    assert what == "30 samples; the data have changed, none was trained with"


def test_a_named_file_is_taken_whole_and_says_what_was_trained_with(noise, run_json):
    write("other.csv", [*noise[:10], *draw(5, 4)])
    trained = 10 - (held_out_rows(noise) < 10).sum()
    result = run_json("evaluate", "a", "other.csv", "--backend", "numpy")
    assert result["what"] == f"all 15 samples, {trained} of them trained with"
    write("other.csv", draw(5, 4))
    assert run_json("evaluate", "a", "other.csv")["what"] == "all 5 samples"


def test_a_changed_file_without_fingerprints_is_refused(noise, run_json, refused, tmp_path):
    write("data.csv", noise[:60])
    (tmp_path / "a" / "rows.npz").write_bytes(b"nonsense")
    assert "rows.npz: not the rows of a run" in refused("evaluate", "a")
    (tmp_path / "a" / "rows.npz").unlink()
    message = refused("evaluate", "a")
    assert "data.csv has changed since training" in message
    assert "name it" in message
    assert run_json("evaluate", "a", "data.csv")["what"] == "all 60 samples"


def test_models_of_earlier_versions(noise, run_json, refused):
    training = dict(storage.describe(MODEL).training)
    del training["rows"]
    storage.save(fastnn.load(MODEL, backend="numpy"), "old.safetensors", training=training)
    result = run_json("evaluate", "old.safetensors", "--backend", "numpy")
    assert result["what"] == "20 samples set aside, if the file has not changed"
    assert result["accuracy"] == score([noise[k] for k in held_out_rows(noise)])
    write("data.csv", [*noise, *draw(100, 1)])
    assert "has changed since training" in refused("evaluate", "old.safetensors")


def test_nothing_held_out(noise, run_json, tmp_path):
    arguments = ["train", "data.csv", "--target", "kind", "--backend", "numpy", "--epochs", 2]
    result = run_json(*arguments, "--test", 0, "--out", "a", "--overwrite")
    assert result["held_out_accuracy"] is None
    assert "rows.npz" in result["files"]
    assert run_json("evaluate", "a")["what"] == "all 100 samples, all trained with"
    # built-in data do not change, and leave no rows of the run before
    run_json("train", "iris", "--backend", "numpy", "--epochs", 2, "--out", "a", "--overwrite")
    assert not (tmp_path / "a" / "rows.npz").exists()
    assert run_json("evaluate", "a")["what"] == "30 samples set aside"


def test_a_search_keeps_its_rows(noise, run_json):
    result = run_json("search", "data.csv", "--target", "kind", "--backend", "numpy", "--trials", 1,
                      "--folds", 2, "--epochs", 5, "--out", "s")  # fmt: skip
    assert result["files"] == ["model.safetensors", "search.csv", "rows.npz"]
    found = run_json("evaluate", "s", "--backend", "numpy")
    assert found["what"] == "20 samples set aside"
    assert found["accuracy"] == pytest.approx(result["held_out_score"])
    write("data.csv", [*noise, *draw(7, 1)])
    assert run_json("evaluate", "s")["samples"] == 27


def test_equal_rows_are_found_as_often_as_they_were_trained_with(run_json):
    rows = [(0.0, 1.0, "a")] * 30 + [(1.0, 0.0, "b")] * 30
    write("data.csv", rows)
    arguments = ["--target", "kind", "--backend", "numpy", "--epochs", 2]
    run_json("train", "data.csv", *arguments, "--test", 0.5, "--out", "a")
    write("data.csv", [*rows, *rows[:5]])
    result = run_json("evaluate", "a")
    assert result["what"] == "35 samples; the data have changed, 30 others were trained with"


def test_fingerprints():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 3, (2000, 8)).astype(float)
    y = rng.integers(0, 2, 2000)
    data = datasets.Dataset("a", X, y, "classification", tuple("abcdefgh"), "y")
    expected = len(np.unique(np.c_[X, y], axis=0))
    assert len(np.unique(fingerprints(data))) == expected  # equal rows alone share one
    negative = datasets.Dataset("a", -X, y.astype(str), "classification", tuple("abcdefgh"), "y")
    zeros = (X == 0).all(axis=1)
    np.testing.assert_array_equal(fingerprints(data) == fingerprints(negative), zeros)


@pytest.mark.parametrize(
    "rows",
    [
        None,
        [],
        {"sha256": "0", "samples": 8},
        {"sha256": "0", "samples": -8, "held_out": ""},
        {"sha256": "0", "samples": 8, "held_out": "!"},
        {"sha256": "0", "samples": 16, "held_out": b64encode(zlib.compress(b"\0")).decode()},
        {"sha256": "0", "samples": 8, "held_out": b64encode(zlib.compress(bytes(10**7))).decode()},
    ],
)
def test_senseless_rows_of_a_model_file_are_not_known(rows):
    assert known_rows({"rows": rows}) is None


# --- columns ----------------------------------------------------------------------


def about_columns(err):
    """The notes on standard error that say which columns are taken."""
    lines = [line.removeprefix("fastnn: ") for line in err.splitlines()]
    return [line for line in lines if "not used" in line or " taken " in line]


def test_columns_of_other_names_are_an_error(noise, refused):
    write("new.csv", noise, ("height", "weight", "kind"))
    for command in ("predict", "evaluate"):
        message = refused(command, "a", "new.csv")
        assert "there is no column 'length', 'width', which the network was trained with" in message
        assert "'height', 'weight'" in message
    write("new.csv", noise, ("length", "weight", "kind"))
    assert "there is no column 'width'" in refused("predict", "a", "new.csv")


def test_columns_are_found_by_name_among_others(noise, run, run_json):
    expected = run("predict", "a", "data.csv", "--backend", "numpy")
    assert about_columns(expected[2]) == []
    rows = [(k, width, kind, length) for k, (length, width, kind) in enumerate(noise)]
    write("new.csv", rows, ("id", "width", "kind", "length"))
    code, out, err = run("predict", "a", "new.csv", "--backend", "numpy")
    assert (code, out) == expected[:2]
    notes = [
        "new.csv: not used: 'id'",
        "new.csv: columns are taken by name, in the order of training",
    ]
    assert about_columns(err) == notes
    result = run_json("evaluate", "a", "new.csv", "--backend", "numpy")
    assert result["accuracy"] == score(noise)
    assert set(notes) <= set(result["notes"])
    code, out, err = run("evaluate", "a", "new.csv")
    assert (code, err) == (0, "")
    assert "note      new.csv: not used: 'id'\n" in out


def test_files_without_names_are_taken_in_order(noise, run, refused):
    expected = run("predict", "a", "data.csv", "--backend", "numpy")[1]
    write("new.csv", [row[:2] for row in noise], None)
    code, out, err = run("predict", "a", "new.csv", "--backend", "numpy")
    assert (code, out) == (0, expected)
    assert about_columns(err) == ["new.csv has no column names: columns are taken in order"]
    write("new.csv", [(*row[:2], 1.0) for row in noise], None)
    message = refused("predict", "a", "new.csv")
    assert "3 columns; the network was trained with 2" in message
    np.savez("new.npz", X=np.ones((3, 3)))
    assert "X has 3 columns; the network was trained with 2" in refused("predict", "a", "new.npz")


def test_networks_without_names_take_columns_in_order(run, run_json):
    rows = [(label, a, b) for a, b, label in draw(40, 0)]
    numbers = [({"a": 0, "b": 1}[label], a, b) for label, a, b in rows]
    write("data.csv", numbers, None)
    arguments = ["--target", 0, "--backend", "numpy", "--epochs", 3]
    run_json("train", "data.csv", *arguments, "--out", "a")
    expected = run("predict", "a", "data.csv", "--backend", "numpy")
    assert about_columns(expected[2]) == []
    write("new.csv", [row[1:] for row in numbers], None)  # the same without the target
    code, out, err = run("predict", "a", "new.csv", "--backend", "numpy")
    assert (code, out, about_columns(err)) == (*expected[:2], [])
    write("new.csv", [row[1:] for row in numbers], ("u", "v"))
    code, out, err = run("predict", "a", "new.csv", "--backend", "numpy")
    assert (code, out) == expected[:2]
    assert about_columns(err) == [
        "the network knows no column names: those of new.csv are taken in order"
    ]
