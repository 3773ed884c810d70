"""Signals to commands at random times: ``interrupted_commands.py BACKEND COUNT [KIND ...]``.

Every second signal is SIGTERM. The commands run in this process, so that many of them can be
interrupted. After each signal the exit code is checked, all files are read, and a resumed command
must lead to the result of one that was never interrupted. TensorFlow has no backends: ``cnn`` is
run only if it is named.
"""

import contextlib
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import tomllib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from interrupting import SEED, Left, Signals, quantiles

from fastnn import cli, storage
from fastnn.tables import realmlp

ROWS = "".join(f"{k % 7 + k / 100},{'abc'[k % 3]},{int(k * k % 11 > 4)}\n" for k in range(120))


class Command(NamedTuple):
    """A command, which writes into the folder ``a``.

    Attributes
    ----------
    arguments : list of str
    longer : callable
        From the folder of an interrupted run, arguments of one that ends: those by which the run is
        resumed, and those of a run that is not interrupted; None if there is nothing to resume.
    longest : float
        Maximum seconds until the signal.
    """

    arguments: list[str]
    longer: Callable[[Path], tuple[list[str], list[str]] | None]
    longest: float


def run(arguments):
    """Run a command; return exit code and standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main(arguments)
    return code, err.getvalue()


def epochs_of(path):
    """Number of epochs of a checkpoint."""
    from fastnn.storage.checkpoints import read_checkpoint

    kept = read_checkpoint(path, "numpy")
    return kept.position.steps // kept.position.batches


def train(backend):
    """The preset plain, whose number of epochs may change."""
    common = ["train", "iris", "--hidden", "4", "--no-plots", "--backend", backend]

    def longer(folder):
        path = folder / "checkpoint.safetensors"
        if not path.exists():
            return None
        epochs = str(epochs_of(path) + 2)
        return ["train", "--resume", "a", "--no-plots", "--epochs", epochs], [
            *common, "--epochs", epochs
        ]  # fmt: skip

    return Command([*common, "--epochs", "1000000", "--checkpoint-every", "5"], longer, 0.15)


def train_table(backend):
    """The preset tabular, whose learning rates depend on the number of epochs."""
    common = ["train", "t.csv", "--target", "y", "--no-plots", "--no-report", "--backend", backend]
    common += ["--epochs", "200", "--checkpoint-every", "5"]

    def longer(folder):
        if not (folder / "checkpoint.safetensors").exists():
            return None
        return ["train", "--resume", "a", "--no-plots"], common

    return Command(common, longer, 0.4)


def search(backend):
    """The preset plain: scikit-learn's search."""
    return _search("iris", "plain", backend, "20")


def search_table(backend):
    """The preset tabular."""
    return _search("t.csv", "tabular", backend, "12")


def _search(data, preset, backend, epochs):
    common = ["search", data, "--preset", preset, "--trials", "4", "--folds", "2"]
    common += ["--epochs", epochs, "--backend", backend, "--threads", "2"]
    common += ["--target", "y"] if data == "t.csv" else []

    def longer(folder):
        path = folder / "search.json"
        if not path.exists() or json.loads(path.read_text())["over"]:
            return None
        return ["search", "--resume", "a"], common

    return Command(common, longer, 0.4)


def cnn(backend):
    """The convolutional network."""
    common = ["cnn", "train", "digits", "--batch-size", "8", "--summaries", "off"]

    def longer(folder):
        from fastnn.cnn import runs

        path = folder / "checkpoint.safetensors"
        if not path.exists():
            return None
        steps = str(runs.read(path)[0].step + 20)
        return ["cnn", "train", "--resume", "a", "--steps", steps], [*common, "--steps", steps]

    return Command([*common, "--steps", "1000000"], longer, 3.0)


def damaged(folder, is_cnn):
    """Describe the first file that is not complete; "" if all are."""
    for path in sorted(folder.rglob("*")):
        try:
            if path.name.endswith(".tmp"):
                return f"{path} was left"
            if path.suffix == ".safetensors":
                if is_cnn:
                    from fastnn.cnn import runs

                    runs.read(path)
                else:
                    storage.describe(path)
                    storage.load(path, backend="numpy")
            elif path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix == ".toml":
                tomllib.loads(path.read_text())
            elif path.is_file() and not path.read_bytes() and path.suffix != ".log":
                return f"{path} is empty"
        except Exception as error:
            return f"{path}: {error!r}"
    return ""


def contents(folder):
    """All arrays of a model file."""
    from safetensors.numpy import load_file

    return load_file(folder / "model.safetensors")


def wrong(command, folder):
    """Describe what is wrong with the files of an interrupted command; "" if nothing."""
    if found := damaged(folder, command.arguments[0] == "cnn"):
        return found
    if folder.exists() and not any(folder.iterdir()):
        return "an empty folder was left"
    more = command.longer(folder)
    if more is None:
        return ""
    resumed, whole = more
    code, err = run(resumed)
    if code:
        return f"exit code {code} when resumed: {err}"
    expected = folder.with_name(f"whole-{'-'.join(whole[-1:])}")
    if not expected.exists():
        code, err = run([*whole, "--out", str(expected)])
        if code:
            return f"exit code {code} of the whole run: {err}"
    found, expected = contents(folder), contents(expected)
    equal = found.keys() == expected.keys() and all(
        np.array_equal(found[name], expected[name]) for name in found
    )
    return "" if equal else "another result than without an interrupt"


def check(make, backend, count, signals):
    """Interrupt ``count`` commands; return errors, exit codes, delays."""
    command, times, faults, late = make(backend), random.Random(SEED), [], []
    begun = missed = 0
    with tempfile.TemporaryDirectory() as root, contextlib.chdir(root):
        Path("t.csv").write_text("x,kind,y\n" + ROWS)
        folder = Path("a")
        short = ["20" if part in ("1000000", "200") else part for part in command.arguments]
        code, err = run([*short, "--out", "first"])
        assert code == 0, err
        longest = command.longest
        if "1000000" not in command.arguments:  # it ends by itself
            started = time.perf_counter()
            run([*command.arguments, "--out", "timed"])
            longest = 0.9 * (time.perf_counter() - started)
        left = Left()
        for k in range(count):
            number, expected = ((signal.SIGINT, 130), (signal.SIGTERM, 143))[k % 2]
            shutil.rmtree(folder, ignore_errors=True)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signals.order(times.uniform(0.03, longest), number)
            code, err = run([*command.arguments, "--out", str(folder)])
            back = np.array([time.perf_counter(), time.process_time()])
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            sent = signals.sent_at()
            if sent[0] > back[0]:  # the command had ended by itself
                missed += 1
                continue
            late.append(back - sent)
            if code != expected or "Traceback" in err:
                faults.append(f"exit code {code} after {signal.Signals(number).name}: {err}")
                continue
            begun += folder.exists()
            faults += [left.wrong(), wrong(command, folder)]
    return {
        "wrong": [fault for fault in faults if fault],
        "begun": begun,
        "missed": missed,
        "99% back within ms": quantiles(late or [(0.0, 0.0)]),
    }


KINDS = {make.__name__: make for make in (train, train_table, search, search_table, cnn)}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    realmlp.HIDDEN = 16, 8
    backend, count, *names = sys.argv[1:]
    for name in [name for name in os.environ if name.startswith("FASTNN_")]:
        del os.environ[name]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signals = Signals(to_commands=True)
    names = names or [name for name in KINDS if name != "cnn"]
    print(json.dumps({name: check(KINDS[name], backend, int(count), signals) for name in names}))
