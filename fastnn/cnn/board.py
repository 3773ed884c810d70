"""TensorBoard's server for the summaries of runs."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

from fastnn.cnn.runs import EVENT_FILES
from fastnn.cnn.runtime import tf  # noqa: F401 (TensorBoard imports it too, with all its noise)

HOST = "127.0.0.1"


def _folders(folder: Path) -> list[str]:
    """TensorBoard's options for the folder; a single run is shown by its folder name, not "."."""
    path = str(folder.resolve())
    if next(folder.glob(EVENT_FILES), None) is None or {",", ":"} & set(path):
        return ["--logdir", str(folder)]
    return ["--logdir_spec", f"{folder.resolve().name}:{path}"]


def start(folder: Path, port: int | None = None) -> str:
    """Start a server that runs until this process ends.

    Parameters
    ----------
    folder : Path
        A run folder, or a folder with several of them.
    port : int, optional
        0 selects any free port; default: the first free port from 6006.

    Returns
    -------
    str
        Address of the server.

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
        warnings.simplefilter("ignore")  # raised by TensorBoard's own imports
        from tensorboard import program

        server = program.TensorBoard()
        # The reader in Python: the fast one is a separate executable, not built for every system.
        arguments = [*_folders(folder), "--host", HOST, "--load_fast", "false"]
        server.configure([None, *arguments, *([] if port is None else ["--port", str(port)])])
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        try:
            return server.launch()
        except program.TensorBoardServerException as error:
            raise ValueError(error.msg) from None
