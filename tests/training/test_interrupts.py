"""Ctrl-C at any time: no hang, no thread left, and all that a training knows is of one step."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("interrupted_fits.py")


def run(backend, count, timeout):
    # a hang ends in TimeoutExpired
    done = subprocess.run(
        [sys.executable, SCRIPT, backend, str(count)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["threads left"] == []
    for kind in ("small", "threads", "estimator"):
        assert result[kind]["wrong"] == []
        # only before the first step or after the last: in between the signal ends the training
        assert result[kind]["raised"] <= count / 4
    return result


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_interrupted_fits(backend):
    run(backend, 12, timeout=180)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_thousand_interrupted_fits(backend):
    run(backend, 1000, timeout=3000)
