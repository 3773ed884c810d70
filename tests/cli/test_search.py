"""``fastnn search``: what it finds, keeps, prints and refuses."""

import csv
import json

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler

import fastnn
from fastnn import cli, datasets, storage
from fastnn.cli.searching import numbers
from fastnn.estimators.search import fit_best


@pytest.fixture
def run(run):
    """The command search, with the NumPy backend."""
    return lambda *arguments: run("search", *arguments, "--backend", "numpy")


QUICK = ["--trials", 3, "--folds", 2, "--epochs", 15, "--hidden", "4", "--hidden", "6,5"]


def test_random_search_of_classes(run, tmp_path):
    code, out, err = run("iris", *QUICK, "--learning-rate", "0.01,0.1", "--json")
    assert (code, err) == (0, "")
    result = json.loads(out)
    assert result["trials"] == 3
    assert result["samples"] == 120
    assert tuple(result["hidden_layer_sizes"]) in {(4,), (6, 5)}
    assert result["learning_rate_init"] in (0.01, 0.1)
    with open(f"{result['folder']}/search.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == result["score"]
    # the file takes the features as they are, and scores what was said
    model = fastnn.load(f"{result['folder']}/model.safetensors")
    assert isinstance(model, fastnn.MLPClassifier)
    data = datasets.load("iris")
    held_out = datasets.train_test_split(data.y, 0.2, 0, stratify=True)[1]
    assert model.score(data.X[held_out], data.y[held_out]) == result["held_out_score"]
    description = storage.describe(f"{result['folder']}/model.safetensors")
    assert description.training["features"] == list(data.feature_names)


def test_halving_and_values(run):
    code, out, err = run("diabetes", "--method", "halving", "--jobs", 2, *QUICK[2:], "--trials", 6)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == [
        "rank", "score", "deviation", "samples", "hidden", "activation", "learning_rate", "l2",
        "seconds",
    ]  # fmt: skip
    samples = [int(line.split()[3]) for line in lines[1:9]]
    # fewer and fewer trials with more and more samples, in the end nearly all 354
    assert samples == sorted(samples, reverse=True)
    assert samples[0] > 300 > samples[-1]
    assert isinstance(fastnn.load("runs/diabetes-search-1/model.safetensors"), fastnn.MLPRegressor)


def written(path, columns):
    """A data file of the kind that its name says."""
    if path.suffix == ".csv":
        rows = [columns, *zip(*columns.values(), strict=True)]
        with open(path, "w", newline="") as file:
            csv.writer(file).writerows(rows)
    elif path.suffix == ".npz":
        np.savez(path, **columns)
    else:
        pytest.importorskip("pyarrow")
        pytest.importorskip("pandas").DataFrame(columns).to_parquet(path)
    return path


@pytest.mark.parametrize("kind", ["words", "numbers", "values"])
@pytest.mark.parametrize("ending", ["csv", "npz", "parquet"])
def test_data_files(run, tmp_path, ending, kind):
    X = np.random.default_rng(0).standard_normal((80, 3))
    y = X @ [1.0, -2.0, 0.5]
    if kind != "values":
        y = np.where(y > 0, 7, 3) if kind == "numbers" else np.where(y > 0, "ja", "nein")
    columns = {"a": X[:, 0], "price": y, "b": X[:, 1], "c": X[:, 2]}
    path = written(tmp_path / f"table.{ending}", columns)
    code, out, err = run(path, "--target", "price", *QUICK, "--l2", "0.01", "--json")
    assert (code, err) == (0, "")
    result = json.loads(out)
    assert (result["task"] == "regression") == (kind == "values")
    assert (result["samples"], result["trials"], result["failed"]) == (64, 3, 0)
    file = f"{result['folder']}/model.safetensors"
    assert storage.describe(file).training["features"] == ["a", "b", "c"]
    model = fastnn.load(file)
    held_out = datasets.train_test_split(y, 0.2, 0, stratify=kind != "values")[1]
    # the file's features and labels, which the text of a CSV file keeps to the last bit
    assert model.score(X[held_out], y[held_out]) == pytest.approx(result["held_out_score"])
    assert result["held_out_score"] > 0.6  # of a linear function, after 15 epochs


@pytest.mark.parametrize("data", ["iris", "diabetes", "breast_cancer"])
def test_the_other_commands_take_the_model(run, capsys, data):
    result = json.loads(run(data, *QUICK, "--l2", "0.01", "--json")[1])
    evaluated = []
    for arguments in ([], [data]):  # what was held out, by the file's own account
        assert cli.main(["evaluate", result["folder"], *arguments, "--json"]) == 0
        evaluated.append(json.loads(capsys.readouterr().out))
    score = evaluated[0]["r2" if data == "diabetes" else "accuracy"]
    assert score == pytest.approx(result["held_out_score"])
    assert evaluated[0] == evaluated[1]
    dataset = datasets.load(data)
    proba = [] if data == "diabetes" else ["--proba"]
    assert cli.main(["predict", result["folder"], data, "--json", *proba]) == 0
    columns = json.loads(capsys.readouterr().out)
    model = fastnn.load(f"{result['folder']}/model.safetensors")
    assert columns["prediction"] == model.predict(dataset.X).tolist()
    if proba:
        label = model.classes_[-1]
        np.testing.assert_allclose(
            columns[f"probability_{label}"], model.predict_proba(dataset.X)[:, -1], rtol=1e-12
        )


@pytest.mark.usefixtures("rendered")
def test_models_of_estimators_find_their_columns(tmp_path, capsys):
    pandas = pytest.importorskip("pandas")
    X = np.random.default_rng(0).standard_normal((30, 2))
    frame = pandas.DataFrame({"left": X[:, 0], "right": X[:, 1]})
    y = np.where(X[:, 0] > X[:, 1], "l", "r")
    model = fastnn.MLPClassifier(4, solver="lbfgs", alpha=1.0, random_state=0).fit(frame, y)
    model.save("m.safetensors")
    frame.assign(more=0)[["more", "right", "left"]].to_csv("new.csv", index=False)
    assert cli.main(["predict", "m.safetensors", "new.csv", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["prediction"] == model.predict(frame).tolist()
    frame.assign(side=y).to_csv("new.csv", index=False)
    assert cli.main(["plot", "m.safetensors", "new.csv", "--target", "side", "--out", "a.png"]) == 0
    assert (tmp_path / "a.png").stat().st_size > 1000


@pytest.mark.parametrize("method", ["random", "halving"])
def test_progress_and_table_on_a_terminal(run, monkeypatch, method):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes the output for a terminal
    code, out, err = run("iris", *QUICK, "--method", method)
    assert code == 0
    assert "6/6" in err if method == "random" else "/?" in err  # three trials, two folds
    for name in ("rank", "score", "hidden", "activation", "learning_rate", "l2"):
        assert name[:5] in out


def test_seed_repeats(run):
    results = [
        json.loads(run("moons", *QUICK, "--seed", 3, "--json", *jobs)[1])
        for jobs in ([], ["--jobs", 1], ["--jobs", 2])
    ]
    for result in results:
        result.pop("folder")
    assert results[0] == results[1] == results[2]
    assert results[0] != json.loads(run("moons", *QUICK, "--seed", 4, "--json")[1])


@pytest.mark.parametrize("hidden", [(), (5,), (5, 4)])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_standardising_goes_into_the_layers(hidden):
    X, y = load_diabetes(return_X_y=True)
    X = X * np.arange(1, 11) + np.arange(10)
    model = fastnn.MLPRegressor(max_iter=20, random_state=0, learning_rate_init=0.01)
    folded = fit_best(model, {"hidden_layer_sizes": hidden}, X, y)
    scaler = StandardScaler().fit(X)
    model.set_params(hidden_layer_sizes=hidden)
    model.fit(scaler.transform(X), (y - y.mean()) / y.std())
    expected = model.predict(scaler.transform(X)) * y.std() + y.mean()
    # 1e-12 of values around 150, the scaler's own rounding included
    np.testing.assert_allclose(folded.predict(X), expected, rtol=1e-11)
    assert r2_score(y, expected) == pytest.approx(folded.score(X, y))


def test_means_that_float32_weights_cannot_hold():
    X, y = 1.7e9 + np.arange(50.0)[:, None], np.arange(50.0)
    settings = {"solver": "lbfgs", "tol": 1e9, "random_state": 0}
    model = fastnn.MLPRegressor(dtype="float32", **settings)
    with pytest.warns(UserWarning, match="column 0 is so large .* dtype float64 keeps them"):
        fit_best(model, {"hidden_layer_sizes": (3,)}, X, y)
    double = fastnn.MLPRegressor(dtype="float64", **settings)
    fit_best(double, {"hidden_layer_sizes": (3,)}, X, y)
    fit_best(model, {"hidden_layer_sizes": (3,)}, 2000.0 + np.arange(50.0)[:, None], y)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--hidden", "8,x"], "--hidden"),
        (["--hidden", "0"], "--hidden"),
        (["--activation", "relu,magic"], "magic"),
        (["--learning-rate", "1:0.1"], "--learning-rate"),
        (["--learning-rate", "0"], "--learning-rate"),
        (["--l2", "a:b"], "--l2"),
        (["--l2", "0:1"], "--l2"),
        (["--scoring", "magic"], "--scoring"),
        (["--solver", "magic"], "--optimizer must be one of 'sgd', 'adam'"),
        (["--method", "magic"], "method"),
        (["--folds", "1"], "folds"),
    ],
)
def test_bad_input_is_one_line(run, arguments, named, tmp_path):
    code, out, err = run("iris", *arguments)
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert named in err
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def rare(tmp_path):
    """Write ``rare.csv``: 60 rows of "a" and "b", and so many of "rare"."""

    def rare(n_rare):
        X = np.random.default_rng(0).standard_normal((60, 2))
        y = np.where(X[:, 0] > 0, "a", "b").astype("<U4")
        y[:n_rare] = "rare"
        return written(tmp_path / "rare.csv", {"u": X[:, 0], "v": X[:, 1], "kind": y})

    return rare


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("method", ["random", "halving"])
def test_a_rare_class_is_named(run, rare, method):
    arguments = [rare(1), "--target", "kind", "--method", method, "--trials", 3, "--epochs", 5]
    code, out, err = run(*arguments)
    assert (code, err) == (0, "")
    expected = "class 'rare': 1 training sample, 3 folds; drop it or merge it"
    assert f"  {expected}\n" in out
    assert json.loads(run(*arguments, "--json")[1])["caution"] == expected
    rare(2)
    result = json.loads(run(*arguments, "--json")[1])
    expected = "class 'rare': 2 training samples, 3 folds; --folds 2, or drop it or merge it"
    assert result["caution"] == expected
    assert "caution" not in json.loads(run(*arguments, "--folds", 2, "--json")[1])


def test_a_rare_class_and_a_score_that_may_need_it(run, rare, tmp_path):
    code, out, err = run(rare(1), "--target", "kind", "--scoring", "roc_auc_ovr")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err == "fastnn: class 'rare': 1 training sample, 3 folds; drop it or merge it\n"
    few = {"u": [1.0, 2.0, 3.0, 4.0], "kind": ["a", "a", "b", "b"]}
    path = written(tmp_path / "few.csv", few)
    code, out, err = run(path, "--target", "kind", "--test", 0)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "class 'a' and 1 more: 2 training samples, 3 folds" in err
    path = written(tmp_path / "one.csv", {"u": [1.0, 2.0], "kind": ["a", "a"]})
    assert "there is nothing to learn" in run(path, "--target", "kind")[2]


@pytest.mark.filterwarnings("error")
def test_a_score_that_does_not_suit_the_target(run, rare):
    # scikit-learn's f1 takes two classes, and 1 for the positive one
    for data, score in ((["iris"], "f1"), (["diabetes"], "roc_auc"), (["diabetes"], "accuracy")):
        code, out, err = run(*data, "--scoring", score)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert f"--scoring {score} is not defined for this target" in err


def test_ranges():
    assert numbers("--l2", "0,1e-3", zero=True) == [0.0, 0.001]
    drawn = numbers("--l2", "1e-3:10", zero=True).rvs(1000, random_state=0)
    assert 1e-3 <= drawn.min() < 2e-3
    assert 5 < drawn.max() <= 10
    # on a logarithmic scale half lie below the geometric mean; five deviations of the binomial
    assert abs(np.mean(drawn < 0.1) - 0.5) < 5 * 0.5 / np.sqrt(1000)


def test_all_diverging_is_an_error(run):
    code, _, err = run("diabetes", *QUICK, "--solver", "sgd", "--learning-rate", "1e300")
    assert code == 2
    assert "diverged" in err or "failed" in err
