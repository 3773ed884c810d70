"""The command line standardises before it rounds, and says what lies far outside."""

import json

import numpy as np
import pytest

import fastnn
from fastnn.cli import main

SECONDS = np.arange(600)


def table(path, x):
    rows = zip(x, np.sin(SECONDS / 60), strict=True)
    lines = [f"{time:.17g},{value:.17g}" for time, value in rows]
    path.write_text("time,wave\n" + "\n".join(lines) + "\n")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table(tmp_path / "t.csv", 1.7e9 + SECONDS)
    return tmp_path


def run_json(capsys, *arguments):
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_times_keep_their_digits(folder, capsys):
    options = ("--target", "wave", "--standardize", "--hidden", "16", "--batch-size", "50")
    rest = ("--learning-rate", "0.02", "--epochs", "300", "--out", "m", "--activation", "tanh")
    result = run_json(capsys, "train", "t.csv", *options, *rest)
    assert result["dtype"] == "float32"
    assert result["r2"] > 0.85  # rounded to float32 first: 0.56
    assert result["held_out_r2"] > 0.85  # rounded to float32 first: 0.56
    assert run_json(capsys, "evaluate", "m", "t.csv")["r2"] > 0.85  # rounded to float32 first: 0.56
    predicted = np.array(run_json(capsys, "predict", "m", "t.csv")["prediction"])
    times = (1.7e9 + SECONDS)[:, None]
    expected = fastnn.load("m/model.safetensors").predict(times)
    # printed are the digits that float32 knows: 7 behind the point, for a deviation of 0.7
    np.testing.assert_allclose(predicted, expected, rtol=0, atol=0.51e-7)


def test_evaluate_counts_samples_far_outside(folder, capsys):
    small = ("--standardize", "--hidden", "4", "--epochs", "1", "--out", "m")
    run_json(capsys, "train", "t.csv", "--target", "wave", *small)
    assert run_json(capsys, "evaluate", "m", "t.csv")["out_of_range"] == 0
    assert main(["evaluate", "m", "t.csv"]) == 0
    assert "out of range" not in capsys.readouterr().out
    x = 1.7e9 + SECONDS
    x[:3] += 10_000
    table(folder / "far.csv", x)
    assert run_json(capsys, "evaluate", "m", "far.csv")["out_of_range"] == 3
    assert main(["evaluate", "m", "far.csv"]) == 0
    assert "3 of 600 samples, more than 3 deviations outside" in capsys.readouterr().out


def test_smooth_clip(folder, capsys):
    small = ("--target", "wave", "--hidden", "4", "--epochs", "1", "--out", "m")
    run_json(capsys, "train", "t.csv", "--standardize", "--smooth-clip", "3", *small)
    assert fastnn.load("m/model.safetensors").smooth_clip == 3.0
    options = ("--no-standardize", "--smooth-clip", "3", "--overwrite")
    assert main(["train", "t.csv", *options, *small]) == 2
    assert "smooth_clip clips standardised features" in capsys.readouterr().err
