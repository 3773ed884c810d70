"""Files of a run folder: weights and checkpoints as safetensors, with the settings as JSON.

Files are not trusted, and no Keras model is ever deserialised: a file contains plain arrays, whose
names and shapes must be those of the network described by its settings.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator

import fastnn
from fastnn.cnn.settings import Settings
from fastnn.datasets import write_atomically
from fastnn.errors import ModelFormatError
from fastnn.fields import explain

if TYPE_CHECKING:
    from fastnn.cnn.model import Network

MODEL_FILE = "model.safetensors"
CHECKPOINT_FILE = "checkpoint.safetensors"
RESULTS_FILE = "results.json"
SETTINGS_FILE = "settings.toml"
LOG_FILE = "train.log"
EVENT_FILES = "events.out.tfevents.*"  # TensorBoard's file names

METADATA_KEY = "fastnn.cnn"
MAX_FILE_BYTES = 256 * 2**20  # the largest checkpoint (maxout, Adam) has about 80 MB


class Description(BaseModel):
    """The JSON metadata of a file.

    Attributes
    ----------
    format_version : int
    fastnn_version : str
        Version of the library that wrote the file.
    settings : Settings
        All filled in.
    step : int
        Number of steps completed.
    seconds, step_seconds : float
        Training time so far, in total and of the steps alone.
    errors : list of dict
        ``step``, ``validation_error``, ``test_error`` of each evaluation.
    results : dict
        Results of a finished run, else empty.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    format_version: Literal[1] = 1
    fastnn_version: str = fastnn.__version__
    settings: Settings
    step: Annotated[int, Field(ge=0)]
    seconds: Annotated[float, Field(ge=0)] = 0.0
    step_seconds: Annotated[float, Field(ge=0)] = 0.0
    errors: list[dict[str, float]] = []
    results: dict[str, JsonValue] = {}

    @field_validator("settings")
    @classmethod
    def _all_filled_in(cls, settings: Settings) -> Settings:
        """Files older than label smoothing were trained without it, whatever the preset is now."""
        if settings.label_smoothing is None:
            return settings.model_copy(update={"label_smoothing": 0.0})
        return settings


def write(path: Path, description: Description, arrays: dict[str, np.ndarray]) -> None:
    """Write a file atomically."""
    import safetensors.numpy

    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ModelFormatError(f"{path}: not written, {name} is not finite")
    metadata = {METADATA_KEY: description.model_dump_json(exclude_none=True)}
    write_atomically(path, safetensors.numpy.save(arrays, metadata))


def read(path: Path, slots: bool = False) -> tuple[Description, dict[str, np.ndarray]]:
    """Read a file and check its contents.

    Parameters
    ----------
    path : Path
    slots : bool, default=False
        Whether to read the state of the update rule too, which must then be present.

    Returns
    -------
    Description
    dict of str to ndarray of float32

    Raises
    ------
    ModelFormatError
        If the file is damaged, or its arrays do not match the network in its settings.
    OSError
        If the file cannot be read.
    """
    import safetensors

    size = os.stat(path).st_size
    if size > MAX_FILE_BYTES:
        raise ModelFormatError(f"{path}: {size:,} bytes are more than a model has")
    with open(path, "rb"):  # raises an OSError with the reason if the file is unreadable
        pass
    try:
        with safetensors.safe_open(path, "numpy") as file:
            text = (file.metadata() or {}).get(METADATA_KEY)
            if text is None:
                raise ModelFormatError(f"{path}: is not a model of fastnn cnn")
            description = Description.model_validate_json(text)
            wanted = _expected(description.settings, slots)
            missing = wanted.keys() - file.keys()
            if missing:
                raise ModelFormatError(f"{path}: has no array {min(missing)!r}")
            arrays = {}
            for name, shape in wanted.items():
                part = file.get_slice(name)
                found = tuple(part.get_shape())
                if found != shape or part.get_dtype() != "F32":
                    raise ModelFormatError(
                        f"{path}: {name} is {part.get_dtype()} of shape {found}; the network "
                        f"({description.settings.activation}) needs F32 of shape {shape}"
                    )
                arrays[name] = file.get_tensor(name)
    except ValidationError as error:
        raise ModelFormatError(f"{path}: {explain(error)}") from None
    except safetensors.SafetensorError as error:
        raise ModelFormatError(f"{path}: not a model file ({error})") from None
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ModelFormatError(f"{path}: {name} is not finite")
    return description, arrays


def _expected(settings: Settings, slots: bool) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the arrays that a file must have."""
    from fastnn.cnn.model import shapes
    from fastnn.cnn.optimizers import SLOTS

    params = shapes(settings.activation)
    if not slots:
        return params
    names = SLOTS[settings.optimizer]
    return params | {f"{slot}/{name}": params[name] for slot in names for name in params}


def model_path(run: str | os.PathLike) -> Path:
    """The file with the weights of a run: the final model, else the checkpoint.

    Parameters
    ----------
    run : path
        A run folder, or a file, which is returned as it is.

    Returns
    -------
    Path
    """
    run = Path(run)
    if not run.is_dir():
        return run
    for name in (MODEL_FILE, CHECKPOINT_FILE):
        if (run / name).is_file():
            return run / name
    raise FileNotFoundError(f"{run}: has neither {MODEL_FILE} nor {CHECKPOINT_FILE}")


def load(run: str | os.PathLike) -> Network:
    """Load the network of a run.

    Parameters
    ----------
    run : path
        Run folder, or the file ``model.safetensors`` or ``checkpoint.safetensors`` in it.

    Returns
    -------
    Network

    Raises
    ------
    ModelFormatError
        If the file is damaged or was not written by ``fastnn.cnn``.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> from fastnn import cnn
    >>> net = cnn.load("runs/cnn-1")  # doctest: +SKIP
    """
    from fastnn.cnn.model import Network

    description, arrays = read(model_path(run))
    network = Network(description.settings)
    network.set_weights(arrays)
    return network


def results(run: Path) -> dict[str, Any] | None:
    """The results of a run; None if it is not finished."""
    path = run / MODEL_FILE
    if not path.is_file():
        return None
    return dict(read(path)[0].results)


def write_settings(folder: Path, settings: Settings) -> None:
    """Write the settings as TOML, for people to read."""
    write_atomically(folder / SETTINGS_FILE, settings.to_toml().encode("utf-8"))


def write_results(folder: Path, result: dict[str, Any]) -> None:
    """Write the results as JSON."""
    text = json.dumps(result, indent=2, allow_nan=False) + "\n"
    write_atomically(folder / RESULTS_FILE, text.encode("utf-8"))
