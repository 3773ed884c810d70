"""What works with the hard dependencies alone, and what is said when an extra is missing."""

import importlib.metadata
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import fastnn
from fastnn import extras

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# Run first in a fresh process: the libraries named on the command line cannot be found.
HIDE = """
import sys
hidden = set(sys.argv.pop(1).split(","))
class Hiding:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in hidden else self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)
sys.meta_path[:] = map(Hiding, sys.meta_path)
"""


def without(hidden, code, *arguments, cwd=None):
    """Run code in a fresh process that has no ``hidden`` libraries."""
    return subprocess.run(
        [sys.executable, "-c", HIDE + code, ",".join(hidden), *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        timeout=120,
    )


def command(hidden, *arguments, cwd):
    """Run the command; gives its exit code, output and errors."""
    done = without(hidden, "from fastnn.cli import main; sys.exit(main())", *arguments, cwd=cwd)
    return done.returncode, done.stdout, done.stderr


def requirements(extra):
    """Names of what an extra brings, the extras that it names included."""
    for text in PROJECT["optional-dependencies"][extra]:
        one = Requirement(text)
        if one.name == extras.DISTRIBUTION:
            for other in one.extras:
                yield from requirements(other)
        else:
            yield one.name.lower()


def test_name_of_the_distribution():
    assert PROJECT["name"] == extras.DISTRIBUTION
    assert PROJECT["version"] == fastnn.__version__


@pytest.mark.parametrize("module", sorted(extras.EXTRA_OF))
def test_extra_brings_the_library(module):
    """Whatever the library is called where it is installed from."""
    of_modules = importlib.metadata.packages_distributions()
    if module not in of_modules:
        pytest.skip(f"{module} is not installed")
    brought = set(requirements(extras.EXTRA_OF[module]))
    # llvmlite comes with Numba
    names = {name.lower() for name in of_modules[module]} | (
        {"numba"} if module == "llvmlite" else set()
    )
    assert names & brought


def test_hard_dependencies_are_no_extras():
    hard = {Requirement(text).name.lower() for text in PROJECT["dependencies"]}
    assert hard.isdisjoint(requirements("all"))


def test_every_bound_has_a_lower_one():
    """What a resolver may take at the lowest is what was tested."""
    for text in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["all"]]:
        one = Requirement(text)
        if one.name != extras.DISTRIBUTION:
            assert any(part.operator in (">=", "==") for part in one.specifier), text


def test_modules_that_need_an_extra():
    code = """
import importlib, pkgutil, fastnn
for module in pkgutil.walk_packages(fastnn.__path__, "fastnn.", onerror=lambda name: None):
    if not module.name.endswith("__main__"):
        try:
            importlib.import_module(module.name)
        except ImportError as error:
            print(module.name)
"""
    done = without(set(extras.EXTRA_OF), code)
    assert done.returncode == 0, done.stderr
    owners = ("fastnn.backends.numba", "fastnn.cnn.", "fastnn.export.compiled", "fastnn.play.app")
    missing = done.stdout.split()
    # compiled for processors with other vector instructions: an error, not the end of the process
    levels = importlib.import_module("fastnn.backends._cython_processor").vector_levels()
    others = {"avx2", "avx512"}.difference(levels)
    owners += tuple(f"fastnn.backends._cython_{level}_" for level in others)
    assert {"fastnn.backends.numba", "fastnn.export.compiled"} <= set(missing)
    assert [name for name in missing if not name.startswith(owners)] == []


def test_training_and_predicting_need_no_extra(tmp_path):
    code, out, err = command(
        set(extras.EXTRA_OF), "train", "--backend", "numpy", "--epochs", "5", cwd=tmp_path
    )
    assert (code, err) == (0, "")
    assert 'no pictures, which need matplotlib: pip install "fastnn-cpu[plots]"' in out
    run = tmp_path / "runs" / "moons-1"
    assert sorted(path.name for path in run.iterdir()) == [
        "checkpoint.safetensors",
        "history.csv",
        "model.safetensors",
        "settings.toml",
    ]
    code, out, err = command(
        set(extras.EXTRA_OF), "predict", str(run), "moons", "--backend", "numpy", cwd=tmp_path
    )
    assert (code, err, len(out.splitlines())) == (0, "", 201)


