"""What only the Numba backend has: its cache of compiled code, and what it uses of Numba's own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import load_backend

import fastnn

# Softmax of two equal net inputs, exp of 1, and how often compiled code was loaded.
SCRIPT = """
import json, os, sys
import numpy as np
from fastnn.backends import numba as kernels
{before}
results = []
for loss, value in ((0, 0.0), (6, 1.0)):
    out = np.full((2, 1), value)
    kernels.output_transform(loss, out)
    results.append(out[0, 0])
hits = sum(kernels.output_transform.stats.cache_hits.values())
print(json.dumps([*results, hits]))
"""


@pytest.fixture
def package(tmp_path):
    """A copy of the package whose sources may be changed."""
    load_backend("numba")
    source = Path(fastnn.__file__).parent
    shutil.copytree(source, tmp_path / "fastnn", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "fastnn"


def run(package, before="", warnings="error", **environment):
    """Run the script in a process of its own; warnings are errors, or counted if "default"."""
    settings = {
        "PYTHONPATH": str(package.parent),
        "PYTHONDONTWRITEBYTECODE": "1",
        "NUMBA_CACHE_DIR": str(package.parent / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-W", warnings, "-c", SCRIPT.format(before=before)],
        cwd=package.parent,
        env=os.environ | settings | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stderr
    if warnings == "default":
        assert done.stderr.count("Warning: ") == 1, done.stderr
    return json.loads(done.stdout)


def change(file, old, new):
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


def test_cache_is_invalidated_by_each_source(package):
    e = pytest.approx(2.718281828459045)
    assert run(package) == [0.5, e, 0]
    assert run(package) == [0.5, e, 1]
    # a number of codes.py, which says what a loss is
    change(package / "backends" / "codes.py", "\nPOISSON = 6 ", "\nPOISSON = 16 ")
    assert run(package) == [0.5, 1.0, 0]
    change(package / "backends" / "codes.py", "\nPOISSON = 16 ", "\nPOISSON = 6 ")
    # a formula of another file
    maths = package / "backends" / "numba" / "maths.py"
    change(maths, "return _times_power_of_two(cast_like(x, 1.0) + p, t)", "return x + x")
    assert run(package) == [0.5, 2.0, 0]
    # the file of the function itself
    change(package / "backends" / "numba" / "losses.py", "out[s] / total[s]\n", "total[s]\n")
    assert run(package) == [2.0, 2.0, 0]


def test_compiles_without_cache_folder(package):
    # neither the folder that is asked for nor the one beside the source nor the user's
    (package / "backends" / "numba" / "__pycache__").write_text("not a folder")
    nowhere = dict.fromkeys(("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "HOME"), "/dev/null/nowhere")
    assert run(package, **nowhere)[::2] == [0.5, 0]


def test_unusable_cache_is_replaced(package):
    cache = package.parent / "cache"
    remove = f"import shutil; shutil.rmtree({str(cache)!r}); open({str(cache)!r}, 'w').close()"
    assert run(package, remove, warnings="default")[::2] == [0.5, 0]
    cache.unlink()
    assert run(package)[::2] == [0.5, 0]
    compiled = list(cache.rglob("*.nbc"))
    assert compiled
    for file in compiled:
        file.write_bytes(b"cut short")
    assert run(package)[::2] == [0.5, 0]


def test_private_names_of_numba_exist():
    """Without them all would work, but compile for longer or without the cache, or more slowly."""
    kernels = load_backend("numba")
    from llvmlite import binding
    from numba.core.compiler import Flags
    from numba.core.registry import cpu_target

    from fastnn.backends.numba import cache, compiling

    libraries = compiling._UnlinkedLibrary, compiling._PublicLibrary
    overridden = {name for library in libraries for name in vars(library)}
    overridden -= {"_dependencies", "set_env"}
    overridden = {name for name in overridden if not name.startswith("__")}
    assert {name for name in overridden if not hasattr(compiling.JITCodeLibrary, name)} == set()
    empty = compiling.JITCodeLibrary(cpu_target.target_context.codegen(), "empty")
    used = {"_linking_libraries", "_final_module", "_shared_module", "_finalized"}
    assert {name for name in used if not hasattr(empty, name)} == set()
    assert callable(empty.codegen.set_env)
    assert Flags().noalias is False
    assert isinstance(kernels.output_transform._cache, cache._Cache)
    assert binding.address_of_symbol("numba_xxgemm")


def test_cache_digest_covers_all_sources():
    load_backend("numba")
    from fastnn.backends.numba import cache

    names = {path.name for path in cache.sources()}
    modules = [name for name in sys.modules if name.startswith("fastnn.backends.")]
    compiled = {name.rsplit(".", 1)[1] for name in modules if ".numba." in name}
    assert len(compiled) > 8
    assert {f"{name}.py" for name in compiled | {"codes", "plan", "interface"}} <= names
