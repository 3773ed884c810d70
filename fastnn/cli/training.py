"""Implementation of ``fastnn train``: create and train the network, write the run folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import datasets
from fastnn.backends import codes
from fastnn.cli import signals, tables
from fastnn.cli.board import board
from fastnn.cli.data import held_out, input_dtype, part, task_text
from fastnn.cli.fitting import checkpoint_every, fit_plain, fit_tabular, make_network
from fastnn.cli.output import layers_text, score_name, score_text
from fastnn.cli.resuming import CHECKPOINT_FILE
from fastnn.cli.rows import RowsOfRun
from fastnn.cli.run_results import CompletedRun, results_of, table
from fastnn.cli.runs import (
    MODEL_FILE,
    figure,
    run_folder,
    write_history,
    write_text,
)
from fastnn.cli.scores import check_defined, check_scoring
from fastnn.cli.settings import TrainSettings
from fastnn.cli.source import path_of, recorded
from fastnn.extras import install_command, is_installed

if TYPE_CHECKING:
    from fastnn.datasets import Dataset
    from fastnn.storage.checkpoints import CheckpointFile


def train(
    settings: TrainSettings,
    *,
    out: Path | None,
    overwrite: bool,
    tensorboard: Path | None,
    plots: bool = True,
    quiet: bool,
    resumed: bool = False,
) -> tuple[dict[str, Any], str, list[tuple[str, str]]]:
    """Train a network and write the run folder.

    Parameters
    ----------
    settings : TrainSettings
        The given settings; the others get their defaults for the data.
    out : Path or None
        The run folder; None creates a numbered one.
    overwrite : bool
        Whether ``out`` may contain files.
    tensorboard : Path or None
        Parent folder of the TensorBoard summaries; None writes none.
    plots : bool, default=True
        Whether to draw plots if matplotlib is installed.
    quiet : bool
        Whether to show no progress.
    resumed : bool
        Whether to continue from the checkpoint in ``out``.

    Returns
    -------
    result : dict
        The results, as ``--json`` prints them.
    task : str
        Description of the task.
    columns : list of (str, str)
        Rows that describe the encoding of each table column, for printing.
    """
    check_scoring(settings.scoring)
    dataset, train_rows, test_rows, encoding = tables.load(settings)
    task = task_text(dataset, settings.task)
    settings = settings.completed(dataset, len(train_rows), encoded=encoding is not None)
    settings = settings.model_copy(update={"data": recorded(settings.data)})
    rows = RowsOfRun.of(dataset, path_of(settings.data), train_rows, test_rows)
    tabular = settings.preset == "tabular"
    _check_loss(dataset, settings.loss)
    if tabular and tensorboard is not None:
        raise ValueError("--tensorboard is for the preset plain; add --preset plain")
    net: Any = None if tabular else make_network(dataset, settings)
    dtype = np.dtype(settings.dtype) if net is None else net.dtype
    dataset.check_range(dtype)
    if settings.scoring is not None:  # before a long training
        check_defined(settings.scoring, settings.scoring, dataset.task, dataset.y)
    X, y = part(dataset, train_rows, np.dtype(np.float64) if net is None else input_dtype(net))

    with run_folder(out, dataset.name, overwrite) as folder:
        events = tensorboard, folder, X, y, settings, overwrite and not resumed, resumed
        checkpoint = _checkpoint(folder, settings, resumed)
        with board(*events) as summaries:
            callbacks = [] if summaries is None else summaries.callbacks
            if net is None:
                net, history = fit_tabular(
                    X, y, dataset.task, settings, checkpoint, resumed, verbose=not quiet
                )
            else:
                history = fit_plain(
                    net, X, y, settings, callbacks, checkpoint, resumed, verbose=not quiet
                )
            signals.hold()
            run = CompletedRun(settings, dataset, net, history, X, y, encoding)
            unseen = held_out(dataset, test_rows, input_dtype(net))
            result = results_of(run, *unseen)
            if summaries is not None:
                summaries.end(result, run.score)
                result["tensorboard"] = str(summaries.folder)
        files = [*_write(run, folder, result, rows, plots), *rows.write(folder)]
        if checkpoint is not None:
            files.append(CHECKPOINT_FILE)
    notes = list(dataset.notes)
    if plots and not is_installed("matplotlib"):
        notes.append(f"no pictures, which need matplotlib: {install_command('plots')}")
    if notes:
        result["notes"] = notes
    result["folder"], result["files"] = str(folder), files
    if settings.report is not False and settings.data not in datasets.BUILT_IN:
        from fastnn.cli.report import REPORT_FILE, write_report

        rows_of_page = [row for row in table(result, task) if row[0] not in ("folder", "files")]
        write_report(folder / REPORT_FILE, run, rows_of_page, *unseen[:2])
        files.append(REPORT_FILE)
    return result, task, [] if encoding is None else tables.column_rows(encoding)


def _check_loss(dataset: Dataset, loss: str | None) -> None:
    """Raise if the loss belongs to the other task; it is None if not given (preset tabular)."""
    if loss is not None and (dataset.task == "regression") != (loss in codes.REGRESSION):
        suited = "regression" if loss in codes.REGRESSION else "classification"
        raise ValueError(
            f"--loss {loss} is for {suited}, but the target {dataset.target_name!r} is "
            f"one of {dataset.task} (see --task)"
        )


def _checkpoint(folder: Path, settings: TrainSettings, resumed: bool) -> CheckpointFile | None:
    """Create the checkpoint file of the run; None if no checkpoints are written.

    Unless the run is resumed, checkpoints of an overwritten run are removed.
    """
    from fastnn.storage.checkpoints import CheckpointFile

    path = folder / CHECKPOINT_FILE
    if not resumed:
        for old in [path, *folder.glob(f"{path.stem}-*{path.suffix}")]:  # one per member
            old.unlink(missing_ok=True)
    elif checkpoint_every(settings) is None:
        raise ValueError("--checkpoint-every never: --resume needs the run's checkpoint")
    if checkpoint_every(settings) is None:
        return None
    if settings.time_limit is not None:
        if settings.checkpoint_every is not None:
            raise ValueError(
                "--checkpoint-every needs a number of epochs, as --epochs 256; with --time-limit "
                "it depends on the machine"
            )
        return None
    return CheckpointFile(path, {"settings": settings.model_dump(exclude_none=True)})


def _write(
    run: CompletedRun, folder: Path, result: dict[str, Any], rows: RowsOfRun, plots: bool
) -> list[str]:
    """Write model, settings, history and plots; return the names of the files."""
    from fastnn import storage

    training = {
        "settings": run.settings.model_dump(exclude_none=True),
        "features": list(run.dataset.feature_names),
        "target": run.dataset.target_name,
        "scale": run.dataset.scale,
        "decimal": run.dataset.decimal,
        **rows.description,
        "results": {k: v for k, v in result.items() if isinstance(v, int | float | str)},
    }
    model: Any = run.net
    if run.encoding is not None:
        from fastnn.tables import TableModel

        training["features"] = run.encoding.used
        model = TableModel(run.encoding, run.net)
    storage.save(model, folder / MODEL_FILE, training=training)
    write_text(folder / "settings.toml", run.settings.to_toml())
    write_history(folder / "history.csv", run.history)
    pictures = _draw(run, folder, result) if plots else []
    return [MODEL_FILE, "settings.toml", "history.csv", *pictures]


def _draw(run: CompletedRun, folder: Path, result: dict[str, Any]) -> list[str]:
    """Draw the plots of a run; return their file names (none without matplotlib)."""
    if not is_installed("matplotlib"):
        return []
    from fastnn.plots import decision_boundary, loss_curve

    net, dataset, score = run.net, run.dataset, run.score
    files = []
    title = f"{dataset.name}: {layers_text(net)}"
    if net.n_features == 2:
        held_out_score = result[f"held_out_{score}"]
        text = f"{title}\n{score_name(score)} {score_text(result[score], score)}"
        if held_out_score is not None:
            text += f", held out {score_text(held_out_score, score)}"
        with figure(folder / "decision_boundary.png", (6.4, 5.0)) as ax:
            names = dataset.feature_names
            decision_boundary(net, run.X, run.y, ax=ax, feature_names=names, title=text)
        files.append("decision_boundary.png")
    if run.history.epochs:
        with figure(folder / "loss.png", (6.4, 4.0)) as ax:
            loss_curve(run.history, ax=ax, title=title)
        files.append("loss.png")
    return files
