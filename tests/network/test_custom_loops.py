"""Training loops of one's own: forward, backward, apply; what ``fit`` does to the bit."""

import gc
import pickle

import numpy as np
import pytest
from helpers import DTYPES, assert_bits, assert_same
from threadpoolctl import threadpool_limits

import fastnn


def make(sizes=(4, 11, 3), n=60, dtype="float64", loss="squared_error", **settings):
    """A network and data that it has not seen."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, sizes[0])).astype(dtype)
    y = rng.normal(size=(n, sizes[-1])).astype(dtype)
    if loss == "cross_entropy":
        y = np.arange(n) % sizes[-1]
    settings = {"random_state": 0, "dtype": dtype, "n_threads": 1} | settings
    return fastnn.Network(sizes, loss=loss, **settings), X, y


def derivative(net, outputs, targets):
    """Of the network's own loss, as the kernels compute it in training."""
    matrix = np.ascontiguousarray(targets.reshape(len(outputs), -1).T).astype(net.dtype)
    logits, d = np.ascontiguousarray(outputs.T), np.empty_like(outputs.T)
    kernels, model = net.model.kernels, net.model
    no_weights, plan = np.empty(0, net.dtype), model.plan
    d = np.empty(logits.shape, net.dtype)
    constants = plan.constants[len(plan.layers) - 1 :]
    arguments = logits, matrix, no_weights, model.loss, constants, 1 / len(outputs)
    kernels.output_loss(*arguments, d)
    return np.ascontiguousarray(d.T)


CASES = [  # sizes, samples, batch size
    ((4, 64, 64, 2), 7, 1),
    ((50, 60, 130, 5), 5, 1),
    ((50, 600, 600, 3), 3, 1),
    ((4, 11, 3), 60, 16),
    ((5, 8, 3), 1291, 1291),
    ((50, 60, 130, 5), 300, 100),  # packed products, or BLAS
    ((50, 600, 600, 3), 70, 70),  # updates fused with gradients
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("sizes", "n", "batch"), CASES)
@pytest.mark.parametrize("loss", ["squared_error", "cross_entropy"])
def test_fit_equals_a_custom_loop(backend, sizes, n, batch, dtype, loss):
    """To the bit, with L2, dropout, weight decay and clipping, on one thread."""
    rules = [fastnn.Adam(0.01), fastnn.AdamW(0.01, weight_decay=0.1, clip_norm=0.3)]
    for rule, dropout in zip(rules, (0.0, 0.2), strict=True):
        settings = {"l2": 1e-3, "dropout": dropout, "backend": backend, "loss": loss}
        theirs, X, y = make(sizes, n, dtype, activation="relu", **settings)
        net = make(sizes, n, dtype, activation="relu", **settings)[0]
        with threadpool_limits(limits=1, user_api="blas"):
            theirs.fit(X, y, optimizer=rule, epochs=2, batch_size=batch, shuffle=False)
            for _ in range(2):
                for start in range(0, n, batch):
                    rows = slice(start, start + batch)
                    tape = net.forward(X[rows], training=True)
                    gradient = tape.backward(derivative(net, tape.outputs, y[rows]))
                    net.apply(rule, gradient)
        assert_bits(net.params, theirs.params)
        assert_bits(net.state.moments, theirs.state.moments)
        assert net.state.updates == theirs.state.updates
        # and each goes on where the other is
        tape = net.forward(X)
        net.apply(rule, tape.backward(derivative(net, tape.outputs, y)))
        assert net.state.updates == theirs.state.updates + 1


def test_backward_gives_the_gradient_of_the_loss(backend):
    net, X, y = make(backend=backend, l2=0.0)
    tape = net.forward(X)
    assert_same(tape.outputs, net.predict(X), "float64")
    gradient = tape.backward((tape.outputs - y) / len(X))
    assert_same(gradient, net.gradients(X, y), "float64")
    weights, biases = net.unflatten(gradient)
    assert [w.shape for w in weights] == [(4, 11), (11, 3)]
    assert all(np.shares_memory(part, gradient) for part in [*weights, *biases])


@pytest.mark.parametrize("of", ["logits", None, "predictions"])
@pytest.mark.parametrize("loss", ["squared_error", "cross_entropy", "poisson"])
def test_outputs_and_input_gradients_are_in_user_units(loss, of, backend):
    """By parameters against differences, by inputs against ``vjp``."""
    if of == "predictions":
        of = "proba" if loss == "cross_entropy" else "predict"
    net, X, y = make(loss=loss, backend=backend, standardize=True, smooth_clip=2.0)
    X = 100 + 5 * X
    net.fit(X, np.abs(y), epochs=1)
    v = np.random.default_rng(1).normal(size=(len(X), 3))
    tape = net.forward(X, of=of)
    name = of or ("logits" if loss == "cross_entropy" else "predict")
    if name == "predict":
        assert_same(tape.outputs, net.predict(X), "float64")
    elif name == "proba":
        assert_same(tape.outputs, net.predict_proba(X), "float64")
    gradient, d_inputs = tape.backward(v, inputs=True)
    assert_same(d_inputs, net.vjp(X, v, of=name), "float64")
    for k in (0, 30, len(gradient) - 1):
        values = []
        for h in (1e-6, -2e-6):
            net.params[k] += h
            values.append((net.forward(X, of=of).outputs * v).sum())
        net.params[k] += 1e-6
        # 60 terms of order one; the rounding of a difference is 1e-15 / 1e-6
        assert_same(gradient[k], (values[0] - values[1]) / 2e-6, "float64", atol=1e-7, least=1.0)


