"""Trainings killed at random times while they write: ``python killed_writers.py COUNT``.

A process of its own, whose children are forked. After each kill the file is read and its bits are
compared with those that the step must have; the next child goes on from it. Prints what was wrong.
"""

import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import fastnn
from fastnn.storage.checkpoints import read_checkpoint

rng = np.random.default_rng(0)
X, y = rng.normal(size=(40, 100)).astype(np.float32), rng.integers(0, 2, 40)
LARGEST = 10**6


def train(epochs, **arguments):
    net = fastnn.Network([100, 600, 2], random_state=0, n_threads=1)
    net.fit(X, y, epochs=epochs, batch_size=20, **arguments)
    return net


def _number(path):
    """What tells a file from the one that it replaces."""
    return path.stat().st_mtime_ns if path.exists() else None


def kill_one(path, times, writing):
    """Have a child train from where the last one was, and kill it, perhaps while it writes.

    Parameters
    ----------
    path : Path
    times : random.Random
    writing : bool
        Whether to wait until it writes, which is looked at while the child is stopped.

    Returns
    -------
    bool
        Whether it was killed while it wrote.
    """
    before = _number(path)
    child = os.fork()
    if child == 0:
        train(LARGEST, checkpoint=path, checkpoint_every=1, resume=True)
        os._exit(1)
    while _number(path) == before:  # until it has written one
        time.sleep(0.001)
    while True:
        time.sleep(times.uniform(0.0, 0.03))
        os.kill(child, signal.SIGSTOP)
        os.waitpid(child, os.WUNTRACED)
        writes = len(list(path.parent.glob(".*.tmp"))) > 0
        if writes or not writing:
            break
        os.kill(child, signal.SIGCONT)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return writes


def main(count):
    times, wrong, unfinished, before, kept = random.Random(0), [], 0, 0, None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.safetensors"
        for k in range(count):
            unfinished += kill_one(path, times, k % 4 == 0)
            try:
                kept = read_checkpoint(path)
            except Exception as error:
                wrong.append(repr(error))
                continue
            if kept.point.steps < before:
                wrong.append(f"step {kept.point.steps} after {before}")
            before = kept.point.steps
        # a path of one's own to the last file: the same bits without any checkpoint
        if kept is not None and (train(before // 2).params != kept.model.params).any():
            wrong.append("not the parameters of a training that was never stopped")
        train(before // 2 + 1, checkpoint=path, resume=True)
        left = sorted(other.name for other in path.parent.iterdir())
    print(json.dumps({"wrong": wrong, "unfinished": unfinished, "left": left}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
