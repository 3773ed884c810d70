"""Signals at random times, and what must hold after each of them; for the scripts in this folder.

A script is a separate process, so that the tests are not affected if it hangs or is killed. For
each kind of call it prints what was wrong, and how long the calls went on after the signal.
"""

import contextlib
import json
import os
import queue
import random
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import ThreadpoolController

from fastnn.backends.tuning import tuned
from fastnn.training import blas
from fastnn.training.batches import Batches

SEED = int(os.environ.get("FASTNN_SEED", "0"))  # for other times
LONGEST = 0.06  # maximum seconds until the signal; a chunk of steps takes up to 0.04
DEFAULT = signal.SIG_DFL, signal.default_int_handler
# The threads for predictions are kept for further predictions.
KEPT_THREADS = {"MainThread", "signals", "predicting"}


class Signals:
    """A thread that sends signals to this process, after the delays put into it.

    With ``to_commands`` it waits, at most 10 s, until a command has installed its handlers.
    """

    def __init__(self, to_commands=False):
        self.to_commands, self.orders, self.sent = to_commands, queue.SimpleQueue(), []
        threading.Thread(target=self._send, daemon=True, name="signals").start()

    def _send(self):
        while True:
            delay, number = self.orders.get()
            time.sleep(delay)
            latest = time.monotonic() + 10
            while self.to_commands and signal.getsignal(number) in DEFAULT:
                if time.monotonic() > latest:
                    break
                time.sleep(0.0005)
            now = time.perf_counter(), time.process_time()
            os.kill(os.getpid(), number)
            self.sent.append(now)

    def order(self, delay, number=signal.SIGINT):
        """Have a signal sent after a delay in seconds."""
        self.orders.put((delay, number))

    def sent_at(self):
        """Wall-clock and CPU time at which the signal was sent; waits for it, despite Ctrl-C."""
        while True:
            with contextlib.suppress(KeyboardInterrupt):
                while not self.sent:
                    time.sleep(0.001)
                sent = self.sent[0]
                self.sent.clear()
                return sent


class Kind(NamedTuple):
    """A kind of call.

    Attributes
    ----------
    make : callable
        From the name of a backend, an object and a function that is interrupted: it takes a number
        of epochs, or of repetitions.
    wrong : callable
        ``wrong(object, result, function, make, backend)`` describes what is wrong after the
        interrupt; "" if nothing is. The result of the interrupted function is None if it raised.
    begun : callable or None
        Whether the call came to its first step. Otherwise it is repeated with a later signal. None:
        it may be interrupted anywhere.
    longest : float
        Maximum seconds until the signal.
    """

    make: Callable[[str], tuple[Any, Callable[[int], Any]]]
    wrong: Callable[[Any, Any, Callable, Callable, str], str]
    begun: Callable[[Any], bool] | None
    longest: float = LONGEST


class Steps:
    """Parameters and moments, as hashes, and losses after each step of a whole training.

    They are what an interrupted training is compared with. The training is done again, with twice
    the number of epochs, if a later step is asked for: a thousand interrupts need a few trainings.

    Parameters
    ----------
    make : callable
        Takes no arguments; returns a new object and a function that trains it for some epochs.
    losses : callable
        From object and result of the function, the losses of the epochs.
    """

    def __init__(self, make, losses):
        self.make, self.losses, self.epochs, self.hashes, self.curve = make, losses, 0, [], []

    def _train(self):
        """Train in calls of one step each."""
        self.epochs, self.hashes = max(16, 2 * self.epochs), []
        train = Batches.train

        def recorded(batches, state, rates, *arguments, **settings):
            done = train(batches, state, rates, *arguments, **settings)
            self.hashes += [contents(batches.model.params, state)] * len(rates)
            return done

        model, fit = self.make()
        Batches.train = recorded
        try:
            with tuned(chunk_seconds=1e-9):
                self.curve = np.array(self.losses(model, fit(self.epochs)))
        finally:
            Batches.train = train
        assert len(self.hashes) % self.epochs == 0
        assert len(set(self.hashes)) == len(self.hashes)  # each step changes something

    def wrong(self, params, state, curve=None):
        """Describe what are not the values after so many updates, or so many losses; or ""."""
        while state.updates > len(self.hashes) or (curve is not None and len(curve) > self.epochs):
            self._train()
        if state.updates and contents(params, state) != self.hashes[state.updates - 1]:
            return f"not the parameters and moments after {state.updates} updates"
        if curve is not None and (curve != self.curve[: len(curve)]).any():
            return f"not the losses of {len(curve)} epochs"
        return ""


