"""The command in an empty folder: run, read its object, read its one line of refusal."""

import json
import os
import subprocess
import sys
import time
import zlib

import pytest

from fastnn import cli

COMMAND = "import sys; from fastnn.cli import main; sys.exit(main())"
# Before it: a file tells that some epochs are done.
BEGINNING = """
from pathlib import Path
from fastnn.training.run import Run
look = Run.look_at_checkpoints
def look_and_tell(self):
    look(self)
    if self.step >= 3 * self.batches:
        Path("begun").touch()
Run.look_at_checkpoints = look_and_tell
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """An empty folder to run in, no settings from outside."""
    monkeypatch.chdir(tmp_path)
    for name in [*os.environ]:
        if name.startswith("FASTNN_"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _no_progress(request, monkeypatch):
    """No lines of progress, which tasks of two seconds print, on a busy machine any task."""
    if "clock" not in request.fixturenames:
        monkeypatch.setattr("fastnn.training.lines.FIRST", 1e6)


@pytest.fixture
def rendered():
    """For tests that look at pictures."""


@pytest.fixture(autouse=True)
def _not_rendered(request, monkeypatch):
    """Figures are made, but rendered for one test in four and those that look at them alone.

    A run of a few epochs takes ten times as long with its pictures.
    """
    if "rendered" in request.fixturenames or zlib.crc32(request.node.name.encode()) % 4 == 0:
        return

    def save(figure, file, **options):
        file.write(b"not rendered")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", save)


@pytest.fixture
def run(capsys):
    """Run the command; exit code, standard output, standard error."""

    def run(*arguments):
        code = cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def run_json(run):
    """Run the command with --json; the object, alone on its line."""

    def run_json(*arguments):
        code, out, err = run(*arguments, "--json")
        assert (code, err) == (0, "")
        assert out.count("\n") == 1
        return json.loads(out)

    return run_json


@pytest.fixture
def refused(run):
    """Run the command with bad input; the one line it answers."""

    def refused(*arguments):
        code, out, err = run(*arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert err.startswith("fastnn: ")
        return err

    return refused


@pytest.fixture
def stopped_by(tmp_path):
    """Train into the folder ``a`` in another process, which gets a signal; exit code, outputs."""

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
