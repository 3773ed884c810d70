"""Values far from those of training: predicted, counted and told."""

import json
import warnings

import numpy as np
import pytest
from helpers import fixed_rng

import fastnn
from fastnn import cli
from fastnn.tables import Encoding, Remarks, TableModel


@pytest.fixture(scope="module")
def table():
    rng = fixed_rng(0)  # with other draws a row held out may be far from those of training
    income, size = np.exp(rng.normal(8, 1, 400)), rng.normal(0, 1, 400)
    town = rng.choice(["Ulm", "Bonn"], 400).tolist()
    return {"income": income, "town": town, "size": size}, np.log(income) + size


@pytest.fixture(scope="module")
def model(table):
    X, y = table
    return fastnn.TabularRegressor(n_epochs=3, random_state=0).fit(X, y)


def rows(income, size=0.0):
    return {"income": income, "town": ["Ulm"] * len(income), "size": [size] * len(income)}


def test_values_without_a_logarithm_are_told(table, model):
    low = table[0]["income"][table[0]["income"] > 0].min()
    (code,) = [code for code in model.encoding_.columns if code.name == "income"]
    assert code.floor >= low
    with pytest.warns(UserWarning, match=r"'income': 2 rows \(-5, 0\) far below") as caught:
        found = model.predict(rows([-5.0, 0.0, 1000.0]))
    assert len(caught) == 1
    assert np.isfinite(found).all()
    # as far below the smallest as that is below the median, and not farther: nothing is said
    near = code.floor * (code.floor / code.fill[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(rows([near * 1.01, code.floor, 1e3]))
    with pytest.warns(UserWarning, match="1 row "):
        model.predict(rows([near * 0.99]))


def test_held_out_rows_are_no_reason_to_warn(table):
    X, y = table
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in range(5):
            fastnn.TabularRegressor(n_epochs=1, random_state=seed).fit(X, y)


def test_rows_out_of_range(table, model, tmp_path):
    far = {"income": [1e3, 1e3, 1e12, 1e3], "town": ["Rom"] * 4, "size": [0, 40.0, 0, -40]}
    found = model.out_of_range(far)
    assert found.tolist() == [False, True, True, True]
    model.save(tmp_path / "m.safetensors")
    assert fastnn.load(tmp_path / "m.safetensors").out_of_range(far).tolist() == found.tolist()
    assert not model.out_of_range(table[0]).any()


def test_members_must_all_find_a_row_far(table):
    X, y = table
    model = fastnn.TabularRegressor(n_epochs=1, n_members=2, random_state=0).fit(X, y)
    assert model.out_of_range(rows([1e3], size=50.0)).tolist() == [True]


def test_an_estimator_behind_an_encoding_does_not_know_the_range(table):
    X, y = table
    encoding = Encoding.fit(X)
    estimator = fastnn.MLPRegressor(max_iter=20, tol=10.0).fit(encoding.transform(X), y)
    with pytest.raises(ValueError, match="MLPRegressor has no record of the range"):
        TableModel(encoding, estimator).out_of_range(X)


def test_parts_of_a_table_are_counted_together(model):
    remarks = Remarks()
    for income in ([0.0, 1e3], [-1.0, -2.0, -3.0]):
        model.encoding_.transform(rows(income), remarks)
    (line,) = remarks.lines()
    assert line.startswith("column 'income': 4 rows (0, -1, -2, ...) far below ")
    assert line.endswith("the smallest value of training, as which the logarithm counts them")


@pytest.mark.parametrize("preset", ["tabular", "plain"])
def test_commands_name_the_columns(table, tmp_path, monkeypatch, capsys, preset):
    monkeypatch.chdir(tmp_path)
    X, y = table

    def write(path, X, y):
        lines = zip(X["income"], X["town"], X["size"], y, strict=True)
        text = "".join(f"{a},{b},{c},{d}\n" for a, b, c, d in lines)
        (tmp_path / path).write_text("income,town,size,y\n" + text)

    write("t.csv", X, y)
    write("far.csv", rows([-5.0, 1e12, 1e3], size=0.5), [1, 2, 3])
    train = ["train", "t.csv", "--target", "y", "--epochs", "2", "--no-plots", "--no-report"]
    assert cli.main([*train, "--preset", preset, "--out", "m", "--quiet"]) == 0
    capsys.readouterr()
    where = "1 of 3 samples, more than 3 deviations outside the training range ('income')"
    for options in ([], ["--json", "--no-append"]):
        assert cli.main(["predict", "m", "far.csv", *options]) == 0
        said = capsys.readouterr()
        assert (f"out of range: {where}" in said.err) == (not options)
    assert json.loads(said.out)
    assert cli.main(["evaluate", "m", "far.csv"]) == 0
    out = capsys.readouterr().out
    assert where in out
    assert ("1 row (-5) far below" in out) == (preset == "tabular")
    assert cli.main(["evaluate", "m", "far.csv", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["out_of_range"] == 1


def test_networks_of_numbers_name_their_features(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(size=(100, 2))
    lines = [f"{a},{b},{a + b}\n" for a, b in x]
    (tmp_path / "t.csv").write_text("a,b,y\n" + "".join(lines))
    (tmp_path / "far.csv").write_text("a,b\n0,0\n0,99\n,99\n")
    train = ["train", "t.csv", "--target", "y", "--epochs", "1", "--no-plots", "--no-report"]
    assert cli.main([*train, "--out", "m", "--quiet"]) == 0
    for append in ("--append", "--no-append"):
        capsys.readouterr()
        assert cli.main(["predict", "m", "far.csv", append]) == 0
        err = capsys.readouterr().err
        assert "out of range: 1 of 2 samples, more than 3 deviations outside" in err
        assert "training range ('b')" in err
