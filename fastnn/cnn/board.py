"""TensorBoard's server over the summaries of runs."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

from fastnn.cnn.runs import EVENT_FILES
from fastnn.cnn.runtime import tf  # noqa: F401 (TensorBoard imports it too, with all its noise)

HOST = "127.0.0.1"


def _folders(folder: Path) -> list[str]:
    """The options that name the folder; a single run has the folder's name, not "."."""
    path = str(folder.resolve())
    if next(folder.glob(EVENT_FILES), None) is None or {",", ":"} & set(path):
        return ["--logdir", str(folder)]
    return ["--logdir_spec", f"{folder.resolve().name}:{path}"]


def start(folder: Path, port: int | None = None) -> str:
    """Start the server, which ends with this process.

    Parameters
    ----------
    folder : Path
        Of a run, or one that holds several.
    port : int, optional
        0 takes any that is free; default: the first free one from 6006 on.

    Returns
    -------
    str
        Its address.

    Raises
    ------
    ValueError
        If there are no summaries, or the port is taken.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: not a folder")
    if next(folder.rglob(EVENT_FILES), None) is None:
        raise ValueError(
            f"{folder}: has no summaries; train with --summaries light or --summaries full"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own imports
        from tensorboard import program

        server = program.TensorBoard()
        # Its own reader: the faster one is another process, and must be one that the system runs.
        arguments = [*_folders(folder), "--host", HOST, "--load_fast", "false"]
        server.configure([None, *arguments, *([] if port is None else ["--port", str(port)])])
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        try:
            return server.launch()
        except program.TensorBoardServerException as error:
            raise ValueError(error.msg) from None
