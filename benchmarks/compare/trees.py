"""Both trees, built, and processes that run in them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TODAY = Path(__file__).resolve().parents[2]
CACHE = TODAY / "build" / "compare"
LIMIT = 300.0  # seconds that one answer or process may take

_FIT = """
import numpy as np
rng = np.random.RandomState(0)
net = fastnn.Network([2, 3, 2], l2=5e-5, backend={!r}, dtype="float64", random_state=0)
history = net.fit(rng.rand(200, 2), rng.randint(0, 2, 200), optimizer=fastnn.SGD(2.0), epochs=10)
print(history.compile_seconds)
"""
# What fresh processes do: the network and update rule of `fastnn train`, which decide what is
# compiled.
PROCESSES = {
    "import": "",
    "first-fit": _FIT.format("cython"),
    "numba-warm": _FIT.format("numba"),
    "numba-cold": _FIT.format("numba"),
}


class Failure(Exception):
    """Why something cannot be compared."""


def run(command: Sequence[str], failure: str, **options: Any) -> str:
    """Standard output of a command that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise Failure(f"{failure}: {lines[-1]}" if failure else lines[-1])
    return done.stdout.strip()


def git(*arguments: str, failure: str = "") -> str:
    return run(["git", "-C", str(TODAY), *arguments], failure)


@dataclass
class Tree:
    """A checkout; ``threads`` limits what its processes use."""

    root: Path
    title: str
    threads: int | None = None

    def environment(self) -> dict[str, str]:
        """For a process that imports this tree's fastnn."""
        path = [str(self.root), *filter(None, [os.environ.get("PYTHONPATH")])]
        # Numba's cache notices changes of one file only; so each state of the sources has its own.
        files = sorted((self.root / "fastnn").rglob("*.py"))
        digest = hashlib.sha1(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
        made = {
            "PYTHONPATH": os.pathsep.join(path),
            "NUMBA_CACHE_DIR": str(CACHE / "numba" / digest),
        }
        if self.threads:
            made["OMP_NUM_THREADS"] = str(self.threads)
        return os.environ | made

    def build(self) -> None:
        """Compile the extension in place, unless it is newer than its sources."""
        kinds = (".pyx", ".pxi", ".pxd", ".h")
        sources = [path for path in (self.root / "src_cython").rglob("*") if path.suffix in kinds]
        sources.append(self.root / "setup.py")
        built = [p for p in (self.root / "fastnn").rglob("*") if p.suffix in (".so", ".pyd")]
        newest = max((path.stat().st_mtime for path in built), default=0.0)
        if newest >= max(path.stat().st_mtime for path in sources):
            return
        print(f"building the extension of {self.title}", file=sys.stderr, flush=True)
        command = [sys.executable, "setup.py", "build_ext", "--inplace", "--force"]
        run(command, f"building {self.title} failed", cwd=self.root)


def base_tree(base: str) -> Tree:
    """The directory given, or a worktree of the revision."""
    if (Path(base) / "fastnn" / "__init__.py").is_file():
        return Tree(Path(base).resolve(), base)
    failure = f"BASE {base!r} is neither a git revision nor a checkout"
    try:
        commit = git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{base}^{{commit}}")
    except (Failure, OSError):
        raise Failure(failure) from None
    root = CACHE / commit[:12]
    if not (root / "setup.py").is_file():
        git("worktree", "add", "--force", "--detach", str(root), commit, failure="no worktree")
    tree = Tree(root, f"{base} ({commit[:9]})")
    tree.build()
    return tree


def todays_tree() -> Tree:
    """This checkout."""
    try:
        title = git("describe", "--always", "--dirty", "--abbrev=9")
    except (Failure, OSError):
        title = "not under git"
    tree = Tree(TODAY, title)
    tree.build()
    return tree


class Worker:
    """A process that runs ``worker.py`` in a tree."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree

    def __enter__(self) -> Worker:
        self._errors = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("worker.py")), str(self.tree.root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=self.tree.environment(),
        )
        try:
            self.ask("hello")
        except Failure:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def restart(self) -> None:
        """A new process, after an error."""
        self.__exit__()
        self.__enter__()

    def ask(self, do: str, **message: Any) -> dict[str, Any]:
        """The answer to a message."""
        timer = threading.Timer(LIMIT, self._process.kill)
        timer.start()
        try:
            self._process.stdin.write(json.dumps({"do": do} | message) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError:
            line = ""
        finally:
            timer.cancel()
        answer = json.loads(line) if line else {"error": self._last_words()}
        if "error" in answer:
            raise Failure(f"{self.tree.title}: {answer['error']}")
        return answer

    def _last_words(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines() or ["no message"]
        return f"the process ended with {code}: {lines[-1]}"


def fresh_process(tree: Tree, name: str) -> tuple[float, float | None]:
    """Seconds of a fresh process, and of the time in it until Numba's code was there."""
    code = f"import fastnn\n{PROCESSES[name]}\nprint(fastnn.__file__)"
    with tempfile.TemporaryDirectory() as empty:
        environment = tree.environment()
        if name == "numba-cold":
            environment["NUMBA_CACHE_DIR"] = empty
        started = time.perf_counter()
        try:
            command = [sys.executable, "-P", "-c", code]
            printed = run(command, f"{tree.title}: {name}", env=environment, timeout=LIMIT)
        except subprocess.TimeoutExpired:
            raise Failure(f"{tree.title}: {name} took more than {LIMIT:.0f} s") from None
        seconds = time.perf_counter() - started
    *compiling, file = printed.splitlines()
    if not Path(file).resolve().is_relative_to(tree.root):
        raise Failure(f"fastnn is {file}, not the one in {tree.root}")
    return seconds, float(compiling[0]) if compiling else None
