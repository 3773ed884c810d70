"""``fastnn train table.csv`` and what follows, for tables with text, dates and gaps."""

import csv
import gzip
import io
import json
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fastnn
from fastnn import cli, storage
from fastnn.datasets import train_test_split
from fastnn.tables import TableModel, realmlp

QUICK = ("--epochs", "30", "--seed", "1")


@pytest.fixture(scope="module")
def people():
    """800 people: text, a date, gaps in columns and in the target, identifiers."""
    n = 800
    rng = np.random.default_rng(0)
    sex = rng.choice(["female", "male"], n)
    level = rng.integers(1, 4, n)
    z = 3 * (sex == "female") - 1.5 * (level - 2) + rng.normal(0, 0.3, n)
    frame = pd.DataFrame(
        {
            "PassengerId": np.arange(1, n + 1),
            "name": [f"Person {k}" for k in range(n)],
            "sex": sex,
            "class": level,
            "age": rng.normal(35, 12, n).round(1),
            "port": rng.choice(["Cork", "Rome", "Oslo"], n),
            "day": pd.date_range("2020-01-01", periods=n, freq="7h").strftime("%Y-%m-%d"),
            "survived": np.where(z > 1.5, "yes", "no"),
        }
    )
    frame.loc[rng.random(n) < 0.2, "age"] = np.nan
    frame.loc[5, "port"] = None
    frame.loc[7, "survived"] = None
    return frame


@pytest.fixture(scope="module")
def trained(people, tmp_path_factory):
    """A folder with the file and a run, made once."""
    folder = tmp_path_factory.mktemp("people")
    people.to_csv(folder / "people.csv", index=False)
    arguments = ("--target", "survived", *QUICK, "--out", str(folder / "run"))
    assert cli.main(["train", str(folder / "people.csv"), *arguments]) == 0
    return folder


@pytest.fixture
def here(trained, monkeypatch):
    monkeypatch.chdir(trained)
    return trained


def call(capsys, *arguments, code=0):
    capsys.readouterr()
    found = cli.main(list(map(str, arguments)))
    out, err = capsys.readouterr()
    assert found == code, err
    return out, err


def refused(capsys, *arguments):
    out, err = call(capsys, *arguments, code=2)
    assert out == ""
    assert err.count("\n") == 1
    return err


# --- train ------------------------------------------------------------------------------


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
        ("port=number", "column 'port' is no number: 'Rome'"),
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
    warned = [note for note in json.loads(out)["notes"] if "gives the target away" in note]
    assert len(warned) == 1
    assert "column 'code'" in warned[0]


# --- predict ----------------------------------------------------------------------------


def test_predictions_stand_behind_the_rows(here, people, capsys):
    out, err = call(capsys, "predict", "run", "people.csv", "--proba")
    table = pd.read_csv(io.StringIO(out))
    assert list(table) == [*people, "prediction", "probability_no", "probability_yes"]
    pd.testing.assert_frame_equal(table[list(people)], people, check_dtype=False)
    # the same as the model gives in Python
    model = fastnn.load("run/model.safetensors")
    assert isinstance(model, TableModel)
    assert model.predict(people).tolist() == table["prediction"].tolist()
    proba = model.predict_proba(people)
    np.testing.assert_allclose(table[["probability_no", "probability_yes"]], proba, rtol=1e-6)
    assert "not used" not in err
    out, _ = call(capsys, "predict", "run", "people.csv", "--no-append")
    assert out.splitlines() == ["prediction", *table["prediction"]]
    known = people["survived"].notna()
    score = json.loads(call(capsys, "evaluate", "run", "people.csv", "--json")[0])["accuracy"]
    assert score == (table["prediction"] == people["survived"])[known].mean()
    assert model.score(people, people["survived"]) == score


