"""Which tests depend on the seed of ``make seeds``, and are no repetition of another one.

A test depends on the seed if its function, or a function, fixture or value that it uses, in its
file or in a helper file, refers to a random generator. The source is read: data that a file draws
when it is imported, or once for several tests, belong to all tests that use them.
"""

import ast
import functools
import json
import zlib
from pathlib import Path

TESTS = Path(__file__).parent
SECONDS = TESTS.parent / "build" / "seconds_of_tests.json"
# Tests that take longer than QUICK seconds are run with every tenth seed only.
QUICK, RARE = 0.03, 10
# What creates generators: of NumPy and Hypothesis, and, in helper files, of other kinds.
SOURCES = {"default_rng", "given", "SEED"}


def _names(node):
    """All names that a statement refers to, also as attributes and arguments."""
    found = set()
    for each in ast.walk(node):
        if isinstance(each, ast.Name):
            found.add(each.id)
        elif isinstance(each, ast.Attribute):
            found.add(each.attr)
        elif isinstance(each, ast.arg):
            found.add(each.arg)
        elif isinstance(each, ast.Constant) and isinstance(each.value, str):
            found.add(each.value)  # usefixtures, getfixturevalue
    return found


def _defined(statement):
    """Names that a statement at the top level of a file defines."""
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        return {statement.name}
    return {
        each.id
        for each in ast.walk(statement)
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
    }


@functools.cache
def _uses(path):
    """For each name of a file: the names that its definitions refer to, as (path, name)."""
    uses, imported = {}, {}
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom) and statement.module:
            helper = _helper(path, statement.module)
            for alias in statement.names if helper else ():
                imported[alias.asname or alias.name] = helper, alias.name
        elif not isinstance(statement, (ast.Import, ast.ImportFrom)):
            for name in _defined(statement):
                uses.setdefault(name, set()).update(_names(statement) - {name})
    conftests = [folder / "conftest.py" for folder in (path.parent, TESTS)]
    conftests = [each for each in conftests if each.exists() and each != path]
    return {
        name: {imported.get(other, (path, other)) for other in others}
        | {(fixtures, other) for fixtures in conftests for other in others}
        for name, others in uses.items()
    }


def _helper(path, module):
    """File of a helper module; None if the module is not one of the tests."""
    for folder in (path.parent, TESTS):
        if (folder / f"{module}.py").exists():
            return folder / f"{module}.py"
    return None


@functools.cache
def depends_on_seed(path, name):
    """Whether a test, the function or class ``name`` of a file, depends on the seed."""
    seen, waiting = set(), [(path, name)]
    while waiting:
        each = waiting.pop()
        if each in seen:
            continue
        seen.add(each)
        if each[1] in SOURCES:
            return True
        waiting += _uses(each[0]).get(each[1], ())
    return False


@functools.cache
def _others():
    """Numba, and Cython's vector levels except the highest."""
    from helpers import compiled_names

    return {"numba", *compiled_names()[:-1]}


def is_repetition(item):
    """Whether a test is run with Numba, or with another than the highest vector level of Cython."""
    parameters = getattr(item, "callspec", None)
    values = [str(value) for value in parameters.params.values()] if parameters else []
    return not _others().isdisjoint(values)


@functools.cache
def _seconds():
    """Seconds of tests in earlier runs, by node id."""
    return json.loads(SECONDS.read_text()) if SECONDS.exists() else {}


def has_turn(item, seed):
    """Whether a test is quick, as far as is known, or it is its turn with this seed."""
    turn = zlib.crc32(item.nodeid.encode()) % RARE
    return _seconds().get(item.nodeid, 0) <= QUICK or seed % RARE == turn


def remember(seconds):
    """Store the seconds of tests for the runs with other seeds; the first time counts."""
    SECONDS.parent.mkdir(exist_ok=True)
    SECONDS.write_text(json.dumps(seconds | _seconds()))
