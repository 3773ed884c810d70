"""A process of its own for ``test_growth.py``: ``python FILE BACKEND CALL=COUNT ...``.

It prints, for each call, by how many bytes the memory of the process grew while the call was made
COUNT times. Nothing else may run in it: what a process has done before changes when memory is taken
and given back.
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
    """Bytes of memory that this process holds."""
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
    """Bytes, the least of up to three rounds: a leak grows in each, a late first use in one."""
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
