"""``fit_many``: each network as its own ``fit`` leaves it; errors, Ctrl-C, what is refused."""

import copy
import pickle
import signal
import threading

import numpy as np
import pytest
from helpers import assert_bits, load_backend, when_main_is_within
from threadpoolctl import threadpool_info, threadpool_limits

import fastnn
from fastnn import EarlyStopping, Fit, Network, fit_many
from fastnn.training import blas


def moons(samples=90, seed=0):
    rng = np.random.default_rng(seed)
    t = rng.uniform(0, np.pi, samples)
    y = np.arange(samples) % 2
    X = np.column_stack([np.cos(t) + y, np.where(y, 0.5 - np.sin(t), np.sin(t))])
    return X + 0.1 * rng.standard_normal(X.shape), y


X, Y = moons()
RNG = np.random.default_rng(1)
WIDE = np.round(RNG.random((60, 80)) * (RNG.random((60, 80)) < 0.1), 2)
VALUES = WIDE[:, :2] @ [[1.0], [2.0]]


def items(backend):
    """Networks of many shapes and settings, and their arguments, anew."""
    own = {"backend": backend, "random_state": 7}
    return [
        Fit(Network([2, 3, 2], **own), epochs=40, optimizer=fastnn.SGD(1.0)),
        Fit(Network([2, 8, 8, 2], dtype="float64", **own), epochs=11, batch_size=16),
        Fit(Network([2, 5, 2], activation="relu", dropout=0.3, **own), batch_size=20),
        Fit(Network([2, 4, 1], loss="binary_cross_entropy", l2=1e-3, **own), shuffle=False),
        Fit(
            Network([2, 6, 2], standardize=True, **own),
            epochs=200,
            optimizer=fastnn.Adam(0.1),
            validation_fraction=0.3,
            early_stopping=EarlyStopping(patience=3),
        ),
        Fit(Network([2, 6, 2], **own), rows=np.arange(0, 90, 3), validation_rows=np.arange(5)),
        Fit(Network([2, 6, 2], **own), rows=X[:, 0] > 0.5, optimizer="rmsprop"),
        Fit(Network([2, 6, 2], **own), rows=RNG.integers(0, 90, 90), sample_weight=1 + Y),
        # sparse rows, and layers so wide that BLAS does the products
        Fit(Network([80, 20, 1], loss="squared_error", **own), WIDE, VALUES, batch_size=30),
        Fit(Network([80, 256, 128, 1], loss="squared_error", **own), WIDE, VALUES, epochs=2),
    ]


def fit_alone(fit, **shared):
    """``fit`` of a network by itself, with the rows taken by hand."""
    data, targets = (X, Y) if fit.X is None else (fit.X, fit.y)
    arguments = {**shared, **fit.arguments}
    if fit.validation_rows is not None:
        arguments["validation_data"] = data[fit.validation_rows], targets[fit.validation_rows]
    if fit.rows is not None:
        if "sample_weight" in arguments:
            arguments["sample_weight"] = arguments["sample_weight"][fit.rows]
        data, targets = data[fit.rows], targets[fit.rows]
    return fit.network.fit(data, targets, **arguments)


@pytest.mark.parametrize("backend", ["numpy", "numba", "cython"])
def test_fit_many_has_the_bits_of_fit(backend):
    load_backend(backend)
    alone = items(backend)
    # as documented: on one thread, where BLAS takes part (with NumPy, everywhere)
    for fit in alone if backend == "numpy" else alone[-1:]:
        fit.network.n_threads = 1
    expected = [fit_alone(fit, epochs=9) for fit in alone]
    assert expected[4].stopped == "early stopping"  # else it would not be tested
    for n_threads in (1, 2, 4):
        fits = items(backend)
        for fit, other in zip(fits, alone, strict=True):
            fit.rows = other.rows  # the bootstrap is drawn anew
        histories = fit_many(fits, X, Y, n_threads=n_threads, epochs=9)
        for fit, other, history, own in zip(fits, alone, histories, expected, strict=True):
            net, same = fit.network, other.network
            np.testing.assert_array_equal(net.params, same.params)
            np.testing.assert_array_equal(net.state.moments, same.state.moments)
            np.testing.assert_array_equal(history.loss, own.loss)
            np.testing.assert_array_equal(history.validation_loss, own.validation_loss)
            np.testing.assert_array_equal(history.validation_score, own.validation_score)
            assert (history.stopped, history.steps) == (own.stopped, own.steps)
            assert (history.best_epoch, net.n_epochs_) == (own.best_epoch, same.n_epochs_)
            assert (net.state.updates, net.targets_1d) == (same.state.updates, same.targets_1d)


