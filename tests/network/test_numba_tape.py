"""Loops of forward, backward and apply in compiled code: the bits of the same loops in Python."""

import copy
import pickle

import numba
import numpy as np
import pytest
from helpers import assert_bits
from numba.core.errors import TypingError

import fastnn

RULE = fastnn.Adam(0.01, clip_norm=1.0)


@numba.njit(nogil=True)
def train(forward, backward, apply, tape, X, y, outputs, gradient, d_inputs):
    """A step for each of some batches."""
    for k in range(len(X)):
        forward(tape, X[k], outputs[k])
        backward(tape, (outputs[k] - y[k]) / X.shape[1], gradient[k], d_inputs[k])
        apply(gradient[k])


@numba.njit(parallel=True)
def gradients(forward, backward, tapes, X, y, outputs, gradient, d_inputs):
    """Gradients of batches by several threads."""
    for k in numba.prange(len(X)):
        forward(tapes[k], X[k], outputs[k])
        backward(tapes[k], (outputs[k] - y[k]) / X.shape[1], gradient[k], d_inputs[k])


def make(batches, rows, **settings):
    """Two equal networks that have begun to train, and batches with memory for what is made."""
    settings = {"standardize": True, "backend": "numba", "l2": 1e-3, "dropout": 0.2} | settings
    rng = np.random.default_rng(0)
    X = (100 + 5 * rng.normal(size=(batches, rows, 4))).astype("float32")
    y = 7 + 3 * rng.normal(size=(batches, rows, 2))
    net = fastnn.Network([4, 11, 2], loss="squared_error", random_state=0, n_threads=1, **settings)
    net.fit(X[0], y[0], optimizer=RULE, epochs=2)
    made = np.empty((batches, rows, 2)), np.empty((batches, net.n_params), "float32")
    return net, copy.deepcopy(net), X, y, (*made, np.empty((batches, rows, 4)))


def steps(net, X, y, training):
    """The loop of ``train`` in Python: outputs, gradients, derivatives by the inputs."""
    made = []
    for x, targets in zip(X, y, strict=True):
        tape = net.forward(x, training=training)
        gradient, d_inputs = tape.backward((tape.outputs - targets) / len(x), inputs=True)
        made.append((tape.outputs, gradient, d_inputs))
        net.apply(RULE, gradient)
    return [np.stack(each) for each in zip(*made, strict=True)]


