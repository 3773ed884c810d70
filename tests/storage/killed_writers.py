"""Trainings killed at random times while writing checkpoints: ``killed_writers.py COUNT``.

A separate process, which forks the trainings. After each kill the checkpoint must be readable, and
the next training resumes from it. At the end, the parameters are compared with those of a training
that was not interrupted. Prints the errors found.
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
    """Modification time, to detect that the file was replaced; None if it does not exist."""
    return path.stat().st_mtime_ns if path.exists() else None


def kill_one(path, times, writing):
    """Resume the training in a child process, and kill the child at a random time.

    Parameters
    ----------
    path : Path
        The checkpoint.
    times : random.Random
        Generator of the times.
    writing : bool
        Whether to kill the child only while it is writing. This is checked while it is stopped by
        SIGSTOP.

    Returns
    -------
    bool
        Whether the child was killed while writing.
    """
    before = _number(path)
    child = os.fork()
    if child == 0:
        train(LARGEST, checkpoint=path, checkpoint_every=1, resume=True)
        os._exit(1)
    while _number(path) == before:  # until the child has written a checkpoint
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
            if kept.position.steps < before:
                wrong.append(f"step {kept.position.steps} after {before}")
            before = kept.position.steps
        # An uninterrupted training without checkpoints must lead to the same parameters.
        if kept is not None and (train(before // 2).params != kept.model.params).any():
            wrong.append("not the parameters of a training that was never stopped")
        train(before // 2 + 1, checkpoint=path, resume=True)
        left = sorted(other.name for other in path.parent.iterdir())
    print(json.dumps({"wrong": wrong, "unfinished": unfinished, "left": left}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
