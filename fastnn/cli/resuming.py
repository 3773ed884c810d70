"""Settings of a resumed run or search (``--resume``), read from its checkpoint or state."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from fastnn.cli.search_settings import MAY_CHANGE as MAY_CHANGE_OF_SEARCH
from fastnn.cli.search_settings import SearchSettings
from fastnn.cli.settings import TrainSettings

CHECKPOINT_FILE = "checkpoint.safetensors"

# Settings that may change when a run is resumed: its length, and those that change no result.
MAY_CHANGE = ("epochs", "threads", "checkpoint_every")


def only_resume(
    flags: dict[str, Any], *, may_change: Collection[str] = MAY_CHANGE, **others: Any
) -> None:
    """Raise if an option is given whose value is fixed by the resumed run."""
    given = {name: value for name, value in flags.items() if name not in may_change}
    for name, value in {**given, **others}.items():
        if value is not None and value is not False:
            what = "DATA" if name == "data" else f"--{name.replace('_', '-')}"
            raise ValueError(f"--resume uses the settings of the run; leave out {what}")


def run_to_resume(run: Path, flags: dict[str, Any]) -> tuple[Path, TrainSettings]:
    """Return the folder and the settings of a run to resume.

    Parameters
    ----------
    run : Path
        The run folder, or its checkpoint.
    flags : dict
        Settings from the command line that may change (:data:`MAY_CHANGE`).

    Raises
    ------
    FileNotFoundError
        If the run has no checkpoint.
    ModelFormatError
        If the checkpoint is damaged, or was not written by ``fastnn train``.
    """
    from fastnn import storage
    from fastnn.errors import ModelFormatError

    folder = run.parent if run.name == CHECKPOINT_FILE else run
    path = folder / CHECKPOINT_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{run}: there is no {CHECKPOINT_FILE} to continue from; it is not written with "
            "--time-limit or --checkpoint-every never"
        )
    kept = storage.describe(path).training.get("settings")
    if not isinstance(kept, dict):
        raise ModelFormatError(f"{path}: not a checkpoint of fastnn train; it has no settings")
    return folder, TrainSettings.check({**kept, **flags}, f"{path}: ")


def search_to_resume(
    run: Path, flags: dict[str, Any], *, out: Path | None, overwrite: bool
) -> tuple[Path, SearchSettings]:
    """Return the folder and the settings of a search to resume.

    Parameters
    ----------
    run : Path
        The run folder of the search.
    flags : dict
        Settings from the command line; only those that change no result are allowed.
    out, overwrite
        Other options, which must not be given.

    Raises
    ------
    FileNotFoundError
        If the folder contains no interrupted search.
    ValueError
        If the search is complete, or an option is given whose value is fixed by the search.
    ModelFormatError
        If the state of the search is damaged.
    """
    only_resume(flags, may_change=MAY_CHANGE_OF_SEARCH, out=out, overwrite=overwrite)
    from fastnn.tables.fit_store import STATE_FILE, read_state

    path = run / STATE_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{run}: no search was stopped there (no {STATE_FILE})")
    state = read_state(path)
    if state["over"]:
        raise ValueError(f"{run}: the search has ended; there is nothing to continue")
    kept = state["purpose"].get("settings")
    settings = SearchSettings.check(
        {**(kept if isinstance(kept, dict) else {}), **flags}, f"{path}: "
    )
    return run, settings
