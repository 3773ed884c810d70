"""Interrupt networks at random times: ``interrupted_fits.py BACKEND COUNT [KIND ...]``.

A training that was interrupted before its first step is repeated with a later signal.
"""

import functools

import interrupting
import numpy as np
from interrupting import Kind, Steps

import fastnn
from fastnn.backends.tuning import tuned

rng = np.random.default_rng(0)
X = rng.normal(size=(4000, 20))
y = (X[:, 0] * X[:, 1] > 0).astype(int)
ROWS = np.tile(X, (5, 1))


def small(backend):
    """Full-batch training with one thread."""
    net = fastnn.Network([20, 3, 2], backend=backend, random_state=0)
    return net, lambda epochs, **rest: net.fit(X[:200], y[:200], epochs=epochs, **rest)


def threads(backend):
    """Training with two threads."""
    net = fastnn.Network([20, 64, 64, 2], backend=backend, random_state=0, n_threads=2)
    return net, lambda epochs, **rest: net.fit(X, y, epochs=epochs, batch_size=512, **rest)


def wide(backend):
    """Wide layers, computed with BLAS or packed products."""
    net = fastnn.Network([20, 300, 300, 2], backend=backend, random_state=0, n_threads=2)
    return net, lambda epochs, **rest: net.fit(X, y, epochs=epochs, batch_size=500, **rest)


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


def average(backend):
    """Full-batch training in which the parameters are exchanged with their moving average."""
    net = fastnn.Network([20, 3, 2], backend=backend, random_state=0)
    rule = fastnn.Adam(ema=0.9)
    return net, lambda epochs: net.fit(X[:200], y[:200], epochs=epochs, optimizer=rule)


@functools.cache
def steps(make, backend):
    """Steps of a training that nothing interrupts."""
    return Steps(lambda: make(backend), lambda net, history: history.loss)


@functools.cache
def one_epoch_after(make, backend, updates):
    """Hash of parameters and moments one epoch after a training that a callback has stopped."""
    net, fit = make(backend)
    with tuned(chunk_seconds=1e-9):  # the callback is called after each step
        fit(10**6, callbacks=[lambda progress: progress.step == updates])
    fit(1)
    return interrupting.contents(net.params, net.state)


def wrong_network(net, history, call, make, backend):
    """Describe what does not agree with the step counters, or does not one epoch later; or ""."""
    state = net.state
    updates, batches = state.updates, 1 if tuple(net.layer_sizes) == (20, 3, 2) else 8
    if updates // batches != net.n_epochs_:
        return f"{updates} updates, {net.n_epochs_} epochs"
    if history is None:
        return f"no history after {updates} updates"
    if (history.steps, history.epochs, history.stopped) != (updates, net.n_epochs_, "interrupted"):
        return f"{updates} updates, history of {history.steps}, stopped by {history.stopped}"
    if found := steps(make, backend).wrong(net.params, state, history.loss):
        return found
    call(1)
    if updates % batches == 0:
        return steps(make, backend).wrong(net.params, state)
    if interrupting.contents(net.params, state) != one_epoch_after(make, backend, updates):
        return f"other parameters one epoch after {updates} updates"
    return ""


def wrong_many(nets, histories, call, make, backend):
    """Describe what does not agree with the counters of one of several networks; or "".

    Some may not have begun.
    """
    if histories is None:
        return "no histories"
    for net, history in zip(nets, histories, strict=True):
        if not history.steps == history.epochs == net.n_epochs_ == net.state.updates:
            return f"{net.state.updates} updates, {net.n_epochs_} epochs, {history.steps} steps"
        if found := steps(small, backend).wrong(net.params, net.state, history.loss):
            return found
    call(1)
    found = [steps(small, backend).wrong(net.params, net.state) for net in nets]
    return "; ".join(filter(None, found))


def wrong_predictions(net, result, call, make, backend):
    """Describe whether predictions after the interrupt differ; "" if they do not."""
    expected = make(backend)[0].predict_proba(ROWS)
    return "" if (net.predict_proba(ROWS) == expected).all() else "other predictions"


def has_begun(nets):
    """Whether at least one step was done."""
    return any(net.state.updates for net in (nets if isinstance(nets, list) else [nets]))


KINDS = {
    make.__name__: Kind(make, wrong_network, has_begun) for make in (small, threads, wide, average)
}
KINDS["many"] = Kind(many, wrong_many, has_begun)
KINDS["predict"] = Kind(predict, wrong_predictions, None)

if __name__ == "__main__":
    interrupting.main(KINDS)
