"""Ctrl-C at any time: no hang, no thread left, and all that a training knows is of one step."""

import contextlib
import json
import linecache
import os
import signal
import subprocess
import sys
import warnings
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from helpers import assert_bits
from threadpoolctl import ThreadpoolController, threadpool_limits

import fastnn
from fastnn.backends.tuning import tuned
from fastnn.training import blas
from fastnn.training.batches import Batches
from fastnn.training.state import TrainingState

HERE = Path(__file__).parent
LONG = round(10 * float(os.environ.get("FASTNN_SOAK", "100")))  # make soak SOAK=10: a tenth
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
WINDOWS = pytest.mark.skipif(sys.platform == "win32", reason="signals")


def run(script, backend, count, *kinds, timeout):
    """Run a script; check what it found, and print it with the times, which no test checks."""
    # a hang ends in TimeoutExpired
    done = subprocess.run(
        [sys.executable, HERE / f"{script}.py", backend, str(count), *kinds],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))} | ONE_THREAD,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(result, indent=1))
    for found in result.values():
        assert found["wrong"] == []
        # only before the first step or after the last: in between the signal ends the training
        assert found.get("raised", 0) == 0
    return set(result)


NETWORKS = {"small", "threads", "wide", "average", "many", "predict"}
ESTIMATORS = {
    f"{kind} {solver}"
    for kind in ("classifier", "regressor")
    for solver in ("sgd", "adam", "lbfgs", "lm")
} | {"table", "members", "table refit", "table predict"}
COMMANDS = {"train", "train_table", "search", "search_table"}


@WINDOWS
def test_interrupted_networks(backend):
    assert run("interrupted_fits", backend, 3, timeout=600) == NETWORKS


@WINDOWS
def test_interrupted_estimators():
    assert run("interrupted_estimators", "auto", 2, timeout=600) == ESTIMATORS


@WINDOWS
def test_interrupted_commands():
    assert run("interrupted_commands", "auto", 1, timeout=600) == COMMANDS


@WINDOWS
def test_interrupted_searches():
    assert run("interrupted_searches", "auto", 2, timeout=600) == {"search", "table search"}


@WINDOWS
@pytest.mark.slow
def test_a_thousand_interrupts_of_the_cnn():
    assert run("interrupted_cnn", "tensorflow", LONG, timeout=10_000) == {"cnn"}


@WINDOWS
@pytest.mark.slow
@pytest.mark.parametrize(
    "script", ["interrupted_fits", "interrupted_estimators", "interrupted_searches"]
)
def test_a_thousand_interrupts(script, backend):
    run(script, backend, LONG, timeout=10_000)


@WINDOWS
@pytest.mark.slow
def test_interrupted_whole_commands():
    """Fewer, since each is compared with a resumed command."""
    run("interrupted_commands", "auto", LONG // 5, timeout=20_000)
    run("interrupted_commands", "auto", LONG // 20, "cnn", timeout=20_000)


class InterruptedLine:
    """Context in which one of the lines of some functions is interrupted.

    Parameters
    ----------
    number : int
        Which of them, counted as they run.
    functions : functions
    """

    def __init__(self, number, *functions):
        self.number, self.lines = number, 0
        self.codes = {function.__code__ for function in functions}

    def _trace(self, frame, event, argument):
        if frame.f_code not in self.codes:
            return None
        # A lock is released in the line of its "with": no signal is handled before that.
        text = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
        if event == "line" and not text.strip().startswith("with "):
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


EXCHANGES = [getattr(TrainingState, name) for name in ("begin", "end", "show_average", "settle")]


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
        with InterruptedLine(number, *EXCHANGES) as lines, contextlib.suppress(KeyboardInterrupt):
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


@pytest.mark.parametrize("weighted", [False, True])
def test_loss_and_gradient_of_many_samples_are_interrupted_between_pieces(backend, weighted):
    """Sums of pieces are those of one call up to rounding; Ctrl-C is noticed after each."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(3000, 5)), rng.integers(0, 3, 3000)
    weights = rng.integers(0, 3, 3000).astype(float) if weighted else None
    if weighted:
        weights[1000:2500] = 0  # some pieces have no weight at all
    settings = {"dtype": "float64", "l2": 0.1, "backend": backend, "random_state": 0}
    net = fastnn.Network([5, 4, 3], **settings)
    whole = net.gradients(X, y, sample_weight=weights)
    with tuned(piece_samples=900):
        pieces = net.gradients(X, y, sample_weight=weights)
        np.testing.assert_allclose(pieces, whole, rtol=1e-12, atol=1e-14)
        assert (pieces != whole).any()  # rounded differently
        calls = []
        kernel = net.model.kernels.loss_and_grad

        def interrupted(*arguments):
            calls.append(arguments[1].shape[1])
            if len(calls) == 3:
                os.kill(os.getpid(), signal.SIGINT)
            return kernel(*arguments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(net.model.kernels, "loss_and_grad", interrupted)
            with pytest.raises(KeyboardInterrupt):
                net.gradients(X, y)
    assert len(calls) == 3
    assert max(calls) < 1000


def test_an_epoch_of_an_estimator_is_interrupted_within(backend):
    """An epoch of many steps takes several calls of the kernels; the results are the same."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(600, 5)), rng.integers(0, 3, 600)

    def trained(**limits):
        model = fastnn.MLPClassifier(
            (4,), batch_size=2, max_iter=2, dropout=0.1, backend=backend, random_state=0
        )
        with warnings.catch_warnings(), tuned(**limits):
            warnings.simplefilter("ignore")
            model.fit(X, y)
        return model

    calls = []
    whole = trained(chunk_seconds=1e3)
    with pytest.MonkeyPatch.context() as patch:
        train = Batches.train

        def counted(self, state, rates, *arguments, **settings):
            calls.append(len(rates))
            return train(self, state, rates, *arguments, **settings)

        patch.setattr(Batches, "train", counted)
        parts = trained(chunk_seconds=1e-9)  # each call takes longer
    assert set(calls) == {1}
    assert parts.loss_curve_ == whole.loss_curve_
    for one, other in zip(parts.coefs_, whole.coefs_, strict=True):
        assert_bits(one, other)


@pytest.mark.parametrize("open_before", [False, True], ids=["alone", "within another"])
def test_the_limit_of_blas_threads_after_ctrl_c_at_each_line(open_before):
    """It neither stays nor keeps a later one from taking effect."""

    def threads():
        found = [library["num_threads"] for library in blas_threads.info()]
        return sorted(set(found))

    blas_threads = ThreadpoolController().select(user_api="blas")
    lines_of = blas.limited_blas.__wrapped__, blas._change
    number, raised = 0, 0
    with threadpool_limits(3, "blas"), blas.limited_blas(2) if open_before else nullcontext():
        before = threads()
        assert before == [2 if open_before else 3]
        while True:
            number += 1
            try:
                with InterruptedLine(number, *lines_of) as lines, blas.limited_blas(1):
                    assert threads() == [1]
            except KeyboardInterrupt:
                raised += 1
            if lines.lines < number:
                break
            assert threads() == before
            with blas.limited_blas(1):
                assert threads() == [1]
            assert threads() == before
    assert raised > 15
    assert not blas._limits
