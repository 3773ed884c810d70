"""Optional libraries: the extra that installs each, and the error if one is missing."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from typing import Any

DISTRIBUTION = "fastnn-cpu"

# Import name of a library: the extra of pyproject.toml that installs it.
EXTRA_OF = {
    "numba": "numba",
    "llvmlite": "numba",
    "matplotlib": "plots",
    "jinja2": "experiments",
    "pooch": "download",
    "pyarrow": "parquet",
    "pandas": "excel",
    "openpyxl": "excel",
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
    """The command that installs an extra, quoted for any shell."""
    return f'pip install "{DISTRIBUTION}[{extra}]"'


def is_installed(name: str) -> bool:
    """Whether a library is installed, without importing it."""
    return importlib.util.find_spec(name) is not None


def why_missing(error: ModuleNotFoundError) -> str | None:
    """How to install an optional library that was not found; None for any other module."""
    name = (error.name or "").split(".")[0]
    extra = EXTRA_OF.get(name)
    return None if extra is None else f"this needs {name}: {install_command(extra)}"


def require(name: str, what: str, extra: str | None = None) -> Any:
    """Import an optional library.

    Parameters
    ----------
    name : str
        Name of the module.
    what : str
        What needs the library, as the subject of the error message.
    extra : str, optional
        Extra that installs the library; default: ``EXTRA_OF[library]``.

    Returns
    -------
    module

    Raises
    ------
    ImportError
        If the library is missing; the message contains the command that installs it.
    """
    try:
        with warnings.catch_warnings():  # deprecation warnings of third-party libraries
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except ImportError as error:
        library = name.split(".")[0]
        command = install_command(extra or EXTRA_OF[library])
        absent = isinstance(error, ModuleNotFoundError) and error.name in (name, library)
        reason = "" if absent else f" ({error})"
        raise ImportError(f"{what} needs {library}: {command}{reason}") from error
