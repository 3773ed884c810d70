"""The manual: its snippets run and print what they say, and every public name has an entry.

On a page, Python blocks run in order in one namespace. A ``text`` block is what the block before it
prints; dots in it stand for anything. In a ``console`` block the lines with ``$`` are commands, and
those behind them what they print.
"""

import contextlib
import doctest
import importlib
import io
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

import fastnn
from fastnn import cli

DOCS = Path(__file__).parents[2] / "docs"
FOLDERS = ("", "guide", "howto", "coming_from", "explanation")
BLOCK = re.compile(r"^[`:]{3,}\s*(python|text|console)\n(.*?)^[`:]{3,}\s*$", re.M | re.S)
PAGES = sorted(
    page
    for folder in FOLDERS
    for page in (DOCS / folder).glob("*.md")
    if re.search(r"^\s*```(python|console)\n", page.read_text(), re.M)
)
# Pages on a library of that name, which the extra "howto" has and that of the tests has not.
OTHERS = ("casadi", "dask", "mapie", "mlflow", "optuna", "shap")


def same(expected, got):
    """Whether an output is as a page shows it."""
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(
        expected.strip() + "\n", got.strip() + "\n", options
    )


def run_python(code, where, names):
    """What a block prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, where, "exec"), names)
    return out.getvalue()


def run_command(command):
    """What a command prints; ``fastnn`` runs in this process, which is quicker."""
    words = shlex.split(command)
    if words[0] != "fastnn":
        if words[0] == "cc" and not shutil.which("cc"):
            pytest.skip("no C compiler")
        done = subprocess.run(command, shell=True, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.raises(SystemExit) as stop:
        raise SystemExit(cli.main(words[1:]))
    assert not stop.value.code, f"{command}: exit {stop.value.code}, {out.getvalue()}"
    return out.getvalue()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch and onnx, about themselves
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_snippets_of(page, tmp_path, monkeypatch):
    name = page.relative_to(DOCS).as_posix()
    if page.stem in OTHERS:
        pytest.importorskip(page.stem)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")  # it would use the network
    monkeypatch.chdir(tmp_path)
    names, printed = {"__name__": "page"}, None
    text = page.read_text()
    blocks = list(BLOCK.finditer(text))
    assert blocks
    for block in blocks:
        kind, content = block.groups()
        where = f"{name}:{text.count(chr(10), 0, block.start()) + 1}"
        if kind == "python":
            printed = run_python(content, where, names)
        elif kind == "text":
            assert same(content, printed), f"{where}: printed\n{printed}"
        else:
            for command, expected in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", content, re.M):
                printed = run_command(command)
                assert same(expected, printed), f"{where}: {command} printed\n{printed}"
    plt.close("all")


def public_names():
    """Every public class and function: what modules list, or define where they list nothing."""
    modules = ["fastnn", "fastnn.export", "fastnn.experiments", "fastnn.cnn"]
    names = {
        f"{module}.{name}" for module in modules for name in importlib.import_module(module).__all__
    }
    tensorboard = importlib.import_module("fastnn.tensorboard")
    names |= {
        f"fastnn.tensorboard.{name}"
        for name, value in vars(tensorboard).items()
        if callable(value) and value.__module__ == tensorboard.__name__ and name[0] != "_"
    }
    for where in ("fastnn.datasets", "fastnn.plots"):
        module = importlib.import_module(where)
        names |= {f"{where}.{x}" for x in module.__all__ if callable(getattr(module, x))}
    return names | {"fastnn.storage.save", "fastnn.storage.describe"}


def test_every_public_name_has_an_entry():
    documented = set()
    for page in (DOCS / "reference").glob("*.md"):
        module = None
        for line in page.read_text().splitlines():
            if line.startswith(".. currentmodule:: "):
                module = line.split()[-1]
            elif module and re.fullmatch(r"   \w+", line):
                documented.add(f"{module}.{line.strip()}")
    assert public_names() - documented == set()
    # nothing is documented that is not there; fastnn.cnn needs TensorFlow to look
    for entry in documented:
        module, name = entry.rsplit(".", 1)
        if module != "fastnn.cnn":
            assert hasattr(importlib.import_module(module), name), entry
    assert len(documented) > 50


def test_gallery_scripts_have_a_title_and_a_picture():
    scripts = sorted((DOCS / "gallery").rglob("plot_*.py"))
    assert len(scripts) >= 20
    for script in scripts:
        title, rule = script.read_text().splitlines()[1:3]
        assert rule == "=" * len(title), script.name
        assert re.search(r"plt\.|plots\.|plot\(|figures", script.read_text()), script.name


def test_every_page_is_in_a_table_of_contents():
    listed = set()
    for page in DOCS.rglob("*.md"):
        for toctree in re.findall(r"^```{toctree}\n(.*?)^```", page.read_text(), re.M | re.S):
            for line in toctree.splitlines():
                if line and not line.startswith(":"):
                    folder = DOCS if line.startswith("/") else page.parent
                    listed.add(os.path.normpath(folder / line.lstrip("/")))
    pages = {os.path.splitext(page)[0] for page in map(str, DOCS.rglob("*.md"))}
    assert pages - listed == {str(DOCS / "index")}


def test_version():
    assert fastnn.__version__ in (DOCS.parent / "CHANGELOG.md").read_text()