def test_one_sigmoid_has_two_probabilities(backend):
    net, X, _ = make((4, 5, 1), loss="binary_cross_entropy", backend=backend)
    assert net.forward(X).outputs.shape == (60, 1)
    tape = net.forward(X, of="proba")
    assert_same(tape.outputs, net.predict_proba(X), "float64")
    v = np.random.default_rng(1).normal(size=(60, 2))
    _, d_inputs = tape.backward(v, inputs=True)
    assert_same(d_inputs, net.vjp(X, v), "float64")


def test_tape_memory_is_reused_only_after_release(backend):
    net, X, _ = make(backend=backend)
    tapes = [net.forward(X + k) for k in range(3)]
    expected = [net.forward(X + k).backward(np.ones((60, 3))) for k in range(3)]
    for tape, gradient in zip(tapes, expected, strict=True):
        assert_bits(tape.backward(np.ones((60, 3))), gradient)
    kept = tapes[0].outputs
    copy = kept.copy()
    places = {tape._memory.work.ctypes.data for tape in tapes}
    del tapes, tape
    gc.collect()
    again = [net.forward(X) for _ in range(3)]
    assert len(places & {tape._memory.work.ctypes.data for tape in again}) >= 2
    assert_bits(kept, copy)


def test_dropout_masks_change_after_each_step(backend):
    net, X, _ = make(backend=backend, dropout=0.5)
    plain = net.forward(X).outputs
    assert_bits(net.forward(X).outputs, plain)
    first = net.forward(X, training=True)
    assert np.abs(first.outputs - plain).max() > 0.01
    assert_bits(net.forward(X, training=True).outputs, first.outputs)
    before = net.params.copy()
    net.apply(fastnn.SGD(1e-9), np.zeros(net.n_params))
    assert_bits(net.params, before)
    assert np.abs(net.forward(X, training=True).outputs - first.outputs).max() > 0.01


def test_learning_rate_schedule_keeps_the_moments():
    net, other = make()[0], make()[0]
    rule, gradient = fastnn.Adam(0.1), np.ones(net.n_params)
    for rate in (0.1, 0.01):
        net.apply(rule, gradient, learning_rate=rate)
        other.apply(fastnn.Adam(0.1), gradient, learning_rate=rate)  # equal, not the same
    # two steps of Adam with one gradient each go the learning rate
    moved = make()[0].params - net.params
    np.testing.assert_allclose(moved, 0.11, rtol=1e-6)
    assert_bits(net.params, other.params)
    net.apply(fastnn.SGD(0.1), gradient)
    assert net.state.updates == 1
    net.apply("sgd", gradient)
    assert net.state.updates == 1


def test_clipping_does_not_change_the_gradient_passed(backend):
    net, _, _ = make(backend=backend)
    gradient = np.ones(net.n_params)
    before = net.params.copy()
    net.apply(fastnn.SGD(1.0, clip_norm=0.5), gradient)
    assert (gradient == 1).all()
    np.testing.assert_allclose(np.linalg.norm(net.params - before), 0.5)
    net.apply(fastnn.SGD(1.0), gradient.astype("float32"))
    net.apply(fastnn.SGD(1.0), gradient.tolist())


def test_fit_continues_after_custom_steps():
    net, X, y = make()
    other, rule = make()[0], fastnn.Adam(0.01)
    net.fit(X, y, optimizer=rule, epochs=2)
    tape = other.forward(X)
    other.apply(rule, tape.backward(derivative(other, tape.outputs, y)))
    other.fit(X, y, optimizer=rule, epochs=1)
    assert_bits(net.params, other.params)
    assert pickle.loads(pickle.dumps(other)).state.updates == 2


BAD = [
    ({"optimizer": "newton"}, "optimizer must be one of"),
    ({"optimizer": fastnn.Adam(ema=0.9)}, r"optimizer must not have ema, .* got ema=0.9"),
    ({"gradient": np.ones(5)}, r"gradient must be numbers of shape \(91,\); got float64 of shape"),
    ({"gradient": ["a"] * 91}, "gradient must be numbers"),
    ({"gradient": np.full(91, np.nan)}, "gradient contains NaN"),
    ({"gradient": np.full(91, np.inf)}, "gradient contains infinity"),
    ({"learning_rate": -1}, "learning_rate must be a number"),
]


@pytest.mark.parametrize(("bad", "message"), BAD)
@pytest.mark.parametrize("begun", [False, True])
def test_invalid_steps_change_nothing(bad, message, begun):
    net, _, _ = make()
    rule = fastnn.Adam(0.1)
    if begun:
        net.apply(rule, np.ones(91))
    params, moments, updates = net.params.copy(), net.state.moments.copy(), net.state.updates
    arguments = {"optimizer": rule, "gradient": np.ones(91)} | bad
    with pytest.raises(ValueError, match=message):
        net.apply(**arguments)
    assert_bits(net.params, params)
    assert_bits(net.state.moments, moments)
    assert net.state.updates == updates


def test_invalid_batches_raise(backend):
    net, X, _ = make(backend=backend)
    for bad, message in (
        (X[:, :3], "X has 3 features"),
        (X[0], "X must be 2-D"),
        (np.full((2, 4), np.nan), "X contains NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            net.forward(bad)
    with pytest.raises(ValueError, match="of must be one of"):
        net.forward(X, of="values")
    tape = net.forward(X)
    with pytest.raises(ValueError, match=r"d_outputs must be numbers of shape \(60, 3\); got"):
        tape.backward(np.ones((60, 2)))
    gradient = tape.backward(np.ones((60, 3)))
    net.apply("sgd", gradient)
    with pytest.raises(ValueError, match="parameters have changed since forward"):
        tape.backward(np.ones((60, 3)))
