"""``fastnn info``."""

from __future__ import annotations

import importlib.metadata
import platform
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

import fastnn
from fastnn import backends
from fastnn.cli.options import JsonFlag, option
from fastnn.cli.output import print_json, print_pairs

_LIBRARIES = ("numpy", "scipy", "numba", "scikit-learn", "matplotlib", "tensorflow")


def command(
    model: Annotated[
        Path | None,
        typer.Argument(
            metavar="MODEL",
            help="Model file or run folder to describe.",
            show_default="this installation",
        ),
    ] = None,
    as_json: JsonFlag = False,
    quiet: Annotated[
        bool, option("--quiet", "Print only the backend chosen by auto, or the task of the model.")
    ] = False,
) -> None:
    """Describe the installation (versions, backends, BLAS), or a model file.

    With MODEL the network, the columns of its table and its training are shown.
    """
    if model is not None:
        from fastnn.cli.contents import contents, rows

        result = contents(model)
        if as_json:
            print_json(result)
        elif quiet:
            print(result["task"])
        else:
            print_pairs(rows(result))
        return
    from fastnn.datasets import cache_dir
    from fastnn.training.threads import usable_cores

    missing = {name: backends.why_missing(name) for name in backends.BACKENDS}
    level = _vector_level(missing)
    result = {
        "versions": _versions(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cores": usable_cores(),
        "backends": {
            name: {"available": reason is None, "reason": reason}
            for name, reason in missing.items()
        },
        "auto": next(name for name, reason in missing.items() if reason is None),
        "vector_level": level if level is None else str(level),
        "blas": _blas(),
        "cache": str(cache_dir()),
        "numba_cache": _numba_cache() if missing["numba"] is None else None,
    }
    if as_json:
        print_json(result)
    elif quiet:
        print(result["auto"])
    else:
        print_pairs(_rows(result))


def _numba_cache() -> str | None:
    """Folder of Numba's compiled code; None if no folder is writable."""
    with warnings.catch_warnings():  # a missing folder is reported by the caller
        warnings.simplefilter("ignore")
        from fastnn.backends.numba.cache import folder

        return folder()


def _versions() -> dict[str, str | None]:
    """Versions of Python, this package and its dependencies; None if not installed."""
    versions: dict[str, str | None] = {
        "fastnn": fastnn.__version__,
        "python": platform.python_version(),
    }
    for name in _LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def _vector_level(missing: dict[str, str | None]) -> Any:
    """Vector level of the Cython extension.

    If the extension cannot be loaded, the reason is stored in ``missing``.
    """
    if missing["cython"] is None:
        try:
            return getattr(backends.load("cython"), "LEVEL", None)
        except ImportError as error:
            missing["cython"] = str(error)
    return None


def _blas() -> list[dict[str, Any]]:
    """Describe the BLAS libraries of NumPy and SciPy."""
    import numpy as np  # noqa: F401 (loads the BLAS of NumPy)
    import scipy.linalg  # noqa: F401 (loads the BLAS of SciPy)
    from threadpoolctl import threadpool_info

    return [
        {
            "library": pool.get("internal_api"),
            "version": pool.get("version"),
            "architecture": pool.get("architecture"),
            "threads": pool.get("num_threads"),
            "of": "scipy" if "scipy" in Path(pool["filepath"]).parts[-2] else "numpy",
        }
        for pool in threadpool_info()
        if pool.get("user_api") == "blas"
    ]


def _rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Format the result as rows of text."""
    rows = [(name, version or "not installed") for name, version in result["versions"].items()]
    rows.append(("machine", f"{result['machine']}, {result['cores']} cores"))
    for name, backend in result["backends"].items():
        default = " (chosen by auto)" if name == result["auto"] else ""
        text = f"available{default}" if backend["available"] else backend["reason"]
        rows.append((f"backend {name}", text))
    rows.append(("vector level", result["vector_level"] or "chosen by the compiler at run time"))
    for pool in result["blas"]:
        text = f"{pool['library']} {pool['version']}, {pool['architecture']}"
        rows.append((f"BLAS of {pool['of']}", f"{text}, {pool['threads']} threads"))
    rows.append(("cache folder", result["cache"]))
    if result["backends"]["numba"]["available"]:
        kept = result["numba_cache"]
        none = "no writable folder, every process compiles again; set NUMBA_CACHE_DIR"
        rows.append(("Numba's code", kept or none))
    return rows
