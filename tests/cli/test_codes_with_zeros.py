"""Postal codes and other codes with leading zeros, from the file to the exports."""

import csv
import io

import numpy as np
import pandas as pd
import pytest

import fastnn
from fastnn.cli import main
from fastnn.datasets import arrow


@pytest.mark.parametrize("smallest", [0, 1 << 20], ids=["arrow", "numpy"])
def test_codes(tmp_path, monkeypatch, capsys, smallest):
    """Kept as text with --column zip=category; numbers in a data frame mean the same."""
    ort = pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(arrow, "SMALLEST", smallest)
    rng = np.random.default_rng(0)
    codes = rng.choice(["00501", "01234", "10115", "99950"], 80)
    table = pd.DataFrame({"zip": codes, "floor": rng.integers(0, 5, 80)})
    table["y"] = (codes == "01234") + 0.1 * table["floor"]
    table.to_csv("a.csv", index=False)
    options = [
        "--target",
        "y",
        "--preset",
        "plain",
        "--epochs",
        "5",
        "--backend",
        "numpy",
        "--no-plots",
    ]
    main(["train", "a.csv", *options, "--out", "a"])
    advice = "--column zip=category takes the values as categories"
    assert advice in capsys.readouterr().out
    for command in ("evaluate", "predict"):
        main([command, "a", "a.csv"])
        assert advice not in "".join(capsys.readouterr())
    kinds = ["--column", "zip=category", "--column", "floor=category"]
    main(["train", "a.csv", *options, *kinds, "--out", "b"])
    assert advice not in capsys.readouterr().out
    model = fastnn.load("b/model.safetensors", backend="numpy")
    assert model.encoding.columns[0].categories == ["00501", "01234", "10115", "99950"]
    assert model.encoding.columns[1].categories == ["0", "1", "2", "3", "4"]
    expected = model.predict(table)
    as_numbers = table.assign(zip=table["zip"].astype(int))
    np.testing.assert_array_equal(model.predict(as_numbers), expected)
    main(["predict", "b", "a.csv", "--no-append"])
    out = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    found = np.array([float(row["prediction"]) for row in out])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    main(["export", "b", "b.onnx"])
    session = ort.InferenceSession("b.onnx")
    feeds = {name: table[[name]].astype(str).to_numpy(object) for name in ("zip", "floor")}
    np.testing.assert_allclose(session.run(None, feeds)[0].ravel(), expected, atol=1e-5)


def test_words_for_a_missing_target(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [f"{k},{['none', 'mild', 'severe'][k % 3]}" for k in range(30, 0, -1)]
    (tmp_path / "a.csv").write_text("a,y\n" + "\n".join([*rows, "7,"]))
    main(["train", "a.csv", "--target", "y", "--epochs", "2", "--backend", "numpy", "--no-plots"])
    said = "target 'y': 'none' in line 2 is no class but a missing value"
    assert said in capsys.readouterr().out
