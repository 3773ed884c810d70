"""Mutation testing of the Python code: which small faults do the tests not find?

``python tests/mutation.py GROUP [--share 0.1] [--seed 0] [--list]`` changes one expression or
statement of the group's modules at a time, runs the group's tests in a process of its own until one
fails, and prints the changes that none noticed. mutmut and cosmic-ray copy the project or start
Python anew for each change; here a child is forked once NumPy, SciPy and scikit-learn are imported,
and the changed module is put in while it is imported. Tests that start Python themselves see the
unchanged code.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path

ROOT = Path(__file__).parents[1]
KERNELS = "tests/backends/test_reference.py", "tests/backends", "tests/network/test_jacobian.py"
# Modules, the tests that should notice, and pytest's options.
GROUPS = {
    "kernels": (
        ["backends/numpy"],
        [*KERNELS, "-k", "(numpy or reference) and not numba and not cython"],
    ),
    "training": (
        ["training/optimizers.py", "training/state.py", "training/schedules.py"],
        [
            *("tests/storage/test_training_state.py", "tests/training/test_training.py"),
            "tests/estimators/test_estimators.py::test_schedules",
            *("tests/backends/test_updates.py", "-k", "not numba and not cython"),
        ],
    ),
    "storage": (["storage"], ["tests/storage", "-k", "not killed"]),
    "datasets": (["datasets"], ["tests/datasets"]),
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
UNTOUCHED = "annotation", "returns", "decorator_list", "bases"


def nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes that may be changed, in order: no types, decorators, messages."""
    if isinstance(tree, ast.Raise) and isinstance(tree.exc, ast.Call):
        return  # whether it is raised, not what it says
    yield tree
    for name, value in ast.iter_fields(tree):
        if name in UNTOUCHED:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from nodes(child)


def changes(node: ast.AST) -> Iterator[tuple[str, object]]:
    """What to make of a node: names of attributes and their new values."""
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
        case ast.Return(value=ast.AST()):
            yield "value", ast.Constant(None)
        case ast.Assign() | ast.AugAssign() | ast.Expr(value=ast.Call()):
            yield "", None  # left out


def mutants(path: Path) -> list[tuple[int, str]]:
    """Number of the node and attribute of each change."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [(number, name) for number, node in enumerate(nodes(tree)) for name, _ in changes(node)]


class _Replace(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self.new if node is self.old else super().generic_visit(node)


def mutated(path: Path, number: int, name: str) -> tuple[ast.AST, str]:
    """The changed module, and the change in words."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    node = list(nodes(tree))[number]
    (value,) = [value for key, value in changes(node) if key == name]
    before = ast.unparse(node).splitlines()[0]
    if name == "":
        new: ast.AST = ast.Pass()
    elif isinstance(node, ast.UnaryOp) and value is None:
        new = node.operand
    else:
        new = copy.copy(node)
        setattr(new, name, value)
    ast.copy_location(new, node)
    tree = ast.fix_missing_locations(_Replace(node, new).visit(tree))
    after = ast.unparse(new).splitlines()[0]
    return tree, f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}: {before}  ->  {after}"


def run_tests(path: Path | None, tree: ast.AST | None, tests: list[str], seconds: float) -> str:
    """In a child process: "found", "survived", or "found" too where it hangs."""
    child = os.fork()
    if child == 0:
        out = os.open(os.devnull, os.O_WRONLY)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.setsid()
        _test(path, tree, tests)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return "survived" if os.waitstatus_to_exitcode(status) == 0 else "found"
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "found"


def _test(path: Path | None, tree: ast.AST | None, tests: list[str]) -> None:
    """Run the tests with one module changed, and end."""
    import pytest

    usual = SourceFileLoader.get_code

    def get_code(self: SourceFileLoader, name: str):  # type: ignore[no-untyped-def]
        if path is not None and Path(self.path) == path:
            return compile(tree, self.path, "exec")
        return usual(self, name)

    SourceFileLoader.get_code = get_code  # type: ignore[method-assign]
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not slow"]
    code = 99
    try:
        code = pytest.main([*options, *tests])
    finally:
        os._exit(int(code))


def main() -> None:
    """Read the arguments, run, report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("group", choices=GROUPS)
    parser.add_argument("--share", type=float, default=1.0, help="of the changes, at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=1e9, help="stop then")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    sys.path[:0] = [str(ROOT)]
    import pandas  # noqa: F401
    import scipy.optimize  # noqa: F401
    import sklearn.model_selection  # noqa: F401

    modules, tests = GROUPS[arguments.group]
    found = [ROOT / "fastnn" / name for name in modules]
    paths = [file for each in found for file in (sorted(each.glob("*.py")) or [each])]
    all_ = [(path, *mutant) for path in paths for mutant in mutants(path)]
    started = time.monotonic()
    if run_tests(None, None, tests, 3600) != "survived":
        sys.exit("the tests fail without a change")
    usual = time.monotonic() - started
    chosen = all_[:]
    random.Random(arguments.seed).shuffle(chosen)
    chosen = chosen[: max(1, round(arguments.share * len(all_)))]
    counts = {"found": 0, "survived": 0}
    for path, number, name in chosen:
        if time.monotonic() - started > 60 * arguments.minutes:
            break
        tree, words = mutated(path, number, name)
        result = run_tests(path, tree, tests, 60 + 5 * usual)
        counts[result] += 1
        if result == "survived":
            print(words, flush=True)
    total = sum(counts.values())
    print(f"{counts['found']} of {total} found ({len(all_)} in all); tests take {usual:.0f} s")


if __name__ == "__main__":
    main()
