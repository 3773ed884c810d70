"""Interrupt trainings by SIGINT at random times: ``interrupted_fits.py BACKEND COUNT [KIND ...]``.

A separate process, so that the tests are not affected if it hangs or is killed. For each kind of
training it prints the errors found, and the 99th percentile of the time from the signal to the end
of the call. A training that was interrupted before its first step is repeated with a later signal.
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

LONGEST = 0.06  # maximum seconds until the signal; a chunk of steps takes up to 0.04

rng = np.random.default_rng(0)
X = rng.normal(size=(4000, 20))
y = (X[:, 0] * X[:, 1] > 0).astype(int)
ROWS = np.tile(X, (5, 1))


class Signals:
    """A thread that sends SIGINT to this process, after the delays put into ``delays``."""

    def __init__(self):
        self.delays, self.sent = queue.SimpleQueue(), queue.SimpleQueue()
        threading.Thread(target=self._send, daemon=True, name="signals").start()

    def _send(self):
        while True:
            time.sleep(self.delays.get())
            now = time.perf_counter(), time.process_time()
            os.kill(os.getpid(), signal.SIGINT)
            self.sent.put(now)

    def sent_at(self):
        """Wall-clock and CPU time at which the signal was sent; waits for it, despite Ctrl-C."""
        while True:
            try:
                return self.sent.get()
            except KeyboardInterrupt:
                pass


def small(backend):
    """Full-batch training with one thread."""
    net = fastnn.Network([20, 3, 2], backend=backend, random_state=0)
    return net, lambda epochs: net.fit(X[:200], y[:200], epochs=epochs)


def threads(backend):
    """Training with two threads."""
    net = fastnn.Network([20, 64, 64, 2], backend=backend, random_state=0, n_threads=2)
    return net, lambda epochs: net.fit(X, y, epochs=epochs, batch_size=512)


def wide(backend):
    """Wide layers, computed with BLAS or packed products."""
    net = fastnn.Network([20, 300, 300, 2], backend=backend, random_state=0, n_threads=2)
    return net, lambda epochs: net.fit(X, y, epochs=epochs, batch_size=500)


def many(backend):
    """Several networks trained by ``fit_many``."""
    nets = [fastnn.Network([20, 3, 2], backend=backend, random_state=0) for _ in range(3)]
    return nets, lambda epochs: fastnn.fit_many(nets, X[:200], y[:200], epochs=epochs, n_threads=2)


def predict(backend):
    """Repeated predictions of many rows."""
    net = fastnn.Network([20, 64, 64, 2], backend=backend, random_state=0)

    def calls(epochs):
        for _ in range(epochs):
            net.predict_proba(ROWS)

    return net, calls


def estimator(backend):
    """An estimator, which fills its batches in Python."""
    model = fastnn.MLPClassifier((64, 64), n_iter_no_change=10**6, backend=backend, random_state=0)
    return model, lambda epochs: model.set_params(max_iter=epochs).fit(X, y)


def average(backend):
    """Full-batch training in which the parameters are exchanged with their moving average."""
    net = fastnn.Network([20, 3, 2], backend=backend, random_state=0)
    rule = fastnn.Adam(ema=0.9)
    return net, lambda epochs: net.fit(X[:200], y[:200], epochs=epochs, optimizer=rule)


def lbfgs(backend):
    """L-BFGS of SciPy, whose line searches evaluate other parameters."""
    model = fastnn.MLPClassifier((20,), solver="lbfgs", tol=0, backend=backend, random_state=0)
    return model, lambda epochs: model.set_params(max_iter=epochs).fit(X, y)


def wrong_network(net, make, backend):
    """Describe what does not agree with the step counters of a network; empty if all agrees."""
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


def wrong_many(nets, make, backend):
    """Apply ``wrong_network`` to the networks of ``fit_many``; some may not have begun."""
    return "; ".join(filter(None, [wrong_network(net, small, backend) for net in nets]))


def wrong_predictions(net, make, backend):
    """Describe whether predictions after the interrupt differ; empty if they do not."""
    expected = make(backend)[0].predict_proba(ROWS)
    return "" if (net.predict_proba(ROWS) == expected).all() else "other predictions"


def wrong_estimator(model, make, backend):
    """Describe counters of an estimator that disagree about the epoch; empty if all agree."""
    if not hasattr(model, "_optimizer"):  # interrupted before the training began
        return ""
    epochs = model.n_iter_
    counters = len(model.loss_curve_), model.t_ // len(X), model._optimizer.updates // 20
    return "" if set(counters) == {epochs} else f"{epochs} epochs, {counters}"


def wrong_lbfgs(model, make, backend):
    """Describe whether parameters and loss disagree with the iteration counter; empty if not."""
    if not getattr(model, "n_iter_", 0):
        return ""
    same, fit = make(backend)
    fit(model.n_iter_)
    equal = same.loss_ == model.loss_ and all(
        (one == other).all() for one, other in zip(same.coefs_, model.coefs_, strict=True)
    )
    return "" if equal else f"not the parameters and loss of iteration {model.n_iter_}"


def has_begun(model):
    """Whether at least one step was done, or for an estimator one epoch."""
    models = model if isinstance(model, list) else [model]
    return any(
        each.state.updates if isinstance(each, fastnn.Network) else getattr(each, "n_iter_", 0)
        for each in models
    )


def interrupt(make, backend, delay, signals):
    """Interrupt one training; return the model, the delay, and whether ``fit`` raised.

    The delay is the time in seconds from the signal until the call returned: wall-clock time, and
    CPU time, which depends little on the load of the machine.
    """
    while True:
        model, fit = make(backend)
        signals.delays.put(delay)
        raised = False
        try:
            fit(10**6)
        except KeyboardInterrupt:
            raised = True
        back = np.array([time.perf_counter(), time.process_time()])
        seconds = back - signals.sent_at()
        if not raised or make is predict or has_begun(model):
            return model, seconds, raised
        delay *= 2


def check(make, backend, count, signals):
    """Interrupt ``count`` trainings; return errors, number of KeyboardInterrupts, and delays."""
    wrong = WRONG.get(make, wrong_network)
    times, faults, raised, late = random.Random(0), [], 0, []
    make(backend)[1](1)  # compiles
    for _ in range(count):
        model, seconds, has_raised = interrupt(
            make, backend, times.uniform(0.004, LONGEST), signals
        )
        late.append(seconds)
        raised += has_raised and make is not predict
        faults.append(wrong(model, make, backend))
    clock, cpu = (1000 * np.quantile(late, 0.99, axis=0)).round(1).tolist()
    return {
        "wrong": [fault for fault in faults if fault],
        "raised": raised,
        "99% back within ms": {"clock": clock, "CPU": cpu},
    }


KINDS = small, threads, wide, estimator, average, lbfgs, many, predict
WRONG = {
    estimator: wrong_estimator,
    lbfgs: wrong_lbfgs,
    many: wrong_many,
    predict: wrong_predictions,
}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    backend, count, *names = sys.argv[1:]
    kinds = [make for make in KINDS if not names or make.__name__ in names]
    # A process started with "&" by a shell ignores SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signals = Signals()
    result = {make.__name__: check(make, backend, int(count), signals) for make in kinds}
    time.sleep(0.05)
    # The threads for predictions are kept for further predictions.
    names = {thread.name.split("_")[0] for thread in threading.enumerate()}
    result["threads left"] = sorted(names - {"MainThread", "signals", "predicting"})
    print(json.dumps(result))
