"""``fastnn train table.csv``: columns, baselines, presets, gaps, errors; search."""

import io
import json

import numpy as np
import pandas as pd
import pytest
from table_cases import QUICK, call, refused

import fastnn
from fastnn import storage
from fastnn.datasets import train_test_split
from fastnn.tables import TableModel, realmlp


def test_train_says_what_became_of_the_columns(here, capsys):
    out, err = call(
        capsys, "train", "people.csv", "--target", "survived", *QUICK, "--out", "a", "--overwrite"
    )
    assert err == ""
    lines = {line[:18].strip(): line[18:].strip() for line in out.splitlines()}
    assert lines["numbers"].strip() == "class"
    for text in (
        "PassengerId  left out: identifier\n",
        "name         left out: identifier\n",
        "sex          2 categories (female, male), as +1 and -1\n",
        "port         3 categories (Cork, Oslo, Rome), a column each",
        "day          date, as month, weekday, age\n",
        "639 missing (filled with ",
        "--column NAME=number|boolean|category|date|drop changes one, --keep-index keeps",
        "left out 1 of 800 rows without a target",
        " by the most frequent class, ",
    ):
        assert text in out
    result = json.loads(call(capsys, "evaluate", "run", "--json")[0])
    assert result["what"] == "160 samples set aside"
    assert result["accuracy"] > 0.8


def test_baselines_are_those_of_sklearn(here, capsys):
    from sklearn.dummy import DummyClassifier
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.preprocessing import StandardScaler

    from fastnn.tables.baselines import PENALTY, baselines

    rng = np.random.default_rng(0)
    X = rng.normal(size=(900, 4)) * [1, 10, 0.1, 1]
    y = np.where(X @ [1, 0.1, 0, -1] + rng.normal(size=900) > 0.5, "a", "b")
    train, test = slice(0, 600), slice(600, None)
    found = baselines(X[train], y[train], X[test], y[test], "classification")
    constant = DummyClassifier(strategy="most_frequent").fit(X[train], y[train])
    assert found["constant"] == constant.score(X[test], y[test])
    scaler = StandardScaler().fit(X[train])
    linear = LogisticRegression(C=1 / (600 * PENALTY)).fit(scaler.transform(X[train]), y[train])
    # of 300 rows a few lie so near the boundary that the end of training decides
    assert abs(found["linear"] - linear.score(scaler.transform(X[test]), y[test])) <= 0.01

    y = X @ [1.0, 0.1, 0, -1] + rng.normal(size=900)
    found = baselines(X[train], y[train], X[test], y[test], "regression")
    linear = Ridge(alpha=600 * PENALTY).fit(scaler.transform(X[train]), y[train])
    score = linear.score(scaler.transform(X[test]), y[test])
    np.testing.assert_allclose(found["linear"], score, rtol=1e-10)
    assert found["constant"] <= 0


def test_a_model_that_is_worse_than_a_line_is_told(here, capsys):
    x = np.linspace(0, 1, 200)
    pd.DataFrame({"x": x, "z": x**2, "y": 3 * x}).to_csv("line.csv", index=False)
    out, _ = call(
        capsys,
        *("train", "line.csv", "--target", "y", "--epochs", 1, "--learning-rate", "1e-9"),
        *("--ignore", "z", "--out", "l"),
    )
    assert "a simple model is as good as the network" in out


def test_kinds_are_given(here, capsys):
    out, _ = call(
        capsys,
        *("train", "people.csv", "--target", "survived", *QUICK, "--out", "k"),
        *("--column", "class=category", "--column", "day=drop", "--keep-index", "--json"),
    )
    columns = json.loads(out)["columns"]
    assert columns["class"]["becomes"] == "3 categories (1, 2, 3), a column each"
    assert columns["day"]["kind"] == "drop"
    assert columns["PassengerId"]["kind"] == "number"
    # the file of settings has them too
    again = json.loads(call(capsys, "train", "--config", "k/settings.toml", "--json")[0])
    assert again["columns"] == columns
    assert again["loss"] == json.loads(out)["loss"]
    for given, message in (
        ("none=drop", "there is no column 'none'"),
        ("day=time", "--column must be NAME=KIND, with one of number, boolean, category, date"),
        ("day", "--column must be NAME=KIND"),
        ("port=number", "column 'port' is not a number: 'Rome'"),
    ):
        arguments = ("train", "people.csv", "--target", "survived", "--column", given)
        assert message in refused(capsys, *arguments)


