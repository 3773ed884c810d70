"""``fastnn train --resume``, and what signals leave behind."""

import os
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
from helpers import assert_bits

import fastnn
from fastnn import storage
from fastnn.cli import signals
from fastnn.cli.resuming import CHECKPOINT_FILE
from fastnn.cli.settings import TrainSettings, checkpoint_interval
from fastnn.datasets.writing import sole_writer
from fastnn.storage.checkpoints import read_checkpoint
from fastnn.tables import realmlp, realmlp_training

BASE = ["iris", "--hidden", "4", "--backend", "numpy", "--validation", "0.2"]


def model_bits(folder):
    model = fastnn.load(folder / "model.safetensors", backend="numpy")
    return getattr(model, "network", model).params


def test_levenberg_marquardt(run, run_json, refused, tmp_path):
    """The result of ``Network.fit``, also resumed; rates and batches are refused."""
    lm = ["train", "diabetes", "--optimizer", "lm", "--no-plots", "--backend", "numpy", "--out"]
    whole = run_json(*lm, "whole", "--epochs", 6)
    assert whole["layer_sizes"] == [10, 10, 1]
    data = fastnn.datasets.load("diabetes")
    rows, _ = fastnn.datasets.train_test_split(data.y, 0.2, 0, stratify=False)
    net = fastnn.Network(
        [10, 10, 1],
        activation="tanh",
        loss="squared_error",
        l2=0.01,
        standardize=True,
        backend="numpy",
        dtype="float64",
        random_state=0,
    )
    net.fit(data.X[rows], data.y[rows], optimizer=fastnn.LevenbergMarquardt(), epochs=6)
    assert_bits(model_bits(tmp_path / "whole"), net.params)
    run_json(*lm, "part", "--epochs", 3)
    assert run("train", "--resume", "part", "--epochs", 6)[0] == 0
    assert_bits(model_bits(tmp_path / "part"), net.params)
    for option, value in (("learning-rate", 0.1), ("momentum", 0.9), ("batch-size", 32)):
        line = refused(*lm, "never", f"--{option}", value)
        assert line.startswith(f"fastnn: {option.replace('-', '_')} ")
    (tmp_path / "adam.toml").write_text("batch_size = 16\nlearning_rate = 0.01\n")
    assert run_json(*lm, "kept", "--epochs", 2, "--config", "adam.toml")["epochs"] == 2


def test_a_run_that_goes_on(run, tmp_path):
    assert run("train", *BASE, "--epochs", 12, "--out", "whole")[0] == 0
    assert run("train", *BASE, "--epochs", 5, "--out", "a", "--checkpoint-every", 2)[0] == 0
    code, out, err = run("train", "--resume", "a", "--epochs", 12)
    assert (code, err) == (0, "")
    rows = dict(line.split(maxsplit=1) for line in out.splitlines() if line.startswith("epochs"))
    assert rows == {"epochs": "12"}
    assert_bits(model_bits(tmp_path / "a"), model_bits(tmp_path / "whole"))
    histories = [(tmp_path / name / "history.csv").read_text() for name in ("a", "whole")]
    assert histories[0] == histories[1]
    kept, whole = (
        storage.describe(tmp_path / name / "model.safetensors").training["settings"]
        for name in ("a", "whole")
    )
    assert kept == whole | {"checkpoint_every": "2"}
    # the file itself names the run, too; nothing is left to do
    code, out, _ = run("train", "--resume", f"a/{CHECKPOINT_FILE}")
    assert code == 0
    assert "\nepochs             12\n" in out


