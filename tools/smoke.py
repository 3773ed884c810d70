"""Does an installed fastnn work? Run with any Python that has it: ``python smoke.py``.

Trains a network on every compiled backend, the extension at every vector level that this
processor has, and compares it with the NumPy reference; keeps and loads it; runs the command.
Used by the tests of wheels, by cibuildwheel and by the conda recipe.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import fastnn
from fastnn import backends

# Twenty steps of a narrow and of a wide network: the second takes the packed products.
SIZES = ([6, 5, 3], [70, 300, 300, 3])
TOLERANCE = {"float32": 2e-4, "float64": 1e-10}


def trained(kernels: Any, sizes: list[int], dtype: str) -> np.ndarray:
    """Parameters after a training with a backend's kernels."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(96, sizes[0])), rng.integers(0, sizes[-1], 96)
    with mock.patch.object(backends, "load", return_value=kernels):
        net = fastnn.Network(sizes, activation="tanh", dtype=dtype, random_state=1)
        net.fit(X, y, optimizer=fastnn.SGD(0.05), batch_size=48, epochs=10)
    return net.params


def compiled() -> dict[str, Any]:
    """Kernels by name; the wheels always have the extension."""
    extension = backends.load("cython")
    found = {f"cython {level}": extension.load_level(level) for level in extension.levels()}
    if "numba" in backends.available():
        found["numba"] = backends.load("numba")
    return found


def check_kernels() -> None:
    """Every compiled backend gives the reference's parameters."""
    reference, others = backends.load("numpy"), compiled()
    for sizes in SIZES:
        for dtype, tolerance in TOLERANCE.items():
            expected = trained(reference, sizes, dtype)
            for name, kernels in others.items():
                difference = np.abs(trained(kernels, sizes, dtype) - expected).max()
                print(f"{name:16} {'-'.join(map(str, sizes)):14} {dtype}  {difference:.1e}")
                assert difference < tolerance, (name, sizes, dtype, difference)


def check_files(folder: Path) -> None:
    """A network that was kept predicts the same numbers."""
    net = fastnn.Network([2, 3, 2], random_state=0)
    net.fit([[0.0, 1.0], [1.0, 0.0]], [0, 1], epochs=3)
    net.save(folder / "net.safetensors")
    points = np.eye(2)
    again = fastnn.load(folder / "net.safetensors")
    assert (again.predict_proba(points) == net.predict_proba(points)).all()


def check_command(folder: Path) -> None:
    """``fastnn train`` and ``fastnn predict`` end well."""
    for arguments in (["train", "--epochs", "50", "--out", "run"], ["predict", "run", "moons"]):
        done = subprocess.run(
            [sys.executable, "-m", "fastnn", *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 201


def main() -> None:
    """All checks."""
    print(f"fastnn {fastnn.__version__} in {Path(fastnn.__file__).parent}")
    check_kernels()
    with tempfile.TemporaryDirectory() as folder:
        check_files(Path(folder))
        check_command(Path(folder))
    print("works")


if __name__ == "__main__":
    main()
