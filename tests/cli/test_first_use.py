"""What a person meets first: help at any width, names of options, progress, messages."""

import io
import json
import os
import re
import subprocess
import sys
import time
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn.backends.tuning import tuned
from fastnn.cli import commands, help
from fastnn.cli.output import shortest_digits
from fastnn.cli.settings import TrainSettings
from fastnn.training import lines
from fastnn.training.history import History

QUICK = ["--backend", "numpy", "--epochs", "20"]


@pytest.fixture
def piped(monkeypatch):
    """Let the command's standard input be some bytes."""

    def piped(contents):
        from fastnn.cli import source

        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(contents)))
        source.standard_input.cache_clear()

    return piped


TABLE = b"a,b,kind\n" + b"".join(
    b"%d,%d,%s\n" % (k, k * k % 7, b"xy"[k % 2 :][:1]) for k in range(40)
)


# --- help


@pytest.mark.parametrize("width", [30, 40, 80, 200])
@pytest.mark.parametrize(
    "arguments", [(), *((name,) for name in commands.COMMANDS), ("cnn", "compare")], ids=" ".join
)
def test_help_fits_and_cuts_nothing_off(run, monkeypatch, arguments, width):
    monkeypatch.setenv("COLUMNS", "1000")
    monkeypatch.setattr(help, "WIDEST", 10_000)
    wide = run(*arguments, "--help")[1]
    monkeypatch.undo()
    monkeypatch.setenv("COLUMNS", str(width))
    text = run(*arguments, "--help")[1]
    longest = max(map(len, wide.split()))  # a word that is longer than the line is broken
    assert max(map(len, text.splitlines())) < max(width, 25)
    if longest < width / 2:
        assert text.split() == wide.split()
    assert "".join(text.split()) == "".join(wide.split())


def test_help_tells_the_exit_codes(run):
    text = run("--help")[1]
    rows = text[text.index("Exit codes") :].splitlines()[1:]
    assert [row.split()[0] for row in rows] == ["0", "1", "2", "130", "143"]