def contents(params, state):
    """Hash of parameters and moments, whether or not they are exchanged with their average."""
    moments = state.moments
    if state.averaged:
        params, moments = moments[-1], np.concatenate([moments[:-1], params[None]])
    return hash(params.tobytes() + moments.tobytes())


def quantiles(late):
    """99% quantiles in milliseconds of times in seconds."""
    clock, cpu = (1000 * np.quantile(late, 0.99, axis=0)).round(1).tolist()
    return {"clock": clock, "CPU": cpu}


class Left:
    """Threads and limits of BLAS that a call left behind."""

    def __init__(self):
        self.libraries = ThreadpoolController()
        self.before = self._limits()

    def _limits(self):
        return [library["num_threads"] for library in self.libraries.info()]

    def wrong(self):
        """Describe what was left; "" if nothing."""
        end = time.perf_counter() + 5  # a thread that has been told to end may still be about it
        while names := {t.name.split("_")[0] for t in threading.enumerate()} - KEPT_THREADS:
            if time.perf_counter() > end:
                return f"threads {sorted(names)}"
            time.sleep(0.001)
        if blas._limits or blas._applied != blas._Applied():
            return f"limits of BLAS threads {blas._limits}, {blas._applied}"
        limits = self._limits()
        return "" if limits == self.before else f"BLAS threads {limits}, before {self.before}"


def interrupt(kind, backend, delay, signals):
    """Interrupt one call; return object, result and call; the delay; whether it raised.

    The delay is the time in seconds from the signal until the call returned: wall-clock time, and
    CPU time, which depends little on the load of the machine.
    """
    while True:
        model, call = kind.make(backend)
        signals.order(delay)
        raised, result = False, None
        try:
            result = call(10**6)
        except KeyboardInterrupt:
            raised = True
        back = np.array([time.perf_counter(), time.process_time()])
        seconds = back - signals.sent_at()
        if not raised or kind.begun is None or kind.begun(model):
            return (model, result, call), seconds, raised
        delay *= 2


def check(kind, backend, count, signals):
    """Interrupt ``count`` calls; return errors, number of KeyboardInterrupts, and delays."""
    times, faults, raised, late = random.Random(SEED), [], 0, []
    kind.make(backend)[1](1)  # compiles
    left = Left()
    for _ in range(count):
        delay = times.uniform(0.004, kind.longest)
        interrupted, seconds, has_raised = interrupt(kind, backend, delay, signals)
        late.append(seconds)
        raised += has_raised and kind.begun is not None
        faults += [left.wrong(), kind.wrong(*interrupted, kind.make, backend)]
    return {
        "wrong": [fault for fault in faults if fault],
        "raised": raised,
        "99% back within ms": quantiles(late),
    }


def main(kinds):
    """Run a script: ``SCRIPT BACKEND COUNT [KIND ...]``."""
    warnings.simplefilter("ignore")
    backend, count, *names = sys.argv[1:]
    # A process started with "&" by a shell ignores SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signals = Signals()
    result = {}
    for name in names or kinds:
        result[name] = check(kinds[name], backend, int(count), signals)
        print(name, json.dumps(result[name]), file=sys.stderr, flush=True)
    print(json.dumps(result))