def test_preset_of_tables(here, people, capsys, monkeypatch):
    def train(*arguments):
        command = ("train", "people.csv", "--target", "survived", "--overwrite", "--out", "t")
        return json.loads(call(capsys, *command, "--json", *arguments)[0])

    tabular = train("--epochs", 3, "--seed", 1)
    assert tabular["layer_sizes"] == [10, 256, 256, 256, 2]
    settings = storage.describe("t/model.safetensors").training["settings"]
    assert settings["preset"] == "tabular"
    # the network is that of the estimator
    model = fastnn.load("t/model.safetensors")
    mask = people["survived"].notna()
    X, y = model.encoding.transform(people[mask]), people["survived"][mask].to_numpy(str)
    rows = train_test_split(y, 0.2, 1, stratify=True)[0]
    kinds = {f"x{k}": "number" for k in range(X.shape[1])}
    own = fastnn.TabularClassifier(n_epochs=3, random_state=1, columns=kinds).fit(X[rows], y[rows])
    np.testing.assert_array_equal(model.network.params, own.network_.params)
    # the settings of a run are those of its file
    again = json.loads(call(capsys, "train", "--config", "t/settings.toml", "--json")[0])
    assert again["loss"] == tabular["loss"]
    assert len(pd.read_csv("t/history.csv")) == 3
    # settings of the network or its training are those of the preset plain
    assert train("--epochs", 3, "--hidden", 5)["layer_sizes"] == [10, 5, 2]
    assert train("--epochs", 3, "--preset", "plain")["layer_sizes"] == [10, 64, 2]
    assert train("--time-limit", 0.2)["stopped"] == "time limit"
    # which take the preset for numbers, too
    for own, value in (("--members", 1), ("--time-limit", 60)):
        iris = call(capsys, "train", "iris", own, value, "--epochs", 2, "--json")[0]
        assert json.loads(iris)["layer_sizes"] == [4, 256, 256, 256, 3]
    iris = call(capsys, "train", "iris", "--preset", "tabular", "--epochs", 2, "--json")[0]
    assert json.loads(iris)["layer_sizes"] == [4, 256, 256, 256, 3]
    for arguments, message in (
        (("--preset", "tabular", "--l2", 1), "l2 does not go with the preset tabular"),
        (("--hidden", 5, "--time-limit", 1), "time_limit is for the preset tabular"),
        (("--preset", "plain", "--members", 2), "members is for the preset tabular"),
        (("--members", 0), "members must be at least 1"),
        (("--tensorboard", "x"), "--tensorboard is for the preset plain"),
    ):
        err = refused(capsys, "train", "people.csv", "--target", "survived", *arguments)
        assert message in err


@pytest.mark.parametrize("target", ["survived", "age"])
@pytest.mark.usefixtures("rendered")
def test_members_are_one_file(here, people, capsys, monkeypatch, target):
    monkeypatch.setattr(realmlp, "HIDDEN", (6, 5))  # which a C compiler is quick with
    command = ("train", "people.csv", "--target", target, "--epochs", 4, "--members", 3)
    out, err = call(capsys, *command, "--out", "m", "--overwrite")
    assert err == ""
    model = fastnn.load("m/model.safetensors")
    sizes = "-".join(map(str, model.network.layer_sizes))
    assert f" 3 of {sizes}, averaged, " in out
    # they are those of the estimator, and what is told of them is their mean
    known, classes = people[people[target].notna()], target == "survived"
    X, y = model.encoding.transform(known), known[target].to_numpy(str if classes else float)
    rows = train_test_split(y, 0.2, 0, stratify=classes)[0]
    kinds = {f"x{k}": "number" for k in range(X.shape[1])}
    make = fastnn.TabularClassifier if classes else fastnn.TabularRegressor
    estimator = make(n_epochs=4, n_members=3, random_state=0, columns=kinds).fit(X[rows], y[rows])
    for net, its in zip(model.network.networks, estimator.networks_, strict=True):
        np.testing.assert_array_equal(net.params, its.params)
    losses = pd.read_csv("m/history.csv")["loss"]
    np.testing.assert_allclose(losses, np.mean(estimator.loss_curves_, axis=0), rtol=1e-12)
    info = json.loads(call(capsys, "info", "m", "--json")[0])
    assert [member["weight"] for member in info["members"]] == pytest.approx([1 / 3] * 3)
    frame = pd.read_csv(io.StringIO(call(capsys, "predict", "m", "people.csv")[0]))
    own = model.predict(people)
    if classes:
        assert frame["prediction"].tolist() == own.tolist()
    else:  # without the digits that float32 does not know
        np.testing.assert_allclose(frame["prediction"], own, rtol=1e-6)
    result = json.loads(call(capsys, "evaluate", "m", "people.csv", "--json")[0])
    score = result["accuracy" if classes else "r2"]
    assert score == pytest.approx(model.score(people, people[target]), abs=1e-6)
    call(capsys, "plot", "m", "--out", "m.png")
    call(capsys, "export", "m", "m.onnx", "--overwrite")
    call(capsys, "export", "m", "m.c", "--overwrite")
    err = refused(capsys, "export", "m", "--to", "keras")
    assert "an ensemble of 3 networks and keras has one; ONNX and C average" in err


