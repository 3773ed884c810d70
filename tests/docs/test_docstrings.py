"""Docstrings of what the API reference lists, as numpydoc validates them."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

validate = pytest.importorskip("numpydoc.validate").validate
parse_config = importlib.import_module("numpydoc.hooks.validate_docstrings").parse_config

ROOT = Path(__file__).parents[2]
CONFIG = parse_config(ROOT)  # [tool.numpydoc_validation] of pyproject.toml

# Modules with an example that is not run, since it trains for long or needs a finished run.
NOT_RUN = {
    *(f"fastnn/experiments/{name}.py" for name in ("depth", "gradients", "more", "rings")),
    *(f"fastnn/experiments/{name}.py" for name in ("trouble", "width")),
    *("fastnn/cnn/runs.py", "fastnn/cnn/training.py"),
}


def entries():
    """Names on the pages of the reference."""
    for page in sorted((ROOT / "docs" / "reference").glob("*.md")):
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
        if not inspect.isclass(value):
            continue
        for member, inner in inspect.getmembers(value):
            ours = getattr(inspect.unwrap(inner), "__module__", "") if callable(inner) else ""
            if not member.startswith("_") and (ours or "").startswith("fastnn."):
                yield f"{full}.{member}"


def faults(names):
    """What the configured checks find."""
    return [
        f"{name}: {code} {text}"
        for name in sorted(names)
        if not CONFIG["exclude"].search(name)
        for code, text in validate(name)["errors"]
        if code in CONFIG["checks"]
    ]


def test_docstrings_are_valid():
    names = set(documented())
    assert len(names) > 200
    found = faults(names)
    assert not found, "\n".join(found)


def test_a_public_object_without_an_example_is_found(tmp_path, monkeypatch):
    (tmp_path / "newly_added.py").write_text(
        '''class Thing:
    """A thing.

    Examples
    --------
    >>> Thing().size()
    3
    """

    def size(self):
        """Return 3."""
        return 3

    def name(self):  # numpydoc ignore=EX01
        """Return the name."""
        return "thing"
'''
    )
    monkeypatch.syspath_prepend(tmp_path)
    names = ["newly_added.Thing", "newly_added.Thing.size", "newly_added.Thing.name"]
    assert [fault.split(" ")[:2] for fault in faults(names)] == [
        ["newly_added.Thing.size:", "EX01"]
    ]


def test_only_long_examples_are_not_run():
    """tests/test_docs.py, tests/export and tests/cnn run the others."""
    skipping = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "fastnn").rglob("*.py")
        if "# doctest: +SKIP" in path.read_text(encoding="utf-8")
    }
    assert skipping == NOT_RUN
