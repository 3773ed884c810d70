"""Docstrings of what the API reference lists, as numpydoc validates them."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

validate = pytest.importorskip("numpydoc.validate").validate

DOCS = Path(__file__).parents[2] / "docs"

# A parameter without a description, what is documented and is no parameter, an object without
# its docstring, a section or a type that cannot be read.
CODES = {"PR02", "PR05", "PR07", "GL01", "GL06", "GL07", "GL08", "YD01"}
# Methods of libraries that are documented there.
INHERITED = {"fastnn.JoblibBackend"}


def entries():
    """Names on the pages of the reference."""
    for page in sorted((DOCS / "reference").glob("*.md")):
        module = None
        for line in page.read_text(encoding="utf-8").splitlines():
            if line.startswith(".. currentmodule:: "):
                module = line.split()[-1]
            elif module and re.fullmatch(r"   \w+", line):
                yield module, line.strip()


def documented():
    """The names, and the public methods of classes that are defined here."""
    for module, name in entries():
        try:
            value = getattr(importlib.import_module(module), name)
        except ImportError:  # TensorFlow
            continue
        if not callable(value):
            continue
        full = f"{module}.{name}"
        yield full
        if not inspect.isclass(value) or full in INHERITED:
            continue
        for member, inner in inspect.getmembers(value):
            ours = getattr(inspect.unwrap(inner), "__module__", "") if callable(inner) else ""
            if not member.startswith("_") and (ours or "").startswith("fastnn."):
                yield f"{full}.{member}"


def test_docstrings_are_valid():
    names = sorted(set(documented()))
    assert len(names) > 170
    faults = []
    for name in names:
        faults += [
            f"{name}: {code} {text}" for code, text in validate(name)["errors"] if code in CODES
        ]
    assert not faults, "\n".join(faults)


def test_public_classes_and_functions_have_an_example():
    """tests/test_docs.py runs them; of methods only some have one."""
    names = {f"{module}.{name}" for module, name in entries()} & set(documented())
    assert len(names) > 70
    faults = [name for name in names if "EX01" in {code for code, _ in validate(name)["errors"]}]
    assert not sorted(faults)