def write(people, name):
    """The table as the file of that name."""
    if name.endswith(".parquet"):
        people.assign(day=pd.to_datetime(people["day"])).to_parquet(name)
    elif name == "semicolons.csv":
        people.to_csv(name, index=False, sep=";", decimal=",", encoding="utf-8-sig")
    elif name == "latin.csv":
        people.to_csv(name, index=False, encoding="latin-1")
    elif name.endswith(".tsv"):
        people.to_csv(name, index=False, sep="\t")
    else:
        people.to_csv(name, index=False, na_rep="NA", quoting=csv.QUOTE_ALL)


@pytest.mark.parametrize(
    "name", ["quoted.csv", "semicolons.csv", "t.csv.gz", "t.csv.zip", "t.tsv", "t.parquet"]
)
def test_every_kind_of_file(here, people, capsys, name):
    expected = fastnn.load("run/model.safetensors").predict(people)
    reordered = people[people.columns[::-1]].drop(columns="survived")
    write(reordered, name)
    result = json.loads(call(capsys, "predict", "run", name, "--json")[0])
    assert list(result) == [*reordered, "prediction"]
    assert result["prediction"] == expected.tolist()
    assert result["PassengerId"] == people["PassengerId"].tolist()
    assert result["age"] == [None if pd.isna(v) else v for v in people["age"]]


@pytest.mark.parametrize("out", ["o.csv", "o.tsv", "o.csv.gz", "o.parquet"])
def test_files_that_are_written(here, people, capsys, out):
    expected = fastnn.load("run/model.safetensors").predict(people).tolist()
    for source in ("people.csv", "s.parquet"):
        write(people, "s.parquet")
        printed, _ = call(capsys, "predict", "run", source, "--out", out)
        assert printed == ""
        read = {"o.parquet": pd.read_parquet, "o.tsv": lambda f: pd.read_csv(f, sep="\t")}
        table = read.get(out, pd.read_csv)(out)
        assert table["prediction"].tolist() == expected
        assert table["PassengerId"].tolist() == people["PassengerId"].tolist()
        assert table["PassengerId"].dtype == np.int64
        np.testing.assert_array_equal(table["age"], people["age"])
    assert not list(here.glob(".o.*"))


def test_standard_input_and_output(here, people, capsys, monkeypatch):
    text = people.head(20).to_csv(index=False)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    out, _ = call(capsys, "predict", "run", "-")
    table = pd.read_csv(io.StringIO(out))
    expected = fastnn.load("run/model.safetensors").predict(people.head(20))
    assert table["prediction"].tolist() == expected.tolist()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert "standard input: there are no rows" in refused(capsys, "predict", "run", "-")


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16"])
@pytest.mark.parametrize("packed", [False, True])
def test_large_files_are_read_in_parts(here, people, capsys, monkeypatch, encoding, packed):
    """The head decides how a file is read; the rest of it comes in parts."""
    from fastnn.cli import predicting
    from fastnn.tables import streams

    odd = people.assign(name=[f'Pérson\n"{k}"; ä,' for k in range(len(people))])
    data = odd.to_csv(index=False).encode(encoding)
    path = here / ("large.csv.gz" if packed else "large.csv")
    path.write_bytes(gzip.compress(data) if packed else data)
    whole, _ = call(capsys, "predict", "run", path)
    monkeypatch.setattr(streams, "HEAD", 4096)
    monkeypatch.setattr(predicting, "MOST_ROWS", 90)
    parts, _ = call(capsys, "predict", "run", path)
    assert parts == whole
    table = pd.read_csv(io.StringIO(parts))
    assert table["name"].tolist() == odd["name"].tolist()
    path.unlink()