def test_gaps_filled_dropped_or_refused(here, people, capsys):
    command = ("train", "people.csv", "--target", "survived", "--epochs", 1, "--out", "g", "--json")
    assert json.loads(call(capsys, *command)[0])["samples"] == 639
    out, _ = call(capsys, *command, "--overwrite", "--gaps", "drop")
    complete = people[["age", "port", "survived"]].notna().all(axis=1).sum()
    assert json.loads(out)["samples"] == pytest.approx(0.8 * complete, abs=2)
    assert not [c for c in json.loads(out)["columns"].values() if "missing" in c["becomes"]]
    err = refused(capsys, *command, "--overwrite", "--gaps", "error")
    first = int(people["age"].isna().to_numpy().argmax())
    assert f"people.csv: column 'age' has a missing value in line {first + 2}" in err


def test_tables_of_numbers_are_as_before(here, capsys):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(60, 2)), columns=["a", "b"])
    frame.assign(y=frame["a"] > 0).to_csv("plain.csv", index=False)
    out, _ = call(capsys, "train", "plain.csv", "--target", "y", *QUICK, "--out", "p", "--json")
    assert "columns" not in json.loads(out)
    assert storage.describe("p/model.safetensors").table is None
    assert isinstance(fastnn.load("p/model.safetensors"), fastnn.Network)
    out, _ = call(capsys, "predict", "p", "plain.csv")
    assert out.splitlines()[0] == "prediction"
    out, _ = call(capsys, "predict", "p", "plain.csv", "--append")
    assert out.splitlines()[0] == "a,b,y,prediction"
    frame.loc[3, "a"] = None
    frame.to_csv("gap.csv", index=False)
    out, err = call(capsys, "predict", "p", "gap.csv", "--append")
    assert out.splitlines()[4].endswith(",")
    assert "no prediction for 1 of 60 rows, which have gaps" in err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a,b,y\nx,1,5\ny,2,5\nz,3,5\n",
            "target 'y' is 5 in all 3 rows; there is nothing to learn",
        ),
        ("a,y\nx,2020-01-01\ny,2020-01-02\nx,2020-01-05\n", "target 'y' has dates"),
        ("a,b,y\nx,u,0\nx,u,1\nx,u,0\n", "no column is left to learn from (a: constant; b: const"),
        ("y\n1\n0\n", "no column beside the target"),
        ("a,y\nx,\ny,\n", "target 'y' has no values"),
        ("", "there are no rows"),
        ("\x00\x01\x02", "not a text file"),
        ("<html><body>a,b</body></html>", "is a page of HTML or XML, not a table"),
    ],
)
def test_bad_tables_give_one_line(tmp_path, monkeypatch, capsys, text, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text(text)
    assert message in refused(capsys, "train", "t.csv", "--target", "y")


def test_too_many_classes(here, people, capsys):
    err = refused(capsys, "train", "people.csv", "--target", "name")
    assert "target 'name' has 800 different values in 800 rows, too many to be classes" in err


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_copies_of_the_target(tmp_path, monkeypatch, capsys, task):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=80), "w": rng.choice(["a", "b", "c"], 80)})
    if task == "classification":
        frame["y"] = rng.choice(["low", "high"], 80)
        frame["code"] = frame["y"].map({"low": "L", "high": "H"})
        frame["near"] = frame["code"].where(
            frame.index > 0, "H" if frame["code"][0] == "L" else "L"
        )
    else:
        frame["y"] = rng.normal(size=80)
        frame["code"] = 32 + 1.8 * frame["y"]
        frame["near"] = frame["code"] + rng.normal(0, 0.01, 80)
    frame.to_csv("t.csv", index=False)
    out, _ = call(capsys, "train", "t.csv", "--target", "y", "--epochs", "1", "--json")
    warned = [note for note in json.loads(out)["notes"] if "determines the target" in note]
    assert len(warned) == 1
    assert "column 'code'" in warned[0]


@pytest.mark.parametrize("target", ["survived", "age"])
def test_search_takes_tables(here, people, capsys, target):
    command = ("search", "people.csv", "--target", target, "--trials", 2, "--epochs", 5)
    out, _ = call(capsys, *command, "--hidden", 8, "--folds", 2, "--out", "s", "--overwrite")
    assert "column          port         3 categories (Cork, Oslo, Rome), a column each" in out
    table = call(capsys, "predict", "s", "people.csv")[0]
    predicted = pd.read_csv(io.StringIO(table))["prediction"]
    model = fastnn.load("s/model.safetensors")
    assert isinstance(model, TableModel)
    own = model.predict(people)
    if target == "age":
        assert isinstance(model.network, fastnn.MLPRegressor)
        np.testing.assert_allclose(predicted, own, rtol=1e-12)
        score = json.loads(call(capsys, "evaluate", "s", "people.csv", "--json")[0])["r2"]
    else:
        assert isinstance(model.network, fastnn.MLPClassifier)
        assert predicted.tolist() == own.tolist()
        assert model.predict_proba(people).shape == (800, 2)
        score = json.loads(call(capsys, "evaluate", "s", "people.csv", "--json")[0])["accuracy"]
    assert model.score(people, people[target]) == pytest.approx(score, abs=1e-6)
    result = json.loads(call(capsys, "evaluate", "s", "--json")[0])
    assert result["what"].endswith("samples set aside")