def test_compiled_loop_has_the_bits_of_python_loop():
    net, other, X, y, made = make(3, 300, smooth_clip=2.0)
    forward, backward, apply, tape = net.numba_tape(300, RULE, training=True)
    for rows in (300, 7):  # fewer than the tape has room for
        some = X[:, :rows].copy(), y[:, :rows].copy()
        parts = [made[0][:, :rows].copy(), made[1], made[2][:, :rows].copy()]
        train(forward, backward, apply, tape, *some, *parts)
        for mine, theirs in zip(parts, steps(other, *some, training=True), strict=True):
            assert_bits(mine, theirs)
        assert_bits(net.params, other.params)
        assert_bits(net.state.moments, other.state.moments)
    assert net.state.updates == other.state.updates == 8

    # Python goes on where compiled code is, and compiled code where Python is
    assert pickle.loads(pickle.dumps(net)).state.updates == 8
    stale = net.forward(X[0])
    apply(np.zeros(net.n_params, "float32"))
    other.apply(RULE, np.zeros(net.n_params, "float32"))
    with pytest.raises(ValueError, match="parameters have changed since forward"):
        stale.backward(y[0])
    for each in (net, other):
        each.fit(X[1], y[1], optimizer=RULE, epochs=2)
        each.apply(RULE, np.ones(each.n_params, "float32"))
        each.partial_fit(X[1], y[1], optimizer=RULE)
    train(forward, backward, apply, tape, X, y, *made)
    steps(other, X, y, training=True)
    assert_bits(net.params, other.params)
    assert net.state.updates == other.state.updates == 16

    # another training: its moments are not those that compiled code has
    before = net.params.copy()
    net.fit(X[1], y[1], optimizer=fastnn.SGD(1e-9), epochs=1)
    for message, call in (
        ("another training has begun", lambda: apply(made[1][0])),
        ("parameters have changed", lambda: backward(tape, y[0], made[1][0], made[2][0])),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    assert net.state.updates == 1
    np.testing.assert_allclose(net.params, before, rtol=1e-5, atol=1e-6)


def test_tapes_of_threads_and_wrong_arguments():
    net, _, X, y, made = make(8, 70, dropout=0.0)
    X = X + 1e-9  # float64, with digits that float32 has not
    forward, backward, apply, tape = net.numba_tape(70, RULE)
    tapes = np.tile(tape, (8, 1))
    gradients(forward, backward, tapes, X, y, *made)
    for k in range(8):
        one = net.forward(X[k])
        gradient, d_inputs = one.backward((one.outputs - y[k]) / 70, inputs=True)
        for mine, theirs in zip(made, (one.outputs, gradient, d_inputs), strict=True):
            assert_bits(mine[k], theirs)

    before, (out, gradient, d_inputs) = net.params.copy(), (each[0] for each in made)
    wide, moments = np.empty((70, 5)), net.state.moments.copy()
    for message, call in (
        (r"tape must have shape", lambda: forward(tape[1:], X[0], out)),
        (r"X must have shape \(rows, 4\) with 1 to 70 rows", lambda: forward(tape, X[0, :0], out)),
        (r"X must have shape", lambda: forward(tape, np.tile(X[0], (2, 1)), out)),
        (r"X must have shape", lambda: forward(tape, X[0, :, :3].copy(), out)),
        (r"out must have shape \(rows of X, 2\)", lambda: forward(tape, X[0], wide)),
        (r"out must have shape", lambda: forward(tape, X[0], out[1:])),
        (r"tape must have shape", lambda: backward(tape[1:], out, gradient, d_inputs)),
        (r"d_outputs must have shape", lambda: backward(tapes[0], out[1:], gradient, d_inputs)),
        (r"gradient must have shape", lambda: backward(tapes[0], out, gradient[1:], d_inputs)),
        (r"d_inputs must have shape", lambda: backward(tapes[0], out, gradient, wide)),
        (r"gradient must have shape", lambda: apply(gradient[1:])),
        (r"gradient contains NaN or infinity", lambda: apply(np.full_like(gradient, np.nan))),
        (r"learning_rate must be", lambda: apply(gradient, -1.0)),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypingError, match=r"X must be a C-contiguous 2-D array of float32 or"):
        forward(tape, X[0, 0], out)
    assert_bits(net.params, before)
    assert_bits(net.state.moments, moments)
    assert net.state.updates == 2
    apply(gradient, 0.0)
    assert_bits(net.params, before)


def test_invalid_arguments_change_nothing():
    net = make(1, 20)[0]
    for bad, message in (
        ({"max_rows": 0}, "max_rows must be a whole number of at least 1; got 0"),
        ({"optimizer": fastnn.Adam(ema=0.9)}, "optimizer must not have ema"),
        ({"optimizer": "newton"}, "optimizer must be one of"),
        ({"of": "proba"}, "of must be one of"),
    ):
        with pytest.raises(ValueError, match=message):
            net.numba_tape(**{"max_rows": 2, "optimizer": "sgd"} | bad)
    assert net.state.optimizer == RULE
    with pytest.raises(ValueError, match="standardize=True needs a call of fit"):
        fastnn.Network([2, 1], loss="squared_error", standardize=True).numba_tape(2)
    with pytest.raises(ValueError, match="of must be 'logits' for the loss poisson"):
        fastnn.Network([2, 1], loss="poisson").numba_tape(2)
