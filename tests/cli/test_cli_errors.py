"""What the commands answer to bad input, divergence and Ctrl-C."""

import signal
import subprocess
import sys

import pytest
from test_cli import QUICK

import fastnn
from fastnn import datasets


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "moon"], "no data set and no file 'moon'"),
        (["train", "x.csv"], "no file 'x.csv'"),
        (["train", "iris", "--target", "y"], "has its own target"),
        (["train", "--epochs", "0"], "epochs"),
        (["train", "--epochs", "many"], "epochs"),
        (["train", "--learning-rate", "-1"], "learning-rate"),
        (["train", "--learning-rate", "nan"], "learning-rate"),
        (["train", "--l2", "-1"], "l2"),
        (["train", "--dropout", "1"], "dropout"),
        (["train", "--validation", "1.5"], "validation"),
        (["train", "--test", "1"], "test"),
        (["train", "--seed", "-1"], "seed"),
        (["train", "--hidden", "8,x"], "hidden"),
        (["train", "--hidden", "8,0"], "hidden"),
        (["train", "--hidden", "8", "--layers", "2"], "not both"),
        (["train", "--activation", "step"], "activation"),
        (["train", "--activation", "tanh,relu"], "activation"),
        (["train", "--optimizer", "lbfgs"], "optimizer"),
        (["train", "--optimizer", "adam", "--momentum", "0.9"], "momentum belongs to sgd"),
        (["train", "iris", "--momentum", "0.9"], "momentum belongs to sgd"),
        (["train", "--backend", "fortran"], "--backend must be one of 'auto', 'cython'"),
        (["train", "--dtype", "int8"], "dtype"),
        (["train", "--loss", "squared_error"], "--loss squared_error is for regression, but"),
        (["train", "--delta", "2"], "delta belongs to the loss huber; no loss is given"),
        (
            ["train", "--quantile", "0.3", "--loss", "huber"],
            "quantile belongs to the loss quantile; the loss is huber",
        ),
        (["train", "--clip-norm", "1", "--clip-value", "1"], "give clip_norm or clip_value"),
        (["train", "blobs", "--loss", "binary_cross_entropy"], "is for 2 classes; there are 4"),
        (["train", "--config", "no.toml"], "fastnn: no.toml: No such file"),
        (["train", "--out", "bad.safetensors/a"], "bad.safetensors/a: Not a directory"),
        (["train", "--nonsense"], "--nonsense"),
        (["train", "a", "b"], "unexpected"),
        (["nonsense"], "nonsense"),
        (["predict"], "Missing argument"),
        (["predict", "no", "moons"], "no"),
        (["evaluate", "bad.safetensors", "moons"], "bad.safetensors: not a model file"),
        (["predict", "bad.safetensors", "moons"], "bad.safetensors: not a model file"),
        (["train", "moons", "--out", "bad.safetensors"], "not a folder"),
        (["train", "--config", "bad.safetensors"], "bad.safetensors"),
        (["train", "--config", "typo.toml"], "typo.toml: there is no setting 'epoch'"),
        (["train", "--config", "wrong.toml"], "wrong.toml: epochs"),
    ],
)
def test_bad_input_is_one_line(refused, tmp_path, arguments, message):
    (tmp_path / "bad.safetensors").write_text("= not a model, not TOML")
    (tmp_path / "typo.toml").write_text("epoch = 3\n")
    (tmp_path / "wrong.toml").write_text('epochs = "three"\n')
    assert message in refused(*arguments)
    assert not list(tmp_path.glob("runs/*"))


def test_divergence(refused, tmp_path):
    message = refused("train", "diabetes", *QUICK, "--optimizer", "sgd", "--learning-rate", "1e6")
    assert "learning rate" in message
    assert list(tmp_path.iterdir()) == []
    refused("train", "diabetes", *QUICK, "--optimizer", "sgd", "--learning-rate", "1e6",
            "--out", "a/b")  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_missing_backend(refused, monkeypatch):
    monkeypatch.setattr("fastnn.backends.why_missing", lambda name: "install it with: pip")
    assert "install it with" in refused("train", "--backend", "cython")


def test_model_for_other_data(run_json, refused):
    run_json("train", *QUICK, "--out", "a")
    assert "iris has 4 features; the network expects 2" in refused("evaluate", "a", "iris")
    assert "4 features" in refused("predict", "a", "iris")


def test_interrupt_keeps_what_was_trained(stopped_by, tmp_path):
    code, out, err = stopped_by(signal.SIGINT, "--backend", "numpy", "--epochs", "100000000")
    assert (code, err) == (130, "fastnn: interrupted\n")
    assert ", interrupted" in out
    net = fastnn.load(tmp_path / "a" / "model.safetensors", backend="numpy")
    assert net.n_epochs_ > 0
    assert (tmp_path / "a" / "history.csv").exists()


def test_interrupt_elsewhere(run, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(datasets, "load", interrupted)
    assert run("train") == (130, "", "fastnn: interrupted\n")


def test_reader_that_stops_reading(run_json):
    run_json("train", *QUICK, "--out", "a")
    process = subprocess.Popen(
        [sys.executable, "-m", "fastnn", "predict", "a", "moons", "--proba"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 0


def test_default_job_imports_no_scikit_learn_and_no_tensorflow():
    code = """
import sys
from fastnn.cli import main
assert main(["train", "--backend", "numpy", "--epochs", "2", "--out", "a"]) == 0
heavy = {"sklearn", "tensorflow", "pandas", "numba", "matplotlib.pyplot"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_scripts_see_no_colours_and_no_bar(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "fastnn", "train", *QUICK],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