def test_fit_many_continues_training():
    once, twice = (Network([2, 4, 2], random_state=0) for _ in range(2))
    once.fit(X, Y, epochs=10, batch_size=20)
    for _ in range(2):
        fit_many([{"network": twice, "epochs": 5}], X, Y, batch_size=20)
    np.testing.assert_array_equal(once.params, twice.params)


def test_own_arguments_override_shared_ones():
    nets = [Network([2, h, 2], random_state=0) for h in (3, 4)]
    generator = ({"network": net, "epochs": k} for k, net in enumerate(nets, 2))
    histories = fit_many(generator, X.tolist(), Y.tolist(), epochs=99, n_threads=2)
    assert [history.epochs for history in histories] == [2, 3]
    assert fit_many([]) == []


def diverging(seed):
    return {
        "network": Network([2, 4, 1], loss="squared_error", activation="relu", random_state=seed),
        "optimizer": fastnn.SGD(1e6),
    }


@pytest.mark.parametrize("errors", ["raise", "return"])
def test_divergence_of_one_keeps_the_others(errors):
    def made():
        good = [Network([2, 4, 1], loss="squared_error", random_state=k) for k in (0, 1)]
        return [good[0], diverging(2), good[1]]

    nets, own = made(), made()
    shared = {"epochs": 50, "optimizer": fastnn.SGD(0.01)}
    if errors == "return":
        results = fit_many(nets, X, Y, errors="return", **shared)
    else:
        with pytest.raises(fastnn.DivergenceError, match="network 1: the loss") as caught:
            fit_many(nets, X, Y, **shared)
        results = caught.value.results
        again = pickle.loads(pickle.dumps(caught.value))
        assert (again.index, str(again)) == (1, str(caught.value))
    assert isinstance(results[1], fastnn.DivergenceError)
    with pytest.raises(fastnn.DivergenceError) as alone:
        own[1]["network"].fit(X, Y, epochs=50, optimizer=own[1]["optimizer"])
    assert results[1].step == alone.value.step
    np.testing.assert_array_equal(nets[1]["network"].params, own[1]["network"].params)
    for k in (0, 2):
        expected = own[k].fit(X, Y, **shared)
        np.testing.assert_array_equal(results[k].loss, expected.loss)
        np.testing.assert_array_equal(nets[k].params, own[k].params)


@pytest.fixture(params=[True, False], ids=["signals end waiting", "waiting goes on"])
def interrupted_calls(request):
    """Whether a signal ends a system call; polars' handler of SIGINT has them go on."""
    signal.siginterrupt(signal.SIGINT, request.param)
    yield
    signal.siginterrupt(signal.SIGINT, True)


@pytest.mark.usefixtures("interrupted_calls")
def test_interrupt_stops_all_networks():
    nets = [Network([2, 4, 2], random_state=k) for k in range(5)]
    before = nets[-1].params.copy()

    def ctrl_c():
        when_main_is_within("_completed")
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    both = threading.Barrier(2, action=ctrl_c)
    waited = threading.local()

    def press(progress):
        if progress.epoch > 0 and not getattr(waited, "once", False):
            waited.once = True
            both.wait(timeout=60)

    endless = {"epochs": 10**9, "batch_size": 30, "validation_data": (X, Y)}
    try:
        histories = fit_many(nets, X, Y, n_threads=2, callbacks=[press], **endless)
    except KeyboardInterrupt:
        pytest.fail("Ctrl-C came through")
    assert [history.stopped for history in histories] == ["interrupted"] * 5
    assert [history.epochs > 0 for history in histories] == [True, True, False, False, False]
    for net, history in zip(nets, histories, strict=True):
        assert net.n_epochs_ == history.epochs
        assert np.isfinite(net.params).all()
    np.testing.assert_array_equal(nets[-1].params, before)