def test_killed_before_its_end(run, tmp_path):
    """Nothing but the checkpoint is there; all files of a run come of it."""
    assert run("train", *BASE, "--epochs", 8, "--out", "whole")[0] == 0
    arguments = [*BASE, "--epochs", "8", "--out", "a", "--checkpoint-every", "1"]
    code = f"""
import os, sys
from fastnn import cli
from fastnn.training.checkpoints import Checkpoints
save = Checkpoints.save
def kill(self, position):
    save(self, position)
    if position.steps >= 9:
        os._exit(9)
Checkpoints.save = kill
cli.main(["train", *{arguments!r}])
"""
    done = subprocess.run([sys.executable, "-c", code], timeout=120)
    assert done.returncode == 9
    assert [path.name for path in (tmp_path / "a").iterdir()] == [CHECKPOINT_FILE]
    assert run("train", "--resume", "a")[0] == 0
    assert_bits(model_bits(tmp_path / "a"), model_bits(tmp_path / "whole"))
    names = [{path.name for path in (tmp_path / name).iterdir()} for name in ("a", "whole")]
    assert names[0] == names[1]


def test_a_run_of_the_preset_tabular_goes_on(run, tmp_path, monkeypatch):
    monkeypatch.setattr(realmlp, "HIDDEN", (8, 6))
    rows = "".join(f"{k % 7 + k / 100},{'abc'[k % 3]},{k % 2}\n" for k in range(60))
    (tmp_path / "t.csv").write_text("x,kind,y\n" + rows)
    command = ["train", "t.csv", "--target", "y", "--backend", "numpy", "--epochs", 3]
    assert run(*command, "--out", "whole")[0] == 0
    with monkeypatch.context() as stopped:

        def after_chunk(self, losses):
            raise KeyboardInterrupt

        stopped.setattr(realmlp_training.RealMLPRun, "after_chunk", after_chunk)
        stopped.setattr(realmlp_training.RealMLPRun, "interrupted", lambda self: None)
        with warnings.catch_warnings():
            warnings.simplefilter("always")  # which the command shows
            code, out, err = run(*command, "--out", "a", "--checkpoint-every", 1)
    assert code == 130
    assert "Training interrupted by user." in err
    assert out.endswith(": fastnn train --resume a\n")
    code, out, err = run("train", "--resume", "a")
    assert (code, err) == (0, "")
    assert_bits(model_bits(tmp_path / "a"), model_bits(tmp_path / "whole"))
    histories = [(tmp_path / name / "history.csv").read_text() for name in ("a", "whole")]
    assert histories[0] == histories[1]
    code, _, err = run("train", "--resume", "a", "--epochs", 9)
    assert code == 2
    assert "a checkpoint of another training: n_epochs was 3, is 9" in err
    code, _, err = run(*command[:-2], "--time-limit", 9, "--checkpoint-every", 1, "--out", "b")
    assert code == 2
    assert "--checkpoint-every needs a number of epochs" in err


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
def test_a_signal_ends_a_run_in_order(run, stopped_by, tmp_path, number, code):
    returned, out, err = stopped_by(number, *BASE, "--epochs", "100000000")
    assert (returned, err) == (code, "fastnn: interrupted\n")
    assert out.endswith("to continue: fastnn train --resume a\n")
    assert CHECKPOINT_FILE in out
    kept = read_checkpoint(tmp_path / "a" / CHECKPOINT_FILE, "numpy")
    assert_bits(kept.model.params, model_bits(tmp_path / "a"))
    epochs = kept.model.n_epochs_ + 3
    assert run("train", "--resume", "a", "--epochs", epochs)[0] == 0
    assert run("train", *BASE, "--epochs", epochs, "--out", "whole")[0] == 0
    assert_bits(model_bits(tmp_path / "a"), model_bits(tmp_path / "whole"))


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
def test_results_are_written_before_a_signal_counts(run, tmp_path, monkeypatch, number, code):
    save = storage.save

    def disturbed(*arguments, **settings):
        os.kill(os.getpid(), number)
        save(*arguments, **settings)

    monkeypatch.setattr(storage, "save", disturbed)
    assert run("train", *BASE, "--epochs", 3, "--out", "a")[0] == code
    assert {"model.safetensors", "settings.toml", "history.csv", CHECKPOINT_FILE} <= {
        path.name for path in (tmp_path / "a").iterdir()
    }


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_second_signal_does_not_wait(run, tmp_path, monkeypatch):
    def disturbed(*arguments, **settings):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError

    monkeypatch.setattr(storage, "save", disturbed)
    assert run("train", *BASE, "--epochs", 3, "--out", "a")[::2] == (143, "fastnn: interrupted\n")


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_handlers_are_those_of_before(run):
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    assert run("info")[0] == 0
    assert [signal.getsignal(number) for number in numbers] == before
    # somebody else's handlers stay
    signal.signal(signal.SIGTERM, own := (lambda number, frame: None))
    try:
        with signals.handled():
            assert signal.getsignal(signal.SIGTERM) is own
            assert signal.getsignal(signal.SIGINT) != before[0]
    finally:
        signal.signal(signal.SIGTERM, before[1])
    fastnn.Network([2, 2], random_state=0).fit(np.eye(2), [0, 1], epochs=1)
    assert [signal.getsignal(number) for number in numbers] == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_child_ends_by_sigterm_as_ever():
    read, write = os.pipe()
    with signals.handled():
        child = os.fork()
        if child == 0:
            os.write(write, b"x")  # Python forgets signals that come right after a fork
            time.sleep(30)
            os._exit(0)
        os.read(read, 1)
        os.kill(child, signal.SIGTERM)
        assert os.waitpid(child, 0)[1] == signal.SIGTERM


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: there is no checkpoint.safetensors to continue from"),
        (["a", "iris"], "--resume uses the settings of the run; leave out DATA"),
        (["a", "--seed", "1"], "leave out --seed"),
        (["a", "--learning-rate", "1"], "leave out --learning-rate"),
        (["a", "--out", "b"], "leave out --out"),
        (["a", "--overwrite"], "leave out --overwrite"),
        (["a", "--config", "a/settings.toml"], "leave out --config"),
        (["a", "--checkpoint-every", "never"], "--resume needs the run's checkpoint"),
        (["a", "--epochs", "1"], "epochs=1, but a/checkpoint.safetensors has 3 epochs already"),
    ],
)
def test_what_cannot_be_resumed(run, tmp_path, arguments, message):
    assert run("train", *BASE, "--epochs", 3, "--out", "a")[0] == 0
    before = (tmp_path / "a" / CHECKPOINT_FILE).read_bytes()
    code, out, err = run("train", "--resume", *arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err
    assert (tmp_path / "a" / CHECKPOINT_FILE).read_bytes() == before


def test_data_that_have_changed(run, tmp_path):
    lines = ["a,b,target", *(f"{k},{k % 7},{k % 2}" for k in range(60))]
    (tmp_path / "d.csv").write_text("\n".join(lines) + "\n")
    common = ["d.csv", "--target", "target", "--backend", "numpy", "--keep-index"]
    assert run("train", *common, "--epochs", 3, "--out", "a")[0] == 0
    assert run("train", "--resume", "a", "--epochs", 4)[0] == 0
    lines[1:20] = ["999,1,0"] * 19  # some of them were trained with
    (tmp_path / "d.csv").write_text("\n".join(lines) + "\n")
    code, _, err = run("train", "--resume", "a", "--epochs", 5)
    assert code == 2
    assert "checkpoint of another training: X is not the same" in err


def test_a_model_is_no_checkpoint(run, tmp_path):
    assert run("train", *BASE, "--epochs", 3, "--out", "a")[0] == 0
    net = fastnn.load(tmp_path / "a" / CHECKPOINT_FILE)
    net.save(tmp_path / "a" / CHECKPOINT_FILE)
    code, _, err = run("train", "--resume", "a")
    assert code == 2
    assert "not a checkpoint of fastnn train; it has no settings" in err


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_a_checkpoint_is_no_model(run, refused, tmp_path, command):
    assert run("train", *BASE, "--epochs", 3, "--out", "a")[0] == 0
    assert "is a checkpoint of fastnn train" in refused(command, f"a/{CHECKPOINT_FILE}", "iris")
    assert run(command, "a", "iris")[0] == 0


def test_without_checkpoints(run, tmp_path):
    assert run("train", *BASE, "--epochs", 3, "--out", "a")[0] == 0
    code, out, _ = run(
        "train", *BASE, "--epochs", 3, "--out", "a", "--overwrite", "--checkpoint-every", "never"
    )
    assert code == 0
    assert CHECKPOINT_FILE not in out
    assert not (tmp_path / "a" / CHECKPOINT_FILE).exists()  # that of the earlier run


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("5m", 300), ("2h", 7200), ("10", None), ("never", None)]
)
def test_how_often(text, seconds):
    interval = checkpoint_interval(TrainSettings.check({"checkpoint_every": text}).checkpoint_every)
    if seconds is None:
        assert interval == (10 if text == "10" else None)
    else:
        assert interval.total_seconds() == seconds


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "5x", "0s", "", "often"])
def test_how_often_not(run, text):
    code, _, err = run("train", f"--checkpoint-every={text}")
    assert code == 2
    assert "--checkpoint-every: must be a number of epochs as 10, a time as 30s" in err


