"""Where no folder can be written, Numba compiles without its cache and says so in one line."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("numba")

# The only place that Numba then looks at cannot be made.
NOWHERE = {
    "NUMBA_CACHE_DIR": os.path.join(os.devnull, "none"),
    "NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator",
}


def run(*arguments):
    result = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **NOWHERE},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result


def test_compiles_without_a_cache():
    code = """
import fastnn, numpy as np
from fastnn import backends
double = fastnn.CustomActivation(lambda z: 2 * z, lambda z: 2.0)
net = fastnn.Network([2, 2, 2], activation=double, backend="numba")
kernels, reference = backends.load("numba"), backends.load("numpy")
order, expected = np.arange(9), np.arange(9)
kernels.shuffle(3, 1, order)
reference.shuffle(3, 1, expected)
assert order.tolist() == expected.tolist()
predict, out = fastnn.Network([2, 2], backend="numpy").numba_predict(), np.empty(2, "f4")
predict(np.ones(2, "f4"), out)
print(round(float(out.sum()), 6))
"""
    result = run("-c", code)
    assert result.stdout == "1.0\n"
    (line,) = result.stderr.splitlines()
    assert "compiled code is not kept (there is no folder that it can write to)" in line
    assert "set NUMBA_CACHE_DIR" in line


def test_info_reports_missing_cache():
    result = run("-m", "fastnn.cli", "info", "--json")
    assert json.loads(result.stdout)["numba_cache"] is None
    assert result.stderr == ""
    assert "no writable folder" in run("-m", "fastnn.cli", "info").stdout


def test_info_reports_cache_folder(tmp_path):
    code = "from fastnn.backends.numba.cache import folder; print(folder())"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.startswith(str(tmp_path))


def test_full_disk_warns(monkeypatch):
    from fastnn.backends.numba import cache

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "_told", False)
    monkeypatch.setattr(cache.FunctionCache, "save_overload", full)
    kept = cache.cache_of(cache.folder)
    with pytest.warns(UserWarning, match=r"is not kept \(.*No space left on device\), so that"):
        kept.save_overload(None, None)
    kept.save_overload(None, None)  # told once
