import csv
import tomllib

import numpy as np
import pytest
from typer.testing import CliRunner

import fastnn
from fastnn import cli, datasets, storage
from fastnn.cli.config import merge

QUICK = ["--backend", "numpy", "--epochs", "20"]


# --- train --------------------------------------------------------------------


def test_default_job_is_the_course_s_run(run_json, tmp_path):
    result = run_json("train", "--backend", "numpy", "--epochs", "1001")
    assert result["layer_sizes"] == [2, 3, 2]
    assert result["dtype"] == "float64"
    assert result["samples"] == 200
    # The course's own objective after 1,001 steps.
    assert result["loss"] == pytest.approx(0.068947, abs=1e-6)
    assert result["accuracy"] > 0.97
    assert 0.95 < result["held_out_accuracy"] < 1
    assert result["held_out"] == "10,000 fresh points"
    settings = tomllib.loads((tmp_path / "runs/moons-1/settings.toml").read_text())
    for name, value in {
        "activation": ["tanh"],
        "initializer": "lecun_normal",
        "l2": 5e-5,
        "learning_rate": 2.0,
        "optimizer": "sgd",
        "batch_size": 0,
        "seed": 0,
    }.items():
        assert settings[name] == value
    assert merge().completed(datasets.load("moons"), 200).epochs == 20_000


@pytest.mark.usefixtures("rendered")
def test_files_of_a_run(run, tmp_path):
    code, out, err = run("train", *QUICK, "--out", "here/run", "--validation", "0.2")
    assert (code, err) == (0, "")
    folder = tmp_path / "here" / "run"
    assert {path.name for path in folder.iterdir()} == {
        "model.safetensors",
        "history.csv",
        "settings.toml",
        "decision_boundary.png",
        "loss.png",
        "checkpoint.safetensors",
    }
    rows = dict(line.split(maxsplit=1) for line in out.splitlines() if line.startswith("epochs"))
    assert rows == {"epochs": "20"}
    for name in ("training loss", "held-out accuracy", "seconds", "steps per second", "files"):
        assert f"\n{name} " in out
    with open(folder / "history.csv", newline="") as file:
        history = list(csv.DictReader(file))
    assert list(history[0]) == ["epoch", "loss", "validation_loss", "validation_score"]
    assert [row["epoch"] for row in history] == [str(k) for k in range(1, 21)]
    assert float(history[-1]["loss"]) < float(history[0]["loss"])
    for picture in ("decision_boundary.png", "loss.png"):
        from matplotlib.image import imread

        image = imread(folder / picture)
        assert image.shape[0] > 500
        assert len(np.unique(image.reshape(-1, image.shape[2]), axis=0)) > 50


def test_model_says_how_it_was_trained(run_json):
    result = run_json("train", "iris", *QUICK, "--out", "a")
    net = fastnn.load("a/model.safetensors", backend="numpy")
    training = storage.describe("a/model.safetensors").training
    assert training["settings"]["epochs"] == 20
    assert training["features"] == list(datasets.load("iris").feature_names)
    assert training["results"]["loss"] == result["loss"]
    assert net.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    assert "decision_boundary.png" not in result["files"]


def test_settings_file_reproduces_the_run(run_json, tmp_path):
    options = ["--hidden", "5,4", "--dropout", "0.1,0", "--batch-size", "16", "--seed", "3"]
    first = run_json("train", "circles", *QUICK, *options, "--out", "a")
    second = run_json("train", "--config", "a/settings.toml", "--out", "b")
    assert second["loss"] == first["loss"]
    assert second["held_out_accuracy"] == first["held_out_accuracy"]
    written = [(tmp_path / name / "settings.toml").read_text() for name in "ab"]
    assert written[0] == written[1]
    one, two = (fastnn.load(f"{k}/model.safetensors", backend="numpy") for k in "ab")
    np.testing.assert_array_equal(one.params, two.params)


