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
import ast
import copy
import gc
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
from inspect import CO_OPTIMIZED
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import pytest

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

COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.MatMult: ast.Add,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}  # fmt: skip
OPTIONS = (
    *("-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not slow"),
    *("-o", "tmp_path_retention_policy=none"),
)
UNTOUCHED = "annotation", "returns", "decorator_list", "bases"


def nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes that may be changed, in order; without types, decorators and error messages."""
    if isinstance(tree, ast.Raise) and isinstance(tree.exc, ast.Call):
        return  # messages of exceptions are not changed
    yield tree
    for name, value in ast.iter_fields(tree):
        if name in UNTOUCHED:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from nodes(child)


def changes(node: ast.AST) -> Iterator[tuple[str, object]]:
    """Changes of a node: name of an attribute and its new value; "" removes the statement."""
    match node:
        case ast.Compare(ops=[only]) if type(only) in COMPARISONS:
            yield "ops", [COMPARISONS[type(only)]()]
        case ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in OPERATORS:
            yield "op", OPERATORS[type(op)]()
        case ast.BoolOp(op=op):
            yield "op", ast.Or() if isinstance(op, ast.And) else ast.And()
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield "op", ast.UAdd() if isinstance(node.op, ast.USub) else None
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
            yield "test", ast.UnaryOp(ast.Not(), test)
        case ast.Constant(value=bool(value)):
            yield "value", not value
        case ast.Constant(value=int(value) | float(value)):
            yield "value", value + 1
        case ast.Return(value=ast.AST() as value) if ast.unparse(value) != "None":
            yield "value", ast.Constant(None)
        case ast.Assign() | ast.AugAssign() | ast.Expr(value=ast.Call()):
            yield "", None  # remove the statement


def mutants(path: Path) -> list[tuple[int, str]]:
    """All changes of a module: number of the node, and name of the attribute."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [(number, name) for number, node in enumerate(nodes(tree)) for name, _ in changes(node)]


class _Replace(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self.new if node is self.old else super().generic_visit(node)


class Found(NamedTuple):
    """Running time of each test in seconds, and the tests that execute each line."""

    seconds: list[float]
    by_line: dict[tuple[str, int], set[int]]


class Mutant(NamedTuple):
    """A change of a module."""

    path: Path
    number: int
    name: str

    def made(self) -> tuple[ast.Module, str, range]:
        """The changed module, a description of the change, and the lines that contain it."""
        path = self.path
        tree = ast.parse(path.read_text(encoding="utf-8"))
        node = list(nodes(tree))[self.number]
        (value,) = [value for key, value in changes(node) if key == self.name]
        before = ast.unparse(node).splitlines()[0]
        if self.name == "":
            new: ast.AST = ast.Pass()
        elif isinstance(node, ast.UnaryOp) and value is None:
            new = node.operand
        else:
            new = copy.copy(node)
            setattr(new, self.name, value)
        ast.copy_location(new, node)
        inside = node.test if isinstance(node, ast.If | ast.While) else node
        lines = _lines_of(tree, inside)
        tree = ast.fix_missing_locations(_Replace(node, new).visit(tree))
        after = ast.unparse(new).splitlines()[0]
        where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
        return tree, f"{where}: {before}  ->  {after}", lines


def _lines_of(tree: ast.AST, node: ast.AST) -> range:
    """Lines of the simple statement that contains a node, otherwise of the node itself."""
    first, last = getattr(node, "lineno", 0), getattr(node, "end_lineno", 0)
    for statement in ast.walk(tree):
        if isinstance(statement, ast.stmt) and not hasattr(statement, "body"):
            end = statement.end_lineno or 0
            if statement.lineno <= first and last <= end:
                return range(statement.lineno, end + 1)
    return range(first, last + 1)


def functions_of(code: CodeType) -> Iterator[CodeType]:
    """Code of the functions of a module and its classes, without nested functions."""
    for const in code.co_consts:
        if isinstance(const, CodeType):
            if const.co_flags & CO_OPTIMIZED:
                yield const
            else:
                yield from functions_of(const)


def put_in(path: Path, tree: ast.Module) -> bool:
    """Replace the code of functions of an imported module; False if that is not sufficient.

    It is not sufficient for code that is executed on import: constants, classes, defaults.
    """
    old = compile(path.read_text(encoding="utf-8"), str(path), "exec")
    new = compile(tree, str(path), "exec")
    pairs = list(zip(functions_of(old), functions_of(new), strict=True))
    changed = {(a.co_qualname, a.co_firstlineno): b for a, b in pairs if _essence(a) != _essence(b)}
    if not changed:
        return False
    alive = [
        each
        for each in gc.get_objects()
        if isinstance(each, FunctionType) and each.__code__.co_filename == str(path)
    ]
    done = 0
    for function in alive:
        code = changed.get((function.__code__.co_qualname, function.__code__.co_firstlineno))
        if code is not None:
            if code.co_freevars != function.__code__.co_freevars:
                return False
            function.__code__ = code
            done += 1
    return done > 0


def _essence(code: CodeType) -> tuple:
    """Properties of code by which functions are compared; line numbers are ignored."""
    consts = tuple(
        _essence(const) if isinstance(const, CodeType) else (type(const), repr(const))
        for const in code.co_consts
    )
    return code.co_code, consts, code.co_names, code.co_varnames


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