def test_parquet_in_parts(here, people, capsys, monkeypatch):
    from fastnn.cli import predicting

    write(people, "parts.parquet")
    whole, _ = call(capsys, "predict", "run", "parts.parquet")
    monkeypatch.setattr(predicting, "MOST_ROWS", 77)
    assert call(capsys, "predict", "run", "parts.parquet")[0] == whole
    call(capsys, "predict", "run", "parts.parquet", "--out", "p2.parquet")
    assert pq.read_table("p2.parquet").num_rows == len(people)
    # a column that is whole in the first part and not further down
    frame = people.assign(extra=np.where(np.arange(len(people)) < 700, 1, 0.5))
    frame.to_csv("mixed.csv", index=False)
    err = refused(capsys, "predict", "run", "mixed.csv", "--out", "p3.parquet")
    assert "has another type further down" in err
    assert not (here / "p3.parquet").exists()
    assert not list(here.glob(".p3*"))


def test_remarks_count_all_parts(here, people, capsys, monkeypatch):
    from fastnn.cli import predicting

    monkeypatch.setattr(predicting, "MOST_ROWS", 100)
    frame = people.assign(port=people["port"].where(people.index % 8 > 0, "Bonn"), more=1)
    frame.to_csv("new.csv", index=False)
    out, err = call(capsys, "predict", "run", "new.csv")
    assert "column 'port': 100 rows have categories that training did not have ('Bonn')" in err
    assert err.count("not used: 'more'") == 1
    assert out.count("\n") == 801


def test_names_that_are_taken(here, people, capsys):
    people.assign(prediction="mine").to_csv("taken.csv", index=False)
    out, _ = call(capsys, "predict", "run", "taken.csv")
    table = pd.read_csv(io.StringIO(out))
    assert set(table["prediction"]) == {"mine"}
    assert set(table["fastnn_prediction"]) == {"no", "yes"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["few.csv"], "few.csv: there is no column 'class', 'age', which the model was trained"),
        (["few.parquet"], "few.parquet: there is no column 'class', 'age'"),
        (["none.csv"], "no data set and no file 'none.csv'"),
        (["bad.csv.gz"], "damaged: cannot be unpacked"),
        (["bad.parquet"], "not a Parquet file"),
        (["ragged.csv"], "line 3: 1 values where the others have 8"),
        (["iris"], "iris is built in"),
        (["people.csv", "--out", "."], "is a folder"),
    ],
)
def test_bad_files_for_predict(here, people, capsys, arguments, message):
    few = people.drop(columns=["class", "age"])
    few.to_csv("few.csv", index=False)
    few.to_parquet("few.parquet")
    (here / "bad.csv.gz").write_bytes(gzip.compress(b"a,b\n" * 9999)[:-20])
    (here / "bad.parquet").write_bytes(b"PAR1 and no more")
    lines = people.to_csv(index=False).splitlines()
    (here / "ragged.csv").write_text("\n".join([*lines[:2], "x", *lines[2:]]))
    assert message in refused(capsys, "predict", "run", *arguments)


# --- evaluate, plot, info, export -------------------------------------------------------


@pytest.mark.usefixtures("rendered")
def test_plot_a_table_model(here, capsys):
    out, _ = call(capsys, "plot", "run", "--out", "m.svg")
    assert "picture   m.svg" in out
    assert "<svg" in (here / "m.svg").read_text()
    call(capsys, "train", "people.csv", "--target", "age", *QUICK, "--out", "ages")
    result = json.loads(call(capsys, "plot", "ages", "--json")[0])
    assert result["file"] == "ages/plot_people.png"
    scores = json.loads(call(capsys, "evaluate", "ages", "--json")[0])
    assert result["r2"] == scores["r2"]


def test_info_of_models(here, capsys):
    result = json.loads(call(capsys, "info", "run", "--json")[0])
    assert result["target"] == "survived"
    assert result["classes"] == ["no", "yes"]
    assert result["columns"]["sex"]["kind"] == "category"
    assert result["layer_sizes"][0] == 10
    text, _ = call(capsys, "info", "run/model.safetensors")
    assert "column             sex          2 categories (female, male), as +1 and -1\n" in text
    assert "classes            no, yes\n" in text
    call(capsys, "train", "iris", "--epochs", "1", "--out", "i")
    text, _ = call(capsys, "info", "i")
    assert "features           sepal length (cm), sepal width (cm)" in text
    assert "not a model file" in refused(capsys, "info", "people.csv")
    for command in (["info"], ["evaluate"], ["plot"], ["export", "--to", "c"]):
        said = refused(capsys, *command, "nothing")
        assert "nothing: No such file or folder; fastnn train makes run folders" in said


