"""Interrupt networks at random times: ``interrupted_fits.py BACKEND COUNT [KIND ...]``.

A training that was interrupted before its first step is repeated with a later signal.
"""

import interrupting
import numpy as np
from interrupting import Kind

import fastnn

rng = np.random.default_rng(0)
X = rng.normal(size=(4000, 20))
y = (X[:, 0] * X[:, 1] > 0).astype(int)
ROWS = np.tile(X, (5, 1))


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


def average(backend):
    """Full-batch training in which the parameters are exchanged with their moving average."""
    net = fastnn.Network([20, 3, 2], backend=backend, random_state=0)
    rule = fastnn.Adam(ema=0.9)
    return net, lambda epochs: net.fit(X[:200], y[:200], epochs=epochs, optimizer=rule)


def wrong_network(net, call, make, backend):
    """Describe what does not agree with the step counters, or does not one epoch later; or "".

    In the middle of an epoch, the parameters are those of no number of epochs.
    """
    state = net.state
    batches = 1 if tuple(net.layer_sizes) == (20, 3, 2) else 8
    if state.updates // batches != net.n_epochs_:
        return f"{state.updates} updates, {net.n_epochs_} epochs"
    if net.n_epochs_ and state.updates % batches == 0:
        same, fit = make(backend)
        fit(net.n_epochs_)
        if (same.params != net.params).any() or (same.state.moments != state.moments).any():
            return f"not the parameters and moments after {net.n_epochs_} epochs"
        if call is not None:
            fit(1), call(1)
            if (same.params != net.params).any():
                return f"other parameters one epoch after {net.n_epochs_ - 1} epochs"
    return ""


def wrong_many(nets, call, make, backend):
    """Apply ``wrong_network`` to the networks of ``fit_many``; some may not have begun."""
    return "; ".join(filter(None, [wrong_network(net, None, small, backend) for net in nets]))


def wrong_predictions(net, call, make, backend):
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
