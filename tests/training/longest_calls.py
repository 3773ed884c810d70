"""The longest time without a line of Python, after which alone Ctrl-C takes effect.

``longest_calls.py [OPERATION ...]`` runs operations with much data and prints for each the longest
times in milliseconds of CPU of the main thread, with the lines that took them. A timer of the
system sends a signal every few milliseconds; Python calls its handler as it would for Ctrl-C.
"""

import collections
import os
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

import fastnn
from fastnn import cli, datasets

EVERY = 0.004  # seconds between two signals
WORTH = 0.03  # seconds that are reported

rng = np.random.default_rng(0)


class Gaps:
    """Context that records the longest times between two calls of the signal's handler."""

    def __enter__(self):
        self.found = collections.Counter()
        self.last = time.thread_time()
        signal.signal(signal.SIGALRM, self._handle)
        signal.setitimer(signal.ITIMER_REAL, EVERY, EVERY)
        return self

    def _handle(self, number, frame):
        now = time.thread_time()
        if now - self.last > WORTH:
            places = []
            while frame is not None:
                name = frame.f_code.co_filename
                if ("fastnn/" in name and "tests/" not in name) or not places:
                    places.append(f"{Path(name).name}:{frame.f_lineno}")
                frame = frame.f_back
            place = " < ".join(places[:4])
            self.found[place] = max(now - self.last, self.found[place])
        self.last = time.thread_time()

    def __exit__(self, *error):
        signal.setitimer(signal.ITIMER_REAL, 0)


def table(rows):
    kinds = np.array(["red", "green", "blue", "a longer text"], object)[rng.integers(0, 4, rows)]
    gaps = np.where(rng.random(rows) < 0.1, np.nan, rng.normal(size=rows))
    codes = np.array([f"id {k}" for k in rng.integers(0, 200, rows)], object)
    return {"x": rng.normal(size=rows), "gaps": gaps, "kind": kinds, "code": codes}


def fit_wide():
    X = rng.normal(size=(4000, 784)).astype(np.float32)
    fastnn.Network([784, 300, 10], random_state=0).fit(
        X, np.arange(4000) % 10, epochs=6, batch_size=128
    )


def full_batch():
    X = rng.normal(size=(100_000, 20)).astype(np.float32)
    fastnn.Network([20, 64, 2], random_state=0).fit(X, np.arange(100_000) % 2, epochs=3)


def estimator():
    X = rng.normal(size=(100_000, 50))
    fastnn.MLPClassifier((64,), max_iter=2, random_state=0).fit(X, np.arange(100_000) % 10)


def lbfgs():
    X = rng.normal(size=(200_000, 50))
    model = fastnn.MLPClassifier((64,), solver="lbfgs", max_iter=3, random_state=0)
    model.fit(X, np.arange(200_000) % 10)


def lm():
    X = rng.normal(size=(100_000, 10))
    model = fastnn.MLPRegressor(hidden_layer_sizes=(40,), solver="lm", max_iter=2, random_state=0)
    model.fit(X, X[:, 0] * X[:, 1])


def gradients():
    X = rng.normal(size=(500_000, 20)).astype(np.float32)
    net = fastnn.Network([20, 64, 2], random_state=0)
    net.gradients(X, np.arange(500_000) % 2)
    net.predict_proba(X)
    net.score(X, np.arange(500_000) % 2)
    net.loss(X, np.arange(500_000) % 2)


def tabular():
    data = table(200_000)
    y = (data["x"] > 0).astype(int)
    model = fastnn.TabularClassifier(n_epochs=1, random_state=0).fit(data, y)
    model.predict_proba(data)


def labels():
    y = np.array([f"class {k}" for k in rng.integers(0, 10, 500_000)])
    X = rng.normal(size=(500_000, 3))
    fastnn.Network([3, 10], random_state=0).fit(X, y, epochs=1, batch_size=5000)
    fastnn.MLPClassifier((4,), max_iter=1, random_state=0).fit(X, y.astype(object))


def files():
    data, rows = table(300_000), 300_000
    lines = zip(data["x"].round(4).tolist(), data["kind"], data["code"], strict=True)
    Path("t.csv").write_text("x,kind,code\n" + "".join(f"{a},{b},{c}\n" for a, b, c in lines))
    datasets.load("t.csv", target="kind", ignore=["code"])
    np.savez_compressed("t.npz", X=rng.normal(size=(rows, 20)), y=np.arange(rows) % 3)
    datasets.load("t.npz")


def commands():
    data = table(100_000)
    lines = zip(data["x"].round(4).tolist(), data["kind"], data["code"], strict=True)
    Path("t.csv").write_text("x,kind,code\n" + "".join(f"{a},{b},{c}\n" for a, b, c in lines))
    with open(os.devnull, "w") as sys.stdout:
        common = ["train", "t.csv", "--target", "kind", "--epochs", "1", "--no-plots"]
        cli.main([*common, "--out", "r"])
        cli.main(["predict", "r", "t.csv", "--out", "p.csv"])
        cli.main(["evaluate", "r", "t.csv"])
    sys.stdout = sys.__stdout__


def model_files():
    net = fastnn.Network([1000, 4000, 1000], random_state=0)
    net.save("m")
    fastnn.load("m")


OPERATIONS = [fit_wide, full_batch, estimator, lbfgs, lm, gradients, tabular, labels, files]
OPERATIONS += [commands, model_files]

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    os.chdir(tempfile.mkdtemp())
    for operation in OPERATIONS:
        if sys.argv[1:] and operation.__name__ not in sys.argv[1:]:
            continue
        with Gaps() as gaps:
            operation()
        print(operation.__name__, flush=True)
        for place, seconds in gaps.found.most_common(6):
            print(f"  {1000 * seconds:7.0f}  {place}", flush=True)