def test_headings_are_bold_on_a_terminal_only(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert help.bold("Data") == "Data"  # captured: no terminal
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert help.bold("Data") == "\x1b[1mData\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert help.bold("Data") == "Data"


# --- names of options


@pytest.mark.parametrize(
    ("command", "old", "now"),
    [
        (["train", "iris"], ["--init", "he_uniform"], ["--initializer", "he_uniform"]),
        (["train", "iris"], ["--jobs=1", "--solver=sgd"], ["--threads=1", "--optimizer=sgd"]),
    ],
)
def test_old_names_mean_the_same(run, command, old, now):
    files = []
    for options in (old, now):
        folder = f"run{len(files)}"
        assert run(*command, *QUICK, *options, "--out", folder, "--quiet")[0] == 0
        with open(f"{folder}/settings.toml") as file:
            files.append(file.read())
    assert files[0] == files[1]
    assert now[-1].split("=")[-1] in files[0]


def test_same_meaning_same_name():
    """An option of one command that another has under a name like it."""
    names = {}
    for name in commands.COMMANDS:
        loaded = commands.load(name)
        for part in getattr(loaded, "commands", {"": loaded}).values():
            for param in part.params:
                if not param.hidden:
                    names.setdefault(param.opts[0], f"{name} {part.name}")
    for old, now in help.OLD_NAMES.items():
        assert now in names
        assert old not in names or old == "--jobs"  # of bench, whose jobs are something else
    for wanted in ("--json", "--quiet", "--out", "--backend", "--seed", "--threads"):
        assert wanted in names


def test_json_and_quiet_wherever_something_is_printed():
    for name in commands.COMMANDS:
        loaded = commands.load(name)
        for part in getattr(loaded, "commands", {name: loaded}).values():
            flags = {flag for param in part.params for flag in param.opts}
            if part.name not in ("board", "play"):  # servers
                assert "--json" in flags, (name, part.name)
                assert "--quiet" in flags or name == "info", (name, part.name)


# --- quiet, plots, standard input


@pytest.mark.usefixtures("rendered")
def test_quiet_prints_the_result_alone(run):
    assert run("train", "moons", *QUICK, "--quiet") == (0, f"runs{os.sep}moons-1\n", "")
    folder = "runs/moons-1"
    code, out, err = run("evaluate", folder, "-q")
    result = json.loads(run("evaluate", folder, "--json")[1])
    assert (code, float(out), err) == (0, pytest.approx(result["accuracy"], rel=1e-5), "")
    assert run("export", folder, "--to", "c", "-q")[1] == f"{folder}/model.c\n"
    assert run("plot", folder, "-q")[1] == f"{folder}/plot_moons.png\n"
    assert run("predict", folder, "moons", "-q")[2] == ""
    quick = ["--trials", 1, "--epochs", 2, "--hidden", 2, "--backend", "numpy"]
    assert run("search", "moons", *quick, "-q") == (0, f"runs{os.sep}moons-search-1\n", "")


def test_no_plots(run, tmp_path):
    assert run("train", "moons", *QUICK, "--no-plots", "--out", "a")[0] == 0
    assert not list(tmp_path.glob("a/*.png"))
    assert run("train", "moons", *QUICK, "--out", "b")[0] == 0
    assert len(list(tmp_path.glob("b/*.png"))) == 2


def test_standard_input_is_a_file(run, piped, tmp_path):
    (tmp_path / "table.csv").write_bytes(TABLE)
    assert run("train", "table.csv", "--target", "kind", *QUICK, "--out", "file", "-q")[0] == 0
    piped(TABLE)
    code, out, err = run("train", "-", "--target", "kind", *QUICK, "--out", "pipe")
    assert (code, err) == (0, "")
    assert "data               standard input, 32 training samples" in out
    nets = [fastnn.load(f"{name}/model.safetensors") for name in ("file", "pipe")]
    np.testing.assert_array_equal(nets[0].params, nets[1].params)
    expected = run("predict", "file", "table.csv")[1]
    piped(TABLE)
    assert run("predict", "pipe", "-")[1] == expected
    piped(TABLE)
    result = json.loads(run("evaluate", "pipe", "-", "--json")[1])
    assert result["what"] == "all 40 samples, 32 of them trained with"
    code, _, err = run("evaluate", "pipe")
    assert (code, err) == (
        2,
        "fastnn: the model was trained on standard input; name the data (MODEL DATA)\n",
    )


def test_standard_input_may_be_parquet(run, piped):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": np.arange(30.0), "y": np.arange(30.0) % 5 + 0.5})
    piped(frame.to_parquet())
    assert run("train", "-", "--target", "y", *QUICK, "--quiet")[0] == 0


def test_empty_standard_input(run, piped):
    piped(b"")
    code, _, err = run("train", "-")
    assert code == 2
    assert "nothing came" in err


# --- messages


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--epochs", "abc"], "--epochs must be a whole number; got 'abc'"),
        (["train", "--epochs", "-3"], "fastnn: --epochs must be at least 1; got -3"),
        (["train", "--dropout", "x"], "dropout must be a number; got 'x'"),
        (["train", "--hidden", "8,a"], "hidden must be a whole number; got 'a'"),
        (["train", "--l2", "nan"], "l2 must be a finite number; got nan"),
        (["train", "--test", "1.5"], "test must be below 1; got 1.5"),
        (["train", "--learning-rate", "0"], "fastnn: --learning-rate must be above 0; got 0.0"),
        (["search", "--trials", "0"], "fastnn: --trials must be at least 1; got 0"),
        (["bench", "--jobs", "moon"], "fastnn: job must be one of moons"),
        (["train", "--dtype", "int8"], "--dtype must be one of 'float32', 'float64'; got 'int8'"),
        (["cnn", "board", "x", "--port", "70000"], "--port must be at most 65535; got '70000'"),
        (["predict", "a"], "Missing argument 'DATA'; see fastnn predict --help"),
        (["train", "--nonsense"], "--seed); see fastnn train --help"),
        (["cnn", "export", "a"], "name a FILE, or what to write: --to keras|onnx"),
        (["cnn", "export", "a", "b.onnx", "--out", "c.onnx"], "give FILE or --out, not both"),
        (["cnn", "export", "a", "--to", "onnx", "--out", "x.keras"], "must end in .onnx"),
    ],
)
def test_messages_say_what_was_expected(run, arguments, message):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert "Input should" not in err
    assert "Value error" not in err
    assert err.count("\n") == 1


def test_a_variable_is_named_by_its_name(run, monkeypatch):
    monkeypatch.setenv("FASTNN_EPOCHS", "many")
    assert run("train")[2] == "fastnn: FASTNN_EPOCHS must be a whole number; got 'many'\n"


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", ["EPOCH", "LERNING_RATE", "HIDEN", "BACKENDS"])
def test_misspelt_variables_get_a_warning(run, monkeypatch, name):
    monkeypatch.setenv(f"FASTNN_{name}", "1")
    near = get_close_matches(name.lower(), TrainSettings.model_fields, 1)[0]
    code, _, err = run("train", "iris", *QUICK, "--no-plots", "--quiet")
    assert code == 0
    assert err == (
        f"fastnn: warning: FASTNN_{name}: there is no such setting; "
        f"did you mean FASTNN_{near.upper()}?\n"
    )


def test_known_variables_get_no_warning(run, monkeypatch):
    monkeypatch.setenv("FASTNN_DATA_DIR", "here")
    monkeypatch.setenv("FASTNN_SEED", "1")
    monkeypatch.setenv("FASTNN_OUT", "there")
    assert run("train", "iris", *QUICK, "--quiet") == (0, "there\n", "")


def test_misspelt_key_of_a_file(run, tmp_path):
    (tmp_path / "a.toml").write_text("epoch = 3\n")
    message = "a.toml: there is no setting 'epoch'; did you mean 'epochs'?"
    assert message in run("train", "--config", "a.toml")[2]


# --- numbers


