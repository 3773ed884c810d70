"""Memory does not grow from call to call, and the processor's mode is left as it was."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from attacks import cases

import fastnn

rng = np.random.default_rng(0)
X = rng.normal(size=(20, 3))
Y = (X[:, 0] > 0).astype(int)
SCRIPT = Path(__file__).with_name("growth.py")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc")
def test_growth(backend):
    """Over 1,000 calls, 10,000 in the long form, after the first ones have warmed all up."""
    counts = {"small_fit": 1000, "estimator": 200, "threads": 200}
    share = 5 if backend == "numpy" else 1  # slow, without memory of its own: 200
    jobs = [f"{name}={cases(count // share, 10_000)}" for name, count in counts.items()]
    command = [sys.executable, SCRIPT, backend, *jobs]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    grown = json.loads(done.stdout)
    assert grown.keys() == counts.keys()
    assert max(grown.values()) <= 2**20, grown


# --- floating-point mode ---------------------------------------------------------------


def mode():
    """What this thread's arithmetic does: subnormal numbers, rounding, the sign of zero."""
    found = []
    for dtype in (np.float32, np.float64):
        info = np.finfo(dtype)
        one, two = np.array([1], dtype), np.array([2], dtype)
        half = np.array([info.tiny], dtype) / two
        found += [half > 0, half * two == info.tiny]
        found += [one + info.eps / 4 == one, one + info.eps + info.eps / 2 == one + 2 * info.eps]
        found += [-one - info.eps / 4 == -one, one / two / two * two * two == one]
    return np.concatenate(found).tolist()


AS_EVER = [True] * 12


def calls(backend):
    """Public functions that compute, by name."""
    net = fastnn.Network([3, 300, 300, 2], backend=backend, random_state=0, n_threads=2)
    many = [fastnn.Network([3, 4, 2], backend=backend, random_state=k) for k in range(3)]
    model = fastnn.MLPRegressor(hidden_layer_sizes=(4,), solver="lbfgs", backend=backend)
    diverging = fastnn.Network([3, 4, 1], loss="squared_error", backend=backend)
    rows = np.tile(X, (500, 1))

    def diverge():
        with pytest.raises(fastnn.DivergenceError):
            diverging.fit(X, X[:, 0], optimizer=fastnn.SGD(1e30), epochs=100)

    def refuse():
        with pytest.raises(ValueError, match="X"):
            net.predict(X * np.nan)

    return {
        "fit": lambda: net.fit(rows, np.tile(Y, 500), epochs=1, batch_size=1000),
        "predict": lambda: net.predict(rows),
        "loss": lambda: net.loss(X, Y),
        "gradients": lambda: net.gradients(X, Y),
        "score": lambda: net.score(X, Y),
        "fit_many": lambda: fastnn.fit_many(many, X, Y, epochs=2),
        "estimator": lambda: model.fit(X, X[:, 0]).predict(X),
        "divergence": diverge,
        "bad input": refuse,
    }


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_every_call_leaves_the_mode(backend):
    assert mode() == AS_EVER
    for name, call in calls(backend).items():
        call()
        assert mode() == AS_EVER, name


def test_other_threads_keep_theirs(backend):
    """A thread that computes while others train, and one that is started afterwards."""
    seen, over = [], threading.Event()

    def look():
        while not over.is_set():
            seen.append(mode())

    other = threading.Thread(target=look)
    other.start()
    calls(backend)["fit"]()
    over.set()
    other.join()
    after = threading.Thread(target=lambda: seen.append(mode()))
    after.start()
    after.join()
    assert seen == [AS_EVER] * len(seen)


def test_import_leaves_the_mode():
    """In a new process, before and after the imports; -Ofast in some library would change it."""
    import inspect

    code = f"""
import numpy as np
{inspect.getsource(mode)}
before = mode()
import fastnn
from fastnn import backends
assert mode() == before
for name in backends.available():
    backends.load(name).NAME
    assert mode() == before, name
fastnn.MLPClassifier
assert mode() == before == [True] * 12
"""
    subprocess.run([sys.executable, "-c", code], check=True)