@pytest.mark.skipif(os.name == "nt", reason="locks of folders")
@pytest.mark.parametrize(
    "arguments",
    [
        ("train", *BASE, "--epochs", "1", "--out", "a", "--overwrite"),
        ("train", "--resume", "a"),
        ("search", "iris", "--trials", "1", "--out", "a", "--overwrite"),
    ],
    ids=["train", "resume", "search"],
)
def test_two_commands_do_not_write_into_one_folder(run, refused, tmp_path, arguments):
    """The parts of a run belong together: rows, settings and weights."""
    assert run("train", *BASE, "--epochs", 1, "--out", "a")[0] == 0
    before = {path: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    with sole_writer(tmp_path / "a"):
        line = refused(*arguments)
    assert line == "fastnn: a: another fastnn is writing into this folder\n"
    assert {path: path.read_bytes() for path in (tmp_path / "a").iterdir()} == before
    assert run("train", "--resume", "a")[0] == 0


def test_no_folders_are_left_that_could_not_all_be_created(run, tmp_path):
    code, _, err = run("train", *BASE, "--out", f"a/b/{'n' * 300}")
    assert (code, err.count("\n")) == (2, 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="processes of POSIX")
def test_temporary_files_of_killed_commands_are_removed(run, tmp_path):
    """Not those of processes that run, and nothing else."""
    assert run("train", *BASE, "--epochs", 3, "--out", "a")[0] == 0
    gone = [f".{name}.4194305-0123abcd.tmp" for name in ("model.safetensors", "rows.npz", "a.b")]
    kept = [".notes.tmp", f".rows.npz.{os.getpid()}-0123abcd.tmp", ".rows.npz.4194305-x.tmp"]
    for name in [*gone, *kept]:
        (tmp_path / "a" / name).touch()
    assert run("train", "--resume", "a")[0] == 0
    assert sorted(path.name for path in (tmp_path / "a").glob(".*")) == sorted(kept)


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_signal_at_the_very_beginning_or_end(run, monkeypatch, number, code, when):
    """Where the command has not begun, or has returned, nothing raises KeyboardInterrupt."""
    begin, exit_code = signals.Signals.begin, signals.Signals.exit_code

    def at_begin(self):
        if when == "before":
            os.kill(os.getpid(), number)
        begin(self)

    def at_end(self, result):
        if when == "after":
            os.kill(os.getpid(), number)
        return exit_code(self, result)

    monkeypatch.setattr(signals.Signals, "begin", at_begin)
    monkeypatch.setattr(signals.Signals, "exit_code", at_end)
    returned, out, err = run("info", "--json")
    assert returned == code
    assert (out == "") == (when == "before")
    assert err == ("fastnn: interrupted\n" if when == "before" else "")
