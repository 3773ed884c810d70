"""What gets imported when, in fresh processes; what is said when something is missing."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fastnn import backends

HEAVY = (
    "numba",
    "tensorflow",
    "matplotlib",
    "sklearn",
    "scipy",
    "pandas",
    "rich",
    "typer",
    "tensorboardX",
)


def modules_after(code):
    """Which heavy modules a fresh interpreter holds after running the code."""
    code += f"\nimport sys, json; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return set(json.loads(result.stdout.splitlines()[-1]))


def test_import_is_light():
    assert modules_after("import fastnn") == set()


def test_names_are_there_without_heavy_modules():
    code = "import fastnn; fastnn.Network, fastnn.SGD, fastnn.History, fastnn.available_backends()"
    assert modules_after(code) == set()


@pytest.mark.parametrize("backend", backends.BACKENDS)
def test_training_imports_only_its_backend(backend):
    if backends.why_missing(backend):
        pytest.skip(backends.why_missing(backend))
    found = modules_after(
        "import fastnn\n"
        f"net = fastnn.Network([2, 3, 2], backend={backend!r}, random_state=0)\n"
        "net.fit([[0, 0], [0, 1], [1, 0]], [0, 1, 1], epochs=3)"
    )
    # the extension takes BLAS from SciPy, as does Numba
    assert found <= {"numpy": set(), "numba": {"numba", "scipy"}, "cython": {"scipy"}}[backend]


def test_modules_of_the_manual_need_no_import_of_their_own():
    """``import fastnn`` is enough for the names that the API reference has."""
    pages = (Path(__file__).parents[1] / "docs" / "reference").glob("*.md")
    names = {name for page in pages for name in re.findall(r"module:: (\S+)", page.read_text())}
    assert {"fastnn.cnn", "fastnn.storage", "fastnn.tensorboard"} < names
    assert modules_after(f"import fastnn; {', '.join(sorted(names))}") == set()


def test_all_public_names_exist():
    import fastnn

    for name in fastnn.__all__:
        assert getattr(fastnn, name) is not None
    assert set(fastnn.__all__) <= set(dir(fastnn))
    with pytest.raises(AttributeError, match="nonsense"):
        fastnn.nonsense  # noqa: B018


@pytest.fixture
def without(monkeypatch):
    """Make backends look as if they were not installed."""

    def hide(*hidden):
        find = backends.importlib.util.find_spec
        monkeypatch.setattr(backends, "_installed", set())
        monkeypatch.setattr(
            backends.importlib.util,
            "find_spec",
            lambda name, *args: None if name.startswith(hidden) else find(name, *args),
        )

    return hide


@pytest.mark.parametrize(
    ("name", "module", "remedy"),
    [
        ("numba", "numba", r"pip install \"fastnn-cpu\[numba\]\""),
        ("cython", "fastnn.backends._cython", "C compiler .* pip install"),
    ],
)
def test_missing_backend_says_how_to_get_it(without, name, module, remedy):
    import fastnn

    without(module)
    assert name not in fastnn.available_backends()
    for load in (backends.load, lambda name: fastnn.Network([2, 2], backend=name)):
        with pytest.raises(ImportError, match=remedy) as caught:
            load(name)
        assert name in str(caught.value)


def test_auto_takes_the_fastest_that_is_there(without):
    import fastnn

    assert fastnn.Network([2, 2]).backend == fastnn.available_backends()[0]
    without("numba", "fastnn.backends._cython")
    assert fastnn.available_backends() == ["numpy"]
    with pytest.warns(RuntimeWarning, match="slow NumPy kernels"):
        assert fastnn.Network([2, 2]).backend == "numpy"


def test_unknown_backend_lists_the_known():
    with pytest.raises(ValueError, match="numba, numpy"):
        backends.load("fortran")
