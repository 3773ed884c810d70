"""``fastnn search`` with the preset tabular, ``--resume`` and ``--cluster``."""

import csv
import json
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn import cli, storage
from fastnn.tables import TableModel, fit_store, realmlp, trials

QUICK = ["--trials", 3, "--folds", 2, "--epochs", 16, "--method", "random"]


@pytest.fixture
def small(monkeypatch):
    """Networks that train in no time."""
    monkeypatch.setattr(realmlp, "HIDDEN", (16, 16))
    monkeypatch.setitem(trials.SPACE, "hidden_layer_sizes", [(16, 16), (8,)])


@pytest.fixture
def people():
    """Write people.csv; its columns."""
    rng, n = np.random.default_rng(0), 150
    age, port = rng.normal(40, 9, n).round(1), rng.choice(["Rome", "Oslo"], n)
    paid = np.where((age > 40) ^ (port == "Rome"), "yes", "no")
    ages = [str(value) if k % 15 else "" for k, value in enumerate(age)]
    rows = [("age", "port", "paid"), *zip(ages, port, paid, strict=True)]
    with open("people.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    return {"age": ages, "port": port, "paid": paid}


def table_of(folder):
    """The trials of a run without the seconds."""
    rows = Path(folder, "search.csv").read_text().splitlines()
    return [row.rpartition(",")[0] for row in rows]


def test_exports_of_an_ensemble(run, refused, small, people):
    onnxruntime = pytest.importorskip("onnxruntime")
    options = ["--ensemble", 1, "--out", "s"]
    assert run("search", "people.csv", "--target", "paid", *QUICK, *options)[0] == 0
    assert run("export", "s", "people.onnx")[0] == 0
    session = onnxruntime.InferenceSession("people.onnx")
    ages = np.array([[float(age or "nan")] for age in people["age"]])
    feeds = {"age": ages, "port": people["port"].astype(object)[:, None]}
    (given,) = session.run(["probabilities"], feeds)
    model = fastnn.load("s/model.safetensors")
    np.testing.assert_allclose(given, model.predict_proba(people), rtol=1e-4, atol=1e-6)
    assert run("export", "s", "people.c")[0] == 0
    nets = model.network.networks
    storage.save(TableModel(model.encoding, fastnn.Ensemble(nets, [1, 3])), "t.safetensors")
    assert run("export", "t.safetensors", "t.c")[0] == 0
    assert "an ensemble of" in refused("export", "t.safetensors", "t.pt")


@pytest.mark.usefixtures("rendered")
def test_search_of_a_table(run, run_json, refused, small, people):
    code, out, err = run("search", "people.csv", "--target", "paid", *QUICK, "--out", "s")
    assert (code, err) == (0, "")
    assert "column          port  2 categories" in out
    assert "preset          tabular; else --preset plain" in out
    model = fastnn.load("s/model.safetensors")
    assert isinstance(model, TableModel)
    assert isinstance(model.network, fastnn.Ensemble)
    assert f"model           {len(model.network)} networks" in out
    assert sorted(os.listdir("s")) == ["model.safetensors", "rows.npz", "search.csv", "search.json"]
    # the other commands take the file
    predicted = run_json("predict", "s", "people.csv", "--proba")
    np.testing.assert_array_equal(predicted["prediction"], model.predict(people))
    np.testing.assert_allclose(
        predicted["probability_yes"], model.predict_proba(people)[:, 1], rtol=1e-6
    )
    result = run_json("evaluate", "s", "people.csv")
    assert result["accuracy"] == model.score(people, people["paid"])
    assert 0 < result["loss"] < 1
    assert run_json("evaluate", "s")["what"] == "30 samples set aside"
    info = run_json("info", "s")
    assert (info["kind"], info["classes"]) == ("Ensemble", ["no", "yes"])
    assert info["parameters"] == model.network.n_params
    assert len(info["members"]) == len(model.network)
    assert "ensemble: " in run("info", "s")[1]
    assert run("plot", "s", "--out", "p.png")[0] == 0
    assert "an ensemble of" in refused("export", "s", "--to", "keras")
    assert run("export", "s", "--to", "c")[0] == 0
    held_out = run_json("evaluate", "s")["accuracy"]
    assert f"held-out score  {held_out:.4f} (30 samples set aside)" in out
    description = storage.describe("s/model.safetensors")
    assert description.training["settings"]["preset"] == "tabular"
    for options in ([], ["--scoring", "neg_mean_absolute_error"]):
        result = run_json("search", "people.csv", "--target", "age", *QUICK, *options)
        assert result["held_out_score"] is not None
        assert run("plot", result["folder"], "--out", "q.png")[0] == 0
    result = run_json(
        "search", "people.csv", "--target", "age", *QUICK, "--ensemble", 0, "--scoring", "r2"
    )
    assert (result["networks"], result["task"]) == (1, "regression")
    assert isinstance(fastnn.load(f"{result['folder']}/model.safetensors").network, fastnn.Network)
    assert run("export", result["folder"], "--to", "c")[0] == 0


def interrupt_after(monkeypatch, owner, number):
    """Ctrl-C when so many fits have been kept."""
    put, done = owner.put, []

    def stopping(self, *what):
        put(self, *what)
        done.append(what)
        if len(done) == number:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(owner, "put", stopping)


def counted(monkeypatch, owner):
    """A list that grows with each fit that is kept."""
    put, done = owner.put, []
    monkeypatch.setattr(owner, "put", lambda self, *what: (put(self, *what), done.append(what)))
    return done


@pytest.mark.parametrize(
    ("owner", "options"),
    [
        (fit_store.FitFolder, ["people.csv", "--target", "paid", *QUICK]),
        (fit_store.ScoreFolder, ["iris", *QUICK, "--hidden", 4]),
        (fit_store.ScoreFolder, ["iris", "--method", "halving", "--trials", 5, "--epochs", 9]),
    ],
    ids=["tabular", "plain", "plain halving"],
)
def test_a_search_that_was_stopped_goes_on(
    run, refused, small, people, monkeypatch, owner, options
):
    done = counted(monkeypatch, owner)
    assert run("search", *options, "--out", "whole", "--quiet")[0] == 0
    total = len(done)
    with monkeypatch.context() as patch:
        interrupt_after(patch, owner, 4)
        code, out, err = run("search", *options, "--out", "a")
    assert code == 130
    assert "to continue: fastnn search --resume a\n" in out + err
    n_kept = len(list(Path("a/trials").iterdir()))
    assert 4 <= n_kept <= total  # what is under way when Ctrl-C comes may end
    assert "leave out --trials" in refused("search", "--resume", "a", "--trials", 9)
    done.clear()
    assert run("search", "--resume", "a", "--quiet") == (0, "a\n", "")
    assert len(done) == total - n_kept  # none is done again
    assert table_of("a") == table_of("whole")
    files = [Path(folder, "model.safetensors").read_bytes() for folder in ("a", "whole")]
    assert files[0] == files[1]
    assert "has ended" in refused("search", "--resume", "a")


def test_data_that_changed_are_not_gone_on_with(run, refused, small, people, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt_after(patch, fit_store.FitFolder, 2)
        assert run("search", "people.csv", "--target", "paid", *QUICK, "--out", "a")[0] == 130
    text = Path("people.csv").read_text()
    Path("people.csv").write_text(text.replace("Rome", "Cork", 1))
    assert "a: has the trials of another search: digest of the data" in refused(
        "search", "--resume", "a"
    )
    # overwritten it is another search
    command = ("search", "people.csv", "--target", "paid", *QUICK, "--out", "a")
    assert "has files already" in refused(*command)
    assert run(*command, "--overwrite", "--quiet") == (0, "a\n", "")
    Path("a/search.json").write_text("{}")
    assert "not the state of a search" in refused("search", "--resume", "a")
    assert "no search was stopped there (no search.json)" in refused("search", "--resume", "b")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--hidden", "8", "--preset", "tabular"], "--hidden does not go with the preset tabular"),
        (["--l2", "1", "--ensemble", 2], "--ensemble is for the preset tabular"),
        (["--preset", "plain", "--time-limit", 5], "--time-limit is for the preset tabular"),
        (["--cluster", "nonsense"], "--cluster must be the address of a scheduler, as tcp://"),
        (["--cluster", "tcp://127.0.0.1:1"], "no Dask scheduler there (it was refused)"),
        (["--preset", "tabular", "--scoring", "r2"], "--scoring r2 is not defined for this target"),
        (["--preset", "tabular", "--folds", 100], "folds"),
        (["--resume", "x"], "leave out DATA"),
    ],
)
def test_bad_input_is_one_line(refused, tmp_path, options, words):
    if "--cluster" in options:
        pytest.importorskip("distributed")
    assert words in refused("search", "iris", *options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Dask's own
def test_a_cluster_whose_worker_is_killed(run, people):
    """A real scheduler and two workers: the result is that without them, to the last bit."""
    distributed = pytest.importorskip("distributed")
    command = ["search", "people.csv", "--target", "paid", "--trials", 5, "--folds", 3]
    command += ["--epochs", 60, "--quiet"]
    assert run(*command, "--out", "here")[0] == 0
    killed = threading.Event()
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
    ) as cluster:
        pid = cluster.workers[0].pid

        def kill():
            while not list(Path("there/trials").glob("*")):
                time.sleep(0.05)
            os.kill(pid, signal.SIGKILL)
            killed.set()

        thread = threading.Thread(target=kill, daemon=True)
        thread.start()
        code, _, err = run(*command, "--out", "there", "--cluster", cluster.scheduler_address)
        assert (code, err) == (0, "")
        assert killed.is_set()
        assert pid not in {worker.pid for worker in cluster.workers.values()}
    assert table_of("there") == table_of("here")
    models = [fastnn.load(f"{folder}/model.safetensors") for folder in ("here", "there")]
    predictions = [model.predict_proba(people) for model in models]
    np.testing.assert_array_equal(*predictions)
    settings = json.loads(Path("there/search.json").read_text())
    assert "cluster" not in settings["purpose"]["settings"]


def test_no_workers_or_others_are_said(monkeypatch):
    from fastnn.cli import clusters

    class Client:
        def __init__(self, versions):
            self.versions = versions

        def ncores(self):
            return {}

        def run(self, function):
            if isinstance(self.versions, Exception):
                raise self.versions
            return self.versions

    monkeypatch.setattr(clusters, "TIMEOUT", 0)
    with pytest.raises(OSError, match="tcp://a:1: the scheduler has no workers"):
        clusters._workers(Client({}), "tcp://a:1")
    with pytest.raises(ValueError, match=r"workers have fastnn 9\.9; this is"):
        clusters.check_versions(Client({"w": "9.9", "v": fastnn.__version__}), "tcp://a:1")
    with pytest.raises(ValueError, match=r"cannot import fastnn .* \(No module named"):
        clusters.check_versions(Client(ImportError("No module named 'fastnn'")), "tcp://a:1")
    clusters.check_versions(Client({"w": fastnn.__version__}), "tcp://a:1")


def test_the_help_tells_both_presets(run):
    out = run("search", "--help")[1]
    assert "200; 256 with --preset tabular" in " ".join(out.replace("│", " ").split())
    assert cli.main(["search", "--version"]) == 2
