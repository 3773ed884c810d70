"""Separate process for ``test_threads_and_processes.py``: ``python FILE WHAT BACKEND COUNT``.

The tests are not affected if it hangs or is killed. Errors are reported as exceptions.
"""

import multiprocessing
import os
import sys
import threading
import warnings

import numpy as np

import fastnn
from fastnn.training.blas import limited_blas

warnings.filterwarnings("ignore", category=DeprecationWarning)  # fork with threads
rng = np.random.default_rng(0)
X = rng.normal(size=(2000, 20)).astype(np.float32)
Y = (X[:, 0] * X[:, 1] > 0).astype(int)
SIZES = [20, 64, 64, 2]


def trained(backend, epochs=2, n_threads=2):
    """Bytes of the parameters after a training, and of predictions with several threads."""
    net = fastnn.Network(SIZES, backend=backend, random_state=0, n_threads=n_threads)
    net.fit(X, Y, epochs=epochs, batch_size=500)
    return net.params.tobytes() + net.predict_proba(np.tile(X, (10, 1))).tobytes()


def child(backend, expected, queue):
    """Entry point of a child process: report whether a training gives the expected bits."""
    queue.put(trained(backend) == expected)


class Fit(threading.Thread):
    """A training in a thread that runs until ``end`` is called."""

    def __init__(self, backend):
        super().__init__(daemon=True)
        self.net = fastnn.Network(SIZES, backend=backend, random_state=0, n_threads=2)
        self.over = self.runs = False
        self.start()
        while not self.runs:
            pass

    def run(self):
        def look(progress):
            self.runs = True
            return self.over

        self.net.fit(X, Y, epochs=10**6, batch_size=500, callbacks=[look])

    def end(self):
        self.over = True
        self.join()


def processes(way, backend, count):
    """Start child processes after a fit, or during a fit in another thread.

    The children must end and give the same bits.
    """
    expected = trained(backend)
    context = multiprocessing.get_context(way)
    for k in range(count):
        other = Fit(backend) if k % 2 else None
        queue = context.SimpleQueue()
        process = context.Process(target=child, args=(backend, expected, queue))
        process.start()
        process.join(300)
        assert process.exitcode == 0, f"child {k} of {way}: {process.exitcode}"
        assert queue.get(), f"child {k} of {way} has other bits"
        if other is not None:
            other.end()
    assert trained(backend) == expected


def blas(backend):
    """A child forked during a fit must have the number of BLAS threads from before the fit."""
    from threadpoolctl import threadpool_info

    def threads():
        return [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]

    wide = fastnn.Network([20, 300, 300, 2], backend=backend, random_state=0)
    wide.fit(X, Y, epochs=1)
    before = threads()
    wide.fit(X, Y, epochs=1, callbacks=[lambda progress: _check_child(threads, before)])
    assert threads() == before


def _check_child(threads, before):
    pid = os.fork()
    if not pid:
        with limited_blas(1):  # restores the previous number at its end
            pass
        os._exit(int(threads() != before))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def compiling(backend):
    """Fork while another thread compiles; the child must compile or load the code itself."""
    net = fastnn.Network(SIZES, backend=backend, random_state=0)
    other = threading.Thread(target=net.predict, args=(X[:5],))
    other.start()
    pid = os.fork()
    if not pid:
        fastnn.Network(SIZES, backend=backend, random_state=0).predict(X[:5])
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    other.join()


if __name__ == "__main__":
    what, backend, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if what == "blas":
        blas(backend)
    elif what == "compiling":
        compiling(backend)
    else:
        processes(what, backend, count)
