"""Optional libraries: which extra installs each, and what is said when one is not there."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from typing import Any

DISTRIBUTION = "fastnn-cpu"

# What ``import`` calls a library: the extra of pyproject.toml that brings it.
EXTRA_OF = {
    "numba": "numba",
    "llvmlite": "numba",
    "matplotlib": "plots",
    "jinja2": "experiments",
    "pooch": "download",
    "pyarrow": "parquet",
    "onnx": "export",
    "onnxruntime": "export",
    "skl2onnx": "export",
    "skops": "export",
    "torch": "torch",
    "keras": "cnn",
    "tensorflow": "cnn",
    "PIL": "cnn",
    "tensorboard": "tensorboard",
    "tensorboardX": "tensorboard",
    "dask": "cluster",
    "distributed": "cluster",
    "starlette": "play",
    "uvicorn": "play",
    "websockets": "play",
}


def install_command(extra: str) -> str:
    """The command that installs an extra, as every shell understands it."""
    return f'pip install "{DISTRIBUTION}[{extra}]"'


def is_installed(name: str) -> bool:
    """Whether a library can be found; it is not imported."""
    return importlib.util.find_spec(name) is not None


def why_missing(error: ModuleNotFoundError) -> str | None:
    """What to install, of an optional library that was not found; None of any other module."""
    name = (error.name or "").split(".")[0]
    extra = EXTRA_OF.get(name)
    return None if extra is None else f"this needs {name}: {install_command(extra)}"


def require(name: str, what: str, extra: str | None = None) -> Any:
    """Import an optional library.

    Parameters
    ----------
    name : str
        Of the module.
    what : str
        What needs it, as the beginning of a sentence.
    extra : str, optional
        That installs it; default: that of ``EXTRA_OF``.

    Returns
    -------
    module

    Raises
    ------
    ImportError
        That names the library and the command that installs it.
    """
    try:
        with warnings.catch_warnings():  # of others about each other
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except ImportError as error:
        library = name.split(".")[0]
        command = install_command(extra or EXTRA_OF[library])
        absent = isinstance(error, ModuleNotFoundError) and error.name in (name, library)
        reason = "" if absent else f" ({error})"
        raise ImportError(f"{what} needs {library}: {command}{reason}") from error
