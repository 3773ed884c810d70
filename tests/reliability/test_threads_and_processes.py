"""Threads of the caller's, forks, joblib, several processes on a cold cache, private folders."""

import copy
import os
import signal
import stat
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import joblib
import numpy as np
import pytest
from attacks import cases

import fastnn
from fastnn.backends import BACKENDS
from fastnn.estimators import base
from fastnn.training.threads import usable_cores

SCRIPT = Path(__file__).with_name("threads_and_forks.py")
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks, /proc")

rng = np.random.default_rng(0)
X = rng.normal(size=(600, 8)).astype(np.float32)
Y = (X[:, 0] * X[:, 1] > 0).astype(int)
THREADS = 8


def together(function, count=THREADS):
    """Results of calls that begin at one time, each in its thread, by number."""
    gate = threading.Barrier(count)

    def call(k):
        gate.wait()
        return function(k)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(call, range(count)))


def trained(backend, seed, sizes=(8, 40, 2)):
    net = fastnn.Network(list(sizes), backend=backend, random_state=seed, n_threads=2)
    net.fit(X, Y, epochs=3, batch_size=100)
    return net.params.tobytes() + net.predict_proba(X).tobytes()


# --- threads --------------------------------------------------------------------------


def test_trainings_at_one_time(backend):
    """Eight threads with a network each, again and again: the bits of one after the other."""
    expected = [trained(backend, seed) for seed in range(THREADS)]
    for _ in range(cases(3, 100)):
        assert together(lambda seed: trained(backend, seed)) == expected


def test_wide_trainings_at_one_time():
    """BLAS is limited by each of them; afterwards its threads are those from before."""
    from threadpoolctl import threadpool_info

    def threads():
        return [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]

    trained("cython", 0, (8, 300, 300, 2))
    before = threads()
    together(lambda seed: trained("numba", seed, (8, 300, 300, 2)), 4)
    assert threads() == before


def test_one_network_predicts_in_many_threads(backend):
    """predict, predict_proba, score and loss change nothing: they may be called at one time."""
    net = fastnn.Network([8, 60, 60, 2], backend=backend, random_state=0, standardize=True)
    net.fit(X, Y, epochs=2)
    many = np.tile(X, (20, 1))
    calls = [
        lambda: net.predict_proba(many).tobytes(),
        lambda: net.predict(X).tobytes(),
        lambda: net.loss(X, Y),
        lambda: net.score(X, Y),
        lambda: net.gradients(X, Y).tobytes(),
    ]
    expected = [call() for call in calls]
    for _ in range(cases(5, 100)):
        found = together(lambda k: calls[k % len(calls)]())
        assert found == [expected[k % len(calls)] for k in range(THREADS)]


def test_one_estimator_predicts_in_many_threads(backend):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = fastnn.MLPClassifier((20,), max_iter=3, backend=backend, random_state=0).fit(X, Y)
    expected = model.predict_proba(X).tobytes()
    for _ in range(cases(5, 100)):
        copied = copy.deepcopy(model)  # makes its network when it first predicts
        found = together(lambda k, model=copied: model.predict_proba(X).tobytes())
        assert found == [expected] * THREADS


def test_predictions_during_a_training_are_some_numbers(backend):
    """Of parameters between two steps or amid one: finite, but of no step in particular."""
    net = fastnn.Network([8, 40, 2], backend=backend, random_state=0)
    seen = []

    def look():
        while len(seen) < 20:
            seen.append(bool(np.isfinite(net.predict_proba(X)).all()))

    other = threading.Thread(target=look)
    other.start()
    net.fit(X, Y, epochs=10**6, callbacks=[lambda progress: len(seen) >= 20])
    other.join()
    assert all(seen)


