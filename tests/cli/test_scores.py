"""Imbalanced classes, class weights and cautions in ``train``, ``evaluate`` and ``search``."""

import csv

import numpy as np
import pytest
from scipy.stats import beta
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score
from sklearn.utils.class_weight import compute_sample_weight

import fastnn
from fastnn import datasets
from fastnn.cli import scores


@pytest.fixture
def run(run):
    """With the NumPy backend."""
    return lambda *arguments: run(*arguments, "--backend", "numpy")


def write(path, X, y):
    with open(path, "w", newline="") as file:
        names = [f"f{k}" for k in range(X.shape[1])]
        csv.writer(file).writerows(
            [(*names, "found"), *((*x, t) for x, t in zip(X, y, strict=True))]
        )


@pytest.fixture
def rare():
    """``rare.csv``: 3% of 1,000 rows are "yes", which two of three features tell in part."""
    rng = np.random.default_rng(0)
    y = np.where(np.arange(1000) % 33 == 0, "yes", "no")
    X = rng.normal(size=(1000, 3)) + 1.2 * (y == "yes")[:, None] * [1, 1, 0]
    write("rare.csv", X, y)
    return X, y


TRAIN = ["train", "rare.csv", "--target", "found", "--epochs", 20, "--out", "a"]


def held_out(X, y):
    rows = datasets.train_test_split(y, 0.2, 0, stratify=True)[1]
    return X[rows].astype(np.float32), y[rows]


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy"])
def test_what_stands_beside_the_accuracy(rare, run_json, loss):
    result = run_json(*TRAIN, "--loss", loss)
    X, y = held_out(*rare)
    net = fastnn.load("a/model.safetensors", backend="numpy")
    assert result["held_out_majority_class"] == "no"
    assert result["held_out_majority_share"] == np.mean(y == "no") > 0.96
    expected = balanced_accuracy_score(y, net.predict(X))
    assert result["held_out_balanced_accuracy"] == pytest.approx(expected)
    p = net.predict_proba(X)[:, list(net.classes_).index("yes")]
    assert result["held_out_auc"] == pytest.approx(roc_auc_score(y == "yes", p))
    evaluated = run_json("evaluate", "a")
    for name in ("majority_class", "majority_share", "balanced_accuracy", "auc"):
        assert evaluated[name] == result[f"held_out_{name}"]


def test_class_weight_finds_the_rare_class(rare, run, run_json):
    plain = run_json(*TRAIN)
    assert plain["held_out_balanced_accuracy"] < 0.6
    weighted = run_json(*TRAIN, "--overwrite", "--class-weight", "balanced")
    assert weighted["held_out_balanced_accuracy"] > 0.7
    assert weighted["class_weight"] == "balanced"
    # the same as weights by hand
    X, y = rare
    rows = datasets.train_test_split(y, 0.2, 0, stratify=True)[0]
    net = fastnn.load("a/model.safetensors", backend="numpy")
    other = fastnn.Network(
        [3, 64, 2],
        activation="relu",
        l2=1e-3,
        standardize=True,
        backend="numpy",
        random_state=0,
    )
    weight = compute_sample_weight("balanced", y[rows])
    other.fit(X[rows], y[rows], epochs=20, batch_size=32, sample_weight=weight)
    np.testing.assert_array_equal(net.params, other.params)
    # and kept with the settings
    again = run_json("train", "--config", "a/settings.toml", "--out", "b")
    assert again["held_out_auc"] == weighted["held_out_auc"]


def test_the_table_says_it(rare, run):
    code, out, err = run(*TRAIN)
    assert (code, err) == (0, "")
    lines = dict(line.split("  ", 1) for line in out.splitlines())
    lines = {name: text.strip() for name, text in lines.items()}
    constant, linear = lines["baselines"].split(", ")
    assert constant == "97.00% by always predicting 'no'"
    assert linear.endswith("% by a linear model")
    assert lines["balanced accuracy"].endswith("%")
    assert 0.5 < float(lines["AUC"]) < 1
    assert lines["hint"] == "--class-weight balanced counts every class the same"
    assert "caution" not in lines
    assert max(map(len, out.splitlines())) <= 80 + len(str(lines["data"])) - 30  # the file's path
    out = run(*TRAIN, "--overwrite", "--class-weight", "balanced")[1]
    assert "\nhint" not in out


def test_balanced_classes_and_values_have_none_of_it(run_json):
    for data in ("iris", "breast_cancer", "diabetes"):
        result = run_json("train", data, "--epochs", 2)
        assert not [name for name in result if "balanced" in name or "auc" in name]


def test_many_classes_of_a_few_samples_are_balanced_but_for_chance(run_json):
    rng = np.random.default_rng(0)
    y = rng.permutation(np.arange(40).repeat(15))
    write("many.csv", rng.normal(size=(600, 2)), y)
    run_json("train", "many.csv", "--target", "found", "--epochs", 1, "--out", "a")
    rows = rng.permutation(600)[:120]
    counts = np.unique(y[rows], return_counts=True)[1]
    assert counts.max() > 3 * counts.min()
    write("some.csv", rng.normal(size=(120, 2)), y[rows])
    result = run_json("evaluate", "a", "some.csv")
    assert "balanced_accuracy" not in result
    assert "caution" not in result


