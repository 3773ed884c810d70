"""``fastnn bench``: what it computes and writes, not how fast anything is."""

import dataclasses
import json

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from fastnn import backends, bench, cli
from fastnn.network import Network
from fastnn.training.optimizers import SGD, Adam


def run_command(*arguments):
    app = typer.Typer()
    app.command()(bench.command)
    return CliRunner().invoke(app, [*arguments])


def test_every_job_is_timed(tmp_path, monkeypatch):
    few = {name: tiny(job) for name, job in bench.JOBS.items()}
    monkeypatch.setattr(bench, "JOBS", few)
    monkeypatch.setattr(bench, "REST", 0.0)
    monkeypatch.setenv("COLUMNS", "200")  # long times, as of a busy machine, fit too
    result = run_command("--seconds=0.01", f"--out={tmp_path / 'bench.json'}")
    assert result.exit_code == 0, result.output
    run = json.loads((tmp_path / "bench.json").read_text())
    assert run["contenders"] == [*backends.available(), "scikit-learn"]
    assert list(run["jobs"]) == list(few)
    for job in run["jobs"].values():
        assert set(job["microseconds"]) == set(run["contenders"])
        for contender, median in job["microseconds"].items():
            assert median == np.median(job["rounds"][contender]) > 0
        assert job["description"] in " ".join(result.output.split())
    assert run["machine"]["cpu"] in result.output
    assert "scikit-learn / numpy" in result.output


def tiny(job):
    """The same with at most two batches of samples."""

    def data():
        x, y, source = job.data()
        rows = 2 * (job.batch_size or 10)
        return x[:rows], y[:rows], source

    return dataclasses.replace(job, data=data)


def test_chosen_jobs_and_backends(monkeypatch):
    monkeypatch.setattr(bench, "REST", 0.0)
    result = run_command("--jobs=predict-1", "--backends=numpy", "--seconds=0.01")
    assert result.exit_code == 0, result.output
    assert "predict-1" in result.output
    assert "moons" not in result.output
    assert "cython" not in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--jobs=nothing"], "job must be one of moons"),
        (["--jobs=wide"], "more with python -m benchmarks; got 'wide'"),
        (["--backends=torch"], "more with python -m benchmarks; got 'torch'"),
        (["--out=missing/bench.json"], "no such directory"),
        (["--json", "missing/bench.json"], "no such directory"),
        (["missing"], "there is no argument; got 'missing'"),
    ],
)
def test_bad_arguments(arguments, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    result = run_command(*arguments)
    assert result.exit_code == 2
    # typer draws a box and breaks lines in it
    assert message in " ".join(result.output.replace("│", " ").split())


@pytest.mark.parametrize("given", [["--peers", "torch"], ["--map"], ["--plot=x.png"]])
def test_options_of_earlier_versions_say_where_they_are(given, capsys):
    assert cli.main(["bench", *given]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("fastnn: --map, --peers,")
    assert "are options of python -m benchmarks, in a clone" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("given", [["--json"], ["--json=-"]])
def test_json_on_the_output(monkeypatch, capsys, given):
    monkeypatch.setattr(bench, "REST", 0.0)
    short = ["--jobs=predict-1", "--backends=numpy", "--seconds=0.01"]
    assert cli.main(["bench", *short, *given]) == 0
    out, err = capsys.readouterr()
    assert list(json.loads(out)["jobs"]) == ["predict-1"]
    assert err == ""


@pytest.mark.parametrize("option", ["--out", "--json"])  # the second as in earlier versions
def test_json_in_a_file(monkeypatch, capsys, tmp_path, option):
    monkeypatch.setattr(bench, "REST", 0.0)
    short = ["--jobs=predict-1", "--backends=numpy", "--seconds=0.01", "--quiet"]
    assert cli.main(["bench", *short, f"{option}={tmp_path / 'times.json'}"]) == 0
    out, err = capsys.readouterr()
    assert "scikit-learn" in out
    assert err == ""
    assert list(json.loads((tmp_path / "times.json").read_text())["jobs"]) == ["predict-1"]


def test_other_results_are_no_contest(monkeypatch):
    """Who computes something else is not timed."""
    network = bench.Network

    def other_weights(*arguments, backend, random_state, **options):
        return network(*arguments, backend="numpy", random_state=int(backend == "other"), **options)

    monkeypatch.setattr(bench, "Network", other_weights)
    with pytest.raises(RuntimeError, match="other differs from NumPy at moons"):
        bench.measure("moons", ["other"], 0.01)


@pytest.mark.filterwarnings("ignore")  # scikit-learn's, that it has not converged
@pytest.mark.parametrize("optimizer", [SGD(0.1), Adam(0.01)], ids=["sgd", "adam"])
@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_scikit_learn_computes_the_same(loss, optimizer):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3))
    y = rng.integers(0, 2, 40) if loss == "cross_entropy" else rng.normal(size=(40, 2))
    net = Network([3, 5, 2], loss=loss, backend="numpy", dtype="float64", random_state=0)
    model, targets = bench.sklearn_model(net, optimizer, 10, x, y)
    model.set_params(max_iter=3).fit(x, targets)
    net.fit(x, y, optimizer=optimizer, epochs=3, batch_size=10, shuffle=False)
    # float64, 12 steps
    for ours, theirs in zip(net.weights, model.coefs_, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def test_mnist_is_never_downloaded(tmp_path):
    with pytest.raises(FileNotFoundError, match="FASTNN_DATA_DIR"):
        bench.local_mnist(10, str(tmp_path))


def test_missing_mnist_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("FASTNN_DATA_DIR", str(tmp_path))
    x, y, source = bench.JOBS["mlp"].data()
    assert x.shape == (12_800, 784)
    assert len(y) == len(x)
    assert source == "random images, as MNIST's files are missing"


def test_random_images_are_as_sparse_as_mnist():
    x, y = bench.random_images(500, 100, 10)
    assert x.dtype == np.float32
    # 50,000 draws: a standard deviation of 0.002
    assert np.mean(x == 0) == pytest.approx(0.81, abs=0.01)
    assert set(y) == set(range(10))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (0.0, "0"),
        (0.01234, "0.0123"),
        (1.5, "1.50"),
        (12.34, "12.3"),
        (9876.5, "9,876"),
    ],
)
def test_three_digits(value, text):
    assert bench.number(value) == text
