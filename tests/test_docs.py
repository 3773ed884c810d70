"""Docstrings' examples, the README's, and links; docs/test_pages.py has the manual."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import matplotlib.pyplot as plt

import fastnn

ROOT = Path(__file__).parent.parent
# Every module but the command line, which has no examples, and what needs TensorFlow or PyTorch:
# tests/export/test_export_frameworks.py and tests/cnn/test_cnn.py run the examples of those.
ELSEWHERE = ("fastnn.export.keras", "fastnn.export.torch")
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(fastnn.__path__, "fastnn.")
    if module.name == "fastnn.cnn.settings"
    or not module.name.startswith(("fastnn.cnn.", "fastnn.cli", "fastnn.backends.", *ELSEWHERE))
)


def run_blocks(page, count):
    """Run the Python blocks of a page in their order."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.S)
    assert len(blocks) == count
    names = {}
    for block in blocks:
        exec(compile(block, page, "exec"), names)


def test_examples_of_docstrings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results = {name: doctest.testmod(importlib.import_module(name)) for name in MODULES}
    assert [name for name, result in results.items() if result.failed] == []
    # the public classes and functions have examples: else this would test nothing
    assert sum(result.attempted > 0 for result in results.values()) >= 30


def test_examples_of_the_readme(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run_blocks("README.md", 4)
    plt.close("all")
    assert float(capsys.readouterr().out.split()[0]) > 0.95  # the score that the first one prints
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "classifier.safetensors",
        "moons.safetensors",
    ]


def test_links_of_the_readme_lead_somewhere():
    for page in ("README.md", "benchmarks/README.md", "docs/compiled.md", "docs/many.md"):
        page = ROOT / page
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