def test_flag_before_environment_before_file_before_default(run_json, monkeypatch, tmp_path):
    (tmp_path / "c.toml").write_text('backend = "numpy"\nepochs = 3\nhidden = [4, 4]\nseed = 9\n')

    def settings(*arguments):
        folder = run_json("train", "--config", "c.toml", *arguments)["folder"]
        return tomllib.loads((tmp_path / folder / "settings.toml").read_text())

    assert (settings()["epochs"], settings()["hidden"]) == (3, [4, 4])
    monkeypatch.setenv("FASTNN_EPOCHS", "4")
    assert settings()["epochs"] == 4
    assert settings("--epochs", "5")["epochs"] == 5
    assert settings()["learning_rate"] == 2.0
    assert settings()["seed"] == 9
    # The two ways to give the hidden layers replace each other.
    monkeypatch.setenv("FASTNN_LAYERS", "3")
    assert settings("--layer-size", "6")["hidden"] == [6, 6, 6]
    assert settings("--hidden", "7")["hidden"] == [7]


def test_what_no_longer_fits_is_dropped_from_the_file(run_json, tmp_path):
    (tmp_path / "c.toml").write_text(
        'backend = "numpy"\nepochs = 3\noptimizer = "sgd"\nmomentum = 0.9\n'
        "early_stopping = true\npatience = 5\nvalidation = 0.1\n"
    )

    def settings(*arguments):
        folder = run_json("train", "--config", "c.toml", *arguments)["folder"]
        return tomllib.loads((tmp_path / folder / "settings.toml").read_text())

    assert settings()["momentum"] == 0.9
    assert "momentum" not in settings("--optimizer", "adam")
    kept = settings("--no-early-stopping")
    assert kept["early_stopping"] is False
    assert "patience" not in kept


def test_runs_do_not_overwrite_each_other(run_json, refused):
    folders = [run_json("train", *QUICK)["folder"] for _ in range(2)]
    assert folders == ["runs/moons-1", "runs/moons-2"]
    message = refused("train", *QUICK, "--out", "runs/moons-1")
    assert "has files already" in message
    run_json("train", *QUICK, "--out", "runs/moons-1", "--overwrite")


@pytest.mark.parametrize(
    ("arguments", "sizes"),
    [
        (["--hidden", "8,7,6"], [2, 8, 7, 6, 2]),
        (["--layers", "3", "--layer-size", "8"], [2, 8, 8, 8, 2]),
        (["--layers", "2"], [2, 3, 3, 2]),
        (["--hidden", "none"], [2, 2]),
        (["--loss", "binary_cross_entropy"], [2, 3, 1]),
    ],
)
def test_layers(run_json, arguments, sizes):
    assert run_json("train", *QUICK, *arguments)["layer_sizes"] == sizes


def test_every_option_arrives(run_json, tmp_path):
    options = {
        "--activation": "relu,silu",
        "--hidden": "6,5",
        "--initializer": "glorot_uniform",
        "--l2": "0.01",
        "--dropout": "0.25",
        "--optimizer": "rmsprop",
        "--learning-rate": "0.02",
        "--batch-size": "32",
        "--seed": "5",
        "--dtype": "float32",
        "--test": "0.3",
        "--validation": "0.25",
        "--patience": "7",
        "--threads": "1",
    }
    flat = [part for option in options.items() for part in option]
    result = run_json("train", "blobs", *QUICK, *flat, "--standardize", "--out", "a")
    config = fastnn.load("a/model.safetensors", backend="numpy").get_config()
    assert config["activation"] == ["relu", "silu"]
    assert config["layer_sizes"] == [2, 6, 5, 4]
    assert config["initializer"] == "glorot_uniform"
    assert config["l2"] == 0.01
    assert config["dropout"] == [0.25, 0.25]
    assert config["standardize"] is True
    assert config["dtype"] == result["dtype"] == "float32"
    assert (result["samples"], result["held_out"]) == (140, "60 samples set aside")
    settings = tomllib.loads((tmp_path / "a" / "settings.toml").read_text())
    assert settings["optimizer"] == "rmsprop"
    assert settings["early_stopping"] is True
    assert settings["patience"] == 7
    assert "momentum" not in settings