def test_exports_say_what_they_take(here, capsys):
    out, err = call(capsys, "export", "run", "--to", "c", "--overwrite")
    assert err == ""
    assert "input   sex    codes[0], 2 categories; -1 for a missing or other one\n" in out
    _, err = call(capsys, "export", "run", "--to", "torch", "--overwrite")
    assert "takes the 10 encoded columns (sex=female, class, age, age=missing, ...)" in err


def test_a_file_that_changed_is_scored_without_the_rows_of_training(here, people, capsys):
    people.to_csv("people2.csv", index=False)
    call(capsys, "train", "people2.csv", "--target", "survived", *QUICK, "--out", "changed")
    pd.concat([people.iloc[::-1], people.iloc[:30]]).to_csv("people2.csv", index=False)
    result = json.loads(call(capsys, "evaluate", "changed", "--json")[0])
    assert result["what"] == "189 samples; the data have changed, 639 others were trained with"


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


# --- the model file ---------------------------------------------------------------------


def test_a_table_that_does_not_fit_the_network_is_refused(here, tmp_path):
    import safetensors.numpy
    from safetensors import safe_open

    with safe_open("run/model.safetensors", "numpy") as file:
        metadata, arrays = file.metadata(), {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    fields = json.loads(metadata["fastnn"])
    column = next(c for c in fields["table"]["columns"] if c["name"] == "port")
    column["categories"].append("Bonn")
    path = tmp_path / "m.safetensors"
    safetensors.numpy.save_file(arrays, path, {"fastnn": json.dumps(fields)})
    with pytest.raises(fastnn.ModelFormatError, match="table: makes 11 columns for 10 inputs"):
        fastnn.load(path)
    with pytest.raises(fastnn.ModelFormatError, match="table: makes 11 columns for 10 inputs"):
        storage.describe(path)


def test_scaled_tables_are_kept(tmp_path, people):
    from fastnn.tables import Encoding

    table = people.drop(columns="survived")
    encoding = Encoding.fit(table)
    net = fastnn.Network([encoding.n_outputs, 4, 1], loss="squared_error", random_state=0)
    net.fit(encoding.transform(table), np.arange(800.0), epochs=2)
    model = TableModel(encoding, net)
    model.save(tmp_path / "m.safetensors", training={"target": "rank"})
    again = fastnn.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.predict(table), model.predict(table))
    assert again.classes_ is None
    assert storage.describe(tmp_path / "m.safetensors").training == {"target": "rank"}
    arrow = pa.Table.from_pandas(table)
    np.testing.assert_array_equal(again.predict(arrow), model.predict(table))


def test_members_of_numbers_are_exported(tmp_path, capsys):
    """Also of pixels, which training divides by 255."""
    import onnxruntime

    x = np.random.default_rng(0).integers(0, 256, (50, 3)).astype(float)
    nets = [fastnn.Network([3, 4, 2], random_state=k, backend="numpy") for k in range(2)]
    for net in nets:
        net.fit(x / 255, x[:, 0] > 99, epochs=5)
    model = fastnn.Ensemble(nets, [1, 3])
    model.save(tmp_path / "m.safetensors", training={"scale": 255.0})
    out, _ = call(capsys, "export", tmp_path / "m.safetensors", tmp_path / "m.onnx")
    assert "ONNX, input X float64" in out
    session = onnxruntime.InferenceSession(
        (tmp_path / "m.onnx").read_bytes(), providers=["CPUExecutionProvider"]
    )
    found = session.run(None, {"X": x})[1]
    np.testing.assert_allclose(found, model.predict_proba(x / 255), rtol=2e-6)
