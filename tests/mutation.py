"""Mutation testing of the Python code: which small faults do the tests not find?

``python tests/mutation.py GROUP [--share 0.1] [--seed 0]`` changes one expression or statement of
the group's modules at a time, runs the tests of the group that execute it until one fails, and
prints the changes (mutants) that no test detects. mutmut and cosmic-ray copy the project or start
Python for each change. Here, pytest collects the tests once, and each change is made in a forked
process by replacing the code of a function. Code outside functions is changed when its module is
imported, and then all tests are run. Tests that start Python themselves use the unchanged code.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from mutants import Mutant, mutants, put_in

ROOT = Path(__file__).parents[1]
KERNELS = (
    *("tests/backends/test_reference.py", "tests/backends", "tests/network/test_jacobian.py"),
    *("tests/network/test_taylor.py", "tests/network/test_custom.py"),
)
OF_KERNELS = "(numpy or reference or known_values or taylor) and not numba and not cython"
# For each group: modules under fastnn/, and the tests that should detect changes, with pytest
# options.
GROUPS = {
    "kernels": (
        ["backends/numpy"],
        [*KERNELS, "-k", OF_KERNELS],
    ),
    "training": (
        [
            *("training/optimizer.py", "training/optimizers.py", "training/state.py"),
            "training/schedules.py",
        ],
        [
            *("tests/training/test_rules_and_state.py", "tests/training/test_training.py"),
            *("tests/training/test_training_bits.py", "tests/training/test_training_divergence.py"),
            *("tests/training/test_checkpoints.py", "tests/training/test_checkpoint_fields.py"),
            "tests/training/test_second_order.py",
            "tests/training/test_bayesian_regularization.py",
            "tests/storage/test_training_state.py",
            "tests/estimators/test_estimator_settings.py",
            *("tests/backends/test_updates.py", "tests/network/test_partial_fit.py"),
            *("-k", "not numba and not cython"),
        ],
    ),
    "storage": (
        ["storage"],
        [
            *("tests/storage", "tests/training/test_checkpoints.py"),
            "tests/training/test_checkpoint_fields.py",
            *("tests/tables/test_tabular_checkpoints.py", "tests/tables/test_table_target.py"),
            *("tests/network/test_ensembles.py", "-k", "not kill_during and not numba"),
        ],
    ),
    "datasets": (["datasets"], ["tests/datasets", "tests/storage/test_checkpoint_files.py"]),
}  # fmt: skip

OPTIONS = (
    *("-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not slow"),
    *("-o", "tmp_path_retention_policy=none"),
)


class Found(NamedTuple):
    """Running time of each test in seconds, and the tests that execute each line."""

    seconds: list[float]
    by_line: dict[tuple[str, int], set[int]]


def in_child(work: Callable[[], int], seconds: float) -> int | None:
    """Run ``work`` in a forked process; return its exit status, or None if it exceeds the time."""
    child = os.fork()
    if child == 0:
        code = 98
        try:
            out = os.open(os.devnull, os.O_WRONLY)
            os.dup2(out, 1)
            os.dup2(out, 2)
            os.setsid()
            code = work()
        finally:
            os._exit(code)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def from_the_start(mutant: Mutant | None, tests: list[str], seconds: float) -> bool:
    """Whether all tests pass in a forked process that imports the changed module.

    The calling process must not have imported fastnn.
    """
    usual = SourceFileLoader.get_code

    def get_code(self: SourceFileLoader, name: str):  # type: ignore[no-untyped-def]
        if mutant is not None and Path(self.path) == mutant.path:
            return compile(mutant.made()[0], self.path, "exec")
        return usual(self, name)

    def work() -> int:
        SourceFileLoader.get_code = get_code  # type: ignore[method-assign]
        return int(pytest.main(["-x", *OPTIONS, *tests]))

    return in_child(work, seconds) == 0


class Hunt:
    """Pytest plugin that replaces the test loop: it runs the relevant tests for each mutant."""

    def __init__(self, mutants: list[Mutant], until: float) -> None:
        self.mutants, self.until = mutants, until
        self.left: list[Mutant] = []  # mutants to be tested by from_the_start
        self.counts = {"found": 0, "survived": 0}
        self.failed, self.context = False, lambda _: None

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Record whether the set-up, call or teardown of a test failed."""
        self.failed |= report.failed

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: Any) -> None:
        """Attribute lines executed by fixtures to all tests of the file, which may share them."""
        self.context(f"+{item.path}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: Any) -> None:
        """Attribute lines executed by the test to the test."""
        self.context(item.nodeid)

    def _passes(self, items: list) -> Iterator[bool]:
        """Run tests up to the first failure; yield for each whether it passed."""
        for item, following in zip(items, [*items[1:], None], strict=False):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            yield not self.failed
            if self.failed:
                return

    def pytest_runtestloop(self, session: Any) -> bool:
        """Determine which tests execute each line, then run the relevant ones for each mutant."""
        found = self._look(session.items)
        for mutant in self.mutants:
            if time.monotonic() > self.until:
                break
            tree, words, lines = mutant.made()
            chosen: set[int] = set()
            for line in lines:
                chosen |= found.by_line.get((str(mutant.path), line), set())
            if not chosen:  # executed on import, or by no test
                self.left.append(mutant)
                continue
            usual = sum(found.seconds[k] for k in chosen)
            items = _ordered(session.items, found.seconds, chosen)

            def work(mutant: Mutant = mutant, tree: Any = tree, items: Any = items) -> int:
                if not put_in(mutant.path, tree):
                    return 97
                return 0 if all(self._passes(items)) else 1

            status = in_child(work, 60 + 5 * usual)
            if status == 97:
                self.left.append(mutant)
                continue
            result = "survived" if status == 0 else "found"
            self.counts[result] += 1
            if result == "survived":
                print(f"{words}  ({len(items)} tests)", flush=True)
        return True

    def _look(self, items: list) -> Found:
        """Run the tests with the unchanged code; record which lines each of them executes."""
        file = Path(tempfile.mkstemp(suffix=".json")[1])

        def work() -> int:
            import coverage

            paths = sorted({str(mutant.path) for mutant in self.mutants})
            cover = coverage.Coverage(data_file=None, include=paths, config_file=False)
            cover.start()
            seconds, before = [], time.monotonic()
            self.context = cover.switch_context
            for k, passed in enumerate(self._passes(items)):
                if not passed:
                    file.write_text(json.dumps(items[k].nodeid))
                    return 1
                seconds.append(time.monotonic() - before)
                before = time.monotonic()
            cover.stop()
            data = cover.get_data()
            lines = [
                [path, *line] for path in paths for line in data.contexts_by_lineno(path).items()
            ]
            file.write_text(json.dumps([seconds, lines]))
            return 0

        status = in_child(work, 7200)
        contents = json.loads(file.read_text() or "null")
        file.unlink()
        if status:
            sys.exit(f"{contents} fails without a change")
        seconds, lines = contents
        tests_of: dict[str, set[int]] = {}
        for k, item in enumerate(items):
            tests_of.setdefault(f"+{item.path}", set()).add(k)
            tests_of[item.nodeid] = {k}
        by_line: dict[tuple[str, int], set[int]] = {}
        for path, line, contexts in lines:
            numbers = by_line.setdefault((path, line), set())
            for context in contexts:
                numbers |= tests_of[context]
        return Found(seconds, by_line)


def _ordered(items: list, seconds: list[float], chosen: set[int]) -> list:
    """Chosen tests, grouped by file: files sorted by their fastest test, tests by their time."""
    first: dict[str, float] = {}
    for k in chosen:
        path = str(items[k].path)
        first[path] = min(first.get(path, 1e9), seconds[k])
    key = {k: (first[str(items[k].path)], str(items[k].path), seconds[k]) for k in chosen}
    return [items[k] for k in sorted(chosen, key=key.__getitem__)]


def main() -> None:
    """Command line: test the mutants of a group and print those that survive."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("group", choices=GROUPS)
    parser.add_argument("--share", type=float, default=1.0, help="of the changes, at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=1e9, help="stop then")
    parser.add_argument("--only", type=Path, help="file with the changes to try, as printed")
    parser.add_argument("--tests", type=shlex.split, help="and options, instead of the group's")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    sys.path[:0] = [str(ROOT)]
    import pandas  # noqa: F401
    import scipy.optimize  # noqa: F401
    import sklearn.model_selection  # noqa: F401

    modules, tests = GROUPS[arguments.group]
    tests = arguments.tests or tests
    paths = [file for name in modules for file in _files(ROOT / "fastnn" / name)]
    every = [Mutant(path, *mutant) for path in paths for mutant in mutants(path)]
    chosen = every[:]
    random.Random(arguments.seed).shuffle(chosen)
    chosen = chosen[: max(1, round(arguments.share * len(every)))]
    if arguments.only is not None:
        wanted = {line.partition("  (")[0] for line in arguments.only.read_text().splitlines()}
        chosen = [mutant for mutant in every if mutant.made()[1] in wanted]
    started = time.monotonic()
    until = started + 60 * arguments.minutes
    hunt = Hunt(chosen, until)

    receiving, sending = os.pipe()
    if (child := os.fork()) == 0:
        code = pytest.main([*OPTIONS, "-s", *tests], plugins=[hunt])
        with os.fdopen(sending, "w") as pipe:
            json.dump([hunt.counts, [chosen.index(mutant) for mutant in hunt.left]], pipe)
        os._exit(int(code))
    os.close(sending)
    with os.fdopen(receiving) as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    counts, left = json.loads(answer or "[{}, []]")
    for k in left:
        if time.monotonic() > until:
            break
        result = "survived" if from_the_start(chosen[k], tests, 1800) else "found"
        counts[result] += 1
        if result == "survived":
            print(f"{chosen[k].made()[1]}  (all tests)", flush=True)
    print(f"{counts['found']} of {sum(counts.values())} found ({len(every)} in all)")


def _files(path: Path) -> list[Path]:
    """A module, or all modules of a folder."""
    return sorted(path.glob("*.py")) or [path]


if __name__ == "__main__":
    main()
