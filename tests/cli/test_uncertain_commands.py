"""``fastnn train`` with deviations and several quantiles, and what is predicted then."""

import csv
import json

import numpy as np
import pytest

import fastnn
from fastnn import cli


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A table of numbers and one with a column of text, of the same targets."""
    folder = tmp_path_factory.mktemp("tables")
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 3, (300, 2))
    y = 1000 + 50 * np.sin(x[:, 0]) + (5 + 10 * x[:, 0]) * rng.standard_normal(300)
    plain, table = folder / "plain.csv", folder / "table.csv"
    rows = [f"{a:.4f},{b:.4f}" for a, b in x]
    plain.write_text(
        "a,b,price\n" + "".join(f"{r},{v:.3f}\n" for r, v in zip(rows, y, strict=True))
    )
    colours = np.where(x[:, 1] > 1.5, "red", "blue")
    lines = [f"{r},{c},{v:.3f}\n" for r, c, v in zip(rows, colours, y, strict=True)]
    table.write_text("a,b,colour,price\n" + "".join(lines))
    return plain, table


def run(capsys, *arguments):
    assert cli.main(list(map(str, arguments))) == 0
    return capsys.readouterr().out


def trained(capsys, file, folder, *options):
    fixed = ["--target", "price", "--epochs", 5, "--no-plots", "--no-report"]
    fixed += ["--quiet", "--overwrite"]
    run(capsys, "train", file, *fixed, *options, "--out", folder)
    return fastnn.load(folder / "model.safetensors")


@pytest.mark.parametrize("which", [0, 1])
def test_deviations(files, tmp_path, capsys, which):
    net = trained(capsys, files[which], tmp_path / "run", "--loss", "gaussian")
    out = run(capsys, "predict", tmp_path / "run", files[which], "--no-append")
    rows = list(csv.reader(out.splitlines()))
    assert rows[0] == ["prediction", "prediction_std"]
    values = np.array(rows[1:], float)
    with open(files[which]) as lines:
        table = list(csv.DictReader(lines))
    if which == 0:
        X = np.array([[float(row["a"]), float(row["b"])] for row in table])
    else:
        X = {name: [row[name] for row in table] for name in ("a", "b", "colour")}
        X |= {name: np.array(X[name], float) for name in ("a", "b")}
    mean, std = net.predict(X, return_std=True)
    # digits that float32 does not know are not written
    np.testing.assert_allclose(values.T, [mean, std], rtol=1e-5)
    assert 5 < std.mean() < 60
    told = json.loads(run(capsys, "evaluate", tmp_path / "run", "--json"))
    assert told["r2"] < 1


def test_quantiles(files, tmp_path, capsys):
    options = ["--loss", "quantile", "--quantiles", "0.1,0.5,0.9"]
    net = trained(capsys, files[1], tmp_path / "run", *options)
    out = run(capsys, "predict", tmp_path / "run", files[1], "--json", "--no-append")
    told = json.loads(out)
    assert list(told) == ["quantile_0.1", "quantile_0.5", "quantile_0.9"]
    assert (np.diff(list(told.values()), axis=0) >= 0).all()
    assert net.network.quantile == (0.1, 0.5, 0.9)
    assert "quantile 0.1, 0.5, 0.9, float32" in run(capsys, "info", tmp_path / "run")
    text = (tmp_path / "run" / "settings.toml").read_text()
    assert "quantiles = [0.1, 0.5, 0.9]" in text
    # of a run that goes on, a single quantile replaces them
    config = ["--config", tmp_path / "run" / "settings.toml", "--quantile", 0.3]
    assert trained(capsys, files[1], tmp_path / "one", *config).network.quantile == 0.3


def test_tables_take_the_losses_of_the_preset(files, tmp_path, capsys):
    """A single network, members, and the loss of the other task."""
    options = ["--target", "price", "--epochs", 3, "--loss", "gaussian", "--no-report"]
    run(capsys, "train", files[1], *options, "--no-plots", "--json", "--out", tmp_path / "one")
    out = run(capsys, "train", files[1], *options, "--members", 2, "--out", tmp_path / "two")
    assert "tabular (RealMLP-TD-S), loss gaussian; --preset plain" in out
    assert "2 of 3-256-256-256-2, averaged" in out
    history = (tmp_path / "two" / "history.csv").read_text().splitlines()
    assert history[0] == "epoch,loss,validation_loss"
    out = run(capsys, "predict", tmp_path / "two", files[1], "--no-append")
    rows = list(csv.reader(out.splitlines()))
    assert rows[0] == ["prediction", "prediction_std"]
    model = fastnn.load(tmp_path / "two" / "model.safetensors")
    with open(files[1]) as lines:
        table = list(csv.DictReader(lines))
    X = {name: np.array([float(row[name]) for row in table]) for name in ("a", "b")}
    X["colour"] = [row["colour"] for row in table]
    found = np.array(model.predict(X, return_std=True))
    np.testing.assert_allclose(np.array(rows[1:], float).T, found, rtol=1e-5)
    for loss, message in (
        ("cross_entropy", "--loss cross_entropy is for classification, but the target 'price'"),
        ("binary_cross_entropy", "--loss binary_cross_entropy is for classification"),
    ):
        given = ["train", str(files[1]), "--target", "price", "--loss", loss]
        assert cli.main(given) == 2
        assert message in capsys.readouterr().err
    given = [*given[:-1], "binary_cross_entropy", "--preset", "tabular"]
    assert cli.main(given) == 2
    assert "loss does not go with the preset tabular" in capsys.readouterr().err


@pytest.mark.usefixtures("rendered")
def test_pictures_pages_and_scores_take_one_number(files, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    options = ["--loss", "quantile", "--quantiles", "0.2,0.7", "--epochs", 5]
    options += ["--scoring", "neg_mean_absolute_error", "--json"]
    out = run(capsys, "train", files[0], "--target", "price", *options, "--out", tmp_path / "run")
    assert "neg_mean_absolute_error" in out
    told = json.loads(run(capsys, "evaluate", tmp_path / "run", "--json"))
    assert np.isfinite(told["r2"])
    run(capsys, "plot", tmp_path / "run", "--quiet")
    assert (tmp_path / "run" / "report.html").exists()


def test_export_says_what_the_outputs_are(files, tmp_path, capsys):
    trained(capsys, files[0], tmp_path / "run", "--loss", "gaussian")
    assert cli.main(["export", str(tmp_path / "run"), "--to", "c"]) == 0
    said = capsys.readouterr().err
    assert "the outputs are mean and logarithm of the variance" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--quantiles", "0.1,0.9"], "quantiles belong to the loss quantile; no loss is given"),
        (
            ["--loss", "quantile", "--quantiles", "0.9,0.1"],
            "--quantiles: must increase, as 0.1,0.5,0.9 (got '0.9,0.1')",
        ),
        (["--loss", "quantile", "--quantiles", "0.5,1"], "--quantiles must be below 1; got '1'"),
        (
            ["--loss", "quantile", "--quantiles", "0.1,0.9", "--quantile", "0.5"],
            "give quantile or quantiles, not both",
        ),
    ],
)
def test_bad_options(files, capsys, options, message):
    assert cli.main(["train", str(files[0]), "--target", "price", *options]) == 2
    assert message in capsys.readouterr().err