def test_callback_error_stops_all_networks():
    def broken(progress):
        raise RuntimeError("of the callback")

    nets = [Network([2, 4, 2], random_state=k) for k in range(2)]
    first = {"network": nets[0], "callbacks": [broken]}
    with pytest.raises(RuntimeError, match="of the callback"):
        fit_many([first, nets[1]], X, Y, epochs=10**8, n_threads=2)


NET = Network([2, 3, 2], random_state=0)


@pytest.mark.parametrize(
    ("given", "arguments", "named"),
    [
        (NET, {}, "networks must be a sequence"),
        ([3], {}, "network 0 must be a fastnn.Network"),
        ([{"rows": [1]}], {}, "network 0: the dict has no 'network'"),
        ([NET, {"network": NET}], {}, "network 1 is network 0 again"),
        ([NET], {"n_threads": 0}, "n_threads must be"),
        ([NET], {"errors": "ignore"}, "errors must be one of raise, return"),
        ([NET], {"epochs": 0}, "network 0: epochs must be"),
        ([NET], {"callbacks": [3]}, "network 0: callbacks must be"),
        ([{"network": NET, "batch_size": -1}], {}, "network 0: batch_size must be"),
        ([{"network": NET, "rows": [90]}], {}, r"network 0: rows must be in \[0, 89\].*90"),
        ([{"network": NET, "rows": [0.5]}], {}, "network 0: rows must be 1-D.*float64"),
        ([{"network": NET, "rows": []}], {}, "network 0: rows must be"),
        ([{"network": NET, "rows": [True, False]}], {}, "network 0: rows must be 1-D"),
        ([{"network": NET, "validation_rows": [-1]}], {}, "network 0: validation_rows must be"),
        (
            [{"network": NET, "validation_rows": [1], "validation_data": (X, Y)}],
            {},
            "network 0: give validation_data or validation_rows",
        ),
        (
            [{"network": NET, "rows": [0, 1], "sample_weight": [1, 1]}],
            {},
            r"network 0: sample_weight must have shape \(90,\)",
        ),
        ([{"network": NET, "X": X}], {}, "network 0: give X and y together"),
        ([{"network": NET, "X": X[:, :1], "y": Y}], {}, "network 0: X has 1 features"),
        ([Network([3, 2])], {}, "network 0: X has 2 features; the network expects 3"),
    ],
)
def test_invalid_input_raises_before_training(given, arguments, named):
    good = Network([2, 5, 2], random_state=3)
    before = copy.deepcopy(good.__getstate__())
    if isinstance(given, list):  # a good one behind, which must not have been touched
        given = [*given, good]
    with pytest.raises(ValueError, match=named):
        fit_many(given, X, Y, **arguments)
    assert good.classes_ is None
    assert good.n_epochs_ == 0
    np.testing.assert_array_equal(good.params, before["params"])


def test_missing_data_and_unknown_arguments_raise():
    with pytest.raises(ValueError, match="network 0: there is no X and y"):
        fit_many([NET])
    for call in (
        lambda: fit_many([NET], X, Y, epoch=3),
        lambda: fit_many([{"network": NET, "epoch": 3}], X, Y),
        lambda: fit_many([Fit(NET, verbose=True)], X, Y),
    ):
        with pytest.raises(TypeError, match=r"'(epoch|verbose)' is not an argument of Network.fit"):
            call()
    assert NET.classes_ is None


def blas_threads():
    return {
        library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"
    }


