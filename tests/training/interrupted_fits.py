"""Trainings interrupted by SIGINT at random times: ``python interrupted_fits.py BACKEND COUNT``.

A process of its own, which may hang or be ended without harm to the tests. It prints, for each kind
of training, what was wrong.
"""

import json
import os
import queue
import random
import signal
import sys
import threading
import time
import warnings

import numpy as np

import fastnn

LONGEST = 0.06  # seconds until the signal: a chunk of steps takes up to 0.04

rng = np.random.default_rng(0)
X = rng.normal(size=(4000, 20))
y = (X[:, 0] * X[:, 1] > 0).astype(int)


class Signals:
    """A thread that sends SIGINT to this process when it is told to."""

    def __init__(self):
        self.delays, self.sent = queue.SimpleQueue(), queue.SimpleQueue()
        threading.Thread(target=self._send, daemon=True, name="signals").start()

    def _send(self):
        while True:
            time.sleep(self.delays.get())
            os.kill(os.getpid(), signal.SIGINT)
            self.sent.put(None)


def small(backend):
    """Full batches, one thread."""
    net = fastnn.Network([20, 3, 2], backend=backend, random_state=0)
    return net, lambda epochs: net.fit(X[:200], y[:200], epochs=epochs)


def threads(backend):
    """Two threads."""
    net = fastnn.Network([20, 64, 64, 2], backend=backend, random_state=0, n_threads=2)
    return net, lambda epochs: net.fit(X, y, epochs=epochs, batch_size=512)


def estimator(backend):
    """An estimator, which fills its batches in Python."""
    model = fastnn.MLPClassifier((64, 64), n_iter_no_change=10**6, backend=backend, random_state=0)
    return model, lambda epochs: model.set_params(max_iter=epochs).fit(X, y)


def average(backend):
    """Parameters that are exchanged with their average, full batches."""
    net = fastnn.Network([20, 3, 2], backend=backend, random_state=0)
    rule = fastnn.Adam(ema=0.9)
    return net, lambda epochs: net.fit(X[:200], y[:200], epochs=epochs, optimizer=rule)


def lbfgs(backend):
    """SciPy's iterations, whose line searches try other parameters."""
    model = fastnn.MLPClassifier((20,), solver="lbfgs", tol=0, backend=backend, random_state=0)
    return model, lambda epochs: model.set_params(max_iter=epochs).fit(X, y)


def wrong_network(net, make, backend):
    """What is not that of the step that the counters tell."""
    state = net.state
    batches = 1 if tuple(net.layer_sizes) == (20, 3, 2) else 8
    if state.updates // batches != net.n_epochs_:
        return f"{state.updates} updates, {net.n_epochs_} epochs"
    if net.n_epochs_ and state.updates % batches == 0:
        same, fit = make(backend)
        fit(net.n_epochs_)
        if (same.params != net.params).any() or (same.state.moments != state.moments).any():
            return f"not the parameters and moments after {net.n_epochs_} epochs"
    return ""


def wrong_estimator(model, make, backend):
    """What is not that of the epoch that the counters tell."""
    if not hasattr(model, "_optimizer"):  # interrupted before
        return ""
    epochs = model.n_iter_
    counters = len(model.loss_curve_), model.t_ // len(X), model._optimizer.updates // 20
    return "" if set(counters) == {epochs} else f"{epochs} epochs, {counters}"


def wrong_lbfgs(model, make, backend):
    """Whether parameters and loss are not those of the iteration that the counter tells."""
    if not getattr(model, "n_iter_", 0):
        return ""
    same, fit = make(backend)
    fit(model.n_iter_)
    equal = same.loss_ == model.loss_ and all(
        (one == other).all() for one, other in zip(same.coefs_, model.coefs_, strict=True)
    )
    return "" if equal else f"not the parameters and loss of iteration {model.n_iter_}"


def check(make, backend, count, signals):
    """Interrupt ``count`` trainings; what was wrong, and how often ``fit`` raised."""
    wrong = {estimator: wrong_estimator, lbfgs: wrong_lbfgs}.get(make, wrong_network)
    times, faults, raised = random.Random(0), [], 0
    make(backend)[1](1)  # compiles
    for _ in range(count):
        model, fit = make(backend)
        signals.delays.put(times.uniform(0.004, LONGEST))
        try:
            fit(10**6)
        except KeyboardInterrupt:
            raised += 1
        signals.sent.get()
        faults.append(wrong(model, make, backend))
    return {"wrong": [fault for fault in faults if fault], "raised": raised}


KINDS = small, threads, estimator, average, lbfgs

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    backend, count = sys.argv[1], int(sys.argv[2])
    signals = Signals()
    result = {make.__name__: check(make, backend, count, signals) for make in KINDS}
    time.sleep(0.05)
    result["threads left"] = sorted(
        {thread.name for thread in threading.enumerate()} - {"MainThread", "signals"}
    )
    print(json.dumps(result))
