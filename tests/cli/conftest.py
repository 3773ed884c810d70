"""Fixtures that run the command line in an empty folder."""

import json
import os
import subprocess
import sys
import time
import zlib

import pytest
from table_cases import QUICK

from fastnn import cli

COMMAND = "import sys; from fastnn.cli import main; sys.exit(main())"
# Code to run before COMMAND: creates the file "begun" when three epochs are done.
BEGINNING = """
from pathlib import Path
from fastnn.training.run import Run
look = Run.save_due_checkpoint
def look_and_tell(self):
    look(self)
    if self.step >= 3 * self.batches:
        Path("begun").touch()
Run.save_due_checkpoint = look_and_tell
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Run in an empty folder, without environment variables of fastnn."""
    monkeypatch.chdir(tmp_path)
    for name in [*os.environ]:
        if name.startswith("FASTNN_"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _no_progress(request, monkeypatch):
    """Suppress progress lines, which tasks print if they take two seconds, as on a busy machine."""
    if "clock" not in request.fixturenames:
        monkeypatch.setattr("fastnn.training.lines.FIRST_DELAY", 1e6)


@pytest.fixture
def rendered():
    """Marker fixture for tests that read rendered figures (see ``_not_rendered``)."""


@pytest.fixture(autouse=True)
def _not_rendered(request, monkeypatch):
    """Render figures only in one test out of four, and in tests with the fixture ``rendered``.

    In the other tests, figures are drawn but saved as dummy files: rendering makes a run of a few
    epochs ten times slower.
    """
    if "rendered" in request.fixturenames or zlib.crc32(request.node.name.encode()) % 4 == 0:
        return

    def save(figure, file, **options):
        file.write(b"not rendered")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", save)


@pytest.fixture
def run(capsys):
    """Function that runs the command; returns exit code, standard output and standard error."""

    def run(*arguments):
        code = cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def run_json(run):
    """Function that runs the command with --json; returns the object, the only line of output."""

    def run_json(*arguments):
        code, out, err = run(*arguments, "--json")
        assert (code, err) == (0, "")
        assert out.count("\n") == 1
        return json.loads(out)

    return run_json


@pytest.fixture
def refused(run):
    """Function that runs the command with bad input; returns the error message of one line."""

    def refused(*arguments):
        code, out, err = run(*arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert err.startswith("fastnn: ")
        return err

    return refused


@pytest.fixture
def stopped_by(tmp_path):
    """Function that trains into the folder ``a`` in another process and sends it a signal.

    It returns exit code, standard output and standard error.
    """

    def stopped_by(number, *arguments):
        process = subprocess.Popen(
            [sys.executable, "-c", BEGINNING + COMMAND, "train", *arguments, "--out", "a"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        while not (tmp_path / "begun").exists() and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(number)
        out, err = process.communicate(timeout=600)
        return process.returncode, out, err

    return stopped_by


@pytest.fixture(scope="session")
def people():
    """800 people: text, a date, gaps in columns and in the target, identifiers."""
    import numpy as np
    import pandas as pd

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


@pytest.fixture(scope="session")
def trained(people, tmp_path_factory):
    """A folder with the file and a run, made once."""
    folder = tmp_path_factory.mktemp("people")
    people.to_csv(folder / "people.csv", index=False)
    arguments = ("--target", "survived", *QUICK, "--out", str(folder / "run"))
    assert cli.main(["train", str(folder / "people.csv"), *arguments]) == 0
    return folder


@pytest.fixture
def here(trained, monkeypatch):
    """The folder of ``trained``, as the current one."""
    monkeypatch.chdir(trained)
    return trained
