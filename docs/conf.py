"""Sphinx's configuration of the manual; ``make docs`` builds it into build/docs."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, patch

import matplotlib
from pydantic import BaseModel

import fastnn.cnn

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path.insert(0, str(DOCS / "_ext"))

project = "fastnn"
author = "the fastnn developers"
project_copyright = author
version = release = fastnn.__version__

extensions = [
    "mathml",
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "sphinxcontrib.programoutput",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["gallery"]
templates_path = ["_templates"]
nitpicky = False

# --- Markdown ----------------------------------------------------------------------
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "substitution"]
myst_fence_as_directive = ["math"]  # as GitHub shows it
myst_heading_anchors = 4
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# The pages of fastnn.cnn need its docstrings only, not seconds for TensorFlow and its gigabyte. The
# stand-ins go again: matplotlib asks a TensorFlow that is imported about every array.
_keras = MagicMock(**{"config.backend.return_value": "tensorflow", "layers.Layer": object})
with patch.dict(sys.modules, {"keras": _keras, "tensorflow": MagicMock()}):
    for _name in fastnn.cnn.__all__:
        getattr(fastnn.cnn, _name)

# Commands whose output is shown run with this Python, in a fixed width and without colours.
os.environ |= {"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

# --- API reference -----------------------------------------------------------------
autosummary_generate = True
autodoc_typehints = "none"  # the docstrings have the types
numpydoc_show_class_members = False  # the template lists them
numpydoc_class_members_toctree = False
toc_object_entries_show_parents = "hide"  # names of methods fit into the sidebar

# --- Gallery -----------------------------------------------------------------------
matplotlib.use("agg")
sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto_gallery",
    "filename_pattern": r"/plot_",
    "reset_modules": ("matplotlib", "gallery_style.reset"),
    "image_scrapers": ("matplotlib", "experiment_figures"),
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "write_computation_times": False,
    "min_reported_time": 5,
    "remove_config_comments": True,
    "image_srcset": ["2x"],
    "matplotlib_animations": False,
    "copyfile_regex": "",
    "plot_gallery": "True",
}

# --- HTML --------------------------------------------------------------------------
html_math_renderer = "mathml"
html_theme = "pydata_sphinx_theme"
html_title = "fastnn"
html_static_path = ["_static"]
html_css_files = ["manual.css"]
html_copy_source = False
html_show_sourcelink = False
html_sidebars = {"index": [], "start": [], "performance": [], "changelog": [], "contributing": []}
html_theme_options = {
    "logo": {"text": "fastnn"},
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "show_toc_level": 2,
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}

# --- Links between the files of the repository -------------------------------------
# The pages are read on GitHub too, where links are paths. Those of files outside this folder that
# the manual shows lead to their page here.
PAGES = {
    "ARCHITECTURE.md": "explanation/architecture",
    "CHANGELOG.md": "changelog",
    "CONTRIBUTING.md": "contributing",
    "README.md": "index",
    "benchmarks/README.md": "performance",
}
_LINK = re.compile(r"\[([^\]]*)\]\((?!\w+:|#|/)([^)#\s]+)(#[^)\s]*)?\)")


def _relink(text: str, folder: Path, page: str) -> str:
    """Links of a text that lies in ``folder`` and is shown on ``page``."""

    def link(match: re.Match) -> str:
        words, path, anchor = match[1], (folder / match[2]).resolve(), match[3] or ""
        name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else ""
        if name in PAGES:
            return f"[{words}](/{PAGES[name]}.md{anchor})"
        if path.suffix == ".md" and path.is_relative_to(DOCS):
            return f"[{words}](/{path.relative_to(DOCS).as_posix()}{anchor})"
        if path.suffix == ".md" or path.is_dir():  # not in the manual
            return words
        return f"[{words}]({os.path.relpath(path, (DOCS / page).parent)}{anchor})"

    return _LINK.sub(link, text)


def _read(app: Any, page: str, source: list[str]) -> None:
    if Path(app.env.doc2path(page)).suffix == ".md":
        source[0] = _relink(source[0], (DOCS / page).parent, page)


def _include(app: Any, path: Path, page: str, source: list[str]) -> None:
    if path.suffix == ".md":
        source[0] = _relink(source[0], (DOCS / path).resolve().parent, page)


# --- Docstrings of other libraries --------------------------------------------------
def _docstring(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Inherited docstrings refer to pages of scikit-learn's manual: keep their words."""
    lines[:] = [re.sub(r":ref:`([^`<]+?)\s*(<[^`>]*>)?`", r"\1", line) for line in lines]


def _benchmark_numbers() -> dict[str, str]:
    """Numbers of the landing page, from the tables that ``benchmarks`` has written."""
    text = (ROOT / "benchmarks" / "README.md").read_text()

    def cell(row: str, column: int, after: str) -> str:
        line = next(x for x in text[text.index(after) :].splitlines() if x.startswith(f"| {row} |"))
        return line.split("|")[column + 1].strip()

    jobs, starts = "<!-- bench:begin -->", "<!-- startup:begin -->"
    machine = re.search(r"^- (.*); vector level of the extension: (\w+)", text, re.M)
    return {
        "step": cell("fastnn cython", 1, jobs),
        "step_ratio": cell("fastnn cython / best peer", 1, jobs).rstrip("×"),
        "predict": cell("fastnn cython", 9, jobs),
        "predict_ratio": cell("fastnn cython / best peer", 9, jobs).rstrip("×"),
        "start": f"{float(cell('fastnn cython', 1, starts)):.2f}",
        "start_sklearn": f"{float(cell('scikit-learn', 1, starts)):.1f}",
        "start_torch": f"{float(cell('PyTorch, 1 thread', 1, starts)):.1f}",
        "machine": f"{machine[1]}, {machine[2]}",
    }


myst_substitutions = _benchmark_numbers()
autosummary_context = {"pydantic_members": dir(BaseModel)}


def setup(app: Any) -> None:
    """Connect what Sphinx calls."""
    app.connect("source-read", _read)
    app.connect("include-read", _include)
    app.connect("autodoc-process-docstring", _docstring)