def test_blas_thread_limit_is_restored():
    with blas.limited_blas(3):
        pass  # the libraries are loaded
    before = blas_threads()
    outer, inner = blas.limited_blas(2), blas.limited_blas(1)
    outer.__enter__()
    inner.__enter__()
    assert blas_threads() == {1}
    outer.__exit__(None, None, None)  # not in the order of a stack, as threads do
    assert blas_threads() == {1}
    inner.__exit__(None, None, None)
    assert blas_threads() == before
    # none gets more than it had
    with threadpool_limits(1, "blas"), blas.limited_blas(2):
        assert blas_threads() == {1}
    assert blas_threads() == before
    seen = []
    one = Network([2, 3, 2], backend="numpy", n_threads=1)
    one.fit(X, Y, epochs=1, callbacks=[lambda progress: seen.append(blas_threads())])
    assert seen == [{1}]
    net = {"network": NET_FOR_BLAS, "callbacks": [lambda progress: seen.append(blas_threads())]}
    fit_many([net], X, Y, epochs=2)
    assert len(seen) > 1
    assert all(threads == {1} for threads in seen)
    assert blas_threads() == before


NET_FOR_BLAS = Network([2, 3, 2], random_state=0)


# --- checkpoints ------------------------------------------------------------------


def checkpointed(folder, epochs, **arguments):
    """Three networks with settings of their own, trained; the last with early stopping."""
    nets = [Network([2, h, 2], random_state=h, dropout=0.1) for h in (3, 4, 5)]
    stopping = {"validation_fraction": 0.3, "early_stopping": EarlyStopping(3, min_delta=0.01)}
    fits = [Fit(nets[0]), Fit(nets[1], batch_size=7), Fit(nets[2], **stopping)]
    arguments |= {"n_threads": 2, "optimizer": fastnn.Adam(0.01), "batch_size": 30}
    histories = fit_many(fits, X, Y, epochs=epochs, checkpoint=folder, **arguments)
    return nets, histories


@pytest.mark.parametrize("gone", [[], [0], [0, 1, 2]])
def test_resumed_networks_have_the_same_bits(tmp_path, gone):
    """Where a checkpoint is missing, the network had not begun."""
    checkpointed(tmp_path / "a", 4, checkpoint_every=3)
    files = [tmp_path / "a" / f"{k}.safetensors" for k in range(3)]
    assert sorted((tmp_path / "a").iterdir()) == files
    for k in gone:
        files[k].unlink()
    whole, expected = checkpointed(None, 100)
    nets, histories = checkpointed(tmp_path / "a", 100, resume=True)
    for net, other in zip(nets, whole, strict=True):
        assert_bits(net.params, other.params)
        assert_bits(net.state.moments, other.state.moments)
    for history, other in zip(histories, expected, strict=True):
        assert_bits(history.loss, other.loss)
        assert history.stopped == other.stopped
    assert expected[2].stopped == "early stopping"
    assert 4 < expected[2].epochs < 100
    # nothing is left to do
    nets, histories = checkpointed(tmp_path / "a", 100, resume=True)
    assert [history.epochs for history in histories] == [each.epochs for each in expected]
    assert_bits(nets[2].params, whole[2].params)


def test_checkpoints_of_other_networks_raise(tmp_path):
    checkpointed(tmp_path, 2)
    nets = [Network([2, h, 2], random_state=h) for h in (3, 9)]
    before = nets[0].params.copy()
    both = {"checkpoint": tmp_path, "resume": True, "epochs": 3}
    with pytest.raises(ValueError, match=r"network 0: .*0.safetensors: a checkpoint of another"):
        fit_many(nets, X, Y, **both)
    assert_bits(nets[0].params, before)
    for arguments, message in (
        ({"resume": True}, "resume needs checkpoint, the folder of checkpoints"),
        ({"checkpoint_every": 2}, "checkpoint_every needs checkpoint"),
        ({"checkpoint": tmp_path / "0.safetensors"}, "must be a folder; .*0.safetensors is a file"),
        ({"checkpoint": 3}, "checkpoint must be a path; got 3"),
        ({"checkpoint": tmp_path, "checkpoint_every": 0}, "whole number of epochs"),
        ({"checkpoint": tmp_path, "resume": "a"}, "resume must be a bool; got 'a'"),
    ):
        with pytest.raises(ValueError, match=message):
            fit_many(nets, X, Y, **arguments)