# Library, its extra, and a command that needs it. One process runs them all.
COMMANDS = [
    ("numba", "numba", ["train", "--backend", "numba"]),
    ("matplotlib", "plots", ["plot", "model.safetensors", "moons"]),
    ("matplotlib", "experiments", ["experiments", "--only", "data"]),
    ("jinja2", "experiments", ["experiments", "--only", "data"]),
    ("pooch", "download", ["train", "mnist"]),
    ("pyarrow", "parquet", ["train", "table.parquet", "--target", "y"]),
    ("tensorboardX", "tensorboard", ["train", "--tensorboard", "board"]),
    ("tensorflow", "cnn", ["cnn", "train", "digits"]),
    ("onnx", "export", ["export", "model.safetensors", "--to", "onnx"]),
    ("distributed", "cluster", ["search", "iris", "--cluster", "tcp://127.0.0.1:8786"]),
    *[(name, "play", ["play"]) for name in ("starlette", "uvicorn", "websockets")],
]


def test_missing_extra_is_one_line_that_names_it(tmp_path, monkeypatch):
    monkeypatch.delenv("FASTNN_DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    net = fastnn.Network([2, 3, 2], backend="numpy", random_state=0)
    net.fit([[0, 0], [1, 1]], [0, 1], epochs=1)
    net.save(tmp_path / "model.safetensors")
    (tmp_path / "table.parquet").touch()
    code = """
import contextlib, io, json
from fastnn.cli import main
for library, _, arguments in json.loads(sys.argv[1]):
    hidden.clear()
    hidden.add(library)
    for name in [name for name in sys.modules if name.split(".")[0] == library]:
        del sys.modules[name]  # scikit-learn's imports, say
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    print(json.dumps([code, out.getvalue(), err.getvalue()]))
"""
    done = without({"nothing"}, code, json.dumps(COMMANDS), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for (library, extra, _), line in zip(COMMANDS, done.stdout.splitlines(), strict=True):
        code, out, err = json.loads(line)
        assert (code, out) == (2, "")
        assert err.count("\n") == 1
        assert f': pip install "fastnn-cpu[{extra}]"' in err
        assert library.lower() in err.lower()


CALLS = [
    ("numba", "numba", "fastnn.Network([2, 3, 2], backend='numpy').numba_predict()"),
    ("numba", "numba", "fastnn.Network([2, 3, 2], backend='numpy').cfunc()"),
    ("numba", "numba", "fastnn.Network([2, 3, 2], backend='numpy').numba_tape(1)"),
    ("matplotlib", "plots", "fastnn.History([1.0]).plot()"),
    ("pooch", "download", "fastnn.datasets.load('mnist', data_dir='.')"),
]


def test_missing_extra_in_the_library(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    tries = "".join(
        f"\ntry:\n    {call}\nexcept ImportError as error:\n    print(error)" for *_, call in CALLS
    )
    done = without({library for library, *_ in CALLS}, "import fastnn" + tries, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for (library, extra, _), line in zip(CALLS, done.stdout.splitlines(), strict=True):
        assert f'needs {library}: pip install "fastnn-cpu[{extra}]"' in line


def test_library_that_is_there_but_broken(tmp_path, monkeypatch):
    """The reason is told, since installing it again may not help."""
    (tmp_path / "tensorboardX.py").write_text("raise ImportError('its own trouble')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorboardX", raising=False)
    with pytest.raises(ImportError, match=r"\[tensorboard\]\" \(its own trouble\)$"):
        extras.require("tensorboardX", "a test")


def test_no_compiled_backend_is_said_once(tmp_path):
    code = """
import fastnn
from fastnn import backends
backends.why_missing = lambda name: None if name == "numpy" else "not there"
for _ in range(3):
    net = fastnn.Network([2, 3, 2])
print(net.backend, fastnn.Network([2, 3, 2], backend="numpy").backend)
"""
    done = without({"nothing"}, code)
    assert (done.returncode, done.stdout) == (0, "numpy numpy\n")
    assert done.stderr.count("no compiled backend is installed") == 1
    assert 'pip install "fastnn-cpu[numba]"' in done.stderr
    code = code.split("for _")[0] + "from fastnn.cli import main; sys.exit(main())"
    done = without({"nothing"}, code, "train", "--epochs", "2", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)
    assert done.stderr.startswith("fastnn: warning: no compiled backend is installed")


def test_custom_functions_without_numba():
    code = """
import fastnn
pair = fastnn.CustomActivation(lambda z: z, lambda z: 1.0)
print(fastnn.Network([2, 3, 2], activation=pair).backend)
"""
    done = without({"numba"}, code)
    assert (done.returncode, done.stdout) == (0, "numpy\n")
    assert "NumPy calls them number by number" in done.stderr
    assert 'pip install "fastnn-cpu[numba]"' in done.stderr


def test_python_m_fastnn():
    done = subprocess.run(
        [sys.executable, "-m", "fastnn", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"fastnn {fastnn.__version__}\n"