def test_one_network_is_trained_once_at_a_time(backend):
    net = fastnn.Network([8, 10, 2], backend=backend, random_state=0)
    alone = copy.deepcopy(net)
    errors = []

    def again(progress):
        with pytest.raises(RuntimeError, match="being trained already, in another thread") as error:
            net.fit(X, Y, epochs=1)
        errors.append(error)
        thread = threading.Thread(target=again_elsewhere)
        thread.start()
        thread.join()
        return True

    def again_elsewhere():
        with pytest.raises(RuntimeError, match="being trained already"):
            fastnn.fit_many([net], X, Y, epochs=1)
        errors.append(None)

    history = net.fit(X, Y, epochs=10**6, callbacks=[again])
    assert len(errors) == 2
    alone.fit(X, Y, epochs=history.epochs)
    np.testing.assert_array_equal(net.params, alone.params)
    net.fit(X, Y, epochs=1)  # and then again
    copy.deepcopy(net).fit(X, Y, epochs=1)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_one_estimator_is_fitted_once_at_a_time(backend, monkeypatch):
    begun, go_on, train = threading.Event(), threading.Event(), base.fit_stochastic

    def wait_and_train(*arguments):
        begun.set()
        assert go_on.wait(60)
        train(*arguments)

    fitted, expected = (
        fastnn.MLPRegressor(hidden_layer_sizes=8, max_iter=20, random_state=0, backend=backend)
        for _ in range(2)
    )
    with ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(base, "fit_stochastic", wait_and_train)
        training = pool.submit(fitted.fit, X, Y)
        assert begun.wait(60)
        with pytest.raises(RuntimeError, match=r"being fitted already.*clone"):
            fitted.fit(X[:50], Y[:50])
        with pytest.raises(RuntimeError, match="being fitted already"):
            fitted.partial_fit(X[:50], Y[:50])
        go_on.set()
        training.result()
    expected.fit(X, Y)
    np.testing.assert_array_equal(fitted.predict(X), expected.predict(X))
    assert fitted.loss_curve_ == expected.loss_curve_


def test_joblib_starts_no_more_threads_than_cores_and_two():
    """Of Python; BLAS's own wait, as they are limited to one."""
    from fastnn.estimators.parallel import JoblibBackend

    most, over = [0], threading.Event()
    before = threading.active_count()

    def count():
        while not over.is_set():
            most[0] = max(most[0], threading.active_count() - before)
            time.sleep(0.001)

    watcher = threading.Thread(target=count)
    watcher.start()
    try:
        with joblib.parallel_config(JoblibBackend(), n_jobs=-1):
            jobs = joblib.Parallel()(joblib.delayed(trained)("cython", seed) for seed in range(12))
    finally:
        over.set()
        watcher.join()
    assert jobs == [trained("cython", seed) for seed in range(12)]
    assert most[0] - 1 <= usable_cores() + 2  # without the one that counts


# --- processes ------------------------------------------------------------------------


def script(*arguments, timeout=600, **environment):
    """A process that may hang, which ends in TimeoutExpired, with its children."""
    running = subprocess.Popen(
        [sys.executable, SCRIPT, *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))} | environment,
    )
    try:
        _, error = running.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)
        raise
    assert running.returncode == 0, error


# The reference has neither compiled code nor threads of its own.
WAYS = [
    pytest.param(backend, way, marks=pytest.mark.slow)
    if backend == "numpy" and way != "fork"
    else (backend, way)
    for backend in sorted(BACKENDS)
    for way in ("fork", "forkserver", "spawn")
]


@linux
@pytest.mark.parametrize(("backend", "way"), WAYS, indirect=["backend"])
def test_processes_after_and_during_a_training(backend, way):
    """Two children in the short form; 200 in the long one."""
    script(way, backend, cases(2, 200), timeout=cases(600, 6000))


@linux
def test_threads_of_blas_in_a_child():
    script("blas", "numba", 1)


@linux
@pytest.mark.slow
def test_a_fork_while_another_thread_compiles(tmp_path):
    for k in range(cases(1, 10)):
        script("compiling", "numba", 1, NUMBA_CACHE_DIR=str(tmp_path / str(k)))


