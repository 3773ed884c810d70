"""Files and targets with which nothing can be trained: one line each; copies of the target."""

import zlib

import numpy as np
import pandas as pd
import pytest

from fastnn import cli
from fastnn.tables.baselines import copies_of_target
from fastnn.tables.columns import columns_of

N = 120


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(capsys, *arguments):
    assert cli.main(["train", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


NO_TABLES = {
    "picture.csv": (b"\x89PNG\r\n\x1a\n" + zlib.compress(b"x" * 99), "is a picture"),
    "document.csv": (b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", "is a PDF document"),
    "page.csv": (b"<!DOCTYPE html>\n<p>Not found</p>\n", "is a page of HTML"),
    "records.csv": (b'[{"a": 1, "y": 2},\n {"a": 3, "y": 5}]\n', "is JSON"),
    "lines.csv": (b'{"a": 1, "y": 2}\n{"a": 3, "y": 5}\n', "is JSON"),
    "columns.csv": (b'{\n  "a": [1, 2],\n  "y": [3, 4]\n}\n', "is JSON"),
    "rows.csv": (b"[[1, 2],\n [3, 4]]\n", "is JSON"),
    "empty.csv": (b"", "there are no rows"),
    "names.csv": (b"a,y\n", "there are no rows"),
    "one.csv": (b"y\n1\n2\n3\n", "there is no column beside the target"),
    "fake.parquet": (b"PAR1 nothing", "not a Parquet file"),
    "notes.doc": (b"a,y\n1,2\n", "unknown kind of file"),
}


@pytest.mark.parametrize("name", NO_TABLES)
def test_a_file_that_is_no_table(here, capsys, name):
    contents, message = NO_TABLES[name]
    (here / name).write_bytes(contents)
    assert f"{name}: {message}" in refused(capsys, name, "--target", "y").replace(
        "damaged, or not", "not"
    )


def test_a_folder_is_no_table(here, capsys):
    (here / "folder").mkdir()
    assert "folder: is a folder, not a file" in refused(capsys, "folder")


DAYS = pd.date_range("2020-01-01", periods=N)
TARGETS = {
    "constant number": (np.ones(N), "'y' is 1 in all 120 rows; there is nothing to learn"),
    "constant fraction": (np.full(N, 2.5), "there is nothing to learn"),
    "constant word": (["same"] * N, "'y' is 'same' in all 120 rows; there is nothing to learn"),
    "dates": (DAYS.strftime("%Y-%m-%d"), "'y' has dates"),
    "days first": (DAYS.strftime("%d.%m.%Y"), "'y' has dates"),
    "months first": (DAYS.strftime("%m/%d/%Y"), "'y' has dates"),
    "few dates": (np.resize(DAYS[:4].strftime("%d-%b-%y"), N), "'y' has dates"),
    "identifier": ([f"k{k}" for k in range(N)], "too many to be classes"),
    "empty": ([None] * N, "no values"),
}


@pytest.mark.parametrize("with_words", [False, True], ids=["numbers", "words"])
@pytest.mark.parametrize("kind", TARGETS)
def test_a_target_with_which_nothing_is_learned(here, capsys, kind, with_words):
    values, message = TARGETS[kind]
    frame = pd.DataFrame({"a": np.arange(N) % 7 + 0.5, "b": np.arange(N) ** 2 % 11, "y": values})
    if with_words:
        frame["b"] = np.resize(["x", "y", "z"], N)
    frame.to_csv("t.csv", index=False)
    assert message in refused(capsys, "t.csv", "--target", "y", "--epochs", "1")


def test_too_many_categories(here, capsys):
    n = 4000
    frame = pd.DataFrame({"a": np.arange(n) % 7, "who": [f"n{k}" for k in range(n)], "y": 1.0})
    frame["y"] = np.arange(n) % 11 + 0.5
    frame.to_csv("t.csv", index=False)
    error = refused(capsys, "t.csv", "--target", "y", "--column", "who=category")
    assert "column 'who' has 3,200 different values in 3,200 rows, too many to be categ" in error
    error = refused(capsys, "t.csv", "--target", "who")
    assert "target 'who' has 4,000 different values in 4,000 rows, too many to be classes" in error


# --- copies of the target -------------------------------------------------------------------


def copies(frame, y, task="regression"):
    return copies_of_target(columns_of(frame), np.asarray(y), task)


def test_copies_of_numbers():
    rng = np.random.default_rng(0)
    y = rng.exponential(1.0, N).round(3)
    frame = pd.DataFrame(
        {
            "itself": y,
            "in cents": 100 * y - 3,
            "log": np.log(y + 1),
            "falls": 1 / (y + 1),
            "text": [f"${v}" for v in y],
            "rounded": y.round(1),
            "noisy": y + rng.normal(0, 1e-3, N),
            "other": rng.normal(size=N),
            "few": np.where(y > 1, 1.0, 0.0),
        }
    )
    assert copies(frame, y) == ["itself", "in cents", "log", "falls", "text"]
    gaps = frame.mask(rng.random(frame.shape) < 0.2)
    assert copies(gaps, y) == ["itself", "in cents", "log", "falls", "text"]


def test_copies_of_classes():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, N)
    frame = pd.DataFrame(
        {
            "itself": y,
            "words": np.array(["low", "mid", "high"])[y],
            "flipped": 2 - y,
            "two of them": (y > 0).astype(int),
            "other": rng.integers(0, 3, N),
            "numbers": rng.normal(size=N),
        }
    )
    assert copies(frame, y, "classification") == ["itself", "words", "flipped"]


@pytest.mark.parametrize("with_words", [False, True], ids=["numbers", "words"])
def test_copies_are_told(here, capsys, with_words):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=N), "b": rng.normal(size=N)})
    frame["y"] = frame["a"] ** 3 + rng.normal(size=N)
    frame["leak"] = 2 * frame["y"] + 1
    if with_words:
        frame["b"] = rng.choice(["x", "y", "z"], N)
    frame.to_csv("t.csv", index=False)
    arguments = ["train", "t.csv", "--target", "y", "--epochs", "1", "--no-plots", "--hidden", "4"]
    assert cli.main(arguments) == 0
    text = "caution: column 'leak' determines the target (leakage); is it known"
    assert text in capsys.readouterr().out
    assert cli.main([*arguments, "--ignore", "leak"]) == 0
    assert "determines the target" not in capsys.readouterr().out


def test_a_single_column_may_say_what_the_target_is(here, capsys):
    """As that of a curve does."""
    pd.DataFrame({"x": np.arange(N) / 7, "y": np.arange(N) ** 2 / 3}).to_csv("c.csv", index=False)
    assert cli.main(["train", "c.csv", "--target", "y", "--epochs", "1", "--no-plots"]) == 0
    assert "determines the target" not in capsys.readouterr().out