@pytest.mark.filterwarnings("ignore:predictions for the training samples are no better")
def test_float32_is_printed_with_its_own_digits(run, tmp_path):
    values = np.array([599.945, 0.1, 1e-30, -3.0], np.float32)
    assert shortest_digits(values).tolist() == [599.945, 0.1, 1e-30, -3.0]
    x = np.linspace(0, 1, 50)
    table = "".join(f"{a:.3f},{5000 + 300 * a:.3f}\n" for a in x)
    (tmp_path / "t.csv").write_text("a,y\n" + table)
    for options in ([], ["--no-standardize"]):
        options = ["t.csv", "--target", "y", *options, "--backend", "numpy", "--out", "r"]
        assert run("train", *options, "--overwrite", "--epochs", 30)[0] == 0
        net = fastnn.load("r/model.safetensors")
        expected = net.predict(np.round(x, 3)[:, None])
        printed = run("predict", "r", "t.csv", "-q")[1].splitlines()[1:]
        np.testing.assert_allclose([float(p) for p in printed], expected, rtol=2e-7)
        assert max(map(len, printed)) <= 11  # 5123.45678 and a digit more; float64 has 18


def test_histories_are_shown_in_a_line():
    history = History(np.linspace(1, 0.25, 1000), np.linspace(1, 0.5, 1000), steps=3000)
    assert repr(history) == (
        "History(epochs=1000, steps=3000, loss[-1]=0.25, validation_loss[-1]=0.5, "
        "seconds=0, stopped='epochs')"
    )


def test_data_are_shown_in_a_line():
    text = repr(fastnn.datasets.load("iris"))
    assert text == "Dataset('iris', X: 150 x 4 float64, classification, target 'target')"


# --- progress in a pipe


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand."""

    class Clock:
        now = 0.0

    monkeypatch.setattr(time, "monotonic", lambda: Clock.now)
    return Clock


def test_lines_come_now_and_then(clock, capsys):
    counted = lines.ProgressLines("fit", 1000)
    for second in range(1000):
        clock.now = float(second)
        counted.set_completed(second + 1)
    written = capsys.readouterr().err.splitlines()
    assert written[0] == "fastnn: fit 3 of 1,000, 2 s, about 997 s left"
    seconds = [int(re.search(r" (\d+) s,? ?", line)[1]) for line in written]
    assert seconds[:5] == [2, 6, 14, 30, 60]
    assert set(np.diff(seconds[4:])) == {30}


def test_what_came_before_the_first_counts_for_no_estimate(clock, capsys):
    """A compilation of 7 seconds before 20,000 epochs of 1 ms made 40 hours of them."""
    counted = lines.ProgressLines("epoch", 20_000)
    for epoch, clock.now in ((1, 7.0), (2001, 9.0)):
        counted.set_completed(epoch)
    assert capsys.readouterr().err == "fastnn: epoch 2,001 of 20,000, 9 s, about 18 s left\n"


def test_what_is_short_has_no_line(clock, capsys):
    with lines.ProgressLines("fit", None) as counted:
        counted.increment()
        clock.now = 1.9
        counted.increment()
    assert capsys.readouterr().err == ""


def test_percents(clock, capsys):
    with lines.ProgressLines("experiments", 100, percent=True) as counted:
        counted.set_completed(0)
        clock.now += 3
        counted.set_completed(20, ", layers")
    assert capsys.readouterr().err == "fastnn: experiments 20%, layers, 3 s, about 12 s left\n"


def test_silence_is_explained(monkeypatch, capsys):
    """Compiling, say, before the first step."""
    monkeypatch.setattr(lines, "FIRST_DELAY", 0.0)
    with lines.ProgressLines("epoch", 5) as counted:
        counted._silence.join(10)
    assert capsys.readouterr().err == "fastnn: preparing\n"


def test_training_in_a_pipe_tells_its_progress(clock, capsys):
    def later(progress):
        clock.now += 10.0

    net = fastnn.Network([2, 2, 2], backend="numpy", random_state=0)
    X, y = np.random.default_rng(0).normal(size=(40, 2)), np.arange(40) % 2
    with tuned(chunk_seconds=0.0):  # an epoch per chunk, however fast the machine is
        net.fit(X, y, epochs=3, callbacks=[later], verbose=True)
    first = r"fastnn: epoch 2 of 3, loss [01]\.\d+, 20 s, about 10 s left\n"
    last = r"fastnn: epoch 3 of 3, loss [01]\.\d+, 30 s\n"
    assert re.fullmatch(first + last, capsys.readouterr().err)
    net.fit(X, y, epochs=3, callbacks=[later])
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("rendered")
def test_experiments_tell_their_report(run):
    only = ["experiments", "--only", "data", "--quick", "--backend", "numpy", "--out", "e"]
    assert run(*only, "--quiet") == (0, f"e{os.sep}index.html\n", "")
    code, out, err = run(*only, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["experiments"] == ["data"]


def test_early_stopping_keeps_the_accuracy_of_the_default(run):
    """20 epochs of one step each ended it at 87%, where the default has 97%."""
    code, out, err = run("train", "--early-stopping", "--no-plots", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["held_out_accuracy"] > 0.95
    assert "patience = 1000\n" in Path(found["folder"], "settings.toml").read_text()


def test_help_does_without_rich():
    code = """
import sys
from fastnn.cli import main
assert main(["train", "--help"]) == 0
assert "rich" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
