"""Separate process for ``test_growth.py``: ``python FILE BACKEND CALL=COUNT ...``.

For each call, it prints the number of bytes by which the memory of the process grew while the call
was repeated COUNT times. The process must do nothing else, since the history of a process
influences when memory is allocated and released.
"""

import gc
import json
import sys

import numpy as np

import fastnn

rng = np.random.default_rng(0)
X = rng.normal(size=(20, 3))
Y = (X[:, 0] > 0).astype(int)
WARM_UP = 200
ROUNDS = 3
MIB = 2**20


def resident():
    """Resident memory of this process in bytes."""
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def small_fit(backend):
    net = fastnn.Network([3, 4, 2], backend=backend, random_state=0)
    net.fit(X, Y, epochs=1, batch_size=10)
    net.predict(X)


def estimator(backend):
    fastnn.MLPClassifier((4,), backend=backend, random_state=0).partial_fit(X, Y, classes=[0, 1])


def threads(backend):
    fastnn.Network([3, 4, 2], backend=backend, n_threads=2).fit(X, Y, epochs=1)


def grown(call, backend, count):
    """Growth in bytes, the minimum of up to three rounds.

    A leak grows in every round; memory allocated once, on a late first use, only in one round.
    """
    found = []
    while not found or (found[-1] > MIB and len(found) < ROUNDS):
        before = resident()
        for _ in range(count):
            call(backend)
        found.append(resident() - before)
    return min(found)


if __name__ == "__main__":
    backend, *jobs = sys.argv[1:]
    counts = {globals()[name]: int(count) for name, count in (job.split("=") for job in jobs)}
    for call in counts:
        for _ in range(WARM_UP):
            call(backend)
    print(json.dumps({call.__name__: grown(call, backend, n) for call, n in counts.items()}))