def test_several_classes(run_json):
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], [300, 200, 40])
    X = rng.normal(size=(540, 2)) + y[:, None]
    write("three.csv", X, y)
    result = run_json("train", "three.csv", "--target", "found", "--epochs", 20, "--out", "a")
    X, y = held_out(X, y)
    p = fastnn.load("a/model.safetensors", backend="numpy").predict_proba(X)
    areas = [roc_auc_score(y == k, p[:, k]) for k in range(3)]
    assert result["held_out_auc"] == pytest.approx(np.mean(areas))
    # a class that is not among the rows
    write("two.csv", X[y < 2], y[y < 2])
    result = run_json("evaluate", "a", "two.csv")
    assert result["auc"] is None
    assert 0.5 < result["balanced_accuracy"] < 1


def test_search(rare, run, run_json):
    arguments = ["search", "rare.csv", "--target", "found", "--trials", 2, "--folds", 2]
    arguments += ["--epochs", 20, "--hidden", "16", "--learning-rate", "0.01", "--l2", "0.01"]
    plain = run_json(*arguments)
    weighted = run_json(*arguments, "--class-weight", "balanced", "--scoring", "balanced_accuracy")
    assert plain["held_out_balanced_accuracy"] < 0.65 < weighted["held_out_balanced_accuracy"]
    assert weighted["held_out_score"] == weighted["held_out_balanced_accuracy"]
    model = fastnn.load(f"{weighted['folder']}/model.safetensors", backend="numpy")
    assert model.class_weight == "balanced"
    X, y = held_out(*rare)
    assert weighted["held_out_auc"] == pytest.approx(
        roc_auc_score(y == "yes", model.predict_proba(X)[:, 1])
    )
    out = run(*arguments)[1]
    assert "\nhint               --scoring balanced_accuracy, --class-weight balanced\n" in out


def test_a_few_samples_get_a_caution(run, run_json):
    rng = np.random.default_rng(0)
    y = np.array(["a", "b"] * 25)
    X = rng.normal(size=(50, 2)) + 2 * (y == "a")[:, None]
    write("small.csv", X, y)
    result = run_json("train", "small.csv", "--target", "found", "--epochs", 20)
    low, high = scores.interval(result["held_out_accuracy"], 10)
    assert result["held_out_caution"] == (
        f"10 samples are few: anything from {low:.0%} to {high:.0%} is likely (95%)"
    )
    assert "10 samples are few" in run("train", "small.csv", "--target", "found")[1]
    write("values.csv", X, X[:, 0])
    result = run_json("train", "values.csv", "--target", "found", "--epochs", 20)
    assert result["held_out_caution"].startswith("10 samples are few for a score")


def test_a_few_samples_of_a_class_get_a_caution(run_json):
    rng = np.random.default_rng(0)
    y = np.repeat(["a", "b"], [300, 10])
    write("rare.csv", rng.normal(size=(310, 2)), y)
    result = run_json(*TRAIN)
    assert result["held_out_caution"] == "only 2 of the samples are of class 'b'"


def test_interval_holds_the_share():
    for hits, n in ((0, 5), (7, 10), (20, 20)):
        low, high = scores.interval(hits / n, n)
        exact = beta.ppf(
            [0.025, 0.975], [max(hits, 1e-9), hits + 1], [n - hits + 1, max(n - hits, 1e-9)]
        )
        assert 0 <= low <= hits / n <= high <= 1
        # Wilson's lies within the exact one of Clopper and Pearson, up to 3 points
        assert exact[0] - 0.03 <= low
        assert high <= exact[1] + 0.03


def test_class_weight_of_values_is_refused(refused):
    for command in ("train", "search"):
        message = refused(command, "diabetes", "--class-weight", "balanced")
        assert "is for classes; the task is regression" in message
    assert "class-weight" in refused("train", "iris", "--class-weight", "magic")


def test_another_score_of_a_training(run, run_json):
    data = datasets.load("iris")
    settings = ("train", "iris", "--epochs", 50)
    result = run_json(*settings, "--scoring", "f1_macro", "--test", 0, "--out", "all")
    predicted = fastnn.load("all/model.safetensors").predict(data.X)
    assert result["scoring_training"] == f1_score(data.y, predicted, average="macro")
    assert result["scoring_held_out"] is None
    result = run_json(*settings, "--scoring", "accuracy", "--out", "some")
    assert result["scoring_training"] == pytest.approx(result["accuracy"])
    assert result["scoring_held_out"] == pytest.approx(result["held_out_accuracy"])
    code, out, _ = run(*settings, "--scoring", "f1_macro", "--out", "again")
    assert code == 0
    assert " in training, " in next(x for x in out.splitlines() if x.startswith("f1_macro "))


def test_a_score_that_does_not_suit(refused):
    assert "--scoring must be the name of a score of scikit-learn" in refused(
        "train", "iris", "--scoring", "nonsense"
    )
    assert "--scoring roc_auc is not defined for this target" in refused(
        "train", "iris", "--scoring", "roc_auc"
    )