SHUFFLE = """
import numpy as np
from fastnn import backends
order = np.arange(9)
backends.load("numba").shuffle(3, 1, order)
print(order.tolist())
"""
FIT = """
import numpy as np, fastnn
X = np.random.default_rng(0).normal(size=(100, 4))
net = fastnn.Network([4, 8, 2], backend="numba", random_state=0, n_threads=1)
net.fit(X, np.arange(100) % 2, epochs=3)
print(net.params.tolist())
"""


def on_a_cold_cache(code, count, folder):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder)}
    command = [sys.executable, "-W", "error", "-c", code]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, env=environment, **pipes) for _ in range(count)]
    results = [process.communicate(timeout=3000) for process in running]
    assert [process.returncode for process in running] == [0] * count, results
    assert {error for _, error in results} == {""}
    assert len({out for out, _ in results}) == 1


def test_processes_on_a_cold_cache(tmp_path):
    pytest.importorskip("numba")
    on_a_cold_cache(SHUFFLE, cases(3, 20), tmp_path)


@pytest.mark.slow
def test_twenty_trainings_on_a_cold_cache(tmp_path):
    pytest.importorskip("numba")
    on_a_cold_cache(FIT, 20, tmp_path)


# --- folders --------------------------------------------------------------------------


@linux
def test_an_unwritable_home(tmp_path):
    """Everything but keeping compiled code and downloads works."""
    nowhere = {"HOME": "/dev/null/none", "XDG_CACHE_HOME": "/dev/null/none"}
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"} | nowhere
    environment |= {"MPLCONFIGDIR": str(tmp_path)}  # Matplotlib's own advice
    run = ["train", "moons", "--epochs", "5", "--backend", "numba", "--out", str(tmp_path / "run")]
    for arguments in (run, ["evaluate", str(tmp_path / "run")], ["info"]):
        done = subprocess.run(
            [sys.executable, "-m", "fastnn", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr


@linux
def test_cache_folders_are_private(tmp_path, monkeypatch):
    from fastnn.backends.numba import cache
    from fastnn.datasets import mnist

    folder = tmp_path / "numba"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    cache._make_private(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    beside = tmp_path / "__pycache__"
    beside.mkdir(mode=0o755)
    cache._make_private(beside)
    assert stat.S_IMODE(beside.stat().st_mode) == 0o755
    # somebody else's: compiled code is not taken from there
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    with pytest.raises(RuntimeError, match="belongs to another user"):
        cache._make_private(folder)
    assert mnist.private_folder(tmp_path / "a" / "fastnn").stat().st_mode & 0o777 == 0o700


@linux
def test_the_folder_in_use_is_private(tmp_path):
    code = SHUFFLE + "\nfrom fastnn.backends.numba.cache import folder; print(folder())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "new")},
        capture_output=True,
        text=True,
        check=True,
    )
    used = Path(done.stdout.splitlines()[-1])
    assert list(used.glob("*.nbi"))
    assert stat.S_IMODE(used.stat().st_mode) == 0o700


def test_predictions_during_the_fit_of_an_estimator():
    """They are of some step, and the training ends as without them."""
    X, y = np.random.default_rng(0).normal(size=(300, 6)), np.arange(300) % 2

    def model():
        return fastnn.MLPClassifier((8,), max_iter=3, random_state=0, backend="numpy")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected, shared = model().fit(X, y).predict_proba(X), model().fit(X, y)
        results, over = [], threading.Event()

        def predict():
            while not over.is_set():
                results.append(shared.predict_proba(X[:20]).sum())

        before = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        try:
            with ThreadPoolExecutor(3) as pool:
                running = [pool.submit(predict) for _ in range(3)]
                try:
                    for _ in range(10):
                        shared.fit(X, y)
                        np.testing.assert_array_equal(shared.predict_proba(X), expected)
                finally:
                    over.set()
                for each in running:
                    each.result()
        finally:
            sys.setswitchinterval(before)
    np.testing.assert_allclose(results, 20, rtol=1e-5)
