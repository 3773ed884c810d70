"""Ctrl-C at any time: no hang, no thread left, and all that a training knows is of one step."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import assert_bits

import fastnn
from fastnn.training.state import TrainingState

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
    kinds = "small", "threads", "wide", "estimator", "average", "lbfgs", "many", "predict"
    for kind in kinds:
        assert result[kind]["wrong"] == []
        # only before the first step or after the last: in between the signal ends the training
        assert result[kind]["raised"] == 0
    assert set(result) == {*kinds, "threads left"}
    print(json.dumps(result, indent=1))  # with the times, which nothing is said about here


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_interrupted_fits(backend):
    run(backend, 5, timeout=600)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_thousand_interrupted_fits(backend):
    run(backend, 1000, timeout=6000)


class InterruptedLine:
    """Context in which one of the lines that exchange parameters and average is interrupted.

    Parameters
    ----------
    number : int
        Which of them, counted as they run.
    """

    FUNCTIONS = ("begin", "end", "show_average", "settle")

    def __init__(self, number):
        self.number, self.lines = number, 0
        self.codes = {getattr(TrainingState, name).__code__ for name in self.FUNCTIONS}

    def _trace(self, frame, event, argument):
        if frame.f_code not in self.codes:
            return None
        if event == "line":
            self.lines += 1
            if self.lines == self.number:
                raise KeyboardInterrupt
        return self._trace

    def __enter__(self):
        self.before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *error):
        sys.settrace(self.before)


@pytest.mark.parametrize("kept", [False, True], ids=["", "validated"])
def test_average_survives_ctrl_c_at_each_line(kept):
    """Predictions are those of the average, training goes on from the parameters themselves."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 3)), rng.integers(0, 2, 40)
    settings = {"optimizer": fastnn.Adam(0.05, ema=0.9), "batch_size": 10}
    if kept:  # the average is shown and put back after each epoch, too
        settings["validation_data"] = X, y

    def network(epochs):
        net = fastnn.Network([3, 4, 2], backend="numpy", random_state=0)
        net.fit(X, y, epochs=epochs, **settings)
        return net

    whole = {epochs: network(epochs) for epochs in range(2, 6)}
    number = 0
    while True:
        number, net = number + 1, network(2)
        with InterruptedLine(number) as lines, contextlib.suppress(KeyboardInterrupt):
            net.fit(X, y, epochs=2, **settings)
        if lines.lines < number:
            break
        expected = whole[net.n_epochs_]
        assert_bits(net.params, expected.params)
        assert_bits(net.state.moments, expected.state.moments)
        net.fit(X, y, epochs=5 - net.n_epochs_, **settings)
        assert_bits(net.params, whole[5].params)
        assert_bits(net.state.moments, whole[5].state.moments)
    assert number > 20
