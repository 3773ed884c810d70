"""A separate process for each contender, so that their thread pools do not interfere.

A :class:`Child` imports a module, or creates an object of one of its classes, and answers
requests: the name of a function or method and its arguments, pickled over a pipe.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SERVE = "from benchmarks.processes import serve; serve()"
LIMIT = 900.0  # seconds for an answer, unless said otherwise


class ChildError(RuntimeError):
    """A process failed or took too long."""


def environment(**extra: str) -> dict[str, str]:
    """Environment in which this repository can be imported; frameworks use the CPU, no logs."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return {
        **os.environ,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",
        "JAX_PLATFORMS": "cpu",
        "KERAS_BACKEND": "tensorflow",
        "PYTHONPATH": path,
        **extra,
    }


class Child:
    """A process that answers requests.

    Parameters
    ----------
    target : str
        ``"package.module"``, whose functions are called, or ``"package.module:Class"``, whose
        methods are called on a new object.
    *arguments
        Arguments of the class.
    variables : mapping, optional
        Environment variables of the process.
    """

    def __init__(
        self, target: str, *arguments: Any, variables: Mapping[str, str] | None = None
    ) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment(**(variables or {})),
        )
        with contextlib.suppress(OSError):  # a process that has died is reported by ask()
            self._send((target, arguments))

    def _send(self, message: Any) -> None:
        pickle.dump(message, self._process.stdin)
        self._process.stdin.flush()

    def ask(self, name: str, *arguments: Any, limit: float = LIMIT) -> Any:
        """Call a function or method in the process and return its result.

        Raises
        ------
        ChildError
            If the call fails. A process that exceeds ``limit`` seconds is killed.
        """
        process, late = self._process, threading.Event()

        def end() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(limit, end)
        timer.start()
        try:
            self._send((name, arguments))
            answer, error = pickle.load(process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError):
            answer, error = None, self._last_words()
        finally:
            timer.cancel()
        if late.is_set():
            raise ChildError(f"took more than {limit:.0f} s")
        if error is not None:
            raise ChildError(error)
        return answer

    def _last_words(self) -> str:
        self._process.wait()
        self._errors.seek(0)
        lines = [line for line in self._errors.read().splitlines() if line.strip()]
        return f"ended with {self._process.returncode}: {lines[-1] if lines else ''}"

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()


def serve() -> None:
    """Answer the parent's requests until it closes the pipe; runs in the child."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output of libraries must not mix with the answers
    requests = sys.stdin.buffer
    target, made_with = pickle.load(requests)
    answering = None
    while True:
        try:
            name, arguments = pickle.load(requests)
        except EOFError:
            return
        try:
            if answering is None:
                module, _, kind = target.partition(":")
                answering = importlib.import_module(module)
                if kind:
                    answering = getattr(answering, kind)(*made_with)
            answer = getattr(answering, name)(*arguments), None
        except Exception as error:
            lines = str(error).strip().splitlines()
            answer = None, f"{type(error).__name__}: {lines[0] if lines else ''}"
        pickle.dump(answer, answers)
        answers.flush()


def in_fresh_process(target: str, name: str, *arguments: Any) -> Any:
    """Call a function in a new process and return its result."""
    child = Child(target)
    try:
        return child.ask(name, *arguments)
    finally:
        child.close()