def test_early_stopping(run_json):
    arguments = ["--optimizer", "sgd", "--learning-rate", "1e-9", "--epochs", "1000"]
    arguments += ["--early-stopping", "--patience", "3", "--dtype", "float32"]
    result = run_json("train", "moons", "--backend", "numpy", *arguments)
    assert result["stopped"] == "early stopping"
    assert result["epochs"] < 100
    assert result["best_epoch"] == result["epochs"] - 3


def test_sensible_without_options(run_json):
    for name, score, least in (("iris", "accuracy", 0.85), ("diabetes", "r2", 0.4)):
        result = run_json("train", name, "--backend", "numpy")
        assert result[f"held_out_{score}"] > least
        assert result["task"] == ("regression" if score == "r2" else "classification")


def test_digits_are_scaled(run_json):
    result = run_json("train", "digits", "--backend", "numpy", "--epochs", "5")
    assert result["held_out_accuracy"] > 0.85
    assert run_json("evaluate", result["folder"])["accuracy"] == result["held_out_accuracy"]


def test_mnist_without_files(refused, monkeypatch, tmp_path):
    def unreachable(url):
        raise ConnectionError(url)

    monkeypatch.setattr("fastnn.datasets.mnist.download", unreachable)
    monkeypatch.setattr("fastnn.datasets.mnist.cache_dir", lambda: tmp_path / "cache")
    assert "--data-dir or FASTNN_DATA_DIR" in refused("train", "mnist")
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def flowers(tmp_path):
    """A CSV file with names, a column of words to predict, and one without it."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2)) + 3 * (np.arange(60) % 2)[:, None]
    kinds = np.array(["aster", "lily"])[np.arange(60) % 2]
    lines = ["length,kind,width", *(f"{a},{k},{b}" for (a, b), k in zip(X, kinds, strict=True))]
    (tmp_path / "flowers.csv").write_text("\n".join(lines) + "\n")
    lines = ["width,length", *(f"{b},{a}" for a, b in X)]
    (tmp_path / "new.csv").write_text("\n".join(lines) + "\n")
    return X, kinds


def test_own_file_from_training_to_prediction(run, run_json, refused, flowers, tmp_path):
    X, _ = flowers
    trained = run_json(
        "train",
        "flowers.csv",
        "--target",
        "kind",
        "--standardize",
        "--backend",
        "numpy",
        "--out",
        "a",
    )
    assert trained["layer_sizes"][0::2] == [2, 2]
    assert trained["held_out_accuracy"] > 0.8
    whole = run_json("evaluate", "a", "flowers.csv")
    assert whole["what"] == "all 60 samples, 48 of them trained with"
    unseen = run_json("evaluate", "a/model.safetensors", "--backend", "numpy")
    assert unseen["accuracy"] == pytest.approx(trained["held_out_accuracy"])
    assert unseen["samples"] == 12
    # Columns are found by name, in whatever order, with or without the target.
    net = fastnn.load("a/model.safetensors", backend="numpy")
    code, out, err = run("predict", "a", "new.csv", "--backend", "numpy")
    assert code == 0
    assert err.endswith("fastnn: new.csv: columns are taken by name, in the order of training\n")
    assert out.splitlines() == ["prediction", *net.predict(X)]
    assert run("predict", "a", "flowers.csv", "--backend", "numpy")[1] == out
    probabilities = run_json("predict", "a", "new.csv", "--proba")
    assert list(probabilities) == ["prediction", "probability_aster", "probability_lily"]
    np.testing.assert_allclose(
        probabilities["probability_lily"], net.predict_proba(X)[:, 1], atol=1e-6
    )
    assert run("predict", "a", "new.csv", "--out", "p.csv")[1] == ""
    assert (tmp_path / "p.csv").read_text() == out
    assert "p.csv: Not a directory" in refused("predict", "a", "new.csv", "--out", "p.csv/q.csv")
    # As many columns, but one of the features is not among them.
    (tmp_path / "other.csv").write_text("width,age\n1,2\n")
    assert "there is no column 'length'" in refused("predict", "a", "other.csv")


@pytest.mark.parametrize(
    ("y", "task"),
    [
        (np.arange(40).repeat(5), "classification, 40 classes; else --task regression"),
        (np.arange(12) % 3, "classification, 3 classes: 0, 1, 2; else --task regression"),
        (np.arange(20) ** 2, "regression, 0 to 361; else --task classification"),
        (np.arange(12) / 8, "regression, 0 to 1.375"),
        (np.array(["no", "yes"] * 6), "classification, 2 classes: no, yes"),
    ],
)
def test_what_the_target_is_taken_for(run, y, task):
    rows = zip(np.arange(len(y)) % 7, y, strict=True)
    with open("t.csv", "w", newline="") as file:
        csv.writer(file).writerows([("x", "y"), *rows])
    arguments = ["t.csv", "--target", "y", "--backend", "numpy", "--epochs", "1"]
    code, out, err = run("train", *arguments)
    assert (code, err) == (0, "")
    assert f"  {task}\n" in out
    _, _, other = task.partition("; else --task ")
    if other:  # as the line says
        out = run("train", *arguments, "--task", other)[1]
        assert f"  {other}, " in out
        assert "; else" not in out
        arguments += ["--trials", 1, "--folds", 2, "--hidden", "3"]
        assert f"  {task}\n" in run("search", *arguments)[1]


@pytest.mark.usefixtures("rendered")
def test_plot(run, run_json, refused, flowers, tmp_path):
    trained = run_json("train", *QUICK, "--out", "a")
    result = run_json("plot", "a")
    assert result["file"] == "a/plot_moons.png"
    assert result["accuracy"] == trained["accuracy"]
    assert (tmp_path / "a/plot_moons.png").read_bytes()[:4] == b"\x89PNG"
    code, out, _ = run("plot", "a", "moons", "--out", "b/c.svg")
    assert code == 0
    assert "b/c.svg" in out
    assert "<svg" in (tmp_path / "b/c.svg").read_text()
    assert "must end in .png" in refused("plot", "a", "--out", "b/c.txt")
    run_json("train", "iris", *QUICK, "--out", "i")
    # of other numbers of features the confusion matrix of what evaluate takes
    result, scores = run_json("plot", "i", "iris"), run_json("evaluate", "i", "iris")
    assert result["file"] == "i/plot_iris.png"
    assert result["accuracy"] == scores["accuracy"]


# --- info, version, help ------------------------------------------------------


def test_info(run, run_json, monkeypatch):
    result = run_json("info")
    assert result["versions"]["fastnn"] == fastnn.__version__
    assert result["versions"]["numpy"] == np.__version__
    assert set(result["backends"]) == {"cython", "numba", "numpy"}
    assert result["backends"]["numpy"] == {"available": True, "reason": None}
    for backend in result["backends"].values():
        assert backend["available"] == (backend["reason"] is None)
    assert result["auto"] == fastnn.available_backends()[0]
    assert result["cores"] >= 1
    code, out, _ = run("info")
    assert code == 0
    assert fastnn.__version__ in out
    assert result["cache"] in out


def test_info_tells_why_a_backend_is_missing(run_json, monkeypatch):
    monkeypatch.setattr(
        "fastnn.backends.why_missing", lambda name: None if name == "numpy" else "get it there"
    )
    result = run_json("info")
    assert result["backends"]["cython"] == {"available": False, "reason": "get it there"}
    assert result["auto"] == "numpy"
    assert result["vector_level"] is None


def test_version_and_help(run):
    assert run("--version") == (0, f"fastnn {fastnn.__version__}\n", "")
    for arguments in ([], ["--help"], ["train", "--help"]):
        code, out, err = run(*arguments)
        assert (code, err) == (0, "")
        assert "Usage" in out
    result = CliRunner().invoke(cli.app, ["train", "--help"], env={"COLUMNS": "200"})
    assert "FASTNN_EPOCHS" in result.output
