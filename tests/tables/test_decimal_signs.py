"""Decimal signs of single columns, and of files for prediction that show none."""

import csv
import io

import numpy as np
import pytest

import fastnn
from fastnn.cli import main
from fastnn.tables import Encoding

GERMAN = [f"{k % 7 + 1}.{k:03d},{k % 90 + 10} €" for k in range(40)]
VALUES = [(k % 7 + 1) * 1000 + k + (k % 90 + 10) / 100 for k in range(40)]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(name, separator, *columns, names=("a", "b", "y")):
    with open(name, "w", newline="") as file:
        writer = csv.writer(file, delimiter=separator)
        writer.writerows([names, *zip(*columns, strict=True)])


def test_column_with_its_own_decimal_sign():
    """Prices written for people beside numbers written by machines."""
    table = {"price": GERMAN, "size": [f"{k / 1000:.3f}" for k in range(40)]}
    encoding = Encoding.fit(table, scaling=None)
    assert encoding.summary() == [("price", "number in €"), ("size", "number")]
    expected = np.transpose([VALUES, np.arange(40) / 1000])
    np.testing.assert_allclose(encoding.transform(table), expected, rtol=1e-12)
    # a row that shows no decimal sign has that of training
    X = encoding.transform({"price": ["1.234 €"], "size": [0.5]})
    np.testing.assert_array_equal(X, [[1234, 0.5]])
    state, arrays = encoding.to_state()
    again = Encoding.from_state(state, arrays)
    np.testing.assert_array_equal(again.transform({"price": ["5 €"], "size": ["1.5"]}), [[5, 1.5]])


@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize("encoded", [True, False])
def test_files(here, capsys, separator, encoded):
    """Training and prediction read the same numbers, whatever rows a file has."""
    size = [f"{k / 1000:.3f}" for k in range(40)]
    text = [f"{value:.2f} €".replace(".", ",") for value in VALUES]
    word = ["x", "y"] * 20 if encoded else list(range(40, 0, -1))
    write("a.csv", separator, text, size, word, VALUES, names=("price", "size", "word", "y"))
    options = [
        "--preset",
        "plain",
        "--epochs",
        "3",
        "--backend",
        "numpy",
        "--no-plots",
        "--out",
        "run",
    ]
    assert main(["train", "a.csv", "--target", "y", *options]) in (None, 0)
    model = fastnn.load("run/model.safetensors")
    assert model.encoding.columns[0].what() == "number in €"
    capsys.readouterr()
    main(["predict", "run", "a.csv", "--no-append"])
    whole = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    write("b.csv", separator, text[:1], size[:1], word[:1], names=("price", "size", "word"))
    main(["predict", "run", "b.csv", "--no-append"])
    assert list(csv.reader(io.StringIO(capsys.readouterr().out))) == whole[:2]


@pytest.mark.parametrize("form", ["{:,.2f}", "{:.2f}"])
def test_rows_without_a_decimal_sign_are_read_as_in_training(here, capsys, form):
    """1,234 is 1234 or 1.234, according to the training file; also for a plain network."""
    values = np.linspace(1000, 9999, 40).round(2)
    texts = [form.format(value) for value in values]
    if form == "{:.2f}":
        texts = [text.replace(".", ",") for text in texts]
    write("a.csv", ";", texts, range(40, 0, -1), values)
    options = ["--epochs", "3", "--backend", "numpy", "--no-plots", "--out", "run"]
    main(["train", "a.csv", "--target", "y", *options])
    for name, cell in (("b.csv", "1,234"), ("c.csv", "1234" if "," in form else "1.234")):
        write(name, ";", [cell], [7], names=("a", "b"))
    capsys.readouterr()
    main(["predict", "run", "b.csv", "--no-append"])
    first = capsys.readouterr().out
    main(["predict", "run", "c.csv", "--no-append", "--decimal", "."])
    assert capsys.readouterr().out == first
